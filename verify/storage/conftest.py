"""Fixtures of the tutorial's chapters."""

from __future__ import annotations

import pytest

from outlive.report.model import Report


@pytest.fixture(scope="session", autouse=True)
def described(report: Report) -> Report:
    """Put the lab's description into the report."""
    return report
