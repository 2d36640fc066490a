"""What the watcher makes of what it sees: pure decisions, no input, no output, no clock of its own.

``remember`` turns an observation into memory (since when is a node suspect, since when is its VM off), ``decide`` says what to do
next. Every rule of safety that needs no second look stands here; the second look right before an act is in ``watcher``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from outlive.lab.objects import Json, Pod
from outlive.lab.power import Power, State

TAINT = "node.kubernetes.io/out-of-service"
TAINT_VALUE = "nodeshutdown"
TAINT_EFFECT = "NoExecute"


@dataclass(frozen=True)
class Fenced:
    """The annotation of a fenced node: the boot id that it was fenced with, and when (UTC, for people)."""

    boot: str
    at: str = ""


@dataclass(frozen=True)
class NodeState:
    """A Node object as far as fencing goes."""

    name: str
    ready: str
    """Ready condition: True, False or Unknown."""
    boot: str
    version: str = ""
    """Its resourceVersion: a patch that names it is refused once the object changed."""
    taints: tuple[Json, ...] = ()
    fenced: Fenced | None = None
    renewed: str | None = None
    """The renewTime of its Lease as the kubelet wrote it; only ever compared with itself. None where there is no Lease."""
    terminating: tuple[Pod, ...] = ()
    """Of a node that is marked, and of no other: its pods that wait for the kubelet to end them."""

    @property
    def tainted(self) -> bool:
        """It has the out-of-service taint, whoever set it."""
        return any(each.get("key") == TAINT for each in self.taints)


@dataclass(frozen=True)
class Observation:
    """All that is known of one worker at one moment."""

    power: Power | None
    """None where the hypervisor gave no answer, which proves nothing."""
    node: NodeState | None
    """As the API server told it last; None where it never told of such a node."""
    answered: float | None
    """When the API server answered last, in seconds of the host's monotonic clock."""
    revoked: bool | None
    """The NFS server turns its address away; None where that isn't known yet."""
    closed: bool
    """Revoked, and no NFSv4 client and no iSCSI session of its address is left."""
    paused: bool | None = None
    """The hypervisor says that the processors of its VM stand, or that they don't; None where it wasn't asked, or gave no answer."""


@dataclass(frozen=True)
class Limits:
    """The watcher's patience, all in seconds."""

    suspect_after: float = 15.0
    """Without a renewed lease a node is suspect; without an answer the API server is silent. Kubelets renew every 10 s."""
    confirm_after: float = 30.0
    """More time for a suspect node whose VM runs, before its power is cut."""
    boot_within: float = 600.0
    """A VM that started since isn't suspect for being silent, until its kubelet was heard."""
    cut_again: float = 10.0
    """From one attempt to cut the power to the next."""


@dataclass(frozen=True)
class Memory:
    """What the watcher keeps of a worker from look to look. Lost with the process: nothing here is needed to go on."""

    process: int | None = None
    on_since: float | None = None
    off_since: float | None = None
    heard: bool = False
    """The lease was renewed since the VM's process started."""
    answered: float | None = None
    renewed: str | None = None
    renewed_at: float | None = None
    """When we saw ``renewed`` change."""
    suspect_since: float | None = None
    reason: str = ""
    cut_at: float | None = None


class Action(Enum):
    """What can be done about a worker."""

    CUT = "cut the power"
    CLOSE = "close NFS"
    TAINT = "taint"
    DELETE = "delete its pods"
    OPEN = "open NFS"
    UNTAINT = "untaint"


@dataclass(frozen=True)
class Decision:
    """What to do now, in this order, or in ``held`` why nothing is done although something is wrong."""

    actions: tuple[Action, ...] = ()
    held: str = ""


def remember(seen: Observation, memory: Memory, now: float, limits: Limits) -> Memory:
    """Return the memory of a worker after one more look at it."""
    memory = _remember_lease(seen, _remember_power(seen.power, memory, now), limits)
    reason = suspicion(seen, memory, now, limits)
    if not reason:
        return replace(memory, suspect_since=None, reason="", cut_at=None)
    since = now if memory.suspect_since is None else memory.suspect_since
    return replace(memory, suspect_since=since, reason=reason)


def suspicion(seen: Observation, memory: Memory, now: float, limits: Limits) -> str:
    """Return why a worker is suspect, or nothing."""
    power, node = seen.power, seen.node
    if node is None:
        return ""  # not a node of this cluster yet
    if power is not None and power.state is State.OFF:
        return "its VM is off"
    if silent(seen.answered, now, limits):
        return ""  # what the API server said before is no evidence of what is now
    if node.fenced is not None:
        return ""  # it runs nothing that could be moved
    if power is not None and power.state is State.ON and not memory.heard and power.age < limits.boot_within:
        return ""  # it boots
    if node.ready != "True":
        return "its node isn't Ready"
    if memory.answered is not None and memory.renewed_at is not None and memory.answered - memory.renewed_at >= limits.suspect_after:
        return "its lease isn't renewed"
    return ""


def silent(answered: float | None, now: float, limits: Limits) -> bool:
    """Say whether the API server has given no answer for so long that it can't be called upon as a witness."""
    return answered is None or now - answered > limits.suspect_after


