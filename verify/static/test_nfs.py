"""The NFS server's exports."""

from __future__ import annotations

from outlive.lab import mysql, nfs
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Remote


def test_export_is_for_the_lab_alone(lab: Inventory, remote: Remote) -> None:
    """The volumes' folder is exported, to the lab's network and to nobody else, and written through."""
    server, folder = nfs.exported(lab)
    found = [each for each in nfs.exports(remote, server.name) if each.path == folder]
    assert found, f"{server.name} doesn't export {folder}"
    assert {each.client for each in found} == {lab.setting("lab_network")}
    assert all("sync" in each.options for each in found)


def test_patience_is_the_recovery_profiles(lab: Inventory, cluster: Cluster, remote: Remote) -> None:
    """Lease and grace period are those of the profile that is applied: the kernel keeps what it was told, so one profile could leave its own to the next."""
    server, _ = nfs.exported(lab)
    profile = server.variables["recovery_profiles"][cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT).profile]
    assert nfs.lease_seconds(remote, server.name) == profile["nfs_lease_time"]
    assert nfs.grace_seconds(remote, server.name) == profile["nfs_grace_time"]
