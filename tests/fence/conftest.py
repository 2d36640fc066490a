"""Fixtures of the tests of the watcher."""

from __future__ import annotations

import pytest

from tests.conftest import _own_environment, api, clock, fake_cluster, small_inventory
from tests.fence.simulation import World

__all__ = ["_own_environment", "api", "clock", "fake_cluster", "small_inventory"]


@pytest.fixture
def world() -> World:
    """Return a lab of two workers in which all is well, with a watcher that has seen it."""
    return World()