def wants_more_time(memory: Memory, now: float, limits: Limits) -> bool:
    """Say whether a worker is suspect, and not yet for so long that its power is cut whatever its VM does."""
    return memory.suspect_since is not None and now - memory.suspect_since < limits.confirm_after


def decide(seen: Observation, memory: Memory, now: float, limits: Limits, all_suspect: bool, others_run: bool) -> Decision:
    """Return what to do about a worker.

    Args:
        seen: What is known of it.
        memory: What was.
        now: Seconds of the host's monotonic clock.
        limits: The watcher's patience.
        all_suspect: No other worker is above suspicion either.
        others_run: The hypervisor says of another worker's VM that its processors run.
    """
    power, node = seen.power, seen.node
    if node is None:
        return Decision()
    if power is None:
        if memory.suspect_since is None and node.fenced is None:
            return Decision()
        return Decision(held="the hypervisor doesn't say whether its VM is off, and nothing is done without that proof")
    if power.state is State.OFF:
        return _fence(seen, node, now, limits)
    if node.fenced is not None or (seen.revoked and power.state is State.ON):
        return _take_back(seen, node, power, memory, now, limits)
    return _confirm(seen, memory, now, limits, all_suspect, others_run)


def returned(node: NodeState) -> bool:
    """Say whether a fenced node is Ready with another boot than the one that was fenced."""
    return node.fenced is not None and bool(node.fenced.boot) and node.ready == "True" and node.boot != node.fenced.boot


def marked(node: NodeState) -> bool:
    """Say whether a node has taint and annotation for the boot that it had last; an older one's would let it return too early."""
    return node.tainted and node.fenced is not None and node.fenced.boot == node.boot


def _fence(seen: Observation, node: NodeState, now: float, limits: Limits) -> Decision:
    """The VM is off."""
    actions = [] if seen.closed else [Action.CLOSE]
    # With the VM off, the taint needn't wait for NFS: the new pod takes longer to start than the old one's locks to fall.
    if not marked(node) and not silent(seen.answered, now, limits):
        actions.append(Action.TAINT)
    if marked(node) and node.terminating and not silent(seen.answered, now, limits):
        actions.append(Action.DELETE)
    return Decision(tuple(actions))


def _take_back(seen: Observation, node: NodeState, power: Power, memory: Memory, now: float, limits: Limits) -> Decision:
    """The VM was off and isn't any more. It was started anew (see ``State.SAVED``), so its kernel holds no old writes."""
    if power.state is State.ON and seen.revoked is not False:  # unknown counts as revoked: opening twice does no harm
        return Decision((Action.OPEN,))
    if power.state is not State.ON or silent(seen.answered, now, limits):
        return Decision()
    if returned(node):
        return Decision((Action.UNTAINT,))
    if memory.heard and node.ready == "True":
        return Decision(
            held="it is Ready with the boot id that it was fenced with, so its memory was brought back: cut its power "
            f"(`vagrant halt --force {node.name}`) and start it anew"
        )
    return Decision()


def _confirm(seen: Observation, memory: Memory, now: float, limits: Limits, all_suspect: bool, others_run: bool) -> Decision:
    """The VM runs, or could go on: only losing its power makes it safe."""
    if silent(seen.answered, now, limits):
        return Decision(held="the API server gives no answer, so nothing is known of the node and nothing is done")
    # More time is for a node that is slow, and one whose processors stand isn't. Where all stand, that is the host's: their leases only end one by one.
    if memory.suspect_since is None or (wants_more_time(memory, now, limits) and not (seen.paused and others_run)):
        return Decision()
    if all_suspect:
        return Decision(held="all workers are suspect, which says more about what they share than about them: no power is cut")
    if memory.cut_at is not None and now - memory.cut_at < limits.cut_again:
        return Decision(held="its power was to be cut, but its VM isn't proven off: nothing is done without that proof")
    return Decision((Action.CUT,))


def _remember_power(power: Power | None, memory: Memory, now: float) -> Memory:
    if power is None:
        return memory
    if power.state is State.ON:
        if memory.process == power.process:
            return replace(memory, off_since=None)
        return replace(memory, process=power.process, on_since=now, off_since=None, heard=False)
    since = None if power.state is State.SAVED else now if memory.off_since is None else memory.off_since
    return replace(memory, process=None, on_since=None, off_since=since, heard=False)


def _remember_lease(seen: Observation, memory: Memory, limits: Limits) -> Memory:
    if seen.node is None or seen.answered is None or seen.answered == memory.answered:
        return memory
    changed = seen.node.renewed != memory.renewed
    if memory.answered is not None and seen.answered - memory.answered > limits.suspect_after:
        # The API server was silent: who couldn't renew a lease there isn't to blame. All counts begin anew.
        memory = replace(memory, renewed_at=seen.answered, suspect_since=None, cut_at=None)
    heard = memory.heard or (changed and memory.renewed is not None and memory.on_since is not None and seen.answered > memory.on_since)
    return replace(
        memory,
        answered=seen.answered,
        renewed=seen.node.renewed,
        renewed_at=seen.answered if changed and seen.node.renewed is not None else memory.renewed_at,
        heard=heard,
    )
