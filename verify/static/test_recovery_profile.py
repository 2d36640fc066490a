"""The settings that decide how fast a fail-over is."""

from __future__ import annotations

from outlive.drill import settings
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote


def test_the_lab_has_the_inventorys_profile(lab: Inventory, cluster: Cluster, remote: Remote) -> None:
    """All that it sets is in force, as servers and kubelets say: they keep what they were told, so one profile could leave its own to the next."""
    wanted = settings.of_profiles(lab)[settings.chosen(lab)]
    wrong = settings.differences(settings.of_lab(Lab(lab, cluster, remote)), wanted)
    assert not wrong, "; ".join(map(str, wrong))
