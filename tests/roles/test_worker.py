"""The role worker: who is a member of the cluster, what a join does to a machine that was made anew, how a node comes back whose certificate expired.

And how a node leaves: not while its pods are there, and not as a lost one while it answers; a lost one is turned away first.
"""

from __future__ import annotations

import base64
import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from outlive.fence.actions import EXPIRE, KILL, NFT_OBJECTS, NFT_RULES
from outlive.lab import nft

from . import role_tasks
from .conftest import ROOT, Playbook
from .test_preflight import Edit, sentence

FILTERS = role_tasks.plugin("worker", "filter_plugins/worker.py")


def kubeconfig(authority: str) -> str:
    """Return a kubeconfig of a cluster with this certificate authority."""
    return yaml.safe_dump(
        {"clusters": [{"name": "c", "cluster": {"certificate-authority-data": authority, "server": "https://192.0.2.10:6443"}}]}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [(kubeconfig("QQ=="), "QQ=="), ("", ""), ("{", ""), ("clusters: []", ""), ("clusters: [{cluster: {certificate-authority: /a}}]", "")],
)
def test_authority(text: str, expected: str) -> None:
    assert FILTERS.authority(text) == expected


def node(ready: str) -> dict[str, Any]:
    """Return a node as the API shows it."""
    return {
        "metadata": {"name": "k8s-node1"},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]},
    }


def test_ready() -> None:
    assert [FILTERS.ready([node(ready)]) for ready in ("True", "False", "Unknown")] == [["k8s-node1"], [], []]
    assert FILTERS.ready([{"metadata": {"name": "new"}}]) == []


def certificate(name: str) -> str:
    """Return a certificate of a kubelet, by which it is known as a node, and its key after it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, begin, begin + datetime.timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("pem", "expected"),
    [(certificate("system:node:k8s-node2"), "k8s-node2"), (certificate("kube-apiserver"), ""), ("", ""), ("nonsense", "")],
)
def test_name_in_a_certificate(pem: str, expected: str) -> None:
    assert FILTERS.certificate_name(pem) == expected


def at(address: str) -> dict[str, Any]:
    """Return the status of a node with this address, and what its kubelet told of its machine."""
    return {
        "addresses": [{"type": "Hostname", "address": "localhost"}, {"type": "InternalIP", "address": address}],
        "nodeInfo": {"machineID": "aa", "systemUUID": "BB-1", "bootID": "cc-1"},
    }


def test_address_of_a_node() -> None:
    assert FILTERS.internal_address([{"status": at("192.0.2.12")}]) == "192.0.2.12"
    assert FILTERS.internal_address([]) == FILTERS.internal_address([node("True")]) == ""


@pytest.mark.parametrize(
    ("ids", "address", "same"),
    [
        (["dd", "cc-1"], "192.0.2.12", True),  # whatever of it was made anew, it is the same start
        (["dd", "cc-1"], "192.0.2.99", True),
        (["aa", "cc-2", "bb-1\n"], "192.0.2.12", True),  # started again since
        (["aa", "cc-2", "bb-1\0"], "192.0.2.12", True),  # as an emulated machine of arm64 has it
        (["aa", "cc-2", "bb-1"], "192.0.2.99", False),  # of one disk, and of a board that says what all of its kind do
        (["aa", "cc-2", "bb-2"], "192.0.2.12", False),  # of one box
        (["", ""], "192.0.2.12", False),
        ([], "192.0.2.12", False),
    ],
)
def test_machine_is_known_by_what_its_kubelet_told(ids: list[str], address: str, same: bool) -> None:
    assert FILTERS.is_machine([{"status": at("192.0.2.12")}], ids, address) is same
    assert FILTERS.is_machine([], ids, address) is False
    assert FILTERS.is_machine([node("True")], ids, address) is False


@pytest.mark.parametrize(
    ("configuration", "own", "expected"),
    [
        ("", {}, "http://127.0.0.1:10248/healthz"),
        ("healthzPort: 10300\nhealthzBindAddress: 0.0.0.0", {}, "http://0.0.0.0:10300/healthz"),
        ("healthzPort: 10300", {"healthzPort": 10301, "healthzBindAddress": "::1"}, "http://[::1]:10301/healthz"),
        ("healthzPort: 0", {}, ""),
    ],
)
def test_where_a_kubelet_says_that_it_is_well(configuration: str, own: dict[str, Any], expected: str) -> None:
    """As all kubelets are told to, or this one alone."""
    assert FILTERS.health(configuration, own) == expected


def told(folder: Path, there: bool, belongs: str | None, known_as: str = "localhost", configured: bool = True) -> dict[str, Any]:
    """Return the variables of a node: whether the cluster has one of its name, and what the machine has of its own.

    That is the authority of its kubelet.conf, the name in its certificate, and its kubelet's configuration.
    """
    (folder / "kubeconfig").write_text(kubeconfig("QQ=="))
    return {
        "worker_kubeconfig": str(folder / "kubeconfig"),
        "worker_api_endpoint": "192.0.2.10:6443",
        "worker_node_name": "localhost",
        "worker_address": "192.0.2.12",
        "__worker_membership": {"resources": [node("True")] if there else []},
        "__worker_belongs": {} if belongs is None else {"content": base64.b64encode(kubeconfig(belongs).encode()).decode()},
        "__worker_certificate_text": {"stdout": certificate(f"system:node:{known_as}") if known_as else ""},
        "__worker_configured": {"stat": {"exists": configured}},
    }


def test_who_is_a_member(playbook: Playbook, tmp_path: Path) -> None:
    """Whoever the cluster knows, and who knows the cluster: a machine that was made anew has only its name there, and half a machine doesn't start."""
    cases: dict[str, tuple[Any, ...]] = {
        "member": (True, "QQ=="),
        "anew": (True, None, ""),
        "unknown": (False, None, ""),
        "forgotten": (False, "QQ=="),
        "of another": (True, "Qg=="),
        "without certificate": (True, "QQ==", ""),
        "without configuration": (True, "QQ==", "localhost", False),
        "of another name": (True, "QQ==", "foo"),
    }
    tasks = [
        {"name": "Say", "ansible.builtin.debug": {"msg": f"{name} is {{{{ __worker_is_member }}}}."}, "vars": told(tmp_path, *case)}
        for name, case in cases.items()
    ]
    result = role_tasks.run(playbook, tmp_path, "worker", tasks, {})
    assert [name for name in cases if f"{name} is True." in result.stdout] == ["member"], result.stdout + result.stderr
    assert len([name for name in cases if f"{name} is False." in result.stdout]) == len(cases) - 1


