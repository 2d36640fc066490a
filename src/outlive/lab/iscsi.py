"""The disks that a lab offers over iSCSI: where each lies on its server, and who is logged in to it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from outlive.base.errors import LabError
from outlive.lab.inventory import Host, Inventory

TARGETS = "/sys/kernel/config/target/iscsi"
"""Where Linux' own server has its targets, a folder each."""
SESSIONS = f"cat {TARGETS}/%s/tpgt_1/acls/*/info"
"""Tells of each node's initiator whether it is logged in to a target, and by which connections; of Linux' own server, LIO."""
ALL_SESSIONS = f"[ ! -d {TARGETS} ] || find {TARGETS} -path '*/acls/*/info' -exec cat {{}} +"
"""The same of all targets; nothing where the server offers no disks, and an error where what it offers can't be read."""
PORT = 3260
LOGGED_IN = "TARG_CONN_STATE_LOGGED_IN"
"""A connection by which an initiator reads and writes."""


@dataclass(frozen=True)
class Disk:
    """A disk: its server, the name of its target, the file or device that it is on the server, and the MiB of a file."""

    server: Host
    target: str
    file: str
    size: int | None = None


def disk(lab: Inventory, name: str) -> Disk:
    """Return one of the lab's disks.

    Raises:
        LabError: the lab has no disks over iSCSI, or none of that name; or the inventory doesn't say literally where it lies.
    """
    if not lab.groups.get("iscsi_servers"):
        raise LabError("This lab has no disks over iSCSI: run `outlive storage add iscsi`, then this again.")
    server = lab.group("iscsi_servers")[0]
    entry = next((each for each in server.variables.get("iscsi_server_volumes", []) if each["name"] == name), None)
    if entry is None:
        raise LabError(f"iscsi_server_volumes has no '{name}': give it back, and run `outlive storage add iscsi`.")
    folder = server.variables.get("iscsi_server_folder", "/var/lib/iscsi-disks")
    prefix, file = server.literal("iscsi_server_prefix"), entry.get("device") or f"{folder}/{name}.img"
    if prefix is None or "{{" in file:
        raise LabError(
            "iscsi_server_prefix, iscsi_server_folder and a disk's device have to be literal here, to know which file it is: write them out in the inventory."
        )
    return Disk(server, f"{prefix}:{name}", file, int(entry["size"]) if entry.get("size") else None)


def connected(listing: str, state: str = r"\w+") -> list[str]:
    """Return the address of each connection in what ``SESSIONS`` printed; ``state`` is a pattern that LIO's name of its state has to match."""
    return re.findall(rf"Connection State: {state}\s+Address (\S+) TCP", listing)
