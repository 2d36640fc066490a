"""One folder, on a file system of its own, exported to the machines of the lab and to nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import testinfra

from outlive.lab import nfs
from outlive.lab.inventory import Host
from outlive.lab.ssh import Remote


def test_it_runs_and_starts_with_the_machine(host: testinfra.host.Host) -> None:
    service = host.service("nfs-server")
    assert service.is_enabled
    assert service.is_running


def test_the_export_is_for_the_lab_alone(remote: Remote, tested: Host, told: Callable[[str], Any]) -> None:
    exports = nfs.exports(remote, tested.name)
    assert [(each.path, each.client) for each in exports] == [(told("nfs_server_export"), tested.variables["lab_network"])]
    assert set(told("nfs_server_options")) <= set(exports[0].options)


def test_the_export_has_a_file_system_of_its_own(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    if not told("nfs_server_disk"):
        pytest.skip("the machine has no disk for the export: only libvirt makes it")
    mounted = host.mount_point(told("nfs_server_export"))
    assert mounted.exists
    assert mounted.filesystem == "ext4"
    assert "nofail" in mounted.options or "nofail" in host.file("/etc/fstab").content_string


def test_nothing_is_served_from_below_the_mount_point(
    host: testinfra.host.Host, remote: Remote, tested: Host, told: Callable[[str], Any], write_through: Callable[[str, str], str]
) -> None:
    """Unmounted, the export is gone for whoever mounts it; mounted, it is back."""
    if not told("nfs_server_disk"):
        pytest.skip("the machine has no disk for the export: only libvirt makes it")
    export = told("nfs_server_export")
    remote.check(tested.name, "systemctl stop nfs-server && umount %s", export)
    try:
        assert host.run("systemctl start nfs-server && findmnt --mountpoint %s", export).rc == 0, "the server starts with its mount"
        remote.check(tested.name, "exportfs -f && umount --lazy %s && exportfs -f", export)
        tried = host.run(
            "mkdir -p /mnt/tried && timeout 60 mount -t nfs -o nfsvers=4,soft,timeo=50,retrans=1,retry=0 %s:%s /mnt/tried",
            tested.address,
            export,
        )
        assert tried.rc != 0
    finally:
        remote.run(
            tested.name, "umount /mnt/tried; rmdir /mnt/tried; mountpoint -q %s || mount %s; systemctl restart nfs-server", export, export
        )
    assert write_through(tested.name, "after its return") == "after its return"


def test_each_volume_has_a_folder(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    assert set(told("nfs_server_folders")) <= set(host.file(told("nfs_server_export")).listdir())


def test_the_server_has_its_own_settings(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    assert int(host.file("/proc/fs/nfsd/threads").content_string) == told("nfs_server_threads")


def test_what_is_written_through_a_mount_is_in_the_folder(tested: Host, write_through: Callable[[str, str], str]) -> None:
    assert write_through(tested.name, "by the server itself") == "by the server itself"


def test_a_node_can_be_turned_away(host: testinfra.host.Host) -> None:
    assert host.exists("nft")
