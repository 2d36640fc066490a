"""The module that approves kubelets' requests for certificates: a node gets one for its own name and address, and for nothing else."""

from __future__ import annotations

import base64
import json
import runpy
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fake_api import FakeApi, listing, serve

from .conftest import ROOT

MODULE = ROOT / "roles" / "kubelet" / "library" / "kubelet_certificate.py"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
HEALTH = "/api/v1/nodes/n1/proxy/healthz"
ADDRESS = "192.0.2.11"
OWN = [x509.DNSName("n1"), x509.IPAddress(ip_address(ADDRESS))]


def request(
    *subjects: x509.GeneralName,
    name: str = "csr-1",
    asker: str = "system:node:n1",
    common_name: str = "system:node:n1",
    organization: str = "system:nodes",
    usages: tuple[str, ...] = ("digital signature", "server auth"),
) -> dict[str, Any]:
    """Return a request as the API gives it; by default the one of node n1 for its own name and address."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    )
    if subjects:
        builder = builder.add_extension(x509.SubjectAlternativeName(subjects), critical=False)
    text = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "metadata": {"name": name},
        "spec": {"request": base64.b64encode(text).decode(), "username": asker, "usages": list(usages)},
        "status": {},
    }


def run(api: FakeApi, folder: Path, timeout: int = 0, check: bool = False) -> dict[str, Any]:
    """Run the module for node n1 of a cluster and return its result."""
    with serve(api, folder) as cluster:
        options = {
            "kubeconfig": str(cluster.kubeconfig),
            "node": "n1",
            "address": ADDRESS,
            "timeout": timeout,
            "_ansible_check_mode": check,
        }
        arguments = folder / "arguments.json"
        arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
        finished = subprocess.run([sys.executable, str(MODULE), str(arguments)], capture_output=True, text=True, check=False)
    result: dict[str, Any] = json.loads(finished.stdout or finished.stderr)
    return result


def patches(api: FakeApi) -> list[str]:
    """Return the paths of what was approved."""
    return [each.split()[1] for each in api.requests if each.startswith("PATCH")]


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (request(*OWN), ""),
        (request(OWN[1]), ""),
        (request(*OWN, x509.DNSName("n2")), "is for 192.0.2.11, n1, n2, and only n1 and 192.0.2.11 are the node's own"),
        (request(*OWN, x509.IPAddress(ip_address("10.0.2.15"))), "is for 10.0.2.15, 192.0.2.11, n1, and only"),
        (request(OWN[0]), "is for n1, and only"),
        (request(), "is for no address, and only"),
        (request(*OWN, x509.RFC822Name("n1")), "and only"),
        (request(*OWN, common_name="system:node:n2"), "is for CN=system:node:n2,O=system:nodes"),
        (request(*OWN, organization="system:masters"), "is for CN=system:node:n1,O=system:masters"),
        (request(*OWN, usages=("server auth", "client auth")), "is for server auth, client auth"),
        ({"spec": {"request": base64.b64encode(b"nothing").decode()}}, "can't be read ("),
    ],
)
def test_what_a_node_may_ask_for(asked: dict[str, Any], wrong: str) -> None:
    found = runpy.run_path(str(MODULE))["objection"](asked, "n1", ADDRESS)
    assert found == wrong if not wrong else wrong in found


def test_own_request_is_approved(tmp_path: Path) -> None:
    """The requests of other nodes, and those that were decided on, are let be; run again, nothing changes."""
    decided = {**request(*OWN, name="csr-0"), "status": {"conditions": [{"type": "Approved"}]}}
    other = request(*OWN, name="csr-2", asker="system:node:n2")
    api = FakeApi({REQUESTS: [listing(decided, other, request(*OWN)), listing(decided, other)], HEALTH: [{}]})
    result = run(api, tmp_path)
    assert (result["changed"], result["approved"]) == (True, ["csr-1"])
    assert patches(api) == [f"{REQUESTS}/csr-1/approval"]
    assert run(api, tmp_path)["changed"] is False


def test_kubelet_that_is_reached_later(tmp_path: Path) -> None:
    """Neither node, request nor certificate is there at once."""
    api = FakeApi({REQUESTS: [listing(), listing(request(*OWN)), listing()], HEALTH: [404, 503, {}]})
    assert run(api, tmp_path, timeout=60)["approved"] == ["csr-1"]


def test_foreign_address_is_refused(tmp_path: Path) -> None:
    """The sentence names the request, what it asks for and what is allowed."""
    api = FakeApi({REQUESTS: [listing(request(*OWN, x509.DNSName("n2")))], HEALTH: [503]})
    result = run(api, tmp_path)
    assert result["failed"] is True
    assert (
        "The API server doesn't reach the kubelet of n1 at 192.0.2.11 within 0 s (status 503; the request csr-1 of its kubelet is for"
        in result["msg"]
    )
    assert "was not approved): look at `kubectl get csr`" in result["msg"]
    assert patches(api) == []


def test_refusal_is_a_warning_where_the_kubelet_is_reached(tmp_path: Path) -> None:
    """The certificate that it has goes on; the next one would be refused too."""
    api = FakeApi({REQUESTS: [listing(request(*OWN, x509.DNSName("n2")))], HEALTH: [{}]})
    result = run(api, tmp_path)
    assert result["changed"] is False
    assert "n1: the request csr-1 of its kubelet is for 192.0.2.11, n1, n2, and only" in str(result["warnings"])


def test_check_mode_approves_nothing(tmp_path: Path) -> None:
    api = FakeApi({REQUESTS: [listing(request(*OWN))], HEALTH: [503]})
    assert run(api, tmp_path, check=True)["changed"] is True
    assert patches(api) == []


def test_kubeconfig_that_can_t_be_read(tmp_path: Path) -> None:
    arguments = tmp_path / "arguments.json"
    arguments.write_text(
        json.dumps({"ANSIBLE_MODULE_ARGS": {"kubeconfig": f"{tmp_path}/none", "node": "n1", "address": ADDRESS, "timeout": 0}})
    )
    finished = subprocess.run([sys.executable, str(MODULE), str(arguments)], capture_output=True, text=True, check=False)
    assert f"The kubeconfig {tmp_path}/none can't be read (" in json.loads(finished.stdout)["msg"]
