"""Filters of the role node_base: which interface has which address, and how long a duration of Kubernetes is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Units of a duration as Go writes it, in seconds."""
PART = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(UNITS)})")


def interfaces(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the interface of each IPv4 address in the facts that `setup` gathers of the network."""
    found: dict[str, str] = {}
    for name in facts["interfaces"]:
        # The name of a fact has neither hyphens nor colons.
        fact = facts.get(name.replace("-", "_").replace(":", "_"), {})
        for address in [fact.get("ipv4", {}), *fact.get("ipv4_secondaries", [])]:
            if "address" in address:
                # An address with a label, such as eth0:1, has a fact of its own and is its interface's.
                found[address["address"]] = fact.get("device", name.split(":")[0])
    return found


def seconds(duration: str) -> int:
    """Return the seconds of a duration as the kubelet takes it, such as 40s or 1m30s, rounded up."""
    return math.ceil(sum(float(number) * UNITS[unit] for number, unit in PART.findall(duration)))


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"node_base_interfaces": interfaces, "node_base_seconds": seconds}
