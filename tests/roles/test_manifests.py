"""The manifests of the roles are valid objects of the Kubernetes version that the lab runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from outlive.course import pages
from outlive.course.exercises import EXERCISES, LEVEL, Exercise
from outlive.lab.mysql import CLIENT_POD, Account, Password, witness_pod
from outlive.lab.objects import SecretKey
from roles.storage_tutorial.filter_plugins.storage_tutorial import not_ready, remaining
from tests.course import stages
from verify.tutorial.class_room import solution

from . import role_tasks
from .conftest import COMMON, ROOT, Playbook
from .test_preflight import sentence

SECRETS = {"mysql-secret.yml", "iscsi-secret.yml"}
"""What holds a password: no learner finds it among the manifests."""


def render(playbook: Playbook, tmp_path: Path, role: str, **variables: str) -> dict[str, str]:
    """Return the text of all manifests of `role` by their paths below templates/, rendered by Ansible with the lab's variables, but for those given."""
    copy = tmp_path / "roles" / role
    shutil.copytree(ROOT / "roles" / role, copy, dirs_exist_ok=True)
    templates = sorted(str(path.relative_to(copy / "templates")) for path in (copy / "templates").glob("**/*.yml.j2"))
    assert templates
    # The copy of the role does nothing but render its templates, all in one task: to write each by itself would take a minute.
    contents = f"{{{{ dict({templates} | zip(query('ansible.builtin.template', *{templates}))) | to_json }}}}"
    rendered = tmp_path / "rendered.json"
    tasks = [{"name": "Render the templates", "ansible.builtin.copy": {"dest": str(rendered), "content": contents, "mode": "0600"}}]
    (copy / "tasks" / "main.yml").write_text(yaml.safe_dump(tasks))
    path = tmp_path / "playbook.yml"
    path.write_text(yaml.safe_dump([{"name": "Render the manifests", "hosts": "localhost", "connection": "local", "roles": [role]}]))
    given = {"storage_tutorial_mysql_password_file": f"{tmp_path}/secrets/password", **variables}
    result = playbook(path, "-e", json.dumps(given))
    assert result.returncode == 0, result.stdout + result.stderr
    manifests = {template.removesuffix(".j2"): text for template, text in json.loads(rendered.read_text()).items()}
    for name, text in manifests.items():
        file = tmp_path / "manifests" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return manifests


def objects_of(manifests: dict[str, str]) -> list[dict[str, Any]]:
    """Return the objects in manifests, without those that describe the same objects as they were described once."""
    return [each for name, text in manifests.items() if not name.startswith("then/") for each in yaml.safe_load_all(text)]


def kubernetes_version() -> str:
    """Return major and minor version of the lab's Kubernetes."""
    variables = yaml.safe_load((ROOT / "inventories" / "common" / "group_vars" / "all" / "kubernetes_packages.yml").read_text())
    return ".".join(str(variables["kubernetes_packages_version"]).split(".")[:2])


def beyond_baseline(spec: dict[str, Any]) -> set[str]:
    """Return what of a pod the Pod Security level `baseline` refuses, as far as a pod of this project could have it.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/; on the lab it's the API server that judges.
    """
    containers = [*spec.get("containers", []), *spec.get("initContainers", [])]
    contexts = [each.get("securityContext", {}) for each in containers]
    found = {name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)}
    found |= {"hostPath" for each in spec.get("volumes", []) if "hostPath" in each}
    found |= {"hostPort" for each in containers for port in each.get("ports", []) if port.get("hostPort")}
    found |= {"privileged" for each in contexts if each.get("privileged")}
    return found | {"capabilities" for each in contexts if each.get("capabilities", {}).get("add")}


