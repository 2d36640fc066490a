"""The clients of a drill, against a server in memory that can lose connections, lie and refuse."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pymysql
import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import LabError, RefusedError
from outlive.base.verdict import Verdict
from outlive.base.wait import WaitTimeoutError
from outlive.drill.checker import BEGINNING, Ledger, check
from outlive.drill.history import History, Operation, Outcome
from outlive.drill.workload import CLIENT_NUMBERS, Workload
from outlive.lab.mysql import Password
from tests.drill.engine import HANG, LOST, Connection, Server
from tests.samples import ManualClock


class Drill:
    """A workload against a server, its history, and the moment of its fault."""

    def __init__(self, server: Server, path: Path, **settings: Any) -> None:  # noqa: ANN401  those of Workload
        """Prepare the workload."""
        self.server = server
        self.journal = History(path / "history.jsonl")
        self.fault = self.journal.origin
        self.port = 3306
        given: dict[str, Any] = {"connect": server.connect, "pause": 0} | settings
        self.workload = Workload(lambda: ("127.0.0.1", self.port), "root", Password("s3cret"), self.journal, **given)

    def run(self, rounds: int = 12) -> Ledger:
        """Let the clients ask for so many commits of writes before the fault and after it, and of a read that began after it; return what the checker says."""
        self.workload.prepare()
        answer, asked, done, read = self.server.on_commit, count(1), threading.Event(), threading.Event()
        ended = count(1)

        def counted(connection: Connection) -> None:
            turn = next(asked) if connection.pending else 0
            if turn == rounds:
                self.fault = HOST_CLOCK.now()
            if turn == 2 * rounds:
                done.set()
            wrote = bool(connection.pending)
            answer(connection)
            # The one reader's first read that ends after the fault may have begun before it.
            if not wrote and self.fault is not self.journal.origin and next(ended) == 2:
                read.set()

        self.server.on_commit = counted
        with self.workload:
            assert done.wait(HANG)
            assert read.wait(HANG)
        self.server.on_commit = Connection.store
        return check(self.journal.operations(), self.workload.final_read(), self.fault)


def once(trouble: Callable[[Connection], None]) -> Callable[[Connection], None]:
    """Return what stores every write but the first, which gets ``trouble``."""
    turn = count(1)
    return lambda connection: trouble(connection) if connection.pending and next(turn) == 1 else connection.store()


def test_an_honest_server_passes(tmp_path: Path) -> None:
    server = Server()
    ledger = Drill(server, tmp_path).run()
    assert (ledger.verdict, ledger.failed, ledger.unknown) == (Verdict.PASS, 0, 0)
    assert ledger.acknowledged == len(server.state.numbers) + len(server.state.transfers) >= 24
    assert all(connection.closed for connection in server.connections)


def test_a_server_that_forgets_fails(tmp_path: Path) -> None:
    server = Server()
    server.on_commit = once(lambda connection: connection.pending.clear())
    ledger = Drill(server, tmp_path).run()
    assert (ledger.verdict, len(ledger.lost)) == (Verdict.FAIL, 1)


def test_a_server_that_repeats_fails(tmp_path: Path) -> None:
    server = Server()

    def twice(connection: Connection) -> None:
        connection.pending *= 2
        connection.store()

    server.on_commit = once(twice)
    ledger = Drill(server, tmp_path).run()
    assert (ledger.verdict, len(ledger.duplicated)) == (Verdict.FAIL, 1)


def test_a_server_that_moves_half_the_money_fails(tmp_path: Path) -> None:
    server = Server()

    def half(connection: Connection) -> None:
        del connection.pending[0]
        connection.store()

    server.on_commit = once(half)
    ledger = Drill(server, tmp_path, inserters=0).run()
    assert ledger.verdict is Verdict.FAIL
    assert ledger.wrong_totals


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (LOST, Outcome.UNKNOWN),
        (pymysql.err.OperationalError(2006, "MySQL server has gone away"), Outcome.UNKNOWN),
        (pymysql.err.OperationalError(1053, "Server shutdown in progress"), Outcome.UNKNOWN),
        (pymysql.err.OperationalError(1317, "Query execution was interrupted"), Outcome.UNKNOWN),
        (pymysql.err.InternalError("Packet sequence number wrong"), Outcome.UNKNOWN),
        (AttributeError("an error of the driver"), Outcome.UNKNOWN),
        (pymysql.err.OperationalError(1213, "Deadlock found"), Outcome.FAIL),
        (pymysql.err.OperationalError(1290, "running with the --read-only option"), Outcome.FAIL),
        (pymysql.err.InterfaceError(0, ""), Outcome.FAIL),
    ],
)
def test_errors_during_commit(tmp_path: Path, error: Exception, outcome: Outcome, stored: bool) -> None:
    server = Server()

    def break_off(connection: Connection) -> None:
        if stored:
            connection.store()
        raise error

    server.on_commit = once(break_off)
    drill = Drill(server, tmp_path)
    ledger = drill.run()
    write = next(each for each in drill.journal.operations() if each.outcome is not Outcome.OK)
    assert (write.outcome, write.detail) == (outcome, f"{type(error).__name__}: {error}")
    assert len(ledger.recovered) == (stored and outcome is Outcome.UNKNOWN)
    # A definite refusal of what was stored would be the server's lie.
    assert ledger.verdict is (Verdict.FAIL if stored and outcome is Outcome.FAIL else Verdict.PASS)


@pytest.mark.parametrize(
    ("table", "clients"),
    [("INTO drill.numbers", {"transferrers": 0}), ("UPDATE drill.accounts", {"inserters": 0}), ("INTO drill.transfers", {"inserters": 0})],
)
def test_errors_before_commit_are_failures(tmp_path: Path, table: str, clients: dict[str, int]) -> None:
    server, turn = Server(), count(1)

    def lose(query: str) -> None:
        if table in query and next(turn) == 1:
            raise LOST

    server.on_execute = lose
    ledger = Drill(server, tmp_path, **clients).run()
    assert (ledger.verdict, ledger.failed, ledger.unknown) == (Verdict.PASS, 1, 0)


def test_a_lost_read_changes_nothing(tmp_path: Path) -> None:
    server, lost = Server(), threading.Event()
    drill = Drill(server, tmp_path)
    drill.workload.prepare()

    def lose(connection: Connection) -> None:
        wrote = bool(connection.pending)
        connection.store()
        if not wrote:
            lost.set()
            raise LOST

    server.on_commit = lose
    with drill.workload:
        assert lost.wait(HANG)
    assert {each.outcome for each in drill.journal.operations() if each.kind == "total"} == {Outcome.FAIL}


def test_clients_reconnect_to_the_endpoint_of_the_moment(tmp_path: Path) -> None:
    server = Server()

    def move(_: Connection) -> None:
        drill.port = 3307
        raise LOST

    server.on_commit = once(move)
    drill = Drill(server, tmp_path, inserters=1, transferrers=0)
    drill.run()
    assert {login["port"] for login in server.logins} == {3306, 3307}
    assert all(login["password"] == "s3cret" and not login["autocommit"] for login in server.logins)


def test_numbers_are_distinct_and_accounts_locked_in_order(tmp_path: Path) -> None:
    server = Server()
    locked: list[list[int]] = []

    def store(connection: Connection) -> None:
        locked.append([args[2] for query, args in connection.pending if "UPDATE" in query])
        connection.store()

    server.on_commit = store
    drill = Drill(server, tmp_path, inserters=0, transferrers=3)
    drill.run()
    writes = [each for each in drill.journal.operations() if each.kind != "total"]
    assert len({each.value for each in writes}) == len(writes)
    assert all(each.value // CLIENT_NUMBERS == each.client for each in writes)
    assert any(locked)  # the reader locks none
    assert all(accounts == sorted(set(accounts)) for accounts in locked)


def test_a_history_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    server, closed = Server(), threading.Event()
    drill = Drill(server, tmp_path)

    def close(connection: Connection) -> None:
        with drill.journal:
            connection.store()
        closed.set()

    drill.workload.prepare()
    server.on_commit = close
    with pytest.raises(ValueError, match="closed file"), drill.workload:
        assert closed.wait(HANG)


def test_prepare_makes_the_tables_anew_when_mysql_answers(tmp_path: Path, clock: ManualClock) -> None:
    server = Server(LOST, pymysql.err.OperationalError(2003, "Can't connect"), pymysql.err.InterfaceError(0, ""))
    Drill(server, tmp_path, clock=clock).workload.prepare()
    assert sum(account.balance for account in server.state.accounts.values()) == sum(BEGINNING.values())
    assert server.statements[0] == "DROP DATABASE IF EXISTS drill"
    assert clock.seconds == 3.0


def test_mysql_that_never_answers(tmp_path: Path, clock: ManualClock) -> None:
    drill = Drill(Server(*[LOST] * 9), tmp_path, clock=clock)
    with pytest.raises(WaitTimeoutError, match=r"wanted fresh tables, last seen no answer .*2013.*, gave up after 5 s"):
        drill.workload.prepare(within=5)


def test_denied(tmp_path: Path) -> None:
    drill = Drill(Server(pymysql.err.OperationalError(1045, "Access denied for user 'root'@'10.0.2.2' (using password: YES)")), tmp_path)
    with pytest.raises(LabError, match=r"refuses the drill's user root .*1045.*first started with") as raised:
        drill.workload.prepare()
    assert not isinstance(raised.value, AssertionError)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "gone",
    [pymysql.err.ProgrammingError(1146, "Table 'drill.numbers' doesn't exist"), pymysql.err.OperationalError(1049, "Unknown database")],
)
def test_tables_that_are_gone_are_a_verdict(tmp_path: Path, gone: Exception) -> None:
    with pytest.raises(RefusedError, match="refuses the drill's statement"):
        Drill(Server(gone), tmp_path).workload.final_read()


def packet(number: int, body: bytes) -> bytes:
    """Return a packet of MySQL's protocol."""
    return len(body).to_bytes(3, "little") + bytes([number]) + body


