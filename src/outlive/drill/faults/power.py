"""Faults of whole machines: their power and their processor."""

from __future__ import annotations

from contextlib import suppress
from typing import Self

from outlive.base.clock import Instant
from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import WaitTimeoutError, persist, wait_for
from outlive.drill.faults.base import READY_WITHIN, Target, Timed, await_ready
from outlive.lab.power import OFF_WITHIN, Machine


class _Power(Timed):
    """A machine without power, until healing switches it on again."""

    def __init__(self, target: Target, machine: Machine) -> None:
        """Take the machine that loses its power."""
        super().__init__(target)
        self.machine = machine
        self.powered_on: Instant | None = None
        """When the power came back."""
        self.node_ready: Instant | None = None
        """When the node was Ready again."""
        self._boot = ""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node."""
        return cls(target, target.machine)

    def inject(self) -> None:
        """Take the power and wait until the VM's process is gone."""
        self.prepare()
        self.take()

    def prepare(self) -> None:
        """Look at what is about to be broken.

        Raises:
            LabError: the VM isn't running; nothing was touched.
        """
        if self.machine.process() is None:
            raise LabError(f"The VM of {self.machine.name} isn't running: it has to be before it is powered off, so run `vagrant up`.")
        self._boot = self.target.cluster.node(self.machine.name).boot
        self.target.remote.check(self.machine.name, "true")  # a first connection takes seconds that aren't the fault's

    def take(self) -> None:
        """Take the power and see the VM's process gone."""
        self.begin()
        self._take_power()
        self.target.remote.forget(self.machine.name)
        self.machine.wait_until_off(clock=self.target.clock)
        self.observed()

    def heal(self) -> None:
        """Switch the power on, after a shutdown under way has ended, and wait until the node is Ready."""
        if self.issued is None:
            return  # nothing was broken
        self.power_on()
        wait_for(
            f"node {self.machine.name}",
            "Ready after its new start",
            lambda: self.target.cluster.node(self.machine.name),
            # Within its grace period the cluster still calls a dead node Ready: only another boot id is news of it.
            lambda node: node.ready == "True" and node.boot != self._boot,
            within=READY_WITHIN,
            describe=lambda node: f"{node.state}, {'before' if node.boot == self._boot else 'after'} it",
            clock=self.target.clock,
        )
        self.node_ready = self.node_ready or self.target.clock.now()

    def power_on(self) -> None:
        """Switch the power on where it was taken, after a shutdown under way has ended."""
        if self.issued is None:
            return
        self.target.remote.forget(self.machine.name)
        if self.effect is None:
            self._finish_shutdown()
        if self.machine.process() is None:
            self.give()

    def give(self) -> None:
        """Switch the power on again."""
        self.machine.start()
        self.powered_on = self.target.clock.now()

    def _take_power(self) -> None:
        raise NotImplementedError

    def _finish_shutdown(self) -> None:
        """Let an interrupted power-off come to its end; one that hangs loses its power."""
        try:
            self.machine.wait_until_off(within=OFF_WITHIN, clock=self.target.clock)
        except WaitTimeoutError:
            self.machine.cut()
            self.machine.wait_until_off(within=60, clock=self.target.clock)
        self.effect = self.target.clock.now()


class PowerOff(_Power):
    """``systemctl poweroff`` on a node, until its VM's process is gone."""

    def _take_power(self) -> None:
        with suppress(UnreachableError):  # sshd may be gone before it told ssh so: the VM's process says what happened
            self.target.remote.run(self.machine.name, "systemctl poweroff")


class PowerCut(_Power):
    """The plug of a node is pulled: the guest isn't asked. The host's page cache stays, so this says nothing about disks."""

    def _take_power(self) -> None:
        self.machine.cut()

    def _finish_shutdown(self) -> None:
        if self.machine.process() is not None:
            self.machine.cut()
        super()._finish_shutdown()


class ServerReboot(PowerCut):
    """The VM of the NFS server, which is the control plane too, loses its power and gets it back at once."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for the NFS server's machine."""
        return cls(target, target.server)

    def inject(self) -> None:
        """Cut the power, see the process gone, and switch it on again; the boot is part of the outage."""
        super().inject()
        self.give()


class SiteCut(Timed):
    """MySQL's node and the NFS server's VM lose their power at once, as in one rack, and get it back at once: only disks remember."""

    def __init__(self, target: Target) -> None:
        """Take both machines."""
        super().__init__(target)
        self._cuts = (PowerCut(target, target.server), PowerCut(target, target.machine))

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node and the NFS server's machine."""
        return cls(target)

    def inject(self) -> None:
        """Cut both, the server first: what it hadn't on its disk by then can't be written anew."""
        for cut in self._cuts:
            cut.prepare()
        self.begin()
        for cut in self._cuts:
            cut.take()
        self.observed()
        for cut in self._cuts:
            cut.give()

    def heal(self) -> None:
        """Switch both on and wait until they are back, whatever was cut so far."""
        for cut in self._cuts:
            cut.power_on()
        for cut in self._cuts:
            cut.heal()


class Freeze(Timed):
    """The hypervisor stops a node's processors; resumed, it goes on in the belief that no time has passed."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node."""
        return cls(target)

    def inject(self) -> None:
        """Stop the processors and see that they stand."""
        self.target.remote.check(self.target.node, "true")
        self.begin()
        self.target.machine.suspend()
        self.target.remote.forget(self.target.node)
        wait_for(
            f"VM of {self.target.node}",
            "paused",
            self.target.machine.paused,
            bool,
            within=60,
            every=0.2,
            clock=self.target.clock,
        )
        self.observed()

    def heal(self) -> None:
        """Let it go on where it stands, wait until the node is Ready, and set its clock, which stood as well.

        Fencing may have cut its power meanwhile: then it is switched on.
        """
        if self.issued is None:
            return
        if self.target.machine.process() is not None and self.target.machine.paused():
            self.target.machine.resume()
        await_ready(self.target, self.target.machine)
        persist(f"clock of {self.target.node}", self._set_clock, wanted="set", within=READY_WITHIN, clock=self.target.clock)

    def _set_clock(self) -> None:
        self.target.remote.check(self.target.node, "date --set=@%s", f"{self.target.clock.now().wall.timestamp():.3f}")
