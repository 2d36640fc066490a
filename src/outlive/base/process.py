"""The one way to run other programs: bounded in time, in one locale, as root where needed, and none outlives what called it.

`output` and `said` give what a program prints, `run` its status too, `shown` leaves it the terminal, `logged` keeps it in a log file with its moments and a clock on the screen. Each ends
the program with all that it started before it raises, whatever was raised. `Tree` is what a program started; `end` ends it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from outlive.base.errors import LabError, StepFailedError, UnreachableError
from outlive.base.screen import Screen, duration

PATIENCE = 60.0
"""Seconds that an interrupted program has to clean up."""

OUTLIVE = (sys.executable, "-P", "-m", "outlive")
"""This checkout's program; Python looks for nothing in the folder that the user is in."""

REFRESH = 30.0
"""Seconds after which sudo is asked again, so that it doesn't forget the password: it remembers it for 15 minutes by itself, and for 1 at some."""

LOCALE = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
"""What every program runs under: its words are read, and Ansible refuses a locale without UTF-8. Each system has this one; in it a LANGUAGE would still count."""


def as_root(argv: Sequence[str]) -> list[str]:
    """Return `argv` preceded by sudo where this process isn't root; the environment is kept.

    Raises:
        LabError: see `require_root`.
    """
    if os.geteuid() == 0:
        return list(argv)
    require_root()
    # Where it forgot the password it is to fail: a step is in the background, in which its question would stop it for good.
    return ["sudo", "--non-interactive", "--preserve-env", *argv]


def as_user(argv: Sequence[str]) -> list[str]:
    """Return `argv` preceded by what makes root this process's user again, where that isn't root: what it writes is to be the user's."""
    if os.geteuid() == 0:
        return list(argv)
    # sudo may have made them root's, whatever is preserved.
    names = [f"{name}={os.environ[name]}" for name in ("HOME", "USER", "LOGNAME") if name in os.environ]
    return ["setpriv", f"--reuid={os.geteuid()}", f"--regid={os.getegid()}", "--init-groups", "env", *names, *argv]


def require_root(what: str = "run a part of this command as root") -> None:
    """Make sure that sudo asks for no password from here on: it asks now, where it has to, and once.

    Args:
        what: What root is needed for, as the user reads it.

    Raises:
        LabError: there is no sudo, it wants a password and there is no terminal in which to ask, or it refuses.
    """
    global _root
    if _root or os.geteuid() == 0:
        return
    if shutil.which("sudo") is None:
        raise LabError(f"to {what}, sudo is needed, and it isn't there: install it, or run the command as root")
    with _asking:
        if _sudo("--non-interactive", "true"):
            _root = True
        elif _in_foreground():
            # Not among what a command prints for another one to read.
            print(f"To {what}, sudo asks for your password, once.", file=sys.stderr, flush=True)
            answered = _sudo("true", asks=True)
            _root = _sudo("--non-interactive", "true")
            if answered and not _root:
                raise LabError(
                    f"to {what}, sudo is needed, and it forgets the password at once (timestamp_timeout=0 in sudoers, see sudoers(5)): "
                    "run the command as root, or have sudo remember it for some minutes"
                )
        if not _root:
            raise LabError(
                f"to {what}, sudo is needed, and it refused or can't ask for a password here: run `sudo true` in this terminal, then the command again"
            )
        if not _sudo("--reset-timestamp", "--non-interactive", "true"):  # it wants a password, whatever it remembers
            threading.Thread(target=_stay_root, daemon=True).start()


_root = False
_asking = threading.Lock()


