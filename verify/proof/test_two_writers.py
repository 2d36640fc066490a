"""A node that was only silent writes to its disk again when another node has mounted that: the file system is destroyed.

Turned away at the disk's server before the other one begins, it writes nothing. Both are shown on a disk whose data may be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from outlive.base.errors import LabError
from outlive.drill import two_writers
from outlive.drill.faults import KINDS, Target, injected
from outlive.drill.two_writers import Writer
from outlive.fence.actions import NfsServer
from outlive.lab import steady
from outlive.lab.iscsi import Disk
from outlive.lab.mysql import NAMESPACE
from outlive.lab.session import Lab
from verify.stories import LeftOutError

pytestmark = pytest.mark.usefixtures("two_workers")

MORE = 20
"""Files that a writer goes on for, where it can."""


@dataclass(frozen=True)
class Scene:
    """MySQL's node, where nothing is broken, and another worker, which is frozen."""

    lab: Lab
    disk: Disk
    frozen: Target
    healthy: str
    image: str

    @property
    def address(self) -> str:
        """Address of the node that is frozen."""
        return self.lab.inventory.host(self.frozen.node).address


@pytest.fixture
def scene(whole_lab: Lab) -> Scene:
    """Return a lab that is steady, with a disk that nobody has and that has no file system."""
    if not whole_lab.inventory.groups.get("iscsi_servers"):
        raise LeftOutError("this lab has no disks over iSCSI: run `outlive storage add iscsi`, then this again")
    disk = two_writers.scratch(whole_lab.inventory)
    running = steady.check(whole_lab.cluster, whole_lab.workers)
    other = next(name for name in whole_lab.workers if name != running.node)
    image = whole_lab.inventory.setting("storage_tutorial_busybox_image")
    assert image is not None
    two_writers.clear(whole_lab, disk)
    return Scene(whole_lab, disk, Target.of(whole_lab, running, node=other), running.node, image)


def test_two_writers_destroy_a_file_system(scene: Scene) -> None:
    """A frozen node that goes on beside a new writer destroys the file system of both."""
    lab, disk = scene.lab, scene.disk
    with two_writers.writing(lab, disk, scene.image, scene.frozen.node, "old") as old:
        before = old.await_file(MORE)
        with (
            injected(KINDS["freeze"].make(scene.frozen)),
            two_writers.writing(lab, disk, scene.image, scene.healthy, "new") as new,
        ):
            new.await_file(MORE)
            scene.frozen.machine.resume()
            old.await_file(before + MORE)
            acknowledged = new.acknowledged()
    left = two_writers.look(lab, disk)
    if left.whole and not left.lost("new", acknowledged):
        raise LabError("Two nodes wrote to one file system and nothing was destroyed: what a fence is for isn't shown.")


def test_writer_that_is_turned_away_destroys_nothing(scene: Scene) -> None:
    """The same with the frozen node turned away first: nothing of the new writer's is lost, and nothing of the old one's is written any more."""
    lab, disk = scene.lab, scene.disk
    with (
        two_writers.writing(lab, disk, scene.image, scene.frozen.node, "old") as old,
        turned_away_after(scene, old),
        two_writers.writing(lab, disk, scene.image, scene.healthy, "new") as new,
    ):
        new.await_file(MORE)
        there = new.others()
        scene.frozen.machine.resume()
        acknowledged = new.await_file(new.acknowledged() + 5 * MORE)
    left = two_writers.look(lab, disk)
    assert left.whole
    assert left.lost("new", acknowledged) == []
    assert len([name for name in left.files if name.startswith("old-")]) == there > 0


@contextmanager
def turned_away_after(scene: Scene, old: Writer) -> Iterator[None]:
    """Freeze a node whose writer has begun, and turn it away at the server; in the end its machine is started anew before it is let in."""
    server = NfsServer(scene.lab.remote, scene.disk.server.name)
    cut = KINDS["power-cut"].make(scene.frozen)
    old.await_file(MORE)
    with injected(KINDS["freeze"].make(scene.frozen)):
        try:
            server.revoke(scene.address)
            yield
        finally:
            # What hangs in its memory would land late: only a machine that was started anew is let in.
            with injected(cut):
                scene.lab.cluster.delete_pod(NAMESPACE, old.name, 0)
            server.allow(scene.address)
