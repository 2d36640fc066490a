"""The sentences that keep a fault from a lab that isn't ready for one."""

from __future__ import annotations

from typing import Any

import pytest

from outlive.base.verdict import Verdict, of_error
from outlive.base.wait import StateNotReachedError
from outlive.lab import objects, steady
from outlive.lab.kube import Cluster
from outlive.lab.steady import NotSteadyError
from tests import samples
from tests.fake_api import NAMESPACE, FakeApi, listing

DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/mysql"


def test_steady_lab(fake_cluster: Cluster) -> None:
    assert steady.check(fake_cluster, ["n1", "n2"]).name == "mysql-u1"


WAITS = samples.pod("u2", "n2", ready=False)


def test_lab_with_a_second_pod_that_waits(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers[DEPLOYMENT] = [samples.deployment(wanted=2, standby=True)]
    for pods in ([samples.pod("u1"), WAITS], [WAITS, samples.pod("u1")]):
        api.answers[f"{NAMESPACE}/pods"] = [listing(*pods)]
        assert steady.check(fake_cluster, ["n1", "n2"]).name == "mysql-u1"


@pytest.mark.parametrize(
    "pods",
    [
        [samples.pod("u1")],
        [samples.pod("u1"), samples.pod("u2", "n2")],
        [WAITS, samples.pod("u1", ready=False)],
        [samples.pod("u1"), samples.pod("u2", "", ready=False, running=False, phase="Pending")],
        [samples.pod("u1"), samples.pod("u2", "n2", ready=False, deleted=True)],
    ],
    ids=["one pod", "both serve", "nobody serves", "the other one is Pending", "the other one goes"],
)
def test_lab_whose_second_pod_does_not_wait(fake_cluster: Cluster, api: FakeApi, pods: list[dict[str, Any]]) -> None:
    api.answers[DEPLOYMENT] = [samples.deployment(wanted=2, standby=True)]
    api.answers[f"{NAMESPACE}/pods"] = [listing(*pods)]
    with pytest.raises(
        NotSteadyError, match=r"it has to be exactly 1 of 2 before its node is powered off, and the other one waiting, so wait"
    ):
        steady.check(fake_cluster, ["n1", "n2"])


def test_a_pod_that_ended_for_good_is_only_a_record(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers[f"{NAMESPACE}/pods"] = [listing(samples.pod("u0", phase="Failed", running=False), samples.pod("u1"))]
    assert steady.check(fake_cluster, ["n1", "n2"]).name == "mysql-u1"


@pytest.mark.parametrize(
    ("path", "answer", "workers", "sentence"),
    [
        ("", None, ["n1"], "Only n1 takes pods in this lab: a fail-over needs at least 2 workers"),
        ("", None, ["n1", "n9"], "has no node n9 of the inventory's group workers"),
        ("/api/v1/nodes", listing(samples.node("n1", "Unknown"), samples.node("n2")), ["n1", "n2"], "n1 is NotReady (NodeStatusUnknown)"),
        (
            "/api/v1/nodes",
            listing(samples.node("n1"), samples.node("n2") | {"spec": {"taints": [{"key": "out-of-service", "effect": "NoExecute"}]}}),
            ["n1", "n2"],
            "Not every worker takes pods (n2 has out-of-service)",
        ),
        (DEPLOYMENT, 404, ["n1", "n2"], "MySQL is not deployed: its Deployment has to be there"),
        (DEPLOYMENT, samples.deployment(available=0), ["n1", "n2"], "0 available of 1 wanted (mysql-u1 Running)"),
        (DEPLOYMENT, samples.deployment(wanted=2), ["n1", "n2"], "1 available of 2 wanted"),
        (f"{NAMESPACE}/pods", listing(samples.pod(deleted=True)), ["n1", "n2"], "(mysql-u1 Terminating): it has to be exactly 1 of 1"),
        (f"{NAMESPACE}/pods", listing(), ["n1", "n2"], "(no pod): it has to be exactly 1 of 1"),
        (
            f"{NAMESPACE}/pods",
            listing(samples.pod(node="m")),
            ["n1", "n2"],
            "runs on m, which isn't in the inventory's group workers (n1, n2)",
        ),
    ],
)
def test_lab_that_is_not_ready(fake_cluster: Cluster, api: FakeApi, path: str, answer: object, workers: list[str], sentence: str) -> None:
    api.answers[path] = [answer]
    with pytest.raises(NotSteadyError) as raised:
        steady.check(fake_cluster, workers)
    assert sentence in str(raised.value)
    assert str(raised.value).endswith(".")
    assert not any(request.startswith(("POST", "DELETE")) for request in api.requests)


def test_objection_needs_no_api() -> None:
    nodes = [objects.node(samples.node(name)) for name in ("n1", "n2")]
    pods = [objects.pod(samples.pod())]
    assert steady.objection(nodes, ["n1", "n2"], objects.deployment(samples.deployment()), pods) is None


def test_what_is_not_reached_before_a_fault_is_no_verdict() -> None:
    with (
        pytest.raises(steady.NotSteadyError, match="Nothing was broken, as the lab wasn't ready: MySQL: wanted rows") as error,
        steady.before_fault(),
    ):
        raise StateNotReachedError("MySQL: wanted rows, last seen no answer")
    assert of_error(error.value) is Verdict.UNKNOWN
