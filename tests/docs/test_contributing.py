"""CONTRIBUTING.md's example of a fault, run on the stand-in of a node, and what it says that guards a fault."""

from __future__ import annotations

import re
from typing import Any

import pytest

from outlive.base.paths import ROOT
from outlive.drill import faults
from outlive.drill.faults import KINDS, Kind, Target, injected, process
from outlive.lab import objects
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from tests import samples
from tests.drill.test_fault_commands import Shell
from tests.drill.test_faults import StandIn
from tests.samples import ManualClock

TESTS = [ROOT / "tests/drill" / name for name in ("test_faults.py", "test_fault_commands.py")]


def blocks(heading: str) -> list[str]:
    """Return the Python of a section."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    return re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def example() -> tuple[Kind, tuple[Any, ...]]:
    """Return the example's kind and its case, as they would stand in the modules that it names."""
    fault, kind, case = blocks("A fault")
    module = dict(vars(process))
    exec(compile(fault, "CONTRIBUTING.md", "exec", dont_inherit=True), module)
    names = {**vars(faults), "process": type("process", (), module)}
    return eval(kind, names), eval(case)


def test_example_of_a_fault_breaks_sees_and_heals(
    example: tuple[Kind, tuple[Any, ...]], small_inventory: Inventory, fake_cluster: Cluster, clock: ManualClock
) -> None:
    kind, (name, answers, breaks, heals) = example
    assert kind.name == name
    shell = Shell(small_inventory, answers)
    machine = StandIn([])
    target = Target(objects.pod(samples.pod()), machine, machine, "192.0.2.10", "/nfsdata/mysql-pv", fake_cluster, shell, clock)
    untouched = kind.make(target)
    untouched.heal()
    assert shell.commands == []
    with injected(kind.make(target)) as fault:
        assert any(breaks in command for command in shell.commands)
        assert not any(heals in command for command in shell.commands)
        assert fault.issued is not None
        assert fault.effect is not None
        assert fault.effect > fault.issued
    assert any(heals in command for command in shell.commands)


@pytest.mark.parametrize("name", KINDS)
def test_each_fault_is_described(name: str) -> None:
    rows = [line for line in (ROOT / "docs/drills.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [row for row in rows if f"`{name}`" in row.split("|")[1]]


@pytest.mark.parametrize("name", KINDS)
def test_each_fault_has_a_case(name: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in TESTS)
    made = getattr(KINDS[name].make, "__self__").__name__  # noqa: B009  a method of the fault's class
    assert re.search(rf'"{name}"|\b{made}\b', text)


def test_what_contributing_names_is_there() -> None:
    """Each test and file that it sends a reader to; `test_commands.py` has the commands."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named
    assert [each for each in named if f"def {each}(" not in tests] == []
    files = set(re.findall(r"`((?:src|verify|tests|docs|roles|playbooks)/[\w./-]+\.(?:py|yml|txt|md))`", text)) | set(
        re.findall(r"\]\(([\w./-]+)\)", text)
    )
    missing = {each for each in files if not (ROOT / each).exists() and not each.startswith("../")}
    # The examples' own.
    assert missing == {"docs/tutorial/en/15-subpath.md", "docs/exercises/en/10-forgotten-claim.md", "tests/test_banner.py"}
