"""The real API client, the hypervisors' tools and the NFS server's commands, each against something that stands in."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.fence import actions
from outlive.fence.actions import ANNOTATION, LEFT, Kubernetes, NfsServer, VagrantMachines, node_state
from outlive.fence.decisions import TAINT, Fenced
from outlive.lab import kube, nft, objects, power
from outlive.lab.ssh import Output, Remote
from tests import fake_api, samples
from tests.fake_api import FakeApi, listing, serve

OTHER = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}


@pytest.fixture
def kubernetes(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """Return the real client of an API server that takes patches too: each is written down, a version other than 7 is refused."""

    def do_patch(handler: fake_api._Handler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        api.created.append({"type": handler.headers["Content-Type"], **body})
        handler._answer(samples.node("n1") if body["metadata"]["resourceVersion"] == "7" else 409)

    monkeypatch.setattr(fake_api._Handler, "do_PATCH", do_patch, raising=False)
    with serve(api, tmp_path) as cluster:
        yield Kubernetes(cluster.kubeconfig)


def fenced() -> dict[str, Any]:
    """Return n1 as the API gives it with the watcher's mark."""
    data = samples.node("n1", boot="b1") | {"spec": {"taints": [{"key": TAINT, "effect": "NoExecute"}]}}
    data["metadata"]["annotations"] = {ANNOTATION: json.dumps({"boot": "b1", "at": "T"})}
    return data


def test_nodes_with_their_leases(api: FakeApi, kubernetes: Kubernetes) -> None:
    leases = [{"metadata": {"name": "n1"}, "spec": {"renewTime": "T1"}}, {"metadata": {"name": "n2"}}]
    api.answers["/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"] = [listing(*leases)]
    nodes = kubernetes.look()
    assert list(nodes) == ["m", "n1", "n2"]
    assert (nodes["n1"].renewed, nodes["n2"].renewed, nodes["m"].renewed) == ("T1", None, None)


