"""Downloads are resumed, verified, and taken from the next address where one has them no more."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.mirror.build.download import Download, fetch, fetch_all
from tests.mirror.serving import serving

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "file").write_bytes(CONTENT)
    return folder


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    with serving(folder) as address:
        yield address


@contextmanager
def _hanging_up(folder: Path, part: int) -> Iterator[tuple[str, list[str | None]]]:
    """Give the address of a server that hangs up early, and the ranges that it's asked for."""
    asked: list[str | None] = []
    with serving(folder, part, asked) as address:
        yield address, asked


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


def test_download_goes_on_where_the_server_hung_up(folder: Path, tmp_path: Path) -> None:
    with _hanging_up(folder, 400_000) as (address, asked):
        fetch(Download((f"{address}/file",), tmp_path / "file", DIGEST))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert asked == [None, "bytes=400000-", "bytes=800000-"]


def test_server_that_hangs_up_each_time_is_one_to_try_again(folder: Path, tmp_path: Path) -> None:
    with (
        _hanging_up(folder, 1000) as (address, _),
        pytest.raises(LabError, match=r"file: the connection ended after 1000 of 1045576 bytes\): try again later$"),
    ):
        fetch(Download((f"{address}/file",), tmp_path / "file", DIGEST, cure="lock anew"))
    # The next run goes on from here.
    assert (tmp_path / "file.partial").read_bytes() == CONTENT[:4000]


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
    with pytest.raises(LabError, match=r"file can't be downloaded \(.*/gone answers 404 File not found\): run this"):
        fetch(Download((f"{site}/gone",), tmp_path / "file", DIGEST, cure="run this"))


def test_wrong_checksum_is_never_taken(site: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="has another sha256 than the lock file's 0000"):
        fetch(Download((f"{site}/file",), tmp_path / "file", "0000"))
    assert not (tmp_path / "file").exists()


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"can't be downloaded \(http://127.0.0.1:9/file: .*refused\): try again later"):
        fetch(Download(("http://127.0.0.1:9/file",), tmp_path / "file", DIGEST))