def pods_of(objects: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return namespace and specification of each pod, those that a Deployment or a DaemonSet makes among them."""
    return [
        (each["metadata"].get("namespace", "default"), each["spec"].get("template", each)["spec"])
        for each in objects
        if each["kind"] in {"Pod", "Deployment", "DaemonSet"}
    ]


@pytest.mark.parametrize("role", ["pod_network", "storage_tutorial"])
def test_pods_are_let_in(playbook: Playbook, tmp_path: Path, role: str) -> None:
    """Only a namespace that says so in a label has pods that no other one takes; what says so has such pods, or makes them as the provisioner does."""
    objects = objects_of(render(playbook, tmp_path, role))
    labels = {each["metadata"]["name"]: each["metadata"].get("labels", {}) for each in objects if each["kind"] == "Namespace"}
    levels = {name: found.get(LEVEL, "baseline") for name, found in labels.items()}
    needing = {namespace for namespace, spec in pods_of(objects) if beyond_baseline(spec)}
    assert needing | ({"local-path-storage"} & set(levels)) == {name for name, level in levels.items() if level == "privileged"}


def test_pods_of_the_checks_are_let_in() -> None:
    account = Account("mysql:9", SecretKey("mysql-root", "password"), Password("secret"))
    assert beyond_baseline(witness_pod(account, "n1")["spec"]) == set()
    for exercise in EXERCISES:
        beyond = set().union(*(beyond_baseline(spec) for _, spec in pods_of(stages.objects(exercise))))
        assert beyond == ({"hostPath"} if exercise.on_nodes else set())


def test_manifests_that_are_applied_include_no_template() -> None:
    """The module k8s looks for what they include beside the playbook; a lookup finds it in the role."""
    found = re.findall(
        r"^ +(?:template:|-) ((?:\S+/)?\S+\.yml\.j2)$", "".join(path.read_text() for path in (ROOT / "roles").glob("*/tasks/*.yml")), re.M
    )
    assert "mysql/mysql-pv.yml.j2" in found
    for template in found:
        (path,) = (ROOT / "roles").glob(f"*/templates/{template}")
        assert not re.search(r"{%-? *(include|import|from|extends) ", path.read_text()), path


@pytest.mark.parametrize("role", ["pod_network", "network_policy", "metrics_server", "storage_tutorial"])
def test_valid(playbook: Playbook, tmp_path: Path, role: str) -> None:
    """Each object has only fields that the API knows, with values of their types."""
    for each in objects_of(render(playbook, tmp_path, role)):
        kubernetes_validate.validate(each, kubernetes_version(), strict=True)


@pytest.mark.parametrize(("told", "mtu"), [({}, None), ({"pod_network_mtu": 1350, "pod_network_backend": "host-gw"}, 1350)])
def test_flannel_s_settings(playbook: Playbook, tmp_path: Path, told: dict[str, Any], mtu: int | None) -> None:
    """The size of packets is flannel's own choice where nobody gives one; a changed setting makes its pods anew, as it reads them when it starts."""
    text = "{{ lookup('ansible.builtin.template', 'flannel.yml.j2') }}"
    task = {"name": "Render", "ansible.builtin.copy": {"dest": str(tmp_path / "flannel.yml"), "content": text, "mode": "0600"}}
    annotations = set()
    for variables in ({}, told):
        result = role_tasks.run(playbook, tmp_path, "pod_network", [task], variables)
        assert result.returncode == 0, result.stdout + result.stderr
        found = {each["kind"]: each for each in yaml.safe_load_all((tmp_path / "flannel.yml").read_text())}
        annotations.add(found["DaemonSet"]["spec"]["template"]["metadata"]["annotations"]["outlive/config"])
    plugin = json.loads(found["ConfigMap"]["data"]["cni-conf.json"])["plugins"][0]
    assert plugin["delegate"].get("mtu") == mtu
    assert json.loads(found["ConfigMap"]["data"]["net-conf.json"])["Backend"] == {"Type": told.get("pod_network_backend", "vxlan")}
    assert len(annotations) == (2 if told else 1)


def test_policy_of_mysql_is_valid_and_for_both_servers(playbook: Playbook, tmp_path: Path) -> None:
    """It names the pods of both of the tutorial's servers, and lets in its clients and the witness; what the drills' witness is called is said once."""
    (policy,) = yaml.safe_load((COMMON / "group_vars/all/network_policy.yml").read_text())["network_policy_policies"]
    kubernetes_validate.validate(policy, kubernetes_version(), strict=True)
    objects = objects_of(render(playbook, tmp_path, "storage_tutorial"))
    servers = {
        each["spec"]["selector"]["matchLabels"]["app"]
        for each in objects
        if each["kind"] == "Deployment" and "mysql" in each["metadata"]["name"]
    }
    assert {*policy["spec"]["podSelector"]["matchExpressions"][0]["values"]} == servers
    (rule,) = policy["spec"]["ingress"]
    allowed = [each["podSelector"] for each in rule["from"]]
    witness = witness_pod(Account("mysql:9", SecretKey("mysql-root", "password"), Password("secret")), "n1")
    assert {"matchLabels": witness["metadata"]["labels"]} in allowed
    assert {"matchLabels": {"mysql-client": "true"}} in allowed
    runs = next(each["matchExpressions"][0]["values"] for each in allowed if "matchExpressions" in each)
    text = "".join(page.read_text(encoding="utf-8") for page in pages.FOLDER.glob("*.md"))
    assert set(runs) == set(re.findall(r"kubectl run (mysql\S*-client)", text)) >= {CLIENT_POD}


def test_flannel_needs_no_kube_proxy(playbook: Playbook, tmp_path: Path) -> None:
    """It asks the API server itself: through the cluster's Service, a flannel that starts before its node's kube-proxy fails and waits to be started anew."""
    (daemon,) = [each for each in objects_of(render(playbook, tmp_path, "pod_network")) if each["kind"] == "DaemonSet"]
    found = {each["name"]: each.get("value") for each in daemon["spec"]["template"]["spec"]["containers"][0]["env"]}
    hosts = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text())["all"]["children"]["control_plane"]["hosts"]
    assert [found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]] == [
        *(host["ansible_host"] for host in hosts.values()),
        "6443",
    ]


