"""A lab that isn't there: VMs, API server and NFS server in one object, with a clock that moves by ticks.

It checks the rules of safety itself, at the server's end of each call, whatever the watcher believed when it made it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from outlive.base.errors import LabError, UnreachableError
from outlive.fence.decisions import TAINT, Fenced, NodeState, marked
from outlive.fence.log import Log
from outlive.fence.watcher import Lanes, Tools, Watcher
from outlive.lab import objects
from outlive.lab.objects import Pod
from outlive.lab.power import Power, State
from tests import samples
from tests.samples import ManualClock

WORKERS = {"n1": "192.0.2.11", "n2": "192.0.2.12"}
BOOT_SECONDS = 20.0
RENEW_SECONDS = 10.0
GRACE_SECONDS = 50.0


@dataclass
class Vm:
    """A worker's VM; ``start`` counts its starts, each with a memory of its own."""

    state: State = State.ON
    start: int = 1
    started_at: float = -3600.0
    frozen: bool = False
    """Its kernel hangs, and nobody knows."""
    paused: bool = False
    """The hypervisor lets its processors stand."""
    cut_off: bool = False
    """Its node doesn't reach the API server."""
    heard: bool = True
    """Its kubelet has reached the API server since this start, so that it may run pods."""
    seen_off_at: float = -1.0

    @property
    def alive(self) -> bool:
        """Something may write from its memory, now or once it goes on."""
        return self.heard and self.state is not State.OFF


