"""The picture's positions."""

from __future__ import annotations

from itertools import pairwise

import pytest

from outlive.drill.timeline import Moment, Span, Timeline
from outlive.report.pictures import LINE, MARGIN, draw, spread
from tests.samples import instant

SECONDS = [0, 2, 8, 60, 362.9, 363, 363.2, 375, 378, 380]


def timeline(seconds: list[float]) -> Timeline:
    """Return a timeline with moments at these seconds."""
    return Timeline(
        "t", instant(0), tuple(Moment(f"k{at}", f"moment {at}", instant(at)) for at in seconds), (Span(0, 2, True), Span(2, 500, False))
    )


@pytest.mark.parametrize("seconds", [SECONDS, [0], [0, 0, 0], [0, 0.01, 0.02, 900], list(range(40))])
def test_labels_never_overlap_and_stay_in_the_picture(seconds: list[float]) -> None:
    picture = draw(timeline(seconds))
    rows = [label.text_y for label in picture.labels]
    assert all(below - above >= LINE - 1e-6 for above, below in pairwise(rows))
    assert rows[0] >= MARGIN
    assert rows[-1] + LINE / 2 <= picture.height


def test_dots_are_to_scale() -> None:
    picture = draw(timeline(SECONDS))
    first, last = picture.labels[0].y, picture.labels[-1].y
    assert [(label.y - first) / (last - first) * 380 for label in picture.labels] == pytest.approx(SECONDS)


def test_phases_cover_the_axis_without_gaps() -> None:
    picture = draw(timeline(SECONDS))
    assert sum(bar.height for bar in picture.phases) == pytest.approx(picture.bottom - picture.top)


def test_spans_end_with_the_picture() -> None:
    picture = draw(timeline(SECONDS))
    assert picture.spans[-1].y + picture.spans[-1].height == pytest.approx(picture.bottom)


def test_ticks_are_round_numbers() -> None:
    assert [tick.seconds for tick in draw(timeline(SECONDS)).ticks] == [0, 60, 120, 180, 240, 300, 360]
    assert [tick.seconds for tick in draw(timeline([0])).ticks] == [0, 1]


def test_labels_with_room_stay_where_they_want() -> None:
    assert spread([0, 50, 100], 34, 0, 200) == (0, 50, 100)
    assert spread([50, 52], 34, 0, 200) == (34.0, 68.0)
    assert spread([0, 1, 2], 34, 0, 10) == (0, 34, 68)
    assert spread([], 34, 0, 10) == ()