def _sudo(*words: str, asks: bool = False) -> bool:
    """Say whether sudo does something; only where it `asks`, it has the terminal."""
    options: dict[str, Any] = {} if asks else {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(("sudo", *words), **options) as process:
        return process.wait() == 0


def _stay_root() -> None:
    """Keep sudo from forgetting: it does after minutes, and would ask in the middle of a step."""
    while True:
        time.sleep(REFRESH)
        _sudo("--non-interactive", "true")


def _in_foreground() -> bool:
    """Say whether this process has a terminal and may read from it: in the background it would be stopped."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment, this process's when None, with the locale in which programs are read."""
    return {**(os.environ if env is None else env), **LOCALE}


def spoken(argv: Sequence[str]) -> str:
    """Return a command line as a user would type it: without what leads to another user, other namespaces or other variables."""
    words = list(argv)
    while words[1:]:
        if words[0] == "nsenter" and "--" in words:
            words = words[words.index("--") + 1 :]
        elif re.match(r"(sudo|setpriv|(.*/)?env|--[a-z-]+(=.*)?|\w+=.*)$", words[0]):
            del words[0]
        else:
            break
    return shlex.join(words)


def missing(program: str) -> str:
    """Return the sentence on a program that isn't there."""
    return f"the program {program} is missing: it has to be on PATH; `outlive doctor` says how to get the tools"


def remove(folder: Path) -> None:
    """Remove a folder with all in it, but no other file system's; what root made there, by root.

    Raises:
        LabError: it can't be removed.
    """
    argv = ["rm", "-rf", "--one-file-system", str(folder)]
    said(argv, timeout=600)
    if folder.exists():
        output(as_root(argv), timeout=600)


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:  # noqa: ANN401 - Popen's own options
    """Start a program for a caller who ends it himself, or means it to stay.

    Raises:
        LabError: it can't be started; the sentence says why.
    """
    try:
        return subprocess.Popen(list(argv), **options)
    except FileNotFoundError as error:
        if error.filename == argv[0]:
            raise LabError(missing(argv[0])) from error
        raise LabError(f"`{spoken(argv)}` did not run: {error}") from error
    except OSError as error:
        raise LabError(f"`{spoken(argv)}` did not run: {error}") from error


@contextmanager
def started(argv: Sequence[str], *, patience: float = 2.0, leads: bool = False, **options: Any) -> Iterator[subprocess.Popen[Any]]:  # noqa: ANN401 - Popen's own options
    """Run a program while entered; it must have been waited for in there. Where the body raises, it and all that it started is ended.

    Args:
        argv: Program and arguments.
        patience: Seconds to clean up in then, see `end`.
        leads: It leads a process group of its own.
        options: Popen's.

    Raises:
        LabError: it can't be started.
    """
    process: subprocess.Popen[Any] | None = None
    try:
        with uninterrupted():
            process = start(argv, **({"process_group": 0} if leads else {}), **options)
        yield process
    except BaseException as error:
        if process is not None:
            by_terminal = isinstance(error, KeyboardInterrupt) and error.args == (signal.SIGINT,)
            end(process, leads=leads, told=by_terminal and not leads, patience=patience)
        raise


def shown(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, patience: float = PATIENCE) -> int:
    """Run a program with this terminal; return its exit status.

    Args:
        argv: Program and arguments.
        cwd: Folder to run in.
        env: Environment; this process's when None.
        patience: Seconds to clean up in after an interruption.

    Raises:
        LabError: it can't be started.
    """
    with started(argv, cwd=cwd, env=environment(env), patience=patience) as process:
        return int(process.wait())


def run_bytes(
    argv: Sequence[str], *, timeout: float = 60, env: Mapping[str, str] | None = None, cwd: Path | None = None, given: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, in C.UTF-8; return its status and what it printed.

    Args:
        argv: Program and arguments.
        timeout: Seconds that it may take.
        env: Environment; this process's when None.
        cwd: Folder to run in.
        given: Its standard input; empty when None.

    Raises:
        UnreachableError: it takes longer.
        LabError: it can't be started.
    """
    pipe = subprocess.PIPE
    stdin = subprocess.DEVNULL if given is None else pipe
    with started(argv, env=environment(env), cwd=cwd, stdin=stdin, stdout=pipe, stderr=pipe) as process:
        try:
            stdout, stderr = process.communicate(given, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(
                f"`{spoken(argv)}` gave no answer within {timeout:.0f} s: run the command again when the host is less busy"
            ) from error
    return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)


def run(
    argv: Sequence[str], *, timeout: float = 60, env: Mapping[str, str] | None = None, cwd: Path | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Do as `run_bytes` does, with text."""
    done = run_bytes(argv, timeout=timeout, env=env, cwd=cwd, given=None if given is None else given.encode())
    text = [data.decode(errors="replace").replace("\r\n", "\n") for data in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *text)


def output(argv: Sequence[str], timeout: float = 60, env: Mapping[str, str] | None = None, *, given: str | None = None) -> str:
    """Return what `argv` prints on standard output, stripped.

    Raises:
        LabError: it can't be started, ends with another status than 0, or takes longer than `timeout` seconds.
    """
    done = run(argv, timeout=timeout, env=env, given=given)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"`{spoken(argv)}` ended with status {done.returncode}: {words[-1] if words else 'no output'}")
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
    tell: Callable[[str], str | None] = lambda _line: None,
    patience: float = PATIENCE,
) -> float:
    """Run `argv` with its output in `log`; show `what`, the elapsed time and the lines that `show` and `tell` pick.

    Args:
        what: The step, as the user reads it.
        argv: Program and arguments.
        log: File for everything it prints; the folder is made.
        env: Environment; this process's when None.
        show: Given a line of output, returns the text to show beside the clock, or None.
        tell: Given a line of output, returns one that stays on the screen, or None.
        patience: Seconds to clean up after an interruption, see `end`.

    Returns:
        Seconds it took.

    Raises:
        StepFailedError: the program ended with another status than 0. The sentence names the log and quotes its last error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    screen = Screen(what)
    with log.open("w", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(argv)}\n")
        file.flush()
        # A group of its own: `end` passes a Ctrl-C on, once, and finds all that the program started.
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        options |= {"text": True, "encoding": "utf-8", "errors": "replace", "env": environment(env)}
        with screen, started(argv, leads=True, patience=patience, **options) as process:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                file.flush()
                if text := show(line.rstrip()):
                    screen.note(text)
                if text := tell(line.rstrip()):
                    screen.line(text)
            status = process.wait()
    seconds = time.monotonic() - began
    if status != 0:
        print(f"{what}: failed after {duration(seconds)}", flush=True)
        raise StepFailedError(f"{what}: `{spoken(argv)}` ended with status {status}; {last_error(log)} (whole log: {log})", status)
    print(f"{what}: {duration(seconds)}", flush=True)
    return seconds


# Signals that came while a program was being started; None outside of that.
_held: list[int] | None = None


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a command: Ctrl-C, `kill`, and a terminal that is closed, unless that is ignored as `nohup` has it."""
    hang_up = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hang_up)


