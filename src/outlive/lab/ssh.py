"""Commands on the lab's machines, through testinfra's ssh backend with one kept connection a machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import testinfra

from outlive.base.errors import LabError, UnreachableError
from outlive.base.process import LOCALE, run_bytes, said
from outlive.lab.inventory import Host, Inventory
from outlive.lab.power import vagrant_folder

SSH_OPTIONS = (
    # VMs are made anew under the same addresses, so their host keys are as short-lived as they are (as Vagrant does it).
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes "
    # A machine that dies must not hang the test that killed it.
    "-o ConnectTimeout=30 -o ServerAliveInterval=10 -o ServerAliveCountMax=6"
)

SPEAKING = "".join(f"export {name}={value}; " for name, value in LOCALE.items())
"""Begins each command: its words are read, whatever the machine, or its administrator, speaks."""

ANSWER_SECONDS = 600.0
"""Seconds that a command on a machine may take."""


@dataclass(frozen=True)
class Output:
    """What a command on a machine gave."""

    status: int
    stdout: str
    stderr: str


class Remote:
    """Runs commands on the machines of an inventory."""

    def __init__(self, inventory: Inventory, connect: Callable[..., Any] = testinfra.get_host, within: float = ANSWER_SECONDS) -> None:
        """Connect lazily: a machine is reached when the first command for it comes; each command has ``within`` seconds."""
        self._within = within
        self._inventory = inventory
        self._connect = connect
        self._hosts: dict[str, Any] = {}
        # A short path: a socket's may have 107 characters at most.
        self._sockets = tempfile.TemporaryDirectory(prefix="outlive-")

    def host(self, name: str) -> testinfra.host.Host:
        """Return testinfra's host object of a machine; it runs commands as the ssh user, ``host.sudo()`` as root."""
        if name not in self._hosts:
            machine = self._inventory.host(name)
            host = self._connect(
                _hostspec(machine),
                ssh_identity_file=_identity(machine),
                ssh_extra_args=SSH_OPTIONS,
                controlpath=self._socket(name),
                controlpersist=300,
            )
            # testinfra's own way to run ssh has no end where the machine gives no answer.
            host.backend.run_local = partial(_run_local, host.backend, self._within)
            self._hosts[name] = host
        return self._hosts[name]

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Run a command as root on a machine; ``%s`` in it takes the arguments, quoted.

        Raises:
            UnreachableError: ssh fails, or there is no answer in time.
        """
        host = self.host(name)
        try:
            with host.sudo():
                result = host.run(SPEAKING + command, *arguments)
        except UnreachableError as error:
            # The kept connection may be what gives no answer.
            self.forget(name)
            raise UnreachableError(
                f"`{command.splitlines()[0]}` on {name} ({self._inventory.host(name).login}) gave no answer within {self._within:.0f} s: "
                "`vagrant status` says whether its VM runs"
            ) from error
        except RuntimeError as error:  # testinfra's way to say that ssh itself failed (status 255)
            reason = _last_line(getattr(error.args[0], "stderr", str(error)) if error.args else "")
            address = self._inventory.host(name).login
            raise UnreachableError(f"ssh to {name} ({address}) failed ({reason}): `vagrant status` says whether its VM runs") from error
        return Output(result.rc, result.stdout, result.stderr)

    def check(self, name: str, command: str, *arguments: str) -> str:
        """Run a command as ``run`` does and return its output; its failure is an error."""
        output = self.run(name, command, *arguments)
        if output.status != 0:
            reason = _last_line(output.stderr.strip() or output.stdout)
            raise LabError(f"`{command.splitlines()[0]}` on {name} ended with status {output.status} ({reason}).")
        return output.stdout

    def forget(self, name: str) -> None:
        """Close the kept connection to a machine, as has to be done before its power goes."""
        if self._hosts.pop(name, None) is not None and Path(self._socket(name)).exists():
            said(["ssh", "-O", "exit", "-o", f"ControlPath={self._socket(name)}", name])

    def close(self) -> None:
        """Close all connections."""
        for name in list(self._hosts):
            self.forget(name)
        self._sockets.cleanup()

    def _socket(self, name: str) -> str:
        return str(Path(self._sockets.name) / name)


def _run_local(backend: Any, within: float, command: str, *arguments: str) -> Any:  # noqa: ANN401  testinfra's own types
    """Run a command line of ssh as testinfra's backend does, but bounded in time, and ended with all that it started."""
    line = backend.quote(command, *arguments)
    done = run_bytes(["/bin/sh", "-c", line], timeout=within)
    return backend.result(done.returncode, backend.encode(line), done.stdout, done.stderr)


def ssh_command(host: Host, *options: str) -> list[str]:
    """Return the command line that logs in to a machine as the inventory's user, for programs that talk to it by themselves.

    ``options`` are more of ssh's, as ssh_config(5) has them: ``Name=value``.
    """
    identity, port = _identity(host), host.literal("ansible_port")
    return [
        "ssh",
        *SSH_OPTIONS.split(),
        *(word for option in options for word in ("-o", option)),
        *(["-i", identity] if identity else []),
        *(["-p", port] if port else []),
        f"{host.literal('ansible_user') or 'vagrant'}@{host.login}",
    ]


def _hostspec(host: Host) -> str:
    """Return testinfra's address of a machine."""
    user = host.literal("ansible_user") or "vagrant"
    port = host.literal("ansible_port")
    return f"ssh://{user}@{host.login}" + (f":{port}" if port else "")


def _identity(host: Host) -> str | None:
    """Return the private key for a machine: the inventory's, else the one that Vagrant made, else ssh's own choice."""
    named = host.literal("ansible_ssh_private_key_file") or host.literal("ansible_private_key_file")
    made = sorted(vagrant_folder(host.name).glob("*/private_key"))
    return named or (str(made[0]) if made else None)


def _last_line(text: str) -> str:
    return (text.strip() or "no message").splitlines()[-1]
