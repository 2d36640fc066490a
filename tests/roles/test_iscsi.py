"""The roles iscsi_server and iscsi_client: what would put data in danger is refused, and the rest is what LIO and open-iscsi read."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from outlive.lab.mysql_storage import IscsiDisk

from . import role_tasks
from .conftest import COMMON, ROOT, Playbook
from .test_manifests import render
from .test_preflight import CHECK, Edit, sentence

PREFIX = "iqn.2026-11.internal.example"
TARGET = f"{PREFIX}:disk1"
NODES = ["iqn.2026-11.internal.example:n1", "iqn.2026-11.internal.example:n2"]


def told(folder: Path, **others: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a variable has
    """Return what the role iscsi_server is told, with its files in a folder of the test."""
    return {
        "iscsi_server_prefix": PREFIX,
        "iscsi_server_address": "192.0.2.10",
        "iscsi_server_initiators": NODES,
        "iscsi_server_chap_user": "nodes",
        "iscsi_server_chap_password": "abcdefghijkl1234",
        "iscsi_server_volumes": [{"name": "disk1", "size": 8}],
        "iscsi_server_folder": str(folder / "disks"),
        "__iscsi_server_config": str(folder / "saveconfig.json"),
        "__iscsi_server_nfs_exports": str(folder / "etab"),
        "__iscsi_server_configfs": str(folder / "configfs"),
        **others,
    }


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Return the module of the filters."""
    return role_tasks.plugin("iscsi_server", "filter_plugins/iscsi_server.py")


def test_what_stands_twice(filters: ModuleType) -> None:
    assert filters.twice(["a", "b", "a", "c", "b", "a"]) == ["a", "b"]
    assert filters.twice(["a", "b"]) == []


def test_what_uses_a_disk(filters: ModuleType) -> None:
    disk = {"path": "/dev/vdb", "mountpoints": ["/nfsdata"]}
    parts = {"path": "/dev/vda", "mountpoints": [None], "children": [{"path": "/dev/vda1", "mountpoints": ["/", None]}]}
    assert filters.uses(json.dumps({"blockdevices": [disk]})) == ["mounted at /nfsdata"]
    assert filters.uses(json.dumps({"blockdevices": [parts]})) == ["/dev/vda1", "mounted at /"]
    assert filters.uses(json.dumps({"blockdevices": [{"path": "/dev/vdc", "mountpoints": [None]}]})) == []