@dataclass
class World:
    """The lab."""

    clock: ManualClock = field(default_factory=ManualClock)
    lanes: Callable[[Callable[[], object]], Lanes] | None = None
    runs_pods: bool = False
    """Each node runs a pod, unless it is tainted; its uid says for which start of the VM it was made."""
    hook: Callable[[], None] = lambda: None
    """Called at each call that leaves the watcher: what happens meanwhile happens there."""

    def __post_init__(self) -> None:
        """Start all nodes and a watcher."""
        self.vms = {name: Vm() for name in WORKERS}
        self.nodes = {name: NodeState(name, "True", f"{name}-1", "1", ({"key": "other"},), renewed="0") for name in WORKERS}
        self.renewed_at = dict.fromkeys(WORKERS, 0.0)
        self.clients = {address: {1} for address in WORKERS.values()}
        self.pods = {name: self.pod(name, 1) for name in WORKERS} if self.runs_pods else {}
        self.revoked: set[str] = set()
        self.lost: set[str] = set()
        self.api_down = self.storage_down = self.blind = self.stubborn = False
        self.api_hangs = self.cut_hangs = False
        """Who calls it doesn't come back, so that the loop never may; see ``Hanging``."""
        self.cuts: list[str] = []
        self.looks = dict.fromkeys(WORKERS, 0)
        self.output = io.StringIO()
        self.restart()

    def restart(self) -> None:
        """Replace the watcher by a new one that remembers nothing."""
        tools = Tools(SimApi(self), SimHypervisor(self), SimStorage(self), Log(self.output, self.clock), clock=self.clock)
        self.watcher = Watcher(WORKERS, tools, self.lanes or Inline)

    def run(self, seconds: int, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass; each second the watcher takes a step."""
        for _ in range(seconds):
            self.tick()
            self.watcher.step()
            if until():
                return

    def tick(self) -> None:
        """Let a second pass."""
        self.clock.rest(1.0)
        now = self.clock.seconds
        for name, vm in self.vms.items():
            up = vm.state is State.ON and not (vm.frozen or vm.paused) and now - vm.started_at >= BOOT_SECONDS
            if up and not vm.cut_off and not self.api_down:
                self._kubelet(name, vm, now)
            elif now - self.renewed_at[name] > GRACE_SECONDS and not self.api_down and self.nodes[name].ready == "True":
                self.change(name, ready="Unknown")
            if up and vm.heard and WORKERS[name] not in self.revoked:
                self.clients[WORKERS[name]] = {vm.start}  # the server forgets what an earlier start left

    def _kubelet(self, name: str, vm: Vm, now: float) -> None:
        boot = f"{name}-{vm.start}"
        if not vm.heard or self.nodes[name].boot != boot or self.nodes[name].ready != "True":
            vm.heard = True
            self.change(name, ready="True", boot=boot)
            if name in self.pods and self.pods[name].deleted:
                del self.pods[name]  # it sees that nothing of it is there
        if self.runs_pods and name not in self.pods and not self.nodes[name].tainted:
            self.pods[name] = self.pod(name, vm.start)
        if now - self.renewed_at[name] >= RENEW_SECONDS or self.nodes[name].renewed is None:
            self.renewed_at[name] = now
            self.nodes[name] = replace(self.nodes[name], renewed=str(now))

    @staticmethod
    def pod(name: str, start: int) -> Pod:
        """Return the pod of a node that was made while its VM had a start."""
        return objects.pod(samples.pod(str(start), name))

    def change(self, name: str, **values: object) -> NodeState:
        """Change a Node, as the API does it: with a new version."""
        node = self.nodes[name]
        self.nodes[name] = replace(node, version=str(int(node.version) + 1), **values)  # type: ignore[arg-type]  # NodeState's fields
        return self.nodes[name]

    def power_off(self, name: str) -> None:
        """Take a VM's power."""
        vm = self.vms[name]
        vm.state, vm.frozen, vm.paused = State.OFF, False, False

    def power_on(self, name: str) -> None:
        """Start a VM that is off; one that is saved goes on where it was."""
        vm = self.vms[name]
        if vm.state is State.OFF:
            vm.start, vm.started_at, vm.heard = vm.start + 1, self.clock.seconds, False
        vm.state = State.ON

    def save(self, name: str) -> None:
        """Save a running VM's memory and end its process."""
        if self.vms[name].state is State.ON:
            self.vms[name].state = State.SAVED

    def reboot_server(self) -> None:
        """Lose what the NFS server keeps in memory; who is up comes back by itself."""
        self.revoked.clear()
        for clients in self.clients.values():
            clients.clear()

    def fenced(self, name: str) -> bool:
        """Say whether all three are done: revoked, no client left, taint with annotation."""
        node, address = self.nodes[name], WORKERS[name]
        return address in self.revoked and not self.clients[address] and node.tainted and node.fenced is not None

    def free(self, name: str) -> bool:
        """Say whether nothing of a fence is left."""
        node = self.nodes[name]
        return WORKERS[name] not in self.revoked and not node.tainted and node.fenced is None and node.ready == "True"

    def steps(self, node: str = "") -> list[str]:
        """Return the steps that were logged for a node, without the word that its lease is renewed: see ``heard``."""
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [line["step"] for line in lines if line["node"] == node and line["step"] != "heard"]

    def heard(self, node: str) -> int:
        """Return how often the log says that a node was heard."""
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return sum(line["node"] == node and line["step"] == "heard" for line in lines)

    def texts(self, step: str) -> list[str]:
        """Return the texts of all steps of one kind."""
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [line["text"] for line in lines if line["step"] == step]


class Inline(Lanes):
    """Does each job at once."""

    def start(self, lane: str, job: Callable[[], None]) -> bool:
        """Do it."""
        job()
        return True


class Hanging(Inline):
    """Does each job at once, but for those of some lanes: they hang until ``go`` is called."""

    def __init__(self, *lanes: str) -> None:
        super().__init__(lambda: None)
        self._hanging = lanes
        self.jobs: dict[str, Callable[[], None]] = {}

    def start(self, lane: str, job: Callable[[], None]) -> bool:
        if lane in self.jobs:
            return False
        if lane not in self._hanging:
            return super().start(lane, job)
        self.jobs[lane] = job
        return True

    def go(self) -> None:
        """Let what hung come to its end; nothing hangs from now on."""
        self._hanging = ()
        while self.jobs:
            self.jobs.popitem()[1]()


@dataclass
class SimApi:
    """The API server of the world."""

    world: World

    def look(self) -> Mapping[str, NodeState]:
        self._reach()
        stuck = {name: (pod,) for name, pod in self.world.pods.items() if pod.deleted and marked(self.world.nodes[name])}
        return {name: replace(node, terminating=stuck.get(name, ())) for name, node in self.world.nodes.items()}

    def read(self, name: str) -> NodeState:
        self._reach()
        return replace(self.world.nodes[name], renewed=None)

    def mark(self, node: NodeState, fenced: Fenced) -> NodeState:
        self._reach(node)
        vm = self.world.vms[node.name]
        assert vm.seen_off_at >= 0, "tainted without any proof"
        assert not vm.alive, f"tainted a node that may write: {vm}"
        assert vm.state is State.OFF or vm.started_at >= vm.seen_off_at, f"tainted without proof for this start: {vm}"
        if node.name in self.world.pods:
            self.world.pods[node.name] = replace(self.world.pods[node.name], deleted=True)
        return self._change(node, (*(each for each in node.taints if each["key"] != TAINT), {"key": TAINT}), fenced)

    def unmark(self, node: NodeState) -> NodeState:
        self._reach(node)
        address = WORKERS[node.name]
        assert node.fenced is not None
        assert node.boot != node.fenced.boot, "took the taint away for the boot that was fenced"
        vm = self.world.vms[node.name]
        assert vm.state is State.OFF or address not in self.world.revoked, "took the taint away before NFS access was back"
        return self._change(node, tuple(each for each in node.taints if each["key"] != TAINT), None)

    def force_delete(self, pod: Pod) -> None:
        self._reach()
        vm = self.world.vms[pod.node]
        assert pod.deleted, f"deleted a pod that nobody evicted: {pod}"
        assert not (vm.alive and vm.start == int(pod.uid)), f"deleted the pod of a node that may write: {vm}"
        there = self.world.pods.get(pod.node)
        if there is not None and there.uid == pod.uid:
            del self.world.pods[pod.node]

    def _change(self, node: NodeState, taints: tuple[Mapping[str, str], ...], fenced: Fenced | None) -> NodeState:
        return replace(self.world.change(node.name, taints=taints, fenced=fenced), renewed=None)

    def _reach(self, node: NodeState | None = None) -> None:
        assert not self.world.api_hangs, "the loop waits for the API"
        self.world.hook()
        if self.world.api_down:
            raise UnreachableError("the API server gave no answer")
        if node is not None and node.version != self.world.nodes[node.name].version:
            raise LabError("The API server refuses node with 409.")


@dataclass
class SimHypervisor:
    """The hypervisor of the world."""

    world: World

    def look(self, name: str) -> Power:
        self.world.hook()
        self.world.looks[name] += 1
        if self.world.blind:
            raise UnreachableError("the hypervisor gave no answer")
        vm, now = self.world.vms[name], self.world.clock.seconds
        if vm.state is State.OFF:
            vm.seen_off_at = now
        return Power(vm.state, 1000 + vm.start, now - vm.started_at) if vm.state is State.ON else Power(vm.state)

    def paused(self, name: str) -> bool:
        self.world.hook()
        if self.world.blind:
            raise UnreachableError("the hypervisor gave no answer")
        return self.world.vms[name].paused

    def cut(self, name: str) -> None:
        assert not self.world.cut_hangs, "the loop waits for the power cut"
        self.world.hook()
        self.world.cuts.append(name)
        if self.world.stubborn:
            raise LabError("virsh destroy failed.")
        self.world.power_off(name)


@dataclass
class SimStorage:
    """The NFS server of the world."""

    world: World

    def revoked(self) -> frozenset[str]:
        self._reach()
        return frozenset(self.world.revoked)

    def lost(self) -> frozenset[str]:
        self._reach()
        return frozenset(self.world.lost)

    def revoke(self, address: str) -> None:
        self._reach()
        vm = self._vm(address)
        assert vm.seen_off_at >= 0, "revoked without any proof"
        assert vm.state is State.OFF or vm.started_at >= vm.seen_off_at, f"revoked without proof for this start: {vm}"
        self.world.revoked.add(address)

    def expire(self, address: str) -> None:
        self._reach()
        vm = self._vm(address)
        for start in self.world.clients[address]:
            assert not (vm.alive and vm.start == start), f"took the locks of a node that may write: {vm}"
        self.world.clients[address] = set()

    def allow(self, address: str) -> None:
        self._reach()
        self.world.revoked.discard(address)

    def _reach(self) -> None:
        self.world.hook()
        if self.world.storage_down:
            raise UnreachableError("ssh failed")

    def _vm(self, address: str) -> Vm:
        return next(self.world.vms[name] for name, each in WORKERS.items() if each == address)
