"""Two pods on two nodes that write to one disk over iSCSI, each with its own idea of the file system on it; what becomes of that.

The disk is the lab's `scratch`, whose data may be destroyed. Its volume stands in the pods themselves: from such a volume Kubernetes' controller keeps no
second pod away, as it does from a PersistentVolume.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.lab import iscsi
from outlive.lab.inventory import Inventory
from outlive.lab.iscsi import Disk
from outlive.lab.mysql import NAMESPACE, wait_for_pod_gone
from outlive.lab.objects import Json
from outlive.lab.session import Lab

NAME = "scratch"
SECRET = "iscsi-chap"
WITHIN = 600.0
"""Seconds for what a writer is waited for: an image, a login, a mount, a session that comes back."""
WRITE = """\
number=0
while :; do
  number=$((number + 1))
  echo "$NAME $number" | dd of="/disk/$NAME-$number" conv=fsync 2>/dev/null \\
    && echo "ok $number $(ls /disk | grep -v "^$NAME-" | grep -c -e -)"
done
"""
"""Says of each file that it is on the disk, and how many files of the other one it sees."""
CLEAR = "dd if=/dev/zero of=%s bs=1M count=%s conv=notrunc,fsync status=none"
LOOK = """\
e2fsck -f -n %s >/dev/null 2>&1; echo "fsck $?"
folder=$(mktemp --directory)
trap 'umount "$folder" 2>/dev/null; rmdir "$folder"' EXIT
mount -o loop,ro,noload %s "$folder" || exit 0
cd "$folder" && for file in *-*; do echo "file $file $(tr '\\n' ' ' < "$file" 2>/dev/null)"; done
cd /
"""


def scratch(inventory: Inventory) -> Disk:
    """Return the lab's disk whose data may be destroyed.

    Raises:
        LabError: the lab has none, or none that is a file.
    """
    found = iscsi.disk(inventory, NAME)
    if found.size is None:
        raise LabError(
            f"iscsi_server_volumes has no '{NAME}' with a size, which may be destroyed: give it back, and run `outlive storage add iscsi`."
        )
    return found


@dataclass(frozen=True)
class Left:
    """What lies on the disk when nobody has it: whether its file system is whole, and the text of each file, by its name."""

    whole: bool
    files: dict[str, str]

    def lost(self, name: str, acknowledged: int) -> list[int]:
        """Return the files that a writer was told are there and that aren't, or have another text."""
        return [number for number in range(1, acknowledged + 1) if self.files.get(f"{name}-{number}") != f"{name} {number}"]


def parse(printed: str) -> Left:
    """Read what LOOK prints.

    Raises:
        LabError: it says nothing of the file system.
    """
    status = re.search(r"^fsck (\d+)$", printed, re.MULTILINE)
    if status is None or int(status[1]) & ~7:
        raise LabError(
            f"e2fsck gave no verdict ({status[0] if status else 'nothing'}): the package e2fsprogs has to be on the iSCSI server's machine."
        )
    found = re.findall(r"^file (\S+) (.*?) *$", printed, re.MULTILINE)
    return Left(int(status[1]) == 0, dict(found))


@dataclass(frozen=True)
class Writer:
    """A pod that writes file after file, and says of each that it is on the disk."""

    lab: Lab
    name: str

    def acknowledged(self) -> int:
        """Return the number of the last file that it says is on the disk; none while its container isn't there."""
        return self._last()[0]

    def others(self) -> int:
        """Return how many files of the other writer it saw last."""
        return self._last()[1]

    def _last(self) -> tuple[int, int]:
        if not self.lab.cluster.pod(NAMESPACE, self.name).ready:
            return 0, 0
        found = re.findall(r"^ok (\d+) (\d+)$", self.lab.cluster.log(NAMESPACE, self.name, 50), re.MULTILINE)
        return max(((int(number), int(others)) for number, others in found), default=(0, 0))

    def await_file(self, number: int) -> int:
        """Wait until a file is on the disk, by its word; return the number of the last one."""
        return wait_for(f"pod {self.name}", f"file {number}", self.acknowledged, lambda last: last >= number, within=WITHIN)


@contextmanager
def writing(lab: Lab, disk: Disk, image: str, node: str, name: str) -> Iterator[Writer]:
    """Run a writer on a node; take its pod away at the end."""
    lab.cluster.delete_pod(NAMESPACE, name, 0)
    wait_for_pod_gone(lab.cluster, name)
    lab.cluster.create_pod(NAMESPACE, pod(disk, image, node, name))
    try:
        yield Writer(lab, name)
    finally:
        lab.cluster.delete_pod(NAMESPACE, name, 1)


def pod(disk: Disk, image: str, node: str, name: str) -> Json:
    """Return a writer's pod."""
    volume = {
        "targetPortal": f"{disk.server.address}:{iscsi.PORT}",
        "iqn": disk.target,
        "lun": 0,
        "fsType": "ext4",
        "chapAuthSession": True,
        "secretRef": {"name": SECRET},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "writer",
                    "image": image,
                    "args": ["sh", "-c", WRITE],
                    "env": [{"name": "NAME", "value": name}],
                    "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
                }
            ],
            "volumes": [{"name": "disk", "iscsi": volume}],
        },
    }


def await_free(lab: Lab, disk: Disk) -> None:
    """Wait until no node is logged in to the disk."""
    wait_for(
        f"disk {NAME}",
        "without a session",
        lambda: lab.remote.check(disk.server.name, iscsi.SESSIONS, disk.target).splitlines(),
        lambda lines: bool(lines) and not any(line.startswith("InitiatorName:") for line in lines),
        within=WITHIN,
        describe=lambda lines: ", ".join(line for line in lines if line.startswith("InitiatorName:")),
    )


def clear(lab: Lab, disk: Disk) -> None:
    """Wait until nobody has the disk, then make it as it came: without a file system."""
    await_free(lab, disk)
    lab.remote.check(disk.server.name, CLEAR, disk.file, str(disk.size))


def look(lab: Lab, disk: Disk) -> Left:
    """Wait until nobody has the disk, then look at what lies on it; nothing of it is changed."""
    await_free(lab, disk)
    return parse(lab.remote.check(disk.server.name, LOOK, disk.file, disk.file))