class LosesCommits(socketserver.StreamRequestHandler):
    """Speaks MySQL's protocol as far as it takes to say OK to everything, and to break off at COMMIT."""

    HELLO = b"\x0a5.6.51\0" + bytes(4) + b"8 bytes.\0\xff\xf7\x21\2\0\x0f\x80\x15" + bytes(10) + b"and 12 more.\0mysql_native_password\0"

    def handle(self) -> None:
        self.wfile.write(packet(0, self.HELLO))
        while header := self.rfile.read(4):
            asked = self.rfile.read(int.from_bytes(header[:3], "little"))
            if asked == b"\x03COMMIT":
                return
            self.wfile.write(packet(header[3] + 1, b"\0\0\0\2\0\0\0"))


def run_with_pymysql(path: Path, port: int) -> tuple[Operation, ...]:
    """Run one insert client with the real driver until it connected some times; each time ends an operation before."""
    attempts, enough = count(1), threading.Event()

    def endpoint() -> tuple[str, int]:
        if next(attempts) == 6:
            enough.set()
        return "127.0.0.1", port

    with History(path / "history.jsonl") as journal:
        with Workload(endpoint, "root", Password("s3cret"), journal, inserters=1, transferrers=0, pause=0):
            assert enough.wait(HANG)
        return tuple(each for each in journal.operations() if each.kind == "insert")


