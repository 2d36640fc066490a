"""kubeadm, kubelet and kubectl of exactly the version that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import testinfra

PACKAGES = ["kubeadm", "kubectl", "kubelet"]


@pytest.fixture
def version(told: Callable[[str], Any]) -> str:
    """Return the version of the packages, without their revision."""
    return str(told("kubernetes_packages_version"))


def test_packages_have_the_version(host: testinfra.host.Host, version: str) -> None:
    installed = {name: host.package(name).version.rpartition("-")[0] for name in PACKAGES}
    assert installed == dict.fromkeys(PACKAGES, version)


def test_programs_say_the_version(host: testinfra.host.Host, version: str) -> None:
    assert host.check_output("kubeadm version --output short") == f"v{version}"
    assert host.check_output("kubelet --version") == f"Kubernetes v{version}"
    assert f"v{version}" in host.check_output("kubectl version --client")


def test_packages_are_held_and_pinned(host: testinfra.host.Host, version: str) -> None:
    assert set(PACKAGES) <= set(host.check_output("apt-mark showhold").split())
    for name in PACKAGES:
        candidate = host.check_output("apt-cache policy %s", name).split("Candidate: ")[1].split()[0]
        assert candidate.startswith(f"{version}-")


def test_they_bring_what_pods_are_connected_with(host: testinfra.host.Host) -> None:
    assert host.file("/opt/cni/bin/bridge").is_file


def test_the_kubelet_starts_with_the_machine(host: testinfra.host.Host) -> None:
    # Running it is not yet: it ends, and is started anew, until kubeadm has written its configuration.
    assert host.service("kubelet").is_enabled
