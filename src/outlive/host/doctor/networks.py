"""Addresses and ports: the host's interfaces, Docker's networks and firewall, VirtualBox's range, the mirror's ports, proxies."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import socket
import struct
import urllib.request
from collections.abc import Collection, Iterable, Mapping
from http.client import HTTPException
from pathlib import Path

from outlive.base.process import said
from outlive.host.doctor import Finding, fine, note, numbers, wrong
from outlive.host.virtualization import VIRSH

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DOCKER_POOLS: tuple[tuple[str, int], ...] = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)
"""From which Docker takes a new network where daemon.json names no pools, and the prefix length of each (Docker's documentation,
"Networking overview", subnet allocation)."""

DOCKER_SOON = 5
"""New networks of Docker before the lab's is reached, up to which it is worth a note (a judgement: a compose project makes one)."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
"""Variables that name a proxy, in small letters or capitals."""

VIRTUALBOX_RANGE = "192.168.56.0/21"
"""Where VirtualBox allows host-only addresses without /etc/vbox/networks.conf (its manual, "Host-Only Networking")."""

VIRTUALBOX_LIMITS = "6.1.28"
"""The first VirtualBox that refuses others (the same, and Vagrant's own check)."""


def free(wanted: str, links: Iterable[Mapping[str, object]], own: str, setting: str = "lab_network") -> Finding:
    """Say whether another interface of the host lies in the network `wanted`.

    Args:
        wanted: The network.
        links: The interfaces, as `ip -j address` lists them; Docker's and libvirt's bridges are among them.
        own: The lab's bridge, which is no collision.
        setting: What gives `wanted`.
    """
    lab = _network(wanted)
    if isinstance(lab, ValueError):
        return wrong(f"{setting} is '{wanted}', which is no network ({lab}): write it like 192.0.2.0/24 in {_home(setting)}")
    for name, address in _addresses(links):
        if name != own and address.network.overlaps(lab):
            return wrong(
                f"{setting} is {wanted}, and the host's interface {name}{_whose(name)} has {address} in it: give {_home(setting, cure=True)} another network"
            )
    return fine(f"network {wanted} is free")


DOCKER_SETTINGS = ("/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json")
"""Docker's own settings: of a distribution's package or Docker's, and of the snap, which has a root file system of its own."""


def docker(wanted: str, daemon_json: str | None, links: Iterable[Mapping[str, object]], file: str = DOCKER_SETTINGS[0]) -> Finding:
    """Say whether Docker would soon give a network of its own addresses of the network `wanted`.

    Args:
        wanted: The lab's network.
        daemon_json: The text of Docker's settings, None where there are none.
        links: The interfaces, as `ip -j address` lists them.
        file: Where Docker's settings lie.
    """
    lab = _network(wanted)
    if isinstance(lab, ValueError):
        return fine(f"Docker: not compared with '{wanted}', which is no network")
    try:
        settings = json.loads(daemon_json or "{}")
        named = [(str(pool["base"]), int(pool["size"])) for pool in settings.get("default-address-pools") or []]
        bip = settings.get("bip")
        pools = [(ipaddress.ip_network(base, strict=False), size) for base, size in named or DOCKER_POOLS]
        bridge = ipaddress.ip_interface(str(bip)).network if bip else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return note(f"{file} can't be read ({error}), so Docker's networks weren't compared with {wanted}: correct it")
    cure = f'give Docker other "default-address-pools" in {file}, or lab_network and the addresses in inventories/lab/hosts.yml another network'
    if bridge is not None and bridge.overlaps(lab):
        return note(f'lab_network is {wanted}, and "bip" in {file} gives Docker {bridge}, once it is started: change either')
    taken = [address.network for _, address in _addresses(links)]
    before = 0
    for base, size in pools:
        if base.version != lab.version or size < base.prefixlen:
            continue
        for subnet in base.subnets(new_prefix=size):
            if subnet.overlaps(lab):
                if before < DOCKER_SOON:
                    return note(
                        f"lab_network is {wanted}, and Docker may take {subnet} for the {_ordinal(before + 1)} network that it makes from now on, if the lab isn't up then: {cure}"
                    )
                return fine(f"Docker: makes {before} networks before it reaches {wanted}")
            before += not any(subnet.overlaps(each) for each in taken)
            if before >= 256:
                return fine(f"Docker: makes {before} networks and more before it could reach {wanted}")
    return fine(f"Docker: takes no network of {wanted}")