@pytest.mark.parametrize(
    ("folder", "above"),
    [
        ("/nfsdata/disks", ["/nfsdata"]),
        ("/nfsdata", ["/nfsdata"]),
        ("/nfsdata2", []),
        ("/srv/a b/x", ["/srv/a b"]),
        ("/var/lib/iscsi-disks", []),
    ],
)
def test_exports_that_have_a_folder(filters: ModuleType, folder: str, above: list[str]) -> None:
    exports = "/nfsdata\t192.0.2.0/24(rw,sync)\n/nfsdata\t192.0.3.0/24(ro)\n/srv/a\\040b\t*(ro)\n\n"
    assert filters.exports_above(exports, folder) == above


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"iscsi_server_prefix": "disks"}, "iscsi_server_prefix has 'disks', which is no iSCSI name"),
        ({"iscsi_server_initiators": [NODES[0], "iqn.n2"]}, "iscsi_server_initiators has 'iqn.n2', which is no iSCSI name"),
        (
            {"iscsi_server_initiators": [*NODES, NODES[0]]},
            f"iscsi_server_initiators has '{NODES[0]}' more than once, and each node needs a name of its own",
        ),
        (
            {"iscsi_server_chap_password": "short"},
            "iscsi_server_chap_password has 5 characters, and only 12 to 64 letters and digits are allowed",
        ),
        ({"iscsi_server_volumes": [{"name": "d"}]}, "and a disk has a name"),
        ({"iscsi_server_volumes": [{"name": "d", "size": 1, "device": "/dev/disk/by-id/x"}]}, "and a disk has a name"),
        ({"iscsi_server_volumes": [{"name": "d", "device": "/dev/vdb"}]}, "or a device by a name in /dev/disk/by-id"),
        (
            {"iscsi_server_volumes": [{"name": "a", "size": 1}, {"name": "a", "size": 2}]},
            "iscsi_server_volumes has the name 'a' more than once: give each disk its own",
        ),
        (
            {"iscsi_server_volumes": [{"name": "d", "device": "/dev/disk/by-id/nobody-has-this"}]},
            "gives 'd' the device /dev/disk/by-id/nobody-has-this, and localhost has no such disk",
        ),
    ],
)
def test_what_the_server_refuses(playbook: Playbook, tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    result = role_tasks.run(playbook, tmp_path, "iscsi_server", role_tasks.read("iscsi_server", "preflight"), told(tmp_path, **wrong))
    assert result.returncode != 0
    assert words in " ".join(sentence(result.stdout + result.stderr).split())
    for password in ("abcdefghijkl1234", "hush1"):
        assert password not in result.stdout + result.stderr


def test_disk_that_the_machine_uses_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    """Tried with lsblk's answer alone, as not each machine has a disk of its own that is mounted."""
    tasks = role_tasks.read("iscsi_server", "preflight")
    asked = role_tasks.task_of(tasks, "Read what the devices are used for")
    answer = json.dumps({"blockdevices": [{"path": "/dev/vdb", "mountpoints": ["/nfsdata"]}]})
    asked["ansible.builtin.command"] = {"argv": ["echo", answer]}
    result = role_tasks.run(
        playbook,
        tmp_path,
        "iscsi_server",
        tasks,
        told(tmp_path, iscsi_server_volumes=[{"name": "d", "device": "/dev/disk/by-id/virtio-nfsdata"}]),
    )
    assert result.returncode != 0
    assert "which localhost uses itself (mounted at /nfsdata): two machines that write to one disk destroy what is on it" in " ".join(
        sentence(result.stdout + result.stderr).split()
    )


def test_disk_within_an_export_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    (tmp_path / "etab").write_text(f"{tmp_path}\t192.0.2.0/24(rw)\n")
    result = role_tasks.run(playbook, tmp_path, "iscsi_server", role_tasks.read("iscsi_server", "preflight"), told(tmp_path))
    assert result.returncode != 0
    assert f"which lies in {tmp_path}, and localhost exports that by NFS" in " ".join(sentence(result.stdout + result.stderr).split())


def test_targets_of_others_are_refused(playbook: Playbook, tmp_path: Path) -> None:
    kept = json.dumps({"targets": [{"wwn": "iqn.2003-01.org.example:backup"}, {"wwn": TARGET}]})
    (tmp_path / "saveconfig.json").write_text(kept)
    result = role_tasks.run(playbook, tmp_path, "iscsi_server", role_tasks.read("iscsi_server", "preflight"), told(tmp_path))
    assert result.returncode != 0
    assert (
        f"localhost offers iqn.2003-01.org.example:backup by {tmp_path}/saveconfig.json, which doesn't begin with iscsi_server_prefix"
        in " ".join(sentence(result.stdout + result.stderr).split())
    )
    assert (tmp_path / "saveconfig.json").read_text() == kept


def test_files_that_stand_for_disks(playbook: Playbook, tmp_path: Path) -> None:
    """They are made sparse, grow, are left as they are when nothing changes, and are never cut."""
    tasks = [*role_tasks.read("iscsi_server", "preflight"), *role_tasks.read("iscsi_server", "files")]
    disk = tmp_path / "disks/disk1.img"
    first = role_tasks.run(playbook, tmp_path, "iscsi_server", tasks, told(tmp_path))
    assert first.returncode == 0, first.stdout + first.stderr
    assert disk.stat().st_size == 8 << 20
    assert disk.stat().st_blocks * 512 < 1 << 20
    assert disk.stat().st_mode & 0o777 == 0o600
    with disk.open("r+b") as file:
        file.write(b"kept")
    again = role_tasks.run(playbook, tmp_path, "iscsi_server", tasks, told(tmp_path))
    assert "changed=0 " in again.stdout, again.stdout + again.stderr
    larger = told(tmp_path, iscsi_server_volumes=[{"name": "disk1", "size": 9}])
    assert role_tasks.run(playbook, tmp_path, "iscsi_server", tasks, larger).returncode == 0
    cut = role_tasks.run(playbook, tmp_path, "iscsi_server", tasks, told(tmp_path))
    assert cut.returncode != 0
    assert "gives 'disk1' 8 MiB, and its file in" in " ".join(sentence(cut.stdout + cut.stderr).split())
    assert disk.stat().st_size == 9 << 20
    assert disk.read_bytes()[:4] == b"kept"


def kernel(folder: Path, *paths: str, logged_in: bool = False) -> None:
    """Make what the kernel has for targets, with a session for each initiator or none."""
    for each in paths:
        place = folder / "configfs" / each
        place.mkdir(parents=True)
        if "/acls/" in each:
            (place / "info").write_text(
                f"InitiatorName: {place.name}\n" if logged_in else f"No active iSCSI Session for Initiator Endpoint: {place.name}\n"
            )


OFFERED = [f"{TARGET}/tpgt_1/{each}" for each in (*(f"acls/{node}" for node in NODES), "lun/lun_0", "np/192.0.2.10:3260")]


def test_file_that_was_offered_and_is_gone_is_not_made_anew(playbook: Playbook, tmp_path: Path) -> None:
    """It lies in another folder, or on a file system that isn't mounted: an empty one would be formatted by a node."""
    kept = {"storage_objects": [{"plugin": "fileio", "name": "disk1", "dev": f"{tmp_path}/disks/disk1.img"}], "targets": []}
    (tmp_path / "saveconfig.json").write_text(json.dumps(kept))
    tasks = [*role_tasks.read("iscsi_server", "preflight"), *role_tasks.read("iscsi_server", "files")]
    result = role_tasks.run(playbook, tmp_path, "iscsi_server", tasks, told(tmp_path))
    assert result.returncode != 0
    assert f"localhost offered {tmp_path}/disks/disk1.img, which iscsi_server_folder {tmp_path}/disks hasn't got" in sentence(
        result.stdout + result.stderr
    )
    assert not (tmp_path / "disks").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"iscsi_server_initiators": NODES[:1]}, f"some lose theirs ({{}}/{TARGET}/tpgt_1/acls/{NODES[1]})"),
        ({"iscsi_server_volumes": [{"name": "other", "size": 8}]}, "some lose theirs"),
        (
            {"iscsi_server_chap_password": "another1another1"},
            "iscsi_server_chap_password isn't what localhost has, and nodes are logged in by that",
        ),
    ],
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_disk_in_use_stays_as_it_is(playbook: Playbook, tmp_path: Path, change: dict[str, Any], words: str, logged_in: bool) -> None:
    kernel(tmp_path, *OFFERED, logged_in=logged_in)
    nodes = [{"node_wwn": node, "chap_password": "abcdefghijkl1234"} for node in NODES]
    (tmp_path / "saveconfig.json").write_text(json.dumps({"targets": [{"wwn": TARGET, "tpgs": [{"node_acls": nodes}]}]}))
    result = role_tasks.run(playbook, tmp_path, "iscsi_server", role_tasks.read("iscsi_server", "preflight"), told(tmp_path, **change))
    if logged_in and words:
        assert result.returncode != 0
        assert words.format(tmp_path / "configfs") in " ".join(sentence(result.stdout + result.stderr).split())
    else:
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (OFFERED, ""),
        (OFFERED[1:], f"missing: {{}}/{OFFERED[0]}, too much: none"),
        ([*OFFERED, f"{TARGET}/tpgt_1/acls/iqn.x"], "missing: none, too much: {}"),
    ],
)
def test_what_the_kernel_offers_is_what_was_asked_for(playbook: Playbook, tmp_path: Path, offered: list[str], words: str) -> None:
    kernel(tmp_path, *offered)
    result = role_tasks.run(playbook, tmp_path, "iscsi_server", role_tasks.read("iscsi_server", "verify"), told(tmp_path))
    assert (result.returncode == 0) is not bool(words), result.stdout + result.stderr
    if words:
        assert words.format(tmp_path / "configfs") in " ".join(sentence(result.stdout + result.stderr).split())


