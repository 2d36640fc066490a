"""Faults through the API: MySQL's pod is deleted."""

from __future__ import annotations

from typing import Self

from outlive.base.wait import persist, wait_for
from outlive.drill.faults.base import Target, Timed
from outlive.drill.faults.process import await_ended, mysqlds
from outlive.lab.mysql import NAMESPACE
from outlive.lab.objects import Pod


class PodDeleted(Timed):
    """``kubectl delete pod``: mysqld gets SIGTERM and its grace period."""

    force = False

    @classmethod
    def of(cls, target: Target) -> Self:
        """Make the fault for MySQL's pod."""
        return cls(target)

    def inject(self) -> None:
        """Delete the pod, see that the API has marked or forgotten it, and that its mysqld has ended: until then it answers."""
        before = mysqlds(self.target)
        self.begin()
        persist(
            f"pod {self.target.pod.name}",
            lambda: self.target.cluster.delete_pod(NAMESPACE, self.target.pod.name, grace=0 if self.force else None),
            within=120,
            clock=self.target.clock,
        )
        wait_for(
            f"pod {self.target.pod.name}",
            "gone" if self.force else "Terminating or gone",
            self._seen,
            lambda pods: all(pod.deleted and not self.force for pod in pods),
            within=120,
            every=0.2,
            describe=lambda pods: ", ".join(pod.state for pod in pods) or "gone",
            clock=self.target.clock,
        )
        await_ended(self.target, before)
        self.observed()

    def heal(self) -> None:
        """Do nothing: the Deployment makes the new pod."""

    def _seen(self) -> list[Pod]:
        return [pod for pod in self.target.cluster.pods(NAMESPACE) if pod.uid == self.target.pod.uid]


class PodForceDeleted(PodDeleted):
    """``kubectl delete pod --force --grace-period=0``: the API forgets the pod at once, whether its processes ended or not."""

    force = True
