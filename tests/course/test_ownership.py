"""What a page owns: what its commands and manifests name and what the cluster made of it, and nothing of other people's."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from outlive.base.paths import ROOT
from outlive.course import pages
from outlive.course.ownership import applied, grown, is_own, named_by_command, named_by_object, things

EXPORT = "/nfsdata"
MANIFEST = ".lab/tutorial/nfs/pod1.yml"
TEMPLATES = ROOT / "roles/storage_tutorial/templates"


def made(kind: str, name: str, spec: dict[str, Any] | None = None, api: str = "v1", **meta: Any) -> dict[str, Any]:  # noqa: ANN401  the API's JSON
    """Return an object."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **meta}, "spec": spec or {}}


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (f"kubectl apply -f {MANIFEST}", [MANIFEST]),
        (f"kubectl apply --filename={MANIFEST}", [MANIFEST]),
        (f"kubectl -n x apply -f ./{MANIFEST} -f .lab/tutorial/nfs/", [MANIFEST, ".lab/tutorial/nfs/"]),
        (f"kubectl create -f {MANIFEST}", [MANIFEST]),
        (f"sed 's/namespace: a/namespace: b/' {MANIFEST} | kubectl apply -f -", [MANIFEST]),
        (f"cd . && until kubectl apply -f {MANIFEST}; do sleep 2; done", [MANIFEST]),
        (f"kubectl apply \\\n-f {MANIFEST}", [MANIFEST]),
        (f"kubectl apply --dry-run=server -f {MANIFEST}", []),
        (f"kubectl delete -f {MANIFEST}", []),
        (f"cat {MANIFEST}", []),
        (f"diff .lab/tutorial/then/pod1.yml {MANIFEST}", []),
        ("kubectl apply -f https://example.com/x.yml", []),
    ],
)
def test_manifests_that_a_command_applies(text: str, paths: list[str]) -> None:
    assert applied(text) == paths


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            'kubectl run client --image=mysql:5.6 --restart=Never --env="P=$(kubectl get secret a | base64 -d)" -- mysql -h mysql',
            {"pod/client"},
        ),
        ("kubectl -n x run --image busybox -it --rm client", {"pod/client"}),
        ("kubectl create deployment web --image=busybox", {"deployment/web"}),
        ("kubectl create configmap settings --from-literal a=b", {"configmap/settings"}),
        ("kubectl create secret generic password --from-literal a=b", {"secret/password"}),
        ("kubectl create ns lab", {"namespace/lab"}),
        ("kubectl create storageclasses.storage.k8s.io x", {"storageclass/x"}),
        ("kubectl expose deployment web --port 80", {"service/web"}),
        ("kubectl expose pod/web --name=entry --port=80", {"service/entry"}),
        ("kubectl expose deploy web --name entry", {"service/entry"}),
        ("kubectl cordon n1", {"cordoned/n1"}),
        ("kubectl drain n1 --ignore-daemonsets", {"cordoned/n1"}),
        ("kubectl cordon \"$(kubectl get pods -o jsonpath='{.items[0].spec.nodeName}')\"", {"cordoned/*"}),
        ("kubectl cordon -l disk=slow", {"cordoned/*"}),
        ("kubectl uncordon n1", set()),
        ('kubectl run "$name" --image=busybox', set()),
        ("kubectl run client --image=busybox --dry-run=client -o yaml", set()),
        ("kubectl get pod client", set()),
        ("kubectl delete pod client", set()),
        ("kubectl exec client -- kubectl run other", set()),
        ("kubectl", set()),
        ("mkdir -p /nfsdata/a /nfsdata/b/", {"/nfsdata/a", "/nfsdata/b"}),
        ("(cd /nfsdata/pvc-*_default_kept && touch letter)", {"/nfsdata/pvc-*_default_kept"}),
        ("find /nfsdata/a -mindepth 1 -delete", {"/nfsdata/a"}),
        ("echo x >/nfsdata/a/file 2>/dev/null", {"/nfsdata/a/file"}),
        ("echo x | tee /nfsdata/a/file", {"/nfsdata/a/file"}),
        ("ls /nfsdata/a", set()),
        ("cat /nfsdata/a/file 2>/dev/null", set()),
        ("mkdir -p /nfsdata", set()),
        ("rm -r /nfsdata/", set()),
        ("rm -r /nfsdata/a/../../etc /srv/a /nfsdata2/a", set()),
    ],
)
def test_names_of_what_a_command_makes(text: str, names: set[str]) -> None:
    assert named_by_command(text, EXPORT) == names


