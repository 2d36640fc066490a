"""A drill under way: where its clients come in, that what it broke is healed however it ends, and when the lab is itself again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from outlive.base.clock import Instant
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict, of_error
from outlive.base.wait import StateNotReachedError
from outlive.drill import run
from outlive.drill.faults import KINDS
from outlive.drill.history import History, Operation, Outcome
from outlive.drill.recorder import Sighting
from outlive.drill.run import Drill
from outlive.lab import objects
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql_storage import MysqlStorage
from outlive.lab.session import Lab
from tests import samples
from tests.course.stages import FakeRemote
from tests.drill.stand_ins import DISK, FOLDER, Told, Watched
from tests.fake_api import NAMESPACE, FakeApi, listing
from tests.samples import ManualClock, instant

SERVICES = f"{NAMESPACE}/services"


@pytest.fixture
def lab(small_inventory: Inventory, fake_cluster: Cluster, clock: ManualClock) -> Lab:
    return Lab(small_inventory, fake_cluster, FakeRemote(), clock)


class Recorded:
    """A fault that writes down what was done to it; its effect is seen a second after it was asked for."""

    def __init__(self, clock: ManualClock, refuses: BaseException | None = None) -> None:
        """Take an error that its injection ends with."""
        self.issued: Instant | None = None
        self.effect: Instant | None = None
        self.done: list[str] = []
        self._clock = clock
        self._refuses = refuses

    def inject(self) -> None:
        """Break it."""
        self.issued = self._clock.now()
        self.done.append("broken")
        if self._refuses is not None:
            raise self._refuses
        self._clock.rest(1)
        self.effect = self._clock.now()

    def heal(self) -> None:
        """Make it whole."""
        self.done.append("whole")


def under_way(kind: str, fault: Recorded, operations: Callable[[], tuple[Operation, ...]] = tuple, data: MysqlStorage = FOLDER) -> Drill:
    return Drill(KINDS[kind], "default", objects.pod(samples.pod()), fault, operations, Watched(), Told(), data)


def test_a_node_on_which_mysql_does_not_run(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"--node is 'n2', and MySQL runs on n1: .* leave --node out or name n1"):
        run.target_of(lab, "n2")


def test_a_node_that_is_not_in_the_inventory(lab: Lab) -> None:
    with pytest.raises(LabError, match="n9"):
        run.target_of(lab, "n9")


@pytest.mark.parametrize(
    ("kind", "address"),
    [("power-cut", "192.0.2.10"), ("site-cut", "192.0.2.12")],
    ids=["the control plane is spared", "the NFS server's VM is not"],
)
def test_clients_come_in_where_the_fault_does_not_reach(lab: Lab, api: FakeApi, kind: str, address: str) -> None:
    api.answers[f"POST {SERVICES}"] = [{"spec": {"ports": [{"nodePort": 30999}]}}]
    with run.entry(lab, KINDS[kind], objects.pod(samples.pod())) as endpoint:
        assert endpoint() == (address, 30999)
    (service,) = api.created
    assert service["spec"] == {"type": "NodePort", "selector": {"app": "mysql"}, "ports": [{"port": 3306, "targetPort": 3306}]}
    # Also the one that an earlier drill was ended with.
    assert [each for each in api.requests if not each.startswith("GET")] == [
        f"DELETE {SERVICES}/mysql-drill",
        f"POST {SERVICES}",
        f"DELETE {SERVICES}/mysql-drill",
    ]


@pytest.mark.parametrize("error", [LabError("no ssh"), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_what_was_broken_is_healed_however_the_injection_ends(lab: Lab, clock: ManualClock, error: BaseException) -> None:
    fault = Recorded(clock, error)
    found = under_way("kubelet-stop", fault)
    with pytest.raises(type(error)):
        run._break_and_heal(found, lab, lambda _: None)
    assert fault.done == ["broken", "whole"]
    assert found.healed == clock.now()


def test_a_fault_without_an_effect_is_healed_and_says_nothing(lab: Lab, clock: ManualClock) -> None:
    fault = Recorded(
        clock, StateNotReachedError("dropped packets on n1: wanted at least one to each of the ports 6443, 2049, last seen none")
    )
    with pytest.raises(LabError, match=r"The fault had no effect that was seen \(dropped packets on n1: ") as error:
        run._break_and_heal(under_way("cut-both", fault), lab, lambda _: None)
    assert of_error(error.value) is Verdict.UNKNOWN
    assert fault.done == ["broken", "whole"]


def test_an_effect_that_a_drill_is_about_is_a_failure_where_it_comes_late(lab: Lab, clock: ManualClock) -> None:
    fault = Recorded(clock, StateNotReachedError("VM of n1: wanted off, last seen process 9 running, gave up after 120 s"))
    with pytest.raises(StateNotReachedError, match="VM of n1: wanted off") as error:
        run._break_and_heal(under_way("nfs-away-power-off", fault), lab, lambda _: None)
    assert of_error(error.value) is Verdict.FAIL
    assert fault.done == ["broken", "whole"]


def test_a_lab_that_does_not_recover_is_healed_and_says_how_far_it_came(lab: Lab, clock: ManualClock) -> None:
    fault = Recorded(clock)
    found = under_way("power-cut", fault)
    with pytest.raises(
        StateNotReachedError, match=r"MySQL after a power cut of MySQL's node: wanted a committed write, last seen none; effect"
    ):
        run._break_and_heal(found, lab, lambda _: None)
    assert fault.done == ["broken", "whole"]
    assert clock.seconds > run.RECOVERED_WITHIN


def test_where_mysql_moves_it_has_written_before_the_node_is_given_back(lab: Lab, clock: ManualClock) -> None:
    fault = Recorded(clock)

    def operations() -> tuple[Operation, ...]:
        committed = Operation(0, "insert", 7, instant(40), instant(41), Outcome.OK)
        return (committed,) if clock.seconds >= 41 else ()

    found = under_way("power-cut", fault, operations)
    run._break_and_heal(found, lab, lambda _: None)
    assert found.healed is not None
    assert found.healed >= instant(41)


def told(uid: str, at: float, *, node: str = "n2") -> Sighting:
    """Return what is told of a pod that doesn't run."""
    return Sighting(instant(at), "MODIFIED", objects.pod(samples.pod(uid, node, running=False)))


