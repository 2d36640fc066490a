"""Every link of a page leads to a file, and to a heading in it, that are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from outlive.base.paths import ROOT

PAGES = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^ *(`{3,}).*?^ *\1$", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the names by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere; those to the web aren't looked at."""
    found = []
    for link in LINK.findall(BLOCK.sub("", text)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        there = target.is_file() or (target.is_dir() and name.endswith("/"))
        if not there or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    assert broken(ROOT / name, (ROOT / name).read_text(encoding="utf-8")) == []


def test_broken_links_are_found() -> None:
    text = "[a](CHANGELOG.md) [b](docs/nowhere.md) [c](#a-class-room) [d](#nothing) [e](docs/results.md#the-machine) [f](https://example.com/x)"
    assert broken(ROOT / "README.md", text) == ["docs/nowhere.md", "#nothing"]
