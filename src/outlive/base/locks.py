"""A lock file that one process holds at a time: the kernel lets it go with its holder, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.paths import LOCK


@contextmanager
def exclusive(lock: Path, refusal: Callable[[str], str] | None = None) -> Iterator[None]:
    """Hold a lock file, which is made where it isn't there.

    Args:
        lock: The file; its holder's process id stands in it. The holder may remove it, as the last thing that it does.
        refusal: Given the process id of another holder, returns the sentence for the user. None: wait for the other one.

    Raises:
        LabError: another process holds it.
    """
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if refusal is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                assert refusal is not None
                file.seek(0)
                raise LabError(refusal(file.read().strip() or "unknown")) from error
            if not _same(lock, file.fileno()):
                continue  # its last holder removed it, as `outlive destroy` does: whoever comes now locks another file
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
            return


def _same(lock: Path, number: int) -> bool:
    """Say whether an open file is the one that has the lock's name."""
    try:
        return os.path.samestat(lock.stat(), os.fstat(number))
    except FileNotFoundError:
        return False


@contextmanager
def alone(lock: Path = LOCK) -> Iterator[None]:
    """Hold the checkout's lab for what makes it, breaks it or removes it.

    Raises:
        LabError: another command has it.
    """
    sentence = f"another command works on this lab (it holds {lock}): wait until it has ended, or end it with Ctrl-C"
    with exclusive(lock, lambda _: sentence):
        yield