def forwarding(backend: str, daemon_json: str | None, policy: str | None, file: str = DOCKER_SETTINGS[0]) -> Finding:
    """Say whether Docker's firewall cuts the network by which libvirt's VMs reach out (its NAT).

    Docker, where it turns forwarding on, sets the policy of iptables' chain FORWARD to DROP. A packet has to pass every table: that libvirt lets it
    through in a table of nftables is not enough, while its rules in iptables come before the policy.

    Args:
        backend: Where libvirt has its rules: iptables or nftables.
        daemon_json: The text of Docker's settings, None where there are none.
        policy: The chain's, None where this user may not look.
        file: Where Docker's settings lie.
    """
    try:
        settings = json.loads(daemon_json or "{}")
        kept = settings.get("iptables") is False or settings.get("ip-forward-no-drop") is True
    except (ValueError, AttributeError):
        kept = False  # that it can't be read is `docker`'s to say
    if backend != "nftables" or policy == "ACCEPT" or kept:
        return fine("Docker: doesn't cut the network by which the VMs reach out")
    seen = "drops" if policy == "DROP" else "by default drops"
    return note(
        f"Docker {seen} what this host forwards (`sudo iptables -S FORWARD`), and libvirt's rules in nftables don't lift that, so the VMs may reach no packages and images: "
        'write `firewall_backend = "iptables"` into /etc/libvirt/network.conf and restart libvirt (`sudo systemctl restart libvirtd`), '
        f'or write "ip-forward-no-drop": true into {file} (Docker 28 or newer) and restart this host'
    )


def libvirt_backend(network_conf: str | None, *, nft: bool) -> str:
    """Return where libvirt has its rules, by the text of /etc/libvirt/network.conf: what is set, else the default that stands there as a comment.

    Args:
        network_conf: The text, None where there is none; libvirt before 10.4 doesn't know the setting.
        nft: There is a program nft, without which nftables isn't chosen.
    """
    found = re.findall(r'^(#?)\s*firewall_backend\s*=\s*"(\w+)"', network_conf or "", re.MULTILINE)
    chosen = next((value for comment, value in found if not comment), None)
    default = next((value for comment, value in found if comment), "iptables")
    return chosen or ("nftables" if default == "nftables" and nft else "iptables")


def virtualbox_range(wanted: str, networks_conf: str | None, version: str | None) -> Finding:
    """Say whether VirtualBox allows the host an address in the network `wanted`.

    Args:
        wanted: The lab's network; Vagrant gives the host its first address.
        networks_conf: The text of /etc/vbox/networks.conf, None where there is none; where it is, only what it names is allowed.
        version: VirtualBox's version.
    """
    lab = _network(wanted)
    if isinstance(lab, ValueError):
        return fine(f"VirtualBox's range: not compared with '{wanted}', which is no network")
    if version is not None and numbers(version) < numbers(VIRTUALBOX_LIMITS):
        return fine(f"VirtualBox {version} allows any host-only network")
    if networks_conf is None:
        ranges, where = [VIRTUALBOX_RANGE], "without /etc/vbox/networks.conf"
    else:
        ranges = [word for line in networks_conf.splitlines() if line.strip().startswith("*") for word in line.strip().lstrip("*").split()]
        where = "with this host's /etc/vbox/networks.conf"
    allowed = [network for network in map(_network, ranges) if not isinstance(network, ValueError)]
    address = lab.network_address + 1
    if any(address in network for network in allowed):
        return fine(f"VirtualBox allows {wanted} {where}")
    return wrong(
        f"lab_network is {wanted}, and {where} VirtualBox allows only {', '.join(ranges) or 'nothing'}: write the line `* {wanted}` into /etc/vbox/networks.conf, or give lab_network and the addresses in inventories/lab/hosts.yml a network in there"
    )


def mirror_ports(ports: Collection[int], listening: Mapping[int, bool]) -> Finding:
    """Say whether the mirror can be served, or is, on this host's ports.

    Args:
        ports: The mirror's.
        listening: Those of them on which something listens, and whether it answers as the mirror does.
    """
    for port, is_mirror in listening.items():
        if not is_mirror:
            return wrong(
                f"port {port} of this host, where the VMs look for the mirror, is taken by another program: end that (`ss -ltnp 'sport = :{port}'` names it), then run the command again"
            )
    if set(listening) != set(ports):
        return note(
            "the mirror isn't served, and only a lab with a libvirt of its own starts its server by itself: once `outlive mirror build` has built it, run `outlive mirror serve` in another terminal before playbooks/site.yml begins"
        )
    return fine(f"mirror: served on ports {' and '.join(map(str, ports))}")


