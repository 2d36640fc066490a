"""Faults of the network between MySQL's node and the servers. ssh and the pods' network stay as they are."""

from __future__ import annotations

from typing import Self

from outlive.drill.faults.base import Command, Target

TABLE = "outlive_fault"
API_PORT = 6443
NFS_PORT = 2049
EFFECT_WITHIN = 180.0
"""Seconds until packets to each port were dropped: an NFS client that has nothing to write renews its lease each 60 s."""
DELAY = "200ms"
"""What a slow network adds to each packet to the NFS server."""


def dropped(listing: str) -> set[int]:
    """Return the ports to which packets were dropped, of a listing with a line of port and count for each."""
    return {int(port) for port, count in (line.split() for line in listing.splitlines() if line.strip()) if int(count) > 0}


class _Cut(Command):
    """Packets from MySQL's node to some of the server's ports are dropped, without a word to the sender."""

    ports: tuple[int, ...] = ()

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node."""
        return cls(target, target.node)

    def break_it(self) -> None:
        """Load a table with a rule for each port, behind the translation of Services' addresses."""
        drops = "\n".join(f"    ip daddr {self.target.server_address} tcp dport {port} counter drop" for port in self.ports)
        rules = f"""add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain output {{
    type filter hook output priority 100
{drops}
  }}
}}
"""
        self.run("printf %%s %s | nft --file -", rules)

    def await_effect(self) -> None:
        """See that packets to each port were dropped."""
        self.watch(
            "dropped packets",
            f"at least one to each of the ports {', '.join(map(str, self.ports))}",
            f"nft list table inet {TABLE} | sed -n 's/.*dport \\([0-9]*\\) counter packets \\([0-9]*\\).*/\\1 \\2/p'",
            lambda listing: dropped(listing) >= set(self.ports),
            within=EFFECT_WITHIN,
        )

    def repair(self) -> None:
        """Take the table away."""
        self.run(f"nft delete table inet {TABLE} 2>/dev/null || true")


class CutApi(_Cut):
    """Node and API server don't meet; MySQL and its volume do."""

    ports = (API_PORT,)


class CutNfs(_Cut):
    """Node and NFS server don't meet: whatever touches the volume hangs."""

    ports = (NFS_PORT,)


class CutBoth(_Cut):
    """The node meets neither API nor NFS server: alive, alone, and sure of its lock."""

    ports = (API_PORT, NFS_PORT)


class NfsSlow(Command):
    """Each packet from MySQL's node to the server waits."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node."""
        return cls(target, target.node)

    def prepare(self) -> None:
        """Find the interface that leads to the server."""
        self._device = self.run(f"ip -o route get {self.target.server_address} | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p'").strip()

    def break_it(self) -> None:
        """Put NFS packets into a queue that delays them, the fourth, which no other packet is sorted into."""
        device = self._device
        self.run(
            f"modprobe sch_netem && tc qdisc replace dev {device} root handle 1: prio bands 4 "
            f"&& tc qdisc replace dev {device} parent 1:4 handle 40: netem delay {DELAY} "
            f"&& tc filter replace dev {device} parent 1: protocol ip prio 1 u32 "
            f"match ip dst {self.target.server_address}/32 match ip dport {NFS_PORT} 0xffff flowid 1:4"
        )

    def await_effect(self) -> None:
        """See that the queue has sent packets."""
        self.watch(
            "delayed packets",
            "at least one",
            f"tc -s qdisc show dev {self._device} parent 1:4 | sed -n 's/.*Sent [0-9]* bytes \\([0-9]*\\) pkt.*/\\1/p'",
            lambda count: count.isdigit() and int(count) > 0,
        )

    def repair(self) -> None:
        """Give the interface its own queue back."""
        self.run(f"tc qdisc del dev {self._device} root 2>/dev/null || true")
