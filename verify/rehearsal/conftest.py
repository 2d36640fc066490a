"""Fixtures of the rehearsals: this checkout's place for machines, empty before and after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from outlive.base.errors import EXIT_UNKNOWN, LabError
from outlive.base.paths import STATE
from outlive.base.process import remove
from outlive.host import private
from verify.rehearsal import own_machines


@pytest.fixture(scope="module", autouse=True)
def empty() -> Iterator[None]:
    """Refuse a checkout that has a lab, and leave nothing behind."""
    try:
        own_machines.require_no_lab()
    except LabError as error:
        pytest.exit(str(error), returncode=EXIT_UNKNOWN)
    with pytest.MonkeyPatch.context() as patch:
        # Whatever this host's labs are: what is removed in the end must be all that was made.
        for name, value in {
            "OUTLIVE_PROVIDER": "libvirt",
            "OUTLIVE_LIBVIRT": "private",
            "OUTLIVE_SOURCES": "auto",
            "OUTLIVE_MIRROR": "",
        }.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            with private.held():
                private.stop()
            private.forget_vms()
            remove(STATE)
