"""The exercises as they are written: both languages are one, each has its stage, its page and its solution."""

from __future__ import annotations

import re

import pytest

from outlive import cli
from outlive.course import pages
from outlive.course.exercises import EXERCISES, FOLDER, PAGES, Exercise
from verify.tutorial.class_room import solution

NAMES = sorted(str(path.relative_to(PAGES / "en")) for path in (PAGES / "en").rglob("*.md"))
BOTH = [(language, name) for language in ("en", "zh") for name in NAMES]
LONGEST = 150
HEADINGS = {
    "en": ["## What is wanted", "## Where to look", "## Hints"],
    "zh": ["## 目标", "## 从哪里看起", "## 提示"],
}

HINT = {"en": "Hint", "zh": "提示"}
LEVELS = {"easy": "易", "medium": "中", "hard": "难"}
OF_A_SOLUTION = {"en": ": solution", "zh": "：答案"}


def text(language: str, name: str) -> str:
    """Return a page."""
    return (PAGES / language / name).read_text(encoding="utf-8")


def headings(language: str, name: str) -> list[str]:
    """Return a page's headings, without the comments of its blocks."""
    return re.findall(r"^#+ .*$", re.sub(r"^```.*?^```$", "", text(language, name), flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE)


def test_each_exercise_has_its_files() -> None:
    slugs = [each.slug for each in EXERCISES]
    assert sorted(path.name for path in FOLDER.iterdir()) == slugs
    for language in ("en", "zh"):
        found = sorted(str(path.relative_to(PAGES / language)) for path in (PAGES / language).rglob("*.md"))
        assert found == [*(f"{slug}.md" for slug in slugs), "README.md", *(f"solutions/{slug}.md" for slug in slugs)]
    assert {path.name for path in FOLDER.glob("*/*")} <= {"objects.yml", "server.sh", "host.sh"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_titles_agree(language: str) -> None:
    titles = [text(language, f"{each.slug}.md").splitlines()[0].removeprefix("# ") for each in EXERCISES]
    assert [title.split(". ")[0] for title in titles] == [str(each.number) for each in EXERCISES]
    for each, title in zip(EXERCISES, titles, strict=True):
        assert f"[{title}]({each.slug}.md)" in text(language, "README.md")
        assert headings(language, f"{each.slug}.md") == [f"# {title}", *HEADINGS[language]]
        assert headings(language, f"solutions/{each.slug}.md") == [f"# {title}{OF_A_SOLUTION[language]}"]
    assert [each.title for each in EXERCISES] == titles or language == "zh"


def level(exercise: Exercise, language: str) -> tuple[str, str]:
    """Return the level that an exercise's page has, and the minutes that a learner may need."""
    line = text(language, f"{exercise.slug}.md").splitlines()[4]
    found = re.fullmatch(r"Level: (\w+) · time: (\d+) minutes" if language == "en" else r"难度：(\w) · 时间：(\d+) 分钟", line)
    assert found, line
    return found[1], found[2]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.slug)
def test_level_and_time_of_page_and_table_agree(exercise: Exercise) -> None:
    (english, minutes), chinese = level(exercise, "en"), level(exercise, "zh")
    assert chinese == (LEVELS[english], minutes)
    for language, cells in (("en", f"| {english} | {minutes} min |"), ("zh", f"| {chinese[0]} | {minutes} 分钟 |")):
        (row,) = [line for line in text(language, "README.md").splitlines() if f"]({exercise.slug}.md)" in line]
        assert cells in row


def hints(exercise: Exercise, language: str) -> list[str]:
    """Return the hints of an exercise's page in their order; each is closed until it is asked for, and has a number."""
    section = text(language, f"{exercise.slug}.md").split(f"\n{HEADINGS[language][-1]}\n", 1)[1]
    found = re.findall(r"^<details><summary>([^<]+)</summary>\n\n(.+?)\n\n</details>\n", section, flags=re.MULTILINE | re.DOTALL)
    assert [summary for summary, _ in found] == [f"{HINT[language]} {number}" for number in range(1, len(found) + 1)]
    assert section.count("<details") == section.count("</details>") == len(found)
    return [hint for _, hint in found]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.slug)
