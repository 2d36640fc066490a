"""The terminals of a page's reader: one on which a program is talked to, and a second one on which something is watched meanwhile."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import closing
from io import StringIO
from tempfile import TemporaryFile

from pexpect import EOF, TIMEOUT
from pexpect.fdpexpect import fdspawn

from outlive.base.errors import UnreachableError
from outlive.base.paths import ROOT
from outlive.base.process import end, environment, start, started
from outlive.course.pages import DIALOGUES, Ran

SIZE = (50, 200)
"""Rows and columns: no line that a page shows is folded."""
SILENCE = 20.0
"""Seconds without a first prompt after which Enter is pressed, as `kubectl run` advises: what came before it was attached isn't shown again."""
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\([0B]|[\r\a]")
"""What moves a terminal's cursor or changes its letters, and is no text."""
CTRL_C_SECONDS = 60.0
"""Seconds that a program has after Ctrl-C; `outlive fence watch` takes up to 45."""
ENDED_HARDER = (-signal.SIGTERM, -signal.SIGKILL)
"""The statuses of a program that Ctrl-C didn't end. What else it says of its end is its own: kubectl's is 1."""
BASH = ("env", "--default-signal=INT", "bash", "-c")
"""A bash that Ctrl-C ends, whatever this process ignores."""


def converse(text: str, typed: Sequence[str], variables: Mapping[str, str], seconds: float) -> Ran:
    """Run a command on a terminal and type lines, each as soon as its prompt is there; return what the terminal showed.

    Prompts at which nothing was typed are left out: Enter was pressed there to see whether somebody answers.

    Args:
        text: The command, for a bash at the checkout's root.
        typed: What is typed, with the prompt that it is typed at.
        variables: Environment, beside this process's own.
        seconds: How long a prompt, and in the end the command, may take.

    Raises:
        UnreachableError: a prompt doesn't come, or the command doesn't end.
        LabError: there is no bash.
    """
    ours, its = pty.openpty()
    env = environment({**os.environ, **variables, "TERM": "dumb"})
    with closing(fdspawn(ours, encoding="utf-8", codec_errors="replace")) as terminal, open(its, closefd=True) as other:  # noqa: PTH123 - a terminal has no path
        termios.tcsetwinsize(its, SIZE)
        terminal.logfile_read = shown = StringIO()
        with started([*BASH, text], leads=True, cwd=ROOT, env=env, stdin=other, stdout=other, stderr=other) as process:
            other.close()
            for number, line in enumerate(typed):
                prompt = next(each for each in DIALOGUES if line.startswith(each))
                _await(terminal, prompt, text, seconds, awake=number > 0)
                terminal.sendline(line.removeprefix(prompt))
                # Its echo comes behind the prompts that are still on their way: the next one is that of the answer.
                terminal.expect_exact([line.removeprefix(prompt), EOF, TIMEOUT], timeout=seconds)
            if terminal.expect([EOF, TIMEOUT], timeout=seconds) == 1:
                raise UnreachableError(f"`{text}` didn't end within {seconds:.0f} s after the last line was typed")
            try:
                status = process.wait(CTRL_C_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise UnreachableError(f"`{text}` closed its terminal and didn't end") from error
    lines = CONTROLS.sub("", shown.getvalue()).splitlines()
    return Ran(status, tuple(line for line in lines if f"{line.strip()} " not in DIALOGUES))


def _await(terminal: fdspawn, prompt: str, text: str, seconds: float, *, awake: bool) -> None:
    """Wait for a prompt. Where none comes, press Enter once, unless the program has shown itself `awake`."""
    for last in (awake, True):
        seen = terminal.expect_exact([prompt, EOF, TIMEOUT], timeout=seconds if last else min(SILENCE, seconds))
        if seen == 0:
            return
        if last or seen == 1:
            raise UnreachableError(
                f"`{text}` showed no prompt {prompt!r} within {seconds:.0f} s; the terminal's last words: {terminal.before[-300:]!r}"
            )
        terminal.sendline("")


class SecondTerminal:
    """A command that runs beside the others, until Ctrl-C is pressed."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        """Start it, in a bash at the checkout's root.

        Raises:
            LabError: there is no bash.
        """
        self._printed = TemporaryFile()  # noqa: SIM115 - it is read when the command has ended
        self._process = start(
            [*BASH, text],
            process_group=0,
            cwd=ROOT,
            env=environment({**os.environ, **variables}),
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
        )

    def end(self) -> Ran:
        """Press Ctrl-C; return what was printed. The status is 0 where Ctrl-C ended it, and nothing harder had to."""
        ran = self._process.poll() is None
        end(self._process, patience=CTRL_C_SECONDS)
        status = self._process.returncode
        with self._printed as printed:
            printed.seek(0)
            lines = printed.read().decode("utf-8", "replace").splitlines()
        return Ran(0 if ran and status not in ENDED_HARDER else status, tuple(lines))