def test_mysql_keeps_the_tutorials_names(playbook: Playbook, tmp_path: Path) -> None:
    """Whoever follows the text finds the objects under the names that it uses; only the password is elsewhere."""
    objects = {(each["kind"], each["metadata"]["name"]): each for each in objects_of(render(playbook, tmp_path, "storage_tutorial"))}
    volume = objects["PersistentVolume", "mysql-pv"]["spec"]
    assert volume["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["nfs"]["path"] == "/nfsdata/mysql-pv"
    assert objects["PersistentVolumeClaim", "mysql-pvc"]["spec"]["storageClassName"] == volume["storageClassName"] == "nfs"
    assert objects["Service", "mysql"]["spec"]["ports"] == [{"port": 3306}]
    deployment = objects["Deployment", "mysql"]
    assert deployment["apiVersion"] == "apps/v1"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "mysql:5.6"
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "mysql-root", "key": "password"}
    # A server that waits for the lock of a dead node must be let wait.
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 180
    assert "livenessProbe" not in container


def test_second_pod_of_mysql_stands_by(playbook: Playbook, tmp_path: Path) -> None:
    """On a node of its own, for as long as it takes; the server beside the tutorial's has none."""
    manifests = render(playbook, tmp_path, "storage_tutorial", storage_tutorial_mysql_standby="true")
    (deployment,) = [each for each in yaml.safe_load_all(manifests["mysql/mysql.yml"]) if each["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term == {"topologyKey": "kubernetes.io/hostname", "labelSelector": deployment["spec"]["selector"]}
    (container,) = pod["containers"]
    assert {"name": "MYSQL_STANDBY", "value": "true"} in container["env"]
    # One that waits isn't Ready, and nothing ends it for that.
    assert container["readinessProbe"]["tcpSocket"] == {"port": "mysql"}
    assert not {"startupProbe", "livenessProbe"} & container.keys()
    for manifest in (manifests["mysql-9/mysql.yml"], render(playbook, tmp_path, "storage_tutorial")["mysql/mysql.yml"]):
        (deployment,) = [each for each in yaml.safe_load_all(manifest) if each["kind"] == "Deployment"]
        assert deployment["spec"]["replicas"] == 1
        assert "startupProbe" in deployment["spec"]["template"]["spec"]["containers"][0]
        assert "MYSQL_STANDBY" not in manifest


def test_old_manifests_are_what_the_text_says(playbook: Playbook, tmp_path: Path) -> None:
    """Of the old manifests only MySQL's Deployment is in no schema any more."""
    manifests = render(playbook, tmp_path, "storage_tutorial")
    old = [each for name, text in manifests.items() if name.startswith("then/") for each in yaml.safe_load_all(text)]
    today = {(each["kind"], each["metadata"]["name"]) for each in objects_of(manifests)}
    for each in old:
        assert (each["kind"], each["metadata"]["name"]) in today
        if each["apiVersion"] != "apps/v1beta1":
            kubernetes_validate.validate(each, kubernetes_version(), strict=True)


def test_names_and_folders(playbook: Playbook, tmp_path: Path) -> None:
    """No two manifests describe the same object, and each volume's folder is made on the NFS server, but for one that has to be missing."""
    made = objects_of(render(playbook, tmp_path, "storage_tutorial"))
    names = [(each["kind"], each["metadata"]["name"]) for each in made]
    assert len(names) == len(set(names))
    variables = yaml.safe_load((ROOT / "inventories" / "common" / "group_vars" / "all" / "nfs_server.yml").read_text())
    folders = {f"{variables['nfs_server_export']}/{folder}" for folder in variables["nfs_server_folders"]}
    paths = {each["spec"]["nfs"]["path"] for each in made if each["kind"] == "PersistentVolume" and "nfs" in each["spec"]}
    config = next(each for each in made if each["metadata"]["name"] == "local-path-config")
    paths.add(json.loads(config["data"]["config.json"])["sharedFileSystemPath"])
    assert paths - folders == {f"{variables['nfs_server_export']}/nobody-made-this"}
    assert folders <= paths


COMPARED = {"mismatchpv", "exercise-1-data"}
"""Volumes that name no claim, since who names both sides is believed: these are there to be compared with their claim, and to be refused."""
FREE = {"exercise-6-diary", "exercise-7-orders"}
"""Volumes whose claim the learner makes, by a name of his own."""
WITHOUT_CLAIM = {"csi-ebs", "csi-cephfs", "csi-glusterfs"}
"""Volumes that are there to be read."""
TEMPLATED = {"counterpv0", "counterpv1", "scratchpv"}
"""Volumes of claims that are made from a template of a StatefulSet or a pod, which can't name a volume each: they are kept for these by their names."""
PROVISIONED = {"sharedpvc", "keptpvc", "waitpvc", "defaultpvc"}
"""Claims for which a provisioner makes a volume, which names them."""
NEVER_BOUND = {"mypvc2", "noclasspvc"}
"""Claims that are there to wait."""


def unbound(objects: list[dict[str, Any]], namespace: str) -> tuple[set[str], set[str]]:
    """Return the volumes that name no claim among the objects that names them, and the claims that name no volume among them."""
    claims = {
        (each["metadata"].get("namespace", namespace), each["metadata"]["name"]): each["spec"].get("volumeName")
        for each in objects
        if each["kind"] == "PersistentVolumeClaim"
    }
    volumes = {each["metadata"]["name"]: each["spec"].get("claimRef", {}) for each in objects if each["kind"] == "PersistentVolume"}
    alone = {name for name, of in volumes.items() if claims.get((of.get("namespace"), of.get("name"))) != name}
    return alone, {name for (_, name), volume in claims.items() if volume not in volumes}


def test_volumes_and_claims_name_each_other(playbook: Playbook, tmp_path: Path) -> None:
    """A claim that names no volume takes any that fits, and the data is elsewhere while all is green."""
    objects = objects_of(render(playbook, tmp_path, "storage_tutorial"))
    again = [each for each in objects if each["metadata"]["name"] == "againpvc"]
    assert [each["spec"]["volumeName"] for each in again] == ["retainpv"], "the page hands the volume on to it"
    assert unbound(objects, "default") == ({"mismatchpv", *WITHOUT_CLAIM, *TEMPLATED}, PROVISIONED | NEVER_BOUND)
    kept = {each["spec"]["claimRef"]["name"] for each in objects if each["metadata"]["name"] in TEMPLATED}
    assert kept == {"data-counter-0", "data-counter-1", "sorter-scratch"}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.slug)
def test_volumes_and_claims_of_exercises_name_each_other(exercise: Exercise) -> None:
    """In the stage, and with the claims of the solution."""
    commands = [command.text for block in solution(exercise) for command in block.commands]
    volumes, claims = unbound([*stages.objects(exercise), *stages.documents(commands)], exercise.namespace)
    # The stage of the third begins with the old claim's name in its volume.
    assert volumes <= COMPARED | FREE | ({"exercise-3-letters"} if exercise.number == 3 else set())
    assert claims == set()


def test_pages_show_the_manifests_as_they_are(playbook: Playbook, tmp_path: Path) -> None:
    """Wherever a page prints a manifest, or what differs between two, it's what the role writes; each manifest is in a page."""
    manifests = render(playbook, tmp_path, "storage_tutorial")
    named: set[str] = set()
    for page in pages.load(ROOT / "docs/tutorial/en", ROOT):
        for command in (each for block in page.blocks for each in block.commands):
            files = [path.removeprefix(".lab/tutorial/") for path in re.findall(r"\.lab/tutorial/\S+\.yml", command.text)]
            named.update(files)
            if files and not command.place and command.text.split()[0] in {"cat", "diff"}:
                text = command.text.replace(".lab/tutorial/", "")
                done = subprocess.run(text.split(), cwd=tmp_path / "manifests", capture_output=True, text=True, check=False)
                different = pages.compare(command.shown, done.stdout.splitlines())
                assert all(line.startswith("  ") for line in different), f"{page.path}:{command.line}\n" + "\n".join(different)
    # These are applied by the role alone, and two of them hold passwords.
    assert named == set(manifests) - {*SECRETS, "mysql/mysql-config.yml"}


def test_folder_for_learners(playbook: Playbook, tmp_path: Path) -> None:
    """The role writes each chapter's manifests, once, without the password; and knows what it would have to take away."""
    manifests = render(playbook, tmp_path, "storage_tutorial")
    tasks = tmp_path / "roles" / "storage_tutorial" / "tasks"
    known = [
        "__storage_tutorial_leaving | length == count",
        "leaving[0] == 'pvc-made'",
        "['mypv1', 'mysql-root', 'mysql-client', 'data-counter-1'] | difference(leaving) | length == 0",
        "leaving | intersect(['pvc-other', 'my-own-pv']) | length == 0",
    ]
    volumes: list[dict[str, Any]] = [
        {"kind": "PersistentVolume", "metadata": {"name": "pvc-made"}, "spec": {"storageClassName": "nfs-dynamic"}},
        {"kind": "PersistentVolume", "metadata": {"name": "pvc-other"}, "spec": {"storageClassName": "others"}},
        {"kind": "PersistentVolume", "metadata": {"name": "my-own-pv"}, "spec": {}},
    ]
    variables = {
        # The old manifests' objects are today's; of each password there is an object, of the clients' pods, and of the claims of a StatefulSet, and one volume was made.
        "count": len(objects_of(manifests)) - len(SECRETS) + len(SECRETS) + 2 + 2 + 1,
        "leaving": "{{ __storage_tutorial_leaving | map(attribute='metadata.name') }}",
        "__storage_tutorial_volumes": {"resources": volumes},
    }
    _, _, *look = yaml.safe_load((tasks / "reset.yml").read_text())
    (tasks / "main.yml").write_text(
        yaml.safe_dump(
            [
                {"name": "Write", "ansible.builtin.import_tasks": "manifests.yml"},
                {"name": "Know", "vars": variables, "block": [*look[:2], {"name": "Check", "ansible.builtin.assert": {"that": known}}]},
            ]
        )
    )
    options = {
        "storage_tutorial_folder": str(tmp_path / "learners"),
        "storage_tutorial_mysql_password_file": f"{tmp_path}/secrets/password",
    }
    # The folders and the files.
    for changed in (2, 0):
        result = playbook(tmp_path / "playbook.yml", "-e", json.dumps(options))
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"changed={changed}" in result.stdout
    written = {str(path.relative_to(tmp_path / "learners")): path.read_text() for path in (tmp_path / "learners").rglob("*.yml")}
    assert written == {name: text for name, text in manifests.items() if name not in SECRETS}
    assert (tmp_path / "secrets" / "password").read_text().strip() not in "".join(written.values())


def test_chapters_that_are_asked_for(playbook: Playbook, tmp_path: Path) -> None:
    """None unless one is named; all are all but external storage, of which nothing can run here, and what needs a disk; a wrong name is one sentence."""
    render(playbook, tmp_path, "storage_tutorial")
    role = tmp_path / "roles" / "storage_tutorial"
    read, *_ = yaml.safe_load((role / "tasks" / "volumes.yml").read_text())
    know = {
        "name": "Know",
        "ansible.builtin.assert": {"that": "__storage_tutorial_standing | map(attribute='metadata.name') | list == wanted"},
    }
    (role / "tasks" / "main.yml").write_text(yaml.safe_dump([read, know]))
    standing = yaml.safe_load((role / "vars" / "main.yml").read_text())["__storage_tutorial_standing_by_chapter"]
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert {"all", *standing} == set(specs["storage_tutorial_chapters"]["choices"])
    folders = {path.name for path in (role / "templates").iterdir() if path.is_dir()}
    assert folders - set(standing) == {"external-storage", "iscsi", "local", "mysql", "mysql-9", "projected", "statefulset", "then"}
    names = [
        each["metadata"]["name"]
        for manifests in standing.values()
        for manifest in manifests
        for each in yaml.safe_load_all((tmp_path / "manifests" / manifest.removesuffix(".j2")).read_text())
    ]
    assert [each for chapter, manifests in standing.items() for each in manifests if not each.startswith(f"{chapter}/")] == []
    nfs = ["mypv1", "mypvc1", "mypod1"]
    for asked, wanted in (([], []), (["nfs"], nfs), (["all"], names)):
        result = playbook(tmp_path / "playbook.yml", "-e", json.dumps({"storage_tutorial_chapters": asked, "wanted": wanted}))
        assert result.returncode == 0, result.stdout + result.stderr
    result = playbook(tmp_path / "playbook.yml", "-e", json.dumps({"storage_tutorial_chapters": ["nsf"], "wanted": []}))
    assert result.returncode != 0
    assert "value of storage_tutorial_chapters must be one or more of: all, emptydir, hostpath" in result.stdout


def pod(namespace: str, name: str, ready: str) -> dict[str, Any]:
    """Return a pod as the API shows it."""
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"namespace": namespace, "name": name}, "status": {"phase": "Running", "conditions": conditions}}


