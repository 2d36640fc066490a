"""Powering a node off and on again; the VM and the ssh connection are stand-ins, the order of things is real."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import StateNotReachedError, WaitTimeoutError
from outlive.drill.faults import NfsAwayPowerOff, PowerOff, Target, injected
from outlive.lab import objects
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.power import Machine, State
from outlive.lab.ssh import Output, Remote
from tests import samples
from tests.fake_api import LEASE, FakeApi
from tests.samples import ManualClock

NODE = "/api/v1/nodes/n1"


class StandIn(Machine):
    """A VM that is on or off, and writes down what was done to it."""

    provider = "none"
    process_option = "-uuid"

    def __init__(self, log: list[str]) -> None:
        """Begin switched on."""
        super().__init__("n1", "11aa")
        self.log = log
        self.on = True
        self.obeys = True
        self.stands = False

    def start(self) -> None:
        """Switch on."""
        self.log.append("start")
        self.on = True

    def cut(self) -> None:
        """Switch off."""
        self.log.append("cut")
        self.on = False

    def suspend(self) -> None:
        """Stand still."""
        self.log.append("suspend")
        self.stands = True

    def resume(self) -> None:
        """Go on."""
        self.log.append("resume")
        self.stands = False

    def paused(self) -> bool:
        """Say whether it stands still."""
        return self.stands

    def said(self) -> tuple[str, State | None]:
        """Say whether it is on."""
        return ("running", None) if self.on else ("shut off", State.OFF)

    def discard(self) -> None:
        """It is never saved."""

    def process(self) -> int | None:
        """Say whether it is on."""
        return os.getpid() if self.on else None


class StandInRemote(Remote):
    """A connection over which ``systemctl poweroff`` switches the stand-in off."""

    def __init__(self, inventory: Inventory, machine: StandIn, on_run: Callable[[], None] | None = None) -> None:
        """Take the machine; ``on_run`` may break the connection."""
        super().__init__(inventory)
        self.machine = machine
        self.on_run = on_run

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Write the command down and obey it."""
        self.machine.log.append(command)
        if command == "systemctl poweroff":
            self.machine.on = self.machine.on and not self.machine.obeys
            if self.on_run:
                self.on_run()
        return Output(0, "", "")


def target(machine: StandIn, remote: Remote, cluster: Cluster, clock: ManualClock) -> Target:
    """Return what a fault of n1 is made for."""
    return Target(objects.pod(samples.pod()), machine, machine, "192.0.2.10", "/nfsdata/mysql-pv", cluster, remote, clock)


