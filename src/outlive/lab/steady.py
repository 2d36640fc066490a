"""Is the lab in the state that a fault may be injected into? If not, a sentence, and nothing is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from outlive.base.errors import LabError, NotFoundError
from outlive.base.wait import StateNotReachedError
from outlive.lab.kube import Cluster
from outlive.lab.mysql import DEPLOYMENT, NAMESPACE
from outlive.lab.objects import Deployment, Node, Pod

WORKERS_NEEDED = 2
"""The one that is powered off and one to go to."""


class NotSteadyError(LabError):
    """The lab isn't ready for a fault."""


def too_few(workers: Sequence[str]) -> str | None:
    """Return why a pod can't move in a lab with these workers, or None where it can.

    ``workers`` are the names of the nodes that take the lab's pods.
    """
    if len(workers) >= WORKERS_NEEDED:
        return None
    return (
        f"Only {', '.join(workers)} takes pods in this lab: a fail-over needs at least {WORKERS_NEEDED} workers, "
        "so add one to hosts.yml and run `outlive up && outlive provision`."
    )


def objection(nodes: Sequence[Node], workers: Sequence[str], deployment: Deployment | None, pods: Sequence[Pod]) -> str | None:
    """Return why no node may be powered off now, or None where all is well.

    ``workers`` are the inventory's names; ``pods`` are MySQL's.
    """
    return _nodes(nodes, workers) or _mysql(workers, deployment, pods)


def _nodes(nodes: Sequence[Node], workers: Sequence[str]) -> str | None:
    joined = {node.name for node in nodes}
    missing = [name for name in workers if name not in joined]
    if missing:
        return (
            f"The cluster has no node {', '.join(missing)} of the inventory's group workers: all of them have to have joined, "
            "so run `outlive provision`."
        )
    few = too_few(workers)
    if few:
        return few
    unwell = [f"{node.name} is {node.state}" for node in nodes if node.ready != "True"]
    if unwell:
        return f"Not every node is Ready ({'; '.join(unwell)}): all have to be before one is powered off, so run `vagrant up`."
    shut = [f"{node.name} has {', '.join(node.shut)}" for node in nodes if node.name in workers and node.shut]
    if shut:
        return (
            f"Not every worker takes pods ({'; '.join(shut)}): a taint keeps them away, so run `outlive fence watch` until it has taken back "
            "what it fenced, or `kubectl taint node` and `kubectl uncordon` where it is yours."
        )
    return None


def _mysql(workers: Sequence[str], deployment: Deployment | None, pods: Sequence[Pod]) -> str | None:
    if deployment is None:
        return "MySQL is not deployed: its Deployment has to be there before its node is powered off, so run `outlive tutorial apply`."
    states = ", ".join(f"{pod.name} {pod.state}" for pod in pods) or "no pod"
    expected = deployment.expected
    serving = [pod for pod in pods if pod.ready or expected == 1]
    if (
        (deployment.wanted, deployment.available, len(pods), len(serving)) != (expected, 1, expected, 1)
        or any(pod.deleted for pod in pods)
        or not all(pod.running for pod in pods if pod not in serving)
    ):
        return (
            f"MySQL has {deployment.available} available of {deployment.wanted} wanted ({states}): it has to be exactly 1 of {expected} before "
            f"its node is powered off{', and the other one waiting' if deployment.standby else ''}, so wait, or see `kubectl describe deployment "
            "mysql` and repair it."
        )
    if serving[0].node not in workers:
        return (
            f"MySQL's pod runs on {serving[0].node}, which isn't in the inventory's group workers ({', '.join(workers)}): only a worker "
            "is powered off, so delete the pod and let it be scheduled again."
        )
    return None


@contextmanager
def before_fault() -> Iterator[None]:
    """Let a state that isn't reached before anything is broken be no verdict about what breaks.

    Raises:
        NotSteadyError: it wasn't reached.
    """
    try:
        yield
    except StateNotReachedError as error:
        raise NotSteadyError(f"Nothing was broken, as the lab wasn't ready: {error}.") from error


def check(cluster: Cluster, workers: Sequence[str]) -> Pod:
    """Return MySQL's pod where the lab is steady; else raise the sentence."""
    deployment: Deployment | None
    try:
        deployment = cluster.deployment(NAMESPACE, DEPLOYMENT)
    except NotFoundError:
        deployment = None
    pods = [pod for pod in cluster.pods(NAMESPACE, deployment.selector) if not pod.over] if deployment else []
    sentence = objection(cluster.nodes(), workers, deployment, pods)
    if sentence:
        raise NotSteadyError(sentence)
    return next((pod for pod in pods if pod.ready), pods[0])
