"""What each role has: its text, a description of every variable that it can be told, and all that it needs in its own folder."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from outlive.lab.inventory import ansible_program

from . import role_tasks
from .conftest import ROOT, Playbook

ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/tasks"))
OTHERS = {"upgrade": ("kubernetes_packages", "worker")}
"""Roles that use another one, and which."""


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


def _read_tasks(path: Path) -> list[dict[str, Any]]:
    return list(role_tasks.each(yaml.safe_load(path.read_text(encoding="utf-8")) or []))


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of each entry point that a role describes."""
    specs: dict[str, Any] = _read(role / "meta/argument_specs.yml")["argument_specs"]
    return {name: spec.get("options", {}) for name, spec in specs.items()}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_is_complete(role: Path) -> None:
    assert (role / "README.md").read_text(encoding="utf-8").startswith(f"# {role.name}\n")
    assert _read(role / "meta/main.yml")["galaxy_info"]["role_name"] == role.name
    described = {option for options in entry_points(role).values() for option in options}
    assert sorted(set(_read(role / "defaults/main.yml")) - described) == []
    assert [name for name in entry_points(role) if not (role / f"tasks/{name}.yml").is_file()] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_described_defaults_are_the_role_s(role: Path) -> None:
    given = _read(role / "defaults/main.yml")
    for options in entry_points(role).values():
        described = {name: option["default"] for name, option in options.items() if "default" in option}
        assert described == {name: given[name] for name in described}
        assert [name for name in options if name in given and name not in described] == []
        assert [name for name, option in options.items() if option.get("required") and name in given] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_knows_no_group_of_the_inventory(role: Path) -> None:
    text = "".join(
        path.read_text(encoding="utf-8") for path in role.rglob("*") if path.suffix in (".yml", ".j2") and "molecule" not in path.parts
    )
    assert re.findall(r"groups\[|groups\.", text.replace("inventory_check_groups.", "")) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_works_where_its_folder_is_copied_to(role: Path, tmp_path: Path) -> None:
    """Every module, filter and file that it names is found in an empty project."""
    project = alone(
        role,
        tmp_path,
        [{"ansible.builtin.import_role": {"name": role.name, "tasks_from": name}, "name": name} for name in entry_points(role)],
    )
    done = play(project, "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_role_is_applied_in_an_empty_project(tmp_path: Path) -> None:
    role = ROOT / "roles/inventory_check"
    variables = {
        "inventory_check_network": "192.0.2.0/24",
        "inventory_check_hosts": ["node"],
        "inventory_check_groups": {"control_plane": ["node"], "workers": ["node2"]},
    }
    tasks = [{"name": "Check", "ansible.builtin.import_role": {"name": role.name}, "vars": variables}]
    done = play(alone(role, tmp_path, tasks))
    assert done.returncode == 0, done.stdout + done.stderr
    variables["inventory_check_hosts"] = ["Node_1"]
    refused = play(alone(role, tmp_path / "refused", tasks))
    assert refused.returncode != 0
    assert "The host name 'Node_1' in the inventory can't be the name of a node" in refused.stdout + refused.stderr


def alone(role: Path, folder: Path, tasks: list[dict[str, Any]]) -> Path:
    """Make a project that has a role, those that it uses, and a playbook with some tasks; return its folder."""
    for name in (role.name, *OTHERS.get(role.name, ())):
        shutil.copytree(ROOT / "roles" / name, folder / "roles" / name)
    (folder / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"hosts": {"node": {"ansible_host": "192.0.2.1", "ansible_connection": "local"}}}})
    )
    (folder / "playbook.yml").write_text(yaml.safe_dump([{"name": "Use the role", "hosts": "node", "gather_facts": False, "tasks": tasks}]))
    (folder / "ansible.cfg").write_text("[defaults]\n")
    return folder


