"""The filters of the role network_policy; its refusal is in test_preflight.py."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from . import role_tasks


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Return the module of the filters."""
    return role_tasks.plugin("network_policy", "filter_plugins/network_policy.py")


def policy(name: str = "mysql", namespace: str = "default", **other: Any) -> dict[str, Any]:  # noqa: ANN401  the API's JSON
    """Return a policy."""
    return {"kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}}} | other


@pytest.mark.parametrize("wrong", [policy(kind="Pod"), policy(spec={}), policy(name=""), policy(namespace=""), {}])
def test_what_is_no_policy(filters: ModuleType, wrong: dict[str, Any]) -> None:
    assert filters.unusable([policy(), wrong]) == [wrong]


def test_only_what_nobody_wants_any_more_goes(filters: ModuleType) -> None:
    """Two namespaces may have policies of the same name."""
    found = [policy(), policy("web"), policy(namespace="other")]
    assert filters.obsolete(found, [policy()]) == [{"namespace": "default", "name": "web"}, {"namespace": "other", "name": "mysql"}]
    assert filters.obsolete(found, found) == []


def daemon(**status: int) -> list[dict[str, Any]]:
    """Return a DaemonSet of its third description."""
    return [{"metadata": {"generation": 3}, "status": status}]


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        ([], "it isn't in the cluster"),
        (daemon(), "no pod of it was made yet"),
        (daemon(observedGeneration=2, desiredNumberScheduled=3, numberReady=3, updatedNumberScheduled=3), "no pod of it was made yet"),
        (daemon(observedGeneration=3, desiredNumberScheduled=3, numberReady=3, updatedNumberScheduled=1), "1 of 3 nodes have it"),
        (daemon(observedGeneration=3, desiredNumberScheduled=3, updatedNumberScheduled=3), "0 of 3 nodes have it"),
        (daemon(observedGeneration=3, desiredNumberScheduled=3, numberReady=3, updatedNumberScheduled=3), ""),
    ],
)
def test_what_is_waited_for(filters: ModuleType, found: list[dict[str, Any]], missing: str) -> None:
    """An old pod that is still ready is none of the new description's."""
    assert filters.waiting(found) == missing
