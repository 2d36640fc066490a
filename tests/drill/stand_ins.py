"""What a drill that never ran on a lab is made of."""

from __future__ import annotations

from collections.abc import Sequence

from outlive.base.clock import Instant
from outlive.drill.faults import KINDS
from outlive.drill.history import Operation, Outcome
from outlive.drill.lock_watch import Sample, Sampler
from outlive.drill.recorder import Recorder, Sighting
from outlive.drill.run import Drill
from outlive.drill.timeline import Gap
from outlive.lab.inventory import Host
from outlive.lab.iscsi import Disk
from outlive.lab.mysql_storage import IscsiDisk, NfsFolder
from outlive.lab.objects import Pod
from tests.samples import instant

FOLDER = NfsFolder(Host("m", "192.0.2.10", {}), "/nfsdata/mysql-pv")
DISK = IscsiDisk(Disk(FOLDER.server, "iqn.2026-11.internal.example:mysql", "/var/lib/iscsi-disks/mysql.img"))


class Broken:
    """A fault that was injected at 10 s and seen at 11 s."""

    issued: Instant | None = instant(10)
    effect: Instant | None = instant(11)

    def inject(self) -> None:
        """Do nothing."""

    def heal(self) -> None:
        """Do nothing."""


class Watched(Sampler):
    """A sampler that has samples without asking anybody."""

    def __init__(self, *samples: Sample, silences: Sequence[Instant] = ()) -> None:
        """Take what it has."""
        self._has, self._silent = samples, tuple(silences)

    def samples(self) -> tuple[Sample, ...]:
        """Return them."""
        return self._has

    def silences(self) -> tuple[Instant, ...]:
        """Return them."""
        return self._silent


class Told(Recorder):
    """A recorder that saw what it is given, with the gaps that it is given."""

    def __init__(self, *gaps: Gap, sightings: Sequence[Sighting] = ()) -> None:
        """Take them."""
        self._has, self._seen = gaps, tuple(sightings)

    def sightings(self) -> tuple[Sighting, ...]:
        """Return them."""
        return self._seen

    def gaps(self, origin: Instant) -> tuple[Gap, ...]:
        """Return them."""
        del origin
        return self._has


def write(value: int, begun: float, ended: float, outcome: Outcome = Outcome.OK) -> Operation:
    """Return an insert."""
    return Operation(0, "insert", value, instant(begun), instant(ended), outcome)


HISTORY = (
    write(1, 8, 8.5),
    write(2, 9, 9.5),
    write(3, 10.1, 10.4),
    write(4, 10.8, 15.8, Outcome.UNKNOWN),
    write(5, 16, 19, Outcome.FAIL),
    write(6, 40, 41),
    write(7, 41.2, 41.5),
)
HELD = tuple(Sample(instant(at), ("192.0.2.11" if at < 10 else "192.0.2.12",)) for at in (9, 20, 40, 58, 65))


def over(before: Pod, after: Pod, operations: tuple[Operation, ...] = HISTORY, kind: str = "power-cut") -> Drill:
    """Return a drill under the profile default that was healed at 50 s, steady at 60 s, and found every table whole."""
    watched, told = Watched(*HELD), Told()
    found = Drill(KINDS[kind], "default", before, Broken(), lambda: operations, watched, told, FOLDER, instant(50), instant(60))
    found.after, found.damaged = after, ()
    return found