def test_what_targetctl_reads(playbook: Playbook, tmp_path: Path) -> None:
    """Each initiator has the password and all disks; whoever isn't listed has none. Nothing is held back in memory, and a disk's serial stays."""
    volumes = [{"name": "disk1", "size": 8}, {"name": "disk2", "device": "/dev/disk/by-id/virtio-two"}]
    text = "{{ lookup('ansible.builtin.template', 'saveconfig.json.j2') }}"
    task = {"name": "Render", "ansible.builtin.copy": {"dest": str(tmp_path / "made.json"), "content": text, "mode": "0600"}}
    made = []
    for _ in range(2):
        result = role_tasks.run(playbook, tmp_path, "iscsi_server", [task], told(tmp_path, iscsi_server_volumes=volumes))
        assert result.returncode == 0, result.stdout + result.stderr
        made.append(json.loads((tmp_path / "made.json").read_text()))
    assert made[0] == made[1]
    file, device = made[0]["storage_objects"]
    assert (file["plugin"], file["dev"], file["size"], file["write_back"]) == ("fileio", f"{tmp_path}/disks/disk1.img", 8 << 20, False)
    assert (device["plugin"], device["dev"]) == ("block", "/dev/disk/by-id/virtio-two")
    assert file["wwn"] != device["wwn"]
    assert [target["wwn"] for target in made[0]["targets"]] == [f"{PREFIX}:disk1", f"{PREFIX}:disk2"]
    for target, disk in zip(made[0]["targets"], ("fileio/disk1", "block/disk2"), strict=True):
        (group,) = target["tpgs"]
        assert group["attributes"] == {"authentication": 1, "generate_node_acls": 0}
        assert group["luns"] == [{"index": 0, "storage_object": f"/backstores/{disk}"}]
        assert [(each["ip_address"], each["port"]) for each in group["portals"]] == [("192.0.2.10", 3260)]
        assert [each["node_wwn"] for each in group["node_acls"]] == NODES
        for each in group["node_acls"]:
            assert (each["chap_userid"], each["chap_password"]) == ("nodes", "abcdefghijkl1234")
            assert [(one["index"], one["tpg_lun"]) for one in each["mapped_luns"]] == [(0, 0)]


