"""Fixtures of the proofs."""

from __future__ import annotations

import pytest

from verify.lab.drill import Stage
from verify.lab.inventory import Inventory
from verify.lab.kube import Cluster
from verify.lab.remote import Remote


@pytest.fixture
def stage(alone: None, lab: Inventory, cluster: Cluster, remote: Remote) -> Stage:
    """Return the lab as drills take it."""
    del alone
    return Stage(lab, cluster, remote)
