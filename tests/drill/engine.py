"""A MySQL in memory, as far as a drill asks for one: row locks, snapshots, commits and crashes, and what can be wrong with them."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import Any

import pymysql

from outlive.base.clock import Clock, Instant
from outlive.drill.history import Account, Transfer
from tests.samples import instant

LOST = pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
HANG = 60
"""Seconds after which a test that hangs is ended; no test takes them."""


@dataclass
class State:
    """What the tables hold."""

    accounts: dict[int, Account] = field(default_factory=dict)
    numbers: Counter[int] = field(default_factory=Counter)
    transfers: dict[int, list[Transfer]] = field(default_factory=dict)

    def copy(self) -> State:
        return State(dict(self.accounts), Counter(self.numbers), {value: list(rows) for value, rows in self.transfers.items()})

    def apply(self, pending: Iterable[tuple[str, tuple[int, ...]]]) -> None:
        for query, values in pending:
            if "UPDATE" in query:
                balance, last, number = values
                self.accounts[number] = Account(number, balance, last)
            elif "numbers" in query:
                self.numbers[values[0]] += 1
            else:
                self.transfers.setdefault(values[0], []).append(Transfer(*values[1:]))


class Turns(Clock):
    """Lets one client at a time go on by a statement, in an order that a seed decides, and is the clock of that."""

    def __init__(self, seed: object, clients: int) -> None:
        """Begin at second 0 with no client there."""
        self.chance = random.Random(str(seed))
        self.clients = clients
        self.condition = threading.Condition()
        self.waiting: set[str] = set()
        self.chosen = ""
        self.over = False
        self.ticks = 0

    def now(self) -> Instant:
        with self.condition:
            self.ticks += 1
            return instant(self.ticks / 64)

    def __call__(self) -> None:
        """Wait for this thread's turn."""
        me = threading.current_thread().name
        with self.condition:
            if self.over or not me.startswith("drill"):
                return
            self.waiting.add(me)
            self.condition.notify_all()
            assert self.condition.wait_for(lambda: self.over or self.chosen == me, HANG)
            self.waiting.discard(me)
            self.chosen = ""

    def settle(self) -> None:
        """Wait until all wait for their turns."""
        with self.condition:
            assert self.condition.wait_for(lambda: not self.chosen and len(self.waiting) == self.clients, HANG)

    def give(self) -> None:
        """Give somebody a turn, when all the others wait for theirs."""
        with self.condition:
            self.settle()
            self.chosen = self.chance.choice(sorted(self.waiting))
            self.condition.notify_all()

    def end(self) -> None:
        """Let all run as they like."""
        with self.condition:
            self.settle()
            self.over = True
            self.condition.notify_all()


class Server:
    """A MySQL of three tables: what a connection executed is stored by its commit."""

    def __init__(self, *troubles: Exception, isolation: str = "REPEATABLE READ", turns: Turns | None = None) -> None:
        """Begin empty; each trouble meets one connection attempt."""
        self.changed = threading.Condition()
        self.troubles = list(troubles)
        self.isolation = isolation
        self.turns = turns
        self.logins: list[dict[str, Any]] = []
        self.statements: list[str] = []
        self.state = State()
        self.durable = State()
        """What a crash leaves."""
        self.locks: dict[int, Connection] = {}
        self.locking = True
        self.said: str = "OK"
        """What CHECK TABLE says of the table drill.numbers; empty: no status."""
        self.tables: tuple[tuple[str, str], ...] = (("drill", "numbers"),)
        self.connections: list[Connection] = []
        self.left: list[Connection] = []
        """Connections whose clients have gone, and whose COMMIT wasn't carried out yet."""
        self.on_execute: Callable[[str], None] = lambda _: None
        self.on_commit: Callable[[Connection], None] = Connection.store
        self.answered: Callable[[], None] = lambda: None
        """Called when a commit was carried out, before its client hears of it."""
        self.copy_of: Callable[[], State] = lambda: self.state
        """Whence plain reads are answered."""

    def connect(self, **login: Any) -> Connection:  # noqa: ANN401  what pymysql takes
        self.turn()
        with self.changed:
            self.logins.append(login)
            if self.troubles:
                raise self.troubles.pop(0)
            self.connections.append(Connection(self))
            return self.connections[-1]

    def turn(self) -> None:
        if self.turns:
            self.turns()

    def crash(self) -> None:
        """Lose all connections, and what isn't on the disk."""
        for connection in self.connections:
            connection.broken = True
            connection.drop()
        self.left = []
        self.state = self.durable.copy()

    def carry_out(self, connection: Connection) -> None:
        """Carry out a COMMIT whose client has gone."""
        self.left.remove(connection)
        connection.store()
        self.durable = self.state.copy()

    def view(self) -> State:
        """Return what a plain read sees that begins now."""
        seen = self.copy_of().copy()
        if self.isolation == "READ UNCOMMITTED":
            seen.apply(chain.from_iterable(each.pending for each in self.connections))
        return seen


