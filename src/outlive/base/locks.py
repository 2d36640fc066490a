"""A lock file that one process holds at a time: the kernel lets it go with its holder, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from outlive.base.errors import LabError


@contextmanager
def exclusive(lock: Path, refusal: Callable[[str], str] | None = None) -> Iterator[None]:
    """Hold a lock file, which is made where it isn't there.

    Args:
        lock: The file; its holder's process id stands in it.
        refusal: Given the process id of another holder, returns the sentence for the user. None: wait for the other one.

    Raises:
        LabError: another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if refusal is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            assert refusal is not None
            file.seek(0)
            raise LabError(refusal(file.read().strip() or "unknown")) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
