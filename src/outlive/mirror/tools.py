"""Run the tools that the mirror is built with; their output goes to a log file."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from outlive.base.architecture import Architecture
from outlive.base.errors import LabError
from outlive.base.process import as_root as as_root
from outlive.base.process import end, environment, start, uninterrupted
from outlive.base.process import output as printed


def require_tools(names: Sequence[str]) -> None:
    """Raise LabError naming the tools among `names` that this host lacks."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise LabError(
            f"this host lacks {', '.join(missing)}, which the mirror needs: `OUTLIVE_SOURCES=mirror make setup` installs the Debian packages that src/outlive/mirror/host-packages*.txt list"
        )


def compiler(architecture: Architecture) -> str:
    """Give the name of the C compiler whose programs run on `architecture`: gcc, or Debian's cross compiler."""
    return "gcc" if architecture.native else f"{architecture.machine}-linux-gnu-gcc"


_running: set[subprocess.Popen[str]] = set()
_ending = threading.Event()
_known = threading.Lock()
"""Held where a command is noted and where all are ended: each is ended by exactly one of the two, as a second SIGINT would cut its cleaning up short."""
# mmdebstrap takes its tree of files away before it ends.
_GRACE_SECONDS = 20.0


def end_all() -> None:
    """End every command that `run` is running in any thread, and every later one as soon as it runs, but for those that clean up."""
    with _known:
        _ending.set()
        running = list(_running)
    for process in running:
        end(process, leads=False, patience=_GRACE_SECONDS)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End every command by the signal that interrupts the main thread (`outlive.base.program`).

    The commands are ended by a thread of its own. The main thread runs the signal's handler, but it waits for the
    threads that build: one that got its signal in the last moment before it waits goes on waiting, until they end.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def heed() -> None:
        if os.read(told, 1):
            end_all()

    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    ender = threading.Thread(target=heed)
    ender.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(tell)
        ender.join()
        os.close(told)


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Path = Path(os.devnull),
    cleanup: bool = False,
) -> None:
    """Run a command, its output appended to `log`; raise LabError if it fails.

    `env` is added to this process's environment; `stdin` is the file that the command reads. A `cleanup` takes away what
    others left, after an interrupt too: `end_all` doesn't end it.
    """
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, stdin.open("rb") as source:
        output.write(f"+ {' '.join(words)}\n".encode())
        output.flush()
        process: subprocess.Popen[str] | None = None
        try:
            with uninterrupted():
                # What the caller says of the locale holds: it is that of the box in which the command runs.
                variables = {**environment(), **(env or {})}
                process = start(words, cwd=cwd, env=variables, stdin=source, stdout=output, stderr=output, text=True)
                if not cleanup:
                    with _known:
                        _running.add(process)
                        late = _ending.is_set()
                    if late:  # `end_all` didn't see this one
                        end(process, leads=False, patience=_GRACE_SECONDS)
            status = process.wait()
        except KeyboardInterrupt:
            # The caller goes on to clean up: the command, which `end_all` ends, has to be gone by then.
            if process is not None:
                process.wait()
            raise
        finally:
            if process is not None:
                _running.discard(process)
    if status != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise LabError(
            f"{words[0]} failed with status {status} ({lines[-1].strip()}): read {log}, mend what it says and run the command again"
        )


def capture(command: Sequence[str | Path]) -> str:
    """Give what a command prints, stripped; raise LabError if it fails."""
    return printed([str(word) for word in command], timeout=600)
