"""What the role control_plane tells kubeadm and the API server: the security baseline is in it, whatever an inventory adds."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fake_api import FakeApi, serve

from . import role_tasks
from .conftest import ROOT, Playbook

ROLE = ROOT / "roles" / "control_plane"
EMULATED = ("--inventory", str(ROOT / "inventories" / "emulated"))
BASELINE = {
    "profiling": "false",
    "admission-control-config-file": "/etc/kubernetes/api-server/admission.yaml",
    "audit-policy-file": "/etc/kubernetes/api-server/audit-policy.yaml",
    "audit-log-path": "/var/log/kubernetes/audit/audit.log",
    "encryption-provider-config": "/etc/kubernetes/api-server/encryption.yaml",
    "enable-admission-plugins": "NodeRestriction,DenyServiceExternalIPs",
    "kubelet-certificate-authority": "/etc/kubernetes/pki/ca.crt",
}


def rendered(playbook: Playbook, folder: Path, *arguments: str) -> dict[str, str]:
    """Return the text of each template of the role by its name, rendered by Ansible with the lab's variables."""
    names = sorted(path.name for path in (ROLE / "templates").iterdir())
    return evaluated(playbook, folder, {name: (f"lookup('ansible.builtin.template', '{name}')", {}) for name in names}, *arguments)


def evaluated(playbook: Playbook, folder: Path, wanted: dict[str, tuple[str, dict[str, Any]]], *arguments: str) -> dict[str, str]:
    """Return what expressions are worth in the role with the lab's variables, and some of their own, by their names."""
    copy = Path(shutil.copytree(ROLE, folder / "roles/control_plane", ignore=shutil.ignore_patterns("argument_specs.yml")))
    tasks = [
        {
            "name": "Write",
            "ansible.builtin.copy": {"content": f"{{{{ {expression} }}}}", "dest": f"{folder}/{name}", "mode": "0600"},
            "vars": variables,
        }
        for name, (expression, variables) in wanted.items()
    ]
    (copy / "tasks/main.yml").write_text(yaml.safe_dump(tasks))
    result = playbook(role_tasks.on_this_machine(folder, "control_plane", roles=["control_plane"]), *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: (folder / name).read_text() for name in wanted}


def flags(arguments: list[dict[str, str]]) -> dict[str, str]:
    """Return flags by name, each of which is there once."""
    found = {each["name"]: each["value"] for each in arguments}
    assert len(found) == len(arguments)
    return found


@pytest.mark.parametrize(
    ("overlay", "added", "tls"),
    [((), {}, "VersionTLS13"), (EMULATED, {"enable-priority-and-fairness": "false"}, "VersionTLS12")],
    ids=["lab", "emulated"],
)
def test_baseline_is_kept(playbook: Playbook, tmp_path: Path, overlay: tuple[str, ...], added: dict[str, str], tls: str) -> None:
    """Flags of an inventory's own come beside the baseline's, and take only the place of those that they name."""
    texts = rendered(playbook, tmp_path, *overlay)
    _, cluster, kubelet = yaml.safe_load_all(texts["kubeadm-config.yaml.j2"])
    server = flags(cluster["apiServer"]["extraArgs"])
    assert server.items() >= {**BASELINE, **added, "tls-min-version": tls}.items()
    for program in ("controllerManager", "scheduler"):
        assert flags(cluster[program]["extraArgs"]).items() >= {"profiling": "false", "tls-min-version": "VersionTLS13"}.items()
    assert flags(cluster["etcd"]["local"]["extraArgs"])["tls-min-version"] == "TLS1.3"
    assert kubelet.items() >= {"tlsMinVersion": "VersionTLS13", "serverTLSBootstrap": True, "enableProfilingHandler": False}.items()
    assert kubelet["protectKernelDefaults"] is True
    # What the flags name is mounted, and only the log's folder can be written to.
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in cluster["apiServer"]["extraVolumes"]}
    assert mounts == {"/etc/kubernetes/api-server": True, "/var/log/kubernetes/audit": False}


