"""A node that can mount what the NFS server exports."""

from __future__ import annotations

from collections.abc import Callable

import testinfra

from outlive.lab import nfs
from outlive.lab.inventory import Host, Inventory


def test_the_export_is_seen(host: testinfra.host.Host, lab: Inventory) -> None:
    server, export = nfs.exported(lab)
    shown = host.check_output("showmount --no-headers --exports %s", server.address)
    assert [line.split()[0] for line in shown.splitlines()] == [export]


def test_what_is_written_through_a_mount_is_on_the_server(tested: Host, write_through: Callable[[str, str], str]) -> None:
    assert write_through(tested.name, "by a node") == "by a node"
