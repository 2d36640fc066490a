"""What lies on a disk after two writers: read from what the server prints, and compared with what a writer was told."""

from __future__ import annotations

import pytest

from outlive.base.errors import LabError
from outlive.drill import two_writers
from outlive.lab.inventory import Host, parse
from outlive.lab.iscsi import Disk

WHOLE = "fsck 0\nfile new-1 new 1 \nfile new-2 new 2 \nfile old-1 old 1 \n"


def test_whole_file_system_with_all_files() -> None:
    left = two_writers.parse(WHOLE)
    assert left.whole
    assert left.lost("new", 2) == []
    assert left.lost("old", 1) == []


@pytest.mark.parametrize(
    "printed", [WHOLE.replace("new 2 ", "old 7 "), WHOLE.replace("file new-2 new 2 \n", ""), WHOLE.replace("new 2 ", "")]
)
def test_file_that_is_gone_empty_or_another_one_is_lost(printed: str) -> None:
    assert two_writers.parse(printed).lost("new", 2) == [2]


def test_file_that_nobody_was_told_of_may_be_missing() -> None:
    assert two_writers.parse(WHOLE).lost("new", 3) == [3]
    assert two_writers.parse(WHOLE).lost("new", 2) == []


@pytest.mark.parametrize("status", [1, 4, 5])
def test_damaged_file_system(status: int) -> None:
    """Status 4: errors were left, as nothing is mended; a file system that can't be mounted any more has no files."""
    left = two_writers.parse(f"fsck {status}\n")
    assert not left.whole
    assert left.lost("new", 2) == [1, 2]


@pytest.mark.parametrize("printed", ["", "fsck 8\n", "fsck 127\n"])
def test_no_verdict_of_e2fsck_is_none(printed: str) -> None:
    with pytest.raises(LabError, match="e2fsck gave no verdict"):
        two_writers.parse(printed)


def lab(**server: object) -> dict[str, object]:
    """Return an inventory, as Ansible lists it, with a server of disks."""
    hosts = {"m": {"ansible_host": "192.0.2.1", "iscsi_server_prefix": "iqn.2026-11.internal.example", **server}}
    return {"_meta": {"hostvars": hosts}, "all": {"hosts": ["m"]}, "iscsi_servers": {"hosts": ["m"]}}


def test_disk_is_the_lab_s_own() -> None:
    inventory = parse(lab(iscsi_server_volumes=[{"name": "disk1", "size": 512}, {"name": "scratch", "size": 64}]), "test")
    assert two_writers.scratch(inventory) == Disk(
        inventory.host("m"), "iqn.2026-11.internal.example:scratch", "/var/lib/iscsi-disks/scratch.img", 64
    )


def test_lab_without_such_disks_is_told_what_gives_it_them() -> None:
    without = {**lab(), "iscsi_servers": {"hosts": []}}
    with pytest.raises(LabError, match="run `outlive storage add iscsi`"):
        two_writers.scratch(parse(without, "test"))
    with pytest.raises(LabError, match="iscsi_server_volumes has no 'scratch': give it back"):
        two_writers.scratch(parse(lab(iscsi_server_volumes=[{"name": "disk1", "size": 512}]), "test"))
    with pytest.raises(LabError, match="has no 'scratch' with a size, which may be destroyed"):
        two_writers.scratch(parse(lab(iscsi_server_volumes=[{"name": "scratch", "device": "/dev/disk/by-id/x"}]), "test"))
    with pytest.raises(LabError, match="have to be literal here"):
        two_writers.scratch(parse(lab(iscsi_server_volumes=[{"name": "scratch", "size": 64}], iscsi_server_folder="{{ x }}/y"), "test"))


def test_writer_s_volume_stands_in_its_pod() -> None:
    """Of a PersistentVolume the controller would keep the second pod away."""
    made = two_writers.pod(Disk(Host("m", "192.0.2.1", {}), "iqn.2026-11.internal.example:scratch", "/x", 64), "busybox:1", "n1", "old")
    (volume,) = made["spec"]["volumes"]
    assert volume["iscsi"]["iqn"] == "iqn.2026-11.internal.example:scratch"
    assert made["spec"]["nodeName"] == "n1"