def test_secrets_are_encrypted_with_a_key_of_its_own(playbook: Playbook, tmp_path: Path) -> None:
    """The first provider writes, the last one reads what is older; each cluster has another key, of the length that secretbox takes."""
    made = "lookup('ansible.builtin.template', 'encryption.yaml.j2')"
    keys = []
    for text in evaluated(playbook, tmp_path, {"one": (made, {}), "two": (made, {})}).values():
        (rule,) = yaml.safe_load(text)["resources"]
        assert rule["resources"] == ["secrets"]
        first, last = rule["providers"]
        assert last == {"identity": {}}
        (key,) = first["secretbox"]["keys"]
        keys.append(base64.b64decode(key["secret"], validate=True))
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_audit_log_has_no_contents(playbook: Playbook, tmp_path: Path) -> None:
    """No rule logs what was sent or answered, which may be a Secret; what nobody thought of is logged."""
    policy = yaml.safe_load(rendered(playbook, tmp_path)["audit-policy.yaml.j2"])
    assert {rule["level"] for rule in policy["rules"]} == {"None", "Metadata"}
    assert policy["rules"][-1] == {"level": "Metadata"}


def test_level_of_pods(playbook: Playbook, tmp_path: Path) -> None:
    """A namespace without a label is baseline, and nobody is warned: the tutorial's pages show what is printed."""
    (plugin,) = yaml.safe_load(rendered(playbook, tmp_path)["admission.yaml.j2"])["plugins"]
    found: dict[str, Any] = plugin["configuration"]
    assert found["defaults"] == {"enforce": "baseline", "audit": "restricted"}
    assert found["exemptions"] == {"namespaces": ["kube-system"]}


def test_digest_is_of_what_kubeadm_reads(playbook: Playbook, tmp_path: Path) -> None:
    """Each of kubeadm's inputs changes it, and nothing else does."""
    reads: dict[str, dict[str, Any]] = {
        "flag": {"control_plane_scheduler_extra_args": {"v": "2"}},
        "kubelet": {"control_plane_kubelet_configuration": {"shutdownGracePeriod": "5s"}},
        "patience": {"control_plane_node_monitor_grace_period": "30s"},
        "patch": {"control_plane_patches": {"etcd+strategic": {"spec": {"priority": 1}}}},
        "file of the API server": {"control_plane_pod_security_level": "restricted"},
    }
    other: dict[str, dict[str, Any]] = {
        "again": {},
        "kubeconfig": {"control_plane_kubeconfig": "/nowhere"},
        "checks": {"control_plane_ignored_preflight_errors": ["NumCPU"]},
        "no patches": {"control_plane_patches": {}},
    }
    digests = evaluated(playbook, tmp_path, {name: ("__control_plane_digest", each) for name, each in {**reads, **other}.items()})
    assert len({digests[name] for name in other}) == 1
    assert len(set(digests.values())) == 1 + len(reads)


