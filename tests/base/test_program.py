"""How a command ends, whatever it ends of."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from outlive.base.errors import FailedError, LabError, StepFailedError
from outlive.base.program import ended


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (LabError("that"), 2, "error: that"),
        (FailedError("that"), 1, "error: that"),
        (AssertionError("that"), 1, "error: that"),
        (StepFailedError("that", 4), 2, "error: that"),
        (KeyboardInterrupt(), 130, "interrupted: nothing is lost; run the command again, it goes on from the last finished step"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/.lab/lab.lock"),
            2,
            "error: the system says 'Permission denied' (/x/.lab/lab.lock): cure that, then run the command again",
        ),
        (
            ModuleNotFoundError(name="rich"),
            2,
            f"error: Python's package rich is missing in {sys.executable}: run `make setup`, then .venv/bin/outlive",
        ),
    ],
)
def test_error_is_one_sentence_and_a_status_of_the_table(
    error: BaseException, status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert ended(fail) == status
    assert capsys.readouterr().err == f"{sentence}\n"


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_command_that_ends_by_itself(returned: int | None, status: int) -> None:
    assert ended(lambda: returned) == status


@pytest.mark.parametrize("command", ["doctor", "status"])
def test_reader_that_has_gone_gets_no_traceback(command: str) -> None:
    script = 'exec 3>&1; { "$0" -m outlive "$1"; echo $? >&3; } | :'
    done = subprocess.run(["bash", "-c", script, sys.executable, command], capture_output=True, text=True, timeout=200, check=True)
    assert done.stderr == ""
    assert done.stdout == "2\n"


def test_closed_terminal_ends_a_command_that_nohup_does_not_keep() -> None:
    script = "import signal; from outlive.base.program import ended; ended(lambda: signal.raise_signal(signal.SIGHUP)); print('went on')"
    alone = [sys.executable, "-c", script]
    for argv, interrupted in ((alone, True), (["nohup", *alone], False)):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
        assert ("interrupted: " in done.stderr) is interrupted
        assert done.stdout == "went on\n"
