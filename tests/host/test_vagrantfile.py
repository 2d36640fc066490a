"""The Vagrantfile by `vagrant validate`, for each provider and each set of inventories."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from outlive.base.paths import ROOT

pytestmark = [pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is not installed")]

ARM64 = ("lab-arm64", "offline", "offline-arm64", "emulated", "emulated-arm64")
INVENTORIES = tuple(
    ("common", "lab", *overlays) for overlays in ((), ("offline",), ("emulated",), ("offline", "emulated"), ("lab-arm64",), ARM64)
)


def validate(provider: str, inventories: tuple[str, ...], home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `vagrant validate`, away from this user's Vagrant and this checkout's machines."""
    chosen = {
        "ANSIBLE_INVENTORY": ",".join(str(ROOT / "inventories" / name) for name in inventories),
        "OUTLIVE_SHELL": "1",
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "VAGRANT_CWD": str(ROOT),
        "VAGRANT_DEFAULT_PROVIDER": provider,
        "VAGRANT_DOTFILE_PATH": str(home / "dot"),
        "VAGRANT_HOME": str(home / "home"),
    }
    return subprocess.run(
        ["vagrant", "validate", *options], env={**os.environ, **chosen}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("inventories", INVENTORIES, ids="+".join)
def test_libvirt(tmp_path: Path, inventories: tuple[str, ...]) -> None:
    """All of it, libvirt's own settings included."""
    done = validate("libvirt", inventories, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_virtualbox(tmp_path: Path) -> None:
    """All of it, VirtualBox's own settings included."""
    if shutil.which("VBoxManage") is None:
        pytest.skip("VirtualBox is not installed, and Vagrant doesn't look at a provider's settings without it")
    done = validate("virtualbox", ("common", "lab"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_virtualbox_but_for_its_own_settings(tmp_path: Path) -> None:
    """What Vagrant looks at where VirtualBox isn't installed: box, names, networks, not memory and CPUs."""
    done = validate("virtualbox", ("common", "lab"), tmp_path, "--ignore-provider")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_setting_is_seen(tmp_path: Path) -> None:
    """The check can fail: a box without a name."""
    shutil.copytree(ROOT / "inventories/lab", tmp_path / "lab")
    settings = tmp_path / "lab/group_vars/all/vagrant.yml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("lab_box: cloud-image/debian-13", 'lab_box: ""'), encoding="utf-8")
    done = validate("libvirt", (str(tmp_path / "lab"),), tmp_path)
    assert done.returncode != 0
    assert "Box value for guest" in done.stdout + done.stderr
