"""The security baseline, as docs/security.md lists it: a test for each control that can be seen on the lab.

Nothing is changed: what would be refused is asked for as a dry run.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import socket
import ssl
import warnings
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.process import run
from outlive.base.wait import persist, wait_for
from outlive.course.exercises import LEVEL
from outlive.course.walk import on_host
from outlive.lab import nfs
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account
from outlive.lab.ssh import Remote

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
TLS_VERSIONS = {"VersionTLS12", "VersionTLS13", "TLS1.2", "TLS1.3"}
API, KUBELET, ETCD = 6443, 10250, 2379
"""Ports that speak TLS in the lab's network."""
PRIVILEGED = {"kube-flannel", "hostpath", "local-path-storage", "exercise-7"}
"""Namespaces whose pods need the node's network or files; kube-system is exempt altogether."""
AUDIT_LOG = "/var/log/kubernetes/audit/audit.log"
ETCD_PKI = "/etc/kubernetes/pki/etcd"
MODES = {
    "/etc/kubernetes/manifests/*.yaml": 0o600,
    "/etc/kubernetes/*.conf": 0o600,
    "/etc/kubernetes/kubeadm-config.yaml": 0o600,
    "/etc/kubernetes/pki": 0o755,
    "/etc/kubernetes/pki/*.key": 0o600,
    "/etc/kubernetes/pki/etcd/*.key": 0o600,
    "/etc/kubernetes/pki/*.crt": 0o644,
    "/etc/kubernetes/pki/etcd/*.crt": 0o644,
    "/etc/kubernetes/api-server": 0o700,
    "/etc/kubernetes/api-server/*": 0o600,
    "/var/log/kubernetes/audit": 0o700,
    "/var/log/kubernetes/audit/*": 0o600,
    "/var/lib/etcd": 0o700,
    "/var/lib/kubelet/config.yaml": 0o600,
    "/var/lib/kubelet/pki/*.pem": 0o600,
}
"""The most that each file may be open to, after the CIS Kubernetes Benchmark, sections 1.1 and 4.1; all are root's."""
NEEDED = {"/etc/kubernetes/*.conf", "/etc/kubernetes/pki/*.crt", "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/pki/*.pem"}
"""What every node has; the rest is the control plane's, which has all of it."""
INSECURE_KEYS = {
    "1M4RzhMyWuFS/86uPY/ce2prh/dVTHW7iD2RhpquOZA",  # RSA
    "WkvqjnyPAeC0cbPErYiGP9vqHdgL1MqqvPdIe3lvHgI",  # Ed25519
}
"""SHA-256 of the public keys whose private part is in Vagrant's own repository (keys/)."""


def asked(cluster: Cluster, command: str) -> str:
    """Return what a command on the host prints, or fail with it."""
    done = on_host(command, cluster.environment)
    assert done.status == 0, f"`{command}`: {' '.join(done.lines)}"
    return "\n".join(done.lines)


def flags(cluster: Cluster, program: str) -> dict[str, str]:
    """Return the flags of a program of the control plane."""
    words = [each.removeprefix("--").partition("=") for each in cluster.commands("kube-system", f"component={program}")[1:]]
    assert words, f"no pod of {program} is there"
    return {name: value for name, _, value in words}


def authority(cluster: Cluster) -> str:
    """Return the certificate of the cluster's authority."""
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
    return base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()


def handshake(address: str, port: int, context: ssl.SSLContext) -> tuple[str, bytes]:
    """Return the version that a server speaks and its certificate, which is checked as the context says.

    Raises:
        ssl.SSLError: one of the two wants no such connection.
    """
    with socket.create_connection((address, port), timeout=60) as link, context.wrap_socket(link, server_hostname=address) as speaking:
        return speaking.version() or "", speaking.getpeercert(binary_form=True) or b""


@pytest.fixture(scope="session")
def control_plane(lab: Inventory) -> str:
    """Return the name of the control plane's machine."""
    return lab.group("control_plane")[0].name


@pytest.fixture(scope="session")
def servers(lab: Inventory) -> list[tuple[str, int]]:
    """Return address and port of all that speaks TLS in the lab's network."""
    first = lab.group("control_plane")[0].address
    return [(first, API), (first, ETCD), *((host.address, KUBELET) for host in lab.group("cluster"))]


