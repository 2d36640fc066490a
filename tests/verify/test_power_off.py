"""What the power-off's story takes for a sign that the node isn't off."""

from __future__ import annotations

import pytest

from outlive.lab import objects
from outlive.lab.power import Power, State
from tests import samples
from verify.power_off.test_power_off import signs_of_life


def test_a_node_that_is_off_gives_no_sign_of_life() -> None:
    assert signs_of_life(Power(State.OFF), objects.node(samples.node(ready="Unknown", boot="b1")), "b1") == []


@pytest.mark.parametrize(
    ("state", "ready", "boot", "sign"),
    [
        (State.ON, "Unknown", "b1", "its VM is on"),
        (State.SAVED, "Unknown", "b1", "its VM is saved"),
        (State.OFF, "True", "b1", "its node is Ready"),
        (State.OFF, "Unknown", "b2", "its node booted anew"),
    ],
)
def test_each_sign_of_life_is_named(state: State, ready: str, boot: str, sign: str) -> None:
    assert signs_of_life(Power(state), objects.node(samples.node(ready=ready, boot=boot)), "b1") == [sign]
