"""The tutorial's pictures: the files are what their source draws, a phone shows them whole, and each stands on its page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict
from outlive.drill import failover
from outlive.drill.timeline import Moment, Timeline
from outlive.report import tutorial
from outlive.report.diagrams import LANGUAGES, Arrow, Box, Diagram, Label, Words, same
from outlive.report.lab_description import TOLERATION
from outlive.report.model import Report, Run
from tests.samples import instant

FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(tutorial.FOLDER.glob("*.svg"))}
IMAGE = re.compile(r"^!\[(.+)\]\(\.\./pictures/([a-z-]+)\.([a-z]+)\.svg\)$", re.MULTILINE)
SVG = "{http://www.w3.org/2000/svg}"
PHONE = 360
SMALLEST = 12
"""A phone's width, and the least height of its text, in CSS pixels."""
FREE = 3.0
"""So far a text stays away from the border of a box."""
EMS = {"ijl|'": 0.34, " ,.:;!/()[]·Ift-": 0.42, "r": 0.45, "mMW%@": 1.0, "w": 0.85}
"""How wide characters are in the widest font that stands for `system-ui`, DejaVu Sans, and rather more; all fonts are narrower or like it."""


def width(text: str, size: float, strong: bool) -> float:
    """Return how wide a text may become."""
    return size * sum(map(em, text)) * (1.12 if strong else 1.0)


def em(character: str) -> float:
    """Return how wide a character may become, in parts of the size: those of Chinese are as wide as high."""
    known = next((found for characters, found in EMS.items() if character in characters), None)
    return known or (1.0 if ord(character) > 0x2000 else 0.8 if character.isupper() else 0.65)


@dataclass(frozen=True)
class Area:
    """A rectangle of a picture; ``what`` is its text, or what kind of box it is."""

    what: str
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Area) -> bool:
        """Say whether they have a place in common."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: Area, free: float = 0.0) -> bool:
        """Say whether the other one lies in it, away from its border."""
        return (
            self.left + free <= other.left
            and other.right <= self.right - free
            and self.top + free <= other.top
            and other.bottom <= self.bottom - free
        )


class Drawn:
    """A picture as a browser gets it."""

    def __init__(self, svg: str) -> None:
        """Read a file."""
        self.root = ElementTree.fromstring(svg)
        self.width, self.height = map(float, self.root.attrib["viewBox"].split()[2:])
        style = self.root.findtext(f"{SVG}style") or ""
        self.size = {name: float(re.findall(rf"svg {name} {{ font-size: (\d+)px", style)[-1]) for name in ("text", r"\.small")}
        self.title, self.description = (self.root.findtext(f"{SVG}{name}") or "" for name in ("title", "desc"))

    def texts(self) -> Iterator[Area]:
        """Yield the lines of text, each as wide as it may become."""
        for each in self.root.iter(f"{SVG}text"):
            size = self.size[r"\.small" if each.get("class") == "small" else "text"]
            text = "".join(each.itertext())
            strong = each.get("class") == "strong" or each.find(f"{SVG}tspan") is not None
            wide, x, y = width(text, size, strong), float(each.attrib["x"]), float(each.attrib["y"])
            left = x - wide * {"start": 0.0, "middle": 0.5, "end": 1.0}[each.get("text-anchor", "start")]
            yield Area(text, left, y - 0.8 * size, left + wide, y + 0.25 * size)

    def boxes(self) -> Iterator[Area]:
        """Yield the boxes."""
        for each in self.root.iter(f"{SVG}rect"):
            if "rx" in each.attrib:
                x, y, wide, high = (float(each.attrib[name]) for name in ("x", "y", "width", "height"))
                yield Area(each.attrib["class"], x, y, x + wide, y + high)

    def arrows(self) -> Iterator[Area]:
        """Yield each straight piece of the arrows; they go up, down, right or left."""
        for each in self.root.iter(f"{SVG}polyline"):
            if each.attrib["class"].startswith("arrow"):
                points = [tuple(map(float, point.split(","))) for point in each.attrib["points"].split()]
                for (x, y), (to_x, to_y) in pairwise(points):
                    assert x == to_x or y == to_y
                    yield Area("an arrow", min(x, to_x) - 1, min(y, to_y) - 1, max(x, to_x) + 1, max(y, to_y) + 1)

    def complaints(self) -> list[str]:
        """Return a sentence on each text that isn't whole, or that something else lies upon."""
        texts, boxes, arrows = list(self.texts()), list(self.boxes()), list(self.arrows())
        paper = Area("paper", 0, 0, self.width, self.height)
        return [
            *(f"{text.what}: leaves the picture" for text in texts if not paper.holds(text)),
            *(
                f"{text.what}: crosses the border of {box.what}"
                for text in texts
                for box in boxes
                if text.meets(box) and not box.holds(text, FREE)
            ),
            *(f"{one.what}: lies upon {other.what}" for one, other in combinations(texts, 2) if one.meets(other)),
            *(f"{text.what}: lies below {arrow.what}" for text in texts for arrow in arrows if text.meets(arrow)),
            *(
                f"{one.what}: crosses the border of {other.what}"
                for one, other in combinations(boxes, 2)
                if one.meets(other) and not one.holds(other) and not other.holds(one)
            ),
        ]


def test_files_are_what_their_source_draws() -> None:
    wanted = {path.name: text for path, text in tutorial.files().items()}
    assert wanted == FILES, "`python -m outlive.report.tutorial` draws them anew"


@pytest.mark.parametrize("name", FILES)
def test_a_phone_shows_it_whole(name: str) -> None:
    drawn = Drawn(FILES[name])
    assert drawn.width == PHONE
    assert min(drawn.size.values()) >= SMALLEST
    assert list(drawn.texts())
    assert drawn.complaints() == []


