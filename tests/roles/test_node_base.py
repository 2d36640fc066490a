"""What the role node_base makes of a machine: its interfaces, its swap and its sources of packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from outlive.base.paths import ROOT

from . import role_tasks
from .conftest import Playbook

KUBELET_EXPECTS = {
    "vm.overcommit_memory": 1,
    "vm.panic_on_oom": 0,
    "kernel.panic": 10,
    "kernel.panic_on_oops": 1,
    "kernel.keys.root_maxkeys": 1_000_000,
    "kernel.keys.root_maxbytes": 25_000_000,
}
"""What Kubernetes 1.37's kubelet finds or doesn't start, with protectKernelDefaults (pkg/kubelet/cm/container_manager_linux.go)."""


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Return the module of the filter."""
    return role_tasks.plugin("node_base", "filter_plugins/node_base.py")


def test_interfaces(filters: ModuleType) -> None:
    """Every address leads to its interface, by the name that `ip` knows: a second one, one with a label, one of an interface with a hyphen."""
    facts: dict[str, Any] = {
        "interfaces": ["lo", "eth0", "eth0:1", "br-lab", "down0"],
        "lo": {"device": "lo", "ipv4": {"address": "127.0.0.1"}},
        "eth0": {"device": "eth0", "ipv4": {"address": "192.0.2.1"}, "ipv4_secondaries": [{"address": "192.0.2.2"}]},
        "eth0_1": {"ipv4": {"address": "198.51.100.1"}},
        "br_lab": {"device": "br-lab", "ipv4": {"address": "203.0.113.1"}},
        "down0": {"device": "down0"},
    }
    assert filters.interfaces(facts) == {
        "127.0.0.1": "lo",
        "192.0.2.1": "eth0",
        "192.0.2.2": "eth0",
        "198.51.100.1": "eth0",
        "203.0.113.1": "br-lab",
    }


def test_what_was_read(filters: ModuleType) -> None:
    """Each file has its lines, whatever they have in them; numbers and lists are the kernel's."""
    text = "/proc/meminfo:MemTotal:        2014164 kB\n/proc/meminfo:SwapTotal:             0 kB\n/etc/resolv.conf:# a: b\n/etc/resolv.conf:nameserver ::1"
    files = filters.files(text)
    assert files == {
        "/proc/meminfo": ["MemTotal:        2014164 kB", "SwapTotal:             0 kB"],
        "/etc/resolv.conf": ["# a: b", "nameserver ::1"],
    }
    assert filters.number(files["/proc/meminfo"], "MemTotal") == 2014164
    assert filters.number(files["/proc/meminfo"], "SwapTotal") == 0
    assert filters.number([], "SwapTotal") == 0
    assert [filters.processors([text]) for text in ("0", "0-1", "0-3,8,10-11")] == [1, 2, 7]


def test_routes_of_an_interface(filters: ModuleType) -> None:
    """As /proc/net/route of a little-endian machine has them: a network of Services, the nodes' own and a default route elsewhere."""
    lines = [
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT",
        "eth0\t00000000\t0179A8C0\t0003\t0\t0\t1024\t00000000\t0\t0\t0",
        "eth1\t0000600A\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0",
        "eth1\t0038A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
    ]
    assert filters.routed(lines, "eth1") == ["10.96.0.0/12", "192.168.56.0/24"]
    assert filters.routed(lines, "eth0") == ["0.0.0.0/0"]
    assert filters.routed([], "eth1") == []


@pytest.mark.parametrize(
    ("lines", "found", "own"),
    [
        ([], [], []),
        (["# nameserver 127.0.0.1", "search a.example", "nameserver 192.0.2.53"], ["192.0.2.53"], []),
        (["nameserver 127.0.0.53", "options edns0"], ["127.0.0.53"], ["127.0.0.53"]),
        (["nameserver 192.0.2.53", "nameserver\t::1"], ["192.0.2.53", "::1"], ["::1"]),
        (["nameserver 0.0.0.0", "nameserver fe80::1%eth0"], ["0.0.0.0", "fe80::1%eth0"], ["0.0.0.0"]),
        (["nameserver"], [], []),
    ],
)
def test_name_servers(filters: ModuleType, lines: list[str], found: list[str], own: list[str]) -> None:
    """Those that each pod has for itself are no name servers for it."""
    assert filters.name_servers(lines) == found
    assert filters.loopback(found) == own