def proxy(variables: Mapping[str, str], *, sources: str) -> Finding:
    """Say what becomes of the proxy that this host uses.

    Args:
        variables: The environment's.
        sources: Where packages and images come from: upstream or mirror.
    """
    names = [name for name in variables if name.lower() in PROXIES and variables[name]]
    if not names:
        return fine("proxy: none")
    if sources == "upstream":
        # Not its value, which may have a password in it.
        return note(
            f"{' and '.join(sorted(names))} name a proxy for this host, and the VMs aren't told of it: where nothing but the proxy leads out, they get no packages and images from upstream, so set OUTLIVE_SOURCES to 'mirror'"
        )
    return fine("proxy: isn't asked for the lab's own addresses")


def _network(text: str) -> Network | ValueError:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        return error


def _addresses(links: Iterable[Mapping[str, object]]) -> list[tuple[str, ipaddress.IPv4Interface]]:
    """Return each interface's name with each of its IPv4 addresses."""
    found = []
    for link in links:
        entries = link.get("addr_info", [])
        for entry in entries if isinstance(entries, list) else []:
            address = ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}")
            if isinstance(address, ipaddress.IPv4Interface):
                found.append((str(link.get("ifname", "?")), address))
    return found


def _whose(interface: str) -> str:
    if interface == "docker0" or re.fullmatch(r"br-[0-9a-f]{12}", interface):
        return " (a network of Docker's, see `docker network ls`)"
    if re.fullmatch(r"virbr\d+", interface):
        return " (a network of libvirt's, see `virsh net-list`)"
    return ""


def _home(setting: str, *, cure: bool = False) -> str:
    """Return where a setting stands; as a cure, with what has to change beside it."""
    if setting != "lab_network":
        return f"{setting} in inventories/lab/group_vars/all/vagrant.yml" if cure else "inventories/lab/group_vars/all/vagrant.yml"
    return "lab_network and the addresses in inventories/lab/hosts.yml" if cure else "inventories/lab/hosts.yml"


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"


def read_links() -> list[dict[str, object]]:
    """Return the host's interfaces as `ip -j address` lists them."""
    try:
        links: list[dict[str, object]] = json.loads(said(("ip", "-j", "address")) or "[]")
    except ValueError:
        return []
    return links


def read_bridge(network: str) -> str:
    """Return the bridge of one of the system libvirt's networks, empty where there is none."""
    printed = said((*VIRSH, "net-info", network)) or ""
    return next((line.split()[-1] for line in printed.splitlines() if line.startswith("Bridge:")), "")


def read_file(path: str) -> str | None:
    """Return a small file's text, None where it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def read_docker() -> tuple[str, str | None]:
    """Return where Docker's settings lie, and their text; the first that are there."""
    texts = {file: read_file(file) for file in DOCKER_SETTINGS}
    found = next((file for file, text in texts.items() if text is not None), None)
    file = found or DOCKER_SETTINGS[Path("/var/snap/docker").is_dir()]
    return file, texts[file]


def read_backend() -> str:
    """Return where libvirt has its rules, see `libvirt_backend`."""
    nft = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
    return libvirt_backend(read_file("/etc/libvirt/network.conf"), nft=nft)


def read_forward_policy() -> str | None:
    """Return the policy of iptables' chain FORWARD; None where this user may not look."""
    found = re.search(r"^-P FORWARD (\w+)", said(("iptables", "-S", "FORWARD")) or "", re.MULTILINE)
    return found[1] if found else None


def listeners(table: str) -> dict[int, str]:
    """Return the ports on which something listens at an IPv4 address, and at which, by the text of /proc/net/tcp and tcp6 (state 0A is LISTEN)."""
    found = {}
    for words in map(str.split, table.splitlines()):
        if len(words) > 3 and words[3] == "0A":
            address, _, port = words[1].partition(":")
            if len(address) == 8:
                found[int(port, 16)] = socket.inet_ntoa(struct.pack("=I", int(address, 16)))
            elif not int(address, 16):
                # At all addresses, IPv4's among them.
                found[int(port, 16)] = "0.0.0.0"
    return found


def read_mirror(ports: tuple[int, int]) -> dict[int, bool]:
    """Return the mirror's ports (packages, images) on which something listens, and whether it answers as the mirror does."""
    there = listeners("".join(read_file(f"/proc/net/{table}") or "" for table in ("tcp6", "tcp")))
    paths = dict(zip(ports, ("/debian/dists/", "/v2/"), strict=True))
    return {port: _answers(there[port], port, path) for port, path in paths.items() if port in there}


def _answers(address: str, port: int, path: str) -> bool:
    host = "127.0.0.1" if address == "0.0.0.0" else address
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{host}:{port}{path}", timeout=3) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False
