"""The addresses whose packets the lab's storage server drops, in sets of nftables."""

from __future__ import annotations

import json

FENCED = "inet outlive_fence fenced"
"""Nodes that the fencing watcher turned away."""
LOST = "inet outlive_lost addresses"
"""Nodes that `remove-node.yml -e lost=true` turned away (role nfs_server). Nobody saw their machines off: the playbook alone lets them in, never a program."""


def addresses(listing: str, *tables: str) -> frozenset[str]:
    """Return the addresses in the sets that ``nft -j`` lists, where tables are named in those of them alone."""
    sets = [each["set"] for each in json.loads(listing)["nftables"] if "set" in each]
    return frozenset(str(element) for each in sets if not tables or each["table"] in tables for element in each.get("elem", ()))
