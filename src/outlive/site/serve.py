"""Serve the site to a class room: what is built, to whoever reaches the address, and nothing else of this host."""

from __future__ import annotations

import functools
import io
import socketserver
import sys
from contextlib import suppress
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

from outlive.base.ports import check_address, refused, typed
from outlive.site import build

_CURE = "choose another port with --port, or name an address of this host with --address"


def serve(address: str, port: int, folder: Path = build.FOLDER) -> None:
    """Serve the site, built anew where the pages have changed, until SIGTERM or SIGINT.

    Args:
        address: IPv4 address to listen on.
        port: TCP port to listen on.
        folder: Where the site is.

    Raises:
        LabError: the address or the port can't be had, or the site can't be built.
    """
    check_address(address)
    with server(address, port, folder) as serving:
        if not build.up_to_date(folder):
            build.build(folder)
        places = " ".join(f"http://{name}:{serving.server_port}/" for name in typed(address))
        with suppress(KeyboardInterrupt):
            print(f"the site: {places}; Ctrl-C ends it", flush=True)
            serving.serve_forever()


def server(address: str, port: int, folder: Path) -> ThreadingHTTPServer:
    """Return a server that listens already; raise LabError if it can't."""
    try:
        return _Server((address, port), functools.partial(_Site, directory=str(folder)))
    except OSError as error:
        raise refused(error, address, port, "the class room's site", _CURE) from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a browser that keeps its connection doesn't keep the program

    def server_bind(self) -> None:
        """Bind without the parent's question for this host's name, which without a name server is answered after seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: tuple[str, int]) -> None:
        """Say in one line why a request had no answer; a browser that goes away before it has one is no error."""
        del request
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            print(f"{client_address[0]} had no answer: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


class _Site(SimpleHTTPRequestHandler):
    """GET and HEAD of the site's files; other methods are unknown to it."""

    server_version, sys_version = "outlive", ""
    timeout = 30  # seconds: a client that says nothing keeps no thread
    # Files that pages link to; a browser shows them and doesn't save them.
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".yml": "text/plain; charset=utf-8", "": "text/plain; charset=utf-8"}  # noqa: RUF012

    def end_headers(self) -> None:
        """Let no page load anything from elsewhere, and ask again for one that may have been built anew."""
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline' data: blob:")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Answer with a file; what isn't a page's or a page's own is not there."""
        path = Path(self.translate_path(self.path))
        try:
            (path / "index.html" if path.is_dir() else path).stat()
        except (OSError, ValueError):  # also what can't be a file's name: one too long, or with a zero byte
            there = False
        else:
            there = path.name != build.NOTE
        if not there:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with the site's own page where something isn't there; it leads back."""
        page = Path(self.directory) / "404.html"
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            super().send_error(code, message, explain)
            return
        body = page.read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Say nothing: a room of browsers would fill the terminal."""
