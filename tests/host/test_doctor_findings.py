"""What `outlive doctor` says of good and bad hosts: each finding by what was read of them."""

from __future__ import annotations

import calendar
import functools
import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from outlive import OLDEST_PYTHON
from outlive.base.architecture import AMD64, ARM64
from outlive.base.paths import ROOT
from outlive.base.process import said
from outlive.host import environment, private, settings
from outlive.host.doctor import Finding, checkout, clock, hypervisors, leftovers, networks, numbers, resources, software


def link(name: str, *addresses: str) -> dict[str, object]:
    """Return an interface as `ip -j address` lists it."""
    split = [address.split("/") for address in addresses]
    return {"ifname": name, "addr_info": [{"local": local, "prefixlen": int(length)} for local, length in split]}


def is_wrong(finding: Finding, sentence: str) -> None:
    assert (finding.verdict, finding.sentence) == ("WRONG", sentence)


def is_note(finding: Finding, sentence: str) -> None:
    assert (finding.verdict, finding.sentence) == ("note", sentence)


def is_fine(finding: Finding, sentence: str) -> None:
    assert (finding.verdict, finding.sentence) == ("ok", sentence)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("6.12.3-arch1", (6, 12, 3)), ("6.18", (6, 18)), ("7.1.4r165100", (7, 1, 4)), ("5.0-rc1", (5, 0)), ("", ()), ("x", ())],
)
def test_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


# Memory and disk


def test_memory() -> None:
    is_wrong(
        resources.memory(7680, "MemTotal: 8000000 kB\nMemAvailable: 4194304 kB\n"),
        "the lab needs 7680 MiB of memory (lab_memory of all machines and 1024 for the host) and 4096 are available: "
        "end other programs or lower lab_memory in inventories/lab/hosts.yml",
    )
    is_fine(resources.memory(7680, "MemAvailable: 8388608 kB\n"), "memory: 8192 MiB available, 7680 needed")
    is_fine(resources.memory(1, "MemFree: 2048 kB\n"), "memory: 2 MiB available, 1 needed")


@pytest.mark.parametrize("text", [None, "", "MemTotal: 8000000 kB\n"])
def test_memory_that_nothing_tells(text: str | None) -> None:
    is_note(
        resources.memory(7680, text),
        "/proc/meminfo doesn't say how much memory is available, and the lab needs 7680 MiB: look at it yourself",
    )


def test_disk(tmp_path: Path) -> None:
    finding = resources.disk(tmp_path / "not/yet/made", 10**6, "the mirror")
    assert finding.verdict == "WRONG"
    assert finding.sentence.startswith("the mirror needs 1000000 GiB of disk and ")
    assert finding.sentence.endswith(f" are free on {tmp_path}: free some, or name another folder (OUTLIVE_CACHE for the cache)")
    assert resources.disk(tmp_path, 0, "the mirror").ok


# Programs


@pytest.mark.parametrize(
    ("tool", "printed", "sentence"),
    [
        (
            software.VAGRANT,
            "Vagrant 2.2.4",
            "Vagrant is 2.2.4, and the lab needs 2.2.8 or newer (its changelog: the first with --no-tty, which `vagrant up` is called with): "
            "install a newer one, Debian 12 has one",
        ),
        (
            software.LIBVIRT,
            "7.0.0",
            "libvirt is 7.0.0, and the lab needs 8.0.0 or newer (its documentation of domains: the first with tb-cache, which emulated machines "
            "get): install a newer one, Debian 12 has one",
        ),
        (
            software.qemu(AMD64),
            "QEMU emulator version 4.2.1 (Debian 1:4.2-3)",
            "QEMU is 4.2.1, and the lab needs 5.0 or newer (its documentation: the first with tcg's tb-size, which emulated machines get): "
            "install a newer one, Debian 12 has one",
        ),
    ],
)
def test_old_tool(tool: software.Tool, printed: str, sentence: str) -> None:
    is_wrong(software.tool(tool, printed), sentence)


def test_tools_that_are_new_enough() -> None:
    is_fine(software.tool(software.VAGRANT, "Vagrant 2.3.4"), "Vagrant 2.3.4 (oldest that works: 2.2.8)")
    is_fine(software.tool(software.VAGRANT, "Vagrant 2.2.10"), "Vagrant 2.2.10 (oldest that works: 2.2.8)")
    is_fine(software.tool(software.LIBVIRT, "10.0.0"), "libvirt 10.0.0 (oldest that works: 8.0.0)")
    is_fine(
        software.tool(software.qemu(AMD64), "QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright"),
        "QEMU 7.2.22 (oldest that works: 5.0)",
    )


def test_tool_that_gives_no_version() -> None:
    is_note(
        software.tool(software.VAGRANT, None),
        "`vagrant --version` gives no answer, so Vagrant's version is unknown (2.2.8 or newer is needed): see what it prints",
    )
    is_note(
        software.tool(software.VAGRANT, "hello"),
        "`vagrant --version` names no version of Vagrant (2.2.8 or newer is needed): look which one is installed",
    )


def test_plugin() -> None:
    is_fine(software.plugin(["vagrant-libvirt-0.11.2.gemspec"]), "vagrant-libvirt 0.11.2 (oldest that works: 0.10.0)")
    is_fine(
        software.plugin(["vagrant-libvirt-0.9.0.gemspec", "vagrant-libvirt-0.12.2.gemspec"]),
        "vagrant-libvirt 0.12.2 (oldest that works: 0.10.0)",
    )
    is_wrong(
        software.plugin(["vagrant-libvirt-0.9.0.gemspec"]),
        "vagrant-libvirt is 0.9.0, and the lab needs 0.10.0 or newer (the first with Vagrant's snapshots, for `outlive reset`): "
        "install a newer one, Debian 12 has one",
    )
    is_note(
        software.plugin([]),
        "its gem specification names no version of vagrant-libvirt (0.10.0 or newer is needed): look which one is installed",
    )


