"""The node of the MySQL pod is powered off: the pod goes to another node and the rows are still there.

One row is the tutorial's, which stands since the first run, the other is new in each run: only that one can't be a row of an earlier run.

The tests of this file are one story, told once: the fixtures make it happen and measure it, each test verifies one statement of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import LabError
from outlive.base.wait import persist, wait_for
from outlive.drill import settings
from outlive.drill.failover import Outage, come_home, failover, replaces
from outlive.drill.faults import PowerOff, Target, injected
from outlive.drill.profiles import DEFAULT
from outlive.drill.recorder import Recorder
from outlive.drill.timeline import Timeline
from outlive.lab import mysql, mysql_storage, nfs, power, steady
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, RUNS, Account, Witness, read_rows
from outlive.lab.objects import Node, Pod
from outlive.lab.power import Power, State
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from outlive.report.model import Report
from verify.stories import LeftOutError, Narrator, waits_for

pytestmark = pytest.mark.usefixtures("two_workers")

# Bounds, not expectations: Kubernetes' defaults take about 350 s from the power-off to the replacement, a loaded host more.
STEPS = {
    "not_ready": 300.0,
    "evicted": 900.0,
    "replacement_created": 120.0,
    "replacement_scheduled": 120.0,
    "replacement_running": 600.0,
    "replacement_ready": 600.0,
    "first_answer": 600.0,
}
"""The moments that the fail-over is waited through, each with the seconds it may take after the one before."""
SETTLED_WITHIN = 600.0


@dataclass
class Story:
    """A fail-over as it was seen."""

    pod: Pod
    boot: str
    """Boot id of its node before the power-off."""
    run: str
    """The row that MySQL acknowledged in this run, right before the power-off."""
    fault: PowerOff
    observe: Callable[[], Timeline]
    timeline: Timeline


@pytest.fixture(scope="module", autouse=True)
def moves_by_itself(two_workers: None, lab: Inventory, cluster: Cluster) -> None:
    """Leave all of this out where MySQL's disk stays with its dead node."""
    del two_workers
    data = mysql_storage.of(cluster, lab)
    if data.attached:
        raise LeftOutError(
            f"MySQL's data lies on a disk over {data.kind}, which Kubernetes leaves with a node that is off: `outlive drill power-off` shows what comes of it under each profile"
        )


@pytest.fixture(scope="module")
def story(alone: None, lab: Inventory, cluster: Cluster, remote: Remote, report: Report, narrator: Narrator) -> Iterator[Story]:
    """Power off the node that runs MySQL, watch the fail-over to its end, and power the node on again whatever happens."""
    del alone
    pod = steady.check(cluster, [host.name for host in lab.workers])
    # This story is that of Kubernetes' defaults: under others a node that is shut down may end its pods itself.
    settings.check(Lab(lab, cluster, remote), DEFAULT)
    account = mysql.account(cluster, cluster.deployment(NAMESPACE, mysql.DEPLOYMENT))
    mysql.write_row(cluster, account)
    boot, run = cluster.node(pod.node).boot, int(HOST_CLOCK.now().wall.timestamp())
    mysql.write_run(cluster, account, run)
    with ExitStack() as stack:
        recorder = stack.enter_context(Recorder(cluster, NAMESPACE))
        with steady.before_fault():
            witness = stack.enter_context(Witness(cluster, account, lab.group("control_plane")[0].name))

        def observe() -> Timeline:
            """Return what was seen so far, and keep it in the report."""
            if fault.issued is None:
                raise AssertionError("nothing was injected yet")
            seen = failover(Outage(pod, fault.issued, fault.effect), recorder.sightings(), witness.answers())
            seen = replace(seen, gaps=recorder.gaps(fault.issued))
            if narrator.tell(seen, waits_for(pod)):
                report.run.timelines["fail-over"] = seen
                report.write()
            return seen

        fault = PowerOff.of(Target.of(Lab(lab, cluster, remote), pod, on_change=lambda: observe()))
        stack.enter_context(narrator.clock("the fail-over"))
        stack.enter_context(injected(fault))
        timeline = observe()
        for moment, within in STEPS.items():
            timeline = wait_for(
                f"fail-over of MySQL from {pod.node}",
                moment.replace("_", " "),
                observe,
                lambda seen, wanted=moment: seen.seconds(wanted) is not None,  # type: ignore[misc]
                within=within,
                describe=lambda seen: f"{seen.moments[-1].title} at {seen.total:.0f} s",
            )
        yield Story(pod, boot, str(run), fault, observe, timeline)


@pytest.fixture(scope="module")
def homecoming(story: Story, cluster: Cluster, report: Report, narrator: Narrator) -> Story:
    """Power the node on again and wait until no pod of MySQL hangs in Terminating."""
    story.fault.heal()
    wait_for(
        "pods of the cluster",
        "none Terminating and one of MySQL Ready",
        lambda: [pod for pod in cluster.all_pods() if pod.deleted or replaces(pod, story.pod)],
        lambda pods: [pod.ready and not pod.deleted for pod in pods] == [True],
        within=SETTLED_WITHIN,
        describe=lambda pods: ", ".join(f"{pod.name} {pod.state} on {pod.node}" for pod in pods) or "no pod of MySQL",
    )
    settled = HOST_CLOCK.now()
    if story.fault.powered_on is not None:
        report.run.timelines["return"] = come_home(story.pod.node, story.fault.powered_on, story.fault.node_ready, settled)
        narrator.tell(report.run.timelines["return"])
    report.run.timelines["fail-over"] = story.observe()
    report.write()
    return story


