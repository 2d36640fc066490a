"""The roles' scenarios: which there are, how Molecule is called, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from outlive import cli
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.host import molecule, reach, steps, storage
from outlive.host.doctor import leftovers
from outlive.host.settings import Settings
from outlive.mirror.lock import load_addons

ACTIONS = {"backup": "verify/lifecycle/test_backup.py", "upgrade": "verify/rehearsal/test_upgrade.py"}
"""Roles that make nothing of a machine, but do something with a whole lab, and what holds them instead of a scenario."""
ROLES = sorted({path.parent.name for path in (ROOT / "roles").glob("*/tasks")} - ACTIONS.keys())
EMULATED = Settings(provider="libvirt", driver="qemu", sources="mirror", private=True, why="as asked", box="bare", scenarios=True)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def test_each_role_has_a_scenario() -> None:
    assert sorted(molecule.roles()) == ROLES
    assert all((ROOT / tests).is_file() for tests in ACTIONS.values())


def test_what_others_need_comes_first() -> None:
    order = molecule.roles()
    assert order[:3] == ["inventory_check", "node_base", "containerd"]
    assert order.index("nfs_server") < order.index("nfs_client")
    assert order.index("control_plane") < order.index("pod_network") < order.index("worker")
    assert order[-1] == "storage_tutorial"


def test_playbooks_run_modules_that_are_there() -> None:
    named = {
        name for path in (ROOT / "playbooks").rglob("*.yml") for name in re.findall(r"'-m', '([\w.]+)'", path.read_text(encoding="utf-8"))
    }
    assert "outlive.lab.guest_clocks" in named
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize("role", ROLES)
def test_scenario_is_complete(role: str) -> None:
    folder = ROOT / "roles" / role / "molecule/default"
    scenario = _read(folder / "molecule.yml")
    platforms = scenario.get("platforms", [])
    children = _read(ROOT / "inventories/lab/hosts.yml")["all"]["children"]
    assert {platform["name"] for platform in platforms} <= {name for group in children.values() for name in group.get("hosts", {})}
    assert all("scenario" in platform["groups"] for platform in platforms)
    shared = _read(ROOT / ".config/molecule/config.yml")
    steps = scenario.get("scenario", shared["scenario"])["test_sequence"]
    assert [step for step in steps if step in ("converge", "idempotence", "verify")][:3] == ["converge", "idempotence", "verify"]
    # What is restarted is what is tested.
    assert sum("tested" in platform["groups"] for platform in platforms) == ("side_effect" in steps)
    assert ("create" in steps) == bool(platforms)
    playbooks = {**shared["ansible"]["playbooks"], **scenario.get("ansible", {}).get("playbooks", {}), "converge": "converge.yml"}
    for step in set(steps) & set(playbooks):
        assert (folder / playbooks[step]).is_file()
    assert list(folder.glob("tests/test_*.py"))


@pytest.mark.parametrize("role", ["nfs_server", "nfs_client", "containerd", "kubernetes_packages", "control_plane", "worker"])
def test_what_has_to_outlive_a_restart_is_restarted(role: str) -> None:
    assert "scenario" not in _read(ROOT / "roles" / role / "molecule/default/molecule.yml")
    steps = _read(ROOT / ".config/molecule/config.yml")["scenario"]["test_sequence"]
    assert steps[steps.index("side_effect") - 1] == steps[steps.index("side_effect") + 1] == "verify"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nfs"], "'nfs' isn't known: choose one of inventory_check, node_base, "),
        (["worker", "nodes"], "'nodes' isn't known: choose one of "),
        (["nfs_server", "--step", "lint"], "'lint' is not one of 'test', 'converge', 'idempotence', 'verify', 'side-effect'"),
        (
            ["--step", "verify"],
            "--step is 'verify', which is a step of one role's scenario: name that role, such as `outlive molecule inventory_check --st",
        ),
    ],
)
def test_wrong_words_are_refused_before_anything_is_made(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "_remove", lambda: pytest.fail("a lab was removed"))
    monkeypatch.setattr(molecule, "decide", lambda: pytest.fail("the host was looked at"))
    assert cli.main(["molecule", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_machines_of_one_kind_are_not_taken_for_the_other_s() -> None:
    assert leftovers.purpose([], scenarios=True, wanted=False).ok
    assert leftovers.purpose(["n1"], scenarios=True, wanted=True).ok
    assert leftovers.purpose(["n1"], scenarios=False, wanted=False).ok
    assert leftovers.purpose(["n2", "n1"], scenarios=False, wanted=True).sentence == (
        "this checkout has machines that are a lab's (n1, n2), and `outlive molecule` makes others of the same names: "
        "run `outlive destroy`, which removes them, or use another checkout"
    )
    found = leftovers.purpose(["n1"], scenarios=True, wanted=False)
    assert found.verdict == "WRONG"
    assert "machines that are `outlive molecule`'s (n1), and the lab makes others" in found.sentence


def test_lab_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_named: Sequence[str], _step: str) -> Settings:
        raise LabError("this checkout has machines that are a lab's")

    monkeypatch.setattr(molecule, "prepare", refuse)
    monkeypatch.setattr(steps, "_remove", lambda: pytest.fail("a lab was removed"))
    with pytest.raises(LabError, match="machines that are a lab's"):
        steps.roles()


@pytest.mark.parametrize(("step", "removed"), [("test", True), ("converge", False)])
def test_machines_stay_after_a_single_step(step: str, removed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(molecule, "prepare", lambda _named, _step: EMULATED)
    monkeypatch.setattr(molecule, "run", lambda _settings, named, step: done.append(f"{named[0]} {step}"))
    monkeypatch.setattr(steps, "_remove", lambda: done.append("destroy"))
    steps.roles(["worker"], step)
    assert done == [f"worker {step}", *(["destroy"] if removed else [])]


def test_molecule_gets_the_inventories_with_the_bare_box() -> None:
    command = molecule.argv(EMULATED, "nfs_server", "test")
    assert f"--chdir={ROOT}/roles/nfs_server" in command
    given = next(word for word in command if word.startswith("OUTLIVE_INVENTORY_OPTIONS=")).partition("=")[2]
    assert json.loads(given) == [
        f"--inventory={ROOT}/inventories/{name}" for name in ("common", "lab", *storage.KINDS, "offline", "bare", "emulated")
    ]
    generic = molecule.argv(replace(EMULATED, box="generic"), "nfs_server", "test")
    assert "/inventories/generic" in next(word for word in generic if word.startswith("OUTLIVE_INVENTORY_OPTIONS="))
    assert command[-3:] == ["molecule", "test", "--no-command-borders"]


def test_upstream_s_box_is_bare_already() -> None:
    settings = Settings(provider="libvirt", driver="kvm", sources="upstream", private=False, why="as asked", box="bare", scenarios=True)
    assert settings.inventories == ["inventories/common", "inventories/lab", *(f"inventories/{name}" for name in storage.KINDS)]


class Reached:
    """A lab that only notes its steps; `failing` fails as Molecule does, with a log."""

    settings = EMULATED

    def __init__(self, failing: str) -> None:
        self.failing = failing
        self.steps: list[str] = []

    def step(self, what: str, _argv: list[str], _show: Callable[[str], str | None]) -> float:
        """Note the step."""
        self.steps.append(what)
        if what.endswith(self.failing):
            reach.log_of(what).write_text("[ERROR]: Task failed: no disk\nERROR    Molecule executed 1 scenario\n")
            raise LabError("ended with status 2")
        return 1.0


def test_a_failure_stops_no_other_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reached = Reached("node_base")
    monkeypatch.setattr(molecule, "SCENARIOS", tmp_path / "scenarios")
    monkeypatch.setattr(reach, "LOGS", tmp_path)
    monkeypatch.setattr(molecule, "reach", lambda _settings: reached)
    monkeypatch.setattr(molecule, "roles", lambda: ["node_base", "worker"])
    with pytest.raises(
        LabError, match=r"1 of 2 scenarios failed \(node_base\): Task failed: no disk \(whole log: .*molecule-node-base.log\)"
    ):
        molecule.run(EMULATED, [], "test")
    assert reached.steps == ["molecule node_base", "molecule worker"]
    assert [line.split()[0::3] for line in capsys.readouterr().out.splitlines()] == [["node_base", "FAILED"], ["worker", "passed"]]


def test_notes_of_other_scenarios_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(molecule, "SCENARIOS", tmp_path / "scenarios")
    monkeypatch.setattr(molecule, "reach", lambda _settings: Reached("none"))
    for name in ("worker", "nfs_server"):
        (tmp_path / "scenarios" / name).mkdir(parents=True)
    molecule.run(EMULATED, ["worker"], "verify")
    assert [path.name for path in (tmp_path / "scenarios").iterdir()] == ["worker"]


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("[ERROR]: Task failed: one\nfatal: [n1]: FAILED! =>\n[ERROR]: Task failed: two\n", "Task failed: two"),
        (
            "FAILED - RETRYING: [n1]: Wait (3 retries left).\nFAILED tests/test_a.py::test_b - assert 1 == 2\n",
            "tests/test_a.py::test_b - assert 1 == 2",
        ),
        (
            "CRITICAL Idempotence test failed because of the following tasks:\n* [n1] => a : b\nERROR    failed\n",
            "Idempotence test failed because of the following tasks: * [n1] => a : b",
        ),
        ("nothing\n", ""),
    ],
)
def test_reason(log: str, wanted: str) -> None:
    assert molecule.reason(log) == wanted


def test_roles_that_need_an_image_of_their_own_are_known_on_both_sides() -> None:
    assert set(molecule.ADDONS.values()) == set(load_addons())
    assert set(molecule.ADDONS) <= set(molecule.roles())
