"""What the power-off's story takes for a sign that the node isn't off."""

from __future__ import annotations

import pytest

from outlive.base.errors import LabError
from outlive.base.verdict import Verdict, of_error
from outlive.drill.timeline import Gap, Moment, Timeline
from outlive.lab import objects
from outlive.lab.inventory import Inventory
from outlive.lab.power import Power, State
from outlive.lab.ssh import Output
from tests import samples
from tests.course.stages import FakeRemote
from tests.samples import instant
from verify.power_off import test_power_off as tale
from verify.power_off.test_power_off import STEPS, signs_of_life


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


class Silent(FakeRemote):
    """Machines on one of which nobody can look."""

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Find one mysqld, and no pgrep on n1."""
        del command, arguments
        return Output(127, "", "sh: 1: pgrep: not found") if name == "n1" else Output(0, "77\n" if name == "n2" else "", "")


def test_a_node_on_which_nobody_could_look_has_not_no_mysqld(small_inventory: Inventory) -> None:
    with pytest.raises(LabError, match="pgrep: not found"):
        tale.test_exactly_one_mysqld_runs(small_inventory, Silent())


@pytest.mark.parametrize(
    ("gaps", "late", "expected"),
    [((), 0.0, None), ((), 90.0, Verdict.FAIL), ((Gap(1.0, 90.0),), 90.0, Verdict.UNKNOWN), ((Gap(1.0, 2.0),), 0.0, Verdict.UNKNOWN)],
    ids=["in order", "out of order", "late by a gap", "a gap"],
)
def test_moments_that_a_gap_made_late_are_no_verdict(gaps: tuple[Gap, ...], late: float, expected: Verdict | None) -> None:
    keys = ["power_off", "process_gone", *STEPS]
    moments = [Moment(key, key, instant(at + (late if key == "not_ready" else 0))) for at, key in enumerate(keys)]
    story = tale.Story.__new__(tale.Story)
    story.timeline = Timeline("fail-over", instant(0), tuple(moments), gaps=gaps)
    found = None
    try:
        tale.test_every_moment_was_seen_in_order(story)
    except (AssertionError, LabError) as error:
        found = of_error(error)
    assert found is expected
