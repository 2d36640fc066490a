"""The NFS server's exports."""

from __future__ import annotations

from outlive.lab import nfs
from outlive.lab.inventory import Inventory
from outlive.lab.ssh import Remote


def test_export_is_for_the_lab_alone(lab: Inventory, remote: Remote) -> None:
    """The volumes' folder is exported, to the lab's network and to nobody else, and written through."""
    server, folder = nfs.exported(lab)
    found = [each for each in nfs.exports(remote, server.name) if each.path == folder]
    assert found, f"{server.name} doesn't export {folder}"
    assert {each.client for each in found} == {lab.setting("lab_network")}
    assert all("sync" in each.options for each in found)