JOIN = (
    "Check that the node belongs to no other cluster",
    "Check that the machine is no other node",
    "Check that the node was at this machine's address",
    "Check that the cluster said so",
    "Check that no other machine is the node",
)
ELSEWHERE = {"resources": [node("Unknown") | {"status": at("192.0.2.99")}]}


@pytest.mark.parametrize(
    ("there", "belongs", "seen", "expected"),
    [
        (True, None, {"__worker_stale": {"resources": [node("Unknown")]}}, ""),
        # Whoever deleted its Node wants it to join again.
        (False, "QQ==", {}, ""),
        (
            True,
            "Qg==",
            {},
            "localhost belongs to a cluster, as its /etc/kubernetes/kubelet.conf says, and isn't a node of the one at 192.0.2.10:6443",
        ),
        (
            True,
            None,
            {"__worker_stale": {"failed": True, "resources": [node("True")]}},
            "has a node localhost that is Ready after worker_stale_seconds (180 s), and localhost isn't it: another machine has joined",
        ),
        (
            True,
            None,
            {"__worker_stale": {"failed": True, "msg": "Connection refused"}},
            "didn't say within 180 s whether its node localhost is gone (Connection refused): look at",
        ),
        # A spare machine that takes the name of one that may run on.
        (
            True,
            None,
            {"__worker_membership": ELSEWHERE},
            "has a node localhost at 192.0.2.99, and localhost, at 192.0.2.12, may be another machine: set the address back, where it was this one's; give it",
        ),
        # One of the same disk and kind as it, and the same machine, of which something was removed.
        (True, None, {"__worker_membership": ELSEWHERE, "__worker_ids": {"stdout_lines": ["aa", "bb-1"]}}, "may be another machine"),
        (True, None, {"__worker_membership": ELSEWHERE, "__worker_ids": {"stdout_lines": ["cc-1"]}}, ""),
        # A machine that was renamed in the inventory.
        (
            False,
            "QQ==",
            {"__worker_certificate_text": {"stdout": certificate("system:node:foo")}, "__worker_renamed": {"resources": [node("True")]}},
            "worker_node_name of localhost is localhost, and its machine is the cluster's node foo: set the name back; or run",
        ),
    ],
)
def test_join_is_refused(playbook: Playbook, tmp_path: Path, there: bool, belongs: str | None, seen: dict[str, Any], expected: str) -> None:
    """A machine of another cluster, one whose name another machine has, and a node by another name keep what they are."""
    tasks = [role_tasks.task_of(role_tasks.read("worker", "join"), name) for name in JOIN]
    skipped = {"__worker_stale": {"skipped": True}, "__worker_renamed": {"skipped": True}}
    result = role_tasks.run(playbook, tmp_path, "worker", tasks, {**told(tmp_path, there, belongs, ""), **skipped, **seen})
    assert (result.returncode != 0) == bool(expected), result.stdout + result.stderr
    assert expected in " ".join((result.stdout + result.stderr).split())