CLAIM = {"metadata": {"namespace": "default", "name": "mypvc1"}, "status": {"phase": "Pending"}}


@pytest.mark.parametrize(
    ("kind", "name", "found", "ready"),
    [
        ("Pod", "mypod1", [pod("default", "mypod1", "True")], True),
        ("Pod", "mypod1", [pod("default", "mypod1", "False")], False),
        ("Pod", "mypod1", [pod("elsewhere", "mypod1", "True"), pod("default", "mypod2", "True")], False),
        ("Pod", "mypod1", [{"metadata": CLAIM["metadata"] | {"name": "mypod1"}}], False),
        ("PersistentVolumeClaim", "mypvc1", [CLAIM], False),
        ("PersistentVolumeClaim", "mypvc1", [CLAIM | {"status": {"phase": "Bound"}}], True),
        (
            "Deployment",
            "mypod1",
            [pod("default", "mypod1", "False") | {"status": {"conditions": [{"type": "Available", "status": "True"}]}}],
            True,
        ),
        ("Pod", "mypod1", [], False),
    ],
)
def test_what_is_ready(kind: str, name: str, found: list[dict[str, Any]], ready: bool) -> None:
    """A claim has to be bound and a pod ready, each in its own namespace."""
    wanted = [{"kind": kind, "metadata": {"name": name}}]
    assert not_ready(wanted, found, "default") == ([] if ready else [f"{kind} default/{name}"])