def interrupt_by(number: int, _frame: object = None) -> None:
    """Handle SIGINT, SIGTERM and SIGHUP alike: raise KeyboardInterrupt with the signal's number."""
    if _held is None:
        raise KeyboardInterrupt(number)
    _held.append(number)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold an interrupt back until the body is through: a program half started would be nobody's to end."""
    global _held
    if threading.current_thread() is not threading.main_thread() or _held is not None:
        yield  # only the main thread is interrupted; whoever holds it already raises it
        return
    held = _held = []
    try:
        yield
    finally:
        _held = None
    if held:
        raise KeyboardInterrupt(held[0])


def born(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot (field 22 of /proc/PID/stat): a pid alone may be given anew. None if it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in ("Z", "X") else int(words[19])


def name_of(pid: int) -> str:
    """Return the name of a process's program; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started; of one that ends meanwhile, those that were read."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.scandir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, Path(thread.path, "children").read_text(encoding="ascii").split())
    return found


class Tree:
    """A process and all that it started, as far as somebody looked: what was seen stays in it when its parent ends."""

    def __init__(self, pid: int, *, leads: bool = False) -> None:
        """Take the process; `leads`: it leads a process group of its own, whose members belong to it too."""
        self._pid = pid
        self._leads = leads
        self._seen: dict[int, int] = {}
        self._note(pid)

    def alive(self) -> list[int]:
        """Return the processes of the tree that haven't ended, the first one first."""
        for pid in list(self._seen):
            if born(pid) != self._seen[pid]:
                del self._seen[pid]
        found = list(self._seen)
        for each in found:
            for child in _children(each):
                if self._note(child):
                    found.append(child)
        return found

    def send(self, which: signal.Signals) -> None:
        """Send a signal to each of them and to the group, once; as root to what is root's.

        sudo, which passes on some signals and not others, gets none while there is something else: it ends with what it runs.
        """
        alive = self.alive()
        passing_on = {each for each in alive if name_of(each) == "sudo"}
        spared = passing_on if which != signal.SIGKILL and passing_on != set(alive) else set()
        # What sudo runs without a terminal is in sudo's own group: each of its members is told then, as the whole group would be sudo too.
        as_group = self._leads and self._pid not in spared
        targets = [-self._pid] if as_group else []
        for each in alive:
            with suppress(ProcessLookupError):
                if not as_group or os.getpgid(each) != self._pid:
                    targets.append(each)
        for target in targets:
            try:
                os.kill(target, which)
            except ProcessLookupError:
                continue
            except PermissionError:
                if target not in spared:
                    subprocess.run(as_root(["kill", f"-{int(which)}", "--", str(target)]), capture_output=True, check=False)

    def _note(self, pid: int) -> bool:
        """Note a process; return whether it is new."""
        when = born(pid)
        if when is None or pid in self._seen:
            return False
        self._seen[pid] = when
        return True


def end(process: subprocess.Popen[Any], *, leads: bool = True, told: bool = False, patience: float = PATIENCE) -> None:
    """End a program and all that it started: SIGINT, then SIGTERM, then SIGKILL.

    Args:
        process: The program.
        leads: It leads a process group of its own, so that what it left behind is found too.
        told: The terminal gave it the SIGINT already; a second one would stop Vagrant from cleaning up.
        patience: Seconds to clean up after a signal; what outlives the program gets a tenth of them.
    """
    tree = Tree(process.pid, leads=leads)
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if which != signal.SIGINT or not told:
            tree.send(which)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            left = tree.alive()
            # Reads what it still prints: a program that can't print doesn't end.
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=0.1)
                if not left:
                    return
                time.sleep(0.05)
            if process.poll() is not None:
                until = min(until, time.monotonic() + patience / 10)


def last_error(log: Path) -> str:
    """Return the line of `log` that says best why a program failed: the last one with a word of failure, else the last one."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[1:] if line.strip()]
    if not lines:
        return "it printed nothing"
    telling = [line for line in lines if any(word in line.lower() for word in ("error", "fatal", "failed", "cannot", "can't"))]
    recap = ("play recap", "unreachable=")
    telling = [line for line in telling if not any(word in line.lower() for word in recap)]
    return (telling or lines)[-1][:600]
