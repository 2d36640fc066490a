"""The upstream's stand-in: whom it answers, with what, and by whose certificate."""

import http.client
import http.server
import json
import os
import shutil
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.verification import PolicyBuilder

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.cli import main
from outlive.mirror import authority, lock
from outlive.mirror.servers import free_port
from outlive.mirror.store import Store
from outlive.mirror.upstream import FILES, NAMES, answering, lay_out

pytestmark = pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="this host lacks nginx")


class _Registry(http.server.BaseHTTPRequestHandler):
    """In the place of docker-registry, it answers with the path that it was asked for."""

    def do_GET(self) -> None:
        content = f"{self.path} {self.headers.get('Accept')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", "sha256:1")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-in")
    authority.make(NAMES, folder)
    for name in FILES:
        (folder / "site" / name).mkdir(parents=True)
        (folder / "site" / name / "file").write_text(name)
    return folder


@pytest.fixture(scope="module")
def ports(folder: Path) -> Iterator[tuple[int, int]]:
    ports = free_port(), free_port()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as back:
        thread = threading.Thread(target=back.serve_forever)
        thread.start()
        with answering("127.0.0.1", ports, folder, int(back.server_address[1])):
            yield ports
        back.shutdown()
        thread.join()


def _get(port: int, host: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Ask for exactly this path; http.client leaves it as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.headers)
    finally:
        connection.close()


def _token(ports: tuple[int, int], realm: str) -> str:
    status, content, _ = _get(ports[0], realm, "/token?scope=repository:library/busybox:pull")
    assert status == 200
    return f"Bearer {json.loads(content)['token']}"


@pytest.mark.parametrize(
    ("host", "asked", "answered"),
    [
        ("registry.k8s.io", "/v2/", "/v2/"),
        ("registry.k8s.io", "/v2/coredns/coredns/manifests/v1", "/v2/registry.k8s.io/coredns/coredns/manifests/v1"),
        ("Registry.K8s.io:80", "/v2/pause/manifests/3", "/v2/registry.k8s.io/pause/manifests/3"),
        ("registry-1.docker.io", "/v2/library/busybox/blobs/sha256:0a", "/v2/docker.io/library/busybox/blobs/sha256:0a"),
        ("ghcr.io", "/v2/flannel-io/flannel/tags/list", "/v2/ghcr.io/flannel-io/flannel/tags/list"),
        ("ghcr.io", "/v2/../docker.io/library/busybox/manifests/1", None),
        ("ghcr.io", "/v2/_catalog", None),
        ("ghcr.io", "/v2/a/blobs/uploads/", None),
        ("ghcr.io", "/v2/%2e%2e/manifests/1", None),
        ("ghcr.io", "/", None),
    ],
)
def test_what_a_registry_is_asked_for(ports: tuple[int, int], host: str, asked: str, answered: str | None) -> None:
    status, content, _ = _get(ports[0], host, asked, Authorization=_token(ports, "ghcr.io"))
    assert (status, content.decode().split()[0]) == (200, answered) if answered else status == 404


def test_registry_without_a_token(ports: tuple[int, int]) -> None:
    status, content, headers = _get(ports[0], "registry.k8s.io", "/v2/pause/manifests/3", Accept="a/b")
    assert (status, content) == (200, b"/v2/registry.k8s.io/pause/manifests/3 a/b")
    assert headers["Docker-Content-Digest"] == "sha256:1"
    assert _get(ports[0], "registry.k8s.io", "/v2/pause/manifests/3", "HEAD")[:2] == (200, b"")


def test_a_request_is_written_down(ports: tuple[int, int], folder: Path) -> None:
    _get(ports[0], "registry.k8s.io", "/v2/pause/manifests/written?a=b")
    log = folder / "requests.log"
    line = "registry.k8s.io GET /v2/pause/manifests/written?a=b 200\n"
    wait_for(str(log), f"a line {line!r}", log.read_text, lambda text: line in text, within=30, every=0.05)