def test_refusals_come_before_the_reset() -> None:
    """And what the pod network left goes with it: its bridge has the addresses of before."""
    tasks = role_tasks.read("worker", "join")
    names = [task["name"].partition(" | ")[2] for task in tasks]
    assert max(map(names.index, JOIN)) < names.index("Clear the machine away") < names.index("Delete the node that the machine was")
    reset, remove = tasks[names.index("Clear the machine away")]["block"]
    assert reset["ansible.builtin.command"]["cmd"] == "kubeadm reset --force"
    assert remove["ansible.builtin.include_role"] == {"name": "pod_network", "tasks_from": "remove_from_node"}


@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        ("k8s-node2", {}, ""),
        (
            "K8s-Node2",
            {},
            "worker_node_name of localhost is K8s-Node2, and hostname-override of worker_kubelet_extra_args is not set: name",
        ),
        ("k8s-node2", {"hostname-override": "foo"}, "and hostname-override of worker_kubelet_extra_args is foo: name the node by"),
    ],
)
def test_name_that_a_node_can_not_have(playbook: Playbook, tmp_path: Path, name: str, flags: dict[str, str], expected: str) -> None:
    """Its Node would have another one, and each run would join it anew."""
    check = role_tasks.task_of(role_tasks.read("worker", "preflight"), "Check the node's name")
    given = {"worker_node_name": name, "worker_kubelet_extra_args": flags}
    result = role_tasks.run(playbook, tmp_path, "worker", [check], given)
    assert (result.returncode != 0) == bool(expected), result.stdout + result.stderr
    assert expected in " ".join((result.stdout + result.stderr).split())


@pytest.mark.parametrize(("address", "refused"), [("192.0.2.12", False), ("192.0.2.99", True)])
def test_node_keeps_its_address(playbook: Playbook, tmp_path: Path, address: str, refused: bool) -> None:
    check = role_tasks.task_of(role_tasks.read("worker", "check_address"), "Check that the node keeps its address")
    seen = {"__worker_membership": {"resources": [node("True") | {"status": at(address)}]}}
    result = role_tasks.run(playbook, tmp_path, "worker", [check], {**told(tmp_path, True, "QQ=="), **seen})
    assert (result.returncode != 0) == refused, result.stdout + result.stderr
    if refused:
        assert (
            "worker_address of localhost is 192.0.2.12, and its node localhost joined the cluster with 192.0.2.99: set it back"
            in " ".join((result.stdout + result.stderr).split())
        )


@pytest.mark.parametrize(
    ("off", "expected"),
    [
        (-1200, r"said is: nothing -- its clock is 1200 s behind this machine's: set the wrong one"),
        (1230, r"its clock is 1230 s ahead of this machine's"),
        (
            5,
            "x509: not yet valid The last that its kubelet said is: nothing -- look at `journalctl -u kubelet` there, then run this again.",
        ),
    ],
)
def test_clock_is_named_where_a_join_fails(playbook: Playbook, tmp_path: Path, off: int, expected: str) -> None:
    check = role_tasks.task_of(role_tasks.read("worker", "join"), "Check that the node joined")
    # As `date` would say it; the moment of the check is this one, give or take some seconds.
    read = {"name": "Make the clock", "ansible.builtin.set_fact": {"__worker_clock": {"stdout": f"{{{{ now(fmt='%s') | int + {off} }}}}"}}}
    variables = {**told(tmp_path, False, None), "__worker_join": {"rc": 1, "stderr_lines": ["x509: not yet valid"]}}
    result = role_tasks.run(playbook, tmp_path, "worker", [read, check], variables)
    assert result.returncode != 0
    said = " ".join((result.stdout + result.stderr).split())
    number = str(abs(off))
    assert any(expected.replace(number, str(abs(off + late))) in said for late in range(0, -60, -1)), said


