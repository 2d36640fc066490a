"""What MySQL's data lies on: a folder of the NFS server, or a disk that the server offers over iSCSI; and who may write to it just now."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import ClassVar, Protocol

from outlive.base.errors import LabError, UnreachableError
from outlive.lab import iscsi, nfs, nft
from outlive.lab.inventory import Host, Inventory
from outlive.lab.iscsi import Disk
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Remote

VOLUME = "mysql-pv"
LOCKED = "ibdata1"
"""The file of InnoDB that a mysqld locks before it touches any other."""
HOLDING = ("lock", "deleg")
"""What lets a client lock a file: the lock itself, or a delegation, under which Linux's client grants locks without asking."""
TURNED_AWAY = tuple(name.split()[1] for name in (nft.FENCED, nft.LOST))
"""The tables of nftables with the addresses whose packets the server drops."""


class MysqlStorage(Protocol):
    """What keeps MySQL's data."""

    kind: ClassVar[str]
    """How a report names it."""
    port: ClassVar[int]
    """The port by which nodes reach it."""
    attached: ClassVar[bool]
    """It belongs to one node at a time, and stays with one that is lost until somebody says that the node is off."""

    @property
    def server(self) -> Host:
        """The machine that it lies on."""

    @property
    def look(self) -> str:
        """A shell command for the server that tells who may write; it is run as root, without end, so it has to be light."""

    def holders(self, listing: str) -> set[str]:
        """Return the addresses of the nodes that may write, by what ``look`` printed.

        Raises:
            UnreachableError: it is no answer.
        """

    def files(self, remote: Remote) -> set[str]:
        """Return the names of MySQL's files as they lie on the server, of those in a database's folder too (``mysql/my_id.ibd``)."""

    def content(self, remote: Remote, file: str) -> str:
        """Return what a small file of MySQL's holds as it lies on the server."""


@dataclass(frozen=True)
class NfsFolder:
    """A folder that an NFS server exports: MySQL's lock on InnoDB's data file says who writes."""

    server: Host
    path: str

    kind: ClassVar[str] = "NFS"
    port: ClassVar[int] = 2049
    attached: ClassVar[bool] = False

    @property
    def look(self) -> str:
        """List the server's clients with what they hold."""
        return nfs.READ_CLIENTS

    def holders(self, listing: str) -> set[str]:
        """Return the clients that hold InnoDB's lock, or could take it without asking."""
        return {client.address for client in nfs.parse_clients(listing) if client.holds(f"{self.path}/{LOCKED}", *HOLDING)}

    def files(self, remote: Remote) -> set[str]:
        """List the folder."""
        return set(remote.check(self.server.name, "find %s -maxdepth 2 -printf %s", self.path, "%P\\n").splitlines())

    def content(self, remote: Remote, file: str) -> str:
        """Read it there."""
        return remote.check(self.server.name, "cat %s", f"{self.path}/{file}")


@dataclass(frozen=True)
class IscsiDisk:
    """A disk over iSCSI: a node that is logged in to its target writes, unless the server drops its packets."""

    disk: Disk

    kind: ClassVar[str] = "iSCSI"
    port: ClassVar[int] = iscsi.PORT
    attached: ClassVar[bool] = True
    folder: ClassVar[str] = "data"
    """MySQL's folder on the disk's file system (templates/mysql/mysql.yml.j2 of the role storage_tutorial)."""

    @property
    def server(self) -> Host:
        """The disk's."""
        return self.disk.server

    @property
    def look(self) -> str:
        """List sessions, with a heading of which one knows that it is an answer, and the addresses that are turned away."""
        sessions = iscsi.SESSIONS % shlex.quote(self.disk.target)
        return f"echo '== sessions'; {sessions}; echo '== sets'; nft -j list sets 2>/dev/null; true"

    def holders(self, listing: str) -> set[str]:
        """Return the nodes with a connection, without those that are turned away: what such a one sends doesn't arrive."""
        told = re.fullmatch(r"== sessions\n(?P<sessions>.*)== sets\n(?P<sets>.*)", listing, flags=re.DOTALL)
        if told is None or "Session" not in told["sessions"]:
            raise UnreachableError("the iSCSI server gave no list of its sessions")
        connected = set(iscsi.connected(told["sessions"], iscsi.LOGGED_IN))
        # Nothing is printed where nft isn't installed.
        return connected - (nft.addresses(told["sets"], *TURNED_AWAY) if told["sets"].strip() else frozenset())

    def files(self, remote: Remote) -> set[str]:
        """List the file system on the disk, which a node has mounted, without touching it.

        A name that is in the journal alone isn't seen: it takes the node half a minute to write it to its place.
        """
        found = set()
        for folder in ("", "mysql"):
            listing = self._debugfs(remote, f"ls -p /{self.folder}/{folder}")
            found |= {f"{folder}/{each.split('/')[5]}".lstrip("/") for each in listing.splitlines() if each.count("/") > 5}
        return found

    def content(self, remote: Remote, file: str) -> str:
        """Read it there likewise."""
        return self._debugfs(remote, f"cat /{self.folder}/{file}")

    def _debugfs(self, remote: Remote, request: str) -> str:
        return remote.check(self.server.name, "debugfs -R %s %s 2>/dev/null", request, self.disk.file)


def of(cluster: Cluster, lab: Inventory) -> MysqlStorage:
    """Return what MySQL's volume leads to.

    Raises:
        LabError: there is none, or nothing that is known here.
    """
    volume = cluster.volume(VOLUME)
    server = next((host for host in lab.group("nfs_servers") if volume.server in (host.address, host.name)), None)
    if volume.path and server:
        return NfsFolder(server, volume.path)
    if volume.target:
        disk = iscsi.disk(lab, volume.target.rpartition(":")[2])
        if disk.target == volume.target:
            return IscsiDisk(disk)
    raise LabError(
        f"The volume {VOLUME} leads neither to the NFS server nor to a disk of the inventory's iscsi_servers: "
        f"see `kubectl describe pv {VOLUME}`, then run `outlive tutorial apply`."
    )