CLUSTER = {"pods": "10.244.0.0/16", "services": "10.96.0.0/12"}


@pytest.mark.parametrize(
    ("interface", "gateway", "servers", "found"),
    [
        ("192.168.121.0", "192.168.121.1", ["192.168.121.1"], []),
        ("10.100.0.0", None, [], ["the network of eth0 (10.100.0.0/24) is in services (10.96.0.0/12)"]),
        ("10.244.7.0", None, [], ["the network of eth0 (10.244.7.0/24) is in pods (10.244.0.0/16)"]),
        ("192.0.2.0", "10.111.0.1", [], ["the default gateway (10.111.0.1) is in services (10.96.0.0/12)"]),
        ("192.0.2.0", None, ["10.96.0.10", "10.96.0.10"], ["the name server (10.96.0.10) is in services (10.96.0.0/12)"]),
        ("192.0.2.0", None, ["2001:db8::1", "fe80::1%eth0"], []),
    ],
)
def test_networks_around_a_machine(filters: ModuleType, interface: str, gateway: str | None, servers: list[str], found: list[str]) -> None:
    """What the machine reaches is nobody's of the cluster's; interfaces that the cluster itself made don't count."""
    facts: dict[str, Any] = {
        "interfaces": ["eth0", "cni0"],
        "eth0": {"device": "eth0", "ipv4": {"address": interface, "network": interface, "netmask": "255.255.255.0"}},
        "cni0": {"device": "cni0", "ipv4": {"address": "10.244.1.1", "network": "10.244.1.0", "netmask": "255.255.255.0"}},
        "default_ipv4": {"gateway": gateway} if gateway else {},
    }
    assert filters.conflicts(CLUSTER, facts, servers, ["cni0"]) == found


def test_names_of_the_machines(playbook: Playbook, tmp_path: Path) -> None:
    """They come before all that the machine has of its own, which stays, and a link to the file stays one; run again it changes nothing."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n127.0.1.1 alpha.example alpha\n203.0.113.9 printer\n")
    (tmp_path / "link").symlink_to(hosts)
    task = role_tasks.task_of(role_tasks.read("node_base", "configure"), "Configure the names of all machines")
    task["ansible.builtin.blockinfile"]["path"] = str(tmp_path / "link")
    machines = [{"name": "alpha.example", "address": "192.0.2.10"}, {"name": "beta", "address": "192.0.2.11"}]
    for changed in (1, 0):
        result = role_tasks.run(playbook, tmp_path, "node_base", [task], {"node_base_hosts": machines})
        assert f"changed={changed} " in result.stdout, result.stdout + result.stderr
    assert (tmp_path / "link").is_symlink()
    assert hosts.read_text().splitlines() == [
        "# BEGIN Written by Ansible (role node_base).",
        "192.0.2.10 alpha.example alpha",
        "192.0.2.11 beta",
        "# END Written by Ansible (role node_base).",
        "127.0.0.1 localhost",
        "127.0.1.1 alpha.example alpha",
        "203.0.113.9 printer",
    ]


OLD = """# Written by Ansible (role node_base).
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""