@pytest.mark.parametrize(("host", "realm"), [("registry-1.docker.io", "auth.docker.io"), ("ghcr.io", "ghcr.io")])
def test_registry_that_wants_a_token(ports: tuple[int, int], host: str, realm: str) -> None:
    path = "/v2/library/busybox/manifests/1"
    status, _, headers = _get(ports[0], host, path)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith(f'Bearer realm="https://{realm}/token",service=')
    assert _get(ports[0], host, path, Authorization="Bearer guessed")[0] == 401
    status, _, headers = _get(ports[0], host, path, Authorization=_token(ports, realm))
    assert status == 200
    assert "WWW-Authenticate" not in headers


def test_a_client_that_takes_it_for_a_mirror_gets_nothing(ports: tuple[int, int]) -> None:
    """Containerd says by `ns` for whom it takes a server that isn't the upstream's own."""
    assert _get(ports[0], "registry.k8s.io", "/v2/pause/manifests/3?ns=registry.k8s.io")[0] == 404


@pytest.mark.parametrize("name", FILES)
def test_files_of_each_host(ports: tuple[int, int], name: str) -> None:
    assert _get(ports[0], name, "/file")[:2] == (200, name.encode())
    assert _get(ports[0], name, "/../registry.k8s.io/file")[0] == 400


def test_other_names(ports: tuple[int, int]) -> None:
    assert _get(ports[0], "github.com", "/")[0] == 421
    assert _get(ports[0], "registry.k8s.io", "/token")[0] == 404


def test_nothing_can_be_written(ports: tuple[int, int]) -> None:
    assert _get(ports[0], "registry.k8s.io", "/v2/pause/manifests/3", "PUT")[0] == 501


def test_https_by_the_authority_alone(ports: tuple[int, int], folder: Path) -> None:
    url = f"https://127.0.0.1:{ports[1]}/file"
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(url, timeout=10)
    context = ssl.create_default_context(cafile=str(folder / "authority.crt"))
    context.check_hostname = False  # the name leads here in the rehearsal's network only
    request = urllib.request.Request(url, headers={"Host": "pkgs.k8s.io"})
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        assert answer.read() == b"pkgs.k8s.io"


def test_certificate_has_every_name_and_the_key_is_ours_alone(folder: Path) -> None:
    server = x509.load_pem_x509_certificate((folder / "server.crt").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == set(NAMES)
    assert {"pkgs.k8s.io", "registry.k8s.io", "registry-1.docker.io", "auth.docker.io", "ghcr.io", "deb.debian.org"} <= set(NAMES)
    assert (folder / "server.key").stat().st_mode & 0o777 == 0o600
    issuer = x509.load_pem_x509_certificate((folder / "authority.crt").read_bytes())
    server.verify_directly_issued_by(issuer)
    # As strictly as a client may look at both.
    for name in NAMES:
        verifier = PolicyBuilder().store(verification.Store([issuer])).build_server_verifier(x509.DNSName(name))
        assert verifier.verify(server, [])[0] == server
    assert (server.not_valid_after_utc - server.not_valid_before_utc).days <= 3


def test_certificates_are_made_anew(tmp_path: Path) -> None:
    authority.make(["ghcr.io"], tmp_path)
    first = (tmp_path / "authority.crt").read_bytes()
    authority.make(["ghcr.io"], tmp_path)
    assert (tmp_path / "authority.crt").read_bytes() != first


def test_port_taken(folder: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as other:
        taken = int(other.server_address[1])
        said = rf"the upstream's stand-in can't listen on 127.0.0.1 port {taken} \(Address already in use by process {os.getpid()}, .+\): it needs root and a network"
        with pytest.raises(LabError, match=said), answering("127.0.0.1", (free_port(), taken), folder, 1):
            pass


def test_mirror_that_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="isn't built: run `outlive mirror build`"):
        lay_out(Store(tmp_path, print), lock.load(), tmp_path / "stand-in")
    assert not (tmp_path / "stand-in").exists()


def test_command_line_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", "stand-in", "--address", "nowhere", "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: --address is 'nowhere', which is no IPv4 address: give one of this host's\n"
