"""The lab is backed up, loses an object and its data, and is restored: all is as it was at the backup, and what came later is gone.

The tests of this file are one story: the fixtures make it happen, each test verifies one statement of it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.course.walk import on_host
from outlive.drill import run
from outlive.lab import mysql, mysql_storage, nfs
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account, read_rows
from outlive.lab.objects import Pod
from outlive.lab.playbook import play
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from verify.stories import LeftOutError

BACKUPS = ROOT / ".lab" / "backups"
KEPT, LATE = "lifecycle-kept", "lifecycle-late"
"""Names of what is there at the backup, and of what is made after it."""
KUBECTL_SECONDS = 120.0


@dataclass(frozen=True)
class Backup:
    """A backup that was taken: its folder, and MySQL's pod before and after."""

    folder: Path
    before: Pod
    after: Pod


def kubectl(cluster: Cluster, text: str) -> tuple[str, ...]:
    """Run kubectl in MySQL's namespace, and return the lines that it prints."""
    ran = on_host(f"kubectl --namespace {NAMESPACE} {text}", cluster.environment, KUBECTL_SECONDS)
    if ran.status != 0:
        raise LabError(f"`kubectl {text}` failed ({' '.join(ran.lines[-1:])}).")
    return ran.lines


@pytest.fixture(scope="module")
def backup(whole_lab: Lab, written: Pod) -> Iterator[Backup]:
    """Make an object, and back the lab up."""
    cluster = whole_lab.cluster
    data = mysql_storage.of(cluster, whole_lab.inventory)
    if data.attached:
        raise LeftOutError(f"MySQL's data lies on a disk over {data.kind}, of which there is no backup")
    before = set(BACKUPS.glob("*"))
    kubectl(cluster, f"create configmap {KEPT} --from-literal=text=kept")
    try:
        play("playbooks/backup.yml")
        (made,) = set(BACKUPS.glob("*")) - before
        yield Backup(made, written, cluster.pod(NAMESPACE, written.name))
    finally:
        kubectl(cluster, f"delete configmap {KEPT} {LATE} --ignore-not-found")
        for folder in set(BACKUPS.glob("*")) - before:
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def restored(whole_lab: Lab, backup: Backup) -> Backup:
    """Delete the object, drop the row's table, make an object and a file that must vanish; then restore, and wait until the lab is steady."""
    cluster, (server, export) = whole_lab.cluster, nfs.exported(whole_lab.inventory)
    kubectl(cluster, f"delete configmap {KEPT}")
    kubectl(cluster, f"create configmap {LATE} --from-literal=text=late")
    account = mysql.account(cluster, cluster.deployment(NAMESPACE, mysql.DEPLOYMENT))
    mysql.drop_rows(cluster, account)
    whole_lab.remote.check(server.name, "touch %s", f"{export}/{LATE}")
    play("playbooks/restore.yml", "-e", f"backup={backup.folder}")
    run.await_steady(whole_lab)
    return backup


def test_backup_is_whole(backup: Backup) -> None:
    """The backup has etcd, the control plane's files and the volumes, each as its checksum says."""
    noted = json.loads((backup.folder / "backup.json").read_text(encoding="utf-8"))["files"]
    assert sorted(noted) == ["etcd.db", "kubernetes.tar.gz", "volumes.tar.gz"]
    assert {name: hashlib.sha256((backup.folder / name).read_bytes()).hexdigest() for name in noted} == noted


def test_backup_is_private(backup: Backup) -> None:
    """Nobody but its owner reads the backup, which holds the cluster's keys."""
    assert oct(backup.folder.stat().st_mode & 0o777) == "0o700"
    assert {oct(path.stat().st_mode & 0o777) for path in backup.folder.iterdir()} == {"0o600"}


def test_mysql_ran_on(backup: Backup) -> None:
    """MySQL's pod is the one that it was, and wasn't started again for the backup."""
    assert (backup.after.uid, backup.after.restarts) == (backup.before.uid, backup.before.restarts)


def test_backup_of_another_cluster_is_refused(backup: Backup, cluster: Cluster, tmp_path: Path) -> None:
    """A backup of a cluster with another certificate authority is refused before anything is touched."""
    foreign = shutil.copytree(backup.folder, tmp_path / "foreign")
    manifest = json.loads((foreign / "backup.json").read_text(encoding="utf-8"))
    manifest["about"]["cluster"] = "0" * 64
    (foreign / "backup.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(LabError, match="is of another cluster"):
        play("playbooks/restore.yml", "-e", f"backup={foreign}")
    now = cluster.pod(NAMESPACE, backup.after.name)
    assert (now.uid, now.restarts, now.ready) == (backup.after.uid, backup.after.restarts, True)


@pytest.mark.usefixtures("restored")
def test_object_is_back(cluster: Cluster) -> None:
    """The object that was deleted after the backup is there with its content."""
    assert kubectl(cluster, f"get configmap {KEPT} --output jsonpath={{.data.text}}") == ("kept",)


@pytest.mark.usefixtures("restored")
def test_later_object_is_gone(cluster: Cluster) -> None:
    """The object that was made after the backup isn't there."""
    assert f"configmap/{LATE}" not in kubectl(cluster, "get configmaps --output name")


@pytest.mark.usefixtures("restored")
def test_row_is_back(cluster: Cluster, account: Account) -> None:
    """The row whose table was dropped after the backup is read, once."""
    assert read_rows(cluster, account) == ["111"]


@pytest.mark.usefixtures("restored")
def test_later_file_is_gone(lab: Inventory, remote: Remote) -> None:
    """The file that was put on the NFS server after the backup isn't there."""
    server, export = nfs.exported(lab)
    assert remote.run(server.name, "test -e %s", f"{export}/{LATE}").status != 0


@pytest.mark.usefixtures("restored")
def test_nodes_are_back(lab: Inventory, cluster: Cluster) -> None:
    """All nodes are Ready, and take pods as before."""
    assert {node.name: node.ready for node in cluster.nodes()} == {host.name: "True" for host in lab.group("cluster")}


@pytest.mark.usefixtures("restored")
def test_nothing_has_to_be_repaired_after_the_restore() -> None:
    """playbooks/site.yml, run again, finds nothing to change."""
    played = play("playbooks/site.yml")
    assert played.recap, "the playbook printed no recap"
    assert not played.changed, "\n".join(played.changed)
