"""Histories of the real clients: no false alarm on a server that is right, and each wrong one caught."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.verdict import Verdict
from outlive.base.wait import wait_for
from outlive.drill.checker import Ledger, check
from outlive.drill.history import History, Outcome
from outlive.drill.workload import Workload
from outlive.lab.mysql import Password
from tests.drill.engine import HANG, LOST, Connection, Server, State, Turns

CLIENTS = 5
SHORT, LONG = 300, 1500
"""Statements of all clients together."""
PARTS = (
    "lost",
    "unexpected",
    "duplicated",
    "wrong_totals",
    "wrong_balances",
    "dirty_reads",
    "fractured_reads",
    "stale_reads",
    "forked_reads",
    "lost_updates",
)
REFUSED = pymysql.err.OperationalError(1213, "Deadlock found")


@dataclass
class Run:
    """One history and what the checker says of it."""

    ledger: Ledger
    outcomes: dict[Outcome, int]


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare hundreds of histories the disk: nobody interrupts them."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def run(path: Path, seed: object, spoil: Callable[[Server, Turns], None] = lambda *_: None, statements: int = SHORT) -> Run:
    """Run the clients against a server that refuses, loses answers and crashes as it may, and as ``spoil`` makes it."""
    turns = Turns(seed, CLIENTS)
    server = Server(turns=turns)
    chance = turns.chance

    def on_execute(_: str) -> None:
        if chance.random() < 0.01 and not turns.over:
            raise LOST

    def on_commit(connection: Connection) -> None:
        fate = chance.random() if connection.pending and not turns.over else 1.0
        if fate < 0.05:
            raise REFUSED if fate < 0.02 else LOST
        if fate < 0.1:
            server.left.append(connection)  # its COMMIT is on the way, and its client gives up
            raise LOST
        connection.store()

    def answered() -> None:
        if chance.random() < 0.05 and not turns.over:
            raise LOST

    with History(path / f"{seed}.jsonl", turns) as journal:
        workload = Workload(lambda: ("", 0), "root", Password(""), journal, pause=0, connect=server.connect, clock=turns)
        workload.prepare()
        server.on_execute, server.on_commit, server.answered = on_execute, on_commit, answered
        spoil(server, turns)
        with workload:
            for statement in range(statements):
                if statement == statements // 2:
                    fault = turns.now()
                turns.give()
                turns.settle()
                with server.changed:
                    if server.left and chance.random() < 0.1:
                        server.carry_out(server.left[0])
                    # More often while a commit is visible and not yet on the disk, where it matters.
                    if chance.random() < (0.08 if server.state != server.durable else 0.01):
                        server.crash()
            with server.changed:
                while server.left:
                    server.carry_out(server.left[0])
            turns.end()
        server.copy_of = lambda: server.state  # a copy that was behind has caught up
        operations = journal.operations()
        ledger = check(operations, workload.final_read(), fault)
    outcomes = [each.outcome for each in operations]
    return Run(ledger, {each: outcomes.count(each) for each in Outcome})


@pytest.mark.usefixtures("no_sync")
def test_no_false_alarm(tmp_path: Path) -> None:
    runs = [run(tmp_path, seed) for seed in range(250)] + [run(tmp_path, f"long-{seed}", statements=LONG) for seed in range(5)]
    alarms = {number: each.ledger.reasons for number, each in enumerate(runs) if each.ledger.verdict is not Verdict.PASS}
    assert not alarms
    # The histories have all that makes the judgement hard.
    assert all(each.outcomes[Outcome.OK] for each in runs)
    assert sum(each.outcomes[Outcome.UNKNOWN] for each in runs) > 500
    assert sum(each.outcomes[Outcome.FAIL] for each in runs) > 500
    assert sum(len(each.ledger.recovered) for each in runs) > 100
    assert sum(len(each.ledger.vanished) for each in runs) > 3


def read_uncommitted(server: Server, _: Turns) -> None:
    server.isolation = "READ UNCOMMITTED"


def read_committed(server: Server, _: Turns) -> None:
    server.isolation = "READ COMMITTED"


def no_locks(server: Server, _: Turns) -> None:
    server.locking = False


def copy_five_seconds_old(server: Server, turns: Turns) -> None:
    """Answer as a proxy does that reads from a copy which is behind."""
    states: list[tuple[float, State]] = [(turns.now().monotonic, server.state.copy())]

    def copy() -> State:
        now = turns.now().monotonic
        states.append((now, server.state.copy()))
        return [state for at, state in states if at <= now - 5.0 or at == states[0][0]][-1]

    server.copy_of = copy


def answers_before_the_disk(server: Server, turns: Turns) -> None:
    """Crash without what was committed lately, as a server whose disk answers too early does."""
    kept = [server.state.copy()]
    crash = server.crash

    def crashed() -> None:
        server.durable = kept[-6:][0]
        kept[:] = [server.durable]
        crash()

    def answered() -> None:
        kept.append(server.state.copy())

    server.answered = answered
    server.crash = crashed  # type: ignore[method-assign]
    del turns


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (read_uncommitted, ("fractured_reads", "dirty_reads")),
        (read_committed, ("fractured_reads",)),
        (no_locks, ("lost_updates",)),
        (copy_five_seconds_old, ("stale_reads",)),
        (answers_before_the_disk, ("lost",)),
    ],
)
def test_what_is_wrong_is_caught(tmp_path: Path, spoil: Callable[[Server, Turns], None], parts: tuple[str, ...]) -> None:
    runs = [run(tmp_path, f"{spoil.__name__}-{seed}", spoil, LONG) for seed in range(4)]
    for each in runs:
        assert each.ledger.verdict is Verdict.FAIL
        assert {part for part in PARTS if getattr(each.ledger, part)} >= set(parts)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a server of the same family on the loopback, where it is installed, and yield its port."""
    program = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    if program is None:
        pytest.skip("mariadbd isn't installed (Debian's package mariadb-server-core)")
    folder = tmp_path_factory.mktemp("mariadb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [program, "--no-defaults", "--skip-grant-tables", "--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}"]
    command += [f"--datadir={folder}", f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--user={getpass.getuser()}"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        yield port
        server.kill()


@pytest.mark.parametrize(("isolation", "right"), [("READ UNCOMMITTED", False), ("READ COMMITTED", False), ("REPEATABLE READ", True)])
def test_a_real_server(tmp_path: Path, mariadb: int, isolation: str, right: bool) -> None:
    with History(tmp_path / "h.jsonl") as journal:
        workload = Workload(lambda: ("127.0.0.1", mariadb), "root", Password(""), journal, pause=0)
        workload.command(f"SET GLOBAL TRANSACTION ISOLATION LEVEL {isolation}", within=60)
        workload.prepare()
        fault = journal.origin

        def looks() -> Ledger:
            return check(journal.operations(), None, fault)

        with workload:
            wait_for(
                "readers",
                "200 reads, and one that is wrong",
                looks,
                lambda seen: seen.reads > 200 and right is not bool(seen.fractured_reads),
                within=HANG,
            )
            fault = HOST_CLOCK.now()
            asked = len(journal.operations())
            wait_for("clients", "more operations", journal.operations, lambda seen: len(seen) > asked + 50, within=HANG)
        ledger = check(journal.operations(), workload.final_read(), fault)
    assert (ledger.verdict, bool(ledger.fractured_reads)) == ((Verdict.PASS, False) if right else (Verdict.FAIL, True))
