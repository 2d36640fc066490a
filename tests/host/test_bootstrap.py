"""`setup` and `doctor` run before there is an environment: with Python's own library alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from outlive.base.paths import ROOT

BARE = """
import sys
sys.path.insert(0, sys.argv.pop(1))
for name in ("click", "yaml", "pytest"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} can be imported")
from outlive import __main__
"""
SETUP = """
from pathlib import Path
from outlive.host import environment, packages
from outlive.mirror import golang
packages.install_packages = lambda names, **_: print("packages")
environment.make = lambda: print("environment") or Path("/venv")
golang.prepare = lambda python: print("Go by", python)
"""
RUN = "sys.exit(__main__.main())"


def bare(script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a Python that sees no installed package."""
    argv = [sys.executable, "-S", "-I", "-c", script, str(ROOT / "src"), *words]
    return subprocess.run(argv, env={**os.environ, **variables}, capture_output=True, text=True, timeout=200, check=False)


def test_setup_without_a_mirror() -> None:
    done = bare(
        BARE + SETUP + RUN, "setup", OUTLIVE_PROVIDER="libvirt", OUTLIVE_DRIVER="kvm", OUTLIVE_SOURCES="upstream", OUTLIVE_LIBVIRT="system"
    )
    assert done.stdout.splitlines() == ["packages", "environment"], done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the mirror's box is for x86_64")
def test_setup_where_the_mirror_is_built() -> None:
    done = bare(BARE + SETUP + RUN, "setup", OUTLIVE_PROVIDER="libvirt", OUTLIVE_DRIVER="qemu")
    assert done.stdout.splitlines() == ["packages", "environment", "packages", "Go by /venv/bin/python"], done.stderr
    assert done.returncode == 0


def test_doctor(tmp_path: Path) -> None:
    done = bare(BARE + RUN, "doctor", OUTLIVE_PROVIDER="libvirt", OUTLIVE_DRIVER="qemu", OUTLIVE_CACHE=str(tmp_path))
    assert done.stderr == ""
    assert done.returncode in (0, 1), "what it finds is this host's"
    assert (
        "  note   the Python environment isn't made yet, so the inventory's sizes and network weren't looked at: run `make setup`"
        in done.stdout
    )


@pytest.mark.parametrize(("command", "sentence"), [("setup", "error: OUTLIVE_PROVIDER is 'vmware', which isn't known: set it to one of ")])
def test_what_a_user_can_cure_is_one_sentence(command: str, sentence: str) -> None:
    done = bare(BARE + SETUP + RUN, command, OUTLIVE_PROVIDER="vmware")
    assert done.stderr.startswith(sentence)
    assert done.returncode == 2


def test_other_commands_name_make_setup() -> None:
    done = bare(BARE + RUN, "lab")
    assert done.stderr == f"error: Python's package click is missing in {sys.executable}: run `make setup`, then .venv/bin/outlive\n"
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("doctor", "error: python3 is missing: `make setup` installs it\n"),
        ("setup", "error: python3 is missing and could not be installed: see the words above, or install Python 3.11 or newer\n"),
    ],
)
def test_no_python_at_all(target: str, sentence: str, tmp_path: Path) -> None:
    without_sudo = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    argv = ["make", "--no-print-directory", target, "PYTHON=no-python", "INSTALL_PYTHON=false"]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, **without_sudo}, capture_output=True, text=True, check=False)
    assert done.stderr.startswith(sentence), done.stderr
    assert done.returncode == 2
