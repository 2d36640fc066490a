"""The pages' words are those that a reader can search for: each term of the glossary is used, and no word that stood in its place is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlive.base.paths import ROOT

FOLDER = ROOT / "docs/tutorial"
LANGUAGES = ("en", "zh")
PAGES = [*sorted((ROOT / "docs").glob("tutorial/*/*.md")), *sorted((ROOT / "docs").glob("exercises/**/*.md")), ROOT / "README.md"]
HOME = {"en": "https://kubernetes.io/docs/", "zh": "https://kubernetes.io/zh-cn/docs/"}
REJECTED = {
    "access mode": ("brother",),
    "PersistentVolumeClaim": ("wish",),
    "toleration": ("tolerance",),
    "Finalizer": ("终结器",),
    "创建": ("建立",),
    "制备": ("供给", "供应", "置备"),
    "存储类": ("类别",),
    "容忍度": ("容忍性", "容忍期"),
    "持久卷": ("持久化卷",),
    "持久卷申领": ("申请", "持久卷声明"),
    "污点": ("污染",),
    "清单": ("配置文件",),
    "租约": ("租期",),
}
"""Words of this project, or of others, by the word of kubernetes.io that takes their place: their only home."""


@dataclass(frozen=True)
class Term:
    """A term of the glossary, in one language."""

    name: str
    english: str
    text: str
    """What the glossary says of it."""

    @property
    def links(self) -> list[str]:
        """Return where its entry leads."""
        return re.findall(r"\]\(([^)]+)\)", self.text)


def terms(language: str) -> list[Term]:
    """Return the glossary: a Chinese term has the English one behind it in brackets, where that is another."""
    text = (FOLDER / language / "glossary.md").read_text(encoding="utf-8")
    sections = [section.split("\n", 1) for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]]
    return [Term(heading.split("（")[0], heading.split("（")[-1].rstrip("）"), entry) for heading, entry in sections]


def uses(text: str, word: str) -> bool:
    """Say whether a text has a word, in the singular or not, at the beginning of a sentence or not."""
    return re.search(rf"(?<![a-z]){re.escape(word)}", text, re.IGNORECASE) is not None


def rejected(text: str) -> list[str]:
    """Return the words of a text that the field has another one for."""
    return [twin for twins in REJECTED.values() for twin in twins if uses(text, twin)]


def test_both_glossaries_have_the_same_terms() -> None:
    english, chinese = terms("en"), terms("zh")
    assert [term.english.lower() for term in chinese] == [term.name.lower() for term in english]
    assert len({term.name for term in english}) == len(english) > 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_term_leads_to_the_official_page_and_to_a_page_that_uses_it(language: str) -> None:
    for term in terms(language):
        official, page = term.links
        assert official.startswith(HOME[language]), term.name
        assert uses((FOLDER / language / page.split("#")[0]).read_text(encoding="utf-8"), term.name), f"{page} doesn't use {term.name!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_a_word_of_its_own_for_a_term(page: Path) -> None:
    assert rejected(page.read_text(encoding="utf-8")) == []


def test_words_that_take_the_place_of_others_are_used() -> None:
    written = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "glossary.md")
    assert [word for word in REJECTED if not uses(written, word)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a PVC is a wish", ["wish"]),
        ("Wishes, and 300 s of tolerance", ["wish", "tolerance"]),
        ("by a toleration; the driver's Kubernetes", []),
        ("用户的申请由程序建立", ["建立", "申请"]),
        ("用户创建申领", []),
    ],
)
def test_rejected_words_are_found(text: str, found: list[str]) -> None:
    assert sorted(rejected(text), key=text.lower().index) == sorted(found, key=text.lower().index)
