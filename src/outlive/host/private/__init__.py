"""A libvirt of the lab's own, in its own network, mount and process namespaces.

For hosts without a system libvirt, or whose networks must not be touched. The lab's networks exist only inside, nothing
leaves it, two checkouts don't meet, and when their init (process 1 inside, `src/outlive/host/private/init.py`) ends, every process of the
lab ends with it. Every start is noted in `/run/outlive/`, so that a lab whose checkout is gone can be found and cleared.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from outlive.base.errors import LabError
from outlive.base.locks import exclusive
from outlive.base.paths import ROOT, STATE
from outlive.base.process import as_root, as_user, born, environment, output, remove, require_root, run, said, started, uninterrupted

FOLDER = STATE / "private"
PROGRAM = Path(__file__).with_name("init.py")
REGISTRY = Path("/run/outlive")
MIRROR_PORTS = (8480, 8481)
"""Where the mirror's server answers inside: packages, images."""


@dataclass(frozen=True)
class Init:
    """A running private libvirt: its process 1 as the host numbers it."""

    pid: int
    born: int
    """The process's start time in clock ticks since boot: a pid alone may have been given anew."""
    root: str
    """The checkout that it belongs to."""


def in_shell() -> bool:
    """Say whether this process runs where the checkout's lab can be reached, as in `outlive shell`.

    Raises:
        LabError: it is another checkout's lab that can be reached here.
    """
    whose = os.environ.get("OUTLIVE_SHELL")
    if whose and whose != str(ROOT):
        raise LabError(
            f"OUTLIVE_SHELL is '{whose}': this is the shell of the lab in there, and this program is that of {ROOT}: type `exit` first"
        )
    return bool(whose)


def inside(folder: Path = FOLDER) -> bool:
    """Say whether this process runs within the checkout's private libvirt, as in `outlive shell`: there the usual commands work as they are."""
    return in_shell() and (folder / "ready").exists()


def current(folder: Path = FOLDER) -> Init | None:
    """Return the init of this checkout's private libvirt, or None if none is alive."""
    return _alive(_read(folder / "init.json"))


def ended(folder: Path = FOLDER) -> Init | None:
    """Return the init that this checkout noted and that is alive no more, None if there is no such note."""
    noted = _read(folder / "init.json")
    return noted if _alive(noted) is None else None


def ensure(*, hide_kvm: bool, mirror: list[str], folder: Path = FOLDER) -> Init:
    """Return the init of this checkout's private libvirt; start one if none is alive. VMs of a dead one are found again, switched off.

    Its caller holds it, see `held`.

    Args:
        hide_kvm: Show libvirt no /dev/kvm: for hosts on which it can't be used.
        mirror: The mirror server's command line; empty for none.
        folder: State of the private libvirt.

    Raises:
        LabError: libvirtd doesn't come up; the sentence quotes the last line of its log.
    """
    require_root("start the lab's own libvirt and reach its machines")
    return current(folder) or _started(folder, hide_kvm=hide_kvm, mirror=mirror)


@contextmanager
def held() -> Iterator[None]:
    """Hold the private libvirt while it is started and given its box, or ended: two commands at once start one, and none while it is removed."""
    with exclusive(lock()):
        yield


def lock() -> Path:
    """Return the file of that lock."""
    return FOLDER.with_name(f"{FOLDER.name}.lock")


def _started(folder: Path, *, hide_kvm: bool, mirror: list[str]) -> Init:
    clear_orphans()
    folder.mkdir(parents=True, exist_ok=True)
    # libvirt's socket in there answers all of the user's group, and whoever it answers can become root by it.
    folder.chmod(0o700)
    (folder / "ready").unlink(missing_ok=True)
    log = folder / "init.log"
    # A session of its own: a Ctrl-C in the terminal, and its end, are not meant for the lab's VMs. Not sudo's: it knows by the session that it has
    # asked for the password. sudo ends as soon as this is started, and its own terminal with it, which hangs up.
    argv = ["sh", "-c", 'nohup setsid "$@" >&2 & echo $!', "sh"]
    argv += ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    argv += ["/usr/bin/python3", str(PROGRAM), "--state", str(folder), "--group", str(os.getegid())]
    argv += (["--hide-kvm"] if hide_kvm else []) + ["--", *(as_user(mirror) if mirror else [])]
    outer = 0
    try:
        with uninterrupted(), log.open("wb") as file:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": file, "cwd": "/"}
            with started(as_root(argv), env=environment(), text=True, **options) as process:
                printed, _ = process.communicate()
            outer = int(printed) if printed.strip().isdigit() else 0
        _await_ready(outer, folder / "ready", log)
        init = _found(outer)
    except BaseException:
        # It isn't noted yet: nobody else could end it.
        _abandon(outer)
        raise
    (folder / "init.json").write_text(json.dumps(asdict(init)), encoding="utf-8")
    _register(init)
    return init


