"""What the NFS server knows: what it exports to whom, and which client holds which file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from outlive.base.errors import LabError, UnreachableError
from outlive.lab.inventory import Host, Inventory
from outlive.lab.ssh import Remote

READ_CLIENTS = 'for each in /proc/fs/nfsd/clients/*/; do echo "== $each"; cat "$each/info" "$each/states"; done 2>/dev/null; true'


@dataclass(frozen=True)
class Export:
    """One folder exported to one client or network."""

    path: str
    client: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Held:
    """Something that a client holds: ``kind`` is open, lock, deleg or layout; ``file`` ends with folder and name."""

    kind: str
    file: str


@dataclass(frozen=True)
class Client:
    """An NFSv4 client of the server."""

    name: str
    address: str
    status: str
    held: tuple[Held, ...]

    def holds(self, file: str, *kinds: str) -> bool:
        """Say whether the client has that file open, locked or delegated, or in one of the kinds; ``file`` is ``folder/name`` or longer."""
        return any(file.endswith(held.file.lstrip("/")) for held in self.held if held.file and (not kinds or held.kind in kinds))


def exported(lab: Inventory) -> tuple[Host, str]:
    """Return the lab's NFS server and the path that it exports, as the inventory has them."""
    server = lab.group("nfs_servers")[0]
    export = server.literal("nfs_server_export")
    if export is None:
        raise LabError(f"The NFS server {server.name} has no literal nfs_server_export in the inventory: give it its path there.")
    return server, export


def exports(remote: Remote, server: str) -> tuple[Export, ...]:
    """Return what a server exports just now."""
    return parse_exports(remote.check(server, "exportfs -v"))


def clients(remote: Remote, server: str) -> tuple[Client, ...]:
    """Return the server's NFSv4 clients with what they hold. Fails as ``parse_clients`` does."""
    return parse_clients(remote.check(server, READ_CLIENTS))


def lease_seconds(remote: Remote, server: str) -> int:
    """Return the server's NFSv4 lease time in seconds."""
    return _seconds(remote, server, "/proc/fs/nfsd/nfsv4leasetime")


def grace_seconds(remote: Remote, server: str) -> int:
    """Return for how many seconds after its start the server gives out no new locks."""
    return _seconds(remote, server, "/proc/fs/nfsd/nfsv4gracetime")


def parse_exports(listing: str) -> tuple[Export, ...]:
    """Read the output of ``exportfs -v``, in which a long path stands on a line of its own."""
    # "/srv/a-long-path" newline, tabs and "192.0.2.0/24(rw,sync,…)": bring each export to one line.
    joined = re.sub(r"\n\s+", " ", listing)
    found = re.findall(r"^(\S+)\s+(\S+?)\(([^)]*)\)", joined, flags=re.MULTILINE)
    return tuple(Export(path, client, tuple(options.split(","))) for path, client, options in found)


def parse_clients(listing: str) -> tuple[Client, ...]:
    """Read what ``READ_CLIENTS`` printed.

    Raises:
        UnreachableError: it is no answer: each names folders, or the pattern of their names where there is no client.
    """
    if not re.search("^== ", listing, flags=re.MULTILINE):
        raise UnreachableError("the NFS server gave no list of its clients")
    return tuple(
        Client(
            name=_field(block, r'^name: "?(.*?)"?$'),
            address=_field(block, r'^address: "?\[?([^"\]]*?)\]?(?::\d+)?"?$'),
            status=_field(block, r"^status: (.*)$"),
            held=tuple(Held(kind, _field(rest, r'filename: "([^"]*)"')) for kind, rest in re.findall(r"\{ type: (\w+),(.*)\}", block)),
        )
        for block in re.split(r"^== .*\n", listing, flags=re.MULTILINE)
        if "clientid:" in block
    )


def _seconds(remote: Remote, server: str, file: str) -> int:
    said = remote.check(server, f"cat {file}").strip()
    if not said.isdecimal():
        raise LabError(f"{file} on {server} holds {said!r}: it has to be a number of seconds, so see `systemctl status nfs-server` there.")
    return int(said)


def _field(text: str, pattern: str) -> str:
    found = re.search(pattern, text, flags=re.MULTILINE)
    return found.group(1) if found else ""
