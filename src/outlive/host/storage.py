"""Storage that a lab may have beside NFS: what each kind needs, and which ones this checkout's lab has.

They are noted in `.lab/storage`, a name on each line, and each is an overlay of that name in `inventories/`: it fills groups which are empty without it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from outlive.base.paths import STATE

NOTED = STATE / "storage"
"""The names of those that this checkout's lab has; removed with the lab."""
FRESH = STATE / "storage-fresh"
"""The same as it was when the snapshot of the fresh cluster was taken."""


@dataclass(frozen=True)
class Storage:
    """A kind of storage: what it is, and what it takes of the machines."""

    title: str
    needs: str
    """Memory and disk, as it is said before anything is done."""
    tags: str
    """Tags of playbooks/site.yml by which it comes: those of its roles, and of what turns lost nodes away from it."""


KINDS = {
    "iscsi": Storage(
        "disks over iSCSI, each for one node at a time",
        "some megabytes of memory on each worker, and on k8s-master up to 1600 MiB of disk, as far as it is written to",
        "nfs_server,iscsi",
    ),
}
"""By the names of their overlays."""


def chosen() -> tuple[str, ...]:
    """Return the names of the kinds that this checkout's lab has, in the order of KINDS."""
    try:
        noted = NOTED.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return ()
    return tuple(name for name in KINDS if name in noted)


def choose(name: str) -> None:
    """Note that this checkout's lab has a kind of storage: from then on its overlay is one of the lab's inventories."""
    names = [*chosen(), *([] if name in chosen() else [name])]
    STATE.mkdir(parents=True, exist_ok=True)
    NOTED.write_text("".join(f"{each}\n" for each in names), encoding="utf-8")


def keep() -> None:
    """Note which ones the snapshot of the fresh cluster has."""
    FRESH.write_text("".join(f"{each}\n" for each in chosen()), encoding="utf-8")


def go_back() -> tuple[str, ...]:
    """Have those that the snapshot of the fresh cluster has; return the names of those that came later, and are gone with it."""
    before = chosen()
    if FRESH.exists():
        shutil.copyfile(FRESH, NOTED)
    else:
        NOTED.unlink(missing_ok=True)
    return tuple(name for name in before if name not in chosen())
