"""Filters of the role nfs_server: what is wrong with the file system that is mounted at the export."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

LEAST = 1 << 20
"""Free bytes below which a file system is full."""


def faults(mounted: str, device: int) -> list[str]:
    """Return why what is mounted at the export can't serve it, each a part of a sentence; nothing where it can.

    Args:
        mounted: What findmnt prints of it, in one line: MAJ:MIN, SOURCE, AVAIL in bytes, OPTIONS; empty where nothing is mounted.
        device: Number of the device that has to be mounted, as stat has it; 0 where it is none.
    """
    if not mounted.strip():
        return []
    number, source, free, options = mounted.split()[:4]
    found = []
    # A file system of several devices has a number of its own, with the major 0.
    if device and not number.startswith("0:") and number != f"{os.major(device)}:{os.minor(device)}":
        found.append(f"is the file system of {source}")
    if "ro" in options.split(","):
        found.append("is mounted read-only, as the kernel does after errors of the disk")
    if int(free) < LEAST:
        found.append("is full")
    return found


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"nfs_server_faults": faults}
