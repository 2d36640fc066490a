"""What a page took: written down when it was run, read by the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.course import times
from outlive.course.times import Took


def test_the_last_run_counts(tmp_path: Path) -> None:
    file = tmp_path / "reports" / "page-times.json"
    assert times.read(file) == {}
    times.keep("04-nfs", Took(61.0, "2026-11-29"), file)
    times.keep("08-mysql", Took(45.5, "2026-11-29"), file)
    times.keep("04-nfs", Took(58.2, "2026-11-30"), file)
    assert times.read(file) == {"04-nfs": Took(58.2, "2026-11-30"), "08-mysql": Took(45.5, "2026-11-29")}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"04-nfs": 7}', '{"04-nfs": {"seconds": "x", "day": ""}}'])
def test_a_damaged_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "page-times.json").write_text(text)
    assert times.read(tmp_path / "page-times.json") == {}
    times.keep("04-nfs", Took(1.0, "2026-11-30"), tmp_path / "page-times.json")
    assert set(times.read(tmp_path / "page-times.json")) == {"04-nfs"}


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (58.2, "When it was last run here, on 2026-11-30, it took 58 s.", "上次在这里运行：2026-11-30，用时 58 秒。"),
        (59.7, "When it was last run here, on 2026-11-30, it took 1 min 00 s.", "上次在这里运行：2026-11-30，用时 1 分 0 秒。"),
        (256.9, "When it was last run here, on 2026-11-30, it took 4 min 17 s.", "上次在这里运行：2026-11-30，用时 4 分 17 秒。"),
    ],
)
def test_in_both_languages(seconds: float, english: str, chinese: str) -> None:
    took = Took(seconds, "2026-11-30")
    assert (times.sentence(took, "en"), times.sentence(took, "zh")) == (english, chinese)
