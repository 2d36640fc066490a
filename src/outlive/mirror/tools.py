"""Run the tools that the mirror is built with; their output goes to a log file."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from outlive.base.errors import LabError

# Which Debian packages bring a tool that may be missing.
PACKAGES_OF = {
    "apt-ftparchive": "apt-utils",
    "apt-get": "apt",
    "debugfs": "e2fsprogs",
    "dpkg-deb": "dpkg-dev",
    "docker-registry": "docker-registry",
    "gcc": "gcc libc6-dev",
    "go": "golang",
    "gpg": "gnupg",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "nginx": "nginx",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "setcap": "libcap2-bin",
    "skopeo": "skopeo",
    "umoci": "umoci",
    "unshare": "util-linux",
    "zstd": "zstd",
}


# What the commands run as root are told by their environment.
_PRESERVED = "DEBIAN_FRONTEND,E2FSPROGS_FAKE_TIME,LC_ALL,SOURCE_DATE_EPOCH"


def require_tools(names: Sequence[str]) -> None:
    """Raise LabError naming the tools among `names` that this host lacks, and their packages."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(PACKAGES_OF.get(name, name) for name in missing)
        raise LabError(
            f"this host lacks {', '.join(missing)}, which the mirror needs: install what is missing "
            f"(on Debian: sudo apt-get install {packages})"
        )


_running: set[subprocess.Popen[bytes]] = set()
_ending = threading.Event()
# mmdebstrap takes its tree of files away before it ends.
_GRACE_SECONDS = 20.0


def end_all() -> None:
    """End every command that `run` is running in any thread, and every later one as soon as it runs, but for those that clean up."""
    _ending.set()
    _end(list(_running))


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End commands by SIGTERM; kill those that outlive it, as util-linux' `unshare --fork` does, which blocks it."""
    for process in processes:
        if process.poll() is None:
            _signal(process.pid, signal.SIGTERM)
    last = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            # All that is below it too: sudo can't pass a SIGKILL on.
            for pid in _tree(process.pid):
                _signal(pid, signal.SIGKILL)


def _tree(pid: int) -> list[int]:
    """Give a process and its descendants."""
    tree = [pid]
    for each in tree:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                tree += map(int, children.read_text().split())
    return tree


def _signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, as root where it's root's."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        subprocess.run(as_root(["kill", f"-{number:d}", str(pid)]), capture_output=True, check=False)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End every command on SIGINT and SIGTERM, and raise KeyboardInterrupt in the main thread.

    The commands are ended by a thread of its own. The main thread runs the signal's handler, but it waits for the
    threads that build: one that got its signal in the last moment before it waits goes on waiting, until they end.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def end() -> None:
        if os.read(told, 1):
            end_all()

    # Also where this process was started to ignore them, as a shell does with a job in the background.
    handlers = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    ender = threading.Thread(target=end)
    ender.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(tell)
        ender.join()
        os.close(told)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def as_root(command: Sequence[str]) -> list[str]:
    """Put sudo before a command that needs root, where this process isn't root."""
    return list(command) if os.geteuid() == 0 else ["sudo", f"--preserve-env={_PRESERVED}", *command]


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
        process = subprocess.Popen(words, cwd=cwd, env={**os.environ, **(env or {})}, stdin=source, stdout=output, stderr=output)
        try:
            if not cleanup:
                _running.add(process)
                if _ending.is_set():  # it may have been too late for `end_all` to see this one
                    _end([process])
            status = process.wait()
        except KeyboardInterrupt:
            # The caller goes on to clean up: the command, which `end_all` ends, has to be gone by then.
            process.wait()
            raise
        finally:
            _running.discard(process)
    if status != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise LabError(
            f"{words[0]} failed with status {status} ({lines[-1].strip()}): read {log}, mend what it says and run the command again"
        )


def capture(command: Sequence[str | Path]) -> str:
    """Give what a command prints; raise LabError if it fails."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise LabError(f"{' '.join(words)} failed with status {result.returncode}: {last}")
    return result.stdout
