"""A kubelet that the API server reaches by a certificate of the cluster, and does so again after a start."""

from __future__ import annotations

import ssl

import testinfra
from cryptography import x509

from outlive.base.wait import wait_for
from outlive.lab.inventory import Host

PORT = 10250


def test_the_kubelet_starts_with_the_machine(host: testinfra.host.Host) -> None:
    service = host.service("kubelet")
    assert service.is_enabled
    assert service.is_running


def test_its_configuration_is_root_s_alone(host: testinfra.host.Host) -> None:
    found = host.file("/var/lib/kubelet/config.yaml")
    assert (found.user, found.group, found.mode) == ("root", "root", 0o600)


def test_the_api_server_reaches_it(host: testinfra.host.Host, tested: Host, start_seconds: float) -> None:
    """It trusts no certificate that a kubelet signs itself."""
    asked = f"kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /api/v1/nodes/{tested.name}/proxy/healthz"
    wait_for(
        "the kubelet", "ok through the API server", lambda: host.run(asked).stdout, lambda said: said == "ok", within=start_seconds, every=5
    )


def test_its_certificate_is_the_cluster_s(host: testinfra.host.Host, tested: Host) -> None:
    """For the node's own name and address, and signed by the cluster's authority."""
    certificate = x509.load_pem_x509_certificate(ssl.get_server_certificate((tested.address, PORT), timeout=60).encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(host.file("/etc/kubernetes/pki/ca.crt").content))
    subjects = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(each.value) for each in subjects} == {tested.name, tested.address}