def signs_of_life(power: Power, node: Node, boot: str) -> list[str]:
    """Return what speaks against a node being off ever since the boot ``boot``, by the hypervisor and by the API."""
    return [
        *([f"its VM is {power.state.value}"] if power.state is not State.OFF else []),
        *([f"its node is {node.state}"] if node.ready == "True" else []),
        *(["its node booted anew"] if node.boot != boot else []),
    ]


def look(story: Story, cluster: Cluster) -> list[str]:
    """Ask the hypervisor and the API for signs of life, until both answer."""
    name = story.pod.node
    return persist(
        f"VM and node of {name}", lambda: signs_of_life(power.look(power.find(name)), cluster.node(name), story.boot), within=120
    )


def rows(cluster: Cluster, account: Account) -> tuple[list[str], list[str]]:
    """Return the tutorial's rows and those of this run, by the tutorial's client."""
    return read_rows(cluster, account), read_rows(cluster, account, RUNS)


def test_every_moment_was_seen_in_order(story: Story) -> None:
    """Power-off, VM process gone, NotReady, eviction, replacement created, running and first query were all seen, in this order."""
    wanted = ["power_off", "process_gone", *STEPS]
    hole = story.timeline.unwatched(story.timeline.total)
    if hole:  # what is told late is out of order, or is never told
        raise LabError(hole)
    seconds = {key: story.timeline.seconds(key) for key in wanted}
    assert None not in seconds.values(), f"not seen: {[key for key, value in seconds.items() if value is None]}"
    chain = [seconds[key] or 0.0 for key in ("power_off", "process_gone", "not_ready", "evicted", "replacement_running", "first_answer")]
    assert chain == sorted(chain), f"out of order: {seconds}"


def test_old_pod_is_terminating_and_new_one_runs_elsewhere(story: Story, cluster: Cluster) -> None:
    """The old pod is Terminating on the dead node and a new one is Running on another."""
    pods = cluster.pods(NAMESPACE, cluster.deployment(NAMESPACE, mysql.DEPLOYMENT).selector)
    old = [pod for pod in pods if pod.uid == story.pod.uid]
    new = [pod for pod in pods if replaces(pod, story.pod)]
    assert [(pod.state, pod.node) for pod in old] == [("Terminating", story.pod.node)]
    assert [pod.phase for pod in new] == ["Running"]
    assert new[0].node not in ("", story.pod.node)


def test_rows_outlived_the_node(story: Story, cluster: Cluster, account: Account) -> None:
    """The tutorial's client reads 111 and this run's row; right before and after, the old node's VM is off and its node NotReady."""
    before = look(story, cluster)
    read = rows(cluster, account)
    after = look(story, cluster)
    assert read == (["111"], [story.run])
    assert (before, after) == ([], []), f"{story.pod.node} isn't off: {before} before the read, {after} after it"


def test_node_returns_and_no_pod_hangs(homecoming: Story, cluster: Cluster) -> None:
    """Powered on again, the node is Ready and no pod hangs in Terminating."""
    assert cluster.node(homecoming.pod.node).ready == "True"
    assert [pod.name for pod in cluster.all_pods() if pod.deleted] == []


def test_rows_outlived_the_return(homecoming: Story, cluster: Cluster, account: Account) -> None:
    """After the node's return 111 and this run's row are still there, each once."""
    assert rows(cluster, account) == (["111"], [homecoming.run])


@pytest.mark.usefixtures("homecoming")
def test_exactly_one_mysqld_runs(lab: Inventory, remote: Remote) -> None:
    """In the whole cluster exactly one mysqld runs."""
    # pgrep's status is 1 where it found none; any other failure must not count as none.
    running = {host.name: remote.check(host.name, "pgrep -x mysqld || [ $? = 1 ]").split() for host in lab.group("cluster")}
    assert sum(map(len, running.values())) == 1, f"processes by node: {running}"


@pytest.mark.usefixtures("homecoming")
def test_exactly_one_client_holds_the_data_file(lab: Inventory, cluster: Cluster, remote: Remote) -> None:
    """On the NFS server exactly one client holds ibdata1, and it is the node of the new pod."""
    pods = cluster.pods(NAMESPACE, cluster.deployment(NAMESPACE, mysql.DEPLOYMENT).selector)
    path = f"{cluster.volume('mysql-pv').path}/ibdata1"
    holders = [client for client in nfs.clients(remote, lab.group("nfs_servers")[0].name) if client.holds(path)]
    assert [client.address for client in holders] == [lab.host(pod.node).address for pod in pods]
