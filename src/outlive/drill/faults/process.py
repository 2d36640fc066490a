"""Faults of single programs on MySQL's node."""

from __future__ import annotations

from typing import Self

from outlive.base.wait import wait_for
from outlive.drill.faults.base import Command, Target

MAIN_PID = "systemctl show --property=MainPID --value containerd"


class KubeletStopped(Command):
    """The kubelet is stopped: its node's containers run on, and the cluster loses sight of them."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node."""
        return cls(target, target.node)

    def break_it(self) -> None:
        """Stop the service."""
        self.run("systemctl stop kubelet")

    def await_effect(self) -> None:
        """See it inactive."""
        self.watch("kubelet", "inactive", "systemctl is-active kubelet", lambda state: state == "inactive")

    def repair(self) -> None:
        """Start it."""
        self.run("systemctl start kubelet")


class ContainerdKilled(Command):
    """containerd is killed: systemd starts it anew; its shims, and so the containers, live on."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node."""
        return cls(target, target.node)

    def prepare(self) -> None:
        """Remember the process."""
        self._before = self.run(MAIN_PID).strip()

    def break_it(self) -> None:
        """Kill the service's main process."""
        self.run("systemctl kill --kill-whom=main --signal=KILL containerd")

    def await_effect(self) -> None:
        """See that the process is another one, or none."""
        self.watch("containerd", f"another process than {self._before}", MAIN_PID, lambda pid: pid not in ("", self._before))

    def repair(self) -> None:
        """Wait until it is back, by itself or started."""
        self.run("systemctl start containerd")
        self.watch("containerd", "answering", "ctr version >/dev/null 2>&1 && echo yes", lambda answer: answer == "yes", within=300)


class MysqldKilled(Command):
    """mysqld gets SIGKILL: no flush, no good-bye. The kubelet starts a new container in the same pod."""

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's node."""
        return cls(target, target.node)

    def prepare(self) -> None:
        """Remember the processes."""
        self._before = set(self.run("pgrep -x mysqld").split())

    def break_it(self) -> None:
        """Kill it."""
        self.run("kill -KILL " + " ".join(sorted(self._before)))

    def await_effect(self) -> None:
        """See that none of the processes is left."""
        await_ended(self.target, self._before)

    def repair(self) -> None:
        """Do nothing: restarting the container is the kubelet's work, and part of what is measured."""


def mysqlds(target: Target) -> set[str]:
    """Return the ids of the mysqld processes on MySQL's node."""
    return set(target.remote.check(target.node, "pgrep -x mysqld || [ $? = 1 ]").split())


def await_ended(target: Target, before: set[str]) -> None:
    """Wait until none of these mysqld processes is left on MySQL's node."""
    wait_for(
        f"mysqld on {target.node}",
        f"not {', '.join(sorted(before))}",
        lambda: mysqlds(target),
        lambda processes: not before & processes,
        within=120,
        every=0.5,
        clock=target.clock,
    )