@pytest.mark.parametrize(
    "above", ["", "# BEGIN Written by Ansible (role node_base).\n192.0.2.10 alpha\n# END Written by Ansible (role node_base).\n"]
)
def test_names_of_before_go(playbook: Playbook, tmp_path: Path, above: str) -> None:
    """A node that is gone, and this one's old address, would be resolved for good; what somebody wrote below them stays."""
    hosts = tmp_path / "hosts"
    hosts.write_text(above + OLD + "192.0.2.7 alpha\n192.0.2.9 gone\n# mine\n203.0.113.9 printer\n")
    tasks = [
        role_tasks.task_of(role_tasks.read("node_base", "configure"), name)
        for name in ("Remove other addresses of the machines", "Configure the names of all machines")
    ]
    told = {
        "node_base_hosts": [{"name": "alpha", "address": "192.0.2.10"}],
        "node_base_hostname": "alpha",
        "__node_base_hosts_file": str(hosts),
    }
    for changed in (1 + (not above), 0):
        result = role_tasks.run(playbook, tmp_path, "node_base", tasks, told)
        assert f"changed={changed} " in result.stdout, result.stdout + result.stderr
    block = "# BEGIN Written by Ansible (role node_base).\n192.0.2.10 alpha\n# END Written by Ansible (role node_base).\n"
    assert hosts.read_text() == block + OLD.partition("\n")[2] + "# mine\n203.0.113.9 printer\n"


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("127.0.2.1 alpha alpha", False),
        ("127.0.1.1\talpha.example.org\talpha", False),
        ("127.0.1.1 alpha.example.org", True),
        ("127.0.1.1 alphabet", True),
        ("127.0.0.1 localhost alpha", True),
        ("192.0.2.99 alpha", True),
        ("# 127.0.1.1 alpha", True),
    ],
)
def test_machine_does_not_name_itself_by_a_loopback_address(playbook: Playbook, tmp_path: Path, line: str, stays: bool) -> None:
    """As Vagrant and Debian's installer write it; the resolver prefers it. The name `localhost` isn't lost with it."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{line}\n203.0.113.9 printer\n")
    task = role_tasks.task_of(role_tasks.read("node_base", "configure"), "Remove other addresses of the machines")
    told = {"node_base_hostname": "alpha", "__node_base_hosts_file": str(hosts)}
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], told)
    assert f"changed={0 if stays else 1} " in result.stdout, result.stdout + result.stderr
    assert hosts.read_text().splitlines() == ["127.0.0.1 localhost", *([line] if stays else []), "203.0.113.9 printer"]


def test_no_file_of_names_yet(playbook: Playbook, tmp_path: Path) -> None:
    task = role_tasks.task_of(role_tasks.read("node_base", "configure"), "Remove other addresses of the machines")
    result = role_tasks.run(
        playbook, tmp_path, "node_base", [task], {"node_base_hostname": "alpha", "__node_base_hosts_file": str(tmp_path / "hosts")}
    )
    assert "failed=0" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("there", [True, False])
def test_empty_list_of_name_servers_is_the_machine_s_own(playbook: Playbook, tmp_path: Path, there: bool) -> None:
    """Its resolver needs none, or whoever fills the file hasn't yet: a link stays one."""
    file, target = tmp_path / "resolv.conf", tmp_path / "run"
    if there:
        target.touch()
        file.symlink_to(target)
    tasks = [
        role_tasks.task_of(role_tasks.read("node_base", file_of), name)
        for file_of, name in (("preflight", "Check for name servers"), ("configure", "Configure the fallback name server"))
    ]
    result = role_tasks.run(playbook, tmp_path, "node_base", tasks, {"__node_base_resolv_file": str(file)})
    assert f"changed={int(not there)} " in result.stdout, result.stdout + result.stderr
    assert file.is_symlink() == there
    assert ("nameserver" in file.read_text()) == (not there)


