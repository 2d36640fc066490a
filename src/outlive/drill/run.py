"""A drill: a fault, a workload and a checker on a lab that is steady before and after.

Each of the three knows nothing of the others; this module puts them together and makes a timeline and a ledger of what was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from outlive.base.clock import Clock, Instant
from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import StateNotReachedError, WaitTimeoutError, persist, wait_for
from outlive.drill import checker, failover, lock_watch, settings
from outlive.drill.checker import Final, Ledger
from outlive.drill.faults import Fault, Kind, Target, shielded
from outlive.drill.history import History, Operation, Outcome
from outlive.drill.history import Kind as OperationKind
from outlive.drill.lock_watch import Sampler, Watch
from outlive.drill.recorder import Recorder
from outlive.drill.timeline import Moment, Span, Timeline, ordered
from outlive.drill.workload import Workload
from outlive.lab import mysql, mysql_storage, steady
from outlive.lab.mysql import NAMESPACE
from outlive.lab.mysql_storage import MysqlStorage
from outlive.lab.objects import Json, Node, Pod
from outlive.lab.session import Lab
from outlive.lab.ssh import ssh_command

SERVICE = "mysql-drill"
MANAGED_BY, POLICIES = "app.kubernetes.io/managed-by", "outlive-network-policy"
"""The label of the NetworkPolicies that the lab applies (role network_policy)."""
ASKED = "four clients' writes through a Service; a second without one acknowledged is no answer"
STORAGE = "MySQL's data lies on"
"""What the ledger calls it."""
SILENCE = 5.0
"""Seconds without an acknowledged write of any client that the ledger names; a client asks several times a second."""
WARM_UP = 5
"""Acknowledged writes before the fault and after the healing: less would say nothing."""
RECOVERED_WITHIN = 1500.0
"""Seconds to the first committed write: Kubernetes' defaults take about 350, an emulated host adds its own."""
STRANDED_AFTER = 480.0
"""Seconds that MySQL's new pod waits for a disk which its lost node keeps, until that counts as never. Kubernetes takes a disk away from a node after 360 s,
where it does so at all (kube-controller-manager's ``--attach-detach-reconcile-max-wait-for-unmount-duration``)."""
STEADY_WITHIN = 900.0
LOOK_WITHIN = 120.0
"""Seconds for a look at the lock's holder, taken every two where the NFS server answers."""
ANSWER_WITHIN = 300.0
"""Seconds for an API server that is busy, or starts again, to answer."""


@dataclass
class Drill:
    """What a drill found out so far."""

    kind: Kind
    profile: str
    pod: Pod
    fault: Fault
    operations: Callable[[], Sequence[Operation]]
    sampler: Sampler
    recorder: Recorder
    data: MysqlStorage
    """What MySQL's data lies on."""
    healed: Instant | None = None
    steady: Instant | None = None
    stranded: Moment | None = None
    """When MySQL's new pod had waited for so long for a disk that its lost node keeps that it would for ever, and what it was told; None where it didn't."""
    after: Pod | None = None
    """MySQL's pod when the lab was steady again."""
    damaged: tuple[str, ...] | None = None
    """What mysqld's own check says of tables that aren't whole; None where it wasn't asked."""
    ledger: Ledger | None = None
    failure: StateNotReachedError | None = None
    """What of the recovery wasn't seen in time."""
    notes: list[Moment] = field(default_factory=list)
    """Moments that others saw: the fencing watcher's."""

    @property
    def node_keeps_disk(self) -> bool:
        """Nobody says that the lost node is off, nor did its kubelet tell in time that MySQL's pod has ended: the disk stays with it until it is back."""
        until = self.stranded.at if self.stranded else self.healed  # once it is back, its kubelet ends what it was to end
        ended = any(
            isinstance(each.seen, Pod)
            and each.seen.uid == self.pod.uid
            and (each.seen.over or (each.seen.deleted and not each.seen.running))
            and (until is None or each.at < until)
            for each in self.recorder.sightings()
        )
        return self.kind.moves and self.data.attached and self.profile not in settings.WATCHED and not ended

    def returned(self) -> Instant | None:
        """Return when the node for which MySQL waited was seen Ready again; None where it wasn't."""
        return next(
            (
                each.at
                for each in self.recorder.sightings()
                if self.stranded
                and each.at >= self.stranded.at
                and isinstance(each.seen, Node)
                and each.seen.name == self.pod.node
                and each.seen.ready == "True"
            ),
            None,
        )

    def timeline(self) -> Timeline:
        """Return the moments seen so far."""
        fault = self.fault
        if fault.issued is None:
            raise LabError("Nothing was injected yet.")
        operations = self.operations()
        recovered = self.recovered()
        last = last_before_gap(operations, fault.issued)
        moments = (
            Moment("fault", "fault injected", fault.issued, f"{self.kind.title}; MySQL runs on {self.pod.node}"),
            Moment("last_write", "last acknowledged write", last.ended, f"{last.kind} {last.value}") if last else None,
            Moment("effect", "effect observed", fault.effect) if fault.effect else None,
            *failover.cluster_moments(self.pod, fault.issued, self.recorder.sightings()),
            *self.notes,
            self.stranded,
            Moment("first_write", "first committed write", recovered.ended, f"{recovered.kind} {recovered.value}") if recovered else None,
            Moment("healed", "fault healed", self.healed) if self.healed else None,
            Moment("steady", "lab steady again", self.steady) if self.steady else None,
        )
        title = f"{self.kind.title[0].upper()}{self.kind.title[1:]}, profile {self.profile}"
        gaps = self.recorder.gaps(fault.issued)
        return Timeline(title, fault.issued, ordered(moments), write_spans(operations, fault.issued), ASKED, gaps)

    def lock_watch(self) -> Watch:
        """Return what was sampled of InnoDB's lock from before the fault until the lab was steady.

        Raises:
            LabError: it didn't become steady.
        """
        if self.fault.issued is None or self.steady is None:
            raise LabError("The lab wasn't seen steady again, so whose lock it was then isn't known.")
        return lock_watch.watch(self.sampler.samples(), self.sampler.silences(), self.fault.issued, self.steady)

    def recovered(self) -> Operation | None:
        """Return the first write that was begun after the effect and acknowledged, or None so far."""
        if self.fault.effect is None:
            return None
        return checker.first_committed_write_after(self.operations(), self.fault.effect)


