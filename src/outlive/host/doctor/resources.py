"""Memory and disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from outlive.host.doctor import Finding, fine, note, wrong

HOST_MEMORY = 1024
"""MiB that the host needs beside the VMs: Ansible, pytest, the mirror's server, QEMU's own (measured: below 900)."""

LAB_DISK = 12
"""GiB for the VMs' disks with a snapshot (measured: 9)."""

MIRROR_DISK = 20
"""GiB for building mirror and boxes (measured: 15, Go's build cache included)."""


def memory(needed: int, meminfo: str | None) -> Finding:
    """Compare `needed` MiB with what /proc/meminfo (its text) says is available."""
    available = available_memory(meminfo)
    if available is None:
        return note(f"/proc/meminfo doesn't say how much memory is available, and the lab needs {needed} MiB: look at it yourself")
    if available < needed:
        return wrong(
            f"the lab needs {needed} MiB of memory (lab_memory of all machines and {HOST_MEMORY} for the host) and {available} are available: end other programs or lower lab_memory in inventories/lab/hosts.yml"
        )
    return fine(f"memory: {available} MiB available, {needed} needed")


def available_memory(meminfo: str | None) -> int | None:
    """Return the MiB that /proc/meminfo (its text) says are available, None where it doesn't."""
    values = {line.split(":")[0]: int(line.split()[1]) for line in (meminfo or "").splitlines() if ":" in line}
    kib = values.get("MemAvailable", values.get("MemFree"))
    return None if kib is None else kib // 1024


def disk(folder: Path, needed: int, what: str) -> Finding:
    """Compare `needed` GiB with the free space where `folder` is or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free // 2**30
    if free < needed:
        return wrong(
            f"{what} needs {needed} GiB of disk and {free} are free on {there}: free some, or name another folder (OUTLIVE_CACHE for the cache)"
        )
    return fine(f"disk for {what}: {free} GiB free on {there}, {needed} needed")


def read_meminfo() -> str | None:
    """Return the text of /proc/meminfo."""
    try:
        return Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