def test_hints_are_two_or_three_and_none_gives_the_solution_s_commands(exercise: Exercise) -> None:
    assert len(hints(exercise, "en")) == len(hints(exercise, "zh")) in (2, 3)
    programs = {command.text.split()[0] for block in solution(exercise) for command in block.commands}
    for language in ("en", "zh"):
        assert f"](solutions/{exercise.slug}.md)" in text(language, f"{exercise.slug}.md").splitlines()[-1]
        for hint in hints(exercise, language):
            assert "```" not in hint
            assert not [span for span in re.findall(r"`([^`]+)`", hint) if span.split()[0] in programs], hint


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_blocks_and_headings(name: str) -> None:
    found = [re.findall(r"^```.*?^```$", text(language, name), flags=re.MULTILINE | re.DOTALL) for language in ("en", "zh")]
    assert found[0] == found[1]
    levels = [[line.split()[0] for line in headings(language, name)] for language in ("en", "zh")]
    assert levels[0] == levels[1]
    bullets = [[line for line in text(language, name).splitlines() if line.startswith("- ")] for language in ("en", "zh")]
    assert len(bullets[0]) == len(bullets[1])


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.slug)
def test_commands(exercise: Exercise) -> None:
    """Blocks show commands only; what waits says how long; a page's commands change nothing and name no other exercise."""
    page = pages.parse(text("en", f"{exercise.slug}.md"), exercise.slug)
    assert page.blocks
    assert solution(exercise)
    for block in (*page.blocks, *solution(exercise)):
        assert not block.fails
        for command in block.commands:
            assert command.shown == ()
            assert not re.search(r"\bsleep \d+$", command.text)
            assert set(re.findall(r"exercise-(\d+)", command.text)) <= {str(exercise.number)}
            if re.search(r"kubectl .*\b(wait|rollout status)\b", command.text):
                assert "--timeout=" in command.text, command.text
    for command in (each for block in page.blocks for each in block.commands):
        assert re.match(r"kubectl (-n \S+ )?(get|describe|logs|exec) |(ls|cat) ", command.text), command.text


@pytest.mark.parametrize(("language", "name"), BOTH)
def test_page_is_fit_to_read(language: str, name: str) -> None:
    content = text(language, name)
    # A row of a table can't be broken.
    assert [line for line in content.splitlines() if len(line) > LONGEST and not line.startswith("|")] == []
    folder = (PAGES / language / name).parent
    targets = [(folder / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", content)]
    assert [target for target in targets if not target.exists()] == []
    assert PAGES / ("zh" if language == "en" else "en") / name in targets
    assert not re.findall(r"\b(?:192\.168|172\.(?:1[6-9]|2\d|3[01])|10)\.\d+(?:\.\d+){1,2}\b", content)


def test_scripts_of_stages() -> None:
    """Nothing counts seconds, and each line for the host is a command of its own."""
    for path in sorted(FOLDER.glob("*/*.sh")):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.match(r"sleep\b", line), path
            if path.name == "host.sh":
                assert line.startswith("kubectl "), f"{path}: {line}"
                assert not line.endswith("\\"), f"{path}: {line}"
                assert not re.search(r"\b(wait|rollout status)\b", line.replace("--wait=false", "")) or "--timeout=" in line, (
                    f"{path}: {line}"
                )


def test_commands_of_the_readers_are_there() -> None:
    """What the index tells to type is what the command line has."""
    for language in ("en", "zh"):
        typed = set(re.findall(r"`outlive exercise (\w+)", text(language, "README.md")))
        assert typed == set(cli.exercise.commands), language