def last_before_gap(operations: Sequence[Operation], issued: Instant) -> Operation | None:
    """Return the last write that was acknowledged before the first failure after the fault; None where none failed.

    A write that is under way, which ends where it begins so far, is no failure.
    """
    over = [each for each in operations if each.outcome is not Outcome.UNKNOWN or each.ended > each.begun]
    writes = sorted((each for each in over if each.kind != "total" and each.ended >= issued), key=lambda each: each.ended)
    broken = next((each for each in writes if each.outcome is not Outcome.OK), None)
    if broken is None:
        return None
    return next((each for each in reversed(writes) if each.outcome is Outcome.OK and each.ended <= broken.ended), None)


def write_spans(operations: Sequence[Operation], origin: Instant) -> tuple[Span, ...]:
    """Return the stretches with and without acknowledged writes, of all clients together, in seconds from the origin."""
    spans: list[Span] = []
    at = 0.0
    for window in checker.windows(operations, origin):
        if window.end <= 0:
            continue  # over before the fault
        if window.start > at:
            spans.append(Span(at, window.start, answered=True))
        spans.append(Span(max(at, window.start), window.end, answered=False))
        at = window.end
    last = max((each.ended.since(origin) for each in operations if each.outcome is Outcome.OK), default=0.0)
    if last > at:
        spans.append(Span(at, last, answered=True))
    return tuple(spans)


def target_of(lab: Lab, node: str | None, on_change: Callable[[], object] = lambda: None) -> Target:
    """Return what a fault is made for: MySQL's pod where the lab is steady.

    Raises:
        LabError: the lab isn't steady, ``node`` isn't in it, or MySQL doesn't run there.
    """
    if node is not None:
        lab.inventory.host(node)
    pod = steady.check(lab.cluster, lab.workers)
    if node not in (None, pod.node):
        raise LabError(
            f"--node is {node!r}, and MySQL runs on {pod.node}: a fault on another node breaks nothing, so leave --node out or name {pod.node}."
        )
    return Target.of(lab, pod, on_change=on_change)


def check_way(lab: Lab) -> None:
    """See that nothing keeps the drill's client away from MySQL: it comes from this host, by a node's port, so no policy can name it as a pod.

    Raises:
        LabError: a NetworkPolicy of the lab's own does.
    """
    policies = [each["metadata"] for each in lab.cluster.listing("networkpolicies", NAMESPACE)]
    ours = [each["name"] for each in policies if each.get("labels", {}).get(MANAGED_BY) == POLICIES]
    if ours:
        raise LabError(
            f"The NetworkPolicy {', '.join(ours)} keeps out the drill's client, which comes from this host by a node's port: "
            "set network_policy_enabled to false, run `outlive provision`, then the drill again."
        )


