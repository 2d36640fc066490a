"""Fixtures of the tutorial's pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import pytest

from verify.lab.errors import LabError
from verify.lab.inventory import ROOT, Inventory
from verify.lab.kube import Cluster
from verify.lab.registry import mirror_lacks
from verify.lab.remote import Remote
from verify.lab.report import Report
from verify.lab.walk import MANIFESTS, Ground, Shells, Walk


@pytest.fixture(scope="session", autouse=True)
def described(report: Report) -> Report:
    """Put the lab's description into the report."""
    return report


@pytest.fixture(scope="session")
def lacks(lab: Inventory, remote: Remote) -> Callable[[str], bool]:
    """Return what says whether the lab's mirror lacks an image; it asks once for each."""
    return cache(partial(mirror_lacks, remote, lab.group("workers")[0].name))


@pytest.fixture(scope="session")
def walk(lab: Inventory, cluster: Cluster, remote: Remote) -> Iterator[Walk]:
    """Return the way through the pages; what the last one left is taken away at its end."""
    if not (ROOT / MANIFESTS).is_dir():
        raise LabError(f"The folder {MANIFESTS} isn't there: the pages apply the manifests in it, so run `make tutorial`, which writes it.")
    ground = Ground(lab, cluster, remote)
    way = Walk(Shells(cluster, remote).run, ground.look, ground.clear)
    yield way
    way.end()
