"""How long each page of the tutorial took when it was last run whole: its tests write it down, the site shows it. Never in git."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from outlive.base.paths import REPORTS
from outlive.base.screen import duration

FILE = REPORTS / "page-times.json"
"""By the page's name, as `08-mysql`."""


@dataclass(frozen=True)
class Took:
    """The last run of a page in which every block did what the page says."""

    seconds: float
    day: str
    """The day of it in UTC, as `2026-11-30`."""


def keep(page: str, took: Took, file: Path = FILE) -> None:
    """Write down what a page took, in the place of what it took before."""
    known = {name: asdict(each) for name, each in read(file).items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**known, page: asdict(took)}, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read(file: Path = FILE) -> dict[str, Took]:
    """Return what is known; nothing where no page was run here, or the file is damaged."""
    try:
        return {
            str(name): Took(float(each["seconds"]), str(each["day"])) for name, each in json.loads(file.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def sentence(took: Took, language: str) -> str:
    """Return it for a reader of `en` or `zh`."""
    whole = round(took.seconds)
    if language == "zh":
        minutes, seconds = divmod(whole, 60)
        return f"上次在这里运行：{took.day}，用时 {f'{minutes} 分 ' if minutes else ''}{seconds} 秒。"
    return f"When it was last run here, on {took.day}, it took {duration(whole)}."
