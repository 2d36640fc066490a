"""The tutorial as it is written: both languages are one, and it speaks only of what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outlive.base.paths import ROOT
from outlive.course import pages
from outlive.course.pages import GAP, INDEX

FOLDER = ROOT / "docs/tutorial"
NAMES = sorted(path.name for path in (FOLDER / "en").glob("*.md"))
BOTH = [(language, name) for language in ("en", "zh") for name in NAMES]
TEMPLATES = ROOT / "roles/storage_tutorial/templates"
GLOSSARY = "glossary.md"
CHAPTERS = [name for name in NAMES if name not in (INDEX, GLOSSARY)]
CHINESE = sorted((ROOT / "docs").glob("*/zh/**/*.md"))
"""The tutorial's pages in Chinese, and those of the exercises."""
FRAME = {
    "en": ("You will be able to: ", "Needs: ", "## Questions", "Official documentation: ", "https://kubernetes.io/docs/"),
    "zh": ("学完之后你能：", "需要：", "## 问题", "官方文档：", "https://kubernetes.io/zh-cn/docs/"),
}
"""What a chapter begins and ends with."""
QUESTION = re.compile(r"^<details><summary>.+[?？]</summary>\n\n(?:[^\n<].*\n)+\n</details>$", re.MULTILINE)
LONGEST = 150
MOST_GAPS = 0.25
"""Share of the lines shown that may be gaps and nothing else."""
MOST_GAPS_BESIDE = 0.5
"""The same in a second terminal."""


def text(language: str, name: str) -> str:
    """Return a page."""
    return (FOLDER / language / name).read_text(encoding="utf-8")


def blocks(language: str, name: str) -> list[str]:
    """Return a page's fenced blocks, byte for byte."""
    return re.findall(r"^```.*?^```$", text(language, name), flags=re.MULTILINE | re.DOTALL)


def test_there_are_chapters_in_both_languages() -> None:
    assert sorted(path.name for path in (FOLDER / "zh").glob("*.md")) == NAMES
    assert INDEX in NAMES
    assert len(CHAPTERS) > 5


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_blocks(name: str) -> None:
    assert blocks("en", name) == blocks("zh", name)
    levels = [[line.split()[0] for line in text(language, name).splitlines() if re.match("#+ ", line)] for language in ("en", "zh")]
    # A comment in a block may look like a heading, in both of them.
    assert levels[0] == levels[1]


@pytest.mark.parametrize(("language", "name"), BOTH)
def test_page_can_be_read(language: str, name: str) -> None:
    page = pages.parse(text(language, name), f"{language}/{name}")
    assert bool(page.blocks) == (name != GLOSSARY)
    for block, command in ((each, command) for each in page.blocks for command in each.commands):
        # What is watched while other things happen says much that isn't the page's.
        most = MOST_GAPS_BESIDE if block.beside else MOST_GAPS
        assert command.shown.count(GAP) <= 1 + most * len(command.shown), f"line {command.line} shows hardly anything"


@pytest.mark.parametrize(("language", "name"), BOTH)
def test_lines_are_short(language: str, name: str) -> None:
    long = [number for number, line in enumerate(text(language, name).splitlines(), 1) if len(line) > LONGEST]
    # What a program prints is as long as it is.
    page = pages.parse(text(language, name), name)
    printed = {
        number
        for block in page.blocks
        for command in block.commands
        for number in range(command.line + 1 + command.text.count("\n"), command.line + 1 + command.text.count("\n") + len(command.shown))
    }
    assert set(long) <= printed


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: f"{page.parent.parent.name}/{page.stem}")
def test_chinese_has_chinese_punctuation(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    without_blocks = re.sub(r"^(```.*?^```|    [^\n]*)$", "", written, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`]*`", "`", re.sub(r"\]\([^)]*\)", "]", without_blocks))
    assert re.findall(r".*(?:[一-龥`*][,:;(!?]|[,:;)!?][一-龥]|[,:;]$).*", prose, flags=re.MULTILINE) == []


@pytest.mark.parametrize(("language", "name"), BOTH)
def test_links_lead_somewhere(language: str, name: str) -> None:
    page = FOLDER / language / name
    targets = re.findall(r"\]\(([^)#]+)\)", text(language, name))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []
    other = "zh" if language == "en" else "en"
    assert f"../{other}/{name}" in targets


@pytest.mark.parametrize("language", ["en", "zh"])
def test_index_names_each_chapter(language: str) -> None:
    assert [name for name in NAMES if name != INDEX and f"]({name})" not in text(language, INDEX)] == []


def lacks(page: str, language: str) -> list[str]:
    """Return what a chapter's beginning and its end are without."""
    able, needs, heading, official, home = FRAME[language]
    end = page.partition(f"\n{heading}\n")[2]
    has = {
        "what it gives and needs": re.match(rf"# .+\n\n\[.+\n\n- {able}.+\n- {needs}.+\n\n", page),
        "three questions with their answers": len(QUESTION.findall(end)) == 3 == end.count("<details>"),
        "the official page": re.search(rf"</details>\n\n{official}\[.+\]\({home}\S+\)\n\Z", end),
    }
    return [part for part, there in has.items() if not there]


@pytest.mark.parametrize("name", CHAPTERS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_chapter_says_what_it_gives_and_asks_at_its_end(language: str, name: str) -> None:
    assert lacks(text(language, name), language) == []


def test_chapter_without_its_beginning_or_end_is_found() -> None:
    chapter = text("en", CHAPTERS[0])
    assert lacks(chapter.replace("- Needs:", "-"), "en") == ["what it gives and needs"]
    assert lacks(chapter.replace("?</summary>", "</summary>", 1), "en") == ["three questions with their answers"]
    assert lacks(chapter.replace("</summary>\n\n", "</summary>\n\n</details>\n\n", 1), "en") == ["three questions with their answers"]
    assert lacks(chapter.replace("kubernetes.io/docs/", "example.com/"), "en") == ["the official page"]
    assert len(lacks(chapter, "zh")) == 3


def test_manifests_of_the_pages_exist() -> None:
    for page in pages.load(FOLDER / "en", ROOT):
        for command in (each for block in page.blocks for each in block.commands):
            for path in re.findall(r"\.lab/tutorial/(\S+)", command.text):
                found = TEMPLATES / path if path.endswith("/") else Path(f"{TEMPLATES / path}.j2")
                assert found.exists(), f"{page.path}:{command.line}: {path}"


def test_no_address_of_the_lab_is_written_down() -> None:
    """Whoever has another network reads and applies the same pages."""
    wrong = re.compile(r"\b(?:192\.168|172\.(?:1[6-9]|2\d|3[01])|10)\.\d+(?:\.\d+){1,2}\b")
    for path in [*FOLDER.rglob("*.md"), *TEMPLATES.rglob("*.j2")]:
        assert not wrong.findall(path.read_text(encoding="utf-8")), path


def test_commands_wait_by_themselves() -> None:
    """No page counts seconds, and what waits says how long."""
    for page in pages.load(FOLDER / "en", ROOT):
        for command in (each for block in page.blocks for each in block.commands):
            assert not re.match(r"sleep\b", command.text), f"{page.path}:{command.line}"
            if re.match(r"kubectl (wait|rollout status)\b", command.text):
                assert "--timeout=" in command.text, f"{page.path}:{command.line}"