def event(reason: str, uid: str = "u2") -> dict[str, object]:
    """Return an event of a pod, as the API gives it."""
    return {"reason": reason, "message": f"it is {reason}", "involvedObject": {"uid": uid}}


def test_a_pod_that_waits_for_a_disk_of_the_lost_node_waits_for_ever(lab: Lab, api: FakeApi, clock: ManualClock) -> None:
    """The node comes back only then; what the pod was told is kept."""
    fault = Recorded(clock)
    found = under_way("power-cut", fault, data=DISK)
    found.recorder = Told(sightings=[told("u0", -5), told("u2", 305, node=""), told("u2", 310)])
    api.answers[f"{NAMESPACE}/events"] = [
        listing(event("Scheduled"), event("FailedAttachVolume"), event("FailedMount"), event("Unhealthy", "u1"))
    ]
    said: list[bool] = []
    run._break_and_heal(found, lab, lambda drill: said.append(drill.stranded is not None and drill.healed is None))
    assert found.stranded is not None and found.healed is not None
    assert found.stranded.detail == "it is FailedAttachVolume"
    assert run.STRANDED_AFTER <= found.stranded.at.since(instant(310)) < run.STRANDED_AFTER + 10
    assert found.healed >= found.stranded.at
    assert any(said), "it is told before the node is given back"
    assert "stranded" in [each.key for each in found.timeline().moments]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (FOLDER, ["FailedAttachVolume"]),
        (DISK, ["FailedAttachVolume", "SuccessfulAttachVolume", "BackOff"]),
        (DISK, ["FailedScheduling"]),
        (DISK, []),
    ],
    ids=["of a folder", "that got its disk, and doesn't run", "that nobody refuses a disk", "of which nothing is told"],
)
def test_a_pod_that_does_not_run_for_another_reason_is_waited_for(
    lab: Lab, api: FakeApi, clock: ManualClock, data: MysqlStorage, events: list[str]
) -> None:
    found = under_way("power-cut", Recorded(clock), data=data)
    found.recorder = Told(sightings=[told("u2", 310)])
    api.answers[f"{NAMESPACE}/events"] = [listing(*map(event, events))]
    with pytest.raises(StateNotReachedError, match="wanted a committed write, last seen none"):
        run._break_and_heal(found, lab, lambda _: None)
    assert found.stranded is None