def check_storage(data: MysqlStorage, kind: Kind, profile: str) -> None:
    """See that a fault under a recovery profile says something of the storage that MySQL's data lies on.

    Raises:
        LabError: the fault is one of the NFS server, or the profile is for its lock, and the data isn't there.
    """
    if not data.attached:
        return
    if profile == settings.STANDBY:
        raise LabError(
            f"MySQL's data lies on a disk over {data.kind}, which belongs to one node at a time, and under {profile} a second pod waits for the lock of "
            "a folder: choose another --profile, or set storage_tutorial_mysql_storage to nfs in a lab made anew."
        )
    if kind.of_nfs:
        raise LabError(
            f"MySQL's data lies on a disk over {data.kind}, and {kind.name} breaks NFS: choose another --fault, "
            "or set storage_tutorial_mysql_storage to nfs in a lab made anew."
        )
    if not kind.spares_server:
        raise LabError(
            f"MySQL's data lies on a disk over {data.kind}, and {kind.name} takes the disk's server away, for longer than the node waits for it "
            "(120 s, then I/O errors): that was never tried, so choose another --fault."
        )


@contextmanager
def entry(lab: Lab, kind: Kind, pod: Pod) -> Iterator[Callable[[], tuple[str, int]]]:
    """Open a way to MySQL's Service from the host while entered: a port of a node that the fault spares.

    Yields:
        A function that returns address and port.
    """
    spared = [
        host
        for host in lab.inventory.group("cluster")
        if host.name != pod.node and (kind.spares_server or host.name != lab.inventory.group("nfs_servers")[0].name)
    ]
    lab.cluster.delete_service(NAMESPACE, SERVICE)
    made = lab.cluster.create_service(NAMESPACE, service(lab))
    try:
        port = int(made["spec"]["ports"][0]["nodePort"])
        yield lambda: (spared[0].address, port)
    finally:
        persist(f"service {SERVICE}", lambda: lab.cluster.delete_service(NAMESPACE, SERVICE), within=ANSWER_WITHIN, clock=lab.clock)


def service(lab: Lab) -> dict[str, Any]:
    """Return the manifest of the drill's Service: MySQL's, on a port of every node."""
    selector = dict(each.split("=", 1) for each in lab.cluster.deployment(NAMESPACE, mysql.DEPLOYMENT).selector.split(","))
    manifest: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE},
        "spec": {"type": "NodePort", "selector": selector, "ports": [{"port": 3306, "targetPort": 3306}]},
    }
    return dict(manifest)


def run(
    lab: Lab,
    kind: Kind,
    profile: str,
    journal: Path,
    *,
    node: str | None = None,
    weakened: Callable[[Workload], AbstractContextManager[object]] = nullcontext,
    on_change: Callable[[Drill], object] = lambda _: None,
) -> Drill:
    """Run one drill to its end and return what was seen; whatever was broken is whole again.

    Args:
        lab: The lab.
        kind: The fault.
        profile: The recovery profile that the lab has to have.
        journal: File for the history of every operation.
        node: The node that must run MySQL; None takes any.
        weakened: Switches some of the durability off while entered; only a proof that losses are found wants that.
        on_change: Called whenever something new was seen, to keep it in a report.

    Raises:
        LabError: the lab isn't steady or isn't what was asked for, and nothing was touched; the fault had no effect that was seen; or the
            lab has other settings afterwards than before.
        WaitTimeoutError: it didn't recover in time.
    """
    deployment = lab.cluster.deployment(NAMESPACE, mysql.DEPLOYMENT)
    seen: list[Drill] = []
    target = target_of(lab, node, lambda: [on_change(drill) for drill in seen])
    data = mysql_storage.of(lab.cluster, lab.inventory)
    check_storage(data, kind, profile)
    settings.check(lab, profile)
    check_way(lab)
    account = mysql.account(lab.cluster, deployment)
    records = {pod.uid for pod in lab.cluster.all_pods() if pod.over}
    with ExitStack() as stack:
        endpoint = stack.enter_context(entry(lab, kind, target.pod))
        history = stack.enter_context(History(journal, lab.clock))
        workload = Workload(endpoint, "root", account.password, history, clock=lab.clock)
        workload.prepare()
        stack.enter_context(weakened(workload))
        recorder = stack.enter_context(Recorder(lab.cluster, NAMESPACE, lab.clock))
        server = data.server
        sampler = Sampler(
            lock_watch.command(ssh_command(server), data, lock_watch.OFTEN if profile == settings.STANDBY else lock_watch.EVERY),
            data.holders,
            partial(lock_watch.answers, server.address, data.port),
            lab.clock,
        )
        stack.enter_context(sampler)
        drill = Drill(kind, profile, target.pod, kind.make(target), history.operations, sampler, recorder, data)
        seen.append(drill)
        with workload:
            with steady.before_fault():
                _await_writes(history, None, lab.clock)
            _await_look(sampler, None, lab.clock)
            _break_and_heal(drill, lab, on_change)
            _await_recovery(drill, lab.clock, on_change)
            drill.after = await_steady(lab)
            drill.steady = lab.clock.now()
            persist("pods that ended", lambda: _tidy(lab, records), within=ANSWER_WITHIN, clock=lab.clock)
            _await_writes(history, drill.steady, lab.clock)
            _await_look(sampler, drill.steady, lab.clock)
        assert drill.fault.issued is not None
        final, drill.damaged = last_evidence(workload)
        drill.ledger = checker.check(history.operations(), final, drill.fault.issued)
        on_change(drill)
    # What was written to a machine and not yet used is used when its program starts again, as a fault may make it.
    settings.check(lab, profile, " any more after the drill")
    return drill


