"""Writers on a shared file of the NFS server, on the lab's nodes, to see what becomes of one that was cut off."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.drill import fsync_writer
from outlive.lab.ssh import Remote

FOLDER = "outlive-writer"
"""Folder below the export, and name of the mount point below /run."""
WITHIN = 900.0
"""Seconds for what a writer is waited for: a lease, a lost connection's retry, and a slow host's share."""


@dataclass(frozen=True)
class Share:
    """An export of the NFS server: its name in the inventory, its address and the folder."""

    server: str
    address: str
    export: str


class Writer:
    """``fsync_writer.py`` on one node, with the export mounted for it alone; entered, it runs."""

    def __init__(self, remote: Remote, share: Share, node: str, name: str, *, lock: bool) -> None:
        """Take the node and the name that its records carry."""
        self.node = node
        self.name = name
        self._remote = remote
        self._share = share
        self._lock = "lock" if lock else "nolock"
        self._mount = f"/run/{FOLDER}"
        self._log = f"/run/{FOLDER}-{name}.log"
        self._process = ""

    def __enter__(self) -> Self:
        """Mount the export and start."""
        program = Path(fsync_writer.__file__).read_text(encoding="utf-8")
        self._remote.check(self._share.server, f"install -d -m 0700 {self._share.export}/{FOLDER}")
        self._remote.check(
            self.node,
            f"install -d {self._mount} && mountpoint -q {self._mount} "
            f"|| mount -t nfs4 {self._share.address}:{self._share.export}/{FOLDER} {self._mount}",
        )
        self._remote.check(self.node, "printf %%s %s > /run/outlive-writer.py", program)
        self._process = self._remote.check(
            self.node,
            f"rm -f {self._log}; "
            f"nohup python3 /run/outlive-writer.py {self._mount}/file {self.name} {self._lock} {self._log} >/dev/null 2>&1 </dev/null & echo $!",
        ).strip()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End it and take everything away that was made for it."""
        with suppress(LabError):
            self._remote.run(
                self.node,
                f"kill -KILL {self._process} 2>/dev/null; umount --force --lazy {self._mount} 2>/dev/null; "
                f"rm -f {self._log} /run/outlive-writer.py; rmdir {self._mount} 2>/dev/null; true",
            )
        with suppress(LabError):
            self._remote.run(self._share.server, f"rm -rf {self._share.export}/{FOLDER}")

    def log(self) -> list[str]:
        """Return what it told so far."""
        return self._remote.run(self.node, f"cat {self._log} 2>/dev/null || true").stdout.splitlines()

    def written(self) -> int:
        """Return the number of its last record that is on the server's disk."""
        return max((int(line.split()[1]) for line in self.log() if line.startswith("ok ")), default=0)

    def await_record(self, number: int) -> int:
        """Wait until a record is on the server's disk; return the number of the last one."""
        return wait_for(f"writer {self.name} on {self.node}", f"record {number}", self.written, lambda last: last >= number, within=WITHIN)

    def await_error(self) -> str:
        """Wait until it ends with an error; return it."""
        log = wait_for(
            f"writer {self.name} on {self.node}",
            "an error",
            self.log,
            lambda lines: bool(lines) and lines[-1].startswith("error "),
            within=WITHIN,
            describe=lambda lines: lines[-1] if lines else "nothing",
        )
        return log[-1]


def contents(remote: Remote, share: Share) -> bytes:
    """Return the records of the file as it lies on the server, without what is between them."""
    return remote.check(share.server, f"tr -d '\\000' <{share.export}/{FOLDER}/file").encode()
