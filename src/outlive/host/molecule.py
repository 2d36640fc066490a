"""Roles on machines that have nothing yet: each role's scenario, run by Molecule on this checkout's machines, made from a box without them."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.paths import REPORTS, ROOT, SCENARIOS
from outlive.host.doctor import checklist
from outlive.host.reach import Reached, build_mirror, log_of, reach
from outlive.host.settings import Settings, decide

PLAYBOOKS = ("playbooks/site.yml", "playbooks/tutorial.yml")
"""What applies the roles, in the order in which one needs the other."""
ADDONS = {"network_policy": "kube-network-policies", "metrics_server": "metrics-server"}
"""Roles that need an image which the mirror makes only where it is asked for."""
LIMIT = 5400
"""Seconds that a scenario may take. The longest one, storage_tutorial's, makes a cluster of bare machines first."""


@dataclass(frozen=True)
class Outcome:
    """How a role's scenario ended."""

    role: str
    seconds: float
    error: str = ""


def roles() -> list[str]:
    """Return the roles that have a scenario, in the order in which the playbooks apply them."""
    applied = [role for name in PLAYBOOKS for role in applied_roles(ROOT / name)]
    there = sorted(path.parts[-4] for path in (ROOT / "roles").glob("*/molecule/default/molecule.yml"))
    return sorted(there, key=lambda role: applied.index(role) if role in applied else len(applied))


def applied_roles(playbook: Path) -> list[str]:
    """Return the roles that a playbook lists, those of the playbooks that it imports among them, in this order."""
    import yaml  # not at the top: `make setup` runs before there is an environment that has it

    found: list[str] = []
    for play in yaml.safe_load(playbook.read_text(encoding="utf-8")):
        imported = play.get("ansible.builtin.import_playbook")
        found += applied_roles(playbook.parent / imported) if imported else []
        found += [role if isinstance(role, str) else role["role"] for role in play.get("roles", [])]
    return found


def prepare(named: Sequence[str], step: str) -> Settings:
    """Look at everything that would stop a scenario, and make the mirror and the box as far as they aren't made: the bare one, or the one asked for.

    Args:
        named: Roles; none for all.
        step: `test`, or one step of the scenario, after which the machines stay for the next one.

    Returns:
        How the machines are made.

    Raises:
        LabError: a step of several roles was asked for, something of the host is wrong, or the checkout has a lab.
    """
    wanted = named or roles()
    if step != "test" and len(wanted) > 1:
        raise LabError(
            f"--step is '{step}', which is a step of one role's scenario: name that role, such as `outlive molecule {wanted[0]} --step {step}`"
        )
    settings = decide()
    settings = replace(settings, scenarios=True, box="bare" if settings.box == "full" else settings.box)
    checklist.before_anything(settings)
    if settings.builds_mirror:
        build_mirror(settings.box, *(ADDONS[role] for role in wanted if role in ADDONS))
    return settings


def run(settings: Settings, named: Sequence[str], step: str) -> None:
    """Run the scenarios of some roles, one after the other; print how each ended.

    Args:
        settings: As `prepare` gave them.
        named: As for `prepare`.
        step: As for `prepare`.

    Raises:
        LabError: a scenario failed; the others were run all the same.
    """
    SCENARIOS.mkdir(parents=True, exist_ok=True)
    lab = reach(settings)
    outcomes = [_scenario(lab, each, step) for each in named or roles()]
    width = max(len(outcome.role) for outcome in outcomes)
    for outcome in outcomes:
        print(f"  {outcome.role:<{width}}  {outcome.seconds:6.0f} s  {'FAILED' if outcome.error else 'passed'}", flush=True)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        raise LabError(
            f"{len(failed)} of {len(outcomes)} scenarios failed ({', '.join(outcome.role for outcome in failed)}): {failed[0].error}; "
            f"`outlive molecule {failed[0].role}` runs this one alone"
        )


def argv(settings: Settings, role: str, step: str) -> list[str]:
    """Return the command line that runs Molecule on a role."""
    inventories = [f"--inventory={ROOT / name}" for name in settings.inventories]
    return [
        "env",
        f"--chdir={ROOT / 'roles' / role}",
        f"MOLECULE_EPHEMERAL_DIRECTORY={SCENARIOS / role}",
        f"OUTLIVE_INVENTORY_OPTIONS={json.dumps(inventories)}",
        # For the checks that a scenario shares with the lab, whose newest report it is not to be.
        f"OUTLIVE_REPORTS={REPORTS / 'molecule'}",
        "ANSIBLE_NOCOLOR=1",
        "NO_COLOR=1",
        "timeout",
        "--kill-after=60",
        str(LIMIT),
        "molecule",
        step,
        "--no-command-borders",
    ]


def _scenario(lab: Reached, role: str, step: str) -> Outcome:
    """Run a role's scenario, or a step of it; what Molecule noted of the others no longer holds once their machines are this one's."""
    for noted in SCENARIOS.iterdir():
        if noted.name != role or step == "test":
            shutil.rmtree(noted)
    what, began = f"molecule {role}", time.monotonic()
    error = ""
    try:
        lab.step(what, argv(lab.settings, role, step), _shown)
    except LabError as failure:
        log = log_of(what)
        error = f"{reason(log.read_text(encoding='utf-8', errors='replace')) or failure} (whole log: {log})"
    return Outcome(role, time.monotonic() - began, error)


def reason(log: str) -> str:
    """Return the line of Molecule's output that says why a scenario failed: of Ansible, of pytest, or its own; empty where there is none."""
    lines = re.findall(r"^(?:\[ERROR\]: (.+)|FAILED (\S+::.+)|CRITICAL +(Idempotence.+(?:\n\s*\*.+)*))", log, flags=re.MULTILINE)
    return " ".join("".join(lines[-1]).split()) if lines else ""


def _shown(line: str) -> str | None:
    """Return the action or the task that a line of Molecule's output begins."""
    found = re.search(r"\[default > (\w+)\] Executing$|TASK \[(.+?)\]", line)
    return (found[1] or found[2]) if found else None