def play(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a project's playbook with nothing of this one's."""
    return subprocess.run(
        [ansible_program("ansible-playbook"), "--inventory", "hosts.yml", *options, "playbook.yml"],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "HOME": str(project), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(("installed", "asks"), [(["dpkg"], False), (["dpkg", "no-such-package"], True)])
@pytest.mark.parametrize("role", ["containerd", "network_policy", "nfs_client", "nfs_server"])
def test_installed_packages_ask_no_archive(playbook: Playbook, tmp_path: Path, role: str, installed: list[str], asks: bool) -> None:
    """A machine that has all of them goes on without the internet; one that lacks some reads the lists anew, however young they look."""
    tasks = role_tasks.read(role, "apply" if role == "network_policy" else "install")
    (apt,) = [task for task in tasks if "ansible.builtin.apt" in task]
    assert apt["ansible.builtin.apt"]["update_cache"] is True
    assert "cache_valid_time" not in apt["ansible.builtin.apt"]
    say = {"name": "Say", "ansible.builtin.debug": {"msg": "the archive is asked"}, "when": apt["when"]}
    check = role_tasks.task_of(tasks, "Check what is installed")
    result = role_tasks.run(playbook, tmp_path, role, [check, say], {f"__{role}_packages": installed})
    assert result.returncode == 0, result.stdout + result.stderr
    assert ("the archive is asked" in result.stdout) is asks


def test_lists_keep_their_order() -> None:
    """Ansible's filters of sets give names in another order in each run: sentences, loops and files would change by themselves."""
    filters = re.compile(r"\|\s*(difference|intersect|symmetric_difference|union)\b")
    texts = [path for folder in ("roles", "playbooks") for kind in ("yml", "j2") for path in (ROOT / folder).rglob(f"*.{kind}")]
    assert len(texts) > 100
    assert [f"{path}: {each[1]}" for path in texts for each in filters.finditer(path.read_text(encoding="utf-8"))] == []


def test_sentences_need_nothing_that_only_a_failure_has() -> None:
    """Ansible makes the sentence of a check also where the check passes: a result that isn't there then would fail it."""
    files = sorted(path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("tasks/*.yml"))
    assert len(files) > 50
    assert [f"{path}: {found}" for path in files for found in _only_after_a_failure(_read_tasks(path))] == []


def test_sentence_that_needs_a_failure_is_found() -> None:
    look = {"register": "__a", "ansible.builtin.command": "x", "when": "__b is failed"}
    check = {"ansible.builtin.assert": {"that": "__b is not failed", "fail_msg": "{{ __a.stdout }} {{ __b.msg }} {{ __c.stdout }}"}}
    assert _only_after_a_failure([look, check]) == ["__a.stdout", "__b.msg"]
    assert _only_after_a_failure([look, {**check, "when": "__b is failed"}]) == ["__b.msg"]


def _only_after_a_failure(tasks: list[Any]) -> list[str]:
    """Return what the sentences of checks read without a `default` though a success has no message, or the task that registers it may be skipped."""
    found = []
    for task in tasks:
        sentence = task.get("ansible.builtin.assert", {}).get("fail_msg", "")
        for name, attribute in re.findall(r"\b(__\w+)\.(\w+)\b(?!\s*\|\s*default\b)", sentence):
            skipped = [each["when"] for each in tasks if each.get("register") == name and "when" in each]
            if attribute == "msg" or any(when != task.get("when") for when in skipped):
                found.append(f"{name}.{attribute}")
    return found


def test_apt_waits_for_the_machine_s_own() -> None:
    """A public image brings its packages up to date by itself, whenever it likes, and holds apt's lock meanwhile."""
    tasks = [task for path in (ROOT / "roles").glob("*/tasks/*.yml") for task in _read_tasks(path) if "ansible.builtin.apt" in task]
    assert len(tasks) >= 5
    assert [task["name"] for task in tasks if task["ansible.builtin.apt"].get("lock_timeout", 60) < 300] == []


def test_requirements_are_the_collections_that_are_used() -> None:
    given = {each["name"]: each["version"] for each in _read(ROOT / "requirements.yml")["collections"]}
    texts = [path.read_text(encoding="utf-8") for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    used = {found for text in texts for found in re.findall(r"\b((?:ansible|community|kubernetes)\.\w+)\.\w+", text)} - {
        "ansible.builtin",
        "kubernetes.io",
    }
    assert set(given) == {name for name in used if (collections() / name.replace(".", "/")).is_dir()}
    for name, version in given.items():
        manifest = json.loads((collections() / name.replace(".", "/") / "MANIFEST.json").read_text(encoding="utf-8"))
        assert manifest["collection_info"]["version"] == version


def collections() -> Path:
    """Return the folder of the collections that come with the Python environment."""
    found = importlib.util.find_spec("ansible_collections")
    assert found is not None
    assert found.submodule_search_locations
    return Path(next(iter(found.submodule_search_locations)))


def test_packages_and_downloads_are_waited_for_and_nothing_is_removed() -> None:
    """Somebody else's apt, a server that fails for a moment and a package that stands in the way: each task that may meet them is ready for them."""
    found = [(path, task) for path in sorted((ROOT / "roles").glob("*/tasks/*.yml")) for task in _read_tasks(path)]
    packages = [(path, task["ansible.builtin.apt"]) for path, task in found if "ansible.builtin.apt" in task]
    assert len(packages) >= 5
    assert [path.name for path, apt in packages if apt["lock_timeout"] < 300] == []
    assert [path.name for path, apt in packages if apt.get("fail_on_autoremove") is not True] == []
    kinds = ("ansible.builtin.apt", "ansible.builtin.get_url", "ansible.builtin.dpkg_selections")
    once = [path for path, task in found if any(kind in task for kind in kinds) and "until" not in task]
    assert once == []
