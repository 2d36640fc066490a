"""How long each part of `make lab` took the last time on this host, so that the next one can say what to expect."""

from __future__ import annotations

import json
from collections.abc import Mapping

from outlive.base.paths import cache
from outlive.base.screen import duration
from outlive.host.settings import Settings

PARTS = {"mirror": "mirror", "up": "virtual machines", "site": "cluster", "tutorial": "MySQL", "verification": "verification"}
"""The parts of `make lab` that take long, by the name that its steps have."""
WORTH = 5.0
"""Seconds from which on a part was really done: less is a look at what is there already."""
EXPECTED = {"mirror": 540.0, "up": 95.0, "site": 225.0, "tutorial": 45.0, "verification": 550.0}
"""Seconds by software emulation on two cores (docs/results.md); the mirror's from an empty cache. Of other hosts nothing was measured."""


def sentence(settings: Settings) -> str:
    """Return what to expect of `make lab`, as a line: what was measured here, or what the project measured."""
    kept = _read().get(_key(settings), {})
    known = {name: kept[name] for name in PARTS if name in kept}
    if known:
        return f"the last time here: {_parts(known)}"
    if settings.driver == "qemu":
        return f"to expect, by emulation on two cores: {_parts(EXPECTED)}; of the verification Kubernetes itself waits 350 s"
    return "how long it takes on such a host wasn't measured so far; of the verification Kubernetes itself waits 350 s"


def keep(settings: Settings, took: Mapping[str, float]) -> None:
    """Keep what a run took, part by part, as far as it was really done."""
    kept = _read()
    kept.setdefault(_key(settings), {}).update(
        {name: round(seconds, 1) for name, seconds in took.items() if name in PARTS and seconds >= WORTH}
    )
    file = cache() / "durations.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _parts(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{PARTS[name]} {duration(value)}" for name, value in seconds.items())


def _key(settings: Settings) -> str:
    box = "" if settings.box == "full" else f" {settings.box}"
    return f"{settings.provider} {settings.driver or ''}{settings.architecture.suffix} {settings.sources}{box}".replace("  ", " ")


def _read() -> dict[str, dict[str, float]]:
    try:
        data = json.loads((cache() / "durations.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
