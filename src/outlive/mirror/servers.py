"""The programs that serve, Debian's nginx and docker-registry: children of this process that end with it, however that ends."""

import json
import os
import select
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import jinja2

from outlive.base.errors import LabError
from outlive.base.ports import check_free
from outlive.base.process import end, environment, start
from outlive.base.wait import WaitTimeoutError, wait_for
from outlive.mirror.paths import PACKAGE
from outlive.mirror.tools import require_tools

_START_SECONDS = 30.0
_END_SECONDS = 5.0
_CURE = "end what uses that port, or choose another one"


@contextmanager
def nginx(
    folder: Path, template: str, address: str, ports: Sequence[int], log: Path, *, who: str, cure: str, **values: object
) -> Iterator[subprocess.Popen[str]]:
    """Run nginx on `address` until the block ends; it answers on all `ports` when the block begins.

    Args:
        folder: For its configuration and whatever it writes; relative paths of the configuration begin there.
        template: One of the folder nginx, filled in with `address`, `ports` and `values`.
        address: IPv4 address to listen on.
        ports: TCP ports to listen on.
        log: Where its complaints are appended.
        who: What it is to the user, for the sentence on a port that can't be had.
        cure: The end of that sentence.
        values: What else the template needs.

    Raises:
        LabError: a port is taken, or nginx isn't there or doesn't start.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PACKAGE / "nginx"), undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(templates.get_template(template).render(address=address, ports=ports, **values))
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration)]
    with _child(command, address, ports, log, who, cure) as process:
        yield process


@contextmanager
def registry(
    storage: Path, address: str, port: int, log: Path, *, read_only: bool = False, cure: str = _CURE
) -> Iterator[subprocess.Popen[str]]:
    """Run docker-registry over a storage folder until the block ends; it answers when the block begins.

    Raises:
        LabError: the port is taken, or docker-registry isn't there or doesn't start.
    """
    configuration = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "maintenance": {"readonly": {"enabled": read_only}, "uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"{address}:{port}"},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump(configuration, file)  # JSON is YAML
        file.flush()
        with _child(["docker-registry", "serve", file.name], address, [port], log, "docker-registry", cure) as process:
            yield process


@contextmanager
def _child(command: Sequence[str], address: str, ports: Sequence[int], log: Path, who: str, cure: str) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the block ends."""
    require_tools([command[0]])
    for port in ports:
        check_free(address, port, who, cure)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        # The kernel kills it with this process. The terminal's Ctrl-C is for this process alone, hence a group of its own.
        process = start(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            process_group=0,
            env=environment(),
        )
    try:
        for port in ports:
            _wait(process, command[0], "127.0.0.1" if address == "0.0.0.0" else address, port, log)
        yield process
    finally:
        # A process of nginx alone misses a signal that comes between two of its waits: another one follows.
        end(process, patience=_END_SECONDS)


def _wait(process: subprocess.Popen[str], name: str, address: str, port: int, log: Path) -> None:
    """Wait until a server answers."""

    def answers() -> bool:
        if process.poll() is not None:
            raise LabError(f"{name} ended with status {process.returncode}: read {log}")
        with suppress(OSError):
            socket.create_connection((address, port), 5).close()
            return True
        return False

    try:
        wait_for(name, f"an answer on {address} port {port}", answers, bool, within=_START_SECONDS, every=0.05)
    except WaitTimeoutError as error:
        raise LabError(f"{error}: read {log}") from error


def wait_until_told(ready: str, servers: dict[str, subprocess.Popen[str]], log: Path) -> None:
    """Print `ready` and wait for Ctrl-C or SIGTERM; raise LabError if one of the named servers ends before."""
    handles = {os.pidfd_open(process.pid): name for name, process in servers.items()}
    try:
        with suppress(KeyboardInterrupt):
            print(ready, flush=True)
            gone: list[int] = []
            while not gone:
                # A signal that comes just before the wait is seen after it.
                gone = select.select(list(handles), [], [], 1.0)[0]
            ended = handles[gone[0]]
            raise LabError(f"{ended} ended with status {servers[ended].wait()}: read {log}")
    finally:
        for handle in handles:
            os.close(handle)


def free_port() -> int:
    """Give a TCP port that nobody listens on at 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
