"""A writer on a shared file, run on a node: ``python3 fsync_writer.py FILE NAME lock|nolock LOG``. Python's own library only.

Record n stands at the beginning of page n - 1 of the file, whoever writes it, and is on the server's disk before the log says ``ok n``: of two writers the
later one's bytes win. The first error is logged and ends the writer, as it ends InnoDB.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import sys
import time
from pathlib import Path

PAGE = 4096
"""Bytes from one record to the next: an NFS client that holds a delegation writes whole pages, and would write its own old records again."""
EVERY = 0.3
"""Seconds from one record to the next."""


def record(name: str, number: int) -> bytes:
    """Return a writer's record; all have the same length."""
    return f"{name} {number:08}\n".encode()


def main(file: str, name: str, lock: str, log: str) -> None:
    """Write until an error comes, or the process is ended."""
    with Path(log).open("a", buffering=1, encoding="utf-8") as told:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        if lock == "lock":
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        told.write("begun\n")
        for number in itertools.count(1):
            data = record(name, number)
            try:
                os.pwrite(descriptor, data, (number - 1) * PAGE)
                os.fsync(descriptor)
            except OSError as error:
                told.write(f"error {number} {error.strerror}\n")
                return
            told.write(f"ok {number}\n")
            time.sleep(EVERY)


if __name__ == "__main__":
    main(*sys.argv[1:])
