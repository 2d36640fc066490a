"""The machines under the nodes: is a VM off, switch it on, cut its power.

The same for each provider: Vagrant keeps the provider's own id of a machine in its folder, that id is on the command line of
the VM's process, and the provider's tool takes it.
"""

from __future__ import annotations

import math
import os
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.process import run
from outlive.base.wait import wait_for

OFF_WITHIN = 120.0
"""Seconds from an order to a guest to be off, whatever hangs in it: roles/node_base ends a shutdown after ``node_base_shutdown_timeout``, 100 s; an
emulated host under load adds its own."""
TOOL_SECONDS = 120.0
"""Seconds that a hypervisor's tool may take: VirtualBox starts a VM in tens of them on a busy host."""
LOOK_SECONDS = 10.0
"""Seconds that a tool may take to say what it knows; who looks each second can't wait for longer."""


class State(Enum):
    """Whether something may still write from a VM's memory."""

    ON = "on"
    """Its process is there; whether the guest does anything is another question."""
    OFF = "off"
    """No process, no memory kept: what ran in it can't write any more."""
    SAVED = "saved"
    """No process, but its memory is kept: started or restored, it goes on where it was. It isn't off."""


@dataclass(frozen=True)
class Power:
    """A VM's power; ``age`` is the seconds since its process started."""

    state: State
    process: int | None = None
    age: float = math.inf


LIBVIRT_STATES = {
    "shut off (shutdown)": State.OFF,
    "shut off (destroyed)": State.OFF,
    "shut off (crashed)": State.OFF,  # its process ended without a word: killed, say
    "shut off (daemon)": State.OFF,  # libvirt lost its monitor and killed it
    "shut off (saved)": State.SAVED,  # also by `virsh save`, into a file that libvirt doesn't know any more
}
"""What ``virsh domstate --reason`` says, where it is clear what became of the memory.

Not so: ``failed``, as a restore that fails leaves the saved file; ``from snapshot``, said of a VM that was saved before too; ``migrated``,
where the memory lives on elsewhere; ``unknown``, as of all VMs once libvirt was restarted.
"""
LIBVIRT_PAUSES = {f"paused ({reason})" for reason in ("user", "I/O error", "watchdog", "crashed")}
"""What it says of a VM whose processors stand until somebody lets them go on; while its memory is saved or copied, they stand for a moment only."""
VIRTUALBOX_STATES = {"poweroff": State.OFF, "aborted": State.OFF, "saved": State.SAVED, "aborted-saved": State.SAVED}
"""What ``VMState`` says, likewise."""


class Machine(ABC):
    """A VM that Vagrant made; ``name`` is its name in the inventory, ``identity`` the provider's id."""

    provider: str
    process_option: str
    """The option of the VM's process that the provider's id follows."""

    def __init__(self, name: str, identity: str) -> None:
        """Take the inventory's name and the provider's id of the machine."""
        self.name = name
        self.identity = identity

    @abstractmethod
    def start(self) -> None:
        """Switch the power on; returns as soon as the process runs."""

    @abstractmethod
    def cut(self) -> None:
        """Pull the plug: the process ends at once, the guest isn't asked."""

    @abstractmethod
    def suspend(self) -> None:
        """Stop the processors; the memory stays, and nobody tells the guest."""

    @abstractmethod
    def resume(self) -> None:
        """Let the processors go on."""

    @abstractmethod
    def paused(self) -> bool:
        """Say whether the processors stand, for as long as nobody lets them go on."""

    @abstractmethod
    def said(self) -> tuple[str, State | None]:
        """Return what the hypervisor says of the VM, in its own word and as the state that this proves where it has no process."""

    @abstractmethod
    def discard(self) -> None:
        """Drop the memory of a VM that is saved, so that it is off.

        Raises:
            LabError: the hypervisor doesn't have it.
        """

    def process(self) -> int | None:
        """Return the id of the VM's process, or None where there is none."""
        return find_process(_ask(["ps", "-A", "-ww", "-o", "pid=,stat=,args="]), self.process_option, self.identity)

    def wait_until_off(self, within: float = OFF_WITHIN, clock: Clock = HOST_CLOCK) -> None:
        """Wait until the VM is off by both witnesses of ``look``."""
        wait_for(
            f"VM of {self.name}",
            "off",
            lambda: look(self),
            lambda power: power.state is State.OFF,
            within=within,
            every=0.2,
            describe=lambda power: f"process {power.process} running" if power.state is State.ON else "its memory saved",
            clock=clock,
        )


