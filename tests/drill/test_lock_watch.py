"""The sampler of InnoDB's lock: it reads a real process, here a shell that tells what a server would."""

from __future__ import annotations

import pytest

from outlive.base.wait import wait_for
from outlive.drill import lock_watch
from outlive.drill.lock_watch import Sampler, doubles
from outlive.lab.inventory import Host
from outlive.lab.mysql_storage import NfsFolder
from tests.lab.test_nfs import CLIENTS
from tests.samples import instant

FOLDER = NfsFolder(Host("k8s-master", "192.0.2.10", {}), "/nfsdata/mysql-pv")


def samples(script: str, number: int) -> tuple[lock_watch.Sample, ...]:
    """Return at least so many samples of a server that tells what a script prints instead."""
    with Sampler(["sh", "-c", script], FOLDER.holders, lambda: True) as sampler:
        return wait_for("sampler", f"{number} samples", sampler.samples, lambda found: len(found) >= number, within=60, every=0.1)


def told(text: str) -> str:
    """Return a script that prints a text and the end of a sample."""
    return f"cat <<'X'\n{text}\n{lock_watch.END}\nX\n"


def test_holders_are_told_by_their_addresses() -> None:
    found = samples(told(CLIENTS) + told("== /proc/fs/nfsd/clients/*/"), 2)
    assert [each.holders for each in found[:2]] == [("192.0.2.12",), ()]
    assert doubles(found) == ()


def test_a_lock_that_is_handed_over_between_two_clients_has_one_holder() -> None:
    other = CLIENTS.replace("192.0.2.12", "192.0.2.99")
    found = samples(told(f"{CLIENTS}\n{other}\n{lock_watch.TWICE}\n{other}"), 1)
    assert found[0].holders == ("192.0.2.99",)


def test_two_holders_in_two_looks_are_two() -> None:
    both = CLIENTS + "\n" + CLIENTS.replace("192.0.2.12", "192.0.2.99")
    assert doubles(samples(told(f"{both}\n{lock_watch.TWICE}\n{both}"), 1))


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_program_that_is_missing_gives_no_samples() -> None:
    with Sampler(["no-such-program"], FOLDER.holders, lambda: False) as sampler:
        wait_for("sampler", "a silence", sampler.silences, bool, within=60, every=0.1)
    assert sampler.samples() == ()


@pytest.mark.parametrize(
    ("held", "watched"),
    [((9, 61), True), ((9,), False), ((61,), False), ((9, 59), False), ((10, 61), False), ((9, 60), True), ((), False)],
)
def test_a_lock_is_watched_before_the_fault_and_after_the_healing(held: tuple[float, ...], watched: bool) -> None:
    found = [lock_watch.Sample(instant(at), ("192.0.2.11",) if at in held else ()) for at in sorted({5, 20, 30, 45, 65, *held})]
    assert (lock_watch.watch(found, (), instant(10), instant(60)).missing is None) is watched


def test_two_samples_a_thousand_seconds_apart_say_nothing() -> None:
    found = [lock_watch.Sample(instant(at), ("192.0.2.11",)) for at in (9, 1009)]
    watch = lock_watch.watch(found, (), instant(10), instant(1000))
    assert watch.missing == "it wasn't looked at for 1000 s while the server answered, and 30 s are the most that count"
    assert str(watch) == "2 samples, at most 1000 s apart while the server answered"


def test_a_server_that_is_down_leaves_no_hole() -> None:
    found = [lock_watch.Sample(instant(at), ("192.0.2.11",)) for at in (9, 209)]
    down = [instant(at) for at in range(12, 200, 3)]
    assert lock_watch.watch(found, down, instant(10), instant(205)).missing is None


def test_a_server_that_gives_no_answer_is_noted() -> None:
    with Sampler(["sh", "-c", "exec sleep 60"], FOLDER.holders, lambda: False) as sampler:
        wait_for("sampler", "a silence", sampler.silences, bool, within=30, every=0.1)


def test_a_server_that_goes_away_is_asked_anew() -> None:
    assert len(samples(told(CLIENTS) + "exit 1\n", 2)) >= 2


def test_no_answer_is_not_a_sample_without_a_holder() -> None:
    found = samples(told("") + told(CLIENTS), 1)
    assert found[0].holders == ("192.0.2.12",)


def test_a_torn_sample_does_not_count() -> None:
    found = samples("echo torn\n" + told(CLIENTS), 1)
    assert found[0].holders == ("192.0.2.12",)
