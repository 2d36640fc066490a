"""The journal of a drill and what is read back from it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.drill import history
from outlive.drill.history import Account, History, Operation, Outcome, Transfer
from tests.samples import ManualClock, instant


def test_operations_are_read_back(tmp_path: Path, clock: ManualClock) -> None:
    with History(tmp_path / "h.jsonl", clock) as journal:
        insert = journal.begin(0, "insert", 7)
        clock.rest(0.5)
        total = journal.begin(1, "total", 9)
        clock.rest(0.25)
        journal.end(total, Outcome.OK, seen=[Account(1, 990, 8), Account(2, 1010, 8)])
        journal.end(insert, Outcome.FAIL, "OperationalError: (2013, 'Lost connection')")
        operations = journal.operations()
    assert operations == (
        Operation(0, "insert", 7, instant(0), instant(0.75), Outcome.FAIL, "OperationalError: (2013, 'Lost connection')"),
        Operation(1, "total", 9, instant(0.5), instant(0.75), Outcome.OK, seen=(Account(1, 990, 8), Account(2, 1010, 8))),
    )
    assert history.read(tmp_path / "h.jsonl") == (instant(0), operations)


def test_an_operation_is_on_the_disk_before_it_is_sent(tmp_path: Path, clock: ManualClock) -> None:
    journal = History(tmp_path / "h.jsonl", clock)
    clock.rest(2)
    journal.begin(3, "transfer", 30_000_001, Transfer(7, 2, 5))
    pending = (Operation(3, "transfer", 30_000_001, instant(2), instant(2), Outcome.UNKNOWN, transfer=Transfer(7, 2, 5)),)
    assert history.read(tmp_path / "h.jsonl")[1] == pending == journal.operations()


def test_the_journal_tells_what_a_transfer_moved_and_what_it_saw(tmp_path: Path, clock: ManualClock) -> None:
    with History(tmp_path / "h.jsonl", clock) as journal:
        journal.end(journal.begin(2, "transfer", 20_000_004, Transfer(3, 7, 5)), Outcome.OK, seen=[Account(3, 990, 1), Account(7, 1010, 2)])
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert lines[1] == {"begin": 1, "client": 2, "kind": "transfer", "value": 20_000_004, "transfer": [3, 7, 5], "at": 0.0}
    assert lines[2] == {"end": 1, "outcome": "ok", "detail": "", "seen": [[3, 990, 1], [7, 1010, 2]], "at": 0.0}


def test_a_journal_of_an_older_format_is_refused(tmp_path: Path) -> None:
    line = '{"begin": 1, "client": 4, "kind": "total", "value": 0, "at": 1.0}\n'
    (tmp_path / "h.jsonl").write_text('{"origin": "2026-01-02T03:04:05+00:00", "monotonic": 1}\n' + line)
    with pytest.raises(
        LabError, match=r"^The history .*h\.jsonl has the format 1, and 2 is read: use the version of outlive that wrote it\.$"
    ):
        history.read(tmp_path / "h.jsonl")


def test_a_torn_line_is_left_out(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "h.jsonl"
    with History(path, clock) as journal:
        journal.end(journal.begin(0, "insert", 1), Outcome.OK)
    path.write_bytes(path.read_bytes()[:-5])
    assert [each.outcome for each in history.read(path)[1]] == [Outcome.UNKNOWN]


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    def write(client: int) -> None:
        for value in range(8):
            journal.end(journal.begin(client, "insert", value), Outcome.OK)

    with History(tmp_path / "h.jsonl") as journal, ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    _, operations = history.read(tmp_path / "h.jsonl")
    assert {(each.client, each.value) for each in operations} == {(client, value) for client in range(4) for value in range(8)}
    assert {each.outcome for each in operations} == {Outcome.OK}
    assert all(each.begun <= each.ended for each in operations)


def test_an_earlier_history_is_kept(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text("an interrupted run's\n")
    with pytest.raises(LabError, match="exists and isn't written over: move it away"):
        History(tmp_path / "h.jsonl")
    assert (tmp_path / "h.jsonl").read_text() == "an interrupted run's\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"origin": "2026',
        "no JSON\n",
        "[]\n",
        '{"origin": "2026-01-02T03:04:05+00:00", "monotonic": 1, "format": 2}\n{"end": 1, "at": 2}\n',
    ],
)
def test_what_is_no_history(tmp_path: Path, text: str) -> None:
    (tmp_path / "h.jsonl").write_text(text)
    with pytest.raises(LabError, match="can't be read as a drill's history"):
        history.read(tmp_path / "h.jsonl")