class LibvirtMachine(Machine):
    """A VM of libvirt, in whichever libvirt ``LIBVIRT_DEFAULT_URI`` names."""

    provider = "libvirt"
    process_option = "-uuid"

    def start(self) -> None:
        """Start the domain."""
        self._virsh("start")

    def cut(self) -> None:
        """Destroy the domain, which in libvirt means its power and not its definition."""
        self._virsh("destroy")

    def suspend(self) -> None:
        """Suspend the domain."""
        self._virsh("suspend")

    def resume(self) -> None:
        """Resume the domain."""
        self._virsh("resume")

    def paused(self) -> bool:
        """Ask for the domain's state."""
        return self._domstate() in LIBVIRT_PAUSES

    def said(self) -> tuple[str, State | None]:
        """Ask for the domain's state, and whether libvirt keeps its memory."""
        word = self._domstate()
        if word.startswith("shut off") and self._managed_save():
            return f"{word} with a managed save", State.SAVED
        return word, LIBVIRT_STATES.get(word)

    def discard(self) -> None:
        """Boot without the managed save, processors stopped, and destroy that.

        `virsh managedsave-remove` would leave the domain's state at "saved" for good, which is that of `virsh save` too.
        """
        if not self._managed_save():
            raise LabError(
                f"The memory of {self.name} was saved into a file by `virsh save`, and only who did that can drop it: restore it with "
                f"`virsh restore`, after which its power can be cut, or delete the file and start the VM with `vagrant up {self.name}`."
            )
        self._virsh("start", "--paused", "--force-boot")
        self.cut()

    def _domstate(self) -> str:
        return _ask([*virsh(), "domstate", self.identity, "--reason"]).strip()

    def _managed_save(self) -> bool:
        """Say whether libvirt keeps the domain's memory; where it says neither, it may."""
        return re.search(r"^Managed save:\s*no\s*$", _ask([*virsh(), "dominfo", self.identity]), re.MULTILINE) is None

    def _virsh(self, action: str, *options: str) -> None:
        _tool([*virsh(), action, self.identity, *options])


class VirtualBoxMachine(Machine):
    """A VM of VirtualBox."""

    provider = "virtualbox"
    process_option = "--startvm"

    def start(self) -> None:
        """Start the VM without a window."""
        _tool(["VBoxManage", "startvm", self.identity, "--type", "headless"])

    def cut(self) -> None:
        """Switch the VM's power off."""
        _tool(["VBoxManage", "controlvm", self.identity, "poweroff"])

    def suspend(self) -> None:
        """Pause the VM."""
        _tool(["VBoxManage", "controlvm", self.identity, "pause"])

    def resume(self) -> None:
        """Resume the VM."""
        _tool(["VBoxManage", "controlvm", self.identity, "resume"])

    def paused(self) -> bool:
        """Ask for the VM's state."""
        return self._state() == "paused"

    def said(self) -> tuple[str, State | None]:
        """Ask for the VM's state."""
        word = self._state()
        return word, VIRTUALBOX_STATES.get(word)

    def discard(self) -> None:
        """Discard the saved state."""
        _tool(["VBoxManage", "discardstate", self.identity])

    def _state(self) -> str:
        found = re.search(r'^VMState="([^"]*)"', _ask(["VBoxManage", "showvminfo", self.identity, "--machinereadable"]), re.MULTILINE)
        return found.group(1) if found else ""