class Connection:
    """A connection, and its only cursor."""

    def __init__(self, server: Server) -> None:
        """Begin with nothing to commit."""
        self.server = server
        self.pending: list[tuple[str, tuple[int, ...]]] = []
        self.snapshot: State | None = None
        self.rows: tuple[tuple[Any, ...], ...] = ()
        self.closed = False
        self.broken = False

    def cursor(self) -> Connection:
        return self

    def execute(self, query: str, args: tuple[int, ...] | None = None) -> int:
        self.server.turn()
        with self.server.changed:
            self.server.statements.append(query)
        while True:
            with self.server.changed:
                self.alive()
                if self.try_to(query, args or ()):
                    return len(self.rows)
                if not self.server.turns or self.server.turns.over:
                    assert self.server.changed.wait(HANG)
                    continue
            self.server.turn()

    def alive(self) -> None:
        if self.broken:
            raise LOST

    def try_to(self, query: str, args: tuple[int, ...]) -> bool:
        """Run a statement, or say that another one's lock is in the way."""
        server = self.server
        if "FOR UPDATE" in query:
            if server.locking and any(server.locks.get(account, self) is not self for account in args):
                return False
            server.on_execute(query)
            server.locks |= dict.fromkeys(args, self)
            self.rows = tuple(sorted(server.state.accounts[account] for account in args))
            return True
        server.on_execute(query)
        if "information_schema" in query:
            self.rows = server.tables
        elif query == "CHECK TABLE `drill`.`numbers`":
            status = [("drill.numbers", "check", "status", server.said)] if server.said else []
            self.rows = (("drill.numbers", "check", "note", "a note"), *status)
        elif query.startswith("SELECT"):
            if self.snapshot is None or server.isolation != "REPEATABLE READ":
                self.snapshot = server.view()
            self.rows = self.select(query, args, self.snapshot)
        elif "INTO drill.accounts" in query:
            made = [Account(*map(int, row)) for row in re.findall(r"\((\d+), (\d+), (\d+)\)", query)]
            server.state = State({account.number: account for account in made})
            server.durable = server.state.copy()
        elif args:
            self.pending.append((query, args))
        return True

    def select(self, query: str, args: tuple[int, ...], state: State) -> tuple[tuple[Any, ...], ...]:
        if "numbers" in query:
            return tuple(state.numbers.items())
        if "transfers" in query:
            return tuple((value, *row) for value, rows in state.transfers.items() for row in rows)
        low, high = (0, args[0]) if "<=" in query else (args[0], 99) if ">" in query else (0, 99)
        return tuple((number, Decimal(balance), last) for number, balance, last in state.accounts.values() if low < number <= high)

    def fetchall(self) -> tuple[tuple[Any, ...], ...]:
        return self.rows

    def commit(self) -> None:
        self.server.turn()
        with self.server.changed:
            self.alive()
            wrote = bool(self.pending)
            self.server.on_commit(self)
            self.drop()
        if not wrote:
            return
        self.server.turn()  # it is visible, and not yet on the disk
        with self.server.changed:
            self.alive()
            self.server.durable = self.server.state.copy()
            self.server.answered()

    def store(self) -> None:
        """Make what it wrote visible to others."""
        self.server.state.apply(self.pending)
        self.drop()

    def drop(self) -> None:
        """Forget what isn't committed, and give up the locks."""
        self.pending = []
        self.snapshot = None
        for account in [account for account, holder in self.server.locks.items() if holder is self]:
            del self.server.locks[account]
        self.server.changed.notify_all()

    def close(self) -> None:
        assert not self.closed, "pymysql refuses to close a connection twice"
        self.closed = True
        with self.server.changed:
            if self not in self.server.left:
                self.drop()
