"""The whole watcher against a simulated lab."""

from __future__ import annotations

import json
import threading

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.fence.decisions import NodeState
from outlive.fence.watcher import Lanes
from outlive.lab.power import State
from tests.fence.simulation import WORKERS, Hanging, SimApi, SimHypervisor, SimStorage, World


def test_all_is_well(world: World) -> None:
    world.run(200)
    assert world.steps("n1") == world.steps("n2") == world.steps() == []
    assert world.cuts == []
    assert world.heard("n1") == world.heard("n2") == 1


def test_a_node_is_heard_once_for_each_start(world: World) -> None:
    """The log says so: who breaks something on purpose waits for it, since a node that was never heard may be one that boots."""
    world.run(20)
    world.power_off("n1")
    world.run(100)
    assert world.heard("n1") == 1
    world.power_on("n1")
    world.run(60)
    assert (world.heard("n1"), world.heard("n2")) == (2, 1)


def test_power_cut_and_return(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(3)
    assert world.fenced("n1")
    assert world.nodes["n1"].taints[0] == {"key": "other"}
    assert world.steps("n1") == ["off", "suspected", "revoked", "expired", "tainted"]
    world.run(100)
    assert world.cuts == []
    world.power_on("n1")
    world.run(2)
    assert "192.0.2.11" not in world.revoked
    assert world.nodes["n1"].tainted
    world.run(40)
    assert world.free("n1")
    assert world.steps("n1")[5:] == ["on", "cleared", "opened", "untainted"]
    assert world.steps("n2") == []


def test_pods_that_no_kubelet_ends_are_deleted_by_force() -> None:
    """A disk that they have is let go only then; Kubernetes itself waits until the node isn't Ready."""
    world = World(runs_pods=True)
    world.run(20)
    world.power_off("n1")
    world.run(6)
    assert world.nodes["n1"].ready == "True"
    assert sorted(world.pods) == ["n2"]
    assert world.steps("n1") == ["off", "suspected", "revoked", "expired", "tainted", "deleted"]
    assert world.texts("deleted") == ["default/mysql-1"]
    world.run(60)
    assert world.steps("n1").count("deleted") == 1
    world.power_on("n1")
    world.run(60)
    assert world.pods["n1"].uid == "2"


def test_pods_of_a_node_that_is_on_again_are_left_to_its_kubelet() -> None:
    world = World(runs_pods=True)
    world.run(20)
    world.power_off("n1")
    world.run(3, until=lambda: world.nodes["n1"].tainted)
    world.power_on("n1")
    world.run(60)
    assert "deleted" not in world.steps("n1")
    assert world.free("n1")


def test_a_node_that_is_back_before_the_cluster_missed_it_keeps_the_taint_until_its_new_boot(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(3)
    world.power_on("n1")
    world.run(5)
    assert world.nodes["n1"].ready == "True"  # still the old kubelet's word
    assert world.nodes["n1"].tainted
    world.run(30, until=lambda: world.free("n1"))
    assert world.nodes["n1"].boot == "n1-2"


def test_frozen_node_loses_its_power_first(world: World) -> None:
    world.run(20)
    world.vms["n1"].frozen = True
    world.run(40)
    assert world.cuts == []
    world.run(20)
    assert world.cuts == ["n1"]
    assert world.fenced("n1")
    assert world.steps("n1") == ["suspected", "cut", "off", "revoked", "expired", "tainted"]


def test_paused_vm_needs_no_more_time(world: World) -> None:
    """A node whose processors stand isn't slow: its power is cut as soon as it is suspect."""
    world.run(20)
    world.vms["n1"].paused = True
    world.run(28, until=lambda: world.fenced("n1"))
    assert world.cuts == ["n1"]
    assert world.fenced("n1")
    assert world.steps("n1") == ["suspected", "cut", "off", "revoked", "expired", "tainted"]
    assert world.texts("cut") == ["its VM is paused"]


def test_paused_vm_that_goes_on_before_the_cut_is_let_live(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again right before."""
    world.run(20)
    world.vms["n1"].paused = True
    asked: list[str] = []

    def paused(_: SimHypervisor, name: str) -> bool:
        asked.append(name)
        world.vms["n1"].paused = len(asked) < 2
        return world.vms[name].paused

    monkeypatch.setattr(SimHypervisor, "paused", paused)
    world.run(100)
    assert world.cuts == []
    assert world.steps("n1") == ["suspected", "aborted", "cleared"]


def test_all_workers_paused_are_left_alone(world: World) -> None:
    """What all of them have is the host's: somebody suspended them, or their disk is full. Their leases end one after the other."""
    world.renewed_at["n2"] = 5.0
    world.run(24)
    for vm in world.vms.values():
        vm.paused = True
    world.run(200)
    assert world.cuts == []


def test_paused_vm_is_given_time_while_nothing_is_known_of_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(20)
    world.vms["n1"].paused = True

    def paused(_: SimHypervisor, name: str) -> bool:
        if name == "n2":
            raise UnreachableError("the hypervisor gave no answer")
        return world.vms[name].paused

    monkeypatch.setattr(SimHypervisor, "paused", paused)
    world.run(40)
    assert world.cuts == []
    world.run(20)
    assert world.cuts == ["n1"]


def test_server_that_fails_for_one_node_serves_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is tried again at once, and n1 comes first in the inventory."""
    lanes = Hanging("storage")
    world.lanes = lambda done: lanes
    world.restart()
    world.run(20)
    expire = SimStorage.expire

    def fails(self: SimStorage, address: str) -> None:
        if address == WORKERS["n1"]:
            raise LabError("a session is left.")
        expire(self, address)

    monkeypatch.setattr(SimStorage, "expire", fails)
    for name in WORKERS:
        world.power_off(name)
    for _ in range(8):
        world.run(1)
        for job in list(lanes.jobs):
            lanes.jobs.pop(job)()
    assert not world.clients[WORKERS["n2"]]
    assert WORKERS["n2"] in world.revoked


def test_saved_vm_is_not_off(world: World) -> None:
    world.run(20)
    world.save("n1")
    world.run(40)
    assert world.steps("n1") == ["suspected"]
    world.run(20)
    assert world.vms["n1"].state is State.OFF
    assert world.fenced("n1")


def test_slow_node_that_comes_back(world: World) -> None:
    world.run(20)
    world.vms["n1"].cut_off = True
    world.run(40)
    world.vms["n1"].cut_off = False
    world.run(200)
    assert world.steps("n1") == ["suspected", "cleared"]
    assert world.cuts == []


def test_api_black_out(world: World) -> None:
    world.run(20)
    world.api_down = True
    world.run(300)
    world.api_down = False
    world.run(200)
    assert world.cuts == []
    assert world.texts("held") == ["the API server gives no answer, so nothing is known of the node and nothing is done"] * 2


def test_kubelet_that_finds_back_late_after_a_black_out(world: World) -> None:
    world.run(25)
    world.api_down = world.vms["n1"].cut_off = True
    world.run(40)
    world.api_down = False
    world.run(35)  # the black-out isn't counted against it
    world.vms["n1"].cut_off = False
    world.run(200)
    assert world.steps("n1") == ["held", "suspected", "cleared"]
    assert world.cuts == []


def test_node_lost_during_a_black_out_is_fenced_after_it(world: World) -> None:
    world.run(20)
    world.api_down = True
    world.power_off("n1")
    world.run(100)
    assert world.steps("n1")[:4] == ["off", "suspected", "revoked", "expired"]
    assert not world.nodes["n1"].tainted
    world.api_down = False
    world.run(5)
    assert world.fenced("n1")


def test_all_workers_suspect(world: World) -> None:
    world.run(20)
    for vm in world.vms.values():
        vm.frozen = True
    world.run(300)
    assert world.cuts == []
    assert "all workers are suspect" in world.texts("held")[0]
    world.vms["n2"].frozen = False
    world.run(20)
    assert world.cuts == ["n1"]
    assert world.fenced("n1")


def test_last_worker_is_not_cut(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(10)
    world.vms["n2"].frozen = True
    world.run(300)
    assert world.cuts == []
    assert world.fenced("n1")


def test_hypervisor_that_cannot_cut(world: World) -> None:
    world.run(20)
    world.stubborn = world.vms["n1"].frozen = True
    world.run(100)
    assert len(world.cuts) > 3
    assert not world.nodes["n1"].tainted
    assert world.revoked == set()
    assert "isn't proven off" in world.texts("held")[0]
    assert world.texts("failed") == ["cut the power: virsh destroy failed."]
    world.stubborn = False
    world.run(15)
    assert world.fenced("n1")


def test_hypervisor_that_gives_no_answer(world: World) -> None:
    world.run(20)
    world.blind = True
    world.power_off("n1")
    world.run(100)
    assert not world.nodes["n1"].tainted
    assert world.revoked == set()
    assert "doesn't say whether its VM is off" in world.texts("held")[0]
    world.blind = False
    world.run(3)
    assert world.fenced("n1")


def test_power_on_in_the_middle_of_fencing(world: World) -> None:
    world.run(20)
    world.power_off("n1")

    def start_after_revocation() -> None:
        if world.revoked:
            world.power_on("n1")

    world.hook = start_after_revocation
    world.run(3)
    assert world.clients["192.0.2.11"] == {1}  # what the earlier start left; it forgets that itself
    assert world.steps("n1")[-4:] == ["aborted", "on", "cleared", "opened"]
    world.run(100)
    assert world.free("n1")
    assert world.cuts == []
    assert "tainted" not in world.steps("n1")


def test_power_on_right_before_the_revocation(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    calls = 0

    def start_at_the_proof() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # after a look at each VM: the job's own
            world.power_on("n1")

    world.hook = start_at_the_proof
    world.run(1)
    assert world.steps("n1") == ["off", "suspected", "aborted", "aborted"]
    assert world.revoked == set()


def test_boot_is_given_time(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.power_on("n1")
    world.vms["n1"].cut_off = True
    world.run(590)
    assert world.cuts == []
    world.run(50)
    assert world.cuts == ["n1"]


@pytest.mark.parametrize("reboot", [False, True])
def test_second_fence_interrupted_before_the_expiry_is_finished(world: World, reboot: bool) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(5)
    if reboot:
        world.reboot_server()
        world.run(1)
        world.vms["n1"].start += 1
        world.clients["192.0.2.11"] = {2}  # ran and was off again unseen
        world.storage_down = True
        world.run(62)
        world.storage_down = False
    else:
        world.power_on("n1")
        world.run(60, until=lambda: world.free("n1"))
        assert world.clients["192.0.2.11"] == {2}
        world.power_off("n1")

    def fail_after_the_revocation() -> None:
        world.storage_down = bool(world.revoked)

    world.hook = fail_after_the_revocation
    world.run(65)
    world.hook = lambda: None
    world.storage_down = False
    world.run(5)
    assert world.fenced("n1")


def test_power_on_right_before_the_taint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(20)
    read = SimApi.read
    reads = 0

    def start_and_read(api: SimApi, name: str) -> NodeState:
        nonlocal reads
        reads += 1
        world.power_on(name)
        return read(api, name)

    monkeypatch.setattr(SimApi, "read", start_and_read)
    world.storage_down = True
    world.power_off("n1")
    world.run(100)
    assert reads > 0
    assert "tainted" not in world.steps("n1")
    assert world.cuts == []


def test_taint_does_not_wait_for_the_nfs_server(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.storage_down = True
    world.run(8)
    assert world.nodes["n1"].tainted
    assert world.texts("failed") == ["close NFS: ssh failed"]
    world.storage_down = False
    world.run(2)
    assert world.fenced("n1")


def test_reboot_of_the_nfs_server_does_not_let_a_fenced_node_in(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(5)
    world.reboot_server()
    world.run(62)
    assert world.fenced("n1")


@pytest.mark.parametrize("after", [1, 2, 3, 50])
def test_watcher_restarted(world: World, after: int) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(after)
    world.restart()
    world.run(10)
    assert world.fenced("n1")
    world.power_on("n1")
    world.run(1)
    world.restart()
    world.run(60)
    assert world.free("n1")
    assert world.cuts == []


def test_node_that_returned_while_no_watcher_ran(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(5)
    world.power_on("n1")
    for _ in range(60):
        world.tick()
    world.restart()
    world.run(5)
    assert world.free("n1")


def test_storage_unknown_at_the_start_is_not_nobody_revoked(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(5)
    world.storage_down = True
    world.restart()
    world.power_on("n1")
    world.power_off("n2")
    world.run(60)
    assert world.nodes["n1"].tainted
    world.storage_down = False
    world.run(10)
    assert world.free("n1")
    assert world.fenced("n2")


def test_second_loss_before_the_return_is_fenced_with_the_newer_boot(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(5)
    world.power_on("n1")
    world.storage_down = True
    world.run(30)
    assert world.nodes["n1"].boot == "n1-2"
    world.power_off("n1")
    world.storage_down = False
    world.run(5)
    fenced = world.nodes["n1"].fenced
    assert fenced is not None
    assert fenced.boot == "n1-2"
    assert world.fenced("n1")


def test_same_boot_stays_fenced(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(5)
    world.power_on("n1")
    world.vms["n1"].start = 1  # a snapshot with memory was gone back to
    world.run(100)
    assert world.nodes["n1"].tainted
    assert "cut its power (`vagrant halt --force n1`)" in world.texts("held")[0]
    world.power_off("n1")
    world.run(5)
    world.vms["n1"].start = 7
    world.power_on("n1")
    world.run(60)
    assert world.free("n1")


def hang(world: World, *lanes: str) -> Hanging:
    """Let the jobs of some lanes hang from now on; return what lets them go on."""
    hanging = Hanging(*lanes)
    world.watcher._lanes = hanging
    return hanging


def test_vms_are_looked_at_each_second_while_the_api_hangs(world: World) -> None:
    world.run(20)
    lanes = hang(world, "api", "patch")
    world.api_hangs = True
    world.power_off("n1")
    before = dict(world.looks)
    world.run(60)
    assert world.looks["n2"] - before["n2"] == 60
    assert world.looks["n1"] - before["n1"] == 60 + 2  # those right before revocation and expiry; the taint's never came
    assert world.steps("n1") == ["off", "suspected", "revoked", "expired"]
    world.api_hangs = False
    lanes.go()
    world.run(3)
    assert world.fenced("n1")


def test_vms_are_looked_at_each_second_while_a_power_cut_hangs(world: World) -> None:
    world.run(20)
    lanes = hang(world, "cut n1")
    world.cut_hangs = True
    world.vms["n1"].frozen = True
    before = dict(world.looks)
    world.run(120)
    assert {name: world.looks[name] - before[name] for name in WORKERS} == {"n1": 120, "n2": 120}
    assert list(lanes.jobs) == ["cut n1"]
    assert world.revoked == set()
    world.cut_hangs = False
    lanes.go()
    world.run(3)
    assert world.cuts == ["n1"]
    assert world.fenced("n1")


def test_a_taint_that_hung_is_not_set_on_a_vm_that_is_back(world: World) -> None:
    world.run(20)
    lanes = hang(world, "patch")
    world.power_off("n1")
    world.run(3)
    world.power_on("n1")
    world.run(3)
    assert list(lanes.jobs) == ["patch"]
    lanes.go()
    world.run(60)
    assert world.free("n1")
    assert "tainted" not in world.steps("n1")


def test_a_deletion_that_hung_is_not_done_on_a_vm_that_is_back() -> None:
    world = World(runs_pods=True)
    world.run(20)
    world.power_off("n1")
    world.run(5, until=lambda: world.nodes["n1"].tainted)
    lanes = hang(world, "patch")
    world.run(4)
    assert list(lanes.jobs) == ["patch"]
    world.power_on("n1")
    lanes.go()
    assert "deleted" not in world.steps("n1")
    assert world.steps("n1")[-1] == "aborted"
    assert world.pods["n1"].deleted, "it is left to the kubelet"


def test_a_pod_that_something_holds_back_is_deleted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer, say: what the log tells each two seconds nobody reads."""
    monkeypatch.setattr(SimApi, "force_delete", lambda *_: None)
    world = World(runs_pods=True)
    world.run(20)
    world.power_off("n1")
    world.run(60)
    assert world.steps("n1").count("deleted") == 1


def test_an_untaint_that_hung_is_not_done_for_a_later_start(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(5)
    lanes = hang(world, "patch")
    world.power_on("n1")
    world.run(60)
    assert list(lanes.jobs) == ["patch"]
    world.power_off("n1")
    world.run(3)
    world.power_on("n1")
    lanes.go()  # the node still says Ready, with the boot of the start before this one
    assert world.nodes["n1"].tainted
    world.run(60)
    assert world.free("n1")


def test_log_lines(world: World) -> None:
    world.run(20)
    world.power_off("n1")
    world.run(1)
    lines = [json.loads(line) for line in world.output.getvalue().splitlines()]
    assert all(set(line) == {"wall", "monotonic", "step", "node", "text"} for line in lines)
    assert [line["step"] for line in lines[:3]] == ["heard", "heard", "off"]
    assert lines[2] == {
        "wall": "2026-01-02T03:04:26+00:00",
        "monotonic": 1021.0,
        "step": "off",
        "node": "n1",
        "text": "no process, no memory kept",
    }


def test_run_ends_after_the_step(world: World) -> None:
    world.hook = world.watcher.stop
    world.watcher.run()
    assert world.steps() == ["started", "stopped"]


def test_failure_in_the_background_is_not_lost() -> None:
    def die() -> None:
        raise ZeroDivisionError

    lanes = Lanes(lambda: None)
    assert lanes.start("api", die)
    lanes.finish(60, but="none")
    with pytest.raises(ZeroDivisionError):
        lanes.check()


def test_busy_lane_takes_no_second_job() -> None:
    lanes, go = Lanes(lambda: None), threading.Event()

    def wait() -> None:
        go.wait()

    assert lanes.start("api", wait)
    assert not lanes.start("api", lambda: None)
    lanes.finish(0, but="none")  # bounded
    lanes.finish(600, but="api")
    go.set()
    lanes.finish(60, but="none")
    assert lanes.start("api", lambda: None)


def test_real_lanes_do_the_same() -> None:
    world = World(lanes=Lanes)
    done = False

    def stop_when_fenced() -> None:
        nonlocal done
        if not done and world.fenced("n1"):
            done = True
            world.watcher.stop()

    world.power_off("n1")
    world.clock.rest(1)
    world.hook = stop_when_fenced
    world.watcher.run()
    assert world.fenced("n1")
    assert set(WORKERS) == set(world.nodes)
