"""What MySQL's data lies on: read from its volume, and who may write to it by what its server tells."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import wait_for
from outlive.drill import durability, lock_watch
from outlive.drill.faults import KINDS
from outlive.drill.lock_watch import Sampler
from outlive.drill.run import check_storage
from outlive.lab import iscsi, mysql_storage, nft
from outlive.lab.inventory import Inventory, parse
from outlive.lab.iscsi import Disk
from outlive.lab.kube import Cluster
from outlive.lab.mysql_storage import IscsiDisk, NfsFolder
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from tests import samples
from tests.drill.stand_ins import DISK, FOLDER
from tests.fake_api import FakeApi
from tests.samples import ManualClock

SERVER, TARGET = FOLDER.server, DISK.disk.target
SESSION = """\
InitiatorName: iqn.2026-11.internal.example:{name}
InitiatorAlias: {name}
LIO Session ID: 3   ISID: 0x00 02 3d 00 00 00  TSIH: 3  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Session Values]-----------------------
  CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT
 0x00000080   0x00000080   0x5e000000   0xdd000000   0x5d000000   0x000000ff
----------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address {address} TCP  StatSN: 0x5f000000
"""
"""What LIO tells of an initiator that is logged in; of one that isn't, the line below."""
NONE = "No active iSCSI Session for Initiator Endpoint: iqn.2026-11.internal.example:n2\n"
N1, N2 = SESSION.format(name="n1", address="192.0.2.11"), SESSION.format(name="n2", address="192.0.2.12")


def told(sessions: str, **sets: list[str]) -> str:
    """Return what the server prints, with the addresses in the sets of some tables."""
    tables = [{"set": {"family": "inet", "name": "x", "table": name, "elem": elements}} for name, elements in sets.items()]
    return f"== sessions\n{sessions}== sets\n{json.dumps({'nftables': [{'metainfo': {}}, *tables]}) if sets else ''}"


@pytest.mark.parametrize(
    ("listing", "holders"),
    [
        (told(NONE + NONE), set()),
        (told(N1 + NONE), {"192.0.2.11"}),
        (told(N1 + N2), {"192.0.2.11", "192.0.2.12"}),
        (told(N1 + N2, outlive_fence=["192.0.2.11"]), {"192.0.2.12"}),
        (told(N1 + N2, outlive_lost=["192.0.2.11"], outlive_fence=[]), {"192.0.2.12"}),
        (told(N1 + N2, somebody_s=["192.0.2.11"]), {"192.0.2.11", "192.0.2.12"}),
        (told(N1.replace("CONN_STATE_LOGGED_IN", "CONN_STATE_IN_LOGOUT") + NONE), set()),
    ],
)
def test_a_node_with_a_session_writes_unless_it_is_turned_away(listing: str, holders: set[str]) -> None:
    assert DISK.holders(listing) == holders


@pytest.mark.parametrize("listing", ["", "== sessions\n== sets\n", "cat: /sys/kernel/config/target: No such file or directory\n"])
def test_what_is_no_answer_isn_t_nobody(listing: str) -> None:
    with pytest.raises(UnreachableError, match="the iSCSI server gave no list of its sessions"):
        DISK.holders(listing)


@pytest.mark.skipif(
    shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin:/bin") is None, reason="mke2fs isn't installed (Debian's package e2fsprogs)"
)
def test_files_of_a_disk_are_read_without_mounting_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    folder = tmp_path / "root/data/mysql"
    folder.mkdir(parents=True)
    (folder.parent / "ibdata1").write_bytes(b"x" * 5000)
    (folder.parent / "auto.cnf").write_text("[auto]\nserver-uuid=11111111-2222\n")
    (folder / "my_id.frm").touch()
    image = tmp_path / "mysql.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(tmp_path / "root"), str(image), "8M"], check=True)
    disk = IscsiDisk(Disk(SERVER, TARGET, str(image)))
    assert {"ibdata1", "auto.cnf", "mysql", "mysql/my_id.frm"} <= disk.files(Here())
    assert disk.content(Here(), "auto.cnf").splitlines()[1] == "server-uuid=11111111-2222"


class Here(Remote):
    """Runs commands on this host instead of a machine."""

    def __init__(self) -> None:
        """Reach nothing."""

    def check(self, name: str, command: str, *arguments: str) -> str:
        """Run a command as it would be run there, quoted alike."""
        quoted = command % tuple(f"'{each}'" for each in arguments)
        return subprocess.run(["sh", "-c", quoted], capture_output=True, text=True, check=True).stdout


