"""A writer that was cut off from the NFS server and comes back when another one has taken its place.

With the lock that InnoDB takes too, its late bytes never land. Without, they land on top of the new writer's: that is what the lock is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from outlive.base.errors import LabError
from outlive.drill import split_brain
from outlive.drill.faults import KINDS, Target, injected
from outlive.drill.fsync_writer import record
from outlive.drill.split_brain import Share, Writer
from outlive.lab import steady
from outlive.lab.session import Lab

pytestmark = pytest.mark.usefixtures("two_workers")

AHEAD = 10
"""Records that the new writer is ahead of the old one when the old one comes back."""


@dataclass
class Scene:
    """MySQL's node, where nothing is broken, and another worker, which is cut off."""

    whole_lab: Lab
    share: Share
    cut: Target
    healthy: str


@pytest.fixture
def scene(whole_lab: Lab) -> Scene:
    """Return a lab that is steady."""
    pod = steady.check(whole_lab.cluster, whole_lab.workers)
    server = whole_lab.inventory.group("nfs_servers")[0]
    other = next(name for name in whole_lab.workers if name != pod.node)
    target = Target.of(whole_lab, pod, node=other)
    return Scene(whole_lab, Share(server.name, server.address, target.export.rpartition("/")[0]), target, pod.node)


@contextmanager
def cut_off_and_back(scene: Scene, *, lock: bool) -> Iterator[tuple[Writer, Writer, int]]:
    """Start the old writer, cut it off, let the new one get ahead, and let the old one come back.

    Yields:
        Old writer, new writer and the last record of the old one before the cut, when the cut is healed.
    """
    remote = scene.whole_lab.remote
    with ExitStack() as stack:
        old = stack.enter_context(Writer(remote, scene.share, scene.cut.node, "old", lock=lock))
        old.await_record(5)
        with injected(KINDS["cut-nfs"].make(scene.cut)):
            before = old.written()
            new = stack.enter_context(Writer(remote, scene.share, scene.healthy, "new", lock=lock))
            new.await_record(before + AHEAD)
            assert before <= old.written() <= before + 1, "the old writer wrote while it was cut off"
        yield old, new, before


def found(scene: Scene, until: int) -> list[bytes]:
    """Return the first records of the file as it lies on the server."""
    size = len(record("new", 1))
    data = split_brain.contents(scene.whole_lab.remote, scene.share)
    return [data[start : start + size] for start in range(0, until * size, size)]


def test_with_the_lock_the_late_bytes_never_land(scene: Scene) -> None:
    """A writer whose lock was given to another one gets an error, and none of its late bytes lands."""
    with cut_off_and_back(scene, lock=True) as (old, new, _):
        assert "Input/output error" in old.await_error()
        last = new.await_record(new.written() + 5)
        assert found(scene, last) == [record("new", number) for number in range(1, last + 1)]


def test_without_the_lock_they_overwrite_the_new_ones(scene: Scene) -> None:
    """A writer without a lock comes back and overwrites what another one wrote meanwhile."""
    with cut_off_and_back(scene, lock=False) as (old, new, before):
        late = old.await_record(before + 2)
        acknowledged = new.written()
        mine = [number for number, each in enumerate(found(scene, min(late, acknowledged)), 1) if each == record("old", number)]
        if not mine:
            raise LabError("The writer without a lock came back and overwrote nothing: what the lock is for isn't shown.")