def noted_plugin(version: str) -> str:
    """Return a file in which Vagrant notes its plugins."""
    return json.dumps(
        {"version": "1", "installed": {"vagrant-libvirt": {"ruby_version": "3.3.8", "gem_version": "", "installed_gem_version": version}}}
    )


INSTEAD = "take the distribution's Vagrant (`sudo apt-get remove vagrant`, then `make setup`)"


def test_plugin_of_the_maker_s_vagrant() -> None:
    is_fine(
        software.makers_plugin([noted_plugin("0.12.2")], "~/.vagrant.d", private=False),
        "vagrant-libvirt 0.12.2 (oldest that works: 0.10.0)",
    )
    is_wrong(
        software.makers_plugin([noted_plugin("0.9.0")], "~/.vagrant.d", private=False),
        "vagrant-libvirt is 0.9.0, and the lab needs 0.10.0 or newer (the first with Vagrant's snapshots, for `outlive reset`): "
        "install a newer one, Debian 12 has one",
    )
    nothing: list[list[str]] = [[], ["{"], ["[]"], ['{"version": "1", "installed": {}}']]
    for plugins in nothing:
        is_wrong(
            software.makers_plugin(plugins, "~/.vagrant.d", private=False),
            "vagrant is its maker's own package (/opt/vagrant), which doesn't see the distribution's vagrant-libvirt, and has none of its own in ~/.vagrant.d: "
            f"run `vagrant plugin install vagrant-libvirt` (it needs a compiler and libvirt-dev), or {INSTEAD}",
        )
    is_wrong(
        software.makers_plugin([], "/x/.lab/vagrant.d", private=True),
        "vagrant is its maker's own package (/opt/vagrant), which doesn't see the distribution's vagrant-libvirt, and has none of its own in /x/.lab/vagrant.d: "
        f"{INSTEAD}",
    )


def test_plugins_are_read(tmp_path: Path) -> None:
    assert software.read_plugins(tmp_path / "none") == software.read_plugins(tmp_path)
    (tmp_path / "plugins.json").write_text(noted_plugin("0.12.2"), encoding="utf-8")
    assert software.read_plugins(tmp_path)[0] == noted_plugin("0.12.2")


def test_go() -> None:
    is_fine(software.go("1.27.3", there=True), "Go 1.27.3: there")
    is_note(
        software.go("1.27.3", there=False),
        "not installed yet: Go 1.27.3, with which the mirror is built: `make lab` installs it, `make setup` does only that",
    )


def test_python() -> None:
    is_fine(software.python((3, 12), "/usr/bin/python3"), "Python 3.12 (oldest that works: 3.11)")
    is_wrong(
        software.python((3, 9), "/usr/bin/python3"), "/usr/bin/python3 is Python 3.9, the lab needs 3.11 or newer: use Debian 12 or newer"
    )
    assert environment.python_version()[0] >= OLDEST_PYTHON


def test_environment() -> None:
    is_fine(software.environment(there=True, foreign=False), "Python environment: there")
    is_note(
        software.environment(there=False, foreign=False),
        "the Python environment isn't made yet, so the inventory's sizes and network weren't looked at: run `make setup`, then `outlive doctor` again",
    )
    is_wrong(
        software.environment(there=False, foreign=True),
        ".venv is a folder that the lab did not make: move it away, the lab links its own environment there",
    )


def test_missing_packages() -> None:
    is_fine(software.missing([], installable=True), "programs: all there")
    is_note(
        software.missing(["vagrant", "git", "git"], installable=True),
        "not installed yet: git, vagrant (Debian's names): `make lab` installs them, `make setup` does only that",
    )
    is_wrong(software.missing(["vagrant"], installable=False), "not installed: vagrant (Debian's names): run `make setup`, or install them")


def test_privileges() -> None:
    is_fine(software.privileges(root=True, sudo=False), "root: this user")
    is_fine(software.privileges(root=False, sudo=True), "root: by sudo")
    is_wrong(
        software.privileges(root=False, sudo=False),
        "this user isn't root and there is no sudo, which the lab's own libvirt needs: install sudo, run as root, or use the system's libvirt "
        "(be a member of the group libvirt, OUTLIVE_LIBVIRT 'system')",
    )


def test_privileges_to_install() -> None:
    is_fine(software.privileges(root=False, sudo=True, installs=True), "root: by sudo")
    is_wrong(
        software.privileges(root=False, sudo=False, installs=True),
        "this user isn't root and there is no sudo, by which `make setup` installs packages: install sudo, or the packages as root",
    )


def test_a_program_that_hangs_is_given_up(tmp_path: Path) -> None:
    assert said(["sleep", "60"], timeout=0.2) is None
    assert said([str(tmp_path / "no-such-program")]) is None
    assert said(["false"]) is None
    assert said(["echo", "there"]) == "there"


# Networks


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("eth0", ""),
        ("docker0", " (a network of Docker's, see `docker network ls`)"),
        ("br-0123456789ab", " (a network of Docker's, see `docker network ls`)"),
        ("virbr1", " (a network of libvirt's, see `virsh net-list`)"),
    ],
)
def test_network_that_another_interface_has(name: str, whose: str) -> None:
    links = [link("lo", "127.0.0.1/8", "::1/128"), link(name, "10.9.0.1/16")]
    is_wrong(
        networks.free("10.9.8.0/24", links, "virbr7"),
        f"lab_network is 10.9.8.0/24, and the host's interface {name}{whose} has 10.9.0.1/16 in it: "
        "give lab_network and the addresses in inventories/lab/hosts.yml another network",
    )
    is_fine(networks.free("10.9.8.0/24", links, name), "network 10.9.8.0/24 is free")  # the lab's own bridge
    is_fine(networks.free("10.8.8.0/24", links, "virbr7"), "network 10.8.8.0/24 is free")


def test_management_network_that_another_interface_has() -> None:
    setting = "lab_libvirt_management_network"
    is_wrong(
        networks.free("10.9.8.0/24", [link("eth0", "10.9.8.7/24")], "", setting),
        f"{setting} is 10.9.8.0/24, and the host's interface eth0 has 10.9.8.7/24 in it: "
        f"give {setting} in inventories/lab/group_vars/all/vagrant.yml another network",
    )
    is_wrong(
        networks.free("nowhere", [], "", setting),
        f"{setting} is 'nowhere', which is no network ('nowhere' does not appear to be an IPv4 or IPv6 network): "
        "write it like 192.0.2.0/24 in inventories/lab/group_vars/all/vagrant.yml",
    )


