"""Make this checkout's lab reachable: whichever command needs its VMs goes through `reach()`."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from outlive.base import architecture
from outlive.base.errors import EXIT_FAIL, FailedError, LabError, StepFailedError
from outlive.base.paths import KUBECONFIG, KUBECTL, LOGS, ROOT, SCENARIOS, STATE, cache, machine_ids
from outlive.base.process import OUTLIVE, Tree, end, logged, missing, require_root, run, spoken, start
from outlive.base.wait import WaitTimeoutError, wait_for
from outlive.host import box, private
from outlive.host.doctor import checklist, hypervisors
from outlive.host.settings import Settings, decide, system_libvirt

HEALING = 1800.0
"""Seconds that an interrupted drill has to heal its fault: a shutdown that has to end first, a boot, and a node that becomes Ready."""


@dataclass(frozen=True)
class Reached:
    """This checkout's lab, reachable: how to run a command that sees its VMs."""

    settings: Settings
    init: private.Init | None

    def argv(self, command: list[str]) -> list[str]:
        """Return the command line that runs `command` where the lab's VMs can be reached."""
        if self.init is None:
            return command
        return private.enter(self.init, command, self.settings.environment())

    def environment(self) -> dict[str, str]:
        """Return the environment to run `argv`'s result under."""
        return {**os.environ, **self.settings.environment()}

    def require_box(self) -> None:
        """Refuse to make machines of a box that isn't there; Vagrant's own words name no cure.

        Raises:
            LabError: the mirror's box is wanted, and it isn't built.
        """
        catalog = _catalog(self.settings)
        if catalog is not None and not machine_ids():
            box.read_catalog(catalog)

    def require_libvirt(self) -> None:
        """Refuse to go on where the system's libvirt doesn't answer this user; Vagrant's own words name no cure.

        Raises:
            LabError: it is wanted, and it doesn't.
        """
        if self.settings.provider == "libvirt" and self.init is None:
            finding = hypervisors.system_libvirt(answers=system_libvirt())
            if finding.verdict == "WRONG":
                raise LabError(finding.sentence)

    def run(self, command: list[str]) -> int:
        """Run `command` with this terminal; return its exit status, a shell's where a signal ended it. Interrupted, it has time to heal what it broke.

        Raises:
            LabError: there is no such program.
        """
        self._look_for(command[0])
        STATE.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(prefix="running-", dir=STATE) as file:
            # All that the command starts holds this lock: nsenter(1) dies of a Ctrl-C at once, and what it has started goes on healing. Not a
            # pipe: sudo closes what it inherits.
            argv = self.argv(["flock", "--shared", "--no-fork", file.name, *command])
            process = start(argv, env=self.environment(), text=True)
            try:
                status = process.wait()
            except KeyboardInterrupt as interrupt:
                if interrupt.args != (signal.SIGINT,):
                    Tree(process.pid).send(signal.SIGINT)
                with suppress(WaitTimeoutError):
                    wait_for("the command", "over", lambda: _is_free(file.name), bool, within=HEALING, every=0.2)
                end(process, leads=False, told=True)
                raise
        return status if status >= 0 else 128 - status

    def output(self, command: list[str], timeout: float = 120) -> str:
        """Return what `command` prints.

        Raises:
            LabError: there is no such program, it fails or takes longer than `timeout` seconds.
        """
        self._look_for(command[0])
        done = run(self.argv(command), timeout=timeout, env=self.environment())
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise LabError(f"`{spoken(command)}` ended with status {done.returncode}: {words[-1] if words else 'no output'}")
        return done.stdout

    def _look_for(self, program: str) -> None:
        """Refuse a program that isn't there: sudo, nsenter and env would each say so in words of their own."""
        if shutil.which(program, path=self.environment()["PATH"]) is None:
            raise LabError(missing(program))

    def step(self, what: str, command: list[str], show: Callable[[str], str | None]) -> float:
        """Run a long step with its output in a log of its name; return the seconds it took.

        Args:
            what: The step, as the user reads it.
            command: Program and arguments.
            show: As in `logged`.
        """
        self._look_for(command[0])
        return logged(what, self.argv(command), log_of(what), env=self.environment(), show=show)

    def judge(self, what: str, command: list[str]) -> float:
        """Run checks as a long step: their moments stay on the screen; interrupted, they have time to heal what they broke.

        Raises:
            FailedError: their verdict is fail.
            LabError: it isn't known.
        """
        self._look_for(command[0])
        argv, env = self.argv(command), self.environment()
        try:
            seconds = logged(what, argv, log_of(what), env=env, show=check_of, tell=moment_of, patience=HEALING)
        except StepFailedError as error:
            if error.status == EXIT_FAIL:
                raise FailedError(str(error)) from error
            raise
        finally:
            print(outcome(log_of(what)), flush=True)
        return seconds


def log_of(what: str) -> Path:
    """Return the log of a step."""
    return LOGS / f"{re.sub(r'[^a-z0-9]+', '-', what.lower()).strip('-')}.log"


def check_of(line: str) -> str | None:
    """Return the check that a line of pytest's output is about, None for other lines."""
    return line if "::" in line or line.startswith(("verify/", "tests/")) else None


