"""What is in the site: pages of the checkout with all that they link to, each one's language, and its twin in the other language."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from outlive.base.errors import LabError
from outlive.base.paths import ROOT

FIRST = "README.md"
LANGUAGES = ("en", "zh")
SECTIONS = {
    "Tutorial": "docs/tutorial/en",
    "Exercises": "docs/exercises/en",
    "Documentation": "docs",
    "The project": "",
    "教程": "docs/tutorial/zh",
    "练习": "docs/exercises/zh",
}
"""The site's parts and the folder of each one's pages, but for the first page; the empty one takes the others. `theme/outlive.css` hides those of the other language by their places."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^ *(`{3,}).*?^ *\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Contents:
    """Files of the checkout, by their paths in it: pages, and what pages show or link to."""

    pages: tuple[str, ...]
    files: tuple[str, ...]


def collect(root: Path = ROOT) -> Contents:
    """Return the first page, all below docs/, and whatever is linked to from there, as far as it is there."""
    waiting = [FIRST, *(str(path.relative_to(root)) for path in sorted((root / "docs").rglob("*.md")))]
    pages: list[str] = []
    files: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        if name in pages:
            continue
        pages.append(name)
        for target in linked(name, text(name, root)):
            if (root / target).is_file():
                if target.endswith(".md"):
                    waiting.append(target)
                else:
                    files.add(target)
    return Contents(tuple(pages), tuple(sorted(files)))


def text(name: str, root: Path = ROOT) -> str:
    """Return what a page says; raise LabError if it isn't UTF-8."""
    try:
        return (root / name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LabError(f"{root / name} isn't UTF-8 (byte {error.start} is {error.object[error.start]:#04x}): save it as UTF-8") from error


def linked(name: str, text: str) -> list[str]:
    """Return the paths, as seen from the root, that a page links to; those on the web aren't among them."""
    links = [link.partition("#")[0] for link in _LINK.findall(_BLOCK.sub("", text)) if "://" not in link]
    return [os.path.normpath(PurePosixPath(name).parent / link) for link in links if link]


def language(name: str) -> str:
    """Return the language that a page is written in."""
    return "zh" if "zh" in PurePosixPath(name).parts else "en"


def twin(name: str) -> str:
    """Return the same page in the other language; for one that is there in English only, the Chinese tutorial's first."""
    here, other = ("/zh/", "/en/") if language(name) == "zh" else ("/en/", "/zh/")
    return name.replace(here, other) if here in name else f"{SECTIONS['教程']}/{FIRST}"


def address(name: str) -> str:
    """Return where a page is in the site, as Zensical has it."""
    path = PurePosixPath(name)
    return str(path.with_name("index.html") if path.name == FIRST else path.with_suffix(".html"))


def navigation(pages: tuple[str, ...]) -> list[dict[str, object]]:
    """Return the site's parts with their pages, a part's own first page before the others, as Zensical reads them."""
    parts: dict[str, list[str]] = {title: [] for title in SECTIONS}
    for name in pages:
        if name != FIRST:
            folder = str(PurePosixPath(name).parent)
            parts[next((title for title, each in SECTIONS.items() if each == folder), "The project")].append(name)
    ordered = {title: sorted(names, key=lambda each: (not each.endswith(f"/{FIRST}"), each)) for title, names in parts.items()}
    # Roles' pages are all called README.md: they have their titles by their headings, and their order by their paths.
    there: dict[str, object] = {title: names for title, names in ordered.items() if names}
    return [{"outlive": FIRST}, *({title: names} for title, names in there.items())]