def test_chapters_that_are_waited_for(playbook: Playbook, tmp_path: Path) -> None:
    """Those that aren't what they are for are named, and so are all where nothing answers."""
    render(playbook, tmp_path, "storage_tutorial")
    tasks = tmp_path / "roles" / "storage_tutorial" / "tasks"
    read, *_ = yaml.safe_load((tasks / "volumes.yml").read_text())
    _, check = yaml.safe_load((tasks / "wait_chapters.yml").read_text())
    (tasks / "main.yml").write_text(yaml.safe_dump([read, check]))
    ready = [pod("hostpath", "hostpath-node1", "True"), pod("hostpath", "hostpath-node2", "False"), pod("elsewhere", "mypod1", "True")]
    kinds = [
        {"item": "PersistentVolumeClaim", "failed": True, "msg": "no answer"},
        {"item": "Pod", "failed": True, "resources": ready},
        {"item": "Deployment", "failed": False, "resources": []},
    ]
    given = {"storage_tutorial_chapters": ["hostpath", "nfs"], "__storage_tutorial_arrived": {"results": kinds}}
    result = playbook(tmp_path / "playbook.yml", "-e", json.dumps(given))
    assert result.returncode != 0
    text = " ".join(result.stdout.split())
    # Ansible shows a message twice.
    assert sorted(set(re.findall(r"((?:Pod|PersistentVolumeClaim) [a-z][^:]*) after storage_tutorial_timeout", text))) == [
        "PersistentVolumeClaim default/mypvc1 not bound",
        "Pod hostpath/hostpath-node2, Pod default/mypod1 not ready",
    ]


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("mypv1", True),
        ("mysql-root", True),
        # Made by the Deployments mysql and mysql-9.
        ("mysql-84bdf65dd5-bjz8b", True),
        ("mysql-9-84bdf65dd5-bjz8b", True),
        # A Deployment with a namespace of its own goes with it.
        ("provisioner-84bdf65dd5-bjz8b", False),
        ("counter-1", True),
        ("counter-own", False),
        ("my-own-pv", False),
        ("mypv1-copy", False),
        ("mypvx", False),
    ],
)
def test_what_still_has_to_leave(name: str, leaves: bool) -> None:
    leaving = [
        {"kind": "PersistentVolume", "metadata": {"name": "mypv1"}},
        {"kind": "PersistentVolume", "metadata": {"name": "mypv."}},
        {"kind": "Secret", "metadata": {"name": "mysql-root"}},
        {"kind": "Deployment", "metadata": {"name": "mysql"}},
        {"kind": "Deployment", "metadata": {"name": "mysql-9"}},
        {"kind": "StatefulSet", "metadata": {"name": "counter"}},
        {"kind": "Deployment", "metadata": {"name": "provisioner", "namespace": "provisioning"}},
    ]
    assert remaining([{"metadata": {"name": name}}], leaving) == ([name] if leaves else [])


