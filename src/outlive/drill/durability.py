"""Durability switched off on purpose, on data that is put back afterwards: what the checker has to find losses in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.drill import run
from outlive.drill.faults import shielded
from outlive.drill.workload import Workload
from outlive.lab import mysql, mysql_storage, nfs
from outlive.lab.mysql import NAMESPACE
from outlive.lab.mysql_storage import NfsFolder
from outlive.lab.session import Lab

KEPT = "/var/lib/outlive-kept"
"""Folder on the NFS server for MySQL's data as it was; outside of the export."""

GIVEN_BACK_WITHIN = 60.0
"""Seconds for mysqld to take its durability back."""

Weakened = Callable[[Workload], AbstractContextManager[object]]


@contextmanager
def commit(workload: Workload) -> Iterator[None]:
    """COMMIT is acknowledged before its log is written, which InnoDB does once a second.

    The next start of mysqld forgets the setting; one that was never killed is told.
    """
    try:
        workload.command("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
        yield
    finally:
        with suppress(LabError):  # where no mysqld answers, none has the setting
            shielded(lambda: workload.command("SET GLOBAL innodb_flush_log_at_trx_commit = 1", within=GIVEN_BACK_WITHIN))


def export(stage: Lab) -> Weakened:
    """Return a weakness: the NFS server acknowledges what is in its memory only."""
    server = stage.inventory.group("nfs_servers")[0].name

    @contextmanager
    def weakened(workload: Workload) -> Iterator[None]:
        del workload
        try:
            for each in nfs.exports(stage.remote, server):
                options = ",".join("async" if option == "sync" else option for option in each.options)
                stage.remote.check(server, "exportfs -i -o %s %s", options, f"{each.client}:{each.path}")
            # What was written until now is safe: only what follows can be lost, so MySQL finds an old state and not a broken one.
            stage.remote.check(server, "sync")
            yield
        finally:
            shielded(lambda: stage.remote.check(server, "exportfs -ra"))

    return weakened


@contextmanager
def kept(stage: Lab) -> Iterator[None]:
    """Keep MySQL's data folder as it is and put it back at the end, whatever became of it.

    Raises:
        LabError: an earlier copy is still there, or the data isn't in a folder that could be copied.
    """
    data = mysql_storage.of(stage.cluster, stage.inventory)
    if not isinstance(data, NfsFolder):
        raise LabError(
            f"MySQL's data lies on a disk over {data.kind}, and this proof keeps a copy of its folder on the NFS server: it needs a lab with that."
        )
    server, folder = data.server.name, data.path
    if stage.remote.run(server, f"test -e {KEPT}").status == 0:
        raise LabError(
            f"{KEPT} on {server} holds MySQL's data from before a proof that was cut short: see whether {folder} is well, "
            f"put the copy back if it isn't (kubectl scale deployment mysql --replicas=0 first), then remove {KEPT}."
        )

    def put_back() -> None:
        """Put it back where it isn't yet. One at a time: what was interrupted here may go on there."""
        copy = f"find {folder} -mindepth 1 -delete && cp -a {KEPT}/. {folder}/ && sync && mv {KEPT} {KEPT}.part && rm -rf {KEPT}.part"
        with _stopped(stage):
            stage.remote.check(server, "flock %s sh -c %s", str(Path(KEPT).parent), f"[ ! -e {KEPT} ] || {{ {copy}; }}")

    with _stopped(stage):
        stage.remote.check(server, f"rm -rf {KEPT}.part && cp -a {folder} {KEPT}.part && mv {KEPT}.part {KEPT} && sync")
    try:
        yield
    finally:
        shielded(put_back)


@contextmanager
def _stopped(stage: Lab) -> Iterator[None]:
    """Stop MySQL in order, and start it again."""
    expected = stage.cluster.deployment(NAMESPACE, mysql.DEPLOYMENT).expected

    def start() -> None:
        stage.cluster.scale(NAMESPACE, mysql.DEPLOYMENT, expected)
        run.await_steady(stage)

    stage.cluster.scale(NAMESPACE, mysql.DEPLOYMENT, 0)
    try:
        selector = stage.cluster.deployment(NAMESPACE, mysql.DEPLOYMENT).selector
        wait_for("MySQL", "no pod", lambda: stage.cluster.pods(NAMESPACE, selector), lambda pods: not pods, within=600, clock=stage.clock)
        yield
    finally:
        shielded(start)