@pytest.mark.parametrize(("answer", "gone"), [('{"NetworkFile": "/run/systemd/network/new.network"}', 1), ('{"NetworkFile": null}', 0)])
def test_what_another_interface_was_told_goes(playbook: Playbook, tmp_path: Path, answer: str, gone: int) -> None:
    """Not while networkd has no file of any for a moment: the interface's own addition would go, and come back at the next run."""
    for name in ("old", "new"):
        (tmp_path / f"network/{name}.network.d").mkdir(parents=True)
        for file in ("kubernetes-node.conf", "mine.conf"):
            (tmp_path / f"network/{name}.network.d" / file).touch()
    tasks = [
        role_tasks.task_of(role_tasks.read("node_base", "overrides"), name)
        for name in ("Find what other interfaces were told", "Remove it")
    ]
    del tasks[1]["notify"]
    told = {
        "__node_base_additions": str(tmp_path),
        "__node_base_networkd": {"stdout": answer},
    }
    for changed in (gone, 0):
        result = role_tasks.run(playbook, tmp_path, "node_base", tasks, told)
        assert f"changed={changed} " in result.stdout, result.stdout + result.stderr
    left = sorted(str(path.relative_to(tmp_path / "network")) for path in tmp_path.glob("network/*/*"))
    kept = [
        "new.network.d/kubernetes-node.conf",
        "new.network.d/mine.conf",
        "old.network.d/kubernetes-node.conf",
        "old.network.d/mine.conf",
    ]
    assert left == [each for each in kept if not gone or each != "old.network.d/kubernetes-node.conf"]


@pytest.mark.parametrize(
    ("answer", "folder"),
    [
        ({"stdout": '{"NetworkFile": "/etc/systemd/network/50-vagrant-eth1.network"}'}, "network/50-vagrant-eth1.network.d"),
        ({"stdout": '{"NetworkFile": "/run/systemd/network/10-netplan-eth1.network"}'}, "network/10-netplan-eth1.network.d"),
        ({"stdout": '{"Name": "eth1", "NetworkFile": null}'}, ""),
        ({"stdout": ""}, ""),
        ({}, ""),
    ],
)
def test_additions_to_the_file_of_networkd(playbook: Playbook, tmp_path: Path, answer: dict[str, str], folder: str) -> None:
    """They are in /etc, whoever wrote the file; where networkd doesn't run, or doesn't configure the interface, there are none."""
    say = {"name": "Say", "ansible.builtin.debug": {"msg": "it is '{{ __node_base_network_folder }}'."}}
    result = role_tasks.run(playbook, tmp_path, "node_base", [say], {"__node_base_networkd": answer})
    assert f"it is '{folder}'." in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(("left", "refused"), [("list", False), ("md5sums", True)])
def test_package_that_is_in_the_way(playbook: Playbook, tmp_path: Path, left: str, refused: bool) -> None:
    """A package that was removed leaves its list to dpkg while a file of its settings is there."""
    (tmp_path / f"containerd.io.{left}").write_text("one line\n")
    task = role_tasks.task_of(role_tasks.read("node_base", "preflight"), "Check that no package is in the way")
    read = role_tasks.task_of(
        role_tasks.read("node_base", "facts"), "Read the sizes of memory and swap, the processors, routes and name servers"
    )
    told = {"__node_base_dpkg_folder": str(tmp_path), "node_base_runs_pods": True, "__node_base_interface": "eth0"}
    result = role_tasks.run(playbook, tmp_path, "node_base", [read, task], told)
    assert (result.returncode != 0) == refused, result.stdout + result.stderr
    if refused:
        assert "localhost has the package containerd.io, whose place" in " ".join((result.stdout + result.stderr).split())


def test_route_that_networkd_brings_back(playbook: Playbook, tmp_path: Path) -> None:
    """It is the unit's own: one that differed in anything would stand beside it."""
    task = role_tasks.task_of(
        role_tasks.read("node_base", "overrides"), "Configure systemd-networkd to keep the routes of the nodes' interface"
    )
    task["ansible.builtin.template"]["dest"] = str(tmp_path / "addition")
    del task["notify"]
    variables = {
        "__node_base_networkd": {"stdout": '{"NetworkFile": "/etc/systemd/network/1.network"}'},
        "node_base_address": "192.0.2.10",
        "node_base_routed_networks": ["10.96.0.0/12", "203.0.113.0/24"],
    }
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    written = (tmp_path / "addition").read_text().splitlines()[1:]
    assert written == [
        *("[Route]", "Destination=10.96.0.0/12", "PreferredSource=192.0.2.10", "Scope=link"),
        *("[Route]", "Destination=203.0.113.0/24", "PreferredSource=192.0.2.10", "Scope=link"),
    ]


