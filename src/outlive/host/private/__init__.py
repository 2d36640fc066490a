"""A libvirt of the lab's own, in its own network, mount and process namespaces.

For hosts without a system libvirt, or whose networks must not be touched. The lab's networks exist only inside, nothing
leaves it, two checkouts don't meet, and when the holder (process 1 inside, `src/outlive/host/private/init.py`) ends, every process of the
lab ends with it. Every start is noted in `/run/outlive/`, so that a lab whose checkout is gone can be found and cleared.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.paths import ROOT, STATE
from outlive.base.process import as_root, remove

FOLDER = STATE / "private"
REGISTRY = Path("/run/outlive")
MIRROR_PORTS = (8480, 8481)
"""Where the mirror's server answers inside: packages, images."""


@dataclass(frozen=True)
class Holder:
    """A running private libvirt: its process 1 as the host numbers it."""

    pid: int
    born: int
    """The process's start time in clock ticks since boot: a pid alone may have been given anew."""
    root: str
    """The checkout that it belongs to."""


def inside(folder: Path = FOLDER) -> bool:
    """Say whether this process runs within the checkout's private libvirt, as in `outlive shell`: there the usual commands work as they are."""
    return bool(os.environ.get("OUTLIVE_SHELL")) and (folder / "ready").exists()


def current(folder: Path = FOLDER) -> Holder | None:
    """Return this checkout's holder, or None if none is alive."""
    return _alive(_read(folder / "holder.json"))


def ended(folder: Path = FOLDER) -> Holder | None:
    """Return the holder that this checkout noted and that is alive no more, None if there is no such note."""
    noted = _read(folder / "holder.json")
    return noted if _alive(noted) is None else None