DOCKER_CURE = (
    'give Docker other "default-address-pools" in /etc/docker/daemon.json, '
    "or lab_network and the addresses in inventories/lab/hosts.yml another network"
)


def test_docker_s_own_pools() -> None:
    is_fine(networks.docker("192.168.56.0/24", None, []), "Docker: makes 18 networks before it reaches 192.168.56.0/24")
    is_fine(networks.docker("10.1.2.0/24", "{}", []), "Docker: takes no network of 10.1.2.0/24")
    is_note(
        networks.docker("172.17.5.0/24", None, []),
        f"lab_network is 172.17.5.0/24, and Docker may take 172.17.0.0/16 for the 1st network that it makes from now on, if the lab isn't up then: {DOCKER_CURE}",
    )


def test_docker_has_used_most_of_its_pools() -> None:
    used = [link(f"br-{number:012x}", f"172.{number}.0.1/16") for number in range(17, 32)]
    is_note(
        networks.docker("192.168.56.0/24", None, used),
        f"lab_network is 192.168.56.0/24, and Docker may take 192.168.48.0/20 for the 4th network that it makes from now on, if the lab isn't up then: {DOCKER_CURE}",
    )


def test_docker_s_pools_in_daemon_json() -> None:
    pools = {
        "default-address-pools": [
            {"base": "10.8.0.0/16", "size": 24},
            {"base": "fd00::/48", "size": 64},
            {"base": "10.9.0.0/16", "size": 24},
        ]
    }
    is_note(
        networks.docker("10.8.1.0/24", json.dumps(pools), [link("docker0", "10.8.0.1/24")]),
        f"lab_network is 10.8.1.0/24, and Docker may take 10.8.1.0/24 for the 1st network that it makes from now on, if the lab isn't up then: {DOCKER_CURE}",
    )
    is_fine(networks.docker("10.8.200.0/24", json.dumps(pools), []), "Docker: makes 200 networks before it reaches 10.8.200.0/24")
    is_fine(
        networks.docker("10.9.200.0/24", json.dumps(pools), []), "Docker: makes 256 networks and more before it could reach 10.9.200.0/24"
    )
    is_fine(
        networks.docker("192.168.56.0/24", json.dumps(pools), []),
        "Docker: makes 256 networks and more before it could reach 192.168.56.0/24",
    )
    is_note(
        networks.docker("10.8.1.0/24", '{"bip": "10.8.1.1/24"}', []),
        'lab_network is 10.8.1.0/24, and "bip" in /etc/docker/daemon.json gives Docker 10.8.1.0/24, once it is started: change either',
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"default-address-pools": [{"base": "10.8.0.0/16"}]}', '{"bip": "here"}'])
def test_daemon_json_that_is_broken(text: str) -> None:
    finding = networks.docker("10.8.1.0/24", text, [])
    assert finding.verdict == "note"
    assert finding.sentence.startswith("/etc/docker/daemon.json can't be read (")
    assert finding.sentence.endswith("), so Docker's networks weren't compared with 10.8.1.0/24: correct it")


def test_settings_of_the_snap_s_docker() -> None:
    """The snap reads none in /etc."""
    file = "/var/snap/docker/current/config/daemon.json"
    is_note(
        networks.docker("172.17.5.0/24", None, [], file),
        f"lab_network is 172.17.5.0/24, and Docker may take 172.17.0.0/16 for the 1st network that it makes from now on, if the lab isn't up then: "
        f"{DOCKER_CURE.replace('/etc/docker/daemon.json', file)}",
    )
    assert networks.docker("10.8.1.0/24", "{", [], file).sentence.startswith(f"{file} can't be read (")


def test_docker_s_settings_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, snap = str(tmp_path / "etc.json"), str(tmp_path / "snap.json")
    monkeypatch.setattr(networks, "DOCKER_SETTINGS", (usual, snap))
    assert networks.read_docker()[1] is None
    Path(snap).write_text("{}", encoding="utf-8")
    assert networks.read_docker() == (snap, "{}")
    Path(usual).write_text('{"bip": "10.8.1.1/24"}', encoding="utf-8")
    assert networks.read_docker() == (usual, '{"bip": "10.8.1.1/24"}')


@pytest.mark.parametrize(("policy", "does"), [("DROP", "drops"), (None, "by default drops")])
def test_docker_that_cuts_libvirt_s_nat(policy: str | None, does: str) -> None:
    is_note(
        networks.forwarding("nftables", None, policy),
        f"Docker {does} what this host forwards (`sudo iptables -S FORWARD`), and libvirt's rules in nftables don't lift that, so the VMs may reach no packages and "
        'images: write `firewall_backend = "iptables"` into /etc/libvirt/network.conf and restart libvirt (`sudo systemctl restart libvirtd`), '
        'or write "ip-forward-no-drop": true into /etc/docker/daemon.json (Docker 28 or newer) and restart this host',
    )


@pytest.mark.parametrize(
    ("backend", "daemon_json", "policy"),
    [
        ("iptables", None, "DROP"),
        ("nftables", None, "ACCEPT"),
        ("nftables", '{"ip-forward-no-drop": true}', None),
        ("nftables", '{"iptables": false}', None),
    ],
)
def test_docker_that_leaves_libvirt_s_nat(backend: str, daemon_json: str | None, policy: str | None) -> None:
    is_fine(networks.forwarding(backend, daemon_json, policy), "Docker: doesn't cut the network by which the VMs reach out")


@pytest.mark.parametrize("broken", ["{", "[]"])
def test_docker_s_settings_that_say_nothing(broken: str) -> None:
    assert networks.forwarding("nftables", broken, "DROP").verdict == "note"