@pytest.mark.parametrize(("routed", "changed"), [(["127.0.0.0/8"], 0), (["10.96.0.0/12"], 1)])
def test_route_that_is_gone_is_set_again(playbook: Playbook, tmp_path: Path, routed: list[str], changed: int) -> None:
    """The unit stands as it should, and the route that it set is no longer there: the next run restarts it."""
    task = role_tasks.task_of(
        role_tasks.read("node_base", "configure"), "Configure the unit for kernel modules, kernel settings and routes"
    )
    task["ansible.builtin.template"]["dest"] = str(tmp_path / "unit")
    del task["notify"]
    loopback = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\nlo\t0000007F\t0\t1\t0\t0\t0\t000000FF\t0\t0\t0"
    )
    read = "\n".join(f"/proc/net/route:{line}" for line in loopback.splitlines())
    variables = {
        "node_base_address": "127.0.0.1",
        "node_base_routed_networks": routed,
        "__node_base_interfaces": {"127.0.0.1": "lo"},
        "__node_base_text": {"stdout": read},
    }
    assert role_tasks.run(playbook, tmp_path, "node_base", [task], variables).returncode == 0
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], variables)
    assert f"changed={changed} " in result.stdout, result.stdout + result.stderr


def test_kernel_is_as_the_kubelet_expects_it() -> None:
    """The kubelets of the role control_plane change nothing of the kernel, so this role has to."""
    settings, expected = (
        yaml.safe_load((ROOT / "roles/node_base" / file).read_text())[name]
        for file, name in (("defaults/main.yml", "node_base_sysctl"), ("vars/main.yml", "__node_base_kubelet_sysctl"))
    )
    assert expected == KUBELET_EXPECTS
    assert settings.items() >= expected.items()


def test_swap_is_commented_out(playbook: Playbook, tmp_path: Path) -> None:
    """Lines of swap become comments, once; all others stay as they are, and so does a link to the file."""
    fstab = tmp_path / "fstab"
    other = "# swap was on /dev/vda5\nUUID=1 / ext4 rw 0 1\n/swap /mnt/swap ext4 rw 0 2\n"
    fstab.write_text(f"{other}/dev/vda5 none swap sw 0 0\n\n  /swapfile\tnone\tswap\tsw 0 0\n#/dev/vda6 none swap sw 0 0\n")
    task = role_tasks.task_of(role_tasks.read("node_base", "swap"), "Disable swap in /etc/fstab")
    (tmp_path / "link").symlink_to(fstab)
    task["ansible.builtin.replace"]["path"] = str(tmp_path / "link")
    variables = {"__node_base_text": {"stdout": "/etc/fstab:# a line"}}
    for changed in (1, 0):
        result = role_tasks.run(playbook, tmp_path, "node_base", [task], variables)
        assert f"changed={changed} " in result.stdout, result.stdout + result.stderr
    assert (tmp_path / "link").is_symlink()
    assert fstab.read_text() == (f"{other}# /dev/vda5 none swap sw 0 0\n\n#   /swapfile\tnone\tswap\tsw 0 0\n#/dev/vda6 none swap sw 0 0\n")


def test_source_of_packages(playbook: Playbook, tmp_path: Path) -> None:
    """Each field stands in the source; a key has its lines indented, and a point for an empty one."""
    task = role_tasks.task_of(role_tasks.read("node_base", "apt"), "Configure the archive")
    task["ansible.builtin.template"]["dest"] = str(tmp_path / "node-base.sources")
    fields = {"URIs": "http://192.0.2.1/debian", "Suites": "trixie", "Components": "main", "Signed-By": "-----BEGIN\n\nabc\n-----END\n"}
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], {"node_base_apt_source": fields})
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "node-base.sources").read_text().splitlines() == [
        "# Written by Ansible (role node_base).",
        "Types: deb",
        "URIs: http://192.0.2.1/debian",
        "Suites: trixie",
        "Components: main",
        "Signed-By:",
        " -----BEGIN",
        " .",
        " abc",
        " -----END",
    ]


