"""What every chapter of a lab's life begins with."""

from __future__ import annotations

import pytest

from outlive.lab import mysql, steady
from outlive.lab.objects import Pod
from outlive.lab.session import Lab
from outlive.report.model import Report


@pytest.fixture(scope="session", autouse=True)
def described(two_workers: None, report: Report) -> Report:
    """Put the lab's description into the report, of a lab in which MySQL can move: each chapter begins on one that is steady."""
    del two_workers
    return report


@pytest.fixture(scope="module")
def written(whole_lab: Lab) -> Pod:
    """Write the tutorial's row, and return MySQL's pod on a lab that is steady."""
    pod = steady.check(whole_lab.cluster, whole_lab.workers)
    account = mysql.account(whole_lab.cluster, whole_lab.cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT))
    mysql.write_row(whole_lab.cluster, account)
    return pod
