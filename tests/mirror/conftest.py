"""What the tests of the mirror share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from outlive.mirror import golang


@pytest.fixture(scope="module")
def mirrors_go() -> Iterator[None]:
    """Have `go` be the one that the mirror is built with."""
    before = dict(os.environ)
    golang.use()
    if shutil.which("go") is None:
        pytest.skip("Go isn't installed: `make setup` does it where the mirror is built")
    yield
    os.environ.clear()
    os.environ.update(before)