def test_last_words_of_a_kubelet() -> None:
    lines = ["I1129 starting", 'E1129 run.go:72] "command failed"   err="failed to decode"', "I1129 flushed", ""]
    assert FILTERS.last_words(lines) == 'E1129 run.go:72] "command failed" err="failed to decode"'
    assert FILTERS.last_words(lines[:1]) == "I1129 starting"
    assert FILTERS.last_words([]) == "nothing"


def test_kubelet_that_does_not_take_its_settings_is_named(playbook: Playbook, tmp_path: Path) -> None:
    check = role_tasks.task_of(role_tasks.read("worker", "restart_kubelet"), "Check that it is")
    seen = {
        "__worker_health": {"failed": True, "msg": "Connection refused"},
        "__worker_journal": {"stdout_lines": ['E1129 run.go:72] "command failed" err="time: invalid duration"']},
    }
    result = role_tasks.run(playbook, tmp_path, "worker", [check], {**told(tmp_path, True, "QQ=="), **seen})
    assert result.returncode != 0
    assert (
        "The kubelet of localhost doesn't run with worker_kubelet_configuration (Connection refused); the last that its log says is: "
        'E1129 run.go:72] "command failed" err="time: invalid duration" -- correct the setting, then run this again, which repairs it.'
    ) in " ".join((result.stdout + result.stderr).split()).replace("\\", "")


@pytest.mark.parametrize("health", [{"status": 200, "msg": "OK (2 bytes)"}, {"skipped": True, "changed": False}])
def test_kubelet_that_takes_its_settings_has_said_nothing(playbook: Playbook, tmp_path: Path, health: dict[str, Any]) -> None:
    """What its log says is read where it isn't well, and a kubelet without a health port isn't asked."""
    check = role_tasks.task_of(role_tasks.read("worker", "restart_kubelet"), "Check that it is")
    seen = {"__worker_health": health, "__worker_journal": {"skipped": True, "changed": False}}
    result = role_tasks.run(playbook, tmp_path, "worker", [check], {**told(tmp_path, True, "QQ=="), **seen})
    assert result.returncode == 0, result.stdout + result.stderr


