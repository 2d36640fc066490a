"""From sightings and answers to the moments of a fail-over: pure functions, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeGuard

from outlive.base.clock import Instant
from outlive.drill.recorder import Sighting
from outlive.drill.timeline import Moment, Span, Timeline, ordered
from outlive.lab.mysql import Answer
from outlive.lab.objects import Node, Pod

MOMENTS = (
    "power_off",
    "last_answer",
    "process_gone",
    "not_ready",
    "evicted",
    "replacement_created",
    "replacement_scheduled",
    "replacement_running",
    "replacement_ready",
    "first_answer",
)
"""The keys of the moments of a fail-over, in the order in which they are expected."""


@dataclass(frozen=True)
class Outage:
    """A fault as it was injected: ``pod`` ran on the node that was powered off."""

    pod: Pod
    issued: Instant
    """When the power-off was asked for."""
    gone: Instant | None
    """When the VM's process was gone."""


def failover(outage: Outage, sightings: Iterable[Sighting], answers: Iterable[Answer]) -> Timeline:
    """Return the moments of a fail-over that were observed so far.

    Of the pods only those count that carry MySQL's name: the one that went and its replacement, told apart by their uids.
    """
    node, issued, gone = outage.pod.node, outage.issued, outage.gone
    told = tuple(answers)
    last, first = _last_answer(told, issued, gone), _first_answer(told, gone)
    moments = (
        Moment("power_off", "power-off issued", issued, f"systemctl poweroff on {node}"),
        Moment("last_answer", "last answer of the old MySQL", last.at, f"row {last.text}") if last else None,
        Moment("process_gone", "VM process gone", gone, f"{node} is off") if gone else None,
        *cluster_moments(outage.pod, issued, sightings),
        Moment("first_answer", "first successful query", first.at, f"row {first.text}") if first else None,
    )
    return Timeline(f"MySQL's fail-over after the power-off of {node}", issued, ordered(moments), spans(told, issued))


def cluster_moments(pod: Pod, issued: Instant, sightings: Iterable[Sighting]) -> tuple[Moment | None, ...]:
    """Return what the API told after a fault about the node of ``pod``, about ``pod`` and about its replacement."""
    told = tuple(sightings)
    after = [each for each in told if each.at >= issued]
    nodes = [each for each in after if isinstance(each.seen, Node) and each.seen.name == pod.node]
    old = [each for each in after if isinstance(each.seen, Pod) and each.seen.uid == pod.uid]
    # A pod that stood by before the fault; what replaces the lost one stands by after it.
    before = {each.seen.uid for each in told if each.at < issued and replaces(each.seen, pod) and not each.seen.deleted}
    standing_by = [each for each in after if replaces(each.seen, pod) and each.seen.uid in before]
    new = [each for each in after if replaces(each.seen, pod) and each.seen.uid not in before]
    return (
        _first(nodes, lambda seen: isinstance(seen, Node) and seen.ready != "True", "not_ready", f"{pod.node} NotReady"),
        _first(old, lambda seen: isinstance(seen, Pod) and seen.deleted, "evicted", "old pod evicted"),
        _first(old, lambda seen: isinstance(seen, Pod) and seen.over and not seen.deleted, "ended", "old pod ended by its kubelet"),
        _first(
            old, lambda seen: isinstance(seen, Pod) and seen.restarts > pod.restarts and seen.running, "restarted", "container restarted"
        ),
        _first(standing_by, lambda seen: isinstance(seen, Pod) and seen.ready, "standby_ready", "standby pod Ready"),
        _first(new, lambda _: True, "replacement_created", "replacement created"),
        _first(new, lambda seen: isinstance(seen, Pod) and bool(seen.node), "replacement_scheduled", "replacement scheduled"),
        _first(new, lambda seen: isinstance(seen, Pod) and seen.running, "replacement_running", "container running"),
        _first(new, lambda seen: isinstance(seen, Pod) and seen.ready, "replacement_ready", "replacement Ready"),
    )


def spans(answers: Iterable[Answer], origin: Instant) -> tuple[Span, ...]:
    """Return the stretches in which MySQL answered or didn't, from the origin on.

    Between an answer and a failed question nothing is known; such a gap counts as silence.
    """
    found: list[Span] = []
    for answer in answers:
        at = answer.at.since(origin)
        if at < 0:
            continue
        if not found:
            found.append(Span(0.0, at, answer.ok))
        elif found[-1].answered == answer.ok:
            found[-1] = replace(found[-1], end=at)
        elif answer.ok:
            found[-1] = replace(found[-1], end=at)
            found.append(Span(at, at, answered=True))
        else:
            found.append(Span(found[-1].end, at, answered=False))
    return tuple(found)


def replaces(seen: Node | Pod, pod: Pod) -> TypeGuard[Pod]:
    """Say whether what was seen is a pod of the same ReplicaSet as ``pod``, but not ``pod`` itself."""
    return isinstance(seen, Pod) and seen.owner == pod.owner and seen.uid != pod.uid


def come_home(node: str, powered_on: Instant, ready: Instant | None, settled: Instant | None) -> Timeline:
    """Return the moments of a node's return."""
    moments = (
        Moment("power_on", "power on", powered_on, node),
        Moment("node_ready", f"{node} Ready", ready) if ready else None,
        Moment("settled", "no pod Terminating", settled) if settled else None,
    )
    return Timeline(f"Return of {node}", powered_on, ordered(moments))


def _first(sightings: Iterable[Sighting], wanted: Callable[[Node | Pod], bool], key: str, title: str) -> Moment | None:
    for each in sightings:
        if wanted(each.seen):
            detail = each.seen.name
            if isinstance(each.seen, Pod) and each.seen.node:
                detail += f" on {each.seen.node}"
            if isinstance(each.seen, Node):
                detail = each.seen.state
            return Moment(key, title, each.at, detail)
    return None


def _last_answer(answers: tuple[Answer, ...], issued: Instant, gone: Instant | None) -> Answer | None:
    """Return the old MySQL's last answer after the power-off was asked for, once its VM is gone."""
    if gone is None:
        return None
    first_failure = next((each for each in answers if each.at >= issued and not each.ok), None)
    if first_failure is None:
        return None
    return next((each for each in reversed(answers) if each.ok and issued <= each.at <= first_failure.at), None)


def _first_answer(answers: tuple[Answer, ...], gone: Instant | None) -> Answer | None:
    """Return the new MySQL's first answer.

    An answer that was under way when the VM's process ended may arrive after it, so only one that follows a failed question
    after that moment is the new one's.
    """
    failed = False
    for each in answers:
        if gone is None or each.at < gone:
            continue
        if each.ok and failed:
            return each
        failed = failed or not each.ok
    return None
