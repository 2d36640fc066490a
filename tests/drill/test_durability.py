"""What is switched off for a proof is switched on again, and the data folder is put back."""

from __future__ import annotations

import pytest

from outlive.base.errors import LabError
from outlive.base.wait import WaitTimeoutError
from outlive.drill import durability
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from tests import samples
from tests.drill.test_fault_commands import Shell
from tests.fake_api import NAMESPACE, FakeApi, listing
from tests.samples import ManualClock

EXPORTS = "/nfsdata  192.0.2.0/24(rw,sync,no_root_squash)\n"


def stage(inventory: Inventory, cluster: Cluster, clock: ManualClock, answers: dict[str, list[str]]) -> tuple[Lab, Shell]:
    shell = Shell(inventory, answers)
    return Lab(inventory, cluster, shell, clock), shell


def test_the_export_is_what_it_was(small_inventory: Inventory, fake_cluster: Cluster, clock: ManualClock) -> None:
    lab, shell = stage(small_inventory, fake_cluster, clock, {"exportfs -v": [EXPORTS]})
    with pytest.raises(KeyboardInterrupt), durability.export(lab)(None):  # type: ignore[arg-type]  # it needs no workload
        assert any("exportfs -i -o rw,async,no_root_squash 192.0.2.0/24:/nfsdata" in command for command in shell.commands)
        raise KeyboardInterrupt
    assert shell.commands[-1].endswith("exportfs -ra")


def test_an_unflushed_commit_is_asked_for_and_taken_back() -> None:
    told: list[str] = []

    class Told:
        def command(self, statement: str, within: float = 600) -> None:
            told.append(statement)
            if len(told) == 2:
                raise WaitTimeoutError(f"no mysqld for {within:.0f} s")

    with pytest.raises(KeyboardInterrupt), durability.commit(Told()):  # type: ignore[arg-type]
        assert told == ["SET GLOBAL innodb_flush_log_at_trx_commit = 0"]
        raise KeyboardInterrupt
    assert told[1:] == ["SET GLOBAL innodb_flush_log_at_trx_commit = 1"]


def test_the_data_folder_is_put_back(small_inventory: Inventory, fake_cluster: Cluster, api: FakeApi, clock: ManualClock) -> None:
    stopped_and_started = [listing(), listing(samples.pod()), listing(samples.pod())]
    api.answers[f"{NAMESPACE}/pods"] = stopped_and_started * 2
    lab, shell = stage(small_inventory, fake_cluster, clock, {})
    shell.failing = ("test -e",)
    with pytest.raises(LabError, match="broken data"), durability.kept(lab):
        assert any(f"cp -a /nfsdata/mysql-pv {durability.KEPT}.part" in command for command in shell.commands)
        raise LabError("broken data")
    assert f"cp -a {durability.KEPT}/. /nfsdata/mysql-pv/" in shell.commands[-1]
    scaled = [request for request in api.requests if request.startswith("PATCH")]
    assert [request[-3] for request in scaled] == ["0", "1", "0", "1"]


def test_an_earlier_copy_is_not_written_over(small_inventory: Inventory, fake_cluster: Cluster, api: FakeApi, clock: ManualClock) -> None:
    lab, shell = stage(small_inventory, fake_cluster, clock, {})
    with pytest.raises(LabError, match="holds MySQL's data from before a proof that was cut short"), durability.kept(lab):
        pass
    assert len(shell.commands) == 1
    assert not any(request.startswith("PATCH") for request in api.requests)