def test_object_stands_for_itself_and_what_has_no_other_owner() -> None:
    assert named_by_object(made("Deployment", "web", api="apps/v1"), EXPORT) == {"deployment/web"}
    volume = made("PersistentVolume", "a", {"nfs": {"path": "/nfsdata/a/", "server": "m"}})
    assert named_by_object(volume, EXPORT) == {"persistentvolume/a", "pod/recycler-for-a", "/nfsdata/a"}
    elsewhere = made("PersistentVolume", "a", {"nfs": {"path": "/other/a", "server": "n"}})
    assert named_by_object(elsewhere, EXPORT) == {"persistentvolume/a", "pod/recycler-for-a"}
    whole = made("PersistentVolume", "a", {"nfs": {"path": "/nfsdata", "server": "m"}})
    assert named_by_object(whole, EXPORT) == {"persistentvolume/a", "pod/recycler-for-a"}
    replicas = made("StatefulSet", "db", {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}, "apps/v1")
    names = named_by_object(replicas, EXPORT)
    assert is_own(names, "persistentvolumeclaim/data-db-0")
    assert is_own(names, "statefulset.apps/db")
    assert not is_own(names, "persistentvolumeclaim/data-db-backup")


@pytest.mark.parametrize(
    ("thing", "own"),
    [
        ("pod/a", True),
        ("deployment.apps/a", True),
        ("deployment.apps/b", False),
        ("service/a", False),
        ("pod/a-1", False),
        ("cordoned/n1", True),
        ("cordoned/n2", False),
        ("/nfsdata/a", True),
        ("/nfsdata/a/b/c", True),
        ("/nfsdata/ab", False),
        ("/nfsdata", False),
        ("/nfsdata/pvc-1_default_kept/letter", True),
        ("/nfsdata/pvc-1/x_default_kept", False),
    ],
)
def test_own_or_somebody_else_s(thing: str, own: bool) -> None:
    names = frozenset({"pod/a", "deployment/a", "cordoned/n1", "/nfsdata/a", "/nfsdata/pvc-*_default_kept"})
    assert is_own(names, thing) is own


def provisioned(name: str, claim: str, namespace: str = "default", by: str = "rancher.io/local-path") -> dict[str, Any]:
    """Return a volume that a claim has; ``by`` made it for that, where it isn't empty."""
    spec = {"claimRef": {"namespace": namespace, "name": claim}, "hostPath": {"path": f"/nfsdata/dynamic/{name}"}}
    return made("PersistentVolume", name, spec, annotations={"pv.kubernetes.io/provisioned-by": by} if by else {})


def owned(kind: str, name: str) -> list[dict[str, str]]:
    """Return the reference of an object that something owns."""
    return [{"kind": kind, "name": name, "uid": "u"}]


CLUSTER = [
    # In an order in which what is owned comes before its owners.
    provisioned("pvc-1", "data-db-0"),
    provisioned("pvc-2", "theirs"),
    provisioned("pvc-3", "data-db-0", namespace="elsewhere"),
    provisioned("found", "data-db-0", by=""),
    made("VolumeAttachment", "csi-1", {"source": {"persistentVolumeName": "pvc-1"}}, "storage.k8s.io/v1"),
    made("VolumeAttachment", "csi-2", {"source": {"persistentVolumeName": "pvc-2"}}, "storage.k8s.io/v1"),
    made("VolumeAttachment", "csi-3", {"source": {"inlineVolumeSpec": {"csi": {"volumeHandle": "vol-1"}}}}, "storage.k8s.io/v1"),
    made("VolumeAttachment", "csi-4", {"source": {"inlineVolumeSpec": {"csi": {"volumeHandle": "vol-2"}}}}, "storage.k8s.io/v1"),
    made("Pod", "web-55-x", ownerReferences=owned("ReplicaSet", "web-55"), labels={"pod-template-hash": "55"}),
    made("Pod", "shop-55-x", ownerReferences=owned("ReplicaSet", "shop-55"), labels={"pod-template-hash": "55"}),
    made("Pod", "job-x", ownerReferences=owned("Job", "job")),
    made("Job", "job", api="batch/v1", ownerReferences=owned("CronJob", "daily")),
    made("Pod", "db-0", ownerReferences=owned("StatefulSet", "db")),
    made("Pod", "theirs"),
    made("PersistentVolumeClaim", "data-db-0"),
    made("PersistentVolumeClaim", "theirs"),
    made("Node", "n1"),
]