@pytest.mark.parametrize(
    ("text", "nft", "backend"),
    [
        (None, True, "iptables"),
        ("# nothing of it\n", True, "iptables"),
        ('#firewall_backend = "nftables"\n', True, "nftables"),
        ('#firewall_backend = "nftables"\n', False, "iptables"),
        ('#firewall_backend = "iptables"\n', True, "iptables"),
        ('#firewall_backend = "nftables"\nfirewall_backend = "iptables"\n', True, "iptables"),
        ('#firewall_backend = "iptables"\nfirewall_backend="nftables"\n', False, "nftables"),
    ],
)
def test_where_libvirt_has_its_rules(text: str | None, nft: bool, backend: str) -> None:
    assert networks.libvirt_backend(text, nft=nft) == backend


@pytest.mark.parametrize(
    ("printed", "policy"), [("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n", "DROP"), ("-P FORWARD ACCEPT\n", "ACCEPT"), (None, None)]
)
def test_policy_as_iptables_shows_it(monkeypatch: pytest.MonkeyPatch, printed: str | None, policy: str | None) -> None:
    monkeypatch.setattr(networks, "said", lambda _argv: printed)
    assert networks.read_forward_policy() == policy


def test_proxy() -> None:
    is_fine(networks.proxy({"no_proxy": "localhost", "http_proxy": ""}, sources="upstream"), "proxy: none")
    is_fine(networks.proxy({"HTTP_PROXY": "http://10.0.0.1:3128"}, sources="mirror"), "proxy: isn't asked for the lab's own addresses")
    is_note(
        networks.proxy({"https_proxy": "http://me:secret@10.0.0.1:3128", "HTTP_PROXY": "x"}, sources="upstream"),
        "HTTP_PROXY and https_proxy name a proxy for this host, and the VMs aren't told of it: where nothing but the proxy leads out, they get no packages and images "
        "from upstream, so set OUTLIVE_SOURCES to 'mirror'",
    )


def test_virtualbox_range() -> None:
    is_fine(
        networks.virtualbox_range("192.168.56.0/24", None, "7.1.4"), "VirtualBox allows 192.168.56.0/24 without /etc/vbox/networks.conf"
    )
    is_wrong(
        networks.virtualbox_range("192.168.77.0/24", None, "7.1.4"),
        "lab_network is 192.168.77.0/24, and without /etc/vbox/networks.conf VirtualBox allows only 192.168.56.0/21: write the line "
        "`* 192.168.77.0/24` into /etc/vbox/networks.conf, or give lab_network and the addresses in inventories/lab/hosts.yml a network in there",
    )
    is_fine(networks.virtualbox_range("192.168.77.0/24", None, "6.1.26"), "VirtualBox 6.1.26 allows any host-only network")
    conf = "# ours\n* 10.0.0.0/8 192.168.77.0/24\n  * 2001::/64\n"
    is_fine(
        networks.virtualbox_range("192.168.77.0/24", conf, None),
        "VirtualBox allows 192.168.77.0/24 with this host's /etc/vbox/networks.conf",
    )
    assert "with this host's /etc/vbox/networks.conf VirtualBox allows only 10.0.0.0/8, 192.168.77.0/24, 2001::/64: write" in (
        networks.virtualbox_range("192.168.56.0/24", conf, None).sentence
    )
    assert "VirtualBox allows only nothing: write" in networks.virtualbox_range("192.168.56.0/24", "# empty\n", None).sentence


@pytest.mark.parametrize("wanted", ["", "nowhere", "192.0.2.1/24"])
def test_no_network_is_told_once(wanted: str) -> None:
    """By `networks.free`; the others have nothing to compare."""
    assert networks.free(wanted, [], "").verdict == "WRONG"
    is_fine(networks.docker(wanted, None, []), f"Docker: not compared with '{wanted}', which is no network")
    is_fine(networks.virtualbox_range(wanted, None, None), f"VirtualBox's range: not compared with '{wanted}', which is no network")


def test_mirror_s_ports() -> None:
    ports = (8480, 8481)
    is_fine(networks.mirror_ports(ports, {8480: True, 8481: True}), "mirror: served on ports 8480 and 8481")
    is_wrong(
        networks.mirror_ports(ports, {8480: True, 8481: False}),
        "port 8481 of this host, where the VMs look for the mirror, is taken by another program: end that (`ss -ltnp 'sport = :8481'` names it), then run the command again",
    )
    served: list[Mapping[int, bool]] = [{}, {8480: True}]
    for each in served:
        is_note(
            networks.mirror_ports(ports, each),
            "the mirror isn't served, and only a lab with a libvirt of its own starts its server by itself: once `outlive mirror build` has built it, "
            "run `outlive mirror serve` in another terminal before playbooks/site.yml begins",
        )


def test_listeners_as_the_kernel_lists_them() -> None:
    header = "  sl  local_address rem_address   st tx_queue\n"
    loopback = "0100007F" if sys.byteorder == "little" else "7F000001"
    rows = f"   0: {loopback}:2120 00000000:0000 0A 0\n   1: 00000000:2121 00000000:0000 0A 0\n   2: {loopback}:1F90 00000000:0000 01 0\n"
    assert networks.listeners(header + rows) == {8480: "127.0.0.1", 8481: "0.0.0.0"}
    everywhere, one = f"{'0' * 32}:2120", f"{'0' * 24}01000000:2121"
    assert networks.listeners(f"{header}   0: {everywhere} {'0' * 32}:0000 0A 0\n   1: {one} {'0' * 32}:0000 0A 0\n") == {8480: "0.0.0.0"}


def test_who_answers_on_the_mirror_s_ports(tmp_path: Path) -> None:
    """Packages: a program that answers as the mirror does; images: one that says nothing."""
    (tmp_path / "debian/dists").mkdir(parents=True)
    files = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    )
    thread = threading.Thread(target=files.serve_forever)
    thread.start()
    try:
        with socket.socket() as mute, socket.socket() as unused:
            mute.bind(("127.0.0.1", 0))
            mute.listen()
            unused.bind(("127.0.0.1", 0))
            packages_port, images_port, free_port = files.server_port, mute.getsockname()[1], unused.getsockname()[1]
            assert networks.read_mirror((packages_port, images_port)) == {packages_port: True, images_port: False}
            assert networks.read_mirror((images_port, free_port)) == {images_port: False}
    finally:
        files.shutdown()
        files.server_close()
        thread.join()