def test_proxy_of_apt(playbook: Playbook, tmp_path: Path) -> None:
    """As apt itself reads it; networks and domains, which it doesn't know, are passed over."""
    task = role_tasks.task_of(role_tasks.read("node_base", "apt"), "Configure the proxy")
    task["ansible.builtin.template"]["dest"] = str(tmp_path / "proxy")
    told = {
        "node_base_proxy": "http://me:word@192.0.2.3:3128",
        "node_base_no_proxy": ["192.0.2.0/24", ".svc", "*.b", "192.0.2.10", "mirror.example"],
    }
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], told)
    assert result.returncode == 0, result.stdout + result.stderr
    shown = subprocess.run(
        ["apt-config", "--config-file", str(tmp_path / "proxy"), "dump", "--format", "%f %v%n", "Acquire::http::Proxy"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert shown.stdout.splitlines() == [
        "Acquire::http::Proxy http://me:word@192.0.2.3:3128",
        "Acquire::http::Proxy::192.0.2.10 DIRECT",
        "Acquire::http::Proxy::mirror.example DIRECT",
    ]
    assert (tmp_path / "proxy").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("told", "there", "left"), [("", True, False), ("", False, False), ("http://192.0.2.3:3128", True, True)])
def test_proxy_that_nobody_wants_any_more(playbook: Playbook, tmp_path: Path, told: str, there: bool, left: bool) -> None:
    """Its file goes; where there is none, nothing is asked of the machine."""
    file = tmp_path / "proxy"
    if there:
        file.write_text('Acquire::http::Proxy "http://192.0.2.4";\n')
    task = role_tasks.task_of(role_tasks.read("node_base", "apt"), "Remove the proxy")
    variables = {
        "node_base_proxy": told,
        "__node_base_apt_proxy_file": str(file),
        "__node_base_text": {"stdout": f"{file}:a" if there else ""},
    }
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert file.exists() == left
    assert f"skipped={int(left or not there)} " in result.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kubernetes.sources", "Types: deb\nURIs: https://pkgs.k8s.io/core:/stable:/v1.37/deb/\nSuites: /\n"),
        ("docker.list", "deb [arch=amd64] https://download.docker.com/linux/debian trixie stable\n"),
        ("sources.list", "# See debian.sources; main is there.\n"),
        ("debian.sources.disabled", ""),
    ],
)
def test_the_only_archive_stays(playbook: Playbook, tmp_path: Path, name: str, text: str) -> None:
    """A machine that has no source of its own any more would have none at all; what others' sources have is no package of Debian's."""
    archive = tmp_path / "node-base.sources"
    archive.write_text("the archive\n")
    (tmp_path / name).write_text(text)
    names = ("Check for an archive that is no longer wanted", "Restore the machine's own sources")
    tasks = [role_tasks.task_of(role_tasks.read("node_base", "apt"), name) for name in names]
    told = {
        "__node_base_source_file": str(archive),
        "__node_base_own_sources": [str(tmp_path / "sources.list")],
        "node_base_apt_source": {},
    }
    result = role_tasks.run(playbook, tmp_path, "node_base", tasks, told)
    assert result.returncode != 0
    said = " ".join((result.stdout + result.stderr).split())
    assert (
        f"node_base_apt_source is empty, and localhost has no other source of Debian's packages (component main) than the {archive} that would go"
        in said
    )
    assert archive.exists()


