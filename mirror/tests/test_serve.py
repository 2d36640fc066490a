"""The servers: ranges for apt, and one sentence for each wrong option."""

import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.errors import MirrorError
from mirror.paths import PACKAGE
from mirror.registry import free_port
from mirror.serve import check_address, check_ports, http_server, publish_packages, serve
from mirror.store import Store

pytestmark = pytest.mark.unit


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "file").write_bytes(b"0123456789")
    server = http_server("127.0.0.1", 0, tmp_path)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def _get(url: str, wanted: str | None = None) -> tuple[int, bytes, str | None]:
    request = urllib.request.Request(url, headers={"Range": wanted} if wanted else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status, response.read(), response.headers["Content-Range"]


def test_whole_file(site: str) -> None:
    assert _get(f"{site}/file") == (200, b"0123456789", None)


@pytest.mark.parametrize(
    ("wanted", "content", "told"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ],
)
def test_part_of_a_file(site: str, wanted: str, content: bytes, told: str) -> None:
    assert _get(f"{site}/file", wanted) == (206, content, told)


def test_part_beyond_the_end(site: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        _get(f"{site}/file", "bytes=10-")
    assert caught.value.code == 416


def test_packages_are_offered_under_their_upstream_paths(tmp_path: Path) -> None:
    store = Store(tmp_path, print)
    (store.path_of("kubernetes-packages") / "kubernetes/core:").mkdir(parents=True)
    (store.path_of("debian-repository") / "dists").mkdir(parents=True)
    publish_packages(store)
    offered = publish_packages(store)
    assert (offered / "kubernetes/core:").is_dir()
    assert (offered / "debian/dists").is_dir()


def test_no_address() -> None:
    with pytest.raises(MirrorError, match="--address is 'lab', which is no IPv4 address: give one of this host's"):
        check_address("lab")


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_no_port(port: int) -> None:
    with pytest.raises(MirrorError, match=f"--registry-port is {port}, and a port is a number from 1 to 65535"):
        check_ports(8480, port)


def test_one_port_for_both() -> None:
    with pytest.raises(MirrorError, match="--apt-port and --registry-port are both 8480: give two different ports"):
        check_ports(8480, 8480)


def test_port_taken(tmp_path: Path) -> None:
    taken = http_server("127.0.0.1", 0, tmp_path)
    with taken, pytest.raises(MirrorError, match=r"can't listen on 127.0.0.1 port \d+ \(Address already in use\): end what uses"):
        http_server("127.0.0.1", int(taken.server_address[1]), tmp_path)


def test_mirror_that_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="isn't built: run `python -m mirror build`"):
        serve(Store(tmp_path, print), "127.0.0.1", free_port(), free_port())


def test_command_line_ends_with_one_sentence() -> None:
    command = [sys.executable, "-m", "mirror", "serve", "--address", "nowhere"]
    result = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "mirror: --address is 'nowhere', which is no IPv4 address: give one of this host's\n"