def last_evidence(workload: Workload) -> tuple[Final | None, tuple[str, ...] | None]:
    """Return what the tables hold, and what ``CHECK TABLE`` says of them; None for what got no answer in time, which is unknown, not lost.

    Each by itself: where mysqld ends each time it meets a broken page, what was read before proves the loss.
    """
    final, damaged = None, None
    with suppress(WaitTimeoutError):
        final = workload.final_read()
    with suppress(WaitTimeoutError):
        damaged = workload.check_tables()
    return final, damaged


def _break_and_heal(drill: Drill, lab: Lab, on_change: Callable[[Drill], object]) -> None:
    """Inject the fault, let it do its work, and heal it, however that ends."""

    def mend() -> None:
        drill.fault.heal()
        drill.healed = lab.clock.now() if drill.fault.issued else None

    try:
        try:
            drill.fault.inject()
        except StateNotReachedError as error:
            if drill.kind.bounded:
                raise
            raise LabError(f"The fault had no effect that was seen ({error}), so this drill says nothing: run it again.") from error
        if drill.kind.moves:
            _await_recovery(drill, lab.clock, on_change, partial(_stranded, drill, lab))
        elif drill.kind.hold:
            _hold(drill, lab.clock)
    finally:
        shielded(mend)
    on_change(drill)


def await_steady(lab: Lab) -> Pod:
    """Wait until a fault could be injected again: all nodes Ready, one pod of MySQL, none Terminating; return MySQL's pod."""

    def look() -> Pod | str:
        try:
            pod = steady.check(lab.cluster, lab.workers)
        except UnreachableError:
            raise
        except LabError as error:
            return str(error)
        hanging = [pod.name for pod in lab.cluster.all_pods() if pod.deleted]
        return f"Terminating: {', '.join(hanging)}" if hanging else pod

    seen = wait_for("lab", "steady", look, lambda seen: isinstance(seen, Pod), within=STEADY_WITHIN, every=2.0, clock=lab.clock)
    assert isinstance(seen, Pod)
    return seen


def _tidy(lab: Lab, records: Collection[str]) -> None:
    """Delete the pods that ended for good meanwhile: the API keeps those of a node that was shut down in order."""
    for pod in lab.cluster.all_pods():
        if pod.over and pod.uid not in records:
            lab.cluster.delete_pod(pod.namespace, pod.name, grace=0)


def _await_writes(history: History, since: Instant | None, clock: Clock) -> None:
    """Wait until each kind of client was answered since a moment, and enough was acknowledged: what nobody does anew tells nothing anew."""
    wait_for(
        "workload",
        f"{WARM_UP} acknowledged writes, inserts and transfers, and a read",
        lambda: Counter(
            each.kind for each in history.operations() if each.outcome is Outcome.OK and (since is None or each.begun >= since)
        ),
        lambda answered: len(answered) == len(get_args(OperationKind)) and answered["insert"] + answered["transfer"] >= WARM_UP,
        within=300,
        describe=lambda answered: ", ".join(f"{kind} {answered[kind]}" for kind in get_args(OperationKind)),
        clock=clock,
    )