def test_bootstrap_is_a_kubeconfig(playbook: Playbook, tmp_path: Path) -> None:
    """The one by which a kubelet asks for another certificate."""
    write = {"name": "Write", "ansible.builtin.template": {"src": "bootstrap-kubelet.conf.j2", "dest": f"{tmp_path}/made", "mode": "0600"}}
    variables = {**told(tmp_path, True, None), "__worker_token_id": "abcdef", "__worker_token_secret": "0123456789abcdef"}
    result = role_tasks.run(playbook, tmp_path, "worker", [write], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    made = yaml.safe_load((tmp_path / "made").read_text())
    assert made["clusters"][0]["cluster"] == {"server": "https://192.0.2.10:6443", "certificate-authority-data": "QQ=="}
    assert made["users"][0]["user"] == {"token": "abcdef.0123456789abcdef"}
    context = {each["name"]: each["context"] for each in made["contexts"]}[made["current-context"]]
    assert context == {"cluster": made["clusters"][0]["name"], "user": made["users"][0]["name"]}


@pytest.mark.parametrize(
    ("answer", "expected"), [("Certificate will not expire", ""), ("Could not open file", "has no certificate that could be renewed")]
)
def test_certificate_that_is_good_or_missing(playbook: Playbook, tmp_path: Path, answer: str, expected: str) -> None:
    """Nothing is done to the one, and the other is a machine that didn't join."""
    _, check, renew = role_tasks.read("worker", "renew_certificate")
    seen = {"rc": int(bool(expected)), "stderr": answer}
    result = role_tasks.run(playbook, tmp_path, "worker", [check, renew], {**told(tmp_path, True, "QQ=="), "__worker_expired": seen})
    assert (result.returncode != 0) == bool(expected), result.stdout + result.stderr
    assert expected in " ".join((result.stdout + result.stderr).split())
    assert "Generate a bootstrap token" not in result.stdout


def pod(name: str, phase: str = "Running", **metadata: object) -> dict[str, Any]:
    """Return a pod as the API shows it."""
    return {"metadata": {"namespace": "default", "name": name} | metadata, "status": {"phase": phase}}


def test_pods_that_have_to_go() -> None:
    """All but those of the node itself, and those that ended; also one that the kubelet doesn't end."""
    pods = [
        pod("mysql-1", deletionTimestamp="2026-01-01T00:00:00Z", ownerReferences=[{"kind": "ReplicaSet"}]),
        pod("own"),
        pod("waits", "Pending"),
        pod("flannel", ownerReferences=[{"kind": "DaemonSet"}]),
        pod("static", annotations={"kubernetes.io/config.mirror": "1"}),
        pod("done", "Succeeded"),
        pod("lost", "Failed"),
    ]
    assert FILTERS.still_there(pods) == ["default/mysql-1 (Terminating)", "default/own (Running)", "default/waits (Pending)"]


@pytest.mark.parametrize(
    ("drain", "pods", "expected"),
    [
        # What the module of kubernetes.core 6.2.0 gives after its time ran out.
        (
            {"changed": True, "result": "1 Pod(s) deleted from node.", "warnings": ["timeout reached while pods were still running."]},
            [pod("mysql-1", deletionTimestamp="2026-01-01T00:00:00Z")],
            "couldn't give its pods away within worker_drain_seconds (300 s): default/mysql-1 (Terminating);",
        ),
        ({"msg": "Failed to delete pod a/b due to: budget"}, [], "(300 s): Failed to delete pod a/b due to: budget"),
        ({"changed": True, "result": "1 Pod(s) deleted from node."}, [pod("done", "Succeeded")], ""),
    ],
)
def test_pods_that_stay_are_named(playbook: Playbook, tmp_path: Path, drain: dict[str, Any], pods: list[Any], expected: str) -> None:
    check = role_tasks.task_of(role_tasks.read("worker", "drain"), "Check that its pods went")
    given = {
        "__worker_drain": drain,
        "__worker_pods": {"resources": pods},
        "worker_kubeconfig": "/nowhere",
        "worker_node_name": "k8s-node1",
    }
    result = role_tasks.run(playbook, tmp_path, "worker", [check], given)
    assert (result.returncode != 0) == bool(expected), result.stdout + result.stderr
    assert expected in " ".join((result.stdout + result.stderr).split())


def test_drain_names_its_caller_s_setting(playbook: Playbook, tmp_path: Path) -> None:
    """An upgrade has another one, and fences no healthy worker for a slow pod, nor the control plane."""
    check = role_tasks.task_of(role_tasks.read("worker", "drain"), "Check that its pods went")
    (drain,) = [task["vars"] for task in role_tasks.each(role_tasks.read("upgrade", "node")) if task["name"].endswith("Drain it")]
    given = {
        "__worker_drain": {"msg": "slow"},
        "__worker_pods": {"resources": []},
        "worker_drain_setting": drain["worker_drain_setting"],
        "worker_kubeconfig": "/nowhere",
    }
    said = sentence(role_tasks.run(playbook, tmp_path, "worker", [check], given).stdout)
    assert "localhost couldn't give its pods away within upgrade_drain_seconds (300 s): slow" in said
    assert "lost=true" not in said
    (drain,) = [task["vars"] for task in role_tasks.read("worker", "remove") if task["name"].endswith("Drain the node")]
    assert "-e lost=true" in drain["__worker_drain_hint"]


@pytest.mark.parametrize(("ready", "refused"), [("True", True), ("Unknown", False), ("False", False)])
def test_node_that_answers_is_not_lost(playbook: Playbook, tmp_path: Path, ready: str, refused: bool) -> None:
    check = role_tasks.task_of(role_tasks.read("worker", "check_lost"), "Check that the node is lost")
    given = {"__worker_membership": {"resources": [node(ready)]}, "worker_node_name": "k8s-node1"}
    result = role_tasks.run(playbook, tmp_path, "worker", [check], given)
    assert (result.returncode != 0) == refused, result.stdout + result.stderr
    if refused:
        assert "k8s-node1 is Ready, so it isn't lost: remove it without saying so" in sentence(result.stdout + result.stderr)


def test_pods_go_before_their_node() -> None:
    """The order of the tasks, and that a node is deleted under its pods only where it is lost."""
    names = [task["name"].partition(" | ")[2] for task in role_tasks.read("worker", "remove")]
    assert names == [
        "Check the cluster",
        "Drain the node",
        "Delete the node",
        "Reset the machine",
        "Enable the kubelet's start with the machine",
    ]
    plays = yaml.safe_load((ROOT / "playbooks/remove-node.yml").read_text(encoding="utf-8"))
    used = [task["ansible.builtin.import_role"]["tasks_from"] for play in plays for task in play.get("tasks", [])]
    assert used == ["check_lost", "fence", "check_fenced", "restart", "remove", "remove_from_node", "unmount", "allow"]


def test_a_machine_that_is_turned_away_is_restarted_first() -> None:
    """Nothing waits for what hangs there, and its kubelet starts nothing: no drain, no shutdown, no reset before the restart."""
    names = [task["name"].partition(" | ")[2] for task in role_tasks.read("worker", "restart")]
    assert names[2:] == [
        "Delete the node",
        "Disable the kubelet's start with the machine",
        "Find volumes that it has mounted",
        "Restart the machine as if its power had gone",
    ]
    restart = role_tasks.read("worker", "restart")[-1]["ansible.builtin.reboot"]["reboot_command"]
    assert "sysrq-trigger" in restart
    assert "--timer-property=AccuracySec=100ms" in restart, "containers run on without their Node for as long as the timer is late"
    assert "sync --file-system /etc;" in restart, "a sync of all waits for the NFS server"
    assert "not worker_turned_away" in role_tasks.task_of(role_tasks.read("worker", "remove"), "Drain the node")["when"]


@pytest.mark.parametrize(
    ("belongs", "mounted", "restarted"),
    [
        ("QQ==", "", True),
        # Its kubelet.conf is gone, and what hangs isn't.
        (None, "/home\n/var/lib/kubelet/pods/1/volumes/kubernetes.io~nfs/data", True),
        # A new machine at the address, or one that was reset already, with its home on NFS.
        (None, "/home", False),
        (None, "", False),
    ],
)
def test_only_what_a_cluster_left_is_restarted(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, belongs: str | None, mounted: str, restarted: bool
) -> None:
    """A machine that never joined has nothing that hangs, and a restart without its services' ends may cost what others do there."""
    program = tmp_path / "bin" / "findmnt"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nprintf '%s' '{mounted}'\n[ -n '{mounted}' ]\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    find, restart = role_tasks.read("worker", "restart")[-2:]
    restart["ansible.builtin.command"] = {"argv": ["touch", f"{tmp_path}/restarted"]}
    del restart["ansible.builtin.reboot"]
    result = role_tasks.run(playbook, tmp_path, "worker", [find, restart], told(tmp_path, False, belongs))
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "restarted").exists() == restarted


