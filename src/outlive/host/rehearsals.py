"""Ways to a cluster that the lab itself doesn't go, each gone on fresh machines: `outlive rehearse`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from outlive.base.paths import ROOT
from outlive.base.process import shown

WAYS = {
    "names": "the upstream's names, by what a bare root file system asks them for, without a VM",
    "upstream": "the same to the end: a bare machine becomes a cluster",
    "classroom": "a mirror that another host serves",
    "metal": "machines that exist already",
    "upgrade": "a lab of an earlier Kubernetes that is brought to this one",
}
"""The rehearsals, each a module of tests in verify/rehearsal."""


def run(chosen: Sequence[str]) -> int:
    """Run rehearsals, all where none is chosen; return pytest's exit status."""
    files = [f"verify/rehearsal/test_{way}.py" for way in chosen or WAYS]
    argv = [sys.executable, "-m", "pytest", *files, "-m", "rehearsal", "--capture=no", "--verbose"]
    # Interrupted, it removes its machines.
    return shown(argv, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, patience=300)