def test_secrets_are_encrypted_in_etcd(cluster: Cluster, control_plane: str, account: Account) -> None:
    """No Secret is in etcd as it is: each begins with the name of the way that it was encrypted. MySQL's password is one of them."""
    files = f"--cacert={ETCD_PKI}/ca.crt --cert={ETCD_PKI}/server.crt --key={ETCD_PKI}/server.key"
    command = f"etcdctl --endpoints=https://127.0.0.1:{ETCD} {files} get /registry/secrets/ --prefix --write-out=json"

    def listed() -> Any:  # noqa: ANN401  JSON
        try:
            return json.loads(asked(cluster, f"kubectl --namespace kube-system exec etcd-{control_plane} -- {command}"))
        except ValueError as error:
            raise UnreachableError(f"`kubectl exec` brought no whole answer of etcd's ({error})") from error

    found = persist("etcd", listed, wanted="a list of the Secrets", within=60)
    secrets = {base64.b64decode(each["key"]).decode(): base64.b64decode(each["value"]) for each in found.get("kvs", [])}
    assert f"/registry/secrets/{NAMESPACE}/{account.reference.name}" in secrets
    plain = [name for name, value in secrets.items() if not value.startswith(b"k8s:enc:secretbox:v1:")]
    assert plain == [], "write them again: kubectl get secrets -A -o json | kubectl replace -f -"


def test_audit_log_says_who_and_never_what(cluster: Cluster, remote: Remote, control_plane: str, account: Account) -> None:
    """Who reads a Secret is in the log; no line has contents, and what the cluster does by itself without end is left out."""
    cluster.secret(NAMESPACE, account.reference)
    lines = wait_for(
        f"{AUDIT_LOG} on {control_plane}",
        f"a line on the Secret {account.reference.name}",
        lambda: [json.loads(line) for line in remote.check(control_plane, "tail --lines=500 %s", AUDIT_LOG).splitlines()],
        lambda events: any(_reads(event, account.reference.name) for event in events),
        within=60,
        describe=lambda events: f"{len(events)} lines",
    )
    assert {event["level"] for event in lines} == {"Metadata"}
    assert not any({"requestObject", "responseObject"} & set(event) for event in lines)
    assert not any(event["verb"] == "watch" or event.get("objectRef", {}).get("resource") in ("leases", "events") for event in lines)


def _reads(event: dict[str, Any], secret: str) -> bool:
    reference = event.get("objectRef", {})
    return (event["verb"], reference.get("resource"), reference.get("name")) == ("get", "secrets", secret)


def test_audit_log_has_bounds(cluster: Cluster) -> None:
    """Its files are turned over: it can't fill the disk."""
    found = flags(cluster, "kube-apiserver")
    assert [int(found[f"audit-log-{each}"]) for each in ("maxage", "maxbackup", "maxsize")] == [30, 10, 10]