@pytest.mark.parametrize(
    ("before", "sessions"), [("iqn.1993-08.org.debian:01:abc", False), ("iqn.1993-08.org.debian:01:abc", True), (NODES[0], True)]
)
def test_name_of_an_initiator_that_uses_disks_stays(playbook: Playbook, tmp_path: Path, before: str, sessions: bool) -> None:
    (tmp_path / "name").write_text(f"InitiatorName={before}\n")
    (tmp_path / "sessions").mkdir()
    if sessions:
        (tmp_path / "sessions/session1").mkdir()
    variables = {
        "iscsi_client_initiator": NODES[0],
        "iscsi_client_targets": [TARGET],
        "iscsi_client_portal": "192.0.2.10:3260",
        "__iscsi_client_name_file": str(tmp_path / "name"),
        "__iscsi_client_sessions": str(tmp_path / "sessions"),
    }
    result = role_tasks.run(playbook, tmp_path, "iscsi_client", role_tasks.read("iscsi_client", "preflight"), variables)
    if sessions and before != NODES[0]:
        assert result.returncode != 0
        assert "uses disks under another name" in sentence(result.stdout + result.stderr)
    else:
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("printed", "seen"),
    [(f"192.0.2.10:3260,1 {TARGET}", True), (f"192.0.2.10:3260,1 {TARGET}2", False), ("", False)],
)
def test_target_must_let_the_node_in(playbook: Playbook, tmp_path: Path, printed: str, seen: bool) -> None:
    """A target tells its name to those alone whom it lets in."""
    tasks = role_tasks.read("iscsi_client", "verify")
    role_tasks.task_of(tasks, "Read the portal's targets")["ansible.builtin.command"] = {"argv": ["echo", printed]}
    variables = {"iscsi_client_initiator": NODES[0], "iscsi_client_targets": [TARGET], "iscsi_client_portal": "192.0.2.10:3260"}
    result = role_tasks.run(playbook, tmp_path, "iscsi_client", tasks, variables)
    assert (result.returncode == 0) is seen, result.stdout + result.stderr
    if not seen:
        assert f"doesn't see {TARGET} of iscsi_client_targets at iscsi_client_portal 192.0.2.10:3260" in sentence(
            result.stdout + result.stderr
        )


OVERLAY = str(ROOT / "inventories/iscsi")


