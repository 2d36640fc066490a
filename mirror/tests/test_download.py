"""Downloads are resumed, verified, and taken from the next address where one has them no more."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from mirror.download import Download, fetch, fetch_all
from mirror.errors import MirrorError
from mirror.serve import http_server

pytestmark = pytest.mark.unit

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    server = http_server("127.0.0.1", 0, folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_file_arrives(site: str, tmp_path: Path) -> None:
    target = tmp_path / "got" / "file"
    fetch_all([Download((f"{site}/file",), target, DIGEST)])
    assert target.read_bytes() == CONTENT


def test_cut_download_goes_on(site: str, tmp_path: Path) -> None:
    target = tmp_path / "file"
    partial = tmp_path / "file.partial"
    # Were the file fetched anew, the mark at its beginning would be gone and the sum right.
    partial.write_bytes(b"MARK" + CONTENT[4:5000])
    marked = b"MARK" + CONTENT[4:]
    fetch(Download((f"{site}/file",), target, hashlib.sha256(marked).hexdigest()))
    assert target.read_bytes() == marked
    assert not partial.exists()


class Flaky(BaseHTTPRequestHandler):
    """A server whose connections end after a third of the file."""

    asked: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        """Promise all that is asked for, and send a part of it."""
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.asked.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + len(CONTENT) // 3 + 1])

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_connection_that_ends_too_early_is_gone_on_with(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        fetch(Download((f"http://127.0.0.1:{server.server_port}/file",), tmp_path / "file", DIGEST, cure="lock anew"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (tmp_path / "file").read_bytes() == CONTENT
    part = len(CONTENT) // 3 + 1
    assert Flaky.asked == [0, part, 2 * part]


def test_damaged_partial_file_is_thrown_away(site: str, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(b"x" * 100)
    fetch(Download((f"{site}/file",), tmp_path / "file", DIGEST))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_partial_file_that_is_too_long_is_thrown_away(site: str, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(CONTENT + b"more")
    fetch(Download((f"{site}/file",), tmp_path / "file", DIGEST))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_file_that_left_the_first_address(site: str, tmp_path: Path) -> None:
    fetch(Download((f"{site}/gone", f"{site}/file"), tmp_path / "file", DIGEST))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_damaged_target_is_fetched_again(site: str, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"damaged")
    fetch(Download((f"{site}/file",), target, DIGEST))
    assert target.read_bytes() == CONTENT


def test_right_target_needs_no_network(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(CONTENT)
    fetch(Download(("http://127.0.0.1:9/file",), target, DIGEST))


def test_gone_everywhere_tells_the_cure(site: str, tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match=r"file can't be downloaded \(.*/gone answers 404 File not found\): run this"):
        fetch(Download((f"{site}/gone",), tmp_path / "file", DIGEST, cure="run this"))


def test_wrong_checksum_is_never_taken(site: str, tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="has another sha256 than the lock file's 0000"):
        fetch(Download((f"{site}/file",), tmp_path / "file", "0000"))
    assert not (tmp_path / "file").exists()


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match=r"can't be downloaded \(http://127.0.0.1:9/file: .*refused\): run the command again, it goes on"):
        fetch(Download(("http://127.0.0.1:9/file",), tmp_path / "file", DIGEST))
