"""Fixtures of the roles' tests: Ansible on this machine, with inventories made for the occasion."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from outlive.host.settings import mitogen
from outlive.lab.inventory import ansible_program

ROOT = Path(__file__).resolve().parents[2]
COMMON = ROOT / "inventories/common"

Playbook = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Return a copy of the lab's inventory, to be spoiled by the test."""
    return Path(shutil.copytree(ROOT / "inventories/lab", tmp_path / "inventories/lab"))


@pytest.fixture
def edit_hosts(inventory: Path) -> Callable[[Callable[[dict[str, Any]], None]], None]:
    """Return a function that changes the copy's hosts.yml."""

    def edit(change: Callable[[dict[str, Any]], None]) -> None:
        path = inventory / "hosts.yml"
        hosts = yaml.safe_load(path.read_text())
        change(hosts["all"])
        path.write_text(yaml.safe_dump(hosts, sort_keys=False))

    return edit


@pytest.fixture
def playbook(inventory: Path) -> Playbook:
    """Return a function that runs a playbook on the copy of the inventory and returns what came of it."""

    def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        # The inventory of a lab that runs here has nothing to do with this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        return subprocess.run(
            [ansible_program("ansible-playbook"), "--inventory", str(COMMON), "--inventory", str(inventory), *arguments, str(path)],
            cwd=ROOT,
            env={**environment, **mitogen(), "ANSIBLE_NOCOLOR": "1"},  # three times as fast: a whole role is fifty tasks and more
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
