"""What every chapter of a lab's life begins with."""

from __future__ import annotations

import pytest

from verify.lab import mysql, steady
from verify.lab.drill import Stage
from verify.lab.inventory import Inventory
from verify.lab.kube import Cluster
from verify.lab.objects import Pod
from verify.lab.remote import Remote
from verify.lab.report import Report


@pytest.fixture(scope="session")
def stage(alone: None, lab: Inventory, cluster: Cluster, remote: Remote, report: Report) -> Stage:
    """Return the lab, held for these tests."""
    del alone, report
    return Stage(lab, cluster, remote)


@pytest.fixture(scope="module")
def written(stage: Stage) -> Pod:
    """Write the tutorial's row, and return MySQL's pod on a lab that is steady."""
    pod = steady.check(stage.cluster, stage.workers)
    account = mysql.account(stage.cluster, stage.cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT))
    mysql.tutorial_client(stage.cluster, account, mysql.WRITE_ROW)
    return pod