def interrupt_once(machine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come while the machine's power-off is waited for."""

    def interrupt(**_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "wait_until_off", interrupt)


@pytest.fixture
def machine() -> StandIn:
    """Return a VM that is on."""
    return StandIn([])


@pytest.fixture
def fault(machine: StandIn, small_inventory: Inventory, fake_cluster: Cluster, api: FakeApi, clock: ManualClock) -> PowerOff:
    """Return a power-off of n1, whose node comes back with a new boot id."""
    api.answers[NODE] = [samples.node("n1"), samples.node("n1", ready="False", boot="boot-2"), samples.node("n1", boot="boot-2")]
    return PowerOff.of(target(machine, StandInRemote(small_inventory, machine), fake_cluster, clock))


def test_power_off_waits_for_its_effect_and_is_healed(fault: PowerOff, machine: StandIn) -> None:
    with injected(fault):
        assert not machine.on
        assert fault.issued is not None
        assert fault.effect is not None
    assert machine.log == ["true", "systemctl poweroff", "start"]
    assert machine.on
    assert fault.node_ready is not None


def test_a_node_that_the_cluster_only_believes_ready_is_not_healed_yet(fault: PowerOff, api: FakeApi) -> None:
    api.answers[NODE] = [samples.node("n1"), samples.node("n1"), samples.node("n1"), samples.node("n1", boot="boot-2")]
    with injected(fault):
        pass
    assert len(api.requests) == 4


def test_healing_twice_is_harmless(fault: PowerOff, machine: StandIn) -> None:
    with injected(fault):
        fault.heal()
        first = fault.node_ready
    assert machine.log.count("start") == 1
    assert fault.node_ready == first


@pytest.mark.parametrize("error", [KeyboardInterrupt(), AssertionError("no replacement"), LabError("x")])
def test_whatever_happens_the_node_is_powered_on_again(fault: PowerOff, machine: StandIn, error: BaseException) -> None:
    with pytest.raises(type(error)), injected(fault):
        raise error
    assert machine.on


def test_interrupted_while_the_guest_shuts_down(fault: PowerOff, machine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_once(machine, monkeypatch)
    with pytest.raises(KeyboardInterrupt), injected(fault):
        pass
    assert machine.on
    assert machine.log[-1] == "start"


def test_a_guest_that_hangs_loses_its_power_and_gets_it_back(fault: PowerOff, machine: StandIn) -> None:
    machine.obeys = False
    with pytest.raises(WaitTimeoutError, match="VM of n1: wanted off"), injected(fault):
        pass
    assert machine.log[-2:] == ["cut", "start"]
    assert machine.on


def test_connection_that_ends_with_the_guest(machine: StandIn, small_inventory: Inventory, fake_cluster: Cluster, api: FakeApi) -> None:
    def broken() -> None:
        raise UnreachableError("closed by remote host")

    api.answers[NODE] = [samples.node("n1"), samples.node("n1", boot="boot-2")]
    remote = StandInRemote(small_inventory, machine, broken)
    with injected(PowerOff.of(target(machine, remote, fake_cluster, ManualClock()))) as fault:
        assert fault.effect is not None


def test_a_vm_that_is_off_already(fault: PowerOff, machine: StandIn) -> None:
    machine.on = False
    with pytest.raises(LabError, match="The VM of n1 isn't running"), injected(fault):
        pass
    assert machine.log == []


class NfsServer(StandInRemote):
    """A machine with an NFS server, whose client's mysqld waits for it after a look."""

    def __init__(self, inventory: Inventory, machine: StandIn) -> None:
        """Begin with a server that runs."""
        super().__init__(inventory, machine)
        self.state = "active"
        self.hangs = True
        self.looks = 0

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Write the command down, obey it, and say what it would."""
        super().run(name, command, *arguments)
        if command == "systemctl stop nfs-server":
            self.state = "inactive"
        elif command == "systemctl start nfs-server":
            self.state = "active"
        elif "is-active nfs-server" in command:
            return Output(0, f"{self.state}\n", "")
        elif "mysqld" in command:
            self.looks += 1
            return Output(0, "D\n" if self.hangs and self.looks > 1 else "", "")
        return Output(0, "", "")


@pytest.fixture
def server(machine: StandIn, small_inventory: Inventory) -> NfsServer:
    """Return the machine on which the NFS server is stopped."""
    return NfsServer(small_inventory, machine)


@pytest.fixture
def away(machine: StandIn, server: NfsServer, fake_cluster: Cluster, api: FakeApi, clock: ManualClock) -> NfsAwayPowerOff:
    """Return a power-off of n1 while its NFS server is away."""
    api.answers[NODE] = [samples.node("n1"), samples.node("n1", boot="boot-2")]
    return NfsAwayPowerOff.of(target(machine, server, fake_cluster, clock))


def acts(machine: StandIn) -> list[str]:
    """Return what was done, without the looks."""
    return [each for each in machine.log if each in ("start", "cut") or each.startswith(("systemctl st", "systemctl poweroff"))]


def test_a_node_is_switched_off_while_its_nfs_server_is_away(away: NfsAwayPowerOff, machine: StandIn, server: NfsServer) -> None:
    """The server is back before the node is, or MySQL couldn't come up elsewhere; mysqld is seen to hang before the order."""
    with injected(away):
        assert acts(machine) == ["systemctl stop nfs-server", "systemctl poweroff", "systemctl start nfs-server"]
        assert server.looks == 2
        assert away.seconds is not None
        assert away.issued is not None
        assert away.ordered is not None
        assert away.ordered > away.issued
    assert acts(machine)[-2:] == ["systemctl start nfs-server", "start"]


def test_a_node_that_its_mount_holds_is_a_verdict_and_is_healed(away: NfsAwayPowerOff, machine: StandIn, server: NfsServer) -> None:
    """The server is started first: it may be what the node waits for."""
    machine.obeys = False
    with pytest.raises(StateNotReachedError, match=r"VM of n1: wanted off, .* gave up after 120 s"), injected(away):
        pass
    assert acts(machine) == ["systemctl stop nfs-server", "systemctl poweroff", "systemctl start nfs-server", "cut", "start"]
    assert server.state == "active"
    assert away.seconds is not None
    assert away.seconds > 120


def test_a_mysqld_that_does_not_hang_says_nothing(away: NfsAwayPowerOff, machine: StandIn, server: NfsServer, api: FakeApi) -> None:
    """The node, which wasn't switched off, is left as it is."""
    server.hangs = False
    api.answers[LEASE] = [samples.lease("1"), samples.lease("2")]
    with (
        pytest.raises(LabError, match=r"Nothing hung that could hold up a power-off \(mysqld on n1: wanted in the state D, ") as error,
        injected(away),
    ):
        pass
    assert not isinstance(error.value, StateNotReachedError)
    assert acts(machine) == ["systemctl stop nfs-server", "systemctl start nfs-server"]


def test_a_server_that_was_started_meanwhile_says_nothing(away: NfsAwayPowerOff, server: NfsServer) -> None:
    def back() -> None:
        server.state = "active"

    server.on_run = back
    with pytest.raises(LabError, match="nfs-server of n1 wasn't stopped any more when n1 was off"), injected(away):
        pass


def test_interrupted_while_its_nfs_server_is_away(
    away: NfsAwayPowerOff, machine: StandIn, server: NfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_once(machine, monkeypatch)
    with pytest.raises(KeyboardInterrupt), injected(away):
        pass
    assert server.state == "active"
    assert machine.log[-1] == "start"