def moment_of(line: str) -> str | None:
    """Return a line in which a check tells a moment, or what it waits for, None for other lines."""
    return line if re.match(r" *\d+\.\d s  |drill: |applying the |interrupted: | {12}\S", line) else None


def outcome(log: Path) -> str:
    """Return how pytest ended by its log: a line for each test that failed, with its reason, then the closing line; empty where there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    closing = [line for line in lines if re.search(r"\d+ (passed|failed|error)", line)][-1:]
    return "\n".join([line for line in lines if re.match(r"(FAILED|ERROR) \S+::", line)] + closing)


def reach(settings: Settings | None = None) -> Reached:
    """Make this checkout's lab reachable: start its private libvirt where it has one, stage its box, serve the mirror.

    Args:
        settings: How the lab runs; decided for this host when None.

    Raises:
        LabError: a setting is wrong, or the private libvirt doesn't start.
    """
    settings = settings or decide()
    if not settings.scenarios and not machine_ids():
        shutil.rmtree(SCENARIOS, ignore_errors=True)
    if settings.builds_mirror:
        copy_kubectl()
    if not settings.private:
        return Reached(settings, None)
    mirror = mirror_argv("serve", "--address", "0.0.0.0") if settings.builds_mirror else []
    with private.held():
        fresh = private.current() is None
        init = private.ensure(hide_kvm=settings.driver == "qemu", mirror=mirror)
        lab = Reached(settings, init)
        catalog = _catalog(settings)
        if catalog is not None and catalog.exists():
            # Machines that are there keep the box that they were made from.
            if not machine_ids():
                box.stage(box.read_catalog(catalog), private.pool())
            private.serve_mirror(init)
        if fresh:
            _clear_leftovers(lab)
    return lab


def build_mirror(box: str = "full", *also: str) -> float:
    """Build the mirror, one of its boxes and the named extras, as far as they aren't built; return the seconds it took."""
    extras = [word for name in also for word in ("--also", name)]
    argv = [*OUTLIVE, "mirror", "build", "--box", box, *extras]
    require_root("build the mirror's boxes")
    return logged("mirror", argv, LOGS / "mirror.log", show=Built())


def build_scanner() -> float:
    """Build the scanner of the CIS benchmark, where it isn't built; return the seconds it took."""
    return logged("scanner", [*OUTLIVE, "mirror", "scanner"], log_of("scanner"), show=Built())


class Built:
    """What is being built, of the lines that `outlive mirror build` prints: what began and didn't end, with how far it is, and how many ended."""

    def __init__(self) -> None:
        """Nothing has begun."""
        self._under_way: dict[str, str] = {}
        self._done = 0

    def __call__(self, line: str) -> str | None:
        """Take a line; return what is going on, or None where the line says nothing of it."""
        found = re.match(r"\[ *\d+ s\] (\S+): (.*)", line)
        if not found:
            return None
        name, text = found[1], found[2]
        if "building" in text:
            self._under_way[name] = ""
        elif re.match(r"\d+ of \d+ ", text):
            self._under_way[name] = f" ({text})"
        elif self._under_way.pop(name, None) is not None:
            self._done += 1
        going_on = ", ".join(f"{name}{how_far}" for name, how_far in self._under_way.items())
        return f"{self._done} built{f', building {going_on}' if going_on else ''}"


def mirror_argv(*words: str) -> list[str]:
    """Return the command line of the mirror's command `words`, for a process that has neither this folder nor these variables."""
    given = [f"OUTLIVE_CACHE={cache()}", f"{architecture.SETTING}={architecture.chosen().name}"]
    return ["/usr/bin/env", *given, str(ROOT / ".venv/bin/python"), "-m", "outlive", "mirror", *words]


def copy_kubectl() -> None:
    """Copy the mirror's kubectl to where the role control_plane will fetch the cluster's: it is the same file, which takes long to come from an emulated VM.

    It is the one for this host's processor, whatever the machines' is. Only before there is a cluster: which version that has, the mirror doesn't know.
    """
    built = cache() / architecture.of_host().store / "programs-kubernetes/kubectl"
    if built.exists() and not KUBECTL.exists() and not KUBECONFIG.exists():
        KUBECTL.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="copy-", dir=KUBECTL.parent) as folder:
            Path(shutil.copy(built, folder)).replace(KUBECTL)  # complete or not there


def _is_free(lock: str) -> bool:
    """Say whether nobody holds a lock."""
    with Path(lock).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _catalog(settings: Settings) -> Path | None:
    """Return the box catalogue of this host's mirror, None where the box comes from elsewhere."""
    if not settings.builds_mirror:
        return None
    named = checklist.load_inventory(settings).setting("lab_box_catalog")
    return cache() / named if named else None


def _clear_leftovers(lab: Reached) -> None:
    """Remove machines that a killed `vagrant up` left half made: Vagrant doesn't know them and stumbles over their names."""
    known = {path.read_text(encoding="utf-8").strip() for path in ROOT.glob(".vagrant/machines/*/libvirt/id")}
    for line in lab.output(["virsh", "list", "--all", "--uuid", "--name"]).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] not in known:
            print(f"clearing {words[1]}, which an interrupted `vagrant up` left half made")
            lab.run(["virsh", "--quiet", "undefine", words[0], "--remove-all-storage", "--snapshots-metadata"])