def look(machine: Machine, process: int | None = None) -> Power:
    """Look whether a VM is off, by two witnesses: the processes here, and where it has none, its hypervisor's word.

    One isn't enough: in another process namespace no VM has a process, and a saved VM has none either.

    Args:
        machine: The VM.
        process: The process that it had at an earlier look, which spares the search for it.

    Raises:
        UnreachableError: a witness gives no answer, or none that proves anything.
        LabError: the hypervisor's tool is missing.
    """
    if process is None or not _runs(process, machine.identity):
        process = machine.process()
    age = None if process is None else _age(process)
    if process is not None and age is not None:
        return Power(State.ON, process, age)
    word, state = machine.said()
    if state is None:
        raise UnreachableError(
            f"the VM of {machine.name} has no process here, but its hypervisor calls it {word!r}, which doesn't prove that its memory is "
            f"gone: look from where the VMs run (`outlive shell`), or start it with `vagrant up {machine.name}`"
        )
    return Power(state)


PROVIDERS: tuple[type[Machine], ...] = (LibvirtMachine, VirtualBoxMachine)


def virsh() -> list[str]:
    """Return the beginning of a command line of virsh, for the libvirt in use."""
    return ["virsh", "--quiet", "--connect", os.environ.get("LIBVIRT_DEFAULT_URI", "qemu:///system")]


def vagrant_folder(name: str) -> Path:
    """Return the folder below which Vagrant keeps its data of one machine, a folder for each provider."""
    return ROOT / os.environ.get("VAGRANT_DOTFILE_PATH", ".vagrant") / "machines" / name


def find(name: str) -> Machine:
    """Return the machine under the node of that name."""
    for kind in PROVIDERS:
        identity = vagrant_folder(name) / kind.provider / "id"
        if identity.is_file():
            return kind(name, identity.read_text().strip())
    known = " or ".join(kind.provider for kind in PROVIDERS)
    raise LabError(
        f"{name} has no VM below {vagrant_folder(name)}: power can be switched only on machines that Vagrant made "
        f"with {known}, so run `vagrant up {name}` or leave the disruptive tests out."
    )


def vagrant(action: str, *machines: str, within: float) -> None:
    """Run one of Vagrant's commands as a user does, for all machines or the named ones; it has ``within`` seconds.

    Raises:
        LabError: it failed, or took longer.
    """
    command = ["vagrant", action, *(["--force"] if action == "destroy" else []), "--no-tty", *machines]
    done = run(command, cwd=ROOT, timeout=within)
    if done.returncode != 0:
        raise LabError(f"`{' '.join(command)}` failed ({done.stderr.strip()[-300:]}): run it again to see all.")


def find_process(listing: str, option: str, identity: str) -> int | None:
    """Return the id of the process whose command line holds ``option identity`` in the output of ``ps``.

    A process that ended and only waits for its parent to notice (state Z) is gone.
    """
    wanted = re.compile(rf"\s{re.escape(option)}\s+{re.escape(identity)}(\s|$)")
    for line in listing.splitlines():
        process, state, command = (*line.split(maxsplit=2), "", "", "")[:3]
        if not state.startswith("Z") and wanted.search(command):
            return int(process)
    return None


def _runs(process: int, identity: str) -> bool:
    """Say whether a process is still the VM's; its command line is empty once it ended."""
    try:
        return identity.encode() in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _age(process: int) -> float | None:
    """Return the seconds since a process started (field 22 of its stat, in ticks since boot), None where it is gone."""
    try:
        words = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")


def _ask(command: list[str]) -> str:
    """Return what one of the host's tools knows; where it says nothing, the next attempt may get an answer."""
    return _tool(command, LOOK_SECONDS, UnreachableError)


def _tool(command: list[str], within: float | None = None, failed: type[LabError] = LabError) -> str:
    """Run one of the host's tools and return its output, in English; one that hangs must hang nothing else.

    Raises:
        LabError: the program is missing, or it failed, which is an error of type ``failed``.
        UnreachableError: it didn't end within ``within`` seconds, ``TOOL_SECONDS`` where that is None.
    """
    done = run(command, timeout=TOOL_SECONDS if within is None else within)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise failed(f"`{' '.join(command)}` failed ({reason}): see whether the VM is there with `vagrant status`.")
    return done.stdout
