"""Make this checkout's lab reachable: whichever command needs its VMs goes through `reach()`."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.paths import BIN, LOGS, ROOT, SCENARIOS, cache, machine_ids
from outlive.base.process import PATIENCE, end, logged
from outlive.host import box, private
from outlive.host.doctor import checklist
from outlive.host.settings import Settings, decide

HEALING = 1800.0
"""Seconds that an interrupted drill has to heal its fault: a shutdown that has to end first, a boot, and a node that becomes Ready."""


@dataclass(frozen=True)
class Lab:
    """This checkout's lab, reachable: how to run a command that sees its VMs."""

    settings: Settings
    holder: private.Holder | None

    def argv(self, command: list[str]) -> list[str]:
        """Return the command line that runs `command` where the lab's VMs can be reached."""
        if self.holder is None:
            return command
        return private.enter(self.holder, command, self.settings.environment())

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

    def run(self, command: list[str]) -> int:
        """Run `command` with this terminal; return its exit status. Interrupted, it has time to heal what it broke."""
        # All that is started holds one end: nsenter(1) dies of a Ctrl-C at once, and what it has started goes on healing.
        over, held = os.pipe()
        try:
            process = subprocess.Popen(self.argv(command), env=self.environment(), text=True, pass_fds=(held,))
            os.close(held)
            try:
                return process.wait()
            except KeyboardInterrupt as interrupt:
                end(process, leads=False, told=interrupt.args == (signal.SIGINT,), patience=HEALING)
                select.select([over], [], [], HEALING)
                raise
        finally:
            os.close(over)

    def output(self, command: list[str], timeout: float = 120) -> str:
        """Return what `command` prints.

        Raises:
            LabError: it fails or takes longer than `timeout` seconds.
        """
        try:
            done = subprocess.run(
                self.argv(command),
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=timeout,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"`{' '.join(command)}` gave no answer within {timeout:.0f} s: run the command again when the host is less busy"
            ) from error
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise LabError(f"`{' '.join(command)}` ended with status {done.returncode}: {words[-1] if words else 'no output'}")
        return done.stdout

    def step(self, what: str, command: list[str], show: Callable[[str], str | None], *, heals: bool = False) -> float:
        """Run a long step with its output in a log of its name; return the seconds it took.

        Args:
            what: The step, as the user reads it.
            command: Program and arguments.
            show: As in `logged`.
            heals: It breaks machines on purpose: interrupted, it has time to heal them.
        """
        log = LOGS / f"{what.replace(' ', '-')}.log"
        return logged(what, self.argv(command), log, env=self.environment(), show=show, patience=HEALING if heals else PATIENCE)


def reach(settings: Settings | None = None) -> Lab:
    """Make this checkout's lab reachable: start its private libvirt where it has one, stage its box, serve the mirror.

    Args:
        settings: How the lab runs; decided for this host when None.

    Raises:
        LabError: a setting is wrong, or the private libvirt doesn't start.
    """
    settings = settings or decide()
    if not settings.bare and not machine_ids():
        shutil.rmtree(SCENARIOS, ignore_errors=True)
    if not settings.private:
        return Lab(settings, None)
    mirror = mirror_argv("serve", "--address", "0.0.0.0") if settings.builds_mirror else []
    fresh = private.current() is None
    holder = private.ensure(hide_kvm=settings.driver == "qemu", mirror=mirror)
    lab = Lab(settings, holder)
    link_kubectl()
    catalog = _catalog(settings)
    if catalog is not None and catalog.exists():
        # Machines that are there keep the box that they were made from.
        if not machine_ids():
            box.stage(box.read_catalog(catalog), private.pool())
        private.serve_mirror(holder)
    if fresh:
        _clear_leftovers(lab)
    return lab


def build_mirror(box: str = "full", *also: str) -> float:
    """Build the mirror, one of its boxes and the named extras, as far as they aren't built; return the seconds it took."""
    extras = [word for name in also for word in ("--also", name)]
    return logged(
        "mirror", [sys.executable, "-m", "outlive", "mirror", "build", "--box", box, *extras], LOGS / "mirror.log", show=lambda line: line
    )


def mirror_argv(*words: str) -> list[str]:
    """Return the command line of the mirror's command `words`, for a process that has neither this folder nor these variables."""
    return ["/usr/bin/env", f"OUTLIVE_CACHE={cache()}", str(ROOT / ".venv/bin/python"), "-m", "outlive", "mirror", *words]


def link_kubectl() -> None:
    """Give the lab's shell the kubectl of the cluster's own version, where the mirror has built one."""
    built = cache() / "store/programs-kubernetes/kubectl"
    link = BIN / "kubectl"
    if built.exists() and not link.exists():
        BIN.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(built)


def _catalog(settings: Settings) -> Path | None:
    """Return the box catalogue of this host's mirror, None where the box comes from elsewhere."""
    if not settings.builds_mirror:
        return None
    named = checklist.load_inventory(settings).setting("lab_box_catalog")
    return cache() / named if named else None


def _clear_leftovers(lab: Lab) -> None:
    """Remove machines that a killed `vagrant up` left half made: Vagrant doesn't know them and stumbles over their names."""
    known = {path.read_text(encoding="utf-8").strip() for path in ROOT.glob(".vagrant/machines/*/libvirt/id")}
    for line in lab.output(["virsh", "list", "--all", "--uuid", "--name"]).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] not in known:
            print(f"clearing {words[1]}, which an interrupted `vagrant up` left half made")
            lab.run(["virsh", "--quiet", "undefine", words[0], "--remove-all-storage", "--snapshots-metadata"])
