"""The playbook run again, and what it says that it would do."""

from __future__ import annotations

import pytest

from outlive.lab.inventory import Inventory
from outlive.lab.playbook import play


@pytest.mark.parametrize("playbook", ["playbooks/site.yml"])
def test_second_run_changes_nothing(playbook: str) -> None:
    """The playbook, run again on the lab, changes nothing on any machine."""
    played = play(playbook)
    assert played.recap, "the playbook printed no recap"
    assert {host: sums["changed"] for host, sums in played.recap.items()} == dict.fromkeys(played.recap, 0), "\n".join(played.changed)


def test_check_mode_shows_what_a_setting_would_change(lab: Inventory) -> None:
    """With one setting changed, check mode shows the line in the NFS server's configuration, and nothing else would change on any machine."""
    (server,) = lab.group("nfs_servers")
    played = play("playbooks/site.yml", "--check", "--diff", "-e", '{"nfs_server_threads": 11}')
    assert "\n+threads = 11\n" in played.output
    assert played.changed
    assert [each for each in played.changed if not each.startswith(f"{server.name}: nfs_server : ")] == []
