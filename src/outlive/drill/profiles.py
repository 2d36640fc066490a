"""Recovery profiles: named sets of cluster settings that decide how fast a fail-over is; the inventory's recovery_profiles has what each sets."""

from __future__ import annotations

from outlive.drill import run
from outlive.lab import mysql, playbook, steady
from outlive.lab.inventory import Inventory
from outlive.lab.session import Lab

DEFAULT = "default"
PROFILES = {
    DEFAULT: "Kubernetes' own settings",
    "tuned": "less patience of Kubernetes with a node that is silent, and a shorter lease of the NFS server",
    "fenced": "Kubernetes' own settings, and the watcher that fences a lost node beside them",
}
"""The profiles and what each is."""


def applied(lab: Lab) -> str:
    """Return the name of the lab's recovery profile, empty where it isn't noted.

    Raises:
        LabError: the lab doesn't answer, or MySQL isn't deployed.
    """
    return lab.cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT).profile


def apply(lab: Lab, profile: str) -> None:
    """Apply a profile that isn't the lab's to a lab that is steady, and wait until it is again.

    Raises:
        LabError: the lab isn't steady, or the playbook failed.
    """
    before = applied(lab)
    if before == profile:
        return
    steady.check(lab.cluster, lab.workers)
    playbook.play(_playbook(lab.inventory, before, profile), "-e", f"recovery_profile={profile}")
    run.await_steady(lab)


def _playbook(inventory: Inventory, before: str, profile: str) -> str:
    """Return the playbook that leads to a profile: where two set the same on all machines, only MySQL's note has to change."""
    settings = inventory.group("control_plane")[0].variables.get("recovery_profiles", {})
    return "playbooks/tutorial.yml" if before in settings and settings[before] == settings.get(profile) else "playbooks/profile.yml"
