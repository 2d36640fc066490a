"""The nodes as the roles were to leave them."""

from __future__ import annotations

import json

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from outlive.course.walk import on_host
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from verify.static.conftest import API_NAME, MODULES, SERVICES, SYSCTLS, Facts

NAT_ADDRESS = "10.0.2.15"
"""What VirtualBox gives every VM on its management network: as a node's address it leads nowhere."""


def test_versions_are_the_inventory_s(lab: Inventory, nodes: tuple[str, ...], facts: Facts) -> None:
    """The Kubernetes packages on every node have the inventory's version, and containerd is there."""
    version = lab.setting("kubernetes_packages_version")
    for name in nodes:
        packages = facts(name)["packages"]
        installed = {package: packages.get(package, "") for package in ("kubeadm", "kubelet", "kubectl")}
        assert {each.rpartition("-")[0] for each in installed.values()} == {version}, f"{name} has {installed}"
        assert "containerd" in packages, f"{name} has no containerd"


def test_kubelets_run_that_version(lab: Inventory, cluster: Cluster) -> None:
    """The running kubelets say the inventory's version, and the container runtime is containerd."""
    for node in cluster.nodes():
        assert node.kubelet == f"v{lab.setting('kubernetes_packages_version')}", f"{node.name} runs {node.kubelet}"
        assert node.runtime.startswith("containerd://"), f"{node.name} runs {node.runtime}"


def test_kubectl_of_the_lab_is_of_that_version(lab: Inventory, cluster: Cluster) -> None:
    """A shell of the lab's finds the kubectl of the inventory's version, whatever else the host has."""
    done = on_host("kubectl version --output=json 2>/dev/null", cluster.environment)
    assert done.status == 0, " ".join(done.lines)
    found = json.loads("\n".join(done.lines))
    versions = [found[each]["gitVersion"] for each in ("clientVersion", "serverVersion")]
    assert versions == [f"v{lab.setting('kubernetes_packages_version')}"] * 2


def test_every_machine_is_a_ready_node(lab: Inventory, cluster: Cluster) -> None:
    """Every machine of the inventory's cluster is a node, and Ready."""
    states = {node.name: node.state for node in cluster.nodes()}
    assert states == {host.name: "Ready" for host in lab.group("cluster")}


def test_nodes_have_their_lab_address(lab: Inventory, cluster: Cluster) -> None:
    """A node's internal address is its node_ip, never the management network's."""
    for node in cluster.nodes():
        assert node.addresses == (lab.host(node.name).address,), f"{node.name} has {node.addresses}"
        assert NAT_ADDRESS not in node.addresses


def test_swap_is_off_and_stays_off(nodes: tuple[str, ...], facts: Facts) -> None:
    """No swap is in use, and none is in /etc/fstab to come back after a restart."""
    for name in nodes:
        assert facts(name)["swaps"] == [], f"{name} swaps"
        assert facts(name)["fstab_swaps"] == [], f"{name} will swap after its next start"


def test_kernel_is_set_up_for_pods(nodes: tuple[str, ...], facts: Facts) -> None:
    """Kernel modules are loaded, and forwarding and bridge filtering are on."""
    for name in nodes:
        assert facts(name)["modules"] == MODULES, f"{name} has {facts(name)['modules']}"
        assert facts(name)["sysctls"] == dict.fromkeys(SYSCTLS, "1"), f"{name} has {facts(name)['sysctls']}"


def test_services_start_with_the_machine(nodes: tuple[str, ...], facts: Facts) -> None:
    """Containerd and kubelet are enabled: the lab survives a restart."""
    for name in nodes:
        assert facts(name)["services"] == dict.fromkeys(SERVICES, "enabled"), f"{name} has {facts(name)['services']}"


def test_certificates_are_ecdsa(lab: Inventory, facts: Facts) -> None:
    """Every certificate of the control plane has an elliptic-curve key."""
    for host in lab.group("control_plane"):
        certificates = facts(host.name)["certificates"]
        assert certificates, f"{host.name} has no certificate below /etc/kubernetes/pki"
        others = [
            path
            for path, text in certificates.items()
            if not isinstance(x509.load_pem_x509_certificate(text.encode()).public_key(), EllipticCurvePublicKey)
        ]
        assert others == [], f"{host.name} has other keys"


def test_secrets_are_root_s(nodes: tuple[str, ...], facts: Facts) -> None:
    """The nodes' kubeconfigs are readable by root alone."""
    for name in nodes:
        modes = facts(name)["modes"]
        assert set(modes.values()) == {"0600"}, f"{name} has {modes}"


def test_names_resolve_on_every_node(cluster: Cluster, nodes: tuple[str, ...], facts: Facts) -> None:
    """Every node reaches the cluster's DNS through the service network, and it resolves."""
    wanted = cluster.service_address("default", "kubernetes")
    answers = {name: facts(name)["dns"] for name in nodes}
    assert answers == dict.fromkeys(nodes, wanted), f"asked for {API_NAME}"
