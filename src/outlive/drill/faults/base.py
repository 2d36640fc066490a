"""What every fault has in common, and what it is made for."""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from outlive.base.clock import HOST_CLOCK, Clock, Instant
from outlive.base.process import ending_signals
from outlive.base.wait import persist, wait_for
from outlive.lab import power
from outlive.lab.kube import Cluster
from outlive.lab.objects import Node, Pod
from outlive.lab.power import Machine
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

READY_WITHIN = 600.0
"""Seconds from power-on to a Ready node; a software-emulated one under load needs minutes."""


class Fault(Protocol):
    """Something that is broken on purpose."""

    @property
    def issued(self) -> Instant | None:
        """When it was asked for; None before."""

    @property
    def effect(self) -> Instant | None:
        """When its effect was observed; None before."""

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
        heal(fault)


def heal(fault: Fault) -> None:
    """Heal a fault, however often somebody interrupts. Fails as ``Fault.heal`` does."""
    shielded(fault.heal)


def shielded(mend: Callable[[], object]) -> None:
    """Make something whole; signals that would end this process and come meanwhile are passed on, as one, when that is through.

    A terminal gives a Ctrl-C to the programs that are run for it too: what failed while one came is done again, so that twice must be harmless.
    """
    if threading.current_thread() is not threading.main_thread():
        mend()  # only the main thread is interrupted
        return
    came: list[int] = []
    # Functions: a program that is started meanwhile would go on to ignore what is ignored here.
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in ending_signals()}
    try:
        again = True
        while again:
            seen = len(came)
            try:
                mend()
                again = False
            except Exception:
                if len(came) == seen:
                    raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in came[:1]:
            signal.raise_signal(number)


@dataclass(frozen=True)
class Target:
    """What a fault may break: MySQL's pod, the machine under its node, the NFS server and its machine, the way to all of them."""

    pod: Pod
    machine: Machine
    server: Machine
    server_address: str
    export: str
    """Folder of MySQL's volume on the NFS server."""
    cluster: Cluster
    remote: Remote
    clock: Clock = HOST_CLOCK
    on_change: Callable[[], object] = lambda: None
    """Called after each moment of the injection."""

    @classmethod
    def of(
        cls,
        lab: Lab,
        pod: Pod,
        *,
        node: str | None = None,
        on_change: Callable[[], object] = lambda: None,
    ) -> Self:
        """Return what there is to break of a lab in which MySQL runs as ``pod``; ``node`` is another one than the pod's.

        Raises:
            LabError: a machine isn't one that Vagrant made, or MySQL has no volume.
        """
        server = lab.inventory.group("nfs_servers")[0]
        return cls(
            pod,
            power.find(node or pod.node),
            power.find(server.name),
            server.address,
            lab.cluster.volume("mysql-pv").path,
            lab.cluster,
            lab.remote,
            lab.clock,
            on_change,
        )

    @property
    def node(self) -> str:
        """Name of the node that runs MySQL's pod."""
        return self.machine.name


class Timed:
    """The moments of a fault, told as they come."""

    def __init__(self, target: Target) -> None:
        """Take what may be broken; nothing is yet."""
        self.target = target
        self.issued: Instant | None = None
        """When it was asked for."""
        self.effect: Instant | None = None
        """When its effect was observed."""

    def begin(self) -> None:
        """Take note that it is asked for now."""
        self.issued = self.target.clock.now()
        self.target.on_change()

    def observed(self) -> None:
        """Take note that its effect was seen now."""
        self.effect = self.target.clock.now()
        self.target.on_change()


class Command(Timed, ABC):
    """A fault that commands on one machine inject, observe and heal."""

    def __init__(self, target: Target, host: str) -> None:
        """Take what may be broken and the machine on which the commands run."""
        super().__init__(target)
        self.host = host
        self.machine = target.machine if host == target.machine.name else target.server

    def inject(self) -> None:
        """Break it and wait for the effect."""
        self.prepare()
        self.target.remote.check(self.host, "true")  # a first connection takes seconds that aren't the fault's
        self.begin()
        self.break_it()
        self.await_effect()
        self.observed()

    def heal(self) -> None:
        """Make it whole, where anything was broken, and see the machine's node alive.

        The fencing watcher may have cut the machine's power meanwhile: it is switched on then, and what was broken didn't survive that.
        """
        if self.issued is None:
            return

        def repair() -> None:
            switch_on(self.target, self.machine)
            self.repair()

        persist(f"machine {self.host}", repair, wanted="whole again", within=READY_WITHIN, clock=self.target.clock)
        await_ready(self.target, self.machine)

    def prepare(self) -> None:
        """Look at the state from which the effect will be told; does nothing by itself."""
        return

    @abstractmethod
    def break_it(self) -> None:
        """Give the command that breaks it."""

    @abstractmethod
    def await_effect(self) -> None:
        """Return when it is seen to be broken."""

    @abstractmethod
    def repair(self) -> None:
        """Make it whole and return when that was seen; it may be whole already, and may have been started anew."""

    def run(self, command: str, *arguments: str) -> str:
        """Run a command on the fault's machine as root and return its output."""
        return self.target.remote.check(self.host, command, *arguments)

    def watch(self, subject: str, wanted: str, command: str, accept: Callable[[str], bool], within: float = 120.0) -> str:
        """Run a command again and again until its output is accepted; return it."""
        return wait_for(
            f"{subject} on {self.host}",
            wanted,
            lambda: self.target.remote.run(self.host, command).stdout.strip(),
            accept,
            within=within,
            every=0.5,
            describe=lambda text: repr(text[-200:]),
            clock=self.target.clock,
        )


def switch_on(target: Target, machine: Machine) -> None:
    """Switch a machine on where it has no power."""
    if machine.process() is None:
        target.remote.forget(machine.name)
        machine.start()


def await_ready(target: Target, machine: Machine) -> None:
    """Wait until the node on a machine is Ready and its kubelet has renewed its lease: until then the cluster only believes that it is.

    A machine whose power is cut meanwhile, as the fencing watcher may do, is switched on again.
    """
    first: list[str] = []

    def look() -> tuple[Node, bool]:
        switch_on(target, machine)
        heartbeat = target.cluster.heartbeat(machine.name)
        first.append(heartbeat)
        return target.cluster.node(machine.name), heartbeat != first[0]

    wait_for(
        f"node {machine.name}",
        "Ready again, with a new heartbeat",
        look,
        lambda seen: seen[0].ready == "True" and seen[1],
        within=READY_WITHIN,
        describe=lambda seen: f"{seen[0].state}, {'a' if seen[1] else 'no'} new heartbeat",
        clock=target.clock,
    )
