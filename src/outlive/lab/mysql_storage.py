"""What MySQL's data lies on: a folder of the NFS server, or a disk that the server offers over iSCSI; and who may write to it just now."""

from __future__ import annotations

import json
import re
import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from outlive.base.errors import LabError, UnreachableError
from outlive.lab import iscsi, nfs
from outlive.lab.inventory import Host, Inventory
from outlive.lab.iscsi import Disk
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Remote

VOLUME = "mysql-pv"
LOCKED = "ibdata1"
"""The file of InnoDB that a mysqld locks before it touches any other."""
HOLDING = ("lock", "deleg")
"""What lets a client lock a file: the lock itself, or a delegation, under which Linux's client grants locks without asking."""
TURNED_AWAY = ("outlive_fence", "outlive_lost")
"""The tables of nftables with the addresses whose packets the server drops: the fencing watcher's, and those of nodes that were removed as lost."""


@dataclass(frozen=True)
class MysqlStorage(ABC):
    """The server that keeps MySQL's data."""

    server: Host

    kind: ClassVar[str]
    """How a report names it."""
    port: ClassVar[int]
    """The port by which nodes reach it."""
    attached: ClassVar[bool]
    """It belongs to one node at a time, and stays with one that is lost until somebody says that the node is off."""

    @property
    @abstractmethod
    def look(self) -> str:
        """A shell command for the server that tells who may write; it is run as root, without end, so it has to be light."""

    @abstractmethod
    def holders(self, listing: str) -> set[str]:
        """Return the addresses of the nodes that may write, by what ``look`` printed.

        Raises:
            UnreachableError: it is no answer.
        """

    @abstractmethod
    def files(self, remote: Remote) -> set[str]:
        """Return the names of MySQL's files as they lie on the server, of those in a database's folder too (``mysql/my_id.ibd``)."""

    @abstractmethod
    def content(self, remote: Remote, file: str) -> str:
        """Return what a small file of MySQL's holds as it lies on the server."""


@dataclass(frozen=True)
class NfsFolder(MysqlStorage):
    """A folder that an NFS server exports: MySQL's lock on InnoDB's data file says who writes."""

    path: str

    kind = "NFS"
    port = 2049
    attached = False

    @property
    def look(self) -> str:
        """List the server's clients with what they hold."""
        return nfs.READ_CLIENTS

    def holders(self, listing: str) -> set[str]:
        """Return the clients that hold InnoDB's lock, or could take it without asking."""
        file = f"{self.path}/{LOCKED}"
        return {client.address for client in nfs.parse_clients(listing) if any(_locks(held, file) for held in client.held)}

    def files(self, remote: Remote) -> set[str]:
        """List the folder."""
        return set(remote.check(self.server.name, "find %s -maxdepth 2 -printf %s", self.path, "%P\\n").splitlines())

    def content(self, remote: Remote, file: str) -> str:
        """Read it there."""
        return remote.check(self.server.name, "cat %s", f"{self.path}/{file}")


@dataclass(frozen=True)
class IscsiDisk(MysqlStorage):
    """A disk over iSCSI: a node that is logged in to its target writes, unless the server drops its packets."""

    disk: Disk

    kind = "iSCSI"
    port = iscsi.PORT
    attached = True
    folder = "data"
    """MySQL's folder on the disk's file system (templates/mysql/mysql.yml.j2 of the role storage_tutorial)."""

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
        connected = set(re.findall(r"TARG_CONN_STATE_LOGGED_IN\s+Address (\S+) TCP", told["sessions"]))
        return connected - _turned_away(told["sets"])

    def files(self, remote: Remote) -> set[str]:
        """List the file system on the disk, which a node has mounted, without touching it.

        A name that is in the journal alone isn't seen: it takes the node half a minute to write it to its place.
        """
        names = f"debugfs -R %s {shlex.quote(self.disk.file)} 2>/dev/null"
        found = set()
        for folder in ("", "mysql"):
            listing = remote.check(self.server.name, names, f"ls -p /{self.folder}/{folder}")
            found |= {f"{folder}/{each.split('/')[5]}".lstrip("/") for each in listing.splitlines() if each.count("/") > 5}
        return found

    def content(self, remote: Remote, file: str) -> str:
        """Read it there likewise."""
        return remote.check(self.server.name, f"debugfs -R %s {shlex.quote(self.disk.file)} 2>/dev/null", f"cat /{self.folder}/{file}")


def of(cluster: Cluster, lab: Inventory) -> MysqlStorage:
    """Return what MySQL's volume leads to.

    Raises:
        LabError: there is none, or nothing that is known here.
    """
    volume = cluster.volume(VOLUME)
    if volume.path:
        return NfsFolder(lab.group("nfs_servers")[0], volume.path)
    if volume.target:
        disk = iscsi.disk(lab, volume.target.rpartition(":")[2])
        if disk.target == volume.target:
            return IscsiDisk(disk.server, disk)
    raise LabError(
        f"The volume {VOLUME} leads neither to the NFS server nor to a disk of the inventory's iscsi_servers: "
        f"see `kubectl describe pv {VOLUME}`, then run `outlive tutorial apply`."
    )


def _turned_away(listing: str) -> set[str]:
    """Return the addresses in our sets, by what ``nft -j list sets`` printed; none where it printed nothing, as where it isn't installed."""
    sets = [each["set"] for each in json.loads(listing)["nftables"] if "set" in each] if listing.strip() else []
    return {str(address) for each in sets if each["table"] in TURNED_AWAY for address in each.get("elem", ())}


def _locks(held: nfs.Held, file: str) -> bool:
    return held.kind in HOLDING and bool(held.file) and file.endswith(held.file.lstrip("/"))