def test_what_the_cluster_made_for_a_page_s_objects_is_the_page_s() -> None:
    replicas = made("StatefulSet", "db", {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}, "apps/v1")
    disk = made("Pod", "ebs", {"volumes": [{"name": "a"}, {"name": "b", "awsElasticBlockStore": {"volumeID": "aws://zone/vol-1"}}]})
    names = named_by_object(replicas, EXPORT) | named_by_object(disk, EXPORT) | {"deployment/web", "cronjob/daily"}
    seen = things(CLUSTER) | {"/nfsdata/dynamic/pvc-1/x", "/nfsdata/dynamic/pvc-2/x", "/nfsdata/dynamic/found/x"}
    own = {each for each in seen if is_own(grown(names, CLUSTER, EXPORT), each)}
    assert own == {
        "persistentvolume/pvc-1",
        "volumeattachment.storage.k8s.io/csi-1",
        "volumeattachment.storage.k8s.io/csi-3",
        "pod/web-55-x",
        "pod/job-x",
        "job.batch/job",
        "pod/db-0",
        "persistentvolumeclaim/data-db-0",
        "/nfsdata/dynamic/pvc-1/x",
    }


def test_a_page_that_made_nothing_owns_nothing() -> None:
    assert grown(frozenset(), CLUSTER, EXPORT) == frozenset()


def test_things_are_listed_as_kubectl_names_them() -> None:
    shut = made("Node", "n2", {"unschedulable": True})
    listed = things([made("Node", "n1"), shut, made("Pod", "a"), made("StorageClass", "b", api="storage.k8s.io/v1")])
    assert listed == {"cordoned/n2", "pod/a", "storageclass.storage.k8s.io/b"}


def test_pod_that_its_deployment_made_anew_is_no_other_thing() -> None:
    deployment = made("Deployment", "db", api="apps/v1", uid="d")
    replicas = made(
        "ReplicaSet", "db-55", api="apps/v1", uid="r", ownerReferences=[{**owned("Deployment", "db")[0], "uid": "d", "controller": True}]
    )
    pod = made("Pod", "db-55-x", ownerReferences=[{**owned("ReplicaSet", "db-55")[0], "uid": "r", "controller": True}])
    assert things([deployment, replicas, pod]) == {"deployment.apps/db"}
    # Of one that is being deleted, or whose replicas stay behind, what is left is seen.
    assert things([replicas, pod]) == {"replicaset.apps/db-55"}
    assert things([pod]) == {"pod/db-55-x"}


def template_names(path: str) -> frozenset[str]:
    """Return the names of a manifest's objects, or of a folder's, as far as the templates tell them unrendered."""
    place = TEMPLATES / path.removeprefix(".lab/tutorial/")
    names: frozenset[str] = frozenset()
    for file in sorted(place.iterdir()) if place.is_dir() else [place.with_name(f"{place.name}.j2")]:
        if file.parent.name != "mysql-9":  # made of another chapter's by the role
            # A line that is nothing but an expression is a part of the manifest from elsewhere.
            text = re.sub(r"{%.*?%}|^{{.*}}$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            text = re.sub(r"{{.*?}}", EXPORT, text)
            names = names.union(*(named_by_object(each, EXPORT) for each in yaml.safe_load_all(text)))
    return names


def test_pages_name_what_they_delete() -> None:
    """What a page takes away by name is what it made: else it would be left where the page fails in between."""
    deleted = 0
    for page in pages.load(pages.FOLDER, ROOT):
        names: frozenset[str] = frozenset()
        for command in (each for block in page.blocks for each in block.commands):
            names = names.union(named_by_command(command.text, EXPORT), *map(template_names, applied(command.text)))
            for kind, found in re.findall(r"^kubectl (?:-n \S+ )?delete (namespace|pod|pvc?) ((?:[a-z0-9-]+ ?)+)$", command.text):
                full = {"pv": "persistentvolume", "pvc": "persistentvolumeclaim"}.get(kind, kind)
                for name in found.split():
                    assert is_own(names, f"{full}/{name}"), f"{page.path}:{command.line}: {name}"
                    deleted += 1
    assert deleted > 40
