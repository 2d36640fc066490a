"""The programs' own logs beside a drill's report."""

from __future__ import annotations

from pathlib import Path

from outlive.drill import logs
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Output, Remote
from tests.fake_api import FakeApi
from tests.samples import instant


class Journals(Remote):
    """Machines of which one gives no journal."""

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Answer."""
        del arguments
        return Output(1, "", "no journal") if name == "m" else Output(0, f"{name} said: {command}", "")


def test_each_machine_and_mysqld_has_its_log(tmp_path: Path, small_inventory: Inventory, fake_cluster: Cluster, api: FakeApi) -> None:
    api.logs = [["killed"], ["ready for connections"]]
    logs.collect(Lab(small_inventory, fake_cluster, Journals(small_inventory)), tmp_path, instant(0))
    assert {file.name for file in tmp_path.iterdir() if file.suffix == ".log"} == {"mysqld.log", "m.log", "n1.log", "n2.log"}
    assert "the container before\nkilled" in (tmp_path / "mysqld.log").read_text()
    assert "ready for connections" in (tmp_path / "mysqld.log").read_text()
    assert "kubelet.service" in (tmp_path / "n1.log").read_text()
    assert "no log: `journalctl" in (tmp_path / "m.log").read_text()
