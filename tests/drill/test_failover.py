"""From sightings and answers to moments."""

from __future__ import annotations

from typing import Any

from outlive.drill.failover import MOMENTS, Outage, cluster_moments, come_home, failover, replaces, spans
from outlive.drill.recorder import Sighting
from outlive.drill.timeline import Span
from outlive.lab import objects
from outlive.lab.mysql import Answer
from tests import samples
from tests.samples import instant

OLD = objects.pod(samples.pod("old"))


def seen_pod(at: float, uid: str, node: str = "n2", **status: Any) -> Sighting:  # noqa: ANN401  the sample's states
    """Return a sighting of a pod."""
    return Sighting(instant(at), "MODIFIED", objects.pod(samples.pod(uid, node, **status)))


def seen_node(at: float, ready: str, name: str = "n1") -> Sighting:
    """Return a sighting of a node."""
    return Sighting(instant(at), "MODIFIED", objects.node(samples.node(name, ready)))


def answer(at: float, ok: bool) -> Answer:
    """Return an answer of the witness."""
    return Answer(instant(at), ok, "111" if ok else "ERROR 2003 (HY000)")


SIGHTINGS = (
    seen_node(-5, "False"),
    seen_pod(-4, "other-run", deleted=True),
    seen_node(3, "True"),
    seen_node(20, "False", "n2"),
    seen_node(60, "Unknown"),
    seen_node(61, "Unknown"),
    seen_pod(61, "old", "n1", ready=False),
    seen_pod(362.9, "old", "n1", deleted=True),
    seen_pod(363, "new", "", running=False, ready=False, phase="Pending"),
    seen_pod(363.2, "new", running=False, ready=False, phase="Pending"),
    seen_pod(375, "new", ready=False),
    seen_pod(378, "new"),
)
ANSWERS = tuple(
    answer(at, ok) for at, ok in [(-1, True), (1, True), (2, True), (5, False), (8.3, True), (9, False), (300, False), (380, True)]
)


def test_moments_of_a_fail_over() -> None:
    seen = failover(Outage(OLD, instant(0), instant(8)), SIGHTINGS, ANSWERS)
    assert {moment.key: round(moment.at.since(seen.origin), 3) for moment in seen.moments} == {
        "power_off": 0.0,
        "last_answer": 2.0,
        "process_gone": 8.0,
        "not_ready": 60.0,
        "evicted": 362.9,
        "replacement_created": 363.0,
        "replacement_scheduled": 363.2,
        "replacement_running": 375.0,
        "replacement_ready": 378.0,
        "first_answer": 380.0,
    }
    assert tuple(moment.key for moment in seen.moments) == MOMENTS
    assert [moment.detail for moment in seen.moments][3:7] == [
        "NotReady (NodeStatusUnknown)",
        "mysql-old on n1",
        "mysql-new",
        "mysql-new on n2",
    ]


def test_a_pod_that_stood_by_is_no_replacement() -> None:
    """It was there before the fault; what replaces the lost pod waits for a node, and stands by there."""
    sightings = (
        seen_pod(-9, "waits", ready=False),
        seen_pod(-9, "gone", deleted=True),
        seen_pod(1.5, "old", "n1", deleted=True),
        seen_pod(1.6, "new", "", running=False, ready=False, phase="Pending"),
        seen_pod(6.2, "waits"),
        seen_pod(70, "new", "n1", ready=False),
    )
    moments = [each for each in cluster_moments(OLD, instant(0), sightings) if each]
    assert {each.key: round(each.at.since(instant(0)), 3) for each in moments} == {
        "evicted": 1.5,
        "replacement_created": 1.6,
        "standby_ready": 6.2,
        "replacement_scheduled": 70.0,
        "replacement_running": 70.0,
    }
    (ready,) = [each for each in moments if each.key == "standby_ready"]
    assert (ready.title, ready.detail) == ("standby pod Ready", "mysql-waits on n2")


def test_an_answer_under_way_when_the_vm_died_is_not_the_new_one_s() -> None:
    seen = failover(Outage(OLD, instant(0), instant(8)), (), [answer(9, True)])
    assert seen.seconds("first_answer") is None


def test_before_the_vm_is_gone_only_the_power_off_is_known() -> None:
    seen = failover(Outage(OLD, instant(0), None), (), ANSWERS)
    assert [moment.key for moment in seen.moments] == ["power_off"]


def test_without_a_failed_question_nothing_was_last() -> None:
    assert failover(Outage(OLD, instant(0), instant(8)), (), [answer(1, True)]).seconds("last_answer") is None


def test_pods_of_others_are_no_replacement() -> None:
    witness = samples.pod("witness")
    witness["metadata"]["ownerReferences"] = []
    assert not replaces(objects.pod(witness), OLD)
    assert not replaces(OLD, OLD)
    assert not replaces(objects.node(samples.node()), OLD)
    assert replaces(objects.pod(samples.pod("new")), OLD)


def test_spans_of_answers() -> None:
    told = [answer(at, ok) for at, ok in [(-1, False), (1, True), (2, True), (5, False), (8, False), (9, True), (12, True)]]
    assert spans(told, instant(0)) == (Span(0.0, 2.0, True), Span(2.0, 9.0, False), Span(9.0, 12.0, True))
    assert spans([], instant(0)) == ()


def test_return_of_a_node() -> None:
    seen = come_home("n1", instant(400), instant(440), instant(450))
    assert [(moment.key, seen.seconds(moment.key)) for moment in seen.moments] == [
        ("power_on", 0.0),
        ("node_ready", 40.0),
        ("settled", 50.0),
    ]
    assert len(come_home("n1", instant(400), None, None).moments) == 1
