"""The clients of a drill: they insert numbers, move money and read all accounts, and write down what MySQL said each time.

A transfer reads its two accounts with a lock, and writes back the balances that it computed together with its own id, so each account
is a register whose writers name who wrote before: a lost update leaves two transfers that name the same one. The ten ids that a
reader finds say which transfers it saw, however many there were; so its answer stays as small as it is. It asks in two statements of
one transaction: where they don't share a snapshot, it may see half of a transfer.

What an error means (InnoDB, autocommit off; the client drops its connection after every error, which rolls back what is open):

- Before COMMIT was sent: fail. What was never asked to be committed can't be.
- Connection lost or timed out during COMMIT (pymysql: 2006, 2013): unknown. The server may have committed before it went.
- COMMIT refused: fail only for the errors in ``REFUSALS``. For any other, unknown: a server that is shutting down (1053) or whose
  statement was interrupted (1317) reports that at the end of the statement (``mysql_execute_command``), so after a COMMIT too
  that was carried out.
- In a read: fail, for it changes nothing.

The codes are those of the MySQL 5.6 Reference Manual, Server Error Codes and Messages.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import pymysql

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.base.errors import LabError, RefusedError, UnreachableError
from outlive.base.wait import persist
from outlive.drill.checker import BEGINNING, Final
from outlive.drill.history import Account, History, Kind, Outcome, Transfer
from outlive.lab.mysql import ACCESS_DENIED, Password

DATABASE = "drill"

CLIENT_NUMBERS = 10_000_000
"""Client c inserts c * CLIENT_NUMBERS + 1, + 2 …, so that no two clients ever write the same number."""

REFUSALS = {1205, 1213, 1290}
"""Answers to COMMIT that mean rolled back: lock wait timeout, deadlock, read-only server. All come before the commit itself."""

DENIED = {1044, ACCESS_DENIED, 1142}
"""Access denied: to the database, to the user, to a table."""
NO_DATABASE = 1049
NOT_NOW = (pymysql.err.OperationalError, pymysql.err.InterfaceError, pymysql.err.InternalError)
"""Errors of a connection, and most of a server; a statement that is wrong, or a table that is gone, is none of these."""

PATIENT_SECONDS = 60.0
"""How long the statements before and after the drill may take; the clients' are measured, these aren't."""

INNODB_TABLES = """
    SELECT table_schema, table_name FROM information_schema.tables
    WHERE engine = 'InnoDB' OR (engine IS NULL AND table_type = 'BASE TABLE')
"""
"""All tables of InnoDB. One that can't be opened has no engine; to check it says why."""
FRESH_TABLES = (
    f"DROP DATABASE IF EXISTS {DATABASE}",
    f"CREATE DATABASE {DATABASE}",
    # No unique key on purpose: a number that is written twice shall be seen, not refused.
    f"CREATE TABLE {DATABASE}.numbers (n BIGINT NOT NULL, KEY (n)) ENGINE=InnoDB",
    f"CREATE TABLE {DATABASE}.accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL, last BIGINT NOT NULL) ENGINE=InnoDB",
    f"CREATE TABLE {DATABASE}.transfers "
    "(id BIGINT NOT NULL, source INT NOT NULL, target INT NOT NULL, amount INT NOT NULL, KEY (id)) ENGINE=InnoDB",
    f"INSERT INTO {DATABASE}.accounts VALUES " + ", ".join(f"({number}, {balance}, 0)" for number, balance in BEGINNING.items()),
)
ACCOUNTS = f"SELECT id, balance, last FROM {DATABASE}.accounts"
LOCK = f"{ACCOUNTS} FORCE INDEX (PRIMARY) WHERE id IN (%s, %s) ORDER BY id FOR UPDATE"
"""By the index, or a table this small is read, and locked, as a whole. In the order of the ids, so that two transfers can't deadlock."""
HALVES = (f"{ACCOUNTS} WHERE id <= %s", f"{ACCOUNTS} WHERE id > %s")
MIDDLE = len(BEGINNING) // 2

Answer = TypeVar("Answer")


class Cursor(Protocol):
    """What a client needs of a cursor."""

    def execute(self, query: str, args: tuple[int, ...] | None = None) -> int:
        """Run a statement."""

    def fetchall(self) -> tuple[tuple[Any, ...], ...]:
        """Return the rows of the last statement."""


