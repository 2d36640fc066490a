"""The machines under the nodes: is the VM's process there, switch it on, cut its power.

The same for each provider: Vagrant keeps the provider's own id of a machine in its folder, that id is on the command line of
the VM's process, and the provider's tool takes it.
"""

from __future__ import annotations

import os
import re
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.wait import wait_for

OFF_WITHIN = 300.0
"""Seconds that a guest may take to shut down; a software-emulated one under load needs tens of seconds."""
TOOL_SECONDS = 120.0
"""Seconds that a hypervisor's tool may take: VirtualBox starts a VM in tens of them on a busy host."""


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
        """Say whether the processors stand."""

    def process(self) -> int | None:
        """Return the id of the VM's process, or None where there is none."""
        return find_process(_tool(["ps", "-A", "-ww", "-o", "pid=,stat=,args="]), self.process_option, self.identity)

    def wait_until_off(self, within: float = OFF_WITHIN, clock: Clock = HOST_CLOCK) -> None:
        """Wait until the VM's process is gone."""
        wait_for(
            f"VM of {self.name}",
            "process gone",
            self.process,
            lambda process: process is None,
            within=within,
            every=0.2,
            describe=lambda process: f"process {process} running",
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
        return self._virsh("domstate").strip() == "paused"

    def _virsh(self, action: str) -> str:
        return _tool([*virsh(), action, self.identity])


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
        return 'VMState="paused"' in _tool(["VBoxManage", "showvminfo", self.identity, "--machinereadable"])


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
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=within, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(command)}` didn't end within {within:.0f} s: run it again to see where it stands.") from error
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


def _tool(command: list[str]) -> str:
    """Run one of the host's tools and return its output; one that hangs must hang nothing else."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"`{' '.join(command)}` didn't end within {TOOL_SECONDS:.0f} s") from error
    except FileNotFoundError as error:
        raise LabError(f"The program {command[0]} is missing: it has to be on PATH; `outlive doctor` says how to get it.") from error
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise LabError(f"`{' '.join(command)}` failed ({reason}): see whether the VM is there with `vagrant status`.")
    return done.stdout
