"""What the long steps show: what is being built, the moments of a story, and what to expect of `make lab`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from outlive.host import durations
from outlive.host.reach import Built, log_of, moment_of, outcome
from outlive.host.settings import decide

QEMU = decide({"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "qemu"})


def test_mirror_says_what_is_built_and_how_far_it_is() -> None:
    built = Built()
    assert built("[    0 s] programs-kubernetes: not there yet, building (log: x)") == "0 built, building programs-kubernetes"
    assert built("[    1 s] root-full: its inputs changed, building (log: x)") == "0 built, building programs-kubernetes, root-full"
    assert built("[   20 s] programs-kubernetes: 812 of 1904 packages") == (
        "0 built, building programs-kubernetes (812 of 1904 packages), root-full"
    )
    assert built("[   82 s] root-full: built in 81 s") == "1 built, building programs-kubernetes (812 of 1904 packages)"
    assert built("[   90 s] programs-kubernetes: built in 90 s") == "2 built"
    assert built("some other line") is None


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("    45.2 s  k8s-node1 NotReady  NotReady", True),
        ("            Kubernetes now waits 300 s before it gives mysql-1 up and makes another one", True),
        ("drill: a power cut of MySQL's node, profile fenced", True),
        ("applying the recovery profile fenced ...", True),
        ("interrupted: the fault is healed; the lab has the recovery profile default", True),
        ("verify/power_off/test_power_off.py .......", False),
        ("=== 43 passed in 550.71s ===", False),
    ],
)
def test_moments_stay_on_the_screen(line: str, stays: bool) -> None:
    assert (moment_of(line) == line) is stays


def test_how_pytest_ended(tmp_path: Path) -> None:
    """A reader who has only the screen, as of a build server, reads which test failed and why."""
    failed = ["FAILED tests/a.py::test_b[c] - assert 1 == 2", "ERROR tests/a.py::test_d - OSError"]
    closing = "=== 1 failed, 2 passed, 1 error in 3.4s ==="
    (tmp_path / "log").write_text(
        "\n".join(["x", "FAILED is a word of its own", "tests/a.py::test_b FAILED", *failed, closing, "report (fail): y"])
    )
    assert outcome(tmp_path / "log").splitlines() == [*failed, closing]
    assert outcome(tmp_path / "none") == ""


def test_a_step_s_log_has_its_name() -> None:
    assert log_of("snapshot: suspend").name == "snapshot-suspend.log"


def test_the_next_lab_says_what_the_last_one_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path))
    assert durations.sentence(QEMU).startswith("to expect, by emulation on two cores: mirror 9 min 00 s, virtual machines 1 min 35 s, ")
    kvm = replace(QEMU, driver="kvm")
    assert (
        durations.sentence(kvm)
        == "how long it takes on such a host wasn't measured so far; of the verification Kubernetes itself waits 350 s"
    )
    durations.keep(QEMU, {"mirror": 541.0, "inventory": 1.0, "up": 93.2, "verification": 0.0})
    # A second run finds all there: that says nothing of what it takes to make it.
    durations.keep(QEMU, {"mirror": 0.4, "up": 1.0, "verification": 550.0})
    assert durations.sentence(QEMU) == "the last time here: mirror 9 min 01 s, virtual machines 1 min 33 s, verification 9 min 10 s"
    assert "wasn't measured" in durations.sentence(kvm)


def test_a_damaged_note_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path))
    (tmp_path / "durations.json").write_text("{")
    assert durations.sentence(QEMU).startswith("to expect")
    durations.keep(QEMU, {"up": 93.0})
    assert durations.sentence(QEMU) == "the last time here: virtual machines 1 min 33 s"
