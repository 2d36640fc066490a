"""Fixtures of the verifications: the lab as the tests see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from outlive.base import locks
from outlive.base.errors import EXIT_UNKNOWN, LabError
from outlive.base.paths import kubectl
from outlive.lab import inventory, kube, mysql, steady
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import Account
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from outlive.report import lab_description
from outlive.report.model import Report
from verify.stories import KEPT

pytest_plugins = ["verify.plugin"]


@contextmanager
def _once() -> Iterator[None]:
    """End the whole run where there is no lab: the same sentence for each of its tests would help nobody."""
    try:
        yield
    except LabError as error:
        pytest.exit(str(error), returncode=EXIT_UNKNOWN)


@pytest.fixture(scope="session")
def lab() -> Inventory:
    """Return the lab as the inventory in use describes it."""
    with _once():
        return inventory.load()


@pytest.fixture(scope="session")
def two_workers(lab: Inventory) -> None:
    """Leave out, with the reason, what needs a node for MySQL to go to, in a lab that has none."""
    few = steady.too_few([host.name for host in lab.workers])
    if few:
        pytest.skip(few)


@pytest.fixture(scope="session")
def remote(lab: Inventory) -> Iterator[Remote]:
    """Return the way to run commands on the lab's machines."""
    link = Remote(lab)
    yield link
    link.close()


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the cluster, whose API server answers, and whose kubectl is there."""
    with _once():
        reached = kube.connect()
        kubectl()
        reached.nodes()
    return reached


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """Hold the lab for what breaks it on purpose: neither a drill nor another such test runs meanwhile."""
    with _once():
        stack = ExitStack()
        stack.enter_context(locks.alone())
    with stack:
        yield


@pytest.fixture(scope="session")
def whole_lab(alone: None, lab: Inventory, cluster: Cluster, remote: Remote) -> Lab:
    """Return the lab as one thing, held for what breaks it on purpose."""
    del alone
    return Lab(lab, cluster, remote)


@pytest.fixture
def account(cluster: Cluster) -> Account:
    """Return MySQL's root account as its Deployment was given it."""
    return mysql.account(cluster, cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT))


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest, lab: Inventory, cluster: Cluster, remote: Remote) -> Report:
    """Return the run's report, with the description of the lab in it."""
    kept: Report = request.config.stash[KEPT].report()
    lab_description.into(kept.run, Lab(lab, cluster, remote))
    kept.write()
    return kept
