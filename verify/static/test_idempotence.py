"""The playbook run again."""

from __future__ import annotations

import pytest

from outlive.lab.playbook import play


@pytest.mark.parametrize("playbook", ["playbooks/site.yml"])
def test_second_run_changes_nothing(playbook: str) -> None:
    """The playbook, run again on the lab, changes nothing on any machine."""
    played = play(playbook)
    assert played.recap, "the playbook printed no recap"
    assert {host: sums["changed"] for host, sums in played.recap.items()} == dict.fromkeys(played.recap, 0), "\n".join(played.changed)
