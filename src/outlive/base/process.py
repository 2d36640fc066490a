"""Run other programs: as root where needed, with their output in a log file and a line of progress on the screen."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from outlive.base.errors import LabError

PATIENCE = 60.0
"""Seconds that an interrupted program has to clean up."""


def as_root(argv: Sequence[str]) -> list[str]:
    """Return `argv` preceded by sudo where this process isn't root; the environment is kept."""
    return list(argv) if os.geteuid() == 0 else ["sudo", "--preserve-env", *argv]


def remove(folder: Path) -> None:
    """Remove a folder with all in it, but no other file system's; what root made there, by root.

    Raises:
        LabError: it can't be removed.
    """
    argv = ["rm", "-rf", "--one-file-system", str(folder)]
    subprocess.run(argv, capture_output=True, check=False)
    if folder.exists():
        output(as_root(argv), timeout=600)


def output(argv: Sequence[str], timeout: float = 60, env: Mapping[str, str] | None = None) -> str:
    """Return what `argv` prints on standard output, stripped.

    Raises:
        LabError: it can't be started, ends with another status than 0, or takes longer than `timeout` seconds.
    """
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=timeout, env=env, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"`{shlex.join(argv)}` did not run: {error}") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"`{shlex.join(argv)}` ended with status {done.returncode}: {words[-1] if words else 'no output'}")
    return done.stdout.strip()


def said(argv: Sequence[str], timeout: float = 10) -> str | None:
    """Return what `argv` prints, None where it gives no answer: it isn't there, fails, or takes longer than `timeout` seconds."""
    try:
        return output(argv, timeout)
    except LabError:
        return None


def logged(
    what: str,
    argv: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    show: Callable[[str], str | None] = lambda _line: None,
    patience: float = PATIENCE,
) -> float:
    """Run `argv` with its output in `log`; show `what`, the elapsed time and the lines that `show` picks.

    Args:
        what: The step, as the user reads it.
        argv: Program and arguments.
        log: File for everything it prints; the folder is made.
        env: Environment; this process's when None.
        show: Given a line of output, returns the text to show as progress, or None.
        patience: Seconds to clean up after an interruption, see `end`.

    Returns:
        Seconds it took.

    Raises:
        LabError: the program ended with another status than 0. The sentence names the log and quotes its last error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    progress = _Progress(what, started)
    with log.open("w", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(argv)}\n")
        file.flush()
        if argv[0] == "sudo":
            # Asks for the password here: a program outside the terminal's foreground can't.
            subprocess.run(["sudo", "--validate"], check=False)
        process: subprocess.Popen[str] | None = None
        with progress:
            try:
                with _uninterrupted():
                    process = subprocess.Popen(
                        list(argv),
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        stdin=subprocess.DEVNULL,
                        text=True,
                        env=env,
                        errors="replace",
                        # A group of its own: `end` passes a Ctrl-C on, once, and finds all that the program started.
                        process_group=0,
                    )
                assert process.stdout is not None
                for line in process.stdout:
                    file.write(line)
                    file.flush()
                    text = show(line.rstrip())
                    if text:
                        progress.note(text)
                status = process.wait()
            except KeyboardInterrupt:
                if process is not None:
                    end(process, patience=patience)
                raise
    seconds = time.monotonic() - started
    if status != 0:
        progress.end(f"failed after {_clock(seconds)}")
        raise LabError(f"{what}: `{shlex.join(argv[-3:])}` ended with status {status}; {last_error(log)} (whole log: {log})")
    progress.end(_clock(seconds))
    return seconds


# Signals that came while a program was being started; None outside of that.
_held: list[int] | None = None


def interrupt_by(number: int, _frame: object = None) -> None:
    """Handle SIGINT and SIGTERM alike: raise KeyboardInterrupt with the signal's number."""
    if _held is None:
        raise KeyboardInterrupt(number)
    _held.append(number)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold an interrupt back until the body is through: a program half started would be nobody's to end."""
    global _held
    held = _held = []
    try:
        yield
    finally:
        _held = None
    if held:
        raise KeyboardInterrupt(held[0])


def end(process: subprocess.Popen[str], *, leads: bool = True, told: bool = False, patience: float = PATIENCE) -> None:
    """End a program and all that it started: SIGINT, then SIGTERM, then SIGKILL.

    Args:
        process: The program.
        leads: It leads a process group of its own, so that what it left behind is found too.
        told: The terminal gave it the SIGINT already; a second one would stop Vagrant from cleaning up.
        patience: Seconds to clean up after a signal; what outlives the program gets a tenth of them.
    """
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if which != signal.SIGINT or not told:
            _signal_all(process.pid, leads, which)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            # Reads what it still prints: a program that can't print doesn't end.
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=0.2)
                return
            if process.poll() is not None:
                until = min(until, time.monotonic() + patience / 10)


def _signal_all(pid: int, leads: bool, which: signal.Signals) -> None:
    """Send a signal to a process, its descendants (sudo doesn't pass every signal on) and the group that it leads."""
    tree = [pid]
    for each in tree:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                tree += [int(word) for word in children.read_text(encoding="ascii").split()]
    targets = [-pid] if leads else []
    for each in tree:
        with suppress(ProcessLookupError):
            if not leads or os.getpgid(each) != pid:
                targets.append(each)
    for target in targets:
        try:
            os.kill(target, which)
        except ProcessLookupError:
            continue
        except PermissionError:
            subprocess.run(as_root(["kill", f"-{int(which)}", "--", str(target)]), capture_output=True, check=False)


def last_error(log: Path) -> str:
    """Return the line of `log` that says best why a program failed: the last one with a word of failure, else the last one."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[1:] if line.strip()]
    if not lines:
        return "it printed nothing"
    telling = [line for line in lines if any(word in line.lower() for word in ("error", "fatal", "failed", "cannot", "can't"))]
    recap = ("play recap", "unreachable=")
    telling = [line for line in telling if not any(word in line.lower() for word in recap)]
    return (telling or lines)[-1][:600]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s" if seconds >= 60 else f"{seconds:.0f} s"


class _Progress:
    """A line a step: on a terminal it is rewritten each second, in a log it is printed at start, every minute and at the end."""

    def __init__(self, what: str, started: float) -> None:
        self._what = what
        self._started = started
        self._text = ""
        self._done = threading.Event()
        self._terminal = sys.stdout.isatty()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if not self._terminal:
            print(f"{self._what} ...", flush=True)
        self._thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._done.set()
        self._thread.join()
        if self._terminal:
            print("\r\x1b[K", end="", flush=True)

    def note(self, text: str) -> None:
        self._text = text

    def end(self, how: str) -> None:
        print(f"{self._what}: {how}", flush=True)

    def _run(self) -> None:
        while not self._done.wait(1 if self._terminal else 60):
            line = f"{self._what} {_clock(time.monotonic() - self._started)}  {self._text}"
            if self._terminal:
                width = os.get_terminal_size(sys.stdout.fileno()).columns
                print(f"\r\x1b[K{line[: width - 1]}", end="", flush=True)
            else:
                print(line, flush=True)