def test_nothing_is_reset_without_a_cluster(playbook: Playbook, tmp_path: Path) -> None:
    """The manifests for learners stay where the objects can't be deleted."""
    (tmp_path / "learners").mkdir()
    task = {"name": "Reset", "ansible.builtin.import_role": {"name": "storage_tutorial", "tasks_from": "reset"}}
    variables = {"storage_tutorial_kubeconfig": "/nowhere/kubeconfig", "storage_tutorial_folder": str(tmp_path / "learners")}
    play = {"name": "Reset the tutorial", "hosts": "localhost", "connection": "local", "vars": variables, "tasks": [task]}
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play]))
    result = playbook(tmp_path / "playbook.yml")
    assert result.returncode != 0
    assert "No cluster answers by storage_tutorial_kubeconfig /nowhere/kubeconfig" in sentence(result.stdout + result.stderr)
    assert (tmp_path / "learners").is_dir()


def test_password_is_made_once_and_private(playbook: Playbook, tmp_path: Path) -> None:
    """The password is generated into a file that only its owner reads, and stays what it is."""
    render(playbook, tmp_path, "storage_tutorial")
    secret = tmp_path / "secrets" / "password"
    first = secret.read_text()
    assert secret.stat().st_mode & 0o777 == 0o600
    render(playbook, tmp_path, "storage_tutorial")
    assert secret.read_text() == first
    assert len(first.strip()) == 24


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.slug)
def test_exercises(exercise: Exercise) -> None:
    """A stage's objects, and those of its solution, are valid, are its own, and need no image from elsewhere."""
    commands = [command.text for block in solution(exercise) for command in block.commands]
    for each in [*stages.objects(exercise), *stages.documents(commands)]:
        kubernetes_validate.validate(each, kubernetes_version(), strict=True)
        if each["kind"] == "PersistentVolume":
            assert each["metadata"]["name"].startswith(f"{exercise.namespace}-")
            assert each["spec"]["nfs"]["path"].startswith(f"{stages.EXPORT}/{exercise.namespace}/")
            assert each["spec"]["storageClassName"] == exercise.namespace
        else:
            assert each["metadata"]["namespace"] == exercise.namespace
        pod = each["spec"].get("template", each)["spec"]
        for container in pod.get("containers", []):
            assert container["image"] in {"busybox:9", "busybox:1.37"}
        for volume in pod.get("volumes", []):
            assert volume.get("hostPath", {}).get("path", exercise.node_folder) == exercise.node_folder
