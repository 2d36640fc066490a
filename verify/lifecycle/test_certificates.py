"""The control plane's certificates are renewed: its programs start anew with them, and MySQL doesn't notice.

The tests of this file are one story: the fixture makes it happen, each test verifies one statement of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from outlive.base.wait import wait_for
from outlive.drill import run
from outlive.lab import certificates
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account, read_rows
from outlive.lab.objects import Pod
from outlive.lab.playbook import play
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

KNOWN_WITHIN = 300.0
"""Seconds for the API to know of a container that was started."""
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class Seen:
    """What there was at one moment."""

    expiries: Mapping[str, datetime]
    served: str
    """The certificate that the API server shows."""
    containers: Mapping[str, str]
    """Id and start of the containers of each pod of the control plane and of MySQL's namespace."""


@dataclass(frozen=True)
class Renewal:
    """What there was before and after, and the administrator's kubeconfig of before."""

    before: Seen
    after: Seen
    old: Path
    mysql: Pod


def look(whole_lab: Lab) -> Seen:
    """Look at the certificates, and at who uses them."""
    control_plane = whole_lab.inventory.group("control_plane")[0]
    return Seen(
        certificates.expiries(whole_lab.remote, control_plane.name),
        certificates.served(control_plane.address),
        containers(whole_lab.cluster, "kube-system") | containers(whole_lab.cluster, NAMESPACE),
    )


def containers(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Return id and start of the running containers of each pod of a namespace."""
    return {
        pod["metadata"]["name"]: " ".join(
            f"{each['containerID']} {each['state']['running']['startedAt']}"
            for each in pod["status"].get("containerStatuses", [])
            if "running" in each["state"]
        )
        for pod in cluster.listing("pods", namespace)
    }


@pytest.fixture(scope="module")
def renewal(whole_lab: Lab, written: Pod, tmp_path_factory: pytest.TempPathFactory) -> Renewal:
    """Renew the certificates, and wait until the lab is steady."""
    old = tmp_path_factory.mktemp("renewal") / "kubeconfig"
    old.write_bytes(whole_lab.cluster.kubeconfig.read_bytes())
    before = look(whole_lab)
    play("playbooks/renew-certificates.yml")
    run.await_steady(whole_lab)
    return Renewal(before, look(whole_lab), old, written)


def test_every_certificate_is_good_for_longer(renewal: Renewal) -> None:
    """Each certificate that kubeadm made ends later than the one before it."""
    assert len(renewal.before.expiries) > len(PROGRAMS)
    same = [name for name, end in renewal.before.expiries.items() if renewal.after.expiries[name] <= end]
    assert same == []


def test_api_server_shows_its_new_certificate(renewal: Renewal, lab: Inventory, remote: Remote) -> None:
    """What the API server shows its clients is the new certificate on its disk."""
    on_disk = remote.check(lab.group("control_plane")[0].name, "cat /etc/kubernetes/pki/apiserver.crt")
    assert renewal.after.served.split() == on_disk.split()
    assert renewal.after.served != renewal.before.served


def test_control_plane_was_started_anew(renewal: Renewal, lab: Inventory, cluster: Cluster) -> None:
    """Each program of the control plane runs in another container than before, so none of them has an old certificate in its memory."""
    before = {(pod := f"{program}-{lab.group('control_plane')[0].name}"): renewal.before.containers[pod] for program in PROGRAMS}
    wait_for(
        "control plane",
        f"other containers than {before}",
        lambda: containers(cluster, "kube-system"),
        lambda now: all(now.get(pod, "") not in ("", old) for pod, old in before.items()),
        within=KNOWN_WITHIN,
    )


def test_new_kubeconfig_works(renewal: Renewal, cluster: Cluster) -> None:
    """The administrator's kubeconfig on the host is a new one, and the API server takes it."""
    assert cluster.kubeconfig.read_bytes() != renewal.old.read_bytes()
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert Cluster(cluster.kubeconfig).nodes()


def test_old_kubeconfig_is_good_until_it_expires(renewal: Renewal) -> None:
    """The administrator's old certificate still opens the API: Kubernetes revokes none."""
    assert Cluster(renewal.old).nodes()


def test_mysql_was_not_started_again(renewal: Renewal, cluster: Cluster) -> None:
    """MySQL's pod is the one that it was, and its container too, since the same moment."""
    name = renewal.mysql.name
    assert cluster.pod(NAMESPACE, name).uid == renewal.mysql.uid
    assert renewal.after.containers[name] == renewal.before.containers[name] != ""


@pytest.mark.usefixtures("renewal")
def test_row_is_there_after_the_renewal(cluster: Cluster, account: Account) -> None:
    """The row that was written before is read, once."""
    assert read_rows(cluster, account) == ["111"]


@pytest.mark.usefixtures("renewal")
def test_nothing_has_to_be_repaired_after_the_renewal() -> None:
    """playbooks/site.yml, run again, finds nothing to change."""
    played = play("playbooks/site.yml")
    assert played.recap, "the playbook printed no recap"
    assert not played.changed, "\n".join(played.changed)