def _await_look(sampler: Sampler, since: Instant | None, clock: Clock) -> None:
    """Wait until somebody was seen to hold the lock since a moment; where nobody was in time, the statement about it stays unknown."""
    with suppress(WaitTimeoutError):
        wait_for(
            "InnoDB's lock",
            "a holder",
            lambda: [each for each in sampler.samples() if each.holders and (since is None or each.at >= since)],
            bool,
            within=LOOK_WITHIN,
            clock=clock,
        )


def _await_recovery(drill: Drill, clock: Clock, on_change: Callable[[Drill], object], stranded: Callable[[], bool] = lambda: False) -> None:
    """Wait for a committed write, or until MySQL is seen to be stranded."""

    def look() -> bool:
        on_change(drill)
        return drill.recovered() is not None or stranded()

    wait_for(
        f"MySQL after {drill.kind.title}",
        "a committed write",
        look,
        bool,
        within=RECOVERED_WITHIN,
        describe=lambda _: f"none; {drill.timeline().moments[-1].title} at {drill.timeline().total:.0f} s",
        clock=clock,
    )
    on_change(drill)


def _stranded(drill: Drill, lab: Lab) -> bool:
    """Say whether MySQL's new pod has waited for its disk for so long that it would for ever; take note of it, with what the pod was told."""
    if not drill.data.attached:
        return False
    timeline = drill.timeline()
    scheduled = timeline.seconds("replacement_scheduled")
    if scheduled is None or lab.clock.now().since(timeline.origin) - scheduled < STRANDED_AFTER:
        return False
    pods = {each.seen.uid for each in drill.recorder.sightings() if each.at >= timeline.origin and failover.replaces(each.seen, drill.pod)}
    told = [each for each in lab.cluster.listing("events", NAMESPACE) if each["involvedObject"].get("uid") in pods]
    refused = [each for each in told if each.get("reason") == "FailedAttachVolume"]
    # One that got its disk, and doesn't run for another reason, is a recovery that has still to come.
    if not refused or any(each.get("reason") == "SuccessfulAttachVolume" for each in told):
        return False
    title = f"never: its new pod has waited for the disk for {STRANDED_AFTER:.0f} s"
    drill.stranded = Moment("stranded", title, lab.clock.now(), str(refused[-1].get("message", "")))
    return True


def _hold(drill: Drill, clock: Clock) -> None:
    """Let the fault last: its length is part of it."""
    effect = drill.fault.effect or clock.now()
    wait_for(
        f"the fault ({drill.kind.name})",
        f"{drill.kind.hold:.0f} s long",
        lambda: clock.now().since(effect),
        lambda seconds: seconds >= drill.kind.hold,
        within=drill.kind.hold + 60,
        describe=lambda seconds: f"{seconds:.0f} s",
        clock=clock,
    )


def ledger_in_words(seen: Drill) -> dict[str, object]:
    """Return a drill's ledger as a reader wants it; of one that was cut short, without a final read."""
    if seen.fault.issued is None:
        raise LabError("The drill has no ledger.")
    ledger = seen.ledger or checker.check(seen.operations(), None, seen.fault.issued)
    windows = checker.windows(seen.operations(), seen.fault.issued, SILENCE)

    def number(*kinds: Sequence[object]) -> int | str:
        """Return how many were found; none is no finding where evidence is missing."""
        return sum(map(len, kinds)) or ("unknown" if ledger.missing else 0)

    return {
        STORAGE: seen.data.kind,
        "verdict": ledger.verdict.value,
        "because": " ".join(ledger.reasons),
        "writes attempted": ledger.attempted,
        "acknowledged": ledger.acknowledged,
        "failed (certainly without effect)": ledger.failed,
        "unknown (no answer to COMMIT)": ledger.unknown,
        "unknown, but found": len(ledger.recovered),
        "acknowledged, but lost": number(ledger.lost),
        "found unexpectedly": number(ledger.unexpected),
        "found or acknowledged twice": number(ledger.duplicated),
        "reads of all balances": ledger.reads,
        "stale, dirty, fractured or forked reads": number(
            ledger.stale_reads, ledger.dirty_reads, ledger.fractured_reads, ledger.forked_reads
        ),
        "lost updates": number(ledger.lost_updates),
        "seen by a read, then taken back by a crash": len(ledger.vanished),
        f"without an acknowledged write for more than {SILENCE:.0f} s": "; ".join(
            f"{window.start:.1f} to {window.end:.1f} s ({window.end - window.start:.1f} s)" for window in windows
        )
        or "never",
    }