def volume(**source: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a volume leads to
    """Return MySQL's volume as it would be on other storage."""
    spec = {key: value for key, value in samples.volume()["spec"].items() if key != "nfs"}
    return {**samples.volume(), "spec": {**spec, **source}}


def disks() -> Inventory:
    """Return a lab that has disks over iSCSI."""
    hosts = samples.INVENTORY["_meta"]["hostvars"]
    server = {
        **hosts["m"],
        "iscsi_server_prefix": "iqn.2026-11.internal.example",
        "iscsi_server_volumes": [{"name": "mysql", "size": 1024}],
    }
    return parse({**samples.INVENTORY, "_meta": {"hostvars": {**hosts, "m": server}}, "iscsi_servers": {"hosts": ["m"]}}, "of the tests")


def test_volume_on_nfs(fake_cluster: Cluster, small_inventory: Inventory) -> None:
    data = mysql_storage.of(fake_cluster, small_inventory)
    assert isinstance(data, NfsFolder)
    assert (data.path, data.port, data.attached) == ("/nfsdata/mysql-pv", 2049, False)


def test_volume_on_a_disk(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers["/api/v1/persistentvolumes/mysql-pv"] = [volume(iscsi={"iqn": TARGET, "targetPortal": "192.0.2.10:3260"})]
    data = mysql_storage.of(fake_cluster, disks())
    assert isinstance(data, IscsiDisk)
    assert data.disk == Disk(disks().host("m"), TARGET, "/var/lib/iscsi-disks/mysql.img", 1024)
    assert data.attached


@pytest.mark.parametrize(
    "source",
    [
        {"hostPath": {"path": "/data"}},
        {"iscsi": {"iqn": "iqn.2000-01.elsewhere:mysql"}},
        {"nfs": {"server": "192.0.2.99", "path": "/nfsdata/mysql-pv"}},
    ],
)
def test_volume_that_leads_elsewhere(source: dict[str, Any], fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers["/api/v1/persistentvolumes/mysql-pv"] = [volume(**source)]
    with pytest.raises(
        LabError, match="The volume mysql-pv leads neither to the NFS server nor to a disk of the inventory's iscsi_servers: see"
    ):
        mysql_storage.of(fake_cluster, disks())


def test_disk_of_a_lab_that_has_none_any_more(fake_cluster: Cluster, api: FakeApi, small_inventory: Inventory) -> None:
    api.answers["/api/v1/persistentvolumes/mysql-pv"] = [volume(iscsi={"iqn": TARGET})]
    with pytest.raises(LabError, match="This lab has no disks over iSCSI: run `outlive storage add iscsi`"):
        mysql_storage.of(fake_cluster, small_inventory)


def test_what_is_asked_of_the_server_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a shell, as the server runs it: two nodes, of which one is turned away."""
    for name, session in {"n1": N1, "n2": N2, "n3": NONE}.items():
        folder = tmp_path / "target" / TARGET / "tpgt_1/acls" / name
        folder.mkdir(parents=True)
        (folder / "info").write_text(session)
    nft = tmp_path / "bin/nft"
    nft.parent.mkdir()
    sets = told("", outlive_fence=["192.0.2.11"]).partition("== sets\n")[2]
    nft.write_text(f"#!/bin/sh\n[ \"$*\" = '-j list sets' ] && echo '{sets}'\n")
    nft.chmod(0o755)
    sudo = nft.with_name("sudo")
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{nft.parent}:/usr/bin:/bin")
    monkeypatch.setattr(iscsi, "SESSIONS", iscsi.SESSIONS.replace("/sys/kernel/config/target/iscsi", str(tmp_path / "target")))
    with Sampler(lock_watch.command(["sh", "-c"], DISK), DISK.holders, lambda: True) as sampler:
        found = wait_for("sampler", "a sample", sampler.samples, bool, within=60, every=0.1)
    assert found[0].holders == ("192.0.2.12",)


def test_sets_of_the_turned_away_are_those_of_the_watcher_and_the_playbook() -> None:
    assert {nft.FENCED.split()[1], nft.LOST.split()[1]} == set(mysql_storage.TURNED_AWAY) == {"outlive_fence", "outlive_lost"}


def test_faults_that_say_nothing_of_a_disk_are_refused() -> None:
    with pytest.raises(LabError, match="MySQL's data lies on a disk over iSCSI, and nfs-full breaks NFS: choose another --fault"):
        check_storage(DISK, KINDS["nfs-full"], "default")
    with pytest.raises(LabError, match="nfs-reboot takes the disk's server away, for longer than"):
        check_storage(DISK, replace(KINDS["nfs-reboot"], of_nfs=False), "default")
    with pytest.raises(
        LabError, match=r"which belongs to one node at a time, and under standby a second pod waits .*: choose another --profile"
    ):
        check_storage(DISK, KINDS["power-cut"], "standby")
    check_storage(DISK, KINDS["power-cut"], "fenced")
    for kind in KINDS.values():
        check_storage(FOLDER, kind, "standby")


def test_proof_that_copies_a_folder_is_refused_where_there_is_none(fake_cluster: Cluster, api: FakeApi, clock: ManualClock) -> None:
    api.answers["/api/v1/persistentvolumes/mysql-pv"] = [volume(iscsi={"iqn": TARGET})]
    lab = Lab(disks(), fake_cluster, Here(), clock)
    with (
        pytest.raises(LabError, match="MySQL's data lies on a disk over iSCSI, and this proof keeps a copy of its folder"),
        durability.kept(lab),
    ):
        pytest.fail("something was touched")