@pytest.mark.parametrize(
    "text",
    [
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie trixie-updates\nComponents: main non-free-firmware\n",
        "# mine\n  deb [signed-by=/a] http://192.0.2.5/debian trixie contrib main\n",
    ],
)
def test_machine_gets_its_own_sources_back(playbook: Playbook, tmp_path: Path, text: str) -> None:
    """Where the archive is no longer wanted; one that never had another archive is left alone."""
    own, disabled, archive = tmp_path / "debian.sources", tmp_path / "debian.sources.disabled", tmp_path / "node-base.sources"
    own.write_text(text)
    names = ("Configure the archive", "Move the machine's own sources out of apt's sight", "Check for an archive that is no longer wanted")
    tasks = [role_tasks.task_of(role_tasks.read("node_base", "apt"), name) for name in (*names, "Restore the machine's own sources")]
    told = {"__node_base_source_file": str(archive), "__node_base_own_sources": [str(own), str(tmp_path / "sources.list")]}
    wanted = {"URIs": "http://192.0.2.1/debian"}
    for source, changed, left in (({}, 0, own), (wanted, 2, disabled), (wanted, 0, disabled), ({}, 2, own), ({}, 0, own)):
        result = role_tasks.run(playbook, tmp_path, "node_base", tasks, {**told, "node_base_apt_source": source})
        assert f"changed={changed} " in result.stdout, result.stdout + result.stderr
        assert [path for path in (own, disabled) if path.exists()] == [left]
        assert left.read_text() == text
        assert archive.exists() == bool(source)


def test_unit_of_a_node(playbook: Playbook, tmp_path: Path) -> None:
    """Services are reached through the interface of the node's address."""
    task = role_tasks.task_of(
        role_tasks.read("node_base", "configure"), "Configure the unit for kernel modules, kernel settings and routes"
    )
    task["ansible.builtin.template"]["dest"] = str(tmp_path / "unit")
    del task["notify"]
    variables = {
        "node_base_address": "127.0.0.1",
        "node_base_routed_networks": ["10.96.0.0/12"],
        "node_base_kernel_modules": ["overlay", "vxlan"],
    }
    result = role_tasks.run(playbook, tmp_path, "node_base", [*role_tasks.read("node_base", "facts"), task], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    started = [line for line in (tmp_path / "unit").read_text().splitlines() if line.startswith("ExecStart=")]
    assert started[0] == "ExecStart=/usr/sbin/modprobe --all overlay vxlan"
    assert started[2] == "ExecStart=/usr/sbin/ip route replace 10.96.0.0/12 dev lo proto static scope link src 127.0.0.1"


@pytest.mark.parametrize(
    ("duration", "seconds"), [("40s", 40), ("1m30s", 90), ("0s", 0), ("0", 0), ("1.5s", 2), ("500ms", 1), ("1h", 3600)]
)
def test_seconds_of_a_duration(filters: ModuleType, duration: str, seconds: int) -> None:
    """As the kubelet takes them, rounded up."""
    assert filters.seconds(duration) == seconds


def test_profiles_of_the_inventory_leave_time_to_stop(playbook: Playbook, tmp_path: Path) -> None:
    """The kubelet's longest period is taken off the two minutes, whichever profile is in force: the inventory's own, of all its profiles."""
    say = {
        "name": "Say",
        "ansible.builtin.debug": {"msg": "delay {{ __node_base_shutdown_delay }}, limit {{ __node_base_shutdown_limit }}."},
    }
    result = role_tasks.run(playbook, tmp_path, "node_base", [say], {})
    assert "delay 40, limit 60." in result.stdout, result.stdout + result.stderr


def test_logind_s_limit_has_the_last_word(playbook: Playbook, tmp_path: Path) -> None:
    """Drop-ins are read in the order of their names, whatever folder they are in, and the last one decides: the kubelet's own isn't."""
    task = role_tasks.task_of(
        role_tasks.read("node_base", "overrides"), "Configure how long systemd-logind lets the kubelet delay a shutdown"
    )
    name = Path(task["ansible.builtin.template"]["dest"])
    others = ["99-kubelet.conf", "unattended-upgrades-logind-maxdelay.conf"]
    assert name.parent == Path("/etc/systemd/logind.conf.d")
    assert max(name.name, *others) == name.name
    task["ansible.builtin.template"]["dest"] = str(tmp_path / "written")
    del task["notify"]
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], {"node_base_shutdown_delays": []})
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (tmp_path / "written").exists(), "nothing is said, and the kubelet's own has the say"
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], {"node_base_shutdown_delays": ["0s", "40s", "1m30s"]})
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "written").read_text().splitlines()[-2:] == ["[Login]", "InhibitDelayMaxSec=90"]