# Processor, system and hypervisors


def test_system() -> None:
    is_fine(hypervisors.system("Linux", "x86_64"), "system: Linux on x86_64")
    is_wrong(
        hypervisors.system("Darwin", "x86_64"),
        "this host runs Darwin on x86_64, and `make lab` needs Linux (/proc, ip, apt or libvirt): run it on a Linux host, or in a Linux VM on this one",
    )
    assert "needs Linux (/proc, ip, apt or libvirt), and this Mac's processor runs arm64 machines only: run" in (
        hypervisors.system("Darwin", "arm64").sentence
    )


def test_architecture() -> None:
    is_fine(hypervisors.architecture("x86_64", AMD64, mirror=True, vagrant="2.3.4"), "processor: x86_64, the box is amd64")
    is_fine(hypervisors.architecture("x86_64", ARM64, mirror=True, vagrant="2.3.4"), "processor: x86_64, the box is arm64, emulated")
    is_fine(hypervisors.architecture("aarch64", AMD64, mirror=True, vagrant="2.3.4"), "processor: aarch64, the box is amd64, emulated")
    is_wrong(
        hypervisors.architecture("riscv64", AMD64, mirror=False, vagrant="2.4.1"),
        "this host's processor is riscv64, and there are boxes for x86_64 and aarch64 only: use a host with one of those",
    )
    is_wrong(
        hypervisors.architecture("aarch64", ARM64, mirror=False, vagrant="2.3.4"),
        "this host's processor is aarch64, and Vagrant 2.3.4 would take the amd64 box, since it knows no box architectures before 2.4.0: install a newer Vagrant",
    )
    # The mirror's box has a name of its own, by which any Vagrant finds it.
    for mirror, vagrant in ((False, "2.4.1"), (False, None), (True, "2.3.4")):
        is_note(
            hypervisors.architecture("arm64", ARM64, mirror=mirror, vagrant=vagrant),
            "this host's processor is arm64, for which there is a box, but nobody has run the lab on one so far: tell the project what you see",
        )


KVM_CURE = "unload it (`sudo modprobe -r kvm_amd kvm`), or boot with kvm.enable_virt_at_load=0, or leave VirtualBox for KVM (OUTLIVE_PROVIDER 'libvirt')"


@pytest.mark.parametrize("version", ["7.0.20", "7.2.14", None])
def test_virtualbox_beside_kvm_that_keeps_virtualization(version: str | None) -> None:
    is_wrong(
        hypervisors.kvm_beside_virtualbox(hypervisors.Kvm("6.12.3-amd64", "kvm_amd", at_load=True), version),
        "VirtualBox can't start a VM while the module kvm_amd is loaded, since kernels from 6.12 on (here 6.12.3-amd64) "
        f"turn virtualization on for KVM alone: {KVM_CURE}",
    )


@pytest.mark.parametrize(("version", "named"), [("7.2.4", "7.2.4"), (None, "of an unknown version")])
def test_virtualbox_beside_kvm_that_would_lend(version: str | None, named: str) -> None:
    is_note(
        hypervisors.kvm_beside_virtualbox(hypervisors.Kvm("6.18.2", "kvm_amd", at_load=True), version),
        f"the module kvm_amd is loaded, and VirtualBox {named} may be unable to start a VM beside it on kernel 6.18.2: if it says "
        f"VERR_VMX_IN_VMX_ROOT_MODE or VERR_SVM_IN_USE, install VirtualBox 7.2.10 or newer, or {KVM_CURE}",
    )


@pytest.mark.parametrize(
    ("kvm", "version"),
    [
        (hypervisors.Kvm("6.12.3", None, at_load=True), "7.0.20"),
        (hypervisors.Kvm("6.12.3", "kvm_intel", at_load=False), "7.0.20"),
        (hypervisors.Kvm("6.1.0-40-amd64", "kvm_intel", at_load=True), "7.0.20"),
        (hypervisors.Kvm("6.18.2", "kvm_intel", at_load=True), "7.2.14"),
    ],
)
def test_virtualbox_that_kvm_leaves_room(kvm: hypervisors.Kvm, version: str) -> None:
    is_fine(hypervisors.kvm_beside_virtualbox(kvm, version), "VirtualBox: KVM doesn't keep virtualization to itself")


VAGRANT_CURE = "(https://developer.hashicorp.com/vagrant/install; Debian's is 2.3, whatever the release)"


@pytest.mark.parametrize(
    ("vagrant", "virtualbox", "taken", "first"),
    [
        ("2.3.7", "7.2.22", "7.0", "2.4.9"),
        ("2.3.4", "7.1.4", "7.0", "2.4.2"),
        ("2.4.8", "7.2.0", "7.1", "2.4.9"),
        ("2.2.19", "7.0.20", "6.1", "2.3.2"),
    ],
)
def test_virtualbox_that_is_too_new_for_vagrant(vagrant: str, virtualbox: str, taken: str, first: str) -> None:
    is_wrong(
        hypervisors.vagrant_for_virtualbox(vagrant, virtualbox),
        f"VirtualBox is {virtualbox}, and Vagrant {vagrant} takes none that is newer than {taken}: install Vagrant {first} or newer {VAGRANT_CURE}, "
        f"or VirtualBox {taken}, or use KVM (OUTLIVE_PROVIDER 'libvirt')",
    )


@pytest.mark.parametrize(
    ("vagrant", "virtualbox"), [("2.4.9", "7.2.22"), ("2.4.10", "7.2.4"), ("2.4.2", "7.1.4"), ("2.3.4", "7.0.20"), ("2.2.8", "6.1.50")]
)
def test_virtualbox_that_vagrant_takes(vagrant: str, virtualbox: str) -> None:
    is_fine(hypervisors.vagrant_for_virtualbox(vagrant, virtualbox), f"VirtualBox {virtualbox}: Vagrant {vagrant} takes it")


