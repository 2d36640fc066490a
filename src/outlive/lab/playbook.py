"""What a playbook did: runs it and reads its closing recap."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.process import run
from outlive.lab.inventory import ansible_program

PLAIN = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_STDOUT_CALLBACK": "default"}
"""Variables under which Ansible prints what ``parse`` reads."""


@dataclass(frozen=True)
class Played:
    """A playbook's run: for each host the numbers of the recap, the tasks that changed something, and all that was printed."""

    recap: Mapping[str, Mapping[str, int]]
    changed: tuple[str, ...]
    """``host: task`` for each change."""
    output: str = field(default="", repr=False)


def play(playbooks: str | Sequence[str], *options: str, within: float = 7200) -> Played:
    """Run a playbook, or some in one run, on the lab, for as long as `within` seconds; its failure is an error with the first failed task's words."""
    played = [playbooks] if isinstance(playbooks, str) else list(playbooks)
    command = [ansible_program("ansible-playbook"), *played, *options]
    done = run(command, timeout=within, cwd=ROOT, env=os.environ | PLAIN)
    if done.returncode != 0:
        raise LabError(
            f"The playbook {' and '.join(played)} failed ({_reason(done.stdout, done.stderr)}): run `{' '.join(['ansible-playbook', *command[1:]])}` to see all."
        )
    return parse(done.stdout)


def parse(output: str) -> Played:
    """Read what ``ansible-playbook`` printed."""
    recap: dict[str, dict[str, int]] = {}
    changed: list[str] = []
    task = ""
    for line in output.splitlines():
        if heading := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\] \*", line):
            task = heading.group(1)
        elif change := re.match(r"changed: \[([^\]]+)\]", line):
            changed.append(f"{change.group(1)}: {task}")
        elif sums := re.match(r"(\S+)\s+: (ok=\d+.*)$", line):
            recap[sums.group(1)] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", sums.group(2))}
    return Played(recap, tuple(changed), output)


def _reason(stdout: str, stderr: str) -> str:
    failed = re.search(r"^(?:fatal|failed): .*(?:\n .*)*", stdout, flags=re.MULTILINE)
    # YAML folds a long message: its further lines are indented deeper than the names.
    message = re.search(r"[\"']?msg[\"']?: (.*(?:\n {6,}.*)*)", failed.group(0)) if failed else None
    text = message.group(1) if message else (stderr.strip().splitlines() or stdout.strip().splitlines() or ["no message"])[-1]
    return " ".join(text.split()).strip(" \"'").replace("''", "'")[:300]
