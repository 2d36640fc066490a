"""Fixtures of the tests of the watcher."""

from __future__ import annotations

import pytest

from fence.tests.simulation import World
from verify.unit.conftest import _own_environment, api, clock, fake_cluster, small_inventory

__all__ = ["_own_environment", "api", "clock", "fake_cluster", "small_inventory"]


@pytest.fixture
def world() -> World:
    """Return a lab of two workers in which all is well, with a watcher that has seen it."""
    return World()