def test_virtualbox_and_vagrant_that_can_not_be_compared() -> None:
    is_note(
        hypervisors.vagrant_for_virtualbox("2.4.9", "8.0.2"),
        "VirtualBox is 8.0.2, and the newest one that a Vagrant is known to take is 7.2 (Vagrant 2.4.9; here 2.4.9): if it refuses this one, "
        "install a newer Vagrant (https://developer.hashicorp.com/vagrant/install) or VirtualBox 7.2",
    )
    is_fine(hypervisors.vagrant_for_virtualbox(None, "7.2.4"), "VirtualBox 7.2.4: not compared with a Vagrant of unknown version")
    is_note(
        hypervisors.vagrant_for_virtualbox("2.4.9", None),
        "`VBoxManage --version` names no version, so whether Vagrant takes this VirtualBox is unknown: see what it prints, its kernel module may be missing",
    )


def test_system_libvirt() -> None:
    is_fine(hypervisors.system_libvirt(answers=True), "libvirt: the system's answers")
    is_wrong(
        hypervisors.system_libvirt(answers=False),
        "the system's libvirt doesn't answer this user (`virsh -c qemu:///system list` says why): start libvirtd (`sudo systemctl start libvirtd`), "
        "join its group (`sudo usermod -aG libvirt \"$USER\"`, then log in anew), or set OUTLIVE_LIBVIRT to 'private'",
    )


def test_disks_that_apparmor_denies() -> None:
    is_fine(hypervisors.confined("/var/lib/libvirt/images", apparmor=True), "AppArmor: allows the disks of VMs where they lie")
    is_fine(hypervisors.confined("/home/me/images", apparmor=True), "AppArmor: allows the disks of VMs where they lie")
    is_fine(hypervisors.confined(None, apparmor=True), "AppArmor: allows the disks of VMs where they lie")
    is_fine(hypervisors.confined("/home/me/.vms", apparmor=False), "AppArmor: is off")
    for pool in ("/home/me/.local/share/libvirt/images", "/root/.vms", "/home/me/bin"):
        is_wrong(
            hypervisors.confined(pool, apparmor=True),
            f"libvirt's pool 'default' lies in {pool}, where libvirt's AppArmor profile denies QEMU the disks of VMs: give the pool another folder "
            "(`virsh -c qemu:///system pool-edit default`), such as /var/lib/libvirt/images",
        )


@pytest.mark.parametrize(
    ("reason", "device", "flags", "module", "cure"),
    [
        (
            "/dev/kvm can't be opened by this user",
            True,
            {"vmx"},
            "kvm_intel",
            'join its group (`sudo usermod -aG kvm "$USER"`) and log in anew',
        ),
        (
            "a kernel did not boot within 25 s",
            True,
            {"vmx"},
            "kvm_intel",
            "where this host is a VM itself, ask for nested virtualization that works; then reboot",
        ),
        (
            "/dev/kvm is there, but qemu-system-x86_64 isn't installed yet to try it",
            True,
            {"vmx"},
            "kvm_intel",
            "run `make setup`, then `outlive doctor` again",
        ),
        (
            "/dev/kvm is there, but no kernel was found to try it with",
            True,
            {"vmx"},
            "kvm_intel",
            "run `make setup`, then `outlive doctor` again",
        ),
        (
            "a kernel did not boot (failed to initialize kvm: Device or resource busy)",
            True,
            {"vmx"},
            "kvm_intel",
            "end the VMs of the other hypervisor (VirtualBox's, for one), then run the command again",
        ),
        ("there is no /dev/kvm", False, {"vmx"}, None, "load KVM's module (`sudo modprobe kvm_intel`)"),
        ("there is no /dev/kvm", False, {"svm"}, None, "load KVM's module (`sudo modprobe kvm_amd`)"),
        (
            "there is no /dev/kvm",
            False,
            {"svm"},
            "kvm_amd",
            "/dev/kvm isn't there although the module is: where this host is a container, give it the device",
        ),
        (
            "there is no /dev/kvm",
            False,
            {"sse"},
            None,
            "turn VT-x or AMD-V on in the firmware; where this host is a VM itself, turn nested virtualization on outside of it",
        ),
    ],
)
def test_way_out_of_emulation(reason: str, device: bool, flags: set[str], module: str | None, cure: str) -> None:
    is_note(
        hypervisors.emulated(reason, device, flags, module),
        f"the VMs are emulated, which is slow, since KVM can't be used ({reason}): {cure}",
    )


def test_pool_as_virsh_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "<pool type='dir'>\n  <name>default</name>\n  <target>\n    <path>/home/me/.vms</path>\n  </target>\n</pool>\n"
    monkeypatch.setattr(hypervisors, "said", lambda _argv: shown)
    assert hypervisors.read_pool() == "/home/me/.vms"
    monkeypatch.setattr(hypervisors, "said", lambda _argv: None)
    assert hypervisors.read_pool() is None


# Where checkout and cache lie

NO_MODES = "whose files have no modes of their own, so that ssh refuses the VMs' keys and Ansible its settings"
MOUNTS = """\
76 102 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard,errors=remount-ro,data=ordered
98 76 0:51 / /mnt/c rw,noatime - 9p C:\\134 rw,aname=drvfs;path=C:\\;uid=1000;gid=1000;symlinkroot=/mnt/,mmap,access=client,msize=65536,trans=fd,rfd=5,wfd=5
99 76 0:52 / /media/a\\040stick rw - vfat /dev/sdd1 rw
100 76 0:53 / /srv rw - ext4 /dev/sde rw
101 76 0:54 / /srv rw - xfs /dev/sdf rw
"""
"""As WSL 2 lists what is mounted, and three more."""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/mnt/c/Users/me/outlive", "9p"),
        ("/mnt/c", "9p"),
        ("/mnt/cd", "ext4"),
        ("/home/me/outlive", "ext4"),
        ("/media/a stick/outlive", "vfat"),
        ("/srv/outlive", "xfs"),
    ],
)
def test_file_system_of_a_folder(folder: str, kind: str) -> None:
    assert checkout.type_of(Path(folder), MOUNTS) == kind