def _await_ready(outer: int, ready: Path, log: Path, seconds: float = 90) -> None:
    """Wait until the libvirt is ready that the process `outer` starts; 0 where it wasn't started at all."""
    deadline = time.monotonic() + seconds
    while not ready.exists():
        if outer == 0 or born(outer) is None or time.monotonic() > deadline:
            words = log.read_text(errors="replace").strip().splitlines()
            raise LabError(
                f"the private libvirt did not start: {words[-1] if words else 'no word from it'} (log: {log}); it needs root, unshare(1) and libvirtd"
            )
        time.sleep(0.1)


def _abandon(outer: int) -> None:
    """End an init that is being started, with all that runs in its namespaces."""
    if outer and born(outer) is not None:
        # unshare takes its child with it (--kill-child), and the kernel all in the namespaces with that one; it heeds no other signal.
        said(as_root(["kill", "-KILL", str(outer)]))


def enter(init: Init, argv: list[str], variables: dict[str, str]) -> list[str]:
    """Return the command line that runs `argv` inside the init's namespaces, as this user, in this folder, under `variables`."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    inner = as_user(["env", f"--chdir={Path.cwd()}", *settings, *argv])
    # With its root folder, which in a chroot isn't that of the namespace.
    return as_root(["nsenter", "--target", str(init.pid), "--mount", "--net", "--pid", "--root", "--", *inner])


def serve_mirror(init: Init, ports: Sequence[int] = MIRROR_PORTS, seconds: float = 60) -> None:
    """Have the init start the mirror's server, and wait until it answers on its ports.

    Raises:
        LabError: it doesn't.
    """
    _signal(init, signal.SIGHUP)
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
    done = run(enter(init, argv, {}), timeout=2 * seconds)
    if done.returncode != 0:
        raise LabError(
            f"the mirror's server did not answer on {done.stderr.strip()} within {seconds:.0f} s (log: {FOLDER / 'mirror.log'}): run `outlive mirror build`, then the command again"
        )


def stop(folder: Path = FOLDER) -> None:
    """End this checkout's private libvirt and with it every process of its lab, and remove its state; its caller holds it."""
    init = current(folder)
    if init is not None:
        require_root("end the lab's own libvirt")
        _end(init)
    remove(folder)
    entry = REGISTRY / f"{_name(str(ROOT))}.json"
    if entry.exists() and folder == FOLDER:
        output(as_root(["rm", "-f", str(entry)]))


def orphans() -> list[Init]:
    """Return the inits on this machine whose checkout is gone."""
    found = [_alive(_read(path)) for path in sorted(REGISTRY.glob("*.json"))]
    return [init for init in found if init is not None and not _is_there(Path(init.root, "Vagrantfile"))]


def clear_orphans(say: Callable[[str], None] = print) -> None:
    """End the labs whose checkout is gone, and forget those that are dead."""
    for init in orphans():
        say(f"clearing the lab left over from {init.root}, whose checkout is gone (process {init.pid})")
        _end(init)
    for path in REGISTRY.glob("*.json"):
        if _alive(_read(path)) is None:
            said(as_root(["rm", "-f", str(path)]))


def _end(init: Init, seconds: float = 20) -> None:
    """End an init: first asked, then made to."""
    for which in (signal.SIGTERM, signal.SIGKILL):
        _signal(init, which)
        deadline = time.monotonic() + seconds
        while _alive(init) is not None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        else:
            return
    raise LabError(f"process {init.pid}, which is the init of the lab of {init.root}, does not end: look at it with `ps {init.pid}`")


def _signal(init: Init, which: signal.Signals) -> None:
    if _alive(init) is not None:
        said(as_root(["kill", f"-{which.name.removeprefix('SIG')}", str(init.pid)]))


def _found(outer: int) -> Init:
    """Return process 1 of the namespaces: the descendant of `outer` (unshare) that runs `init.py`."""
    pid = outer
    while True:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if command[0].endswith(b"python3"):
            return Init(pid, born(pid) or 0, str(ROOT))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        if not children:
            raise LabError(f"process {outer} has no init below it: run the command again")
        pid = int(children[0])


def _read(path: Path) -> Init | None:
    try:
        return Init(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _alive(init: Init | None) -> Init | None:
    return init if init is not None and born(init.pid) == init.born else None


def _is_there(path: Path) -> bool:
    """Say whether there is a file; one in a folder that this user may not look into, another user's home say, counts as there."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _name(root: str) -> str:
    return root.strip("/").replace("/", "-") or "root"


def _register(init: Init) -> None:
    output(as_root(["mkdir", "-p", str(REGISTRY)]))
    target = str(REGISTRY / f"{_name(init.root)}.json")
    output(as_root(["tee", target]), given=json.dumps(asdict(init)))


def pool() -> Path:
    """Return the folder of the private libvirt's storage pool, as the host sees it."""
    return FOLDER / "lib/images"


def forget_vms() -> None:
    """Remove what vagrant knows of VMs that are no more."""
    remove(ROOT / ".vagrant")
