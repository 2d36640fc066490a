"""Faults made of commands on one machine: what they run, how they see their effect, that they heal. The machine is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import StateNotReachedError
from outlive.drill.faults import KINDS, Fault, Target, injected
from outlive.drill.faults.power import Freeze, ServerReboot
from outlive.lab import objects
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Output, Remote
from tests import samples
from tests.drill.test_faults import StandIn, interrupt_once
from tests.fake_api import LEASE, NAMESPACE, FakeApi, listing
from tests.samples import ManualClock


class Shell(Remote):
    """A machine that answers commands by a word in them, each in turn, and writes all down."""

    def __init__(self, inventory: Inventory, answers: dict[str, list[str]]) -> None:
        """Take the answers by a word of the command."""
        super().__init__(inventory)
        self.answers = answers
        self.commands: list[str] = []
        self.failing: tuple[str, ...] = ()

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Answer."""
        text = command % arguments if arguments else command
        self.commands.append(f"{name}: {text}")
        if any(word in text for word in self.failing):
            return Output(1, "", "no")
        for word, answers in self.answers.items():
            if word in text:
                return Output(0, answers.pop(0) if len(answers) > 1 else answers[0], "")
        return Output(0, "", "")


Make = Callable[..., tuple[Fault, Shell]]


@pytest.fixture
def machine() -> StandIn:
    return StandIn([])


@pytest.fixture
def make(machine: StandIn, small_inventory: Inventory, fake_cluster: Cluster, clock: ManualClock) -> Make:
    """Return a function that makes a fault and its machine's shell."""

    def made(name: str, answers: dict[str, list[str]]) -> tuple[Fault, Shell]:
        shell = Shell(small_inventory, answers)
        pod = objects.pod(samples.pod())
        target = Target(pod, machine, machine, "192.0.2.10", "/nfsdata/mysql-pv", fake_cluster, shell, clock)
        return KINDS[name].make(target), shell

    return made


@pytest.mark.parametrize(
    ("name", "answers", "breaks", "heals"),
    [
        ("kubelet-stop", {"is-active": ["active", "inactive"]}, "systemctl stop kubelet", "systemctl start kubelet"),
        ("containerd-kill", {"MainPID": ["7", "7", "9"], "ctr": ["yes"]}, "--signal=KILL containerd", "systemctl start containerd"),
        ("nfs-restart", {"ActiveEnter": ["5", "5", "8"]}, "systemctl restart nfs-server", "systemctl start nfs-server"),
        (
            "lock-lost",
            {"grep": ["/proc/fs/nfsd/clients/7/states"], "test -e": ["", "gone"]},
            "n1: echo expire > /proc/fs/nfsd/clients/7/ctl",
            "",
        ),
        ("nfs-full", {"stat": ["7\n1"], "df": ["9", "0"]}, "fallocate --length $left ", "rm -f /nfsdata/mysql-pv/.outlive-ballast"),
        (
            "cut-api",
            {"nft list": ["6443 0", "6443 3"]},
            "ip daddr 192.0.2.10 tcp dport 6443 counter drop",
            "nft delete table inet outlive_fault",
        ),
        ("cut-nfs", {"nft list": ["2049 3"]}, "tcp dport 2049 counter drop", "nft delete table inet outlive_fault"),
        (
            "cut-both",
            {"nft list": ["6443 3", "6443 4\n2049 0", "6443 4\n2049 1"]},
            "tcp dport 2049 counter drop",
            "nft delete table inet outlive_fault",
        ),
        (
            "nfs-slow",
            {"route get": ["eth1"], "qdisc show": ["0", "4"]},
            "dev eth1 parent 1:4 handle 40: netem delay 200ms",
            "qdisc del dev eth1",
        ),
    ],
)
def test_a_fault_is_seen_and_healed(make: Make, name: str, answers: dict[str, list[str]], breaks: str, heals: str) -> None:
    fault, shell = make(name, answers)
    with injected(fault):
        assert any(breaks in command for command in shell.commands)
        assert not heals or not any(heals in command for command in shell.commands)
        assert fault.issued is not None
        assert fault.effect is not None
        assert fault.effect >= fault.issued
    assert any(heals in command for command in shell.commands)


@pytest.mark.parametrize("found", ["", "/proc/fs/nfsd/clients/7/states\n/proc/fs/nfsd/clients/8/states"])
def test_lock_of_nobody_knows_whom_is_not_taken(make: Make, found: str) -> None:
    fault, shell = make("lock-lost", {"grep": [found]})
    with pytest.raises(LabError, match=r"[02] clients of n1 have /nfsdata/mysql-pv/ibdata1 open, and it has to be one"), injected(fault):
        pass
    assert any('mysql-pv/ibdata1" ' in command for command in shell.commands)
    assert not any("expire" in command for command in shell.commands)


def test_killed_mysqld_is_gone_before_the_fault_counts(make: Make) -> None:
    fault, shell = make("mysqld-kill", {"pgrep": ["41 42", "42", "50"]})
    with injected(fault):
        assert any(command.endswith("kill -KILL 41 42") for command in shell.commands)
    assert shell.answers["pgrep"] == ["50"]


