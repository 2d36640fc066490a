"""The mirror's servers: what is offered, to whom a catalogue leads, how they end, and one sentence for each wrong option."""

import http.client
import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

from outlive.base.errors import LabError
from outlive.base.ports import check_address
from outlive.base.process import OUTLIVE
from outlive.base.wait import wait_for
from outlive.cli import main
from outlive.mirror import servers
from outlive.mirror.paths import PACKAGE
from outlive.mirror.serve import packages, serve
from outlive.mirror.servers import free_port
from outlive.mirror.store import Store

needs_nginx = pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="this host lacks nginx")
needs_both = pytest.mark.skipif(
    shutil.which("nginx", path="/usr/sbin:/usr/bin") is None or shutil.which("docker-registry") is None,
    reason="this host lacks nginx or docker-registry",
)

CATALOG = {
    "name": "outlive/full",
    "versions": [
        {"version": "1.0", "providers": [{"name": "libvirt", "url": "file:///home/teacher/boxes/full-1.0.box", "checksum": "12"}]}
    ],
}


def fill(cache: Path) -> Store:
    """Make a cache in which every offered folder has a file."""
    store = Store(cache, print)
    for folder in ("kubernetes-packages/kubernetes/core:", "debian-repository/dists", "registry/docker"):
        (store.path_of(folder)).mkdir(parents=True)
    (store.path_of("kubernetes-packages") / "kubernetes/core:/file").write_bytes(b"0123456789")
    (cache / "boxes").mkdir()
    (cache / "boxes/full.json").write_text(json.dumps(CATALOG, indent=2))
    (cache / "boxes/full-1.0.box").write_bytes(b"box")
    return store


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with packages(fill(tmp_path_factory.mktemp("cache $x {y} #1")), "127.0.0.1", port):
        yield f"127.0.0.1:{port}"


FILE = "/kubernetes/core:/file"


