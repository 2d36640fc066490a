"""The Python environments: what the lock names with its checksums and nothing else, shared, and a thin one above it for each checkout."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

import outlive
from outlive.base.paths import ROOT
from outlive.host import environment

MAKE = "from outlive.host import environment; environment.make()"
SHOWS = "import sys, outlive; print(sys.prefix, outlive.__file__, sep='\\n')"


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout's program, with a version of its own."""

    root: Path
    cache: Path

    def make(self) -> str:
        """Make its environment as `make setup` does; return what was printed."""
        variables = {**os.environ, "PYTHONPATH": str(self.root / "src"), "OUTLIVE_CACHE": str(self.cache)}
        return self._run(["/usr/bin/python3", "-c", MAKE], variables)

    def program(self, name: str, *words: str) -> str:
        """Return what a program of its environment prints, called from elsewhere as `.venv/bin/NAME`."""
        return self._run([str(self.root / ".venv/bin" / name), *words], dict(os.environ))

    def _run(self, argv: list[str], variables: dict[str, str]) -> str:
        done = subprocess.run(argv, cwd="/", env=variables, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache in which the shared packages are there: this run's own, with one program more."""
    kept = ROOT / ".venv" / environment.NOTE
    if not kept.exists():
        pytest.skip("this run's environment isn't one that `make setup` made")
    real = Path(json.loads(kept.read_text(encoding="utf-8"))["shared"])
    lock = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()[:12]
    shared = tmp_path / f"cache/venv/{lock}-py{sys.version_info[0]}.{sys.version_info[1]}"
    (shared / "bin").mkdir(parents=True)
    (shared / "lib").symlink_to(real / "lib")
    (shared / ".complete").touch()
    (shared / "bin/python").symlink_to(sys.executable)
    long = f"#!/bin/sh\n'''exec' {shared}/bin/python \"$0\" \"$@\"\n' '''\n"
    for name, head in (("shows", f"#!{shared}/bin/python\n"), ("shows-long", long)):
        (shared / "bin" / name).write_text(head + SHOWS)
        (shared / "bin" / name).chmod(0o755)
    (shared / "bin/no-python").write_text("#!/bin/sh\necho hello\n")
    (shared / "bin/no-python").chmod(0o755)
    return tmp_path / "cache"


def copied(root: Path, cache: Path, version: str) -> Checkout:
    """Copy what a checkout's program is made of."""
    root.mkdir(parents=True)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    init = root / "src/outlive/__init__.py"
    init.write_text(init.read_text(encoding="utf-8").replace(f'"{outlive.__version__}"', f'"{version}"'), encoding="utf-8")
    return Checkout(root, cache)


def test_checkouts_side_by_side(tmp_path: Path, cache: Path) -> None:
    one = copied(tmp_path / "one", cache, "1.1.1")
    two = copied(tmp_path / ("a rather long path " * 8).strip(), cache, "2.2.2")
    assert len(str(two.root)) > 150
    for checkout in (one, two):
        steps = {line.rpartition(":")[0] or line.removesuffix(" ...") for line in checkout.make().splitlines()}
        assert steps == {"this checkout's environment", "outlive"}, "a matter of seconds: no package is installed again"
    for checkout, version in ((one, "1.1.1"), (two, "2.2.2")):
        assert checkout.program("outlive", "--version").split()[-1] == version
        own, code = checkout.program("python", "-c", SHOWS).splitlines()
        assert code == str(checkout.root / "src/outlive/__init__.py")
        for name in ("shows", "shows-long"):
            # A program of the shared packages sees this checkout's code, not the other one's.
            prefix, seen = checkout.program(name).splitlines()
            assert (Path(prefix).resolve(), seen) == (Path(own).resolve(), code)
        assert checkout.program("no-python") == "hello\n"
        assert (checkout.root / ".venv" / environment.SOCKETS).stat().st_mode & 0o777 == 0o700
        assert " " not in str((checkout.root / ".venv").resolve()), "Ansible can't call a Python whose path has white space"
    note = (one.root / ".venv" / environment.NOTE).stat().st_mtime_ns
    assert one.make() == "", "the second time does nothing"
    assert (one.root / ".venv" / environment.NOTE).stat().st_mtime_ns == note
    gone = (two.root / ".venv").resolve()
    shutil.rmtree(two.root)
    one.make()
    assert not gone.exists()
    assert one.program("outlive", "--version").split()[-1] == "1.1.1"


NOEXEC = 'mount -t tmpfs -o noexec tmpfs "$1" && shift && exec "$@"'
"""Run by a shell in a mount namespace of its own: puts a file system on which nothing can be executed on a folder, and runs a command."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_cache_in_which_nothing_may_be_executed(tmp_path: Path) -> None:
    mounted = ["unshare", "--mount", "sh", "-c", NOEXEC, "sh", str(tmp_path)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OUTLIVE_CACHE": str(tmp_path / "cache")}
    sentence = (
        f"the cache folder is '{tmp_path}/cache' (by OUTLIVE_CACHE, else XDG_CACHE_HOME or the home folder), on a file system that is mounted "
        "noexec, and the lab's programs lie there: set OUTLIVE_CACHE to a folder elsewhere"
    )
    for command, said, status in (("doctor", f"  WRONG  {sentence}\n", 1), ("setup", f"error: {sentence}\n", 2)):
        argv = [*mounted, sys.executable, "-m", "outlive", command]
        done = subprocess.run(argv, env=variables, capture_output=True, text=True, timeout=120, check=False)
        assert said in done.stdout + done.stderr
        assert done.returncode == status
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_checkout_in_which_nothing_may_be_executed(tmp_path: Path, cache: Path) -> None:
    """All that is executed lies in the cache."""
    one, share = copied(tmp_path / "one", cache, "1.1.1"), tmp_path / "share"
    share.mkdir()
    script = f'cp -r "{one.root}" "{share}/one" && cd "{share}/one" && /usr/bin/python3 -c "$MAKE" && .venv/bin/outlive --version && .venv/bin/shows'
    variables = {**os.environ, "MAKE": MAKE, "PYTHONPATH": str(share / "one/src"), "OUTLIVE_CACHE": str(cache)}
    argv = ["unshare", "--mount", "sh", "-c", NOEXEC, "sh", str(share), "sh", "-c", script]
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{share}/one/src/outlive/__init__.py"


def test_environment_that_was_cut_short_is_made_anew(tmp_path: Path, cache: Path) -> None:
    one = copied(tmp_path / "one", cache, "1.1.1")
    one.make()
    (one.root / ".venv" / environment.NOTE).unlink()
    (one.root / ".venv/bin/outlive").unlink()
    one.make()
    assert one.program("outlive", "--version").split()[-1] == "1.1.1"


def test_what_venv_brings_by_itself_is_not_taken_from_the_shared_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14 links itself as 𝜋thon too (its venv module), of which no older one knows."""

    def call(_what: str, argv: list[str], _log: Path, **_: object) -> None:
        if "venv" in argv:
            (Path(argv[-1]) / "lib/python3.14/site-packages").mkdir(parents=True)
            (Path(argv[-1]) / "bin").mkdir()
            names = ["python", "𝜋thon", "activate"] + (["tool", "pip3"] if "--without-pip" not in argv else [])
            for name in names:
                (Path(argv[-1]) / "bin" / name).write_text(f"#!{argv[-1]}/bin/python\n", encoding="utf-8")

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LINK", tmp_path / ".venv")
    monkeypatch.setattr(environment, "logged", call)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    made = environment.make()
    assert {path.name for path in (made / "bin").iterdir()} == {"python", "𝜋thon", "activate", "tool"}
    assert str(made) in (made / "bin/𝜋thon").read_text(encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the calls of venv and pip for the shared packages, which do nothing; a checkout's own environment is none."""
    called: list[list[str]] = []

    def call(_what: str, argv: list[str], _log: Path, **_: object) -> None:
        called.append(argv)
        if "venv" in argv:
            Path(argv[-1]).mkdir(parents=True, exist_ok=True)

    def own(folder: Path, _shared: Path, _python: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LINK", tmp_path / ".venv")
    monkeypatch.setattr(environment, "logged", call)
    monkeypatch.setattr(environment, "_own", own)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "requirements.lock").write_text("pytest==9.2.0\n", encoding="utf-8")
    return called


def test_pip_looks_at_nothing_that_the_lock_does_not_name(tmp_path: Path, small: list[list[str]]) -> None:
    """A release of the day must not decide whether an environment can be made: pip resolves nothing."""
    made = environment.make()
    assert (tmp_path / ".venv").readlink() == made
    assert {"--no-deps", "--require-hashes"} <= set(small[-1])


def test_environment_that_another_checkout_makes_is_waited_for(monkeypatch: pytest.MonkeyPatch, small: list[list[str]]) -> None:
    others: list[Thread] = []

    def beside(_what: str, argv: list[str], _log: Path, **_: object) -> None:
        small.append(argv)
        if "venv" in argv:
            Path(argv[-1]).mkdir(parents=True)
            # The other one begins now: it must find what this one makes, not empty it.
            others.append(Thread(target=environment.make))
            others[-1].start()

    monkeypatch.setattr(environment, "logged", beside)
    environment.make()
    for other in others:
        other.join(timeout=60)
    assert len([argv for argv in small if "venv" in argv]) == 1


def test_the_lock_lacks_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_old_python_gets_one_sentence_instead_of_a_traceback() -> None:
    ast.parse(Path(outlive.__file__).read_text(encoding="utf-8"), feature_version=(3, 7))
    old = (
        "import sys; sys.version_info = (3, 9, 2); import runpy; sys.argv[1:] = ['setup']; runpy.run_module('outlive', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", old], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {sys.executable} is Python 3.9, the lab needs 3.11 or newer: use Debian 12 or newer, or put a newer python3 on PATH\n"
    )
