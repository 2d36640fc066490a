"""Fixtures of the tests that call the program."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from outlive.base.paths import ROOT


@pytest.fixture
def in_lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let commands run in this process, as in the lab's shell; the signals' handlers are this process's again afterwards."""
    monkeypatch.setenv("OUTLIVE_SHELL", str(ROOT))
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
