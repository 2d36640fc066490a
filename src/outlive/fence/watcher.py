"""The watcher at work: looks, lets ``decisions`` decide, acts, and writes each step down.

What is slow or may hang (the API, ssh to the NFS server, a power cut) runs in the background, one job at a time on each lane, so that
the VMs are looked at each second whatever the rest does. A job is decided upon before it runs: it looks again right before it acts.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.base.errors import LabError
from outlive.fence.actions import Api, Hypervisor, Storage
from outlive.fence.decisions import (
    Action,
    Fenced,
    Limits,
    Memory,
    NodeState,
    Observation,
    decide,
    marked,
    remember,
    returned,
    wants_more_time,
)
from outlive.fence.log import Log
from outlive.lab.objects import Pod
from outlive.lab.power import Power, State

LOOK_EVERY = 1.0
"""Seconds between two looks at the VMs."""
API_EVERY = 2.0
"""Seconds between two looks at nodes, leases and the pods of fenced nodes."""
STORAGE_EVERY = 60.0
"""Seconds between two looks at the NFS server: its own reboot would let everybody in again. Keeps the ssh connection open, too."""

ENDS_WITHIN = 45.0
"""Seconds that the acts under way have when the watcher is asked to end; the next start goes on with what wasn't done."""


class Lanes:
    """Background work; a lane does one job at a time."""

    def __init__(self, done: Callable[[], object]) -> None:
        """Take what is called whenever a job ended."""
        self._done = done
        self._threads: dict[str, threading.Thread] = {}
        self._failure: BaseException | None = None

    def start(self, lane: str, job: Callable[[], None]) -> bool:
        """Start a job; return False where the lane is busy."""
        if lane in self._threads and self._threads[lane].is_alive():
            return False
        self._threads[lane] = threading.Thread(target=self._run, args=(job,), daemon=True, name=lane)
        self._threads[lane].start()
        return True

    def check(self) -> None:
        """Raise what a job died of, if one did."""
        if self._failure is not None:
            raise self._failure

    def finish(self, within: float, *, but: str) -> None:
        """Wait for the jobs under way on all lanes ``but`` one, for as long as ``within`` seconds."""
        end = time.monotonic() + within
        for lane, thread in self._threads.items():
            if lane != but:
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # raised again by check(): a watcher that lost a thread must not look well
            self._failure = error
        self._done()


@dataclass(frozen=True)
class Tools:
    """What the watcher works with."""

    api: Api
    hypervisor: Hypervisor
    storage: Storage
    log: Log
    limits: Limits = field(default_factory=Limits)
    clock: Clock = HOST_CLOCK


