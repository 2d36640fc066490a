"""What is wrong with hosts.yml and gone, or a traceback, once a program has read it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.host.doctor import checklist, networks
from outlive.host.settings import Settings

HOSTS = (ROOT / "inventories/lab/hosts.yml").read_text(encoding="utf-8")


def test_doubled_name(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(HOSTS.replace("k8s-node2", "k8s-node1"), encoding="utf-8")
    with pytest.raises(LabError, match=r"'k8s-node1' stands twice in .*hosts\.yml \(lines \d+ and \d+\), .*: rename one or remove it"):
        checklist.no_doubled_key(hosts)


def test_doubled_name_stops_what_reads_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "inventories", tmp_path / "inventories")
    (tmp_path / "inventories/lab/hosts.yml").write_text(HOSTS.replace("k8s-node2", "k8s-node1"), encoding="utf-8")
    monkeypatch.setattr(checklist, "ROOT", tmp_path)
    settings = Settings(provider="libvirt", driver="qemu", sources="mirror", private=True, why="as asked")
    for chosen in (settings, replace(settings, driver="kvm", sources="upstream")):
        with pytest.raises(LabError, match="'k8s-node1' stands twice"):
            checklist.load_inventory(chosen)


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "inventories").iterdir() if (path / "hosts.yml").exists()))
def test_the_project_s_inventories_have_no_doubled_name(folder: str) -> None:
    checklist.no_doubled_key(ROOT / "inventories" / folder / "hosts.yml")


def test_file_that_is_no_yaml(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("all: {\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"hosts\.yml can't be read \(.*line 2.*\): correct it") as raised:
        checklist.no_doubled_key(hosts)
    assert "\n" not in str(raised.value)
    with pytest.raises(LabError, match=r"nowhere\.yml can't be read \(.*No such file"):
        checklist.no_doubled_key(tmp_path / "nowhere.yml")


@pytest.mark.parametrize(("setting", "unit"), [("lab_memory", "MiB"), ("lab_cpus", "CPUs"), ("lab_data_disk", "MiB")])
@pytest.mark.parametrize("value", [None, "", "2 GB", -1, 1.5])
def test_size_that_is_no_number(setting: str, unit: str, value: object) -> None:
    with pytest.raises(LabError, match=rf"{setting} of n1 is .*, which is no number of {unit}: write a whole one, such as 2"):
        checklist.size_of("n1", setting, value)
    assert checklist.size_of("n1", setting, 2048) == 2048


@pytest.mark.parametrize("value", ["somewhere", "192.0.2.1/24", ""])
def test_network_that_is_none(value: str) -> None:
    finding = networks.free(value, [], "virbr7")
    assert not finding.ok
    assert finding.sentence.startswith(f"lab_network is '{value}', which is no network")


def test_shares_of_an_emulated_control_plane() -> None:
    """Etcd isn't starved by the API server, which waits for it; and a node takes no static pods that ask for more than it has."""
    overlay = ROOT / "inventories/emulated/group_vars/all/control_plane.yml"
    patches = yaml.safe_load(overlay.read_text(encoding="utf-8"))["control_plane_patches"]
    cpus = {"kube-controller-manager": 0.2, "kube-scheduler": 0.1, "kube-flannel": 0.05}  # as kubeadm and flannel's manifest have it
    for name, patch in patches.items():
        asked = patch["spec"]["containers"][0].get("resources", {}).get("requests", {}).get("cpu")
        if asked:
            cpus[name.removesuffix("+strategic")] = float(asked.removesuffix("m")) / (1000 if asked.endswith("m") else 1)
    assert cpus["etcd"] >= cpus["kube-apiserver"]
    hosts = yaml.safe_load(HOSTS)["all"]["children"]["control_plane"]["hosts"].values()
    assert sum(cpus.values()) <= min(host["lab_cpus"] for host in hosts)