def test_file_system_that_is_not_named() -> None:
    assert checkout.type_of(Path("/home/me"), "") is None
    assert checkout.type_of(ROOT, Path("/proc/self/mountinfo").read_text(encoding="utf-8")) is not None


def test_checkout_on_a_drive_of_windows() -> None:
    here = Path("/mnt/c/Users/me/outlive")
    for kind in ("9p", "virtiofs", "drvfs"):
        is_wrong(
            checkout.file_system("checkout", here, kind, wsl=True),
            f"the checkout /mnt/c/Users/me/outlive lies on a drive of Windows (WSL's {kind}), {NO_MODES}: clone the project into a folder of Linux' own, such as in the home folder",
        )
    is_fine(checkout.file_system("checkout", here, "9p", wsl=False), "the checkout lies on a file system of type 9p")
    is_fine(checkout.file_system("checkout", here, None, wsl=True), "the checkout lies on a file system of type unknown")


def test_folders_without_modes() -> None:
    is_wrong(
        checkout.file_system("cache", Path("/media/stick/cache"), "vfat", wsl=False),
        f"the cache /media/stick/cache lies on a file system of type vfat, {NO_MODES}: set OUTLIVE_CACHE to a folder of Linux' own, such as in the home folder",
    )


def test_sockets_of_ssh() -> None:
    short, long = Path("/srv/outlive/.lab/ssh"), Path(f"/srv/{'o' * 70}/.lab/ssh")
    is_fine(checkout.sockets(short, long), "ssh's sockets: they lie in the checkout")
    is_fine(checkout.sockets(long, short), f"ssh's sockets: they lie in {short}, as the checkout's path is too long")
    is_wrong(
        checkout.sockets(long, long),
        f"neither {long} nor {long} is short enough for ssh's sockets, whose paths may have 107 characters with the 28 that Ansible and ssh add: "
        "clone the project into a folder with a shorter path, or set OUTLIVE_CACHE to one",
    )
    exact = Path(f"/{'x' * (settings.SOCKET_PATH - settings.CONTROL_PATH - 1)}")
    assert checkout.sockets(exact, long).ok
    assert not checkout.sockets(exact.with_name(f"{exact.name}y"), long).ok
    assert not checkout.sockets(exact.with_name("ä" * (len(exact.name) - 1)), long).ok, "bytes count"


def test_length_of_a_socket_s_path(tmp_path: Path) -> None:
    """The kernel's own limit."""
    folder = tmp_path / "s"
    folder.mkdir()
    room = settings.SOCKET_PATH - len(str(folder)) - 1
    if room < 1:
        pytest.skip("the tests' own folder has a path that is too long")
    with socket.socket(socket.AF_UNIX) as fits, socket.socket(socket.AF_UNIX) as too_long:
        fits.bind(str(folder / ("x" * room)))
        with pytest.raises(OSError, match="too long"):
            too_long.bind(str(folder / ("x" * (room + 1))))


def test_this_checkout_is_looked_at() -> None:
    found = [finding.sentence for finding in checkout.read()]
    assert [sentence.split(" lies ")[0] for sentence in found[:2]] == ["the checkout", "the cache"]
    assert "ssh's sockets" in found[2]


# The clock

NOW = float(calendar.timegm((2026, 11, 25, 12, 0, 0)))


def test_clock_that_is_behind_what_was_written() -> None:
    written = {"the checkout's newest commit": NOW, "the mirror's newest package list": NOW + 60}
    is_fine(clock.plausible(NOW, written), "clock: 2026-11-25 12:00 UTC")
    is_fine(clock.plausible(NOW - clock.SLACK, {"the checkout's newest commit": NOW}), "clock: 2026-11-24 12:00 UTC")
    is_fine(clock.plausible(NOW, {}), "clock: 2026-11-25 12:00 UTC")
    is_wrong(
        clock.plausible(0.0, written),
        "this host's clock says 1970-01-01 00:00 UTC, and the mirror's newest package list is of 2026-11-25 12:01 UTC: certificates and apt's Release "
        "files would count as not yet valid, so set the clock (`sudo timedatectl set-ntp true`, or `sudo date --set '...'`)",
    )


def test_synchronization() -> None:
    is_fine(clock.synchronized(0), "clock: synchronized, says the kernel")
    is_note(
        clock.synchronized(clock.UNSYNCHRONIZED),
        "the kernel says that nothing keeps this host's clock right, and the VMs take their time from it: run chrony or systemd-timesyncd "
        "(`sudo timedatectl set-ntp true`)",
    )
    is_note(
        clock.synchronized(None),
        "whether this host's clock is kept right is unknown, as the system has no adjtimex: the VMs take their time from it",
    )


def test_the_kernel_is_asked() -> None:
    """TIME_OK to TIME_ERROR are 0 to 5."""
    answer = clock.read_synchronized()
    assert answer is not None
    assert 0 <= answer <= clock.UNSYNCHRONIZED


def test_what_was_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path))
    for number, text in enumerate(
        ["Date: Wed, 25 Nov 2026 12:00:00 +0000\n", "Origin: Debian\nDate: Sun, 22 Nov 2026 00:00:00 +0000\n", "Date: soon\n"]
    ):
        release = tmp_path / f"store/repository-{number}/dists/trixie/Release"
        release.parent.mkdir(parents=True)
        release.write_text(text, encoding="utf-8")
    assert clock.read_written(mirror=True)["the mirror's newest package list"] == NOW
    assert "the mirror's newest package list" not in clock.read_written(mirror=False)
    assert clock.release_date("") is None


# Leftovers


def test_labs_of_deleted_checkouts() -> None:
    is_fine(leftovers.orphans([]), "no leftovers of other labs")
    gone = [private.Init(12, 1, "/srv/one"), private.Init(13, 1, "/srv/two")]
    is_note(leftovers.orphans(gone[:1]), "a lab still runs whose checkout /srv/one is gone (process 12): `make lab` clears it")
    is_note(leftovers.orphans(gone), "a lab still runs whose checkout /srv/one is gone (process 12, and 1 more): `make lab` clears it")