@pytest.mark.parametrize("name", FILES)
def test_it_needs_nothing_else(name: str) -> None:
    text = FILES[name].replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?:|@import|@font-face|href|<script|<image", text) == []
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("name", FILES)
def test_it_can_be_read_aloud(name: str) -> None:
    drawn = Drawn(FILES[name])
    assert drawn.root.get("role") == "img"
    assert len(drawn.description) > len(drawn.title) > 10
    assert drawn.root.get("lang") == {"en": "en", "zh": "zh-CN"}[name.split(".")[1]]


def test_each_stands_on_its_page_in_both_languages() -> None:
    """A line of its own, whose alternative text is the picture's title."""
    shown = {
        language: [
            (page.name, name, of, alt)
            for page in sorted((ROOT / "docs/tutorial" / language).glob("*.md"))
            for alt, name, of in IMAGE.findall(page.read_text(encoding="utf-8"))
        ]
        for language in LANGUAGES
    }
    assert [(page, name) for page, name, _, _ in shown["en"]] == [(page, name) for page, name, _, _ in shown["zh"]]
    for language in LANGUAGES:
        assert {of for _, _, of, _ in shown[language]} == {language}
        assert {f"{name}.{language}.svg" for _, name, _, _ in shown[language]} == {
            name for name in FILES if name.endswith(f".{language}.svg")
        }
        assert [alt for _, _, _, alt in shown[language]] == [
            Drawn(FILES[f"{name}.{language}.svg"]).title for _, name, _, _ in shown[language]
        ]


LONG = "a title that is much longer than its box"


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ((Box("pod", 20, 20, 100, 40, same(LONG)),), "crosses the border of pod"),
        ((Box("pod", 20, 20, 100, 40, Words("short", "一个比它的框更长的标题")),), "crosses the border of pod"),
        ((Box("pod", 20, 20, 100, 40, same("three"), same("lines\nof text")),), "crosses the border of pod"),
        ((Label(same(LONG), 200, 50),), "leaves the picture"),
        ((Label(same("here"), 50, 50), Label(same("there"), 60, 55)), "lies upon there"),
        ((Arrow(((60, 0), (60, 90))), Label(same("a word"), 50, 50)), "lies below an arrow"),
        ((Box("pod", 20, 20, 100, 40, same("")), Box("object", 60, 40, 100, 40, same(""))), "crosses the border of object"),
    ],
)
def test_what_can_not_be_read_is_found(parts: tuple[Box | Arrow | Label, ...], complaint: str) -> None:
    picture = Diagram("wrong", same("wrong"), same("wrong"), 100, parts)
    assert complaint in " ".join(Drawn(picture.svg("zh")).complaints())


def test_words_can_not_become_markup() -> None:
    picture = Diagram("x", same("a < b"), same("<b>"), 100, (Label(same("<script>"), 20, 20),))
    drawn = Drawn(picture.svg("en"))
    assert [text.what for text in drawn.texts()] == ["<script>"]
    assert (drawn.title, drawn.description) == ("a < b", "<b>")


def test_each_moment_of_a_fail_over_has_its_words() -> None:
    assert list(tutorial.MOMENTS) == list(failover.MOMENTS)


def test_figures_of_the_fail_over_were_measured() -> None:
    """They are among those that say on what machine."""
    results = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    record = tutorial.recorded()
    assert record.date in results
    assert [key for key, at in record.seconds.items() if at and not re.search(rf"\b{at:.1f}\b", results)] == []


def run(reports: Path, verdict: Verdict, key: str = "fail-over", toleration: str = "300") -> Path:
    """Return the folder of a report on a fail-over of six minutes."""
    moments = (
        Moment("power_off", "power-off issued", instant(10)),
        Moment("not_ready", "n1 NotReady", instant(51.25)),
        Moment("settled", "something that the picture doesn't show", instant(60)),
        Moment("first_answer", "first successful query", instant(370.5)),
    )
    found = Run("verify", instant(0), ended=instant(500))
    found.settings = {TOLERATION: toleration}
    found.timelines[key] = Timeline("Fail-over", instant(10), moments)
    report = Report(found, reports)
    report.write()
    file = report.folder / "timeline.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"verdict": verdict.value}))
    return report.folder


def test_a_run_s_own_figures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tutorial, "FOLDER", tmp_path)
    monkeypatch.setattr(tutorial, "RECORD", tmp_path / "failover.json")
    tutorial.draw(run(tmp_path / "reports", Verdict.PASS))
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == list(FILES)
    drawn = Drawn((tmp_path / "failover.en.svg").read_text(encoding="utf-8"))
    texts = [text.what for text in drawn.texts()]
    assert [text for text in texts if " s " in text and text[0].isdigit()] == [
        "0.0 s power off",
        "41.2 s node NotReady",
        "360.5 s first answer",
    ]
    assert texts[-1] == "seconds after power off, run of 2026-01-02"
    assert drawn.complaints() == []


@pytest.mark.parametrize(
    ("verdict", "key", "toleration", "sentence"),
    [
        (Verdict.UNKNOWN, "fail-over", "300", "verify has the verdict unknown, a fail-over"),
        (Verdict.PASS, "return", "300", "verify has the verdict pass, no fail-over"),
        (
            Verdict.PASS,
            "fail-over",
            "10",
            r"the toleration of an unreachable node \(s\) 10: take one .* the recovery profile default, 300 s",
        ),
    ],
)
def test_only_a_run_that_passed_by_the_defaults_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, key: str, toleration: str, sentence: str
) -> None:
    monkeypatch.setattr(tutorial, "RECORD", tmp_path / "failover.json")
    with pytest.raises(LabError, match=sentence):
        tutorial.draw(run(tmp_path, verdict, key, toleration))
    assert not tutorial.RECORD.exists()
