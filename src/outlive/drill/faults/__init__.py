"""Faults: what is injected, how its effect is observed, how it is healed.

``KINDS`` lists them by name; each is made for a ``Target`` and knows nothing of workloads and checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from outlive.drill.faults import network, pods, power, process, storage
from outlive.drill.faults.base import READY_WITHIN, Fault, Target, heal, injected, shielded
from outlive.drill.faults.power import NfsAwayPowerOff, PowerOff

__all__ = ["KINDS", "READY_WITHIN", "Fault", "Kind", "NfsAwayPowerOff", "PowerOff", "Target", "heal", "injected", "shielded"]

BLACK_OUT = 15.0
"""Seconds without the kubelet's word that no profile may take for a death: the last renewal of its lease may be 10 s old by then, and the
next one comes up to 10 s later."""
STOP = 5.0
"""The same for a kubelet that has to start again, which takes an emulated node 10 to 20 s more."""


@dataclass(frozen=True)
class Kind:
    """A fault that can be asked for: ``title`` follows 'after', ``make`` makes it for a target."""

    name: str
    title: str
    make: Callable[[Target], Fault]
    moves: bool
    """MySQL has to come up on another node before it is written to again; else it stays where it is."""
    stays: bool = False
    """Nothing may move: the same pod has to be there afterwards."""
    hold: float = 0.0
    """Seconds that the fault lasts where nothing has to move."""
    spares_server: bool = True
    """The control plane and the NFS server go on working."""
    ends_mysqld: bool = False
    """mysqld itself ends, and with it its lock: who stands by takes over, though no node is lost."""
    of_nfs: bool = False
    """It breaks NFS, or the way to it, and nothing where MySQL's data lies on a disk."""
    bounded: bool = False
    """That its effect comes in time is what the drill verifies: a late one is a failure, where of other faults it says nothing."""


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("power-off", "a graceful power-off of MySQL's node", power.PowerOff.of, moves=True),
        Kind("power-cut", "a power cut of MySQL's node", power.PowerCut.of, moves=True),
        Kind("freeze", "a freeze of MySQL's node, resumed after its replacement runs", power.Freeze.of, moves=True),
        Kind("kubelet-stop", "a stop of the kubelet on MySQL's node", process.KubeletStopped.of, moves=False, stays=True, hold=STOP),
        Kind("containerd-kill", "a kill of containerd on MySQL's node", process.ContainerdKilled.of, moves=False, stays=True),
        Kind("mysqld-kill", "a kill of mysqld", process.MysqldKilled.of, moves=False, stays=True, ends_mysqld=True),
        Kind("pod-delete", "the deletion of MySQL's pod", pods.PodDeleted.of, moves=False),
        Kind("pod-force-delete", "the forced deletion of MySQL's pod", pods.PodForceDeleted.of, moves=False),
        Kind("cut-api", "a cut between MySQL's node and the API server", network.CutApi.of, moves=False, stays=True, hold=BLACK_OUT),
        Kind(
            "cut-nfs", "a cut between MySQL's node and the NFS server", network.CutNfs.of, moves=False, stays=True, hold=30.0, of_nfs=True
        ),
        Kind("cut-both", "a cut between MySQL's node and API and NFS server", network.CutBoth.of, moves=True, of_nfs=True),
        Kind("nfs-slow", "a slow network to the NFS server", network.NfsSlow.of, moves=False, stays=True, hold=30.0, of_nfs=True),
        Kind("nfs-restart", "a restart of the NFS server", storage.NfsRestarted.of, moves=False, stays=True, of_nfs=True),
        Kind(
            "lock-lost",
            "the loss of MySQL's lock at the NFS server",
            storage.LockLost.of,
            moves=False,
            stays=True,
            ends_mysqld=True,
            of_nfs=True,
        ),
        Kind("nfs-full", "a full NFS export", storage.ExportFull.of, moves=False, stays=True, hold=30.0, of_nfs=True),
        Kind("nfs-reboot", "a reboot of the NFS server's VM", power.ServerReboot.of, moves=False, spares_server=False),
        Kind(
            "nfs-away-power-off",
            "a power-off of MySQL's node while the NFS server is stopped",
            power.NfsAwayPowerOff.of,
            moves=True,
            of_nfs=True,
            bounded=True,
        ),
        Kind(
            "site-cut",
            "a power cut of MySQL's node and the NFS server's VM at once",
            power.SiteCut.of,
            moves=False,
            spares_server=False,
        ),
    )
}
"""All faults by name."""
