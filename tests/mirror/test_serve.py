"""The servers: ranges for apt, and one sentence for each wrong option."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.mirror import serve as server
from outlive.mirror.registry import free_port
from outlive.mirror.serve import catalog_over_http, check_address, check_ports, http_server, publish_packages, serve
from outlive.mirror.store import Store
from tests.mirror.serving import serving


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "file").write_bytes(b"0123456789")
    with serving(http_server("127.0.0.1", 0, tmp_path)) as address:
        yield address


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
    (store.cache / "boxes").mkdir()
    publish_packages(store)
    offered = publish_packages(store)
    assert (offered / "kubernetes/core:").is_dir()
    assert (offered / "debian/dists").is_dir()
    assert (offered / "boxes").is_dir()
    assert sorted(path.name for path in offered.iterdir()) == ["boxes", "debian", "kubernetes"]


CATALOG = {
    "name": "outlive/full",
    "versions": [
        {"version": "1.0", "providers": [{"name": "libvirt", "url": "file:///home/teacher/boxes/full-1.0.box", "checksum": "12"}]}
    ],
}


def test_catalogue_leads_to_the_box_where_it_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes/full.json").write_text(json.dumps(CATALOG))
    (tmp_path / "boxes/full-1.0.box").write_bytes(b"box")
    with serving(http_server("127.0.0.1", 0, tmp_path)) as address:
        with urllib.request.urlopen(f"{address}/boxes/full.json", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/json"  # by which Vagrant knows a catalogue
            found = json.load(answer)
        head = urllib.request.Request(f"{address}/boxes/full.json", method="HEAD")
        with urllib.request.urlopen(head, timeout=10) as answer:
            assert answer.read() == b""
        (provider,) = found["versions"][0]["providers"]
        assert provider == {"name": "libvirt", "url": f"{address}/boxes/full-1.0.box", "checksum": "12"}
        assert _get(provider["url"])[1] == b"box"
    assert json.loads((tmp_path / "boxes/full.json").read_text()) == CATALOG


def test_name_of_a_box_is_all_that_stays_of_its_address() -> None:
    assert '"url": "http://192.0.2.1:8480/boxes/full-1.0.box"' in catalog_over_http(json.dumps(CATALOG), "http://192.0.2.1:8480/boxes")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_can_be_written(site: str, method: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(f"{site}/file", data=b"other", method=method), timeout=10)
    assert caught.value.code == 501


@pytest.mark.parametrize("path", ["/../secret", "/..%2fsecret", "/%2e%2e/secret", "//../secret"])
def test_nothing_beside_the_folder_is_offered(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "offered").mkdir()
    with serving(http_server("127.0.0.1", 0, tmp_path / "offered")) as address, pytest.raises(urllib.error.HTTPError) as caught:
        _get(f"{address}{path}")
    assert caught.value.code == 404


def test_no_more_connections_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CONNECTIONS", 2)
    monkeypatch.setattr(server, "_WAIT_SECONDS", 0.1)
    (tmp_path / "file").write_bytes(b"file")
    with serving(http_server("127.0.0.1", 0, tmp_path)) as address:
        port = int(address.rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(2)]
        with pytest.raises(OSError, match=r"Connection reset|Remote end closed"):
            _get(f"{address}/file")
        monkeypatch.setattr(server, "_WAIT_SECONDS", 60)
        for each in idle:
            each.close()
        assert _get(f"{address}/file")[1] == b"file"


def test_silent_client_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.FileHandler, "timeout", 0.1)
    with (
        serving(http_server("127.0.0.1", 0, tmp_path)) as address,
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 10) as silent,
    ):
        assert silent.recv(1) == b""


def test_no_address() -> None:
    with pytest.raises(LabError, match="--address is 'lab', which is no IPv4 address: give one of this host's"):
        check_address("lab")


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_no_port(port: int) -> None:
    with pytest.raises(LabError, match=f"--registry-port is {port}, and a port is a number from 1 to 65535"):
        check_ports(8480, port)


def test_one_port_for_both() -> None:
    with pytest.raises(LabError, match="--apt-port and --registry-port are both 8480: give two different ports"):
        check_ports(8480, 8480)


def test_port_taken(tmp_path: Path) -> None:
    taken = http_server("127.0.0.1", 0, tmp_path)
    with taken, pytest.raises(LabError, match=r"can't listen on 127.0.0.1 port \d+ \(Address already in use\): end what uses"):
        http_server("127.0.0.1", int(taken.server_address[1]), tmp_path)


def test_mirror_that_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="isn't built: run `outlive mirror build`"):
        serve(Store(tmp_path, print), "127.0.0.1", free_port(), free_port())


def test_command_line_ends_with_one_sentence() -> None:
    command = [sys.executable, "-m", "outlive", "mirror", "serve", "--address", "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: --address is 'nowhere', which is no IPv4 address: give one of this host's\n"
