"""Fixtures of the read-only checks: what each machine says about itself, asked once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from outlive.lab import machine_facts
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Remote
from outlive.report.model import Report

PACKAGES = ["containerd", "kubeadm", "kubelet", "kubectl", "nfs-common", "nfs-kernel-server"]
SERVICES = ["containerd", "kubelet"]
MODULES = ["overlay", "br_netfilter", "vxlan"]
SYSCTLS = ["net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"]
FILES = ["/etc/kubernetes/admin.conf", "/etc/kubernetes/super-admin.conf", "/etc/kubernetes/kubelet.conf"]
API_NAME = "kubernetes.default.svc.cluster.local"

Facts = Callable[[str], Mapping[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def described(report: Report) -> Report:
    """Put the lab's description into the report."""
    return report


@pytest.fixture(scope="session")
def facts(cluster: Cluster, remote: Remote) -> Facts:
    """Return what asks a machine for its facts, at most once each."""
    program = Path(machine_facts.__file__).read_text()

    @cache
    def ask(name: str) -> Mapping[str, Any]:
        dns = cluster.service_address("kube-system", "kube-dns")
        wanted = {
            "packages": PACKAGES,
            "services": SERVICES,
            "modules": MODULES,
            "sysctls": SYSCTLS,
            "files": FILES,
            "dns": [dns, API_NAME],
        }
        answer: Mapping[str, Any] = json.loads(remote.check(name, "python3 -c %s %s", program, json.dumps(wanted)))
        return answer

    return ask


@pytest.fixture(scope="session")
def nodes(lab: Inventory) -> tuple[str, ...]:
    """Return the names of the machines that are nodes of the cluster."""
    return tuple(host.name for host in lab.group("cluster"))