class Connection(Protocol):
    """What a client needs of a connection: a part of what pymysql gives."""

    def cursor(self) -> Cursor:
        """Return a cursor."""

    def commit(self) -> None:
        """Send COMMIT and wait for the answer."""

    def close(self) -> None:
        """Close it, whatever its state."""


class Workload:
    """Insert clients, transfer clients and one reader of all accounts, each a thread with its own connection, while it is entered.

    It can be entered once; ``prepare`` comes before, ``final_read`` after.
    """

    def __init__(
        self,
        endpoint: Callable[[], tuple[str, int]],
        user: str,
        password: Password,
        history: History,
        *,
        inserters: int = 2,
        transferrers: int = 2,
        pause: float = 0.2,
        connect_timeout: float = 3.0,
        answer_timeout: float = 5.0,
        connect: Callable[..., Connection] = pymysql.connect,
        clock: Clock = HOST_CLOCK,
    ) -> None:
        """Prepare; ``with`` starts the clients.

        ``endpoint`` gives host and port anew for each connection. ``pause`` (between two operations of a client) and the timeouts
        (to connect; to send or to be answered) are seconds.
        """
        self._endpoint = endpoint
        self._user = user
        self._password = password
        self._history = history
        clients: dict[Kind, int] = {"insert": inserters, "transfer": transferrers, "total": 1}
        self._kinds = [kind for kind, number in clients.items() for _ in range(number)]
        self._pause = pause
        self._timeouts = (connect_timeout, answer_timeout)
        self._connect = connect
        self._clock = clock
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(len(self._kinds), thread_name_prefix="drill")
        self._clients: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Start the clients."""
        self._clients = [self._pool.submit(self._run, client, kind) for client, kind in enumerate(self._kinds)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Let each client end its operation and stop; what ended a client early (say, a full disk) is an error here."""
        self._stop.set()
        self._pool.shutdown()
        if error is None:
            for client in self._clients:
                client.result()

    def prepare(self, within: float = 600) -> None:
        """Make the tables anew, tried again until MySQL answers, at most ``within`` seconds; drops what an earlier drill left.

        Raises:
            LabError: MySQL refuses the user.
            RefusedError: MySQL refuses a statement.
            WaitTimeoutError: MySQL gave no answer in time.
        """
        self._answered("fresh tables", self._make_tables, within)

    def final_read(self, within: float = 600) -> Final:
        """Return what the tables hold, read in one snapshot; call it when the clients have stopped. Fails as ``prepare`` does.

        A table that is gone is a ``RefusedError``: a verdict about the data.
        """
        return self._answered("the final read", self._read_tables, within)

    def check_tables(self, within: float = 600) -> tuple[str, ...]:
        """Return what ``CHECK TABLE`` says of the InnoDB tables that aren't whole; it reads each page and its checksum. Fails as ``prepare``."""
        return self._answered("CHECK TABLE", self._check_tables, within)

    def _check_tables(self) -> tuple[str, ...]:
        with self._patiently() as cursor:
            cursor.execute(INNODB_TABLES)
            damaged = []
            tables = cursor.fetchall()
            if DATABASE not in {schema for schema, _ in tables}:
                raise RefusedError(f"MySQL names no table of InnoDB in the database {DATABASE}, where the drill made some.")
            for schema, table in tables:
                cursor.execute(f"CHECK TABLE `{schema}`.`{table}`")
                said = cursor.fetchall()
                if not any(row[2] == "status" for row in said):
                    damaged.append(f"{schema}.{table}: no status")
                damaged += [": ".join(map(str, row)) for row in said if row[2] != "note" and row[-1] != "OK"]
            return tuple(damaged)

    def command(self, statement: str, within: float = 600) -> None:
        """Run one statement of the drill's own, a setting of the server say. Fails as ``prepare`` does."""

        def run() -> None:
            with self._patiently() as cursor:
                cursor.execute(statement)

        self._answered(statement, run, within)

    def _answered(self, wanted: str, ask: Callable[[], Answer], within: float) -> Answer:
        return persist("MySQL, asked by the drill", ask, wanted=wanted, within=within, clock=self._clock)

    def _make_tables(self) -> None:
        with self._patiently() as cursor:
            for statement in FRESH_TABLES:
                cursor.execute(statement)

    def _read_tables(self) -> Final:
        with self._patiently() as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            cursor.execute(f"SELECT n, COUNT(*) FROM {DATABASE}.numbers GROUP BY n")
            numbers = {int(n): int(found) for n, found in cursor.fetchall()}
            cursor.execute(f"SELECT id, source, target, amount FROM {DATABASE}.transfers")
            transfers: dict[int, list[Transfer]] = {}
            for n, *moved in cursor.fetchall():
                transfers.setdefault(int(n), []).append(Transfer(*map(int, moved)))
            return Final(numbers, transfers, _accounts(cursor, ACCOUNTS))

    @contextmanager
    def _patiently(self) -> Iterator[Cursor]:
        """Give a cursor whose statements are committed at the end, and say what an error means."""
        try:
            with closing(self._open(PATIENT_SECONDS)) as connection:
                yield connection.cursor()
                connection.commit()
        except pymysql.err.MySQLError as error:
            code = _code(error)
            if code in DENIED:
                raise LabError(
                    f"MySQL refuses the drill's user {self._user} ({error}): the password has to be the one that the data folder was "
                    f"first started with, and the user needs all rights on the database {DATABASE}."
                ) from None
            if isinstance(error, NOT_NOW) and code != NO_DATABASE:
                raise UnreachableError(f"MySQL gave no answer ({error})") from None
            raise RefusedError(f"MySQL refuses the drill's statement ({error}).") from None

    def _open(self, answer_timeout: float) -> Connection:
        host, port = self._endpoint()
        return self._connect(
            host=host,
            port=port,
            user=self._user,
            password=self._password.reveal(),
            connect_timeout=self._timeouts[0],
            read_timeout=answer_timeout,
            write_timeout=answer_timeout,
            autocommit=False,
            ssl_disabled=True,  # the image's server offers none, and each new connection would load all certificates of the host
        )

    def _run(self, client: int, kind: Kind) -> None:
        """Be a client: one operation, a pause, and again. Only an error of the history ends it early."""
        chance = random.Random(client)
        connection: Connection | None = None
        for number in count(client * CLIENT_NUMBERS + 1):
            if self._stop.is_set():
                break
            transfer = _chosen(chance) if kind == "transfer" else None
            operation = self._history.begin(client, kind, number, transfer)
            outcome, detail = Outcome.FAIL, ""
            seen: list[Account] = []
            try:
                connection = connection or self._open(self._timeouts[1])
                cursor = connection.cursor()
                if kind == "total":
                    for half in HALVES:
                        seen += _accounts(cursor, half, MIDDLE)
                elif transfer:
                    seen += _accounts(cursor, LOCK, transfer.source, transfer.target)
                    _move(cursor, number, transfer, seen)
                else:
                    cursor.execute(f"INSERT INTO {DATABASE}.numbers VALUES (%s)", (number,))
                if kind != "total":
                    outcome = Outcome.UNKNOWN  # from here on the server may commit
                connection.commit()
                outcome = Outcome.OK
            except Exception as error:  # whatever the driver raises: the history has to know
                detail = f"{type(error).__name__}: {error}"
                # An InterfaceError says that the connection was closed, so that COMMIT was never sent.
                if _code(error) in REFUSALS or isinstance(error, pymysql.err.InterfaceError):
                    outcome = Outcome.FAIL
                _close(connection)
                connection = None
            self._history.end(operation, outcome, detail, seen)
            self._stop.wait(self._pause)
        _close(connection)


def _chosen(chance: random.Random) -> Transfer:
    source, target = chance.sample(list(BEGINNING), 2)
    return Transfer(source, target, chance.randint(1, 10))


def _accounts(cursor: Cursor, query: str, *values: int) -> tuple[Account, ...]:
    cursor.execute(query, values)
    return tuple(Account(*map(int, row)) for row in cursor.fetchall())


def _move(cursor: Cursor, number: int, transfer: Transfer, seen: Sequence[Account]) -> None:
    """Write what a transfer makes of the accounts that it saw; one that is gone isn't written."""
    for account, balance, _ in seen:
        changed = (balance + transfer.change(account), number, account)
        cursor.execute(f"UPDATE {DATABASE}.accounts SET balance = %s, last = %s WHERE id = %s", changed)
    cursor.execute(f"INSERT INTO {DATABASE}.transfers VALUES (%s, %s, %s, %s)", (number, *transfer))


def _code(error: Exception) -> int | None:
    """Return MySQL's code of an error of pymysql."""
    return error.args[0] if isinstance(error, pymysql.err.MySQLError) and error.args else None


def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()
