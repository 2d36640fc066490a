"""Filters of the role inventory_check: what many values of an inventory are to each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def addresses(hosts: Iterable[str], variables: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return pairs of a host and its node_ip, without that its ansible_host; an empty string where it has neither."""
    return [[host, variables[host].get("node_ip") or variables[host].get("ansible_host", "")] for host in hosts]


def overlaps(networks: Mapping[str, str]) -> list[str]:
    """Return each pair of settings whose networks have addresses in common; what is no network overlaps none."""
    found = []
    for (one, first), (other, second) in combinations(networks.items(), 2):
        # Others' settings may be a host's address with its network's length, as libvirt's are.
        a, b = _network(first, strict=False), _network(second, strict=False)
        if a is not None and b is not None and a.overlaps(b):
            found.append(f"{one} ({first}) and {other} ({second})")
    return found


def unfit(networks: Mapping[str, str]) -> list[str]:
    """Return each setting whose value is no IPv4 network in CIDR notation."""
    return [
        f"{name} is '{text}'" for name, text in networks.items() if not isinstance(_network(text), ipaddress.IPv4Network) or "/" not in text
    ]


def within(outside: Mapping[str, str], networks: Mapping[str, str]) -> list[str]:
    """Return each address of a setting, by itself or in a URL of several, that lies in one of the networks; names may lead anywhere."""
    found = []
    for name, text in outside.items():
        for address in dict.fromkeys(filter(None, map(_host, text.split()))):
            for setting, network in networks.items():
                taken = _network(network, strict=False)
                if taken is not None and address in taken:
                    found.append(f"{name} has {address}, which is in {setting} ({network})")
    return found


def _host(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address in a URL, or before a port; None where a name stands there."""
    try:
        return ipaddress.ip_address(urlsplit(text if "//" in text else f"//{text}").hostname or "")
    except ValueError:
        return None


def _network(text: str, *, strict: bool = True) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict)
    except ValueError:
        return None


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "inventory_check_addresses": addresses,
            "inventory_check_overlaps": overlaps,
            "inventory_check_unfit": unfit,
            "inventory_check_within": within,
        }