class Watcher:
    """Watches the workers and fences those that are lost."""

    def __init__(self, workers: Mapping[str, str], tools: Tools, lanes: Callable[[Callable[[], object]], Lanes] = Lanes) -> None:
        """Take the workers' names with their addresses; nothing is asked yet."""
        self._workers = dict(workers)
        self._tools = tools
        self._log = tools.log
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lanes = lanes(self._wake.set)
        self._memory = {name: Memory() for name in workers}
        self._lock = threading.Lock()
        """Held to replace ``_nodes``: a list and a patch may come at once."""
        self._nodes: Mapping[str, NodeState] = {}
        self._answered: float | None = None
        self._asked = {"api": -STORAGE_EVERY, "storage": -STORAGE_EVERY}
        # Written on the lane of the storage only.
        self._revoked: frozenset[str] | None = None
        self._closed: frozenset[str] = frozenset()
        self._stored = dict.fromkeys(workers, -math.inf)
        """When the server was last asked to close or open to each worker."""
        self._deleted: set[str] = set()
        """Uids of pods that were deleted by force; one that something else holds back is left to that."""

    def run(self) -> None:
        """Watch until ``stop`` is called; the step under way is finished."""
        self._log.write("started", text=f"watches {', '.join(self._workers)}")
        while not self._stop.is_set():
            self.step()
            self._wake.wait(LOOK_EVERY)
            self._wake.clear()
        self._lanes.finish(ENDS_WITHIN, but="api")
        self._log.write("stopped", text="what is fenced stays fenced; the next start goes on")

    def stop(self) -> None:
        """Ask ``run`` to end; may be called from a signal handler."""
        self._stop.set()
        self._wake.set()

    def step(self) -> None:
        """Look at everything once and do what has to be done."""
        self._lanes.check()
        self._ask("api", API_EVERY, self._look_at_api)
        self._ask("storage", STORAGE_EVERY, self._look_at_storage)
        now, limits = self._now(), self._tools.limits
        # Of all of them: one that is paused alone isn't as well as the others.
        ask = any(wants_more_time(memory, now, limits) for memory in self._memory.values())
        seen = {name: self._look(name, ask) for name in self._workers}
        for name, each in seen.items():
            before = self._memory[name]
            self._memory[name] = remember(each, before, now, limits)
            self._tell(name, before, self._memory[name], each)
        all_suspect = all(self._memory[name].suspect_since is not None or _is_fenced(each) for name, each in seen.items())
        # Who waited longest comes first: a server that gives no answer about one address mustn't keep another one waiting.
        for name in sorted(seen, key=lambda name: self._stored[name]):
            each = seen[name]
            others_run = any(other.paused is False for worker, other in seen.items() if worker != name)
            decision = decide(each, self._memory[name], now, limits, all_suspect, others_run)
            self._log.once("held", name, decision.held)
            for action in decision.actions:
                self._act(name, action, each)

    def _act(self, name: str, action: Action, seen: Observation) -> None:
        address = self._workers[name]
        match action:
            case Action.CLOSE:
                if self._start("storage", name, action, lambda: self._close(name, address)):
                    self._stored[name] = self._now()
            case Action.OPEN:
                if self._start("storage", name, action, lambda: self._open(name, address)):
                    self._stored[name] = self._now()
            case Action.CUT:
                early = wants_more_time(self._memory[name], self._now(), self._tools.limits)
                reason = "its VM is paused" if early else self._memory[name].reason
                # A lane for each VM: a hypervisor that hangs on one may well cut another.
                if self._start(f"cut {name}", name, action, lambda: self._cut(name, reason, early)):
                    self._memory[name] = replace(self._memory[name], cut_at=self._now())
            case Action.TAINT:
                self._start("patch", name, action, lambda: self._taint(name))
            case Action.DELETE:
                pods = () if seen.node is None else tuple(each for each in seen.node.terminating if each.uid not in self._deleted)
                if pods:
                    self._start("patch", name, action, lambda: self._delete(name, pods))
            case Action.UNTAINT:
                process = self._memory[name].process
                self._start("patch", name, action, lambda: self._untaint(name, process))

    def _start(self, lane: str, name: str, action: Action, job: Callable[[], None]) -> bool:
        return self._lanes.start(lane, lambda: self._try(name, action.value, job))

    def _cut(self, name: str, reason: str, early: bool) -> None:
        """Cut the power; early, since the VM is paused, only where it still is: one that goes on may be a node that is well."""
        if early and not self._tools.hypervisor.paused(name):
            self._log.write("aborted", name, "its VM isn't paused any more")
            return
        self._log.write("cut", name, reason)
        self._tools.hypervisor.cut(name)

    def _close(self, name: str, address: str) -> None:
        """Revoke the address, then end its clients and sessions.

        The order makes it safe: from the revocation on no new client can come from this address, so what is ended after one more proof
        that the VM is off belongs to what ran before, even if the VM is started at that very moment.
        """
        if not self._is_off(name):
            return
        if address not in self._known_revoked():
            self._tools.storage.revoke(address)
            self._revoked = self._known_revoked() | {address}
            self._log.write("revoked", name, f"the NFS server turns {address} away")
        if not self._is_off(name):
            return
        self._tools.storage.expire(address)
        self._closed |= {address}
        self._log.write("expired", name, f"no NFSv4 client and no iSCSI session of {address} is left")

    def _open(self, name: str, address: str) -> None:
        if self._tools.hypervisor.look(name).state is not State.ON:
            return
        self._closed -= {address}
        self._tools.storage.allow(address)
        self._log.write("opened", name, f"the NFS server lets {address} in")
        self._revoked = self._known_revoked() - {address}

    def _known_revoked(self) -> frozenset[str]:
        """Return what the server turns away; asked for here where the look at the start failed, since unknown isn't nobody."""
        if self._revoked is None:
            self._revoked = self._tools.storage.revoked()
        return self._revoked

    def _taint(self, name: str) -> None:
        """Set the taint.

        The proof stands between read and patch: a kubelet that is back in between has changed its Node, and the patch is refused.
        """
        node = self._tools.api.read(name)
        if marked(node):
            self._put(node)  # the list from which it was decided was older than the taint
            return
        if not self._is_off(name):
            return
        fenced = Fenced(node.boot, self._tools.clock.now().wall.isoformat(timespec="seconds"))
        self._put(self._tools.api.mark(node, fenced))
        self._log.write("tainted", name, f"out of service, fenced with boot id {node.boot}")

    def _delete(self, name: str, pods: tuple[Pod, ...]) -> None:
        """Delete pods by force, as Kubernetes does itself once the node isn't Ready: a disk that they have is detached only then.

        They are to be deleted and no kubelet ends them. A VM that starts after this proof has none of them in its memory, and its kubelet starts
        no pod that is to be deleted.
        """
        if not marked(self._tools.api.read(name)):
            return
        for pod in pods:
            if not self._is_off(name):
                return
            self._tools.api.force_delete(pod)
            self._deleted.add(pod.uid)
            self._log.write("deleted", name, f"{pod.namespace}/{pod.name}")

    def _untaint(self, name: str, process: int | None) -> None:
        """Take the taint away while the process still runs with which it was decided: another one's NFS access may be revoked again."""
        node = self._tools.api.read(name)
        seen = self._tools.hypervisor.look(name)
        if returned(node) and seen.state is State.ON and seen.process == process:
            self._put(self._tools.api.unmark(node))
            self._log.write("untainted", name, f"Ready with boot id {node.boot}")

    def _is_off(self, name: str) -> bool:
        """Look once more; say so where the proof is gone."""
        off = self._tools.hypervisor.look(name).state is State.OFF
        if not off:
            self._log.write("aborted", name, "its VM isn't off any more")
        return off

    def _put(self, node: NodeState) -> None:
        """Take note of a node as a patch returned it; the lease is as it was seen."""
        with self._lock:
            known = self._nodes.get(node.name, node)
            self._nodes = {**self._nodes, node.name: replace(node, renewed=known.renewed)}

    def _look(self, name: str, ask_paused: bool) -> Observation:
        power: list[Power] = []  # stays empty where the hypervisor gives no answer
        self._try(name, "look at the VM", lambda: power.append(self._tools.hypervisor.look(name)))
        address = self._workers[name]
        revoked = None if self._revoked is None else address in self._revoked
        closed = bool(revoked) and address in self._closed
        paused: list[bool] = []
        if ask_paused and power and power[0].state is State.ON:
            self._try(name, "look whether the VM is paused", lambda: paused.append(self._tools.hypervisor.paused(name)))
        return Observation(
            power[0] if power else None, self._nodes.get(name), self._answered, revoked, closed, paused[0] if paused else None
        )

    def _look_at_api(self) -> None:
        def job() -> None:
            nodes = self._tools.api.look()
            with self._lock:
                self._nodes = nodes
            self._answered = self._now()

        self._try("", "look at the API", job)

    def _look_at_storage(self) -> None:
        def job() -> None:
            revoked = self._tools.storage.revoked()
            self._closed &= revoked
            self._revoked = revoked

        self._try("", "look at the NFS server", job)

    def _ask(self, lane: str, every: float, job: Callable[[], None]) -> None:
        if self._now() - self._asked[lane] >= every and self._lanes.start(lane, job):
            self._asked[lane] = self._now()

    def _try(self, name: str, what: str, job: Callable[[], None]) -> None:
        """Do something that may fail; it is tried again for as long as it is wanted."""
        try:
            job()
            self._log.once("failed", name, "", what)
        except LabError as error:
            self._log.once("failed", name, f"{what}: {error}", what)

    def _tell(self, name: str, before: Memory, after: Memory, seen: Observation) -> None:
        """Write down what changed between two looks."""
        if after.heard and not before.heard:
            self._log.write("heard", name, "its lease is renewed")
        if after.off_since is not None and before.off_since is None:
            self._log.write("off", name, "no process, no memory kept")
        if after.process is not None and before.process is None and before.off_since is not None:
            self._log.write("on", name, f"process {after.process}")
        if after.suspect_since is not None and before.suspect_since is None:
            self._log.write("suspected", name, after.reason)
        if after.suspect_since is None and before.suspect_since is not None:
            self._log.write("cleared", name, f"no longer: {before.reason}")

    def _now(self) -> float:
        return self._tools.clock.now().monotonic


def _is_fenced(seen: Observation) -> bool:
    return seen.node is not None and seen.node.fenced is not None
