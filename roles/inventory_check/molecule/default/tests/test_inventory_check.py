"""An inventory that can become a cluster passes; one that can't is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.lab.playbook import play

CONVERGE = str(Path(__file__).parents[1] / "converge.yml")


def test_the_inventory_passes() -> None:
    assert play(CONVERGE).recap["localhost"]["changed"] == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        # A network for documentation.
        ("lab_network=192.0.2.0/24", r"The node_ip, or else ansible_host, of .*k8s-master is"),
        (
            "control_plane_pod_subnet=10.100.0.0/16",
            r"control_plane_pod_subnet \(10.100.0.0/16\) and control_plane_service_subnet \(10.96.0.0/12\) overlap, and an address must",
        ),
        ("recovery_profile=quick", r"recovery_profile is '+quick'+, which isn'+t known: set it to one of default"),
    ],
)
def test_a_wrong_inventory_is_refused(wrong: str, sentence: str) -> None:
    with pytest.raises(LabError, match=sentence):
        play(CONVERGE, "-e", wrong)