def test_the_server_s_own_file_system_is_not_filled(make: Make) -> None:
    fault, shell = make("nfs-full", {"stat": ["1\n1"]})
    with (
        pytest.raises(LabError, match=r"/nfsdata/mysql-pv lies on the root file system of n1: .* set nfs_server_disk"),
        injected(fault),
    ):
        pass
    assert not any("fallocate" in command or "rm" in command.split() for command in shell.commands)


def test_an_effect_that_does_not_come_is_a_failure_and_is_healed(make: Make) -> None:
    fault, shell = make("cut-nfs", {"nft list": ["2049 0"]})
    with (
        pytest.raises(StateNotReachedError, match=r"dropped packets on n1: wanted at least one to each of the ports 2049, last seen"),
        injected(fault),
    ):
        pass
    assert any("nft delete table" in command for command in shell.commands)


def test_a_cut_of_two_ports_is_seen_only_when_packets_to_both_were_dropped(make: Make) -> None:
    fault, _ = make("cut-both", {"nft list": ["6443 9\n2049 0"]})
    with pytest.raises(StateNotReachedError, match=r"to each of the ports 6443, 2049, last seen '6443 9.n2049 0'"), injected(fault):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LabError("x")])
def test_an_interrupted_cut_is_healed(make: Make, error: BaseException) -> None:
    fault, shell = make("cut-api", {"nft list": ["6443 3"]})
    with pytest.raises(type(error)), injected(fault):
        raise error
    assert any("nft delete table" in command for command in shell.commands)


def test_a_node_that_was_shot_meanwhile_is_switched_on(make: Make, machine: StandIn) -> None:
    fault, shell = make("cut-both", {"nft list": ["6443 3\n2049 1"]})
    with injected(fault):
        machine.cut()
    assert machine.log[-1] == "start"
    assert "nft delete table" in shell.commands[-1]


def test_a_machine_that_does_not_answer_yet_is_healed_when_it_does(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, shell = make("kubelet-stop", {"is-active": ["inactive"]})
    with injected(fault):
        real, tries = shell.run, iter([UnreachableError("no route"), None])

        def run(name: str, command: str, *arguments: str) -> Output:
            error = next(tries, None)
            if error:
                raise error
            return real(name, command, *arguments)

        monkeypatch.setattr(shell, "run", run)
    assert "systemctl start kubelet" in shell.commands[-1]


def test_a_node_counts_as_back_only_with_a_new_heartbeat(make: Make, api: FakeApi) -> None:
    fault, _ = make("cut-api", {"nft list": ["6443 3"]})
    api.answers[LEASE] = [samples.lease("1"), samples.lease("1"), samples.lease("1"), samples.lease("2")]
    with injected(fault):
        pass
    assert sum(LEASE in request for request in api.requests) == 4


def test_power_that_was_gone_before_it_was_seen_comes_back(
    make: Make, machine: StandIn, monkeypatch: pytest.MonkeyPatch, api: FakeApi
) -> None:
    api.answers["/api/v1/nodes/n1"] = [samples.node("n1"), samples.node("n1", boot="boot-2")]
    fault, _ = make("power-cut", {})

    interrupt_once(machine, monkeypatch)
    with pytest.raises(KeyboardInterrupt), injected(fault):
        pass
    assert [each for each in machine.log if each in ("cut", "start")] == ["cut", "start"]


def test_frozen_node_goes_on(make: Make, machine: StandIn) -> None:
    fault, _ = make("freeze", {})
    assert isinstance(fault, Freeze)
    with injected(fault):
        assert machine.stands
    assert machine.log[-2:] == ["suspend", "resume"]


def test_frozen_node_that_was_shot_is_started(make: Make, machine: StandIn) -> None:
    fault, _ = make("freeze", {})
    with injected(fault):
        machine.cut()
    assert machine.log[-1] == "start"


def test_server_that_loses_its_power_gets_it_back_at_once(make: Make, machine: StandIn, api: FakeApi) -> None:
    api.answers["/api/v1/nodes/n1"] = [samples.node("n1"), samples.node("n1", boot="boot-2")]
    fault, _ = make("nfs-reboot", {})
    assert isinstance(fault, ServerReboot)
    with injected(fault):
        assert machine.on
    assert [each for each in machine.log if each in ("cut", "start")] == ["cut", "start"]


def test_node_and_server_lose_their_power_together(make: Make, machine: StandIn, api: FakeApi) -> None:
    fault, _ = make("site-cut", {})
    moments: list[object] = []
    api.answers["/api/v1/nodes/n1"] = [samples.node("n1"), samples.node("n1"), samples.node("n1", boot="boot-2")]
    with injected(fault):
        moments = [each for each in machine.log if each in ("cut", "start")]
    assert moments == ["cut", "cut", "start", "start"]


@pytest.mark.parametrize(("name", "left"), [("pod-delete", [samples.pod(deleted=True)]), ("pod-force-delete", [])])
def test_deleted_pod(make: Make, api: FakeApi, name: str, left: list[dict[str, Any]]) -> None:
    api.answers[f"{NAMESPACE}/pods"] = [listing(samples.pod()), listing(*left)]
    fault, shell = make(name, {"pgrep": ["41", "41", "52"]})
    with injected(fault):
        assert fault.effect is not None
    assert shell.answers["pgrep"] == ["52"]  # the old mysqld, which still answered, was seen to end
