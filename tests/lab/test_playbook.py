"""A playbook's recap."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.lab.playbook import parse, play

OUTPUT = """\
PLAY [Prepare all nodes] *******************************************************

TASK [node_base : settings | Write names] **************************************
ok: [n1]
changed: [n2]

RUNNING HANDLER [node_base : Apply routes] *************************************
changed: [n2]

PLAY RECAP *********************************************************************
n1                         : ok=12   changed=0    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
n2                         : ok=13   changed=2    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
"""


def test_recap_and_changes() -> None:
    played = parse(OUTPUT)
    assert {host: sums["changed"] for host, sums in played.recap.items()} == {"n1": 0, "n2": 2}
    assert played.changed == ("n2: node_base : settings | Write names", "n2: node_base : Apply routes")
    assert parse("").recap == {}


def playbook(folder: Path, tasks: str) -> str:
    """Write a playbook for this machine."""
    path = folder / "play.yml"
    path.write_text(f"- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}")
    return str(path)


def test_a_real_playbook(tmp_path: Path) -> None:
    played = play(playbook(tmp_path, "    - name: Say it\n      ansible.builtin.debug:\n        msg: hello\n"))
    assert played.recap["localhost"]["changed"] == 0
    assert played.changed == ()


def test_two_playbooks_in_one_run(tmp_path: Path) -> None:
    tasks = "    - ansible.builtin.debug:\n        msg: hello\n"
    first = playbook(tmp_path, tasks)
    (tmp_path / "second").mkdir()
    second = playbook(tmp_path / "second", tasks.replace("debug", "fail"))
    assert play([first, first]).recap["localhost"]["ok"] == 2
    with pytest.raises(
        LabError, match=f"^The playbook {first} and {second} failed \\(hello\\): run `ansible-playbook {first} {second} -v`"
    ):
        play([first, second], "-v")


def test_a_playbook_that_does_not_end(tmp_path: Path) -> None:
    tasks = "    - name: Wait\n      ansible.builtin.command: tail -f /dev/null\n"
    with pytest.raises(UnreachableError, match="gave no answer within 1 s"):
        play(playbook(tmp_path, tasks), within=1)


def test_a_playbook_under_a_locale_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert play(playbook(tmp_path, "    - ansible.builtin.debug:\n        msg: hello\n")).recap["localhost"]["ok"] == 1


def test_a_playbook_that_fails(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"failed \(.*too small.*\): run `ansible-playbook"):
        play(playbook(tmp_path, "    - name: Stop\n      ansible.builtin.fail:\n        msg: the disk is too small\n"))


def test_a_long_message_is_whole(tmp_path: Path) -> None:
    words = "the backup /a/rather/long/path/to/a/folder/of/its/own isn't of this cluster, which has another certificate authority: take one that is"
    with pytest.raises(LabError, match=re.escape(f"failed ({words}): run `ansible-playbook")):
        play(playbook(tmp_path, f"    - name: Stop\n      ansible.builtin.fail:\n        msg: >-\n          {words}\n"))
