"""What the NFS server tells."""

from __future__ import annotations

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.lab.nfs import Export, Held, grace_seconds, lease_seconds, parse_clients, parse_exports
from outlive.lab.ssh import Output
from tests.course.stages import FakeRemote

EXPORTS = """\
/nfsdata      \t192.0.2.0/24(sync,wdelay,hide,no_subtree_check,sec=sys,rw,secure,no_root_squash,no_all_squash)
/srv/a-rather-long-path
\t\t192.0.2.11(async,ro)
/srv/a-rather-long-path
\t\t<world>(sync,ro)
"""

CLIENTS = """\
== /proc/fs/nfsd/clients/3/
clientid: 0x9b1f2f0667a1c0de
address: "192.0.2.12:811"
status: confirmed
seconds from last renew: 3
name: "Linux NFSv4.2 n2"
minor version: 2
callback state: UP
- 0x01: { type: open, access: rw, deny: --, superblock: "fe:01:5", filename: "mysql-pv/ibdata1", owner: "open id:\\x00" }
- 0x02: { type: lock, superblock: "fe:01:5", filename: "mysql-pv/ibdata1", owner: "lock id:\\x00" }
- 0x03: { type: deleg, access: w, superblock: "fe:01:6", filename: "mysql/my_id.ibd" }
- 0x04: { type: layout, superblock: "fe:01:7" }
== /proc/fs/nfsd/clients/4/
clientid: 0x9b1f2f0667a1c0df
address: "[fd00::11]:905"
status: courtesy
name: "Linux NFSv4.2 n1"
minor version: 2
"""


def test_exports() -> None:
    exports = parse_exports(EXPORTS)
    assert exports[0].client == "192.0.2.0/24"
    assert "sync" in exports[0].options
    assert exports[1:] == (
        Export("/srv/a-rather-long-path", "192.0.2.11", ("async", "ro")),
        Export("/srv/a-rather-long-path", "<world>", ("sync", "ro")),
    )
    assert parse_exports("") == ()


def test_clients() -> None:
    holder, dead = parse_clients(CLIENTS)
    assert (holder.name, holder.address, holder.status) == ("Linux NFSv4.2 n2", "192.0.2.12", "confirmed")
    assert [held.kind for held in holder.held] == ["open", "lock", "deleg", "layout"]
    assert holder.held[0] == Held("open", "mysql-pv/ibdata1")
    assert (dead.address, dead.status, dead.held) == ("fd00::11", "courtesy", ())


def test_holder_of_a_file() -> None:
    holder, dead = parse_clients(CLIENTS)
    assert holder.holds("/nfsdata/mysql-pv/ibdata1")
    assert not holder.holds("/nfsdata/mysql-pv/ib_logfile0")
    assert not dead.holds("/nfsdata/mysql-pv/ibdata1")
    assert parse_clients("== /proc/fs/nfsd/clients/*/\n") == ()
    for nothing in ("", "\n"):
        with pytest.raises(UnreachableError, match="gave no list of its clients"):
            parse_clients(nothing)


def test_lease_and_grace_period() -> None:
    remote = FakeRemote(Output(0, "15\n", ""))
    assert (lease_seconds(remote, "m"), grace_seconds(remote, "m")) == (15, 15)
    assert [command for _, command in remote.told] == ["cat /proc/fs/nfsd/nfsv4leasetime", "cat /proc/fs/nfsd/nfsv4gracetime"]


@pytest.mark.parametrize("answer", [Output(0, "", ""), Output(0, "-1\n", ""), Output(1, "", "No such file")])
def test_a_server_that_does_not_say_its_lease(answer: Output) -> None:
    with pytest.raises(LabError, match="nfsv4leasetime"):
        lease_seconds(FakeRemote(answer), "m")
