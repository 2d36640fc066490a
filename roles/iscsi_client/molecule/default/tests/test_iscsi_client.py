"""A node that can use a disk over iSCSI, under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import testinfra

from outlive.base.wait import wait_for
from outlive.lab.inventory import Host, Inventory
from outlive.lab.ssh import Remote

PASSWORD = 'sed -n \'s/.*"chap_password": "\\(.*\\)".*/\\1/p\' /etc/rtslib-fb-target/saveconfig.json | head -n 1'
LOGIN_SECONDS = 120.0


@pytest.fixture
def node(lab: Inventory, tested: Host) -> dict[str, str]:
    """Return by which words the node logs in: portal, target and its own name."""
    server = lab.group("iscsi_servers")[0]
    return {"portal": f"{server.address}:3260", "own": f"iqn.2026-11.internal.outlive:{tested.name}", "server": server.name}


@pytest.fixture
def target(host: testinfra.host.Host, node: dict[str, str]) -> str:
    """Return one of the targets that the portal tells this node of."""
    lines = host.check_output("iscsiadm -m discovery --op nonpersistent -t sendtargets -p %s", node["portal"]).splitlines()
    return next(str(line.split()[-1]) for line in lines if line.endswith(":scratch"))


@pytest.fixture
def record(host: testinfra.host.Host, node: dict[str, str], target: str) -> Iterator[str]:
    """Return the words by which iscsiadm knows the target, in a record of this test's own; logged out and gone at the end."""
    words = f"iscsiadm -m node -T {target} -p {node['portal']}"
    host.check_output(f"{words} --op new")
    yield words
    host.run(f"{words} --logout")
    host.run(f"{words} --op delete")


def test_name_is_the_node_s_own(host: testinfra.host.Host, node: dict[str, str]) -> None:
    file = host.file("/etc/iscsi/initiatorname.iscsi")
    assert f"InitiatorName={node['own']}" in file.content_string.splitlines()
    assert file.mode == 0o600


def test_daemon_starts_when_somebody_asks(host: testinfra.host.Host) -> None:
    assert host.service("iscsid.socket").is_enabled
    assert host.service("iscsid.socket").is_running


def test_node_is_kept_out_without_the_password(host: testinfra.host.Host, record: str) -> None:
    refused = host.run(f"{record} --login")
    assert refused.rc != 0
    assert "authorization failure" in refused.stderr


def test_what_is_written_is_there_at_the_next_login(
    host: testinfra.host.Host, remote: Remote, node: dict[str, str], record: str, target: str
) -> None:
    password = remote.check(node["server"], PASSWORD).strip()
    disk = f"/dev/disk/by-path/ip-{node['portal']}-iscsi-{target}-lun-0"
    for name, value in (("authmethod", "CHAP"), ("username", "outlive"), ("password", password)):
        host.check_output(f"{record} --op update -n node.session.auth.{name} -v {value}")
    for command in (f"echo by-a-node | dd of={disk} bs=512 conv=sync oflag=direct", f"dd if={disk} bs=512 count=1 iflag=direct"):
        host.check_output(f"{record} --login")
        wait_for("the disk", "there", lambda: host.run(f"test -b {disk}").rc == 0, bool, within=LOGIN_SECONDS, every=1)
        printed = host.check_output(command)
        host.check_output(f"{record} --logout")
    assert printed.startswith("by-a-node")