def test_overlay_gives_each_worker_a_name_and_lets_it_in(playbook: Playbook, tmp_path: Path) -> None:
    """The names are the workers' own, and so are the portal's address and the server's list."""
    show = {"server": "{{ iscsi_server_initiators }}", "own": "{{ iscsi_client_initiator }}", "portal": "{{ iscsi_client_portal }}"}
    task = {"name": "Show", "ansible.builtin.copy": {"dest": str(tmp_path / "shown"), "content": json.dumps(show), "mode": "0600"}}
    path = role_tasks.on_this_machine(tmp_path, "k8s-node1", tasks=[task], gather_facts=False)
    result = playbook(path, "--inventory", OVERLAY)
    assert result.returncode == 0, result.stdout + result.stderr
    shown = (tmp_path / "shown").read_text()
    assert "iqn.2026-11.internal.outlive:k8s-node2" in shown
    assert '"own": "iqn.2026-11.internal.outlive:k8s-node1"' in shown
    hosts = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text())["all"]["children"]
    assert f'"portal": "{hosts["control_plane"]["hosts"]["k8s-master"]["ansible_host"]}:3260"' in shown


def test_server_of_disks_must_be_the_nfs_server(playbook: Playbook, edit_hosts: Edit) -> None:
    """A lost node is turned away at that machine."""
    assert playbook(CHECK, "--inventory", OVERLAY).returncode == 0
    edit_hosts(lambda hosts: hosts["children"].update(nfs_servers={"hosts": {"k8s-node1": None}}))
    result = playbook(CHECK, "--inventory", OVERLAY)
    assert result.returncode != 0
    assert "The inventory's group 'iscsi_servers' has k8s-master, which isn't in 'nfs_servers'" in sentence(result.stdout + result.stderr)


@pytest.mark.parametrize(("servers", "clients"), [([], ["k8s-node1"]), (["k8s-master", "k8s-node1"], ["k8s-node2"])])
def test_disks_have_one_server(playbook: Playbook, edit_hosts: Edit, servers: list[str], clients: list[str]) -> None:
    groups = {"iscsi_servers": {"hosts": dict.fromkeys(servers)}, "iscsi_clients": {"hosts": dict.fromkeys(clients)}}
    edit_hosts(lambda hosts: hosts["children"].update(groups))
    result = playbook(CHECK)
    assert result.returncode != 0
    assert f"'iscsi_servers' has {len(servers)} hosts and 'iscsi_clients' 1, and clients need one server" in sentence(
        result.stdout + result.stderr
    )


def test_chapter_s_disk_is_one_that_is_offered(playbook: Playbook, tmp_path: Path) -> None:
    volumes = yaml.safe_load((COMMON / "group_vars/all/iscsi_server.yml").read_text())["iscsi_server_volumes"]
    volume = yaml.safe_load(render(playbook, tmp_path, "storage_tutorial")["iscsi/iscsi-pv.yml"])
    disk = {
        "name": volume["spec"]["iscsi"]["iqn"].rpartition(":")[2],
        "size": int(volume["spec"]["capacity"]["storage"].removesuffix("Mi")),
    }
    assert disk in volumes
    assert volume["spec"]["iscsi"]["lun"] == 0


def test_mysql_s_disk_is_one_that_is_offered(playbook: Playbook, tmp_path: Path) -> None:
    """Where it is chosen, and for the tutorial's MySQL alone: the one of the last chapter stays on NFS."""
    offered = yaml.safe_load((COMMON / "group_vars/all/iscsi_server.yml").read_text())["iscsi_server_volumes"]
    manifests = render(playbook, tmp_path, "storage_tutorial", storage_tutorial_mysql_storage="iscsi")
    volume, claim = (yaml.safe_load(manifests[f"mysql/{name}.yml"]) for name in ("mysql-pv", "mysql-pvc"))
    name = volume["spec"]["iscsi"]["iqn"].rpartition(":")[2]
    assert volume["spec"]["capacity"]["storage"] == claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert {"name": name, "size": 1024} in offered
    assert volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"] == "iscsi"
    _, deployment = yaml.safe_load_all(manifests["mysql/mysql.yml"])
    (mount,) = [
        each for each in deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] if each["mountPath"] == "/var/lib/mysql"
    ]
    assert mount["subPath"] == IscsiDisk.folder
    assert "nfs" in yaml.safe_load(manifests["mysql-9/mysql-pv.yml"])["spec"]
