"""Fixtures of the proofs."""

from __future__ import annotations

import pytest

from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote


@pytest.fixture
def stage(alone: None, lab: Inventory, cluster: Cluster, remote: Remote) -> Lab:
    """Return the lab as drills take it."""
    del alone
    return Lab(lab, cluster, remote)