def test_marked_nodes_come_with_the_pods_that_cannot_end(api: FakeApi, kubernetes: Kubernetes) -> None:
    """Those that were evicted, and of no other node; they are deleted without grace, a namesake is left alone."""
    api.answers["/api/v1/nodes"] = [listing(fenced(), samples.node("n2"))]
    api.answers["/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"] = [listing()]
    api.answers["/api/v1/pods"] = [listing(samples.pod("u1", "n1", deleted=True), samples.pod("u2", "n1"))]
    nodes = kubernetes.look()
    assert [pod.uid for pod in nodes["n1"].terminating] == ["u1"]
    assert nodes["n2"].terminating == ()
    assert [each for each in api.requests if "pods" in each] == ["GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1"]
    (pod,) = nodes["n1"].terminating
    kubernetes.force_delete(pod)
    (request,) = [each for each in api.requests if each.startswith("DELETE")]
    assert request == "DELETE /api/v1/namespaces/default/pods/mysql-u1"
    assert api.deletions == [
        {"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}}
    ]  # in a query beside a body the former wouldn't count


def test_news_of_nodes_does_not_depend_on_a_list_of_pods(api: FakeApi, kubernetes: Kubernetes) -> None:
    api.answers["/api/v1/nodes"] = [listing(fenced())]
    leases = [{"metadata": {"name": "n1"}, "spec": {"renewTime": "T1"}}]
    api.answers["/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"] = [listing(*leases)]
    api.answers["/api/v1/pods"] = [500]
    assert (kubernetes.look()["n1"].terminating, kubernetes.look()["n1"].renewed) == ((), "T1")


@pytest.mark.parametrize("status", [404, 409], ids=["gone", "a namesake"])
def test_a_pod_that_is_not_there_any_more(api: FakeApi, kubernetes: Kubernetes, status: int) -> None:
    api.answers["DELETE /api/v1/namespaces/default/pods/mysql-u1"] = [status]
    kubernetes.force_delete(objects.pod(samples.pod("u1", "n1", deleted=True)))
    assert api.deletions == [{"gracePeriodSeconds": 0, "preconditions": {"uid": "u1"}}]


def test_mark_keeps_other_taints(api: FakeApi, kubernetes: Kubernetes) -> None:
    data = samples.node("n1", boot="b1") | {"spec": {"taints": [OTHER]}}
    api.answers["/api/v1/nodes/n1"] = [data]
    node = kubernetes.read("n1")
    kubernetes.mark(node, Fenced("b1", "T"))
    patch = api.created[0]
    ours = {"key": TAINT, "value": "nodeshutdown", "effect": "NoExecute"}
    assert patch["type"] == "application/merge-patch+json"
    assert patch["spec"]["taints"] == [OTHER, ours]
    data["spec"]["taints"].append(ours)
    data["metadata"]["annotations"] = patch["metadata"]["annotations"]
    api.answers["/api/v1/nodes/n1"] = [data]
    node = kubernetes.read("n1")
    assert (node.tainted, node.fenced) == (True, Fenced("b1", "T"))
    kubernetes.unmark(node)
    assert api.created[1]["spec"]["taints"] == [OTHER]
    assert api.created[1]["metadata"] == {"resourceVersion": "7", "annotations": {ANNOTATION: None}}


def test_patch_of_a_node_that_changed_is_refused(api: FakeApi, kubernetes: Kubernetes) -> None:
    data = samples.node("n1")
    data["metadata"]["resourceVersion"] = "6"
    api.answers["/api/v1/nodes/n1"] = [data]
    with pytest.raises(LabError, match="refuses node n1 with 409"):
        kubernetes.mark(kubernetes.read("n1"), Fenced("b"))


def test_api_server_that_hangs_hangs_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "CALL_TIMEOUT", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        hanging = Kubernetes(fake_api.kubeconfig(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}"))
        node = node_state(samples.node("n1"))
        calls: list[Callable[[], object]] = [
            hanging.look,
            lambda: hanging.read("n1"),
            lambda: hanging.mark(node, Fenced("b1")),
            lambda: hanging.unmark(node),
        ]
        for call in calls:
            with pytest.raises(UnreachableError, match="gave no answer"):
                call()


def test_annotation_that_nobody_understands_names_no_boot() -> None:
    data = samples.node("n1")
    data["metadata"]["annotations"] = {ANNOTATION: "yes"}
    assert node_state(data).fenced == Fenced("", "yes")


@pytest.fixture
def vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make VM n1 of libvirt; return the folder of virsh, of its calls, and of what each of its commands answers."""
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "machines/n1/libvirt").mkdir(parents=True)
    (tmp_path / "machines/n1/libvirt/id").write_text("11aa")
    (tmp_path / "virsh").write_text(f'#!/bin/sh\nshift 3\necho "$@" >> {tmp_path}/calls\ncat {tmp_path}/$1 2>/dev/null || true\n')
    (tmp_path / "virsh").chmod(0o755)
    return tmp_path


def test_a_process_is_searched_only_where_it_is_not_known(vm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hypervisor = VagrantMachines()
    (vm / "ps").write_text(f"#!/bin/sh\necho ps >> {vm}/calls\necho '{os.getpid()} S qemu -uuid 11aa'\n")
    (vm / "ps").chmod(0o755)
    monkeypatch.setattr(power, "_runs", lambda process, _: process == os.getpid())
    assert [hypervisor.look("n1").process for _ in range(3)] == [os.getpid()] * 3
    assert (vm / "calls").read_text().splitlines() == ["ps"]


@pytest.mark.parametrize(
    ("reason", "managed", "calls"),
    [
        ("saved", "yes", ["start 11aa --paused --force-boot", "destroy 11aa"]),
        ("shutdown", "no", ["destroy 11aa"]),
    ],
)
def test_cut_drops_a_saved_memory(vm: Path, reason: str, managed: str, calls: list[str]) -> None:
    (vm / "domstate").write_text(f"shut off ({reason})\n\n")
    (vm / "dominfo").write_text(f"State: shut off\nManaged save: {managed}\n")
    VagrantMachines().cut("n1")
    acts = [call for call in (vm / "calls").read_text().splitlines() if not call.startswith("dom")]
    assert acts == calls


def test_a_memory_in_a_file_that_libvirt_does_not_know_is_left_to_a_person(vm: Path) -> None:
    (vm / "domstate").write_text("shut off (saved)\n")
    (vm / "dominfo").write_text("Managed save: no\n")
    with pytest.raises(LabError, match=r"memory of n1 was saved into a file by `virsh save`.*`virsh restore`.*`vagrant up n1`"):
        VagrantMachines().cut("n1")
    assert "destroy" not in (vm / "calls").read_text()


def test_check_is_about_what_can_never_work(vm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    VagrantMachines().check("n1")
    (vm / "virsh").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UnreachableError, match="domstate 11aa --reason` failed"):
        VagrantMachines().check("n1")
    monkeypatch.setenv("PATH", str(vm / "nowhere"))
    with pytest.raises(LabError, match="the program virsh is missing"):
        VagrantMachines().check("n1")


@dataclass
class FakeRemote:
    """Answers commands that begin with a key; writes all of them down."""

    answers: dict[str, Output] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def run(self, name: str, command: str, *arguments: str) -> Output:
        self.commands.append(command % arguments if arguments else command)
        return next((answer for key, answer in self.answers.items() if command.startswith(key)), Output(0, "", ""))

    def check(self, name: str, command: str, *arguments: str) -> str:
        return self.run(name, command, *arguments).stdout


def _server(remote: FakeRemote) -> NfsServer:
    return NfsServer(cast(Remote, remote), "m")


SET = '{"nftables": [{"metainfo": {"json_schema_version": 1}}, {"set": {"name": "fenced", "type": "ipv4_addr"%s}}]}'


def test_set_of_addresses() -> None:
    # What nft 1.1.3 prints.
    assert nft.addresses(SET % ', "elem": ["192.0.2.11"]') == {"192.0.2.11"}
    assert nft.addresses(SET % "") == frozenset()


def test_revoked_addresses() -> None:
    remote = FakeRemote({"nft -j": Output(0, SET % ', "elem": ["192.0.2.11"]', "")})
    assert _server(remote).revoked() == {"192.0.2.11"}
    remote.answers["nft -j"] = Output(1, "", "Error: No such file or directory\nlist set inet outlive_fence fenced")
    assert _server(remote).revoked() == frozenset()
    remote.answers["nft -j"] = Output(1, "", "Operation not permitted")
    with pytest.raises(LabError, match="can't list the set inet outlive_fence fenced"):
        _server(remote).revoked()


def test_lost_nodes_are_listed_and_never_let_in() -> None:
    """Their set is the playbook's own: no command of the watcher changes its table."""
    remote = FakeRemote({f"nft -j list set {nft.LOST}": Output(0, SET % ', "elem": ["192.0.2.11"]', "")})
    assert _server(remote).lost() == {"192.0.2.11"}
    remote.commands.clear()
    _server(remote).revoke("192.0.2.11")
    _server(remote).allow("192.0.2.11")
    assert not [command for command in remote.commands if nft.LOST.split()[1] in command]
    remote.answers = {"nft -j": Output(1, "", f"Error: No such file or directory\nlist set {nft.LOST}")}
    assert _server(remote).lost() == frozenset()


def test_revoke_and_allow_are_one_transaction_each() -> None:
    remote = FakeRemote()
    _server(remote).revoke("192.0.2.11")
    _server(remote).allow("192.0.2.11")
    revoke, ended, allow = remote.commands
    assert ended == "ss --kill --tcp dst 192.0.2.11 sport = :3260; true"
    assert "th dport { 2049, 3260 } counter drop" in revoke
    assert revoke.endswith("add element inet outlive_fence fenced { 192.0.2.11 }")
    assert "2049" not in allow
    assert allow.endswith("delete element inet outlive_fence fenced { 192.0.2.11 }")
    with pytest.raises(LabError, match=r"'node\.example' can't be fenced"):
        _server(remote).revoke("node.example")


CLIENT = '== /proc/fs/nfsd/clients/3/\nclientid: 0x1\naddress: "192.0.2.11:811"\n== /proc/fs/nfsd/clients/4/\n'
NOBODY = "== /proc/fs/nfsd/clients/*/\n"
CONNECTION = "CID: 0  Connection State: TARG_CONN_STATE_CLEANUP_WAIT\n   Address 192.0.2.11 TCP  StatSN: 0x5f000000\n"


@pytest.mark.parametrize(
    ("listing", "left"),
    [(CLIENT, 1), (CLIENT + CONNECTION, 2), (NOBODY + CONNECTION + CONNECTION, 2), (NOBODY, 0), (CLIENT.replace(".11:", ".1:"), 0)],
)
def test_clients_and_sessions_that_are_left(listing: str, left: int) -> None:
    """A connection counts until LIO has forgotten it: its commands may still be at work."""
    assert _server(FakeRemote({LEFT: Output(0, listing, "")})).left("192.0.2.11") == left


def test_expiry_ends_clients_and_connections_and_looks_until_all_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = FakeRemote({LEFT: Output(0, NOBODY, "")})
    _server(remote).expire("192.0.2.1")
    ended, looked = remote.commands
    assert 'grep -qsF address: "192.0.2.1: ' in ended
    assert "ss --kill --tcp dst 192.0.2.1 sport = :3260" in ended
    assert looked == LEFT
    monkeypatch.setattr(actions, "ENDED_WITHIN", 0.0)
    remote.answers[LEFT] = Output(0, NOBODY + CONNECTION, "")
    with pytest.raises(LabError, match=r"m: wanted no NFSv4 client and no iSCSI session of 192\.0\.2\.11, last seen 1"):
        _server(remote).expire("192.0.2.11")
    with pytest.raises(LabError, match=r"'node\.example' can't be fenced"):
        _server(remote).expire("node.example")


def test_server_that_cannot_fence() -> None:
    _server(FakeRemote()).check()
    with pytest.raises(LabError, match=r"m has no nft.*apt-get install nftables"):
        _server(FakeRemote({"nft --version": Output(127, "", "")})).check()
    with pytest.raises(LabError, match="m has no /proc/fs/nfsd/clients"):
        _server(FakeRemote({"test -d": Output(1, "", "")})).check()
