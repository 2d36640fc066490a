"""Filter of the role node_base: which interface has which address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


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


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"node_base_interfaces": interfaces}