def test_where_nothing_moves_the_fault_lasts_as_long_as_it_says(lab: Lab, clock: ManualClock) -> None:
    fault = Recorded(clock)
    found = under_way("cut-nfs", fault)
    run._break_and_heal(found, lab, lambda _: None)
    assert fault.effect is not None
    assert found.healed is not None
    assert KINDS["cut-nfs"].hold <= found.healed.since(fault.effect) < KINDS["cut-nfs"].hold + 10


def test_a_lab_is_steady_when_no_pod_hangs(lab: Lab, api: FakeApi, clock: ManualClock) -> None:
    old, new = samples.pod("u1", "n1", deleted=True), samples.pod("u2", "n2")
    api.answers[f"{NAMESPACE}/pods"] = [listing(old, new), listing(new)]
    api.answers["/api/v1/pods"] = [listing(old, new), listing(old, new), listing(new)]
    assert run.await_steady(lab).uid == "u2"
    assert clock.seconds >= 4


def test_a_lab_that_does_not_get_steady_says_what_hangs(lab: Lab, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STEADY_WITHIN", 10.0)
    api.answers["/api/v1/pods"] = [listing(samples.pod("u1"), samples.pod("u0", deleted=True))]
    with pytest.raises(StateNotReachedError, match="lab: wanted steady, last seen Terminating: mysql-u0"):
        run.await_steady(lab)


def test_only_what_ended_meanwhile_is_tidied(lab: Lab, api: FakeApi) -> None:
    ended = [samples.pod(uid, phase="Failed") for uid in ("u1", "u2")]
    api.answers["/api/v1/pods"] = [listing(*ended, samples.pod("u3"))]
    run._tidy(lab, {"u1"})
    assert [each.split("?")[0] for each in api.requests if each.startswith("DELETE")] == [f"DELETE {NAMESPACE}/pods/mysql-u2"]


@pytest.fixture
def history(tmp_path: Path, clock: ManualClock) -> Iterator[History]:
    with History(tmp_path / "history.jsonl", clock) as made:
        yield made


@pytest.mark.parametrize(
    ("inserts", "transfers", "reads"), [(3, 1, 9), (9, 0, 9), (0, 9, 9), (9, 9, 0)], ids=["writes", "transfers", "inserts", "reads"]
)
def test_too_few_operations_say_nothing(history: History, clock: ManualClock, inserts: int, transfers: int, reads: int) -> None:
    for kind, number in (("insert", inserts), ("transfer", transfers), ("total", reads)):
        for value in range(number):
            history.end(history.begin(0, kind, value), Outcome.OK)  # type: ignore[arg-type]
    seen = f"last seen insert {inserts}, transfer {transfers}, total {reads}"
    with pytest.raises(StateNotReachedError, match=f"workload: wanted 5 acknowledged writes, inserts and transfers, and a read, {seen}"):
        run._await_writes(history, None, clock)


def test_a_policy_that_keeps_the_clients_out_is_refused(lab: Lab, api: FakeApi) -> None:
    """The lab's own, which names pods; another one may let them in."""
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    api.answers[path] = [listing({"metadata": {"name": "theirs"}})]
    run.check_way(lab)
    labels = yaml.safe_load((ROOT / "roles/network_policy/vars/main.yml").read_text(encoding="utf-8"))["__network_policy_label"]
    api.answers[path] = [listing({"metadata": {"name": "mysql", "labels": labels}})]
    with pytest.raises(LabError, match=r"The NetworkPolicy mysql keeps out the drill's client.*set network_policy_enabled to false"):
        run.check_way(lab)