def _get(site: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Ask for exactly this path; http.client leaves it as it is."""
    connection = http.client.HTTPConnection(site, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.headers)
    finally:
        connection.close()


@needs_nginx
def test_whole_file(site: str) -> None:
    assert _get(site, FILE)[:2] == (200, b"0123456789")


@needs_nginx
@pytest.mark.parametrize(
    ("wanted", "content", "told"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ],
)
def test_part_of_a_file(site: str, wanted: str, content: bytes, told: str) -> None:
    status, read, headers = _get(site, FILE, Range=wanted)
    assert (status, read, headers["Content-Range"]) == (206, content, told)


@needs_nginx
def test_part_beyond_the_end(site: str) -> None:
    assert _get(site, FILE, Range="bytes=10-")[0] == 416


@needs_nginx
def test_headers_of_a_part_leave_the_connection_to_the_next_request(site: str) -> None:
    connection = http.client.HTTPConnection(site, timeout=10)
    connection.request("HEAD", FILE, headers={"Range": "bytes=2-3"})
    assert connection.getresponse().read() == b""
    connection.request("GET", FILE)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"0123456789")
    connection.close()


@needs_nginx
@pytest.mark.parametrize("path", ["/", "/debian/dists/", "/boxes/", "/kubernetes/"])
def test_packages_are_offered_under_their_upstream_paths(site: str, path: str) -> None:
    assert _get(site, path)[0] == 200


@needs_nginx
@pytest.mark.parametrize("host", ["", "teacher.example:18480"])
def test_catalogue_leads_to_the_box_where_it_was_asked_for(site: str, host: str) -> None:
    """By the name and the port that this client knows, which behind a forwarded port aren't the server's own."""
    status, content, headers = _get(site, "/boxes/full.json", **({"Host": host} if host else {}))
    assert (status, headers["Content-Type"]) == (200, "application/json")  # by which Vagrant knows a catalogue
    (provider,) = json.loads(content)["versions"][0]["providers"]
    assert provider == {"name": "libvirt", "url": f"http://{host or site}/boxes/full-1.0.box", "checksum": "12"}
    assert _get(site, "/boxes/full-1.0.box")[1] == b"box"
    assert _get(site, "/boxes/full.json", "HEAD")[:2] == (200, b"")


@needs_nginx
def test_catalogue_of_the_cache_s_own_place(tmp_path: Path) -> None:
    """One that a build writes while the mirror is served."""
    store, port = fill(tmp_path / "cache"), free_port()
    with packages(store, "127.0.0.1", port):
        (store.cache / "boxes/bare.json").write_text(f'{{"url": "{(store.cache / "boxes/bare-1.box").as_uri()}"}}')
        assert json.loads(_get(f"127.0.0.1:{port}", "/boxes/bare.json")[1]) == {"url": f"http://127.0.0.1:{port}/boxes/bare-1.box"}


@needs_nginx
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_can_be_written(site: str, method: str) -> None:
    assert _get(site, FILE, method)[0] == 405


@needs_nginx
@pytest.mark.parametrize(
    "path", ["/../nginx.conf", "/..%2fnginx.conf", "/%2e%2e/nginx.conf", "//../nginx.conf", "/debian/../../nginx.conf"]
)
def test_nothing_beside_the_folder_is_offered(site: str, path: str) -> None:
    assert _get(site, path)[0] in (400, 404)


def _descendants(pid: int) -> list[int]:
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [each for child in children for each in _descendants(child)]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """End what a test that failed left running."""
    yield
    while _BEGUN:
        _BEGUN.pop().kill()


_BEGUN: list[subprocess.Popen[str]] = []


def _serve(cache: Path) -> subprocess.Popen[str]:
    """Begin `outlive mirror serve`, with an ordinary user's PATH; give its process when it says that it serves."""
    apt, registry = free_port(), free_port()
    process = subprocess.Popen(
        [*OUTLIVE, "mirror", "serve", "--address", "127.0.0.1", "--apt-port", str(apt), "--registry-port", str(registry)],
        env={**os.environ, "OUTLIVE_CACHE": str(cache), "TMPDIR": str(cache), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _BEGUN.append(process)
    assert process.stdout
    assert select.select([process.stdout], [], [], 60)[0]
    line = process.stdout.readline()
    assert line.startswith("packages and boxes: http://127.0.0.1:"), process.communicate(timeout=60)[1]
    return process


@needs_both
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_servers_end_with_the_command(tmp_path: Path, number: signal.Signals, status: int) -> None:
    fill(tmp_path)
    process = _serve(tmp_path)
    children = _descendants(process.pid)
    assert len(children) == 2
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == status
    wait_for("the servers", "all gone", lambda: [pid for pid in children if _lives(pid)], lambda alive: not alive, within=30, every=0.05)


@needs_both
def test_a_server_that_ends_ends_the_command(tmp_path: Path) -> None:
    store = fill(tmp_path)
    process = _serve(tmp_path)
    (nginx,) = [pid for pid in _descendants(process.pid) if b"nginx" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(nginx, signal.SIGKILL)
    assert process.communicate(timeout=60)[1] == f"error: nginx ended with status -9: read {store.log('serve')}\n"
    assert process.returncode == 2


@needs_nginx
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_ordinary_user_serves() -> None:
    """In a process of its own, since a checkout and its Python may be closed to other users; what it needs of them it has read by then."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile("w+") as said:
        cache = Path(name)
        fill(cache)
        for each in (cache, *cache.rglob("*")):
            os.chown(each, nobody.pw_uid, nobody.pw_gid)
        templates = {each.name: each.read_text() for each in (PACKAGE / "nginx").iterdir()}
        port = free_port()
        child = os.fork()
        if child == 0:
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(jinja2, "FileSystemLoader", lambda _: jinja2.DictLoader(templates))
                    os.setgroups([])
                    os.setgid(nobody.pw_gid)
                    os.setuid(nobody.pw_uid)
                    with packages(Store(cache, print), "127.0.0.1", port):
                        said.write(str(_get(f"127.0.0.1:{port}", FILE)[:2]))
            except BaseException as error:
                said.write(repr(error))
            finally:
                said.flush()
                os._exit(0)
        os.waitpid(child, 0)
        said.seek(0)
        assert said.read() == "(200, b'0123456789')"


def test_no_address() -> None:
    with pytest.raises(LabError, match="--address is 'lab', which is no IPv4 address: give one of this host's"):
        check_address("lab")


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_no_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", "serve", "--registry-port", port]) == 2
    assert "Error: Invalid value for '--registry-port': " in capsys.readouterr().err


def test_one_port_for_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", "serve", "--apt-port", "8481"]) == 2
    assert capsys.readouterr().err == "error: --apt-port and --registry-port are both 8481: give two different ports\n"


@needs_nginx
def test_address_of_another_host(tmp_path: Path) -> None:
    said = r"the mirror can't listen on 192.0.2.1 port \d+ \(Cannot assign requested address\): .* name an address of this host with --addr"
    with pytest.raises(LabError, match=said), packages(fill(tmp_path), "192.0.2.1", free_port()):
        pass


def test_host_without_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(LabError, match=r"this host lacks nginx, which the mirror needs: `OUTLIVE_SOURCES=mirror make setup` installs"),
        packages(fill(tmp_path), "127.0.0.1", 1),
    ):
        pass


def test_server_that_does_not_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        pytest.raises(LabError, match=rf"false ended with status 1: read {log}"),
        servers._child(["false"], "127.0.0.1", [free_port()], log, "it", "do"),
    ):
        pass


def test_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_START_SECONDS", 0.2)
    port = free_port()
    with (
        pytest.raises(LabError, match=rf"tail: wanted an answer on 127.0.0.1 port {port}, .*: read {tmp_path}/log"),
        servers._child(["tail", "-f", "/dev/null"], "127.0.0.1", [port], tmp_path / "log", "it", "do"),
    ):
        pass


def test_mirror_that_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="isn't built: run `outlive mirror build`"):
        serve(Store(tmp_path, print), "127.0.0.1", free_port(), free_port())


def test_command_line_ends_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", "serve", "--address", "nowhere"]) == 2
    assert capsys.readouterr().err == "error: --address is 'nowhere', which is no IPv4 address: give one of this host's\n"