def test_pymysql_loses_the_answer_to_commit(tmp_path: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), LosesCommits) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        operations = run_with_pymysql(tmp_path, server.server_address[1])
        server.shutdown()
    assert {each.outcome for each in operations} == {Outcome.UNKNOWN}
    assert "2013" in operations[0].detail


def test_pymysql_finds_nobody_to_connect_to(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        operations = run_with_pymysql(tmp_path, nobody.getsockname()[1])
    assert {each.outcome for each in operations} == {Outcome.FAIL}
    assert "2003" in operations[0].detail


def test_tables_that_mysql_does_not_name_are_not_whole(tmp_path: Path) -> None:
    server = Server()
    server.tables = (("mysql", "innodb_table_stats"),)
    with pytest.raises(RefusedError, match="names no table of InnoDB in the database drill"):
        Drill(server, tmp_path).workload.check_tables()


@pytest.mark.parametrize(
    ("said", "damaged"),
    [("OK", ()), ("Corrupt", ("drill.numbers: check: status: Corrupt",)), ("", ("drill.numbers: no status",))],
)
def test_what_mysqld_finds_of_its_tables(tmp_path: Path, said: str, damaged: tuple[str, ...]) -> None:
    server = Server()
    server.said = said
    assert Drill(server, tmp_path).workload.check_tables() == damaged


def test_tables_that_cannot_be_opened_are_asked_after_too(tmp_path: Path) -> None:
    """MySQL 5.6 names no engine of such a table."""
    server = Server()
    Drill(server, tmp_path).workload.check_tables()
    assert any("engine IS NULL AND table_type = 'BASE TABLE'" in statement for statement in server.statements)


def test_a_statement_of_the_drill(tmp_path: Path) -> None:
    server = Server()
    Drill(server, tmp_path).workload.command("SET GLOBAL x = 0")
    assert server.statements == ["SET GLOBAL x = 0"]
