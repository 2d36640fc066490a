"""Filters of the role node_base: what a machine's files say of its memory, processors, routes and name servers, and how long a duration of Kubernetes is."""

from __future__ import annotations

import ipaddress
import math
import re
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Units of a duration as Go writes it, in seconds."""
PART = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(UNITS)})")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def interfaces(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the interface of each IPv4 address in the facts that `setup` gathers of the network."""
    return {fact["address"]: device for device, fact in _ipv4(facts)}


def files(text: str) -> dict[str, list[str]]:
    """Return the lines of each file in the output of `grep "" FILE...`; one that isn't there, or is empty, has no entry."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        path, _, content = line.partition(":")
        found.setdefault(path, []).append(content)
    return found


def number(lines: Iterable[str], name: str) -> int:
    """Return the number behind a name in /proc/meminfo, which counts in KiB; 0 where it isn't there."""
    return next((int(words[1]) for words in map(str.split, lines) if words[:1] == [f"{name}:"]), 0)


def processors(lines: Iterable[str]) -> int:
    """Return how many numbers a list of the kernel's has, such as 0-3,8."""
    ends = [part.split("-") for part in ",".join(lines).split(",") if part.strip()]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


def routed(lines: Sequence[str], interface: str) -> list[str]:
    """Return the networks of /proc/net/route that lead to an interface, in CIDR notation; its numbers are in the machine's order of bytes."""
    found = []
    for name, destination, _, _, _, _, _, mask, *_ in map(str.split, lines[1:]):
        if name == interface:
            bits = int(mask, 16).bit_count()
            found.append(f"{socket.inet_ntoa(struct.pack('=L', int(destination, 16)))}/{bits}")
    return found


def name_servers(lines: Iterable[str]) -> list[str]:
    """Return the name servers of a resolv.conf, as they are written there."""
    return [words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"]


def loopback(servers: Iterable[str]) -> list[str]:
    """Return those of the name servers that each machine, and each pod, has for itself."""
    return [server for server in servers if (address := _address(server)) and (address.is_loopback or address.is_unspecified)]


def conflicts(networks: Mapping[str, str], facts: Mapping[str, Any], servers: Iterable[str], own: Collection[str]) -> list[str]:
    """Say what of a machine's surroundings lies in networks that the cluster keeps for itself, where nobody would reach it any more.

    Args:
        networks: The cluster's networks, in CIDR notation, by the settings that have them.
        facts: What `setup` gathers of the machine's network.
        servers: The machine's name servers.
        own: Interfaces that the cluster itself makes.
    """
    around: list[tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]] = []
    for device, fact in _ipv4(facts):
        if device not in own and "network" in fact:
            around.append((f"the network of {device}", ipaddress.ip_network(f"{fact['network']}/{fact['netmask']}")))
    gateway = _address(facts.get("default_ipv4", {}).get("gateway", ""))
    if gateway:
        around.append(("the default gateway", ipaddress.ip_network(gateway)))
    around += [("the name server", ipaddress.ip_network(address)) for server in servers if (address := _address(server))]
    found = []
    for setting, network in networks.items():
        taken = ipaddress.ip_network(network)
        for what, there in around:
            if taken.version == there.version and taken.overlaps(there):
                shown = there.network_address if there.prefixlen == there.max_prefixlen else there
                found.append(f"{what} ({shown}) is in {setting} ({network})")
    return list(dict.fromkeys(found))


def hosts_line(host: Mapping[str, str]) -> str:
    """Return the line of /etc/hosts for a machine: of a name with a domain the short one too."""
    short = host["name"].partition(".")[0]
    return " ".join(dict.fromkeys([host["address"], host["name"], short]))


def seconds(duration: str) -> int:
    """Return the seconds of a duration as the kubelet takes it, such as 40s or 1m30s, rounded up."""
    return math.ceil(sum(float(number) * UNITS[unit] for number, unit in PART.findall(duration)))


def _ipv4(facts: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the interface and the fact of each IPv4 address."""
    for name in facts["interfaces"]:
        # The name of a fact has neither hyphens nor colons.
        fact = facts.get(name.replace("-", "_").replace(":", "_"), {})
        for address in [fact.get("ipv4", {}), *fact.get("ipv4_secondaries", [])]:
            if "address" in address:
                # An address with a label, such as eth0:1, has a fact of its own and is its interface's.
                yield fact.get("device", name.split(":")[0]), address


def _address(text: str) -> Address | None:
    try:
        # A name server may have the interface that leads to it behind a per cent sign.
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "node_base_conflicts": conflicts,
            "node_base_files": files,
            "node_base_hosts_line": hosts_line,
            "node_base_interfaces": interfaces,
            "node_base_loopback": loopback,
            "node_base_name_servers": name_servers,
            "node_base_number": number,
            "node_base_processors": processors,
            "node_base_routed": routed,
            "node_base_seconds": seconds,
        }
