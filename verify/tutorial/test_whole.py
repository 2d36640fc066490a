"""All chapters at once, as a teacher may show them, and all of them taken away again."""

from __future__ import annotations

import json

from outlive.course.walk import Ground
from outlive.lab import mysql, nfs
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE
from outlive.lab.playbook import play
from outlive.lab.ssh import Remote

ALL = json.dumps({"storage_tutorial_chapters": ["all"]})
THERE_WITHOUT_TUTORIAL = {"service/kubernetes", "configmap/kube-root-ca.crt"}
"""What playbooks/site.yml leaves in the tutorial's namespace: the cluster's own."""
KINDS_OF_CHAPTERS = (
    "pod/",
    "persistentvolumeclaim/",
    "persistentvolume/",
    "deployment.apps/",
    "service/",
    "secret/",
    "configmap/",
    "storageclass.storage.k8s.io/",
)
A_CHAPTER_EACH = {
    "pod/producer-consumer",
    "namespace/hostpath",
    "pod/mypod1",
    "pod/rwo-node2",
    "persistentvolume/recyclepv",
    "storageclass.storage.k8s.io/nfs-dynamic",
    "namespace/local-path-storage",
    "deployment.apps/mysql",
}


def objects(seen: frozenset[str]) -> set[str]:
    """Return what stands in the tutorial's namespace, and its volumes and classes, which stand in none."""
    return {each for each in seen if each.startswith(KINDS_OF_CHAPTERS)}


def files(seen: frozenset[str]) -> set[str]:
    """Return the folders and files of the export."""
    return {each for each in seen if each.startswith("/")}


def test_all_chapters_come_and_go(lab: Inventory, cluster: Cluster, remote: Remote, ground: Ground) -> None:
    """Applied, all chapters stand; applied again, nothing changes; taken away, no object is left and all data is."""
    server, export = nfs.exported(lab)
    kept = {f"{export}/{volume}/kept" for volume in ("retain", "recycle")}
    try:
        play("playbooks/tutorial.yml", "-e", ALL)
        there = ground.look()
        assert there >= A_CHAPTER_EACH
        mysql.write_row(cluster, mysql.account(cluster, cluster.deployment(NAMESPACE, mysql.DEPLOYMENT)))
        again = play("playbooks/tutorial.yml", "-e", ALL)
        assert not again.changed, "\n".join(again.changed)
        remote.check(server.name, "touch %s %s", *kept)
        play("playbooks/tutorial-reset.yml")
        left = ground.look()
        assert objects(left) == THERE_WITHOUT_TUTORIAL
        assert not {"namespace/hostpath", "namespace/local-path-storage"} & left
        assert files(left) >= files(there) | kept
    finally:
        remote.check(server.name, "rm -f %s %s", *kept)
        play("playbooks/tutorial.yml")
    assert mysql.read_rows(cluster, mysql.account(cluster, cluster.deployment(NAMESPACE, mysql.DEPLOYMENT))) == ["111"]