def test_pods_are_held_to_their_level(cluster: Cluster) -> None:
    """In a namespace without a label the node's files are refused, and so is its network."""
    for overrides, reason in (
        ({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "hostPath volumes"),
        ({"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
    ):
        text = shlex.quote(json.dumps({"spec": overrides}))
        done = on_host(
            f"kubectl --namespace {NAMESPACE} run too-much --image=none --dry-run=server --overrides={text}", cluster.environment
        )
        assert done.status != 0
        assert 'violates PodSecurity "baseline:latest"' in done.lines[-1]
        assert reason in done.lines[-1]


def test_only_what_needs_the_node_is_privileged(cluster: Cluster) -> None:
    """No other namespace has a label that lets its pods have the node's network or files."""
    levels = {each["metadata"]["name"]: each["metadata"].get("labels", {}).get(LEVEL) for each in cluster.listing("namespaces")}
    assert {name for name, level in levels.items() if level == "privileged"} <= PRIVILEGED


def test_kubelets_have_certificates_of_the_cluster(lab: Inventory, cluster: Cluster) -> None:
    """Each kubelet shows one for its own name and address; the API server takes no other, so it is checked here as it does."""
    assert flags(cluster, "kube-apiserver")["kubelet-certificate-authority"] == "/etc/kubernetes/pki/ca.crt"
    context = ssl.create_default_context(cadata=authority(cluster))
    for host in lab.group("cluster"):
        _, certificate = handshake(host.address, KUBELET, context)
        names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {str(each.value) for each in names} == {host.name, host.address}


def test_kubelets_ask_who_comes(cluster: Cluster, nodes: tuple[str, ...]) -> None:
    """As each kubelet says itself: nobody anonymous, the API server decides, no port without TLS, no profiles, no change of the kernel."""
    for name in nodes:
        found = json.loads(asked(cluster, f"kubectl get --raw /api/v1/nodes/{name}/proxy/configz"))["kubeletconfig"]
        assert found["authentication"]["anonymous"]["enabled"] is False, name
        assert found["authentication"]["webhook"]["enabled"] is True, name
        assert found["authorization"]["mode"] == "Webhook", name
        assert found.get("readOnlyPort", 0) == 0, name
        assert found["rotateCertificates"] is True, name
        assert found["serverTLSBootstrap"] is True, name
        assert found["enableProfilingHandler"] is False, name
        assert found["podPidsLimit"] == 4096, name
        assert found["protectKernelDefaults"] is True, name


def test_old_tls_is_refused(servers: list[tuple[str, int]]) -> None:
    """It is the server that refuses: this client would speak TLS 1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    for address, port in servers:
        with pytest.raises(ssl.SSLError) as refused:
            handshake(address, port, context)
        assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION", f"{address}:{port}"


def test_every_program_has_a_floor_for_tls(cluster: Cluster) -> None:
    """Those too that only their own machine can reach."""
    for program in (*PROGRAMS, "etcd"):
        assert flags(cluster, program).get("tls-min-version") in TLS_VERSIONS, program


def test_profiling_is_off(cluster: Cluster) -> None:
    """By its flag in each program; of the API server, whose profiles an administrator would get, in fact."""
    for program in PROGRAMS:
        assert flags(cluster, program).get("profiling") == "false", program
    done = on_host("kubectl get --raw /debug/pprof/", cluster.environment)
    assert done.status != 0
    assert "NotFound" in done.lines[-1]


def test_files_are_open_to_nobody_else(remote: Remote, nodes: tuple[str, ...], control_plane: str) -> None:
    """Modes and owners of keys, settings and data, after the CIS benchmark."""
    for name in nodes:
        for pattern, most in MODES.items():
            listing = remote.run(name, f"stat --dereference --format='%a %U:%G %n' {pattern}")
            found = [line.split(" ", 2) for line in listing.stdout.splitlines()]
            assert found or (name != control_plane and pattern not in NEEDED), f"{name} has no {pattern}"
            wrong = [" ".join(each) for each in found if int(each[0], 8) & ~most or each[1] != "root:root"]
            assert wrong == [], f"{name}: at most {most:o}"


def test_insecure_key_is_replaced(lab: Inventory, remote: Remote) -> None:
    """No account can be entered with the key that everybody has."""
    for name in lab.hosts:
        text = remote.check(name, "cat /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys 2>/dev/null; true")
        keys = {word for line in text.splitlines() for word in line.split() if word.startswith("AAAA")}
        assert keys or lab.host(name).literal("ansible_connection"), f"{name} has no authorized key"
        assert not {_fingerprint(key) for key in keys} & INSECURE_KEYS, name


def _fingerprint(key: str) -> str:
    return base64.b64encode(sha256(base64.b64decode(key)).digest()).decode().rstrip("=")


def test_passwords_are_not_in_git(account: Account) -> None:
    """No file that git knows has MySQL's password as a word of its own, whoever chose it."""
    password = account.password.reveal()
    if not password:
        raise LabError(f"The Secret {account.reference.name} has an empty password, which can't be looked for: give it one.")
    word = re.compile(rf"(?<!\w){re.escape(password)}(?!\w)")
    assert [str(path) for path in _tracked() if word.search(path.read_text(encoding="utf-8", errors="ignore"))] == []


def _tracked() -> Iterator[Path]:
    names = run(["git", "ls-files", "-z"], cwd=ROOT)
    if names.returncode != 0:
        raise LabError(f"{ROOT} is no checkout ({names.stderr.strip()}): what git holds can be read only in one.")
    yield from (ROOT / name for name in names.stdout.split("\0") if name and (ROOT / name).is_file())


def test_nfs_is_version_4_and_knows_its_clients(lab: Inventory, remote: Remote) -> None:
    """Version 3 is off, and the one export is for the lab's network alone."""
    server, folder = nfs.exported(lab)
    versions = remote.check(server.name, "cat /proc/fs/nfsd/versions").split()
    assert "-3" in versions
    assert "+4.2" in versions
    found = {each.path: each for each in nfs.exports(remote, server.name)}
    assert {each.client for each in found.values()} == {lab.setting("lab_network")}
    assert set(found) == {folder}
