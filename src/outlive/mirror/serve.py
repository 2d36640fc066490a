"""Serve the mirror to the lab, or to all labs of a class room: packages and boxes over HTTP, images by Debian's docker-registry."""

from __future__ import annotations

import functools
import http.server
import io
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from outlive.base.errors import LabError
from outlive.mirror import registry
from outlive.mirror.lock import EARLIER
from outlive.mirror.store import Store

if TYPE_CHECKING:
    from _typeshed import SupportsRead, SupportsWrite

_Connection = socket.socket | tuple[bytes, socket.socket]

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_CATALOG = re.compile(r"/boxes/[a-z]+\.json$")
_CONNECTIONS = 256
"""Connections at a time: apt opens one, Vagrant one, and a class has some thirty labs of three machines."""
_WAIT_SECONDS = 5.0
"""How long one more waits for its turn."""
_IDLE_SECONDS = 300.0
"""After which a client that neither asks nor takes anything is let go; an emulated one may be busy for a minute or two."""


class FileHandler(http.server.SimpleHTTPRequestHandler):
    """Files below a folder, with ranges, so that apt goes on where it was cut. Nothing can be written."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Answer a request for a part of a file; leave the others to the library."""
        wanted = _RANGE.match(self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if _CATALOG.match(self.path) and path.is_file():
            return self._send_catalog(path)
        if wanted is None or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        first = int(wanted[1])
        last = min(int(wanted[2] or size - 1), size - 1)
        if first > last:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        file = path.open("rb")
        file.seek(first)
        self._remaining = last - first + 1
        return file

    def _send_catalog(self, path: Path) -> io.BytesIO:
        """Answer with a box catalogue whose boxes lie where this client reached us."""
        address, port = self.connection.getsockname()[:2]
        content = catalog_over_http(path.read_text(encoding="utf-8"), f"http://{address}:{port}/boxes").encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)

    def copyfile(self, source: SupportsRead[bytes], outputfile: SupportsWrite[bytes]) -> None:  # type: ignore[override]
        """Send a file, or the part asked for."""
        remaining = self.__dict__.pop("_remaining", None)
        if remaining is None:
            shutil.copyfileobj(source, outputfile)
        while remaining:
            chunk = source.read(min(remaining, 1 << 20))
            if not chunk:
                break
            outputfile.write(chunk)
            remaining -= len(chunk)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep quiet: the answers are of no interest."""


class Server(http.server.ThreadingHTTPServer):
    """A thread for each connection, and no more of them than `_CONNECTIONS`: the next ones wait, or are refused."""

    def __init__(self, address: tuple[str, int], handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> None:
        """Listen on `address`, not serving yet."""
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: _Connection, client_address: object) -> None:
        """Serve a connection in a thread of its own, as soon as one is free."""
        if self._free.acquire(timeout=_WAIT_SECONDS):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: _Connection, client_address: object) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: _Connection, client_address: object) -> None:
        """Say nothing of clients that went away; leave the rest to the library."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def catalog_over_http(catalog: str, address: str) -> str:
    """Give a box catalogue whose boxes are below `address`, not in this host's files."""
    data = json.loads(catalog)
    for version in data["versions"]:
        for provider in version["providers"]:
            provider["url"] = f"{address}/{provider['url'].rpartition('/')[2]}"
    return json.dumps(data, indent=2) + "\n"


def publish_packages(store: Store) -> Path:
    """Lay out what the HTTP server offers: /kubernetes, /kubernetes-earlier where it was made, /debian and /boxes."""
    offered = store.cache / "http"
    offered.mkdir(parents=True, exist_ok=True)
    for name, source in (
        ("kubernetes", store.path_of("kubernetes-packages") / "kubernetes"),
        (EARLIER, store.path_of(f"{EARLIER}-packages") / "kubernetes"),
        ("debian", store.path_of("debian-repository")),
        ("boxes", store.cache / "boxes"),
    ):
        if name == EARLIER and not source.exists():
            continue
        fresh = offered / f".{name}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(source, offered))
        fresh.replace(offered / name)
    return offered


def http_server(address: str, port: int, folder: Path) -> Server:
    """Give a server for the files below `folder`, not serving yet."""
    try:
        return Server((address, port), functools.partial(FileHandler, directory=str(folder)))
    except OSError as error:
        raise LabError(
            f"the mirror can't listen on {address} port {port} ({error.strerror}): end what uses that port, "
            "choose another one with --apt-port, or name an address of this host with --address"
        ) from error


def serve(store: Store, address: str, apt_port: int, registry_port: int) -> None:
    """Serve packages and images on `address` until SIGTERM or SIGINT."""
    check_address(address)
    check_ports(apt_port, registry_port)
    if not (store.path_of("registry") / "docker").is_dir():
        raise LabError(f"the mirror in {store.cache} isn't built: run `outlive mirror build`")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    packages = http_server(address, apt_port, publish_packages(store))
    thread = threading.Thread(target=packages.serve_forever, daemon=True)
    log = store.log("serve")
    with registry.serving(store.path_of("registry"), f"{address}:{registry_port}", log, read_only=True) as process:
        thread.start()
        everywhere = " on every address of this host" if address == "0.0.0.0" else ""
        print(f"packages and boxes: http://{address}:{apt_port}/  images: http://{address}:{registry_port}/v2/{everywhere}", flush=True)
        while not ended.wait(1.0):
            if process.poll() is not None:
                raise LabError(f"docker-registry ended with status {process.returncode}: read {log}")
    packages.shutdown()


def check_address(address: str) -> None:
    """Raise LabError unless `address` is an IPv4 address."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise LabError(f"--address is {address!r}, which is no IPv4 address: give one of this host's") from error


def check_ports(apt_port: int, registry_port: int) -> None:
    """Raise LabError unless both are ports and differ."""
    for option, port in (("--apt-port", apt_port), ("--registry-port", registry_port)):
        if not 1 <= port <= 65535:
            raise LabError(f"{option} is {port}, and a port is a number from 1 to 65535: give such a number")
    if apt_port == registry_port:
        raise LabError(f"--apt-port and --registry-port are both {apt_port}: give two different ports")
