"""Pictures of boxes and arrows, with words in each language of the tutorial, as SVG files that need nothing else.

A picture says where its boxes lie; where the lines of text are, and how wide they may be, follows from that (pure functions).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from outlive.report import html

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
WIDTH = 360.0
"""A phone's, in CSS pixels; all lengths here are in these."""
STEP = 18.0
"""From one line of text to the next."""


@dataclass(frozen=True)
class Words:
    """The same said in each language, perhaps in several lines."""

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """Return what is said in a language."""
        return self.zh if language == "zh" else self.en


def same(text: str) -> Words:
    """Return what is called alike in all languages: names of objects, fields and paths."""
    return Words(text, text)


NOTHING = same("")


def file(template: str, language: Language, title: Words, description: Words, height: float, **drawn: object) -> str:
    """Return an SVG file: what all have in common, filled by a template."""
    told = {"title": title.of(language), "description": description.of(language)}
    return html.render(template, language=language, width=WIDTH, height=height, **told, **drawn)


@dataclass(frozen=True)
class Line:
    """A line of text: ``x`` is where its anchor is, ``y`` its baseline."""

    text: str
    x: float
    y: float
    anchor: Literal["start", "middle", "end"] = "middle"
    strong: bool = False


@dataclass(frozen=True)
class Box:
    """A thing, with its words in the middle; one that has others in it is a frame, with its title above them."""

    kind: Literal["frame", "pod", "storage", "object", "gone"]
    """Which colours it has: a machine or somebody's part, a pod or container, where bytes lie, an object of the API, what is off or over."""
    x: float
    y: float
    width: float
    height: float
    title: Words
    note: Words = NOTHING

    def lines(self, language: Language) -> Iterator[Line]:
        """Yield its text."""
        if self.kind == "frame":
            yield Line(self.title.of(language), self.x + self.width / 2, self.y + 20, strong=True)
            return
        told = [(self.title.of(language), True), *((text, False) for text in self.note.of(language).split("\n") if text)]
        first = self.y + self.height / 2 - (len(told) - 1) * STEP / 2 + 5
        for number, (text, strong) in enumerate(told):
            yield Line(text, self.x + self.width / 2, first + number * STEP, strong=strong)


@dataclass(frozen=True)
class Arrow:
    """A line from point to point with a tip at its end, and one at its beginning where it is said."""

    points: tuple[tuple[float, float], ...]
    both: bool = False
    gone: bool = False
    """Whether it stands for what doesn't work, or no longer."""

    @property
    def path(self) -> str:
        """Return it as SVG has it."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


@dataclass(frozen=True)
class Label:
    """Words beside an arrow, or below everything: ``y`` is the first line's baseline."""

    words: Words
    x: float
    y: float
    anchor: Literal["start", "middle", "end"] = "start"

    def lines(self, language: Language) -> Iterator[Line]:
        """Yield its text."""
        for number, text in enumerate(self.words.of(language).split("\n")):
            yield Line(text, self.x, self.y + number * STEP, self.anchor)


@dataclass(frozen=True)
class Diagram:
    """A picture: ``title`` is what a page gives as its alternative text, ``description`` says all that it shows."""

    name: str
    title: Words
    description: Words
    height: float
    parts: tuple[Box | Arrow | Label, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Return its boxes, those behind others first."""
        return tuple(each for each in self.parts if isinstance(each, Box))

    @property
    def arrows(self) -> tuple[Arrow, ...]:
        """Return its arrows."""
        return tuple(each for each in self.parts if isinstance(each, Arrow))

    def lines(self, language: Language) -> tuple[Line, ...]:
        """Return all its text."""
        return tuple(line for each in self.parts if not isinstance(each, Arrow) for line in each.lines(language))

    def svg(self, language: Language) -> str:
        """Return the file."""
        return file("diagram.svg.j2", language, self.title, self.description, self.height, picture=self, lines=self.lines(language))
