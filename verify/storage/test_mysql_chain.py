"""The tutorial's MySQL chain: volume, claim, Deployment, and a row written by its own client command."""

from __future__ import annotations

import re

from outlive.base.wait import wait_for
from outlive.lab import mysql_storage, nfs
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import DEPLOYMENT, NAMESPACE, WRITE_ROW, Account, read_rows
from outlive.lab.mysql_storage import IscsiDisk, NfsFolder
from outlive.lab.ssh import Remote

FILES_WITHIN = 180.0
"""Seconds for a disk's file system to have its journal's names and files in their places; on NFS they are there at once."""


def test_volume_is_bound_and_retained(cluster: Cluster) -> None:
    """The volume mysql-pv is Bound to the claim mysql-pvc and Retained after it."""
    volume = cluster.volume("mysql-pv")
    assert (volume.phase, volume.reclaim, volume.claim) == ("Bound", "Retain", f"{NAMESPACE}/mysql-pvc")


def test_claim_is_bound(cluster: Cluster) -> None:
    """The claim mysql-pvc is Bound to the volume mysql-pv."""
    claim = cluster.claim(NAMESPACE, "mysql-pvc")
    assert (claim.phase, claim.volume) == ("Bound", "mysql-pv")


def test_its_folder_is_the_one_that_it_had(lab: Inventory, cluster: Cluster, remote: Remote) -> None:
    """The server's UUID in the volume is the one that was noted when MySQL first ran there: no database was made anew meanwhile."""
    (namespace,) = [each for each in cluster.listing("namespaces") if each["metadata"]["name"] == NAMESPACE]
    noted, _, _ = namespace["metadata"].get("annotations", {}).get("outlive/mysql-data", "").partition(" ")
    assert noted, (
        f"the namespace {NAMESPACE} has no note of MySQL's data, as before 2026-11-29: run `outlive tutorial apply`, which writes it"
    )
    found = wait_for(
        "the server's UUID in MySQL's auto.cnf",
        "one",
        lambda: re.findall("^server-uuid=(.*)$", mysql_storage.of(cluster, lab).content(remote, "auto.cnf"), flags=re.MULTILINE),
        bool,
        within=FILES_WITHIN,
        every=5.0,
    )
    assert found == [noted]


def test_its_volume_is_on_the_storage_that_was_chosen(lab: Inventory, cluster: Cluster) -> None:
    """The volume leads to the folder that is MySQL's on the NFS server, or to the disk that is: storage_tutorial_mysql_storage says which."""
    chosen = lab.setting("storage_tutorial_mysql_storage") or "nfs"
    data = mysql_storage.of(cluster, lab)
    assert data.kind.lower() == chosen
    if isinstance(data, NfsFolder):
        assert data.path == f"{nfs.exported(lab)[1]}/mysql-pv"
    elif isinstance(data, IscsiDisk):
        assert data.disk.target.rpartition(":")[2] == "mysql"


def test_mysql_is_available(cluster: Cluster) -> None:
    """The Deployment mysql has one pod available, and all that it wants: a second one only waits, under the recovery profile standby."""
    wait_for(
        f"deployment {DEPLOYMENT}",
        "1 available of 1, or of 2 of which one waits",
        lambda: cluster.deployment(NAMESPACE, DEPLOYMENT),
        lambda deployment: (deployment.available, deployment.wanted) == (1, deployment.expected),
        within=600,
        describe=lambda deployment: f"{deployment.available} of {deployment.wanted}",
    )


def test_a_row_is_written_and_read(cluster: Cluster, account: Account) -> None:
    """Through the tutorial's client pod: use mysql, create table my_id, insert 111, and select gives 111."""
    assert read_rows(cluster, account, before=WRITE_ROW) == ["111"]


def test_the_row_is_there_for_the_next_client(cluster: Cluster, account: Account) -> None:
    """A new client pod reads the row that another one wrote."""
    assert read_rows(cluster, account) == ["111"]


def test_the_files_are_on_the_server(lab: Inventory, cluster: Cluster, remote: Remote) -> None:
    """MySQL's files lie on the volume's server, in its folder or on its disk: the table's among them."""
    # What a table looks like, which only old servers write beside it, or its rows.
    table = {"mysql/my_id.frm", "mysql/my_id.ibd"}
    wait_for(
        "MySQL's files on the server",
        "ibdata1 and the table's",
        lambda: mysql_storage.of(cluster, lab).files(remote),
        lambda files: "ibdata1" in files and bool(files & table),
        within=FILES_WITHIN,
        every=5.0,
        describe=lambda files: f"{len(files)} files",
    )
