"""Faults of whole machines: their power and their processor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Self

from outlive.base.clock import Instant
from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import StateNotReachedError, WaitTimeoutError, persist, wait_for
from outlive.drill.faults.base import READY_WITHIN, Target, Timed, await_ready
from outlive.lab.power import OFF_WITHIN, Machine

MYSQLD_WAITS = "ps -L -C mysqld -o stat= | grep -m 1 -o ^D"
"""Says D where a thread of mysqld waits in the kernel."""
HANGS_WITHIN = 60.0
"""Seconds from the server's stop until mysqld waits for it: clients write all the time."""


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


class NfsAwayPowerOff(PowerOff):
    """``systemctl poweroff`` on MySQL's node while its NFS server is stopped: mysqld can't end, not even by SIGKILL, until the server answers.

    The server is started again as soon as the node is off, so that MySQL can come up elsewhere.
    """

    def __init__(self, target: Target, machine: Machine) -> None:
        """Take the machine that is switched off."""
        super().__init__(target, machine)
        self.ordered: Instant | None = None
        """When the power-off was asked for; the fault itself begins with the server's stop."""

    @property
    def seconds(self) -> float | None:
        """Seconds from the order until the VM was off; None where that wasn't seen."""
        return None if self.ordered is None or self.effect is None else self.effect.since(self.ordered)

    def inject(self) -> None:
        """Stop the server, see mysqld wait for it, see the node switched off, and start the server again.

        Raises:
            StateNotReachedError: the node wasn't off in time: the verdict about it.
            LabError: what was to hang didn't, or the server was back too early; the drill says nothing.
        """
        self.target.remote.check(self.target.server.name, "true")
        super().inject()
        if self._server() != "inactive":
            raise LabError(
                f"nfs-server of {self.target.server.name} wasn't stopped any more when {self.machine.name} was off, so what let it go isn't known: "
                "see who started it, and run the drill again."
            )
        self._start_server()

    def heal(self) -> None:
        """Start the server, where that is still to be done, and switch the node on, where it was switched off."""
        if self.issued is None:
            return
        persist(
            f"nfs-server of {self.target.server.name}", self._start_server, wanted="started", within=READY_WITHIN, clock=self.target.clock
        )
        if self.ordered is None:
            await_ready(self.target, self.machine)
        else:
            super().heal()

    def _take_power(self) -> None:
        remote, server = self.target.remote, self.target.server.name
        remote.check(server, "systemctl stop nfs-server")
        self._see(f"nfs-server of {server}", "inactive", self._server)
        self._see(f"mysqld on {self.machine.name}", "D", lambda: remote.run(self.machine.name, MYSQLD_WAITS).stdout.strip())
        self.ordered = self.target.clock.now()
        super()._take_power()

    def _see(self, subject: str, wanted: str, look: Callable[[], str]) -> None:
        try:
            wait_for(subject, f"in the state {wanted}", look, lambda state: state == wanted, within=HANGS_WITHIN, clock=self.target.clock)
        except StateNotReachedError as error:
            raise LabError(f"Nothing hung that could hold up a power-off ({error}), so this drill says nothing: run it again.") from error

    def _server(self) -> str:
        return self.target.remote.run(self.target.server.name, "systemctl is-active nfs-server").stdout.strip()

    def _start_server(self) -> None:
        self.target.remote.check(self.target.server.name, "systemctl start nfs-server")


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
