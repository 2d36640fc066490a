"""The class room's other host: a network namespace of its own, joined to the student's by a pair of interfaces, as two hosts are by a cable."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import LOGS, cache
from outlive.base.process import OUTLIVE, as_root, as_user, end, output, start
from outlive.base.wait import wait_for
from outlive.host.private import MIRROR_PORTS

ADDRESS, STUDENT, PREFIX = "198.18.0.1", "198.18.0.2", 30
"""The two ends of the cable; from the range for tests between networks (RFC 2544)."""
PACKAGES, IMAGES = (f"http://{ADDRESS}:{port}" for port in MIRROR_PORTS)
"""Where the student finds what is served."""
READ = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


@contextmanager
def namespace(role: str) -> Iterator[str]:
    """Make a network namespace, and remove it at the end; yield its name."""
    name = f"outlive-{role}-{os.getpid()}"
    output(as_root(["ip", "netns", "add", name]))
    try:
        # A host reaches its own addresses through it.
        output(as_root(["ip", "-n", name, "link", "set", "lo", "up"]))
        yield name
    finally:
        output(as_root(["ip", "netns", "delete", name]))


@contextmanager
def cable(student: str) -> Iterator[str]:
    """Make the teacher's namespace, joined to the student's; yield its name.

    Args:
        student: The other network namespace, as ip(8) has it: its name, or the id of a process in it.
    """
    enter = ["nsenter", f"--net={f'/proc/{student}/ns/net' if student.isdigit() else f'/run/netns/{student}'}", "ip"]
    with namespace("teacher") as name:
        output(as_root(["ip", "link", "add", "lan0", "netns", name, "type", "veth", "peer", "name", "lan0", "netns", student]))
        for side, address in ((["ip", "-n", name], ADDRESS), (enter, STUDENT)):
            output(as_root([*side, "address", "add", f"{address}/{PREFIX}", "dev", "lan0"]))
            output(as_root([*side, "link", "set", "lan0", "up"]))
        yield name


@contextmanager
def served(
    name: str | None, box: str, asked: Callable[[list[str]], str], *, address: str = ADDRESS, reached: str = ADDRESS
) -> Iterator[None]:
    """Serve the mirror in the teacher's namespace, by the command that a teacher runs; it answers when the block begins.

    Args:
        name: The namespace. None: this host's own.
        box: The box that has to be served.
        asked: Given a command, returns what it prints on the student's side.
        address: The teacher's, on which it is served.
        reached: The address by which the student reaches it.
    """
    boxes = f"http://{reached}:{MIRROR_PORTS[0]}/boxes"
    log = LOGS / "rehearsal-mirror-serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    serve = [*OUTLIVE, "mirror", "serve", "--address", address]
    argv = as_root(["ip", "netns", "exec", name, *as_user(serve)]) if name else serve
    variables = {**os.environ, "OUTLIVE_CACHE": str(cache())}
    with log.open("w", encoding="utf-8") as file:
        process = start(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, text=True, env=variables, process_group=0)
        try:

            def ask() -> str:
                if process.poll() is not None:
                    pytest.fail(f"`outlive mirror serve` ended with status {process.returncode}: {log.read_text(encoding='utf-8')}")
                try:
                    return asked(["/usr/bin/python3", "-c", READ, f"{boxes}/{box}.json"])
                except LabError as error:
                    raise UnreachableError(str(error)) from error

            wait_for("the mirror", "the box's address", ask, lambda text: f"{boxes}/{box}-" in text, within=60)
            yield
        finally:
            end(process)
