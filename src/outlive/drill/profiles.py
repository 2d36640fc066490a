"""Recovery profiles: named sets of cluster settings that decide how fast a fail-over is; the inventory's recovery_profiles has what each sets."""

from __future__ import annotations

from collections.abc import Callable

from outlive.drill import run, settings
from outlive.lab import playbook, steady
from outlive.lab.session import Lab

DEFAULT = "default"
PROFILES = {
    DEFAULT: "Kubernetes' own settings",
    "tuned": "less patience of Kubernetes with a node that is silent, and a shorter lease of the NFS server",
    "fenced": "Kubernetes' own settings, and the watcher that fences a lost node beside them",
    settings.STANDBY: "as fenced, and a second pod of MySQL that waits for the first one's lock",
}
"""The profiles and what each is."""


def current(lab: Lab) -> str | None:
    """Return a profile whose settings the lab has, the inventory's own where it has those; None where they are mixed.

    Raises:
        LabError: the lab doesn't answer, MySQL isn't deployed, or the inventory doesn't say what a profile sets.
    """
    found, own = settings.matching(lab), settings.chosen(lab.inventory)
    return own if own in found else next(iter(found), None)


def apply(lab: Lab, profile: str, say: Callable[[str], object] = lambda _: None) -> None:
    """Give a lab that is steady the settings of a profile, where it hasn't all of them, and wait until it is steady again.

    Raises:
        LabError: the lab isn't steady, or the playbook failed.
    """
    steady.check(lab.cluster, lab.workers)
    if profile in settings.matching(lab):
        return
    say(f"applying the recovery profile {profile} ...")
    playbook.play(settings.PLAYBOOKS, *settings.options(profile))
    run.await_steady(lab)
