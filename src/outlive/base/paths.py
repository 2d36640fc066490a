"""Where things lie: the checkout, its state and the cache that all checkouts share."""

from __future__ import annotations

import os
from pathlib import Path

from outlive.base.errors import LabError

ROOT = Path(__file__).resolve().parents[3]
"""The checkout."""

STATE = ROOT / ".lab"
"""State of this checkout's lab: private libvirt, secrets, kubeconfig. Never in git; `outlive destroy` removes it."""

LOCK = STATE / "lab.lock"
"""Held by whoever makes, breaks or removes this checkout's lab."""

REPORTS = ROOT / "reports"
"""One folder a run. Never in git; `outlive destroy` keeps it."""

LOGS = REPORTS / "logs"
"""Output of long steps, a file each."""

BIN = STATE / "bin"
"""Programs of the lab's own that come first in its shell."""

KUBECTL = BIN / "kubectl"
"""kubectl of the cluster's own version, which the role control_plane fetches: no other one is used, whatever is on PATH."""

KUBECONFIG = STATE / "kubeconfig"
"""The administrator's kubeconfig that the role control_plane fetches, mode 0600."""

SCENARIOS = STATE / "molecule"
"""What Molecule notes of the roles' scenarios, a folder each. While it is there, this checkout's machines are the scenarios', not a lab's."""


def machine_ids() -> dict[str, str]:
    """Return the provider's ids of the machines that Vagrant made, by name."""
    return {path.parts[-3]: path.read_text(encoding="utf-8").strip() for path in sorted(ROOT.glob(".vagrant/machines/*/*/id"))}


def kubectl() -> Path:
    """Return the lab's kubectl.

    Raises:
        LabError: it isn't there: playbooks/site.yml wasn't run to that point, or by a version of it that didn't fetch any.
    """
    if not os.access(KUBECTL, os.X_OK):
        # The same words as `src/outlive/host/files/kubectl`.
        raise LabError(
            "the lab has no kubectl of its own (.lab/bin/kubectl), and no other is used: "
            "run `outlive provision`, which fetches it from the control plane"
        )
    return KUBECTL


def cache() -> Path:
    """Return the folder that all checkouts of a user share: mirror, boxes, virtual environments.

    `OUTLIVE_CACHE` names it, else it is `outlive` below `XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        LabError: its path has white space, at which apt would cut it in two, and by which Ansible finds no Python; or nothing may be executed there.
    """
    named = os.environ.get("OUTLIVE_CACHE")
    folder = Path(named).expanduser().resolve() if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "outlive"
    if any(character.isspace() for character in str(folder)):
        raise LabError(
            f"the cache folder is {str(folder)!r} (by OUTLIVE_CACHE, else XDG_CACHE_HOME or the home folder), "
            "and neither apt nor Ansible takes a path with white space: set OUTLIVE_CACHE to a folder without"
        )
    there = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    if os.statvfs(there).f_flag & os.ST_NOEXEC:
        raise LabError(
            f"the cache folder is '{folder}' (by OUTLIVE_CACHE, else XDG_CACHE_HOME or the home folder), on a file system that is mounted noexec, "
            "and the lab's programs lie there: set OUTLIVE_CACHE to a folder elsewhere"
        )
    return folder