KUBEADM = """#!/bin/bash
set -e
cd {folder}
echo "$*" >> kubeadm.log
# The manifest of a program, and what the kubelet makes of it: another process where it changed, none where the program refuses its flags.
program() {{
    mkdir -p kubernetes/manifests
    cp kubernetes/manifests/$1.yaml old 2>/dev/null || rm -f old
    cat > kubernetes/manifests/$1.yaml
    if ! cmp -s old kubernetes/manifests/$1.yaml; then
        test ! -e pids/$1 || kill "$(cat pids/$1)" || true
        if grep -q nope kubernetes/manifests/$1.yaml; then
            mkdir -p logs/kube-system_$1-k8s-master_0/$1
            echo "2026-11-29T22:00:00.1Z stderr F Error: unknown flag: --nope" > logs/kube-system_$1-k8s-master_0/$1/3.log
        else
            {{ exec -a $1 sleep infinity; }} > /dev/null 2>&1 &
            echo $! > pids/$1
            ln -s /proc/$! proc/
        fi
    fi
}}
etcd() {{
    program etcd <<END
spec: {{containers: [{{command: [etcd, --name=k8s-master]}}]}}
END
}}
api_server() {{
    program kube-apiserver <<END
# $(cksum < kubernetes/kubeadm-config.yaml)
spec:
  containers:
  - image: registry.k8s.io/kube-apiserver:$(sed -n 's/^kubernetesVersion: //p' kubernetes/kubeadm-config.yaml)
    command:
    - kube-apiserver
    - --advertise-address=192.168.56.10
    - --service-cluster-ip-range=10.96.0.0/12
    $(grep -o 'name: nope' kubernetes/kubeadm-config.yaml | sed 's/name: /- --/')
    readinessProbe: {{httpGet: {{port: {port}, path: /readyz}}}}
END
    program kube-controller-manager <<END
spec: {{containers: [{{command: [kube-controller-manager, --cluster-cidr=10.244.0.0/16]}}]}}
END
    program kube-scheduler <<END
spec: {{containers: [{{command: [kube-scheduler]}}]}}
END
}}
case "$*" in
"init --config"*)
    mkdir -p kubernetes/pki
    echo authority > kubernetes/pki/ca.crt
    cp cluster.conf kubernetes/admin.conf
    cp certificate kubernetes/pki/apiserver.crt
    touch kubernetes/pki/apiserver.key
    etcd
    api_server
    if test -e unfit; then cat unfit >&2; exit 1; fi
    test ! -e logs ;;
"init phase etcd"*) etcd ;;
"init phase certs apiserver"*)
    test ! -e unsigned
    test ! -e kubernetes/pki/apiserver.crt
    cp certificate kubernetes/pki/apiserver.crt
    touch kubernetes/pki/apiserver.key ;;
"init phase control-plane"*)
    test ! -e broken
    api_server ;;
esac
"""
"""A stand-in that notes how it is called, and starts a process for each manifest as the kubelet does. Where there is a file `broken`, its last phase fails."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the role gives its files to root")


def certificate(*names: str) -> str:
    """Return a certificate of the API server with names and addresses beside kubeadm's own."""
    own = ["k8s-master", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("192.168.56.10", "10.96.0.1")]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    begin = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*(x509.DNSName(each) for each in [*own, *names]), *addresses]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class Machine:
    """This machine, as far as the role would change it in a folder, and with an API server that has nothing but the control plane's pods."""

    folder: Path
    api: FakeApi
    playbook: Playbook

    def apply(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401  whatever YAML has
        """Apply the role."""
        (self.folder / "kubeadm.log").unlink(missing_ok=True)
        given = {
            "__control_plane_folder": f"{self.folder}/kubernetes",
            "__control_plane_audit_folder": f"{self.folder}/audit",
            "__control_plane_root_kubeconfig": f"{self.folder}/root/.kube/config",
            "control_plane_kubeconfig": f"{self.folder}/fetched",
            "__control_plane_kubectl": f"{self.folder}/bin/kubectl",
            "control_plane_kubectl": f"{self.folder}/lab/bin/kubectl",
            "control_plane_kubelet_configuration": {"healthzPort": 0},
            "__control_plane_pods": "/",
            "__control_plane_processes": f"{self.folder}/proc",
            "__control_plane_logs": f"{self.folder}/logs",
            "__control_plane_start_seconds": 5,
            "__control_plane_settled_seconds": 0,
            **variables,
        }
        return self.playbook(
            role_tasks.on_this_machine(self.folder, "control_plane", roles=["control_plane"]), "-e", json.dumps(given), *arguments
        )

    def changed(self, *arguments: str, **variables: Any) -> int:  # noqa: ANN401  whatever YAML has
        """Apply the role, which has to go well, and return how many tasks changed something."""
        done = self.apply(*arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return int(re.findall(r"changed=(\d+)", done.stdout)[-1])

    @property
    def asked(self) -> int:
        """How many requests the API has seen, beside those for how it is."""
        return len([each for each in self.api.requests if each != "GET /readyz"])

    @property
    def calls(self) -> list[str]:
        """What kubeadm was asked for in the last run, beside whether its configuration is right."""
        log = self.folder / "kubeadm.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.partition(" --")[0] for line in lines if not line.startswith("config validate")]

    @property
    def applied(self) -> str:
        """What says which configuration kubeadm has applied."""
        path = self.folder / "kubernetes/pki/.initialised"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def machine(playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Return a machine that has a stand-in for kubeadm, and one for kubectl."""
    for name in ("bin", "pids", "proc"):
        (tmp_path / name).mkdir()
    write_kubectl(tmp_path, KUBECTL)
    (tmp_path / "certificate").write_text(certificate())
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    # Where the API's client keeps what it discovered.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    resources = [
        {"name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False, "verbs": ["get", "list"]},
    ]
    api = FakeApi(
        {
            "/version": [{"major": "1", "minor": "37", "gitVersion": "v1.37.2"}],
            "/api": [{"kind": "APIVersions", "versions": ["v1"]}],
            "/apis": [{"kind": "APIGroupList", "groups": []}],
            "/api/v1": [{"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}],
            "/api/v1/namespaces/kube-system": [{"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system"}}],
            "/readyz": [{}],
            NODE: [node(TAINT)],
        }
    )
    kubelet = subprocess.Popen(["kubelet", "infinity"], executable=shutil.which("sleep"))
    # What others on this machine run is none of its business.
    (tmp_path / "proc" / str(kubelet.pid)).symlink_to(f"/proc/{kubelet.pid}")
    with serve(api, tmp_path) as cluster:
        content = yaml.safe_load(cluster.kubeconfig.read_text())
        content["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(b"authority\n").decode()
        (tmp_path / "cluster.conf").write_text(yaml.safe_dump(content))
        kubeadm = tmp_path / "bin/kubeadm"
        kubeadm.write_text(KUBEADM.format(folder=tmp_path, port=urlsplit(content["clusters"][0]["cluster"]["server"]).port))
        kubeadm.chmod(0o755)
        try:
            yield Machine(tmp_path, api, playbook)
        finally:
            kubelet.kill()
            kubelet.wait()
            for path in (tmp_path / "pids").iterdir():
                with suppress(ProcessLookupError):
                    os.kill(int(path.read_text()), signal.SIGKILL)


NODE = "/api/v1/nodes/k8s-master"
TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
"""What kubeadm gives a control plane."""
OTHER = {"key": "example.com/maintenance", "effect": "NoExecute"}


def node(*taints: dict[str, str]) -> dict[str, Any]:
    """Return the control plane's Node."""
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "k8s-master"}, "spec": {"taints": list(taints)}}


KUBECTL = b"#!/bin/sh\necho v1\n" + bytes(range(256))


def write_kubectl(folder: Path, content: bytes) -> None:
    """Install a kubectl on the control plane, for all to run."""
    (folder / "bin/kubectl").write_bytes(content)
    (folder / "bin/kubectl").chmod(0o755)


PHASES = [f"init phase {each}" for each in ("etcd local", "control-plane all", "kubelet-start", "upload-config all")]
"""What a changed configuration takes."""


@needs_root
def test_change_that_was_cut_short_is_taken_up_again(machine: Machine) -> None:
    """What kubeadm has applied is noted when all of it is done: the next run finds the files as they should be, and goes on all the same."""
    assert machine.changed() > 0
    assert machine.calls == ["init"]
    first = machine.applied
    assert re.fullmatch(r"[0-9a-f]{64} [0-9a-f]{64}\n", first)

    (machine.folder / "broken").touch()
    done = machine.apply(control_plane_pod_security_level="restricted")
    assert done.returncode != 0
    assert machine.calls == PHASES[:2]
    # With it stands what ran then, by which the next run tells what was started since.
    begun, *before = machine.applied.splitlines()
    assert begun == "being applied"
    assert [sorted(json.loads(each)) for each in before] == [["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]]

    (machine.folder / "broken").unlink()
    machine.changed(control_plane_pod_security_level="restricted")
    assert machine.calls == PHASES
    assert machine.applied not in ("", first)
    assert machine.changed(control_plane_pod_security_level="restricted") == 0
    assert machine.calls == []


@needs_root
@pytest.mark.parametrize(
    ("takes_pods", "taints", "wanted"),
    [
        (False, [TAINT, OTHER], None),
        ("true", [OTHER], None),
        ("true", [TAINT, OTHER], [OTHER]),
        (False, [OTHER], [OTHER, TAINT]),
    ],
)
def test_node_takes_pods_where_it_is_told_to(
    machine: Machine, takes_pods: object, taints: list[dict[str, str]], wanted: list[dict[str, str]] | None
) -> None:
    """Kubeadm's taint is taken away or put back where that isn't so yet, and no other taint is touched."""
    machine.api.answers[NODE] = [node(*taints)]
    done = machine.apply(control_plane_takes_pods=takes_pods)
    assert done.returncode == 0, done.stdout + done.stderr
    changes = [json.loads(each.split(" ", 2)[2]) for each in machine.api.requests if each.startswith(f"PATCH {NODE}")]
    assert f"GET {NODE}" in machine.api.requests
    found = [[{key: value for key, value in taint.items() if value} for taint in change["spec"]["taints"]] for change in changes]
    assert found == ([] if wanted is None else [wanted])


@needs_root
def test_flag_that_is_wrong_is_repaired_by_the_run_without_it(machine: Machine) -> None:
    """The first run says which program doesn't start, and why; the second asks no API before there is one, and applies what was applied before it."""
    machine.changed()
    first = machine.applied
    machine.api.answers["/readyz"] = [500]
    asked = machine.asked
    done = machine.apply(control_plane_api_server_extra_args={"nope": "1"})
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert re.search(
        r"kube-apiserver doesn't run on k8s-master after \d+ s \((no process of it runs|\S+ says 500[^)]*)\); the last that its log says is: ",
        said,
    ), said
    assert "is: Error: unknown flag: --nope -- correct the setting of the inventory that it was started with, then run this again" in said
    assert machine.calls == PHASES[:3]
    assert machine.asked == asked

    machine.api.answers["/readyz"] = [{}]
    machine.changed()
    assert machine.calls == PHASES
    assert machine.applied == first
    assert machine.changed() == 0


@needs_root
def test_flag_that_is_wrong_from_the_beginning(machine: Machine) -> None:
    """Kubeadm knows only that it waited; the sentence says for what. The next run goes on from there."""
    machine.api.answers["/readyz"] = [500]
    done = machine.apply(control_plane_api_server_extra_args={"nope": "1"})
    assert done.returncode != 0
    assert "the last that its log says is: Error: unknown flag: --nope" in " ".join((done.stdout + done.stderr).split())
    shutil.rmtree(machine.folder / "logs")
    machine.api.answers["/readyz"] = [{}]
    machine.changed()
    assert machine.calls == ["init"]
    assert machine.changed() == 0


@needs_root
@pytest.mark.parametrize(
    "reason",
    [
        "error: [preflight] Some fatal errors occurred: [ERROR Swap]",
        "[kubelet-start] WARNING: unable to start the kubelet service: [failed to reload systemd: exit status 1]",
    ],
)
def test_kubeadm_s_own_reason_is_told(machine: Machine, reason: str) -> None:
    """Also where an earlier start has left manifests and a log."""
    machine.api.answers["/readyz"] = [500]
    machine.apply(control_plane_api_server_extra_args={"nope": "1"})
    (machine.folder / "unfit").write_text(f"{reason}\n")
    done = machine.apply()
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"kubeadm couldn't start a control plane on k8s-master: {reason}" in said
    assert "the last that its log says" not in said


@needs_root
@pytest.mark.parametrize("text", [None, "", "spec: foo\n", "added by hand"])
def test_manifest_that_is_not_kubeadm_s_is_written_again(machine: Machine, text: str | None) -> None:
    """One that is missing, empty or no pod, and one that somebody has changed."""
    machine.changed()
    path = machine.folder / "kubernetes/manifests/kube-scheduler.yaml"
    made = path.read_text()
    if text is None:
        path.unlink()
    else:
        path.write_text(made.replace("[kube-scheduler]", "[kube-scheduler, --more=1]") if text == "added by hand" else text)
    machine.changed()
    assert machine.calls == PHASES
    assert path.read_text() == made
    assert machine.changed() == 0


@needs_root
def test_comment_in_a_manifest_is_no_change(machine: Machine) -> None:
    """Nothing restarts for it, so nothing could be waited for."""
    machine.changed()
    path = machine.folder / "kubernetes/manifests/kube-scheduler.yaml"
    path.write_text(f"# by hand\n{path.read_text()}\n")
    assert machine.changed() == 0
    assert machine.calls == []


@needs_root
def test_certificate_gets_other_names(machine: Machine) -> None:
    """Kubeadm would keep the one that is there; where it can't make another one, the old one is back."""
    machine.changed()
    old = (machine.folder / "kubernetes/pki/apiserver.crt").read_text()
    names = ["lab.example", "198.51.100.7"]
    (machine.folder / "unsigned").touch()
    done = machine.apply(control_plane_cert_sans=names)
    assert done.returncode != 0
    assert "got no certificate with control_plane_cert_sans (lab.example, 198.51.100.7), and keeps its old one" in " ".join(
        done.stdout.split()
    )
    assert (machine.folder / "kubernetes/pki/apiserver.crt").read_text() == old
    assert (machine.folder / "kubernetes/pki/apiserver.key").exists()

    (machine.folder / "unsigned").unlink()
    (machine.folder / "certificate").write_text(certificate("lab.example"))
    before = (machine.folder / "kubernetes/manifests/kube-apiserver.yaml").read_text()
    machine.changed(control_plane_cert_sans=names[:1])
    assert machine.calls == ["init phase certs apiserver", *PHASES]
    assert (machine.folder / "kubernetes/pki/apiserver.crt").read_text() != old
    # So the kubelet starts it anew, and what it serves is the new one.
    assert (machine.folder / "kubernetes/manifests/kube-apiserver.yaml").read_text() != before
    # Names that nobody wants any more go.
    (machine.folder / "certificate").write_text(certificate())
    machine.changed()
    assert machine.calls == ["init phase certs apiserver", *PHASES]


MADE = {
    "kube-apiserver": ["--advertise-address=192.0.2.10", "--service-cluster-ip-range=10.97.0.0/16"],
    "kube-controller-manager": ["--cluster-cidr=10.245.0.0/16"],
    "etcd": ["--name=another"],
}
"""Programs of a control plane that differs from the inventory in all that never changes."""


@pytest.mark.parametrize(
    "use",
    [
        {"roles": ["control_plane"]},
        {"tasks": [{"name": "Check", "ansible.builtin.import_role": {"name": "control_plane", "tasks_from": "check"}}]},
    ],
)
def test_what_never_changes_is_refused(machine: Machine, use: dict[str, Any]) -> None:
    """Before anything is written, by the role and by the entry point that comes before all others."""
    folder = machine.folder / "kubernetes"
    for name in ("pki/.initialised", *(f"manifests/{program}.yaml" for program in MADE)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for program, flags in MADE.items():
        (folder / f"manifests/{program}.yaml").write_text(yaml.safe_dump({"spec": {"containers": [{"command": [program, *flags]}]}}))
    done = machine.playbook(
        role_tasks.on_this_machine(machine.folder, "control_plane", **use), "-e", json.dumps({"__control_plane_folder": str(folder)})
    )
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert (
        "; ".join(
            [
                "control_plane_pod_subnet is 10.244.0.0/16, and the cluster was made with 10.245.0.0/16",
                "control_plane_service_subnet is 10.96.0.0/12, and the cluster was made with 10.97.0.0/16",
                "control_plane_address is 192.168.56.10, and the cluster was made with 192.0.2.10",
                "control_plane_node_name is k8s-master, and the cluster was made with another, which never changes in a cluster of kubeadm: set it back",
            ]
        )
        in said
    )
    assert sorted(path.name for path in folder.iterdir()) == ["manifests", "pki"]


def test_manifest_that_is_there_twice(machine: Machine) -> None:
    """It is named before anything is written."""
    folder = machine.folder / "kubernetes/manifests"
    folder.mkdir(parents=True)
    (folder / "kube-apiserver.yaml.bak").write_text("{kind: Pod, metadata: {name: kube-apiserver}}\n")
    done = machine.apply()
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert (
        f"k8s-master has kube-apiserver.yaml.bak in {folder}, where the kubelet reads every file whose name doesn't begin with a dot"
        in said
    )
    assert [path.name for path in (machine.folder / "kubernetes").iterdir()] == ["manifests"]


@pytest.mark.parametrize(("missing", "refused"), [([], False), (["etcd", "kube-scheduler"], True)])
def test_program_without_a_manifest_is_named_before_a_renewal(
    playbook: Playbook, tmp_path: Path, missing: list[str], refused: bool
) -> None:
    """Nothing would start it again, and its certificate would be another one already."""
    (tmp_path / "kubernetes/pki").mkdir(parents=True)
    (tmp_path / "kubernetes/pki/.initialised").touch()
    (tmp_path / "kubernetes/manifests").mkdir()
    for program in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        text = "" if program in missing else f"{{spec: {{containers: [{{command: [{program}]}}]}}}}\n"
        (tmp_path / f"kubernetes/manifests/{program}.yaml").write_text(text)
    tasks = role_tasks.read("control_plane", "renew_certificates")[:4]
    tasks[-1]["ansible.builtin.command"] = {"argv": ["touch", f"{tmp_path}/renewed"]}
    told = {"__control_plane_folder": f"{tmp_path}/kubernetes", "__control_plane_processes": f"{tmp_path}/proc"}
    done = role_tasks.run(playbook, tmp_path, "control_plane", tasks, told)
    assert (done.returncode != 0) == refused, done.stdout + done.stderr
    assert (tmp_path / "renewed").exists() != refused
    if refused:
        assert (
            f"localhost has no manifest in {tmp_path}/kubernetes/manifests that starts etcd, kube-scheduler: run playbooks/site.yml, which writes it"
        ) in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("runs", [True, False])
def test_program_that_does_not_come_back_after_a_renewal_is_named(playbook: Playbook, tmp_path: Path, runs: bool) -> None:
    """It was stopped where it ran; one that found its certificates expired didn't. The kubelet has to start it."""
    for name in ("manifests", "proc", "logs/kube-system_etcd-m_0/etcd"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "manifests/etcd.yaml").write_text("{spec: {containers: [{command: [etcd]}]}}\n")
    (tmp_path / "logs/kube-system_etcd-m_0/etcd/7.log").write_text("2026-11-29T22:00:00.1Z stderr F its last words\n")
    etcd = subprocess.Popen(["etcd", "infinity"], executable=shutil.which("sleep"))
    try:
        if runs:
            (tmp_path / "proc" / str(etcd.pid)).symlink_to(f"/proc/{etcd.pid}")
        told = {
            "__control_plane_program": "etcd",
            "__control_plane_manifests_folder": f"{tmp_path}/manifests",
            "__control_plane_logs": f"{tmp_path}/logs",
            "__control_plane_processes": f"{tmp_path}/proc",
            "__control_plane_pods": "/",
            "__control_plane_start_seconds": 2,
            "__control_plane_settled_seconds": 0,
            "control_plane_node_name": "m",
        }
        done = role_tasks.run(playbook, tmp_path, "control_plane", role_tasks.read("control_plane", "restart"), told)
        assert done.returncode != 0
        said = " ".join((done.stdout + done.stderr).split())
        assert re.search(
            r"etcd doesn't run on m after \d+ s \(no process of it runs\); the last that its log says is: its last words -- ", said
        ), said
        assert (etcd.poll() is None) is not runs
    finally:
        etcd.kill()
        etcd.wait()


@needs_root
def test_key_stays_and_is_shown_nowhere(machine: Machine) -> None:
    """Each run thinks up another key, and only the first one is ever written."""
    shown = machine.apply("--diff", "-vv").stdout
    path = machine.folder / "kubernetes/api-server/encryption.yaml"
    key = yaml.safe_load(path.read_text())["resources"][0]["providers"][0]["secretbox"]["keys"][0]["secret"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secretbox" not in shown
    assert machine.changed() == 0
    assert machine.calls == []
    assert key in path.read_text()
    assert key not in shown


@needs_root
def test_check_mode_shows_what_would_change(machine: Machine) -> None:
    """On a machine that has nothing, kubeadm included, and on one whose settings changed; neither is touched."""
    kubeadm = machine.folder / "bin/kubeadm"
    kubeadm.rename(machine.folder / "elsewhere")
    assert machine.changed("--check", "--diff") > 0
    assert not (machine.folder / "kubernetes").exists()
    (machine.folder / "elsewhere").rename(kubeadm)
    machine.changed()
    before = machine.applied
    done = machine.apply("--check", "--diff", control_plane_node_monitor_grace_period="37s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '+      value: "37s"' in done.stdout
    assert machine.calls == []
    assert machine.applied == before


@needs_root
def test_patch_that_is_no_longer_wanted_goes(machine: Machine) -> None:
    """Whatever is in the folder is applied by kubeadm."""
    wanted = {"etcd+strategic": {"spec": {"priority": 1}}, "kube-scheduler+merge": {"spec": {"priority": 2}}}
    machine.changed(control_plane_patches=wanted)
    folder = machine.folder / "kubernetes/patches"
    assert {path.name: yaml.safe_load(path.read_text()) for path in folder.iterdir()} == {f"{name}.yaml": wanted[name] for name in wanted}
    del wanted["etcd+strategic"]
    machine.changed(control_plane_patches=wanted)
    assert [path.name for path in folder.iterdir()] == ["kube-scheduler+merge.yaml"]
    assert len(machine.calls) == 4


@needs_root
def test_kubectl_is_the_control_plane_s(machine: Machine) -> None:
    """Fetched, not fetched again, and changed with the cluster's version, also while it runs; nothing else stays in its folder."""
    fetched = machine.folder / "lab/bin/kubectl"
    machine.changed()
    assert (fetched.read_bytes(), fetched.stat().st_mode & 0o777) == (KUBECTL, 0o755)
    assert machine.changed() == 0
    write_kubectl(machine.folder, b"of the next version")
    with fetched.open("rb") as running_one:
        # It is fetched, put in its place, and removed from where it was fetched to.
        assert machine.changed() == 3
        assert running_one.read() == KUBECTL
    assert (fetched.read_bytes(), fetched.stat().st_mode & 0o777) == (b"of the next version", 0o755)
    assert [path.name for path in fetched.parent.iterdir()] == ["kubectl"]
    assert machine.changed() == 0
    fetched.chmod(0o644)  # as a run that was cut short between the file and its mode leaves it
    assert machine.changed() == 3
    assert fetched.stat().st_mode & 0o777 == 0o755


@needs_root
def test_link_is_not_written_through(machine: Machine) -> None:
    """A lab of an earlier version has one into the mirror's store, whose files are checked by their sums."""
    store, fetched = machine.folder / "store", machine.folder / "lab/bin/kubectl"
    store.write_bytes(b"the store's")
    fetched.parent.mkdir(parents=True)
    fetched.symlink_to(store)
    machine.changed()
    assert store.read_bytes() == b"the store's"
    assert not fetched.is_symlink()
    assert fetched.read_bytes() == KUBECTL


@needs_root
def test_kubectl_is_not_fetched(machine: Machine) -> None:
    """In check mode, where none is wanted, and where it couldn't run."""
    fetched = machine.folder / "lab/bin/kubectl"
    machine.changed("--check")
    machine.changed(control_plane_kubectl="")
    done = machine.apply(__control_plane_platform_here="Darwin arm64")
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert re.search(
        rf"The kubectl of k8s-master is for Linux \S+, and this machine is Darwin arm64: install kubectl [\d.]+ here and link it to {fetched}\.",
        said,
    )
    assert not fetched.parent.exists()
    # The user's own, which is left as it is.
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"for Darwin")
    assert machine.changed(__control_plane_platform_here="Darwin arm64") == 0
    assert fetched.read_bytes() == b"for Darwin"


@needs_root
def test_control_plane_without_kubectl(machine: Machine) -> None:
    (machine.folder / "bin/kubectl").unlink()
    done = machine.apply()
    assert done.returncode != 0
    assert (
        f"k8s-master has no {machine.folder}/bin/kubectl that could be fetched to control_plane_kubectl, which is {machine.folder}/lab/bin/kubectl: "
        "install the package kubectl there, as the role kubernetes_packages does, or set control_plane_kubectl to an empty string."
    ) in " ".join((done.stdout + done.stderr).split())


def test_other_control_plane_is_refused(machine: Machine) -> None:
    """It isn't this role's where its configuration isn't there."""
    manifest = machine.folder / "kubernetes/manifests/kube-apiserver.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    done = machine.apply()
    assert done.returncode != 0
    assert f"k8s-master runs a control plane that this role didn't make ({manifest}): name another machine" in done.stderr + done.stdout
    assert [path.name for path in (machine.folder / "kubernetes").iterdir()] == ["manifests"]


@needs_root
def test_another_version_is_an_upgrade(machine: Machine) -> None:
    """Whatever tags were given: kubeadm's phases alone would be an upgrade of the control plane without all else that belongs to one."""
    machine.changed()
    done = machine.apply(control_plane_kubernetes_version="1.99.0")
    assert done.returncode != 0
    assert "control_plane_kubernetes_version is 1.99.0, and the API server of k8s-master has 1." in " ".join(done.stdout.split())
    assert machine.calls == []
