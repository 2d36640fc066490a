"""Faults of the NFS server's service and of its disk."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Self

from outlive.base.errors import LabError
from outlive.drill.faults.base import Command, Target
from outlive.lab.mysql_storage import LOCKED

STARTED = "systemctl show --property=ActiveEnterTimestampMonotonic --value nfs-server"


class ExportFull(Command):
    """The export's file system has no room left for its users; what is written in place still can be."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for the NFS server."""
        return cls(target, target.server.name)

    @property
    def _ballast(self) -> str:
        return f"{self.target.export}/.outlive-ballast"

    def prepare(self) -> None:
        """Refuse to fill the server's own file system.

        Raises:
            LabError: the export has none of its own; nothing was touched.
        """
        volume, root = self.run(f"stat --format=%d {self.target.export} /").split()
        if volume == root:
            raise LabError(
                f"{self.target.export} lies on the root file system of {self.host}: filling it would break the server itself, so set "
                "nfs_server_disk in the inventory."
            )

    def break_it(self) -> None:
        """Take all room that is left."""
        self.run(
            f"left=$(df --output=avail --block-size=1 {self.target.export} | tail -n 1); "
            f"[ $left -lt 65536 ] || fallocate --length $left {self._ballast}"
        )

    def await_effect(self) -> None:
        """See that no room is left."""
        self.watch(
            "free room of the export",
            "less than 64 KiB",
            f"df --output=avail --block-size=1K {self.target.export} | tail -n 1",
            lambda left: left.isdigit() and int(left) < 64,
        )

    def repair(self) -> None:
        """Give the room back."""
        self.run(f"rm -f {self._ballast}")


class NfsRestarted(Command):
    """The NFS server is restarted: clients get their locks back within its grace period, nobody gets a new one."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for the NFS server."""
        return cls(target, target.server.name)

    def prepare(self) -> None:
        """Remember its start."""
        self._before = self.run(STARTED).strip()

    def break_it(self) -> None:
        """Restart it."""
        self.run("systemctl restart nfs-server")

    def await_effect(self) -> None:
        """See that it has a new start."""
        self.watch("nfs-server", "started anew", STARTED, lambda started: started not in ("", "0", self._before))

    def repair(self) -> None:
        """Make sure that it runs."""
        self.run("systemctl start nfs-server")


class LockLost(Command):
    """The NFS server gives up the client that has MySQL's files locked, as it does when a lease has ended, while mysqld lives.

    The client begins anew at once, but not with a lock that somebody else may have had meanwhile: what mysqld reads and writes by it gets an I/O error.
    """

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for the NFS server."""
        return cls(target, target.server.name)

    def prepare(self) -> None:
        """Find the client.

        Raises:
            LabError: not exactly one has them open; nothing was touched.
        """
        file = PurePosixPath(self.target.export).name + f'/{LOCKED}"'
        found = self.run("grep --files-with-matches --no-messages %s /proc/fs/nfsd/clients/*/states || true", file).split()
        if len(found) != 1:
            raise LabError(
                f"{len(found)} clients of {self.host} have {self.target.export}/{LOCKED} open, and it has to be one, MySQL's node, to take its lock "
                "away: see `cat /proc/fs/nfsd/clients/*/states` there."
            )
        self._client = str(PurePosixPath(found[0]).parent)

    def break_it(self) -> None:
        """Expire it."""
        self.run(f"echo expire > {self._client}/ctl")

    def await_effect(self) -> None:
        """See that the server has forgotten it: a client that comes back is another one there."""
        self.watch("MySQL's client", "forgotten", f"test -e {self._client} || echo gone", lambda said: said == "gone")

    def repair(self) -> None:
        """Do nothing: mysqld ends by itself, and starts where it gets the lock."""