LISTENS = """#!/bin/sh
[ "$1" != list ] || {{ echo "table inet outlive_fence {{ set fenced {{ type ipv4_addr elements = {{ 192.0.2.9, {watched} }} }} }}"; exit; }}
echo "$@" >> {calls}
[ ! -e {rules} ] || cat {rules} {folder}/*.nft >> {calls} 2> /dev/null || true
"""


@pytest.mark.parametrize("watched", [True, False])
def test_a_lost_node_is_turned_away_until_it_is_let_in(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    """It stands in a file that the server's unit loads, as at the moment of the fence; whoever turns it away is told."""
    rules, folder, calls = tmp_path / "etc" / "lost.nft", tmp_path / "etc" / "lost", tmp_path / "calls"
    program = tmp_path / "bin" / "nft"
    program.parent.mkdir()
    program.write_text(LISTENS.format(watched="192.0.2.11" if watched else "192.0.2.111", calls=calls, rules=rules, folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    told = {
        "nfs_server_fenced": "192.0.2.11",
        # Of the machine that is back, for which the inventory has another one by now.
        "nfs_server_addresses": ["192.0.2.77", "192.0.2.11", "10.0.2.15"],
        "__nfs_server_nft": str(program),
        "__nfs_server_lost_rules": str(rules),
        "__nfs_server_lost_folder": str(folder),
        "__nfs_server_lost_dropin": str(tmp_path / "unit.d" / "outlive-lost.conf"),
    }
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "turned away: {{ nfs_server_turns_away }}"}}

    def tasks_of(name: str) -> Iterator[dict[str, Any]]:
        for task in role_tasks.read("nfs_server", name):
            task.pop("notify", None)
            if "ansible.builtin.import_tasks" in task:
                yield from tasks_of("lost")
            elif "ansible.builtin.shell" not in task:  # the clients of this machine's own kernel are none of the test's
                yield task

    def run(*names: str) -> str:
        tasks = [task for name in names for task in tasks_of(name)]
        result = role_tasks.run(playbook, tmp_path, "nfs_server", [*tasks, show], told)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    assert f"turned away: {watched}" in run("check_fenced")
    assert "turned away: True" in run("fence", "check_fenced")
    loaded = calls.read_text()
    assert loaded.startswith(f"--file {rules}\n")
    assert f'include "{folder}/*.nft"' in loaded
    assert f"add element {nft.LOST} {{ 192.0.2.11 }}" in loaded
    assert "ip saddr @addresses meta l4proto { tcp, udp } th dport { 2049, 3260 } counter drop" in loaded
    assert f"ExecStartPre={program} --file {rules}\n" in (tmp_path / "unit.d" / "outlive-lost.conf").read_text()
    calls.unlink()
    assert f"turned away: {watched}" in run("allow", "check_fenced")
    loaded = calls.read_text()
    assert "add element inet outlive_lost" not in loaded
    assert f"delete element {nft.FENCED} {{ 192.0.2.77, 192.0.2.11, 10.0.2.15 }}" in loaded


def test_fence_is_the_watcher_s(playbook: Playbook, tmp_path: Path) -> None:
    """What the watcher turns away, the role lets in again, and the program knows the role's set."""
    shown = tmp_path / "shown"
    content = "{{ [__nfs_server_fence_set, __nfs_server_fence_objects, __nfs_server_lost_set] | join('\n') }}"
    show = {"name": "Show", "ansible.builtin.copy": {"dest": str(shown), "content": content, "mode": "0600"}}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", [show], {"nfs_server_export": "/nfsdata"})
    assert result.returncode == 0, result.stdout + result.stderr
    assert shown.read_text() == "\n".join([nft.FENCED, NFT_OBJECTS, nft.LOST])
    (rule,) = re.findall(r"meta l4proto .* drop", NFT_RULES)
    assert rule in (ROOT / "roles/nfs_server/templates/lost.nft.j2").read_text(encoding="utf-8")
    text = (ROOT / "roles/nfs_server/tasks/fence.yml").read_text(encoding="utf-8")
    for part in re.findall(r"/proc/\S+|grep -qsF|echo expire|:3260", EXPIRE + KILL):
        assert part.rstrip(";") in text


@pytest.mark.parametrize(
    ("tasks", "given", "expected"),
    [
        ("fence", {"nfs_server_fenced": "any"}, "nfs_server_fenced is 'any', and only an IPv4 address can be"),
        (
            "allow",
            {"nfs_server_addresses": ["192.0.2.7", "any"]},
            "nfs_server_addresses is '192.0.2.7, any', and only IPv4 addresses can be",
        ),
    ],
)
def test_only_an_address_is_turned_away(playbook: Playbook, tmp_path: Path, tasks: str, given: dict[str, Any], expected: str) -> None:
    result = role_tasks.run(playbook, tmp_path, "nfs_server", role_tasks.read("nfs_server", tasks), given)
    assert result.returncode != 0
    assert expected in " ".join((result.stdout + result.stderr).replace("''", "'").split())


@pytest.mark.parametrize(("lost", "allowed"), [("maybe", "true, false"), ("true", "false")])
def test_nfs_server_is_not_lost(playbook: Playbook, edit_hosts: Edit, lost: str, allowed: str) -> None:
    """Nobody could turn it away from itself."""
    if lost == "true":
        edit_hosts(lambda hosts: hosts["children"]["nfs_servers"].update(hosts={"k8s-node1": None}))
    result = playbook(ROOT / "playbooks/remove-node.yml", "-e", "node=k8s-node1", "-e", f"lost={lost}")
    assert result.returncode != 0
    assert f"lost is '{lost}', which isn't known: set it to one of {allowed}." in sentence(result.stdout + result.stderr)
