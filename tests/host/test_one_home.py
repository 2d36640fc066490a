"""Each fact has one home: no address of the lab and no version stands outside the inventories and the mirror's lock."""

from __future__ import annotations

import re
import subprocess

import pytest

from outlive.base.paths import ROOT

HOMES = (
    "inventories/",
    "src/outlive/mirror/lock.yml",
    "src/outlive/mirror/go/",
    "requirements.",
    "docs/",
    "README.md",
    "CHANGELOG.md",
    "tests/",
)
"""Where such values may stand: their homes, text for people (whose shell blocks other tests run), and tests."""


def tracked() -> list[str]:
    """Return the files that git tracks, without the homes."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if not name.startswith(HOMES) and (ROOT / name).is_file()]


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        # VirtualBox's range, a /21, is a fact of its own.
        ("an address of the lab", r"192\.168\.(56|121|168|77)\.\d+(?!\d*/21)"),
        ("a version of Kubernetes", r"\bv?1\.3\d\.\d+\b"),
    ],
)
def test_literal_stands_only_in_its_home(what: str, pattern: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in tracked()
        if "/tests/" not in name
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found, f"{what} stands outside its home:\n" + "\n".join(found)
