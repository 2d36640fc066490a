"""Disks of the kernel's own target, for the initiators of the lab and for nobody else, also after a start of the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import testinfra

from outlive.lab.inventory import Host, Inventory

TARGETS = "/sys/kernel/config/target/iscsi"


def test_it_runs_and_starts_with_the_machine(host: testinfra.host.Host) -> None:
    service = host.service("rtslib-fb-targetctl")
    assert service.is_enabled
    assert service.is_running


def test_portal_answers_at_the_address_of_the_lab_alone(host: testinfra.host.Host, tested: Host) -> None:
    assert host.socket(f"tcp://{tested.address}:3260").is_listening
    assert not host.socket("tcp://127.0.0.1:3260").is_listening


def test_each_node_is_let_in_by_name_and_password(host: testinfra.host.Host, lab: Inventory, told: Callable[[str], Any]) -> None:
    for each in told("iscsi_server_volumes"):
        group = f"{TARGETS}/{told('iscsi_server_prefix')}:{each['name']}/tpgt_1"
        let_in = [name.rpartition(":")[2] for name in host.check_output(f"ls {group}/acls").split()]
        assert sorted(let_in) == sorted(node.name for node in lab.group("iscsi_clients"))
        assert host.check_output(f"cat {group}/attrib/generate_node_acls {group}/attrib/authentication").split() == ["0", "1"]


def test_each_disk_is_there_and_holds_nothing_back(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    """What a node has been told is written is in the file: the disk has no cache of its own that a power cut could empty."""
    for each in told("iscsi_server_volumes"):
        disk = f"/sys/kernel/config/target/core/fileio_*/{each['name']}"
        assert host.check_output(f"cat {disk}/enable {disk}/attrib/emulate_write_cache").split() == ["1", "0"]
        assert host.file(f"{told('iscsi_server_folder')}/{each['name']}.img").size == each["size"] * 1024 * 1024


def test_password_is_root_s_alone(host: testinfra.host.Host) -> None:
    assert host.file("/etc/rtslib-fb-target/saveconfig.json").mode == 0o600
