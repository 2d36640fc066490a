"""Somebody deletes MySQL's claim while another volume would fit: nobody takes the one for the other, and MySQL gets its own back with its data.

The tests of this file are one story: the fixtures make it happen, each test verifies one statement of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.course.walk import on_host
from outlive.drill import run
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account, read_rows
from outlive.lab.objects import Pod
from outlive.lab.playbook import play
from outlive.lab.session import Lab

KUBECTL_SECONDS = 300.0
REUSE = """kubectl patch pv mysql-pv --type=json --patch='[{"op": "remove", "path": "/spec/claimRef/uid"}]'"""
"""What the refusal says."""


def host(cluster: Cluster, command: str) -> None:
    """Run a command on the host as a user would, and see it end well."""
    ran = on_host(command, cluster.environment, KUBECTL_SECONDS)
    assert ran.status == 0, "\n".join([command, *ran.lines])


@pytest.fixture(scope="module")
def refused(whole_lab: Lab, written: Pod) -> Iterator[str]:
    """Delete MySQL's claim, offer another volume, and return how the playbook refuses; MySQL is put back whatever happens."""
    del written
    cluster = whole_lab.cluster
    try:
        host(
            cluster,
            f"kubectl -n {NAMESPACE} delete deployment mysql && kubectl -n {NAMESPACE} wait --for=delete pod -l app=mysql --timeout=4m",
        )
        host(cluster, f"kubectl -n {NAMESPACE} delete pvc mysql-pvc")
        host(cluster, "kubectl apply -f .lab/tutorial/nfs/nfs-pv1.yml")
        wait_for(
            "volume mysql-pv",
            "Released",
            lambda: cluster.volume("mysql-pv").phase,
            lambda phase: phase == "Released",
            within=120,
            describe=str,
        )
        with pytest.raises(LabError) as found:
            play("playbooks/tutorial.yml")
        yield str(found.value)
    finally:
        # On a volume that is bound it would make the claim Lost.
        if cluster.volume("mysql-pv").phase == "Released":
            host(cluster, REUSE)
        play("playbooks/tutorial.yml")
        host(cluster, "kubectl delete pv mypv1 --ignore-not-found")


@pytest.fixture(scope="module")
def reused(whole_lab: Lab, refused: str) -> str:
    """Do what the refusal says, and wait until the lab is steady."""
    host(whole_lab.cluster, REUSE)
    play("playbooks/tutorial.yml")
    run.await_steady(whole_lab)
    return refused


def test_released_volume_is_refused(refused: str) -> None:
    """The playbook names the volume that lost its claim, and where the data is."""
    assert "The volume mysql-pv is Released: its claim default/mysql-pvc is gone" in refused


@pytest.mark.usefixtures("refused")
def test_other_volume_is_kept_for_its_own_claim(cluster: Cluster) -> None:
    """The other volume is Available still, and no claim of MySQL's was made."""
    assert cluster.volume("mypv1").phase == "Available"


@pytest.mark.usefixtures("reused")
def test_volume_is_back(cluster: Cluster) -> None:
    """The new claim has the volume that the old one had."""
    assert cluster.claim(NAMESPACE, "mysql-pvc").volume == "mysql-pv"
    assert cluster.volume("mysql-pv").claim == f"{NAMESPACE}/mysql-pvc"


@pytest.mark.usefixtures("reused")
def test_row_outlived_its_claim(cluster: Cluster, account: Account) -> None:
    """The row that was written before is read, once."""
    assert read_rows(cluster, account) == ["111"]


@pytest.mark.usefixtures("reused")
def test_another_series_is_refused(cluster: Cluster) -> None:
    """An image of another series is refused before MySQL's pod is touched."""
    before = [pod.uid for pod in cluster.pods(NAMESPACE, cluster.deployment(NAMESPACE, "mysql").selector)]
    with pytest.raises(LabError, match=r"MySQL's data was made by 5\.6"):
        play("playbooks/tutorial.yml", "-e", "storage_tutorial_mysql_image=mysql:9.7")
    assert [pod.uid for pod in cluster.pods(NAMESPACE, cluster.deployment(NAMESPACE, "mysql").selector)] == before
