"""What every chapter of a lab's life begins with."""

from __future__ import annotations

import pytest

from outlive.lab import mysql, steady
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.objects import Pod
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from outlive.report.model import Report


@pytest.fixture(scope="session")
def stage(alone: None, lab: Inventory, cluster: Cluster, remote: Remote, report: Report) -> Lab:
    """Return the lab, held for these tests."""
    del alone, report
    return Lab(lab, cluster, remote)


@pytest.fixture(scope="module")
def written(stage: Lab) -> Pod:
    """Write the tutorial's row, and return MySQL's pod on a lab that is steady."""
    pod = steady.check(stage.cluster, stage.workers)
    account = mysql.account(stage.cluster, stage.cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT))
    mysql.tutorial_client(stage.cluster, account, mysql.WRITE_ROW)
    return pod
