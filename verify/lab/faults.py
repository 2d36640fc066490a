"""Faults: what is injected, how its effect is observed, how it is healed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from verify.lab.clock import HOST_CLOCK, Clock, Instant
from verify.lab.errors import LabError, UnreachableError
from verify.lab.kube import Cluster
from verify.lab.machines import OFF_WITHIN, Machine
from verify.lab.remote import Remote
from verify.lab.wait import WaitTimeoutError, wait_for

READY_WITHIN = 600.0
"""Seconds from power-on to a Ready node; a software-emulated one under load needs minutes."""


class Fault(Protocol):
    """Something that is broken on purpose."""

    def inject(self) -> None:
        """Break it and return when the effect was observed."""

    def heal(self) -> None:
        """Make it whole, whatever state it is in, and return when that was observed; healing twice is harmless."""


Injected = TypeVar("Injected", bound=Fault)


@contextmanager
def injected(fault: Injected) -> Iterator[Injected]:
    """Inject a fault and heal it at the end, however the end comes: the healing stands before the injection."""
    try:
        fault.inject()
        yield fault
    finally:
        fault.heal()


class PowerOff:
    """``systemctl poweroff`` on a node, until its VM's process is gone."""

    def __init__(
        self,
        machine: Machine,
        remote: Remote,
        cluster: Cluster,
        clock: Clock = HOST_CLOCK,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the machine under the node; ``on_change`` is called after each moment of the injection."""
        self.machine = machine
        self._remote = remote
        self._cluster = cluster
        self._clock = clock
        self._on_change = on_change
        self.issued: Instant | None = None
        """When the power-off was asked for."""
        self.gone: Instant | None = None
        """When the VM's process was gone."""
        self.powered_on: Instant | None = None
        """When the power came back."""
        self.node_ready: Instant | None = None
        """When the node was Ready again."""
        self._boot = ""

    def inject(self) -> None:
        """Ask the guest to power itself off and wait until its VM's process is gone."""
        if self.machine.process() is None:
            raise LabError(f"The VM of {self.machine.name} isn't running: it has to be before it is powered off, so run `vagrant up`.")
        self._boot = self._cluster.node(self.machine.name).boot
        self._remote.check(self.machine.name, "true")  # a first connection takes seconds that aren't the fault's
        self.issued = self._clock.now()
        self._on_change()
        with suppress(UnreachableError):  # sshd may be gone before it told ssh so: the VM's process says what happened
            self._remote.run(self.machine.name, "systemctl poweroff")
        self._remote.forget(self.machine.name)
        self.machine.wait_until_off(clock=self._clock)
        self.gone = self._clock.now()
        self._on_change()

    def heal(self) -> None:
        """Switch the power on, after a shutdown under way has ended, and wait until the node is Ready."""
        if self.issued is None:
            return  # nothing was broken
        self._remote.forget(self.machine.name)
        if self.gone is None:
            self._finish_shutdown()
        if self.machine.process() is None:
            self.machine.start()
            self.powered_on = self._clock.now()
        wait_for(
            f"node {self.machine.name}",
            "Ready after its new start",
            lambda: self._cluster.node(self.machine.name),
            # Within its grace period the cluster still calls a dead node Ready: only another boot id is news of it.
            lambda node: node.ready == "True" and node.boot != self._boot,
            within=READY_WITHIN,
            describe=lambda node: f"{node.state}, {'before' if node.boot == self._boot else 'after'} it",
            clock=self._clock,
        )
        self.node_ready = self.node_ready or self._clock.now()

    def _finish_shutdown(self) -> None:
        """Let an interrupted power-off come to its end; one that hangs loses its power."""
        try:
            self.machine.wait_until_off(within=OFF_WITHIN, clock=self._clock)
        except WaitTimeoutError:
            self.machine.cut()
            self.machine.wait_until_off(within=60, clock=self._clock)
        self.gone = self._clock.now()