@pytest.mark.parametrize("there", [True, False])
def test_cloud_init_leaves_names_alone_where_it_is(playbook: Playbook, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "cloud.cfg.d"
    if there:
        folder.mkdir()
        (folder / "99_vagrant.cfg").touch()
    tasks = role_tasks.read("node_base", "overrides")
    look, write = (role_tasks.task_of(tasks, name) for name in ("Check for cloud-init", "Configure cloud-init to leave host names alone"))
    name = Path(write["ansible.builtin.template"]["dest"])
    assert str(name.parent) == look["ansible.builtin.stat"]["path"] == "/etc/cloud/cloud.cfg.d"
    look["ansible.builtin.stat"]["path"] = str(folder)
    write["ansible.builtin.template"]["dest"] = str(folder / name.name)
    result = role_tasks.run(playbook, tmp_path, "node_base", [look, write], {})
    assert result.returncode == 0, result.stdout + result.stderr
    written = sorted(path.name for path in folder.glob("*"))
    # cloud-init reads them in the order of their names.
    assert written == (["99_vagrant.cfg", name.name] if there else [])
    if there:
        assert yaml.safe_load((folder / name.name).read_text()) == {"preserve_hostname": True, "manage_etc_hosts": False}


@pytest.mark.parametrize(("order", "key"), [("poweroff", "o"), ("reboot", "b")])
def test_limit_of_a_shutdown(playbook: Playbook, tmp_path: Path, order: str, key: str) -> None:
    """The time is up, the disks' file systems are written, each by itself, and the kernel does what was ordered; here all of these are files."""
    task = role_tasks.task_of(role_tasks.read("node_base", "shutdown"), "Configure the program that ends a shutdown that hangs")
    program = tmp_path / "limit"
    task["ansible.builtin.template"]["dest"] = str(program)
    variables = {"node_base_shutdown_timeout": 100, "node_base_shutdown_delays": ["0s", "30s"]}
    result = role_tasks.run(playbook, tmp_path, "node_base", [task], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    # Never run as it is: it would switch this machine off.
    text = program.read_text()
    for path in ("/dev/kmsg", "/proc/mounts", "/proc/sysrq-trigger"):
        assert path in text
        text = text.replace(path, str(tmp_path / Path(path).name))
    assert "/proc/" not in text
    program.write_text(text)
    (tmp_path / "mounts").write_text(
        "/dev/vda / ext4 rw 0 0\n192.0.2.1:/nfsdata /pod nfs4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/vdb /nfsdata ext4 rw 0 0\n"
    )
    (tmp_path / "bin").mkdir()
    for name in ("sleep", "sync"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/done\n')
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = subprocess.run(["sh", str(program), order], env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "sysrq-trigger").read_text() == f"{key}\n"
    assert f"something holds up the {order} for 70 s" in (tmp_path / "kmsg").read_text()
    lines = (tmp_path / "done").read_text().splitlines()
    assert lines[0] == "sleep 65"
    assert set(lines[1:]) == {"sync --file-system /", "sync --file-system /nfsdata", "sleep 5"}


def test_program_of_a_shutdown_takes_only_what_it_knows(tmp_path: Path) -> None:
    """Asked for anything else it ends before it could do anything."""
    text = (ROOT / "roles/node_base/templates/kubernetes-node-shutdown.j2").read_text(encoding="utf-8")
    program = tmp_path / "limit"
    program.write_text(text.partition("\nsleep ")[0])
    done = subprocess.run(["sh", str(program), "halt"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "kubernetes-node-shutdown: 'halt' is neither poweroff nor reboot\n")
