"""What `outlive fence` does, and its command line."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlive import cli
from outlive.base.errors import EXIT_UNKNOWN, LabError, NotFoundError, UnreachableError
from outlive.base.paths import ROOT
from outlive.fence import command
from outlive.fence.decisions import Fenced, NodeState
from outlive.fence.log import Log
from outlive.lab import inventory
from outlive.lab.inventory import Inventory
from outlive.lab.power import State
from tests.fence.simulation import WORKERS, SimApi, SimHypervisor, SimStorage, World


def test_second_watcher_says_one_sentence(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "fence.lock"
    with (
        command.only_one(lock),
        pytest.raises(LabError, match=rf"A watcher runs already \(process \d+ holds {lock}\): only one may fence\."),
        command.only_one(lock),
    ):
        pass
    with command.only_one(lock):
        assert lock.read_text().strip().isdigit()


def test_status_and_release(world: World) -> None:
    api, hypervisor, storage = SimApi(world), SimHypervisor(world), SimStorage(world)
    world.run(20)
    world.power_off("n1")
    world.run(3)
    lines = command.status(WORKERS, api, hypervisor, storage)
    assert lines[0].startswith("n1: VM off, node Ready, fenced since 2026-01-02T03:04:")
    assert lines[0].endswith("(boot id n1-1), NFS revoked")
    assert lines[1] == "n2: VM on, node Ready, not fenced, NFS open"
    world.power_on("n1")
    world.vms["n1"].start = 3
    world.change("n1", boot="n1-3")
    assert command.release("n1", WORKERS, api, hypervisor, storage).startswith("n1 is released")
    world.run(60)
    assert world.free("n1")
    with pytest.raises(LabError, match="'m' is no worker of the inventory: choose one of n1, n2"):
        command.release("m", WORKERS, api, hypervisor, storage)
    world.blind = True
    assert command.status(WORKERS, api, hypervisor, storage)[0].startswith("n1: VM unknown (the hypervisor gave no answer)")


def fence(world: World) -> Callable[[], str]:
    """Fence n1, whose VM is off then; return what releases it by hand while no watcher runs."""
    world.run(20)
    world.power_off("n1")
    world.run(3)
    assert world.fenced("n1")
    return lambda: command.release("n1", WORKERS, SimApi(world), SimHypervisor(world), SimStorage(world))


def test_release_of_a_vm_that_is_off(world: World) -> None:
    release = fence(world)
    world.change("n1", boot="n1-2")  # the simulation's API wants another boot at each unmark
    assert release().startswith("n1 is released")
    assert world.revoked == set()
    assert not world.nodes["n1"].tainted


def still_fenced(world: World, release: Callable[[], str], sentence: str) -> None:
    """See a release refused that would let hung writes through, and nothing changed by it."""
    with pytest.raises(LabError, match=rf"n1 can't be released: .*{sentence}.*cut its power with `vagrant halt --force n1`") as raised:
        release()
    assert type(raised.value) is LabError
    assert world.fenced("n1")


def test_release_of_a_vm_that_never_booted_anew_is_refused(world: World) -> None:
    release = fence(world)
    world.vms["n1"].state = State.ON  # its memory was brought back: the boot is the fenced one
    still_fenced(world, release, "its node has the boot id n1-1 that it was fenced with, so its hung writes may still come")


def test_release_without_a_known_boot_wants_the_vm_off(world: World) -> None:
    release = fence(world)
    world.change("n1", fenced=Fenced("", "yes"))
    world.vms["n1"].state = State.ON
    still_fenced(world, release, "an annotation that names no boot id")
    world.power_off("n1")
    assert release().startswith("n1 is released")


def test_release_of_a_saved_vm_is_refused(world: World) -> None:
    release = fence(world)
    world.vms["n1"].state = State.SAVED
    still_fenced(world, release, "memory is saved and would go on where it was")


def test_release_of_what_nobody_knows_is_refused(world: World) -> None:
    release = fence(world)
    world.blind = True
    still_fenced(world, release, r"it isn't known whether its VM is off \(the hypervisor gave no answer\)")


def test_release_of_a_worker_that_is_no_node_any_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release = fence(world)

    def gone(*_: object) -> NodeState:
        raise NotFoundError("no node")

    monkeypatch.setattr(SimApi, "read", gone)
    assert release().startswith("n1 is released")
    assert world.revoked == set()


def test_release_of_a_running_vm_without_its_node_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its boot may be the one that was fenced: only the Node would say."""
    release = fence(world)
    world.vms["n1"].state = State.ON

    def gone(*_: object) -> NodeState:
        raise NotFoundError("no node")

    monkeypatch.setattr(SimApi, "read", gone)
    still_fenced(world, release, "without its Node nobody knows whether it was started anew")


@pytest.mark.parametrize("state", [State.ON, State.OFF])
def test_release_of_a_worker_that_was_removed_as_lost_is_refused(world: World, state: State) -> None:
    """The playbook restarts its machine before it lets it in; nothing that the watcher does reaches its set."""
    world.lost.add(WORKERS["n1"])
    world.run(120)
    world.vms["n1"].state = state
    api, hypervisor, storage = SimApi(world), SimHypervisor(world), SimStorage(world)
    with pytest.raises(LabError, match=r"it was removed as lost, .*remove-node.yml -e node=n1` restarts its machine"):
        command.release("n1", WORKERS, api, hypervisor, storage)
    assert command.status(WORKERS, api, hypervisor, storage)[0].endswith("NFS revoked, as it was removed as lost")
    assert world.lost == {WORKERS["n1"]}


def test_check_bears_what_merely_gives_no_answer() -> None:
    def unreachable() -> None:
        raise UnreachableError("no answer")

    def wrong() -> None:
        raise LabError("No nft.")

    output = io.StringIO()
    with pytest.raises(LabError, match="No nft"):
        command.check([unreachable, wrong], Log(output))
    assert "check: no answer" in output.getvalue()


@pytest.fixture
def signals() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_cleanly(world: World, number: signal.Signals) -> None:
    world.hook = lambda: signal.raise_signal(number)
    command.run(world.watcher)
    assert world.steps() == ["started", "stopped"]


@pytest.mark.usefixtures("signals")
def test_error_is_one_sentence(
    small_inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUTLIVE_SHELL", str(ROOT))
    monkeypatch.setattr(inventory, "load", lambda: small_inventory)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert cli.main(["fence", "status"]) == EXIT_UNKNOWN
    assert capsys.readouterr().err.startswith(f"error: The kubeconfig {tmp_path}/missing (KUBECONFIG) isn't there")


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("value", ["0", "3601", "soon"])
def test_impossible_seconds(value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OUTLIVE_SHELL", str(ROOT))
    assert cli.main(["fence", "watch", "--suspect-after", value]) == EXIT_UNKNOWN
    assert "--suspect-after" in capsys.readouterr().err
