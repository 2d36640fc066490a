"""A lab that answers: its inventory, its cluster's API and the way to its machines, as one thing to hand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.lab import inventory, kube
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Remote


@dataclass(frozen=True)
class Lab:
    """The lab that a command works on."""

    inventory: Inventory
    cluster: Cluster
    remote: Remote
    clock: Clock = HOST_CLOCK

    @property
    def workers(self) -> list[str]:
        """Names of the nodes that MySQL may run on."""
        return [host.name for host in self.inventory.workers]


@contextmanager
def connect() -> Iterator[Lab]:
    """Yield the lab that the inventory and KUBECONFIG lead to; its connections are closed at the end.

    Raises:
        LabError: there is no such lab, or no kubeconfig.
    """
    found = inventory.load()
    remote = Remote(found)
    try:
        yield Lab(found, kube.connect(), remote)
    finally:
        remote.close()
