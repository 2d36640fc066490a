"""Another version of Kubernetes: a lab of the earlier one, with MySQL and its row, is brought to the lab's own while MySQL runs.

The box has the later packages. The roles replace them at the first `site.yml`, as on any machine that isn't a node yet, and the images come from the mirror.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from outlive.base.errors import LabError
from outlive.base.paths import LOGS, STATE, kubectl
from outlive.host import reach
from outlive.host.reach import Reached
from outlive.lab import mysql, objects
from outlive.mirror import lock
from verify.rehearsal import own_machines

pytestmark = pytest.mark.rehearsal

LOCK = lock.load()
EARLIER, LATER = LOCK.kubernetes_earlier, LOCK.programs["kubernetes"].version.removeprefix("v")
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")


@dataclass(frozen=True)
class Upgrade:
    """The lab, and the versions of its programs before and after."""

    lab: Reached
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="module")
def upgrade(empty: None) -> Iterator[Upgrade]:
    """Make a lab of the earlier version with a row in MySQL, and bring it to the later one."""
    reach.build_mirror("full", lock.EARLIER)
    lab = reach.reach()
    folders = (own_machines.COMMON, own_machines.LAB, own_machines.OFFLINE, write_earlier(STATE / "earlier"))
    earlier = Reached(own_machines.settings(folders=folders), lab.init)
    own_machines.make_machines(earlier)
    own_machines.play(earlier, "rehearsal cluster", "playbooks/site.yml")
    own_machines.play(earlier, "rehearsal tutorial", "playbooks/tutorial.yml")
    assert own_machines.rows(lab, mysql.WRITE_ROW) == ["111"]
    before = versions(lab)
    with pytest.raises(LabError):
        own_machines.play(lab, "rehearsal refusal", "playbooks/site.yml")
    own_machines.play(lab, "rehearsal upgrade", "playbooks/upgrade.yml")
    yield Upgrade(lab, before, versions(lab))


def write_earlier(folder: Path) -> Path:
    """Write the overlay that asks for the earlier version, from the mirror's repository of it."""
    variables = folder / "group_vars/all"
    variables.mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {}\n", encoding="utf-8")
    offered = yaml.safe_load((own_machines.OFFLINE / "group_vars/all/kubernetes_packages.yml").read_text(encoding="utf-8"))
    archive = offered["kubernetes_packages_repository"].replace("/kubernetes/", f"/{lock.EARLIER}/")
    asked = {"kubernetes_packages_repository": archive, "kubernetes_packages_version": EARLIER}
    (variables / "kubernetes_packages.yml").write_text(yaml.safe_dump(asked), encoding="utf-8")
    return folder


def versions(lab: Reached) -> dict[str, str]:
    """Return the version of each node's kubelet, and of each of Kubernetes' programs that runs in a pod, by the pod's name, and of the kubectl on this machine."""
    found = {node.name: node.kubelet for node in map(objects.node, own_machines.listing(lab, "nodes"))}
    for pod in own_machines.listing(lab, "pods", "kube-system"):
        image, _, version = pod["spec"]["containers"][0]["image"].rpartition(":")
        if image.rpartition("/")[2] in PROGRAMS:
            found[pod["metadata"]["name"]] = version
    found["kubectl"] = json.loads(lab.output([str(kubectl()), "version", "--client", "--output=json"]))["clientVersion"]["gitVersion"]
    return found


def test_lab_had_the_earlier_version(upgrade: Upgrade) -> None:
    assert len(upgrade.before) >= len(PROGRAMS) + 3
    assert set(upgrade.before.values()) == {f"v{EARLIER}"}


def test_site_refuses_to_change_a_running_cluster_s_version(upgrade: Upgrade) -> None:
    said = (LOGS / "rehearsal-refusal.log").read_text(encoding="utf-8")
    assert "run playbooks/upgrade.yml" in " ".join(said.split())
    assert EARLIER in said
    assert LATER in said


def test_everything_has_the_later_version(upgrade: Upgrade) -> None:
    assert len(upgrade.after) == len(upgrade.before)
    assert set(upgrade.after.values()) == {f"v{LATER}"}


def test_every_node_takes_pods_again(upgrade: Upgrade) -> None:
    nodes = own_machines.listing(upgrade.lab, "nodes")
    assert [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")] == []
    assert len(own_machines.ready_nodes(upgrade.lab)) == len(nodes)


def test_row_is_there(upgrade: Upgrade) -> None:
    assert own_machines.rows(upgrade.lab) == ["111"]


def test_second_run_changes_nothing(upgrade: Upgrade) -> None:
    again = own_machines.play(upgrade.lab, "rehearsal upgrade again", "playbooks/upgrade.yml")
    assert again.recap
    assert again.changed == ()


def test_going_back_is_refused(upgrade: Upgrade) -> None:
    with pytest.raises(LabError):
        own_machines.play(upgrade.lab, "rehearsal going back", "playbooks/upgrade.yml", "-e", f"kubernetes_packages_version={EARLIER}")
    said = (LOGS / "rehearsal-going-back.log").read_text(encoding="utf-8")
    assert "goes neither back nor over a minor version" in " ".join(said.split())
