"""Pages that need nothing else: style and pictures are in them, scripts there are none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from outlive.drill.timeline import Timeline
from outlive.report import pictures


def report(data: Mapping[str, Any], timelines: Mapping[str, Timeline]) -> str:
    """Return the page of a run: its data as ``model.as_json`` has it, and a picture of each timeline."""
    drawn = {key: pictures.draw(timeline) for key, timeline in timelines.items() if timeline.moments}
    return render("report.html.j2", run=data, pictures=drawn)


def render(template: str, **values: object) -> str:
    """Return a page made of one of this folder's templates."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
