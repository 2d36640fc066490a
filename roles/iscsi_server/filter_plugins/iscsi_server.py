"""Filters of the role iscsi_server: what stands twice, what uses a disk already, and in which exported folder another one lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any


def twice(values: Iterable[Hashable]) -> list[Hashable]:
    """Return what stands more than once, in its order, each once."""
    listed = list(values)
    return list(dict.fromkeys(each for each in listed if listed.count(each) > 1))


def uses(listing: str) -> list[str]:
    """Return what a machine does with a disk of its own: mount points, and the devices made of it, of which partitions are one kind.

    Args:
        listing: What `lsblk --json --output PATH,MOUNTPOINTS` prints of the disk.
    """

    def each(device: dict[str, Any]) -> Iterator[str]:
        # lsblk has null for what isn't mounted.
        yield from (f"mounted at {point}" for point in device.get("mountpoints", []) if point)
        for child in device.get("children", []):
            yield child["path"]
            yield from each(child)

    return [use for device in json.loads(listing)["blockdevices"] for use in each(device)]


def exports_above(exports: str, folder: str) -> list[str]:
    r"""Return the folders that are exported by NFS and in which a folder lies.

    Args:
        exports: /var/lib/nfs/etab, in which each line begins with a folder, spaces in it as \040.
        folder: An absolute path.
    """
    places = {str(PurePosixPath(folder)), *map(str, PurePosixPath(folder).parents)}
    listed = [line.split()[0].replace("\\040", " ") for line in exports.splitlines() if line.split()]
    return [path for path in dict.fromkeys(listed) if str(PurePosixPath(path)) in places]


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"iscsi_server_twice": twice, "iscsi_server_uses": uses, "iscsi_server_exports_above": exports_above}
