"""TCP ports that a server of the program listens on: whether one can be had, and who has it."""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import sys
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.process import name_of, said

_LISTENS = "0A"
"""TCP_LISTEN in the column `st` of /proc/net/tcp (proc_pid_net(5))."""


def check_address(address: str) -> None:
    """Raise LabError unless `address` is an IPv4 address."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise LabError(f"--address is {address!r}, which is no IPv4 address: give one of this host's") from error


def own_addresses() -> list[str]:
    """Return the IPv4 addresses at which others may reach this host; none where it has none, or no `ip`."""
    links = json.loads(said(("ip", "-4", "-j", "address", "show", "up", "scope", "global")) or "[]")
    return [entry["local"] for link in links for entry in link.get("addr_info", [])]


def typed(address: str) -> list[str]:
    """Return what others type to reach a server that listens on an IPv4 address: nobody can type 0.0.0.0."""
    return (own_addresses() or ["<this host's address>"]) if address == "0.0.0.0" else [address]


def check_free(address: str, port: int, who: str, cure: str) -> None:
    """Raise LabError, see `refused`, if somebody listens there: it would answer in place of ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind((address, port))
        except OSError as error:
            raise refused(error, address, port, who, cure) from error


def refused(error: OSError, address: str, port: int, who: str, cure: str) -> LabError:
    """Return the sentence on a port that can't be listened on.

    Args:
        error: What the system said.
        address: IPv4 address to listen on.
        port: TCP port to listen on.
        who: What would listen, as the user knows it.
        cure: The end of the sentence.
    """
    there = holder(address, port) if error.errno == errno.EADDRINUSE else None
    by = f" by process {there}, {name_of(there)}" if there is not None else ""
    return LabError(f"{who} can't listen on {address} port {port} ({error.strerror}{by}): {cure}")


def holder(address: str, port: int) -> int | None:
    """Return the id of a process that keeps others from listening on an IPv4 address and TCP port of this network namespace.

    None where there is none that this user may look into.
    """
    tables = (_listening(Path("/proc/net", table), ipaddress.IPv4Address(address), port) for table in ("tcp", "tcp6"))
    # One of IPv6 alone is in nobody's way, and looks like one of both: it counts only where none of IPv4 is there.
    sockets = next(filter(None, tables), set())
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(str(each.readlink()) in sockets for each in folder.iterdir()):
                return int(folder.parent.name)
        except OSError:  # another user's, or it has ended
            continue
    return None


def _listening(table: Path, wanted: ipaddress.IPv4Address, port: int) -> set[str]:
    """Return the sockets that listen on a port where `wanted` is among their addresses, by one of the kernel's tables."""
    try:
        rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    except OSError:  # a kernel without IPv6
        return set()
    found = set()
    for row in rows:
        address, _, number = row[1].partition(":")
        if row[3] == _LISTENS and int(number, 16) == port and _overlap(_address(address), wanted):
            found.add(f"socket:[{row[9]}]")
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address as the kernel's tables have it: words of 32 bits in this host's byte order."""
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    address = ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
    return getattr(address, "ipv4_mapped", None) or address


def _overlap(there: ipaddress.IPv4Address | ipaddress.IPv6Address, wanted: ipaddress.IPv4Address) -> bool:
    """Say whether who listens on one address keeps the other from being listened on; `::` is IPv4's addresses too."""
    return there == wanted or there.is_unspecified or (wanted.is_unspecified and there.version == 4)