def ensure(*, hide_kvm: bool, mirror: list[str], folder: Path = FOLDER) -> Holder:
    """Return this checkout's holder; start one if none is alive. VMs of a dead one are found again, switched off.

    Args:
        hide_kvm: Show libvirt no /dev/kvm: for hosts on which it can't be used.
        mirror: The mirror server's command line; empty for none.
        folder: State of the private libvirt.

    Raises:
        LabError: libvirtd doesn't come up; the sentence quotes the last line of its log.
    """
    holder = current(folder)
    if holder is not None:
        return holder
    clear_orphans()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ready").unlink(missing_ok=True)
    log = folder / "holder.log"
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    argv += ["/usr/bin/python3", str(Path(__file__).with_name("init.py")), "--state", str(folder)]
    argv += (["--hide-kvm"] if hide_kvm else []) + ["--", *mirror]
    with log.open("wb") as file:
        # A session of its own: a Ctrl-C in the terminal is not meant for the lab's VMs.
        outer = subprocess.Popen(as_root(argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/")
    try:
        _await_ready(outer, folder / "ready", log)
        holder = _found(outer.pid)
    except BaseException:
        # It isn't noted yet: nobody else could end it.
        _abandon(outer)
        raise
    (folder / "holder.json").write_text(json.dumps(asdict(holder)), encoding="utf-8")
    _register(holder)
    return holder


def _await_ready(outer: subprocess.Popen[bytes], ready: Path, log: Path, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not ready.exists():
        if outer.poll() is not None or time.monotonic() > deadline:
            words = log.read_text(errors="replace").strip().splitlines()
            raise LabError(
                f"the private libvirt did not start: {words[-1] if words else 'no word from it'} (log: {log}); it needs root, unshare(1) and libvirtd"
            )
        time.sleep(0.1)


def _abandon(outer: subprocess.Popen[bytes]) -> None:
    """End a holder that is being started, with all that runs in its namespaces."""
    with suppress(LabError, OSError):
        _end(_found(outer.pid))
    if outer.poll() is None:
        # unshare takes its child with it (--kill-child); it heeds no other signal.
        subprocess.run(as_root(["kill", "-KILL", str(outer.pid)]), check=False, capture_output=True)
    outer.wait(timeout=60)


def enter(holder: Holder, argv: list[str], variables: dict[str, str]) -> list[str]:
    """Return the command line that runs `argv` inside the holder's namespaces, in the checkout, under `variables`."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    return as_root(
        ["nsenter", "--target", str(holder.pid), "--mount", "--net", "--pid", "--", "env", f"--chdir={Path.cwd()}", *settings, *argv]
    )


def serve_mirror(holder: Holder, ports: Sequence[int] = MIRROR_PORTS, seconds: float = 60) -> None:
    """Have the holder start the mirror's server, and wait until it answers on its ports.

    Raises:
        LabError: it doesn't.
    """
    _signal(holder, signal.SIGHUP)
    script = (
        "import socket, sys, time\n"
        "end = time.monotonic() + float(sys.argv[1])\n"
        "for port in map(int, sys.argv[2:]):\n"
        "    while True:\n"
        "        try:\n"
        "            socket.create_connection(('127.0.0.1', port), 5).close(); break\n"
        "        except OSError:\n"
        "            if time.monotonic() > end: sys.exit(f'port {port}')\n"
        "            time.sleep(0.1)\n"
    )
    argv = ["/usr/bin/python3", "-c", script, str(seconds), *(str(port) for port in ports)]
    done = subprocess.run(enter(holder, argv, {}), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(
            f"the mirror's server did not answer on {done.stderr.strip()} within {seconds:.0f} s (log: {FOLDER / 'mirror.log'}): run `outlive mirror build`, then the command again"
        )


def stop(folder: Path = FOLDER) -> None:
    """End this checkout's holder and with it every process of its lab, and remove its state."""
    holder = current(folder)
    if holder is not None:
        _end(holder)
    remove(folder)
    entry = REGISTRY / f"{_name(str(ROOT))}.json"
    if entry.exists() and folder == FOLDER:
        subprocess.run(as_root(["rm", "-f", str(entry)]), check=True)


def orphans() -> list[Holder]:
    """Return the holders on this machine whose checkout is gone."""
    found = [_alive(_read(path)) for path in sorted(REGISTRY.glob("*.json"))]
    return [holder for holder in found if holder is not None and not _is_there(Path(holder.root, "Vagrantfile"))]


def clear_orphans(say: Callable[[str], None] = print) -> None:
    """End the labs whose checkout is gone, and forget those that are dead."""
    for holder in orphans():
        say(f"clearing the lab left over from {holder.root}, whose checkout is gone (process {holder.pid})")
        _end(holder)
    for path in REGISTRY.glob("*.json"):
        if _alive(_read(path)) is None:
            subprocess.run(as_root(["rm", "-f", str(path)]), check=False)


def _end(holder: Holder, seconds: float = 20) -> None:
    """End a holder: first asked, then made to."""
    for which in (signal.SIGTERM, signal.SIGKILL):
        _signal(holder, which)
        deadline = time.monotonic() + seconds
        while _alive(holder) is not None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        else:
            return
    raise LabError(f"process {holder.pid}, which holds the lab of {holder.root}, does not end: look at it with `ps {holder.pid}`")


def _signal(holder: Holder, which: signal.Signals) -> None:
    if _alive(holder) is not None:
        subprocess.run(as_root(["kill", f"-{which.name.removeprefix('SIG')}", str(holder.pid)]), check=False, capture_output=True)


def _found(outer: int) -> Holder:
    """Return process 1 of the namespaces: the descendant of `outer` (sudo, unshare) that runs the holder."""
    pid = outer
    while True:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if command[0].endswith(b"python3"):
            return Holder(pid, _born(pid) or 0, str(ROOT))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        if not children:
            raise LabError(f"process {outer} has no holder below it: run the command again")
        pid = int(children[0])


def _born(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), None if there is none."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in ("Z", "X") else int(words[19])


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _alive(holder: Holder | None) -> Holder | None:
    return holder if holder is not None and _born(holder.pid) == holder.born else None


def _is_there(path: Path) -> bool:
    """Say whether there is a file; one in a folder that this user may not look into, another user's home say, counts as there."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _name(root: str) -> str:
    return root.strip("/").replace("/", "-") or "root"


def _register(holder: Holder) -> None:
    subprocess.run(as_root(["mkdir", "-p", str(REGISTRY)]), check=True)
    target = str(REGISTRY / f"{_name(holder.root)}.json")
    subprocess.run(as_root(["tee", target]), input=json.dumps(asdict(holder)).encode(), stdout=subprocess.DEVNULL, check=True)


def pool() -> Path:
    """Return the folder of the private libvirt's storage pool, as the host sees it."""
    return FOLDER / "lib/images"


def forget_vms() -> None:
    """Remove what vagrant knows of VMs that are no more."""
    remove(ROOT / ".vagrant")
