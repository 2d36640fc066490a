"""Ctrl-C on a story, by real signals to all that a terminal would give them to: what was broken is healed, however often they come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from outlive.base.errors import EXIT_INTERRUPTED
from outlive.base.paths import ROOT
from outlive.base.wait import wait_for

CONFTEST = """
from pathlib import Path
from verify import plugin
plugin.FOLDER = Path(__file__).parent
pytest_plugins = ["verify.plugin"]
"""
STORY = """
import pytest
from outlive.base.process import output
from outlive.drill.faults import injected

def told(text):
    with open("told", "a") as file:
        file.write(text + "\\n")

class Slow:
    issued = effect = None

    def inject(self):
        told("broken")

    def heal(self):
        # Ends when the test writes to the pipe, or by the terminal's Ctrl-C.
        ignored = output(["sh", "-c", "grep SigIgn /proc/$$/status; echo healing >> told; read line < pipe"])
        assert int(ignored.split()[1], 16) & 0b10 == 0, "it would ignore Ctrl-C"
        told("healed")

@pytest.fixture(scope="module")
def other():
    yield
    told("other")

@pytest.fixture
def fault(other):
    with injected(Slow()) as fault:
        yield fault

def test_by_a_fixture(fault):
    if WAITS:
        told("body")
        output(["sh", "-c", "read line < pipe"])

def test_by_itself():
    with injected(Slow()):
        pass

def test_after():
    told("after")
"""


def lines(told: Path) -> list[str]:
    """Return what was told so far."""
    return told.read_text().splitlines() if told.exists() else []


@pytest.mark.parametrize(
    ("test", "waits", "expected"),
    [
        ("test_by_a_fixture or test_after", True, ["broken", "body", *["healing"] * 4, "healed", "other"]),
        ("test_by_a_fixture or test_after", False, ["broken", *["healing"] * 4, "healed", "other"]),
        ("test_by_itself or test_after", False, ["broken", *["healing"] * 4, "healed"]),
    ],
    ids=["in a test and in its fixture's end", "in a fixture's end", "in a test's own healing"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_any_number_of_interruptions_waits_for_the_healing(
    tmp_path: Path, test: str, waits: bool, expected: list[str], number: signal.Signals
) -> None:
    told, pipe = tmp_path / "told", tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    power_off\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "power_off").mkdir()
    (tmp_path / "power_off" / "test_story.py").write_text(f"WAITS = {waits}\n{STORY}")
    environment = os.environ | {"OUTLIVE_REPORTS": str(tmp_path / "reports"), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", test]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output, process_group=0)
    try:
        for number_of_lines, moment in enumerate(expected, 1):
            if moment == "healed":
                break
            wait_for("story", moment, partial(lines, told), lambda seen: len(seen) >= number_of_lines, within=60, every=0.05)  # noqa: B023
            if moment == "body" or (moment == "healing" and expected[number_of_lines] == "healing"):
                os.killpg(process.pid, number)
        with os.fdopen(os.open(pipe, os.O_RDWR), "w") as writer:  # whoever reads it may have been ended
            writer.write("\n")
            writer.flush()
            status = process.wait(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert lines(told) == expected, (tmp_path / "output").read_text()
    assert status == EXIT_INTERRUPTED
