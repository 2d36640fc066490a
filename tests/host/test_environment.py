"""The Python environment: what the lock names with its checksums, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from threading import Thread

import host
import pytest

from outlive.base.paths import ROOT
from outlive.host import packages


def test_pip_looks_at_nothing_that_the_lock_does_not_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of the day must not decide whether an environment can be made: pip resolves nothing."""
    called: list[list[str]] = []

    def call(_what: str, argv: list[str], _log: Path, **_: object) -> None:
        called.append(argv)
        if "venv" in argv:
            Path(argv[-1]).mkdir(parents=True)

    monkeypatch.setattr(packages, "ROOT", tmp_path)
    monkeypatch.setattr(packages, "logged", call)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "requirements.lock").write_text("pytest==9.2.0\n", encoding="utf-8")
    made = packages.make_environment()
    assert (tmp_path / ".venv").readlink() == made
    assert {"--no-deps", "--require-hashes"} <= set(called[-1])


def test_environment_that_another_checkout_makes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def call(_what: str, argv: list[str], _log: Path, **_: object) -> None:
        if "venv" in argv:
            made.append(Path(argv[-1]))
            made[-1].mkdir(parents=True, exist_ok=True)
            # The other one begins now: it must find what this one makes, not empty it.
            others.append(Thread(target=packages.make_environment))
            others[-1].start()

    others: list[Thread] = []
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    monkeypatch.setattr(packages, "logged", call)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "requirements.lock").write_text("pytest==9.2.0\n", encoding="utf-8")
    packages.make_environment()
    for other in others:
        other.join(timeout=60)
    assert len(made) == 1


def test_the_lock_lacks_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_old_python_gets_one_sentence_instead_of_a_traceback() -> None:
    source = Path(host.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.version_info = (3, 9, 2); import host"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {sys.executable} is Python 3.9, the lab needs 3.11 or newer: use Debian 12 or newer, or put a newer python3 on PATH\n"
    )
