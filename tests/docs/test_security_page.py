"""docs/security.md says how each control is checked: what it names is there, and what is there is named."""

from __future__ import annotations

import re
import subprocess

from outlive.base.paths import ROOT
from verify.cis import benchmark

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
TEST = re.compile(r"^def (test_\w+)\(", flags=re.MULTILINE)
NAMED = re.compile(r"`(test_\w+)`")
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def defined(*folders: str) -> set[str]:
    """Return the names of the tests in folders and those below them."""
    return {name for folder in folders for path in (ROOT / folder).rglob("test_*.py") for name in TEST.findall(path.read_text())}


def test_tests_of_the_page_are_there() -> None:
    assert set(NAMED.findall(PAGE)) <= defined("verify/static", "verify/storage", "tests")


def test_every_test_of_the_baseline_is_on_the_page() -> None:
    assert set(TEST.findall((ROOT / "verify/static/test_security.py").read_text())) <= set(NAMED.findall(PAGE))


def test_what_the_benchmark_finds_is_on_the_page() -> None:
    written = benchmark.shown(PAGE, benchmark.load().entries)
    assert written == PAGE, "`python -m verify.cis.benchmark` writes verify/cis/expected.yml into docs/security.md"


def test_nothing_in_git_is_a_key() -> None:
    """Nor can it become one by mistake: what a lab makes is where git doesn't look."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    assert files
    assert [str(path) for path in files if KEY.search(path.read_bytes())] == []
    secrets = [".lab/secrets/mysql-root-password", ".lab/kubeconfig", ".vagrant/machines/x/libvirt/private_key"]
    ignored = subprocess.run(["git", "check-ignore", *secrets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == secrets
