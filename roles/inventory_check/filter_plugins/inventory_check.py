"""Filters of the role inventory_check: what many values of an inventory are to each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def addresses(hosts: Iterable[str], variables: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return pairs of a host and its ansible_host, which is an empty string where it has none."""
    return [[host, variables[host].get("ansible_host", "")] for host in hosts]


def overlaps(networks: Mapping[str, str]) -> list[str]:
    """Return each pair of settings whose networks have addresses in common; what is no network overlaps none."""
    found = []
    for (one, first), (other, second) in combinations(networks.items(), 2):
        a, b = _network(first), _network(second)
        if a is not None and b is not None and a.overlaps(b):
            found.append(f"{one} ({first}) and {other} ({second})")
    return found


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"inventory_check_addresses": addresses, "inventory_check_overlaps": overlaps}
