"""Set the machines' clocks to this host's: `python -m outlive.lab.guest_clocks [NAME ...]` (all), where the machines can be reached.

For machines that went on from a snapshot. Not by Ansible: starting its modules took two minutes on emulated machines that had just
been restored, while a shell took seconds.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from outlive.base.errors import LabError
from outlive.base.process import environment, started
from outlive.lab import inventory
from outlive.lab.inventory import Host
from outlive.lab.ssh import ssh_command

ASK = "sudo sh -c 'echo ready; read now; date --set=@$now'"
"""Tells that it is there, reads the time and sets it: so the way there, which may take seconds, doesn't count."""

WITHIN = 300.0
"""Seconds for the way to a machine, and for its answer."""
ATTEMPTS = 60
"""How often, once a second, ssh looks whether the way is there: the bridge forwards nothing to a machine that was just put back for some seconds."""


def main(names: list[str]) -> int:
    """Set the clocks of the named machines, of all where none is named, at the same time; return the exit status."""
    try:
        lab = inventory.load()
        with ThreadPoolExecutor() as pool:
            for name, told in pool.map(_set, [lab.host(name) for name in names or lab.hosts]):
                print(f"{name}: {told}", flush=True)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _set(host: Host) -> tuple[str, str]:
    """Set the clock of one machine; return its name and what its `date` printed."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started([*ssh_command(host, f"ConnectionAttempts={ATTEMPTS}"), ASK], env=environment(), text=True, **pipes) as process:
        assert process.stdout is not None
        answered, _, _ = select.select([process.stdout], [], [], WITHIN)
        first = process.stdout.readline().strip() if answered else ""
        try:
            if not answered:
                raise subprocess.TimeoutExpired(process.args, WITHIN)
            told, _ = process.communicate(f"{time.time():.3f}\n" if first == "ready" else "", timeout=WITHIN)
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"The clock of {host.name} could not be set (no answer within {WITHIN:.0f} s): see `vagrant status`, then run `outlive reset` again."
            ) from error
    if process.returncode != 0:
        raise LabError(
            f"The clock of {host.name} could not be set ({told.strip() or first}): see `vagrant status`, then run `outlive reset` again."
        )
    return host.name, told.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
