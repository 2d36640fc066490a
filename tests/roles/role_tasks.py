"""Single tasks of a role, run on this machine: what they would write into /etc goes into a folder of the test."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from .conftest import ROOT, Playbook

Task = dict[str, Any]


def plugin(role: str, path: str) -> ModuleType:
    """Return a plug-in of the role as a module: Ansible keeps them outside every package."""
    specification = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "roles" / role / path)
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def read(role: str, name: str) -> list[Task]:
    """Return the tasks of a role's file without the owners, which only root can give to a file."""
    tasks: list[Task] = yaml.safe_load((ROOT / "roles" / role / "tasks" / f"{name}.yml").read_text(encoding="utf-8"))
    for task in each(tasks):
        for arguments in [value for value in task.values() if isinstance(value, dict)]:
            arguments.pop("owner", None)
            arguments.pop("group", None)
    return tasks


def each(tasks: list[Task]) -> Iterator[Task]:
    """Yield the tasks, and those in their blocks."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from each(task.get(part, []))


def task_of(tasks: list[Task], name: str) -> Task:
    """Return the only task whose name ends so."""
    (found,) = [task for task in each(tasks) if task["name"].endswith(f" | {name}")]
    return found


def run(
    playbook: Playbook, folder: Path, role: str, tasks: list[Task], variables: dict[str, Any], *options: str
) -> subprocess.CompletedProcess[str]:
    """Run the tasks as those of a copy of the role, with its variables, templates, filters and handlers."""
    copy = folder / "roles" / role
    shutil.copytree(ROOT / "roles" / role, copy, ignore=shutil.ignore_patterns("argument_specs.yml", "molecule"), dirs_exist_ok=True)
    (copy / "tasks" / "main.yml").write_text(yaml.safe_dump(tasks), encoding="utf-8")
    return playbook(on_this_machine(folder, "localhost", roles=[role]), "-e", json.dumps(variables), *options)


def on_this_machine(folder: Path, host: str, **content: Any) -> Path:  # noqa: ANN401  whatever a play has
    """Write a playbook with one play, in which this machine stands for a host of the inventory; return its path."""
    play = {"name": "Try it on this machine", "hosts": host, "connection": "local"}
    variables = {"ansible_python_interpreter": "{{ ansible_playbook_python }}", **content.pop("vars", {})}
    path = folder / "playbook.yml"
    path.write_text(yaml.safe_dump([play | {"vars": variables} | content]), encoding="utf-8")
    return path
