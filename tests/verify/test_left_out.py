"""What a lab of one worker leaves out: each of the folders that need a second one asks for it before it touches anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from outlive.base.errors import EXIT_UNKNOWN
from outlive.base.paths import ROOT


@pytest.mark.parametrize("folder", ["power_off", "drills", "proof", "lifecycle"])
def test_it_is_left_out_with_the_reason(tmp_path: Path, folder: str) -> None:
    """No cluster is asked, as there is none here; and what was left out isn't known."""
    hosts = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text(encoding="utf-8"))
    del hosts["all"]["children"]["workers"]["hosts"]["k8s-node2"]
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", f"verify/{folder}", "-m", folder, "-q", "-p", "no:cacheprovider"]
    told = {
        "KUBECONFIG": str(tmp_path / "none"),
        "ANSIBLE_INVENTORY": f"inventories/common,{inventory}",
        "OUTLIVE_REPORTS": str(tmp_path / "reports"),
    }
    chosen = ["--fault", "power-cut", "--profile", "default"] if folder == "drills" else []
    done = subprocess.run([*command, *chosen], cwd=ROOT, env=os.environ | told, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_UNKNOWN, done.stdout + done.stderr
    assert "Only k8s-node1 takes pods in this lab: a fail-over needs at least 2 workers" in done.stdout
    assert "skipped" in done.stdout.splitlines()[-1]
    assert "passed" not in done.stdout.splitlines()[-1]
    assert "error" not in done.stdout.splitlines()[-1]