def test_this_checkout_s_libvirt_that_ended(tmp_path: Path) -> None:
    is_fine(leftovers.ended(None, ["n1"]), "no leftovers of this checkout's libvirt")
    is_note(
        leftovers.ended(12, ["n2", "n1"]),
        "this checkout's own libvirt (process 12) has ended with its machines n1, n2: `make lab` starts it again and goes on with their disks, "
        "`outlive destroy` removes them",
    )
    assert "(process 12) has ended: `make lab`" in leftovers.ended(12, []).sentence
    assert private.ended(tmp_path) is None
    child = subprocess.Popen(["true"])
    child.wait()
    (tmp_path / "init.json").write_text(json.dumps({"pid": child.pid, "born": 1, "root": str(ROOT)}), encoding="utf-8")
    noted = private.ended(tmp_path)
    assert noted is not None
    assert noted.pid == child.pid


ONE, TWO = "11111111-2222-3333-4444-555555555555", "66666666-2222-3333-4444-555555555555"


def test_vagrant_knows_machines_that_are_no_more() -> None:
    is_fine(leftovers.vagrant_state({}, set()), "Vagrant's machines: none yet")
    is_fine(leftovers.vagrant_state({"n1": ONE}, {ONE, TWO}), "Vagrant's machines: n1")
    is_fine(leftovers.vagrant_state({"n1": ONE}, None), "Vagrant's machines: the provider wasn't asked")
    is_note(
        leftovers.vagrant_state({"n1": ONE, "n2": TWO}, {ONE}),
        ".vagrant names machines that are no more (n2): `outlive destroy` forgets them; `make lab` makes them anew, beside what is left of the others",
    )


def test_machines_of_others_with_the_lab_s_names() -> None:
    known = leftovers.domains(f" {ONE} outlive_n1\n {TWO} other\n\n")
    assert known == {"outlive_n1": ONE, "other": TWO}
    is_fine(leftovers.foreign({"outlive_n1"}, known, {"n1": ONE}), "libvirt: no machines of the lab's names but its own")
    is_fine(leftovers.foreign({"outlive_n2"}, known, {}), "libvirt: no machines of the lab's names but its own")
    is_wrong(
        leftovers.foreign({"outlive_n1"}, known, {"n1": TWO}),
        "the system's libvirt has outlive_n1 already, which this checkout's Vagrant doesn't know: run `outlive destroy` in the checkout that made it, or remove it "
        "(`virsh -c qemu:///system undefine outlive_n1 --remove-all-storage --snapshots-metadata`), "
        "or give lab_libvirt_prefix in inventories/lab/group_vars/all/vagrant.yml another value",
    )


def test_machine_that_the_inventory_names_no_more() -> None:
    is_fine(leftovers.renamed({"n1": ONE}, ["n1", "n2"]), "the inventory names each machine that this checkout has")
    is_note(
        leftovers.renamed({"n1": ONE, "n3": TWO}, ["n1"]),
        "this checkout has n3, which inventories/lab/hosts.yml doesn't name any more, and Vagrant leaves alone: "
        "run `outlive destroy`, which removes the whole lab, or name it again there",
    )
    is_wrong(
        leftovers.renamed({"n1": ONE, "n2": TWO}, ["n1", "worker"]),
        "this checkout has n2, which inventories/lab/hosts.yml doesn't name any more, while worker is to be made, maybe with an address that is in use: "
        "run `outlive destroy`, which removes the whole lab, or name it again there",
    )
    assert "has n1, n2, which" in leftovers.renamed(["n1", "n2"], ["a", "b"]).sentence
    assert "while a, b are to be made" in leftovers.renamed(["n1", "n2"], ["a", "b"]).sentence


def test_disks_of_machines_that_are_no_more() -> None:
    there = {
        "outlive_n1.img",
        "outlive_n1-vdb.qcow2",
        "outlive_n2.img",
        "outlive_n10.img",
        "outlive-VAGRANTSLASH-full_vagrant_box_image_1_box.img",
    }
    is_wrong(
        leftovers.volumes({"outlive_n1"}, there),
        "libvirt's pool 'default' has outlive_n1-vdb.qcow2, outlive_n1.img, left of machines that are no more, and Vagrant would make no machine over them: "
        "remove them (`outlive run virsh vol-delete --pool default outlive_n1-vdb.qcow2`, likewise the others)",
    )
    assert leftovers.volumes({"outlive_n2"}, there).sentence.endswith("`outlive run virsh vol-delete --pool default outlive_n2.img`)")
    is_fine(leftovers.volumes({"outlive_n3"}, there), "libvirt: no disks left of machines that are no more")
    is_fine(leftovers.volumes(set(), there), "libvirt: no disks left of machines that are no more")


def test_disks_and_machines_of_a_private_libvirt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "FOLDER", tmp_path)
    assert leftovers.read_private_pool() == leftovers.read_defined() == set()
    for file in ("lib/images/outlive_n1.img", "etc/qemu/outlive_n2.xml", "etc/qemu/networks/outlive_lab.xml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert leftovers.read_private_pool() == {"outlive_n1.img"}
    assert leftovers.read_defined() == {"outlive_n2"}
    shutil.rmtree(tmp_path / "etc/qemu")
    (tmp_path / "etc/qemu").touch()
    assert leftovers.read_defined() is None


def test_definitions_of_a_private_libvirt(tmp_path: Path) -> None:
    assert leftovers.definitions(tmp_path / "none") == set()
    (tmp_path / "outlive_n1.xml").write_text(f"<domain><name>outlive_n1</name><uuid>{ONE}</uuid></domain>", encoding="utf-8")
    (tmp_path / "networks").mkdir()
    assert leftovers.definitions(tmp_path) == {ONE}
    (tmp_path / "broken.xml").mkdir()
    assert leftovers.definitions(tmp_path) is None
