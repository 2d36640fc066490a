"""Stand in for the upstream's servers under their own names: what a user with internet asks, asked of the mirror.

For a network of a test's own, in which the names lead to this server and nothing leads out. Its guests trust the certificate authority
and the signing key that are made here for this purpose, nothing else is different for them: apt reads the repositories of deb.debian.org,
security.debian.org and pkgs.k8s.io, and containerd, without any mirror in its configuration, speaks to registry.k8s.io, to ghcr.io
and to Docker Hub, the last two after they gave it a token. What differs from upstream: no name redirects to another one.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from outlive.base.errors import LabError
from outlive.mirror import authority, registry
from outlive.mirror.build import apt_repository
from outlive.mirror.build.signing import Signer
from outlive.mirror.lock import Lock
from outlive.mirror.serve import FileHandler, Server, check_address
from outlive.mirror.store import Store

HTTP_PORT, HTTPS_PORT = 80, 443

REGISTRIES = {"registry.k8s.io": "registry.k8s.io", "registry-1.docker.io": "docker.io", "ghcr.io": "ghcr.io"}
"""Hosts that are asked for images, each with the part of the mirror's repositories that stands for it. containerd knows that
docker.io's registry is registry-1.docker.io."""


@dataclass(frozen=True)
class Realm:
    """Where a registry sends those who have no token."""

    host: str
    service: str

    @property
    def challenge(self) -> str:
        """Give the value of WWW-Authenticate."""
        return f'Bearer realm="https://{self.host}/token",service="{self.service}"'


REALMS = {"registry-1.docker.io": Realm("auth.docker.io", "registry.docker.io"), "ghcr.io": Realm("ghcr.io", "ghcr.io")}
"""The registries that want a token, also for what is public."""

FILES = ("pkgs.k8s.io", "deb.debian.org", "security.debian.org")
"""Hosts of apt repositories."""

NAMES = tuple(dict.fromkeys((*REGISTRIES, *(realm.host for realm in REALMS.values()), *FILES)))
"""Every name that is stood in for."""

_REGISTRY_PATH = re.compile(r"/v2/(?:[a-z0-9][a-z0-9._-]*/)+(?:manifests|blobs|tags)/[A-Za-z0-9_][A-Za-z0-9._:-]*$")
_PASSED_ON = ("Accept", "Range", "If-None-Match")
_PASSED_BACK = (
    "Content-Type",
    "Content-Length",
    "Content-Range",
    "Accept-Ranges",
    "Docker-Content-Digest",
    "Docker-Distribution-Api-Version",
    "Etag",
)


def registry_path(host: str, path: str) -> str | None:
    """Give the path at the mirror's registry of what a client asks the registry `host` for; None where that is nothing to pull."""
    if path == "/v2/":
        return path
    if not _REGISTRY_PATH.match(path) or ".." in path:
        return None
    return f"/v2/{REGISTRIES[host]}/{path.removeprefix('/v2/')}"


def host_of(header: str | None) -> str:
    """Give the name in a Host header, without its port."""
    return (header or "").rpartition(":")[0].lower() if ":" in (header or "") else (header or "").lower()


def lay_out(store: Store, lock: Lock, folder: Path) -> None:
    """Make in `folder` what the names have: site/ with a folder for each repository's host, signed by a key of its own, and certificates.

    debian.gpg is the public key that the guests take for Debian's. What an earlier run left is replaced.
    """
    debian, kubernetes = store.path_of("debian-repository"), store.path_of("kubernetes-packages") / lock.packages["repository"]
    if not debian.is_dir() or not kubernetes.is_dir() or not (store.path_of("registry") / "docker").is_dir():
        raise LabError(f"the mirror in {store.cache} isn't built: run `outlive mirror build`")
    site = folder / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    signer = Signer(Store(folder, print))
    try:
        shutil.copyfile(signer.keyring, folder / "debian.gpg")
        suite = lock.debian.suite
        _signed_again(debian, Path("dists") / suite, site / "deb.debian.org/debian", signer)
        # Nothing is newer than what the mirror has.
        _empty(site / "deb.debian.org/debian", f"{suite}-updates", signer)
        _empty(site / "security.debian.org/debian-security", f"{suite}-security", signer)
        published = site / "pkgs.k8s.io" / lock.packages["repository"].partition("/")[2]
        _signed_again(kubernetes, Path(), published, signer)
        (published / "Release.key").unlink()
        signer.export_armored(published / "Release.key")
    finally:
        signer.close()
    authority.make(NAMES, folder)


def _signed_again(source: Path, release: Path, target: Path, signer: Signer) -> None:
    """Publish a repository at `target`, its Release file in the folder `release` signed by another key."""
    shutil.copytree(source, target, copy_function=os.symlink)
    place = target / release
    (place / "Release").unlink()
    shutil.copyfile(source / release / "Release", place / "Release")
    for signature in ("Release.gpg", "InRelease"):
        (place / signature).unlink()
    signer.sign_release(place / "Release")


def _empty(target: Path, suite: str, signer: Signer) -> None:
    """Publish a suite that has no packages."""
    (target / "pool/none").mkdir(parents=True, exist_ok=True)
    release = {"Origin": "Debian", "Label": "Debian", "Suite": suite, "Codename": suite, "Components": "main", "Architectures": "amd64"}
    apt_repository.index(target, Path("pool/none"), Path("dists") / suite, release, signer)


class _Handler(FileHandler):
    """Answers as the host that was asked for. Each request is a line on standard output: host, method, path and status."""

    def __init__(self, *arguments: object, site: Path, registry_port: int, token: str, **others: object) -> None:
        """Answer from the folder `site` and from the registry on a port of this host."""
        self._site, self._registry_port, self._token = site, registry_port, token
        super().__init__(*arguments, **others)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        """Answer a request for something."""
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:  # noqa: N802 - the library's name
        """Answer a request for something's headers."""
        self._answer(super().do_HEAD)

    def _answer(self, send_file: Callable[[], None]) -> None:
        host = host_of(self.headers.get("Host"))
        path, _, query = self.path.partition("?")
        realm = REALMS.get(host)
        if path == "/token" and any(host == each.host for each in REALMS.values()):
            self._send(HTTPStatus.OK, json.dumps({"token": self._token, "expires_in": 3600}).encode())
        elif host in REGISTRIES:
            there = None if "ns=" in query else registry_path(host, path)
            if realm is not None and self.headers.get("Authorization") != f"Bearer {self._token}":
                self._send(HTTPStatus.UNAUTHORIZED, b'{"errors": [{"code": "UNAUTHORIZED"}]}', {"WWW-Authenticate": realm.challenge})
            elif there is None:
                self._send(HTTPStatus.NOT_FOUND, b'{"errors": [{"code": "NAME_UNKNOWN"}]}')
            else:
                self._pass_on(there)
        elif host in FILES:
            self.directory = str(self._site / host)
            send_file()
        else:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"{}")

    def _send(self, status: HTTPStatus, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _pass_on(self, path: str) -> None:
        """Ask the mirror's registry, and give its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._registry_port, timeout=60)
        try:
            connection.request(
                self.command, path, headers={name: ", ".join(self.headers.get_all(name, [])) for name in _PASSED_ON if name in self.headers}
            )
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name in _PASSED_BACK:
                if (value := answer.headers.get(name)) is not None:
                    self.send_header(name, value)
            if answer.headers.get("Content-Length") is None:
                self.close_connection = True
                self.send_header("Connection", "close")
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)
        finally:
            connection.close()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write down what was asked for."""
        del size
        status = code.value if isinstance(code, HTTPStatus) else code
        if hasattr(self, "headers"):  # else it wasn't HTTP
            line = f"{host_of(self.headers.get('Host'))} {self.command} {urllib.parse.quote(self.path, safe='/:?=&%~+')} {status}\n"
            # Written at once: each request has a thread of its own, and word by word their lines would run into each other.
            print(line, end="", flush=True)


def servers(address: str, ports: tuple[int, int], folder: Path, registry_port: int) -> tuple[Server, Server]:
    """Give the servers for HTTP and HTTPS on `address`, not serving yet.

    Raises:
        LabError: one of the ports can't be used.
    """
    handler = functools.partial(_Handler, site=folder / "site", registry_port=registry_port, token=secrets.token_urlsafe(32))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    made: list[Server] = []
    for port in ports:
        try:
            made.append(Server((address, port), handler))
        except OSError as error:
            for server in made:
                server.server_close()
            raise LabError(
                f"the upstream's stand-in can't listen on {address} port {port} ({error.strerror}): it needs root and a network of its own, "
                "as `outlive rehearse upstream` makes it"
            ) from error
    # The handshake is the client's own thread's: one that doesn't go on with it keeps nobody waiting.
    made[1].socket = context.wrap_socket(made[1].socket, server_side=True, do_handshake_on_connect=False)
    return made[0], made[1]


def serve(store: Store, lock: Lock, address: str, folder: Path) -> None:
    """Stand in for the upstream on `address` until SIGTERM or SIGINT; keys, certificates and signatures lie in `folder`."""
    check_address(address)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    lay_out(store, lock, folder)
    log = folder / "registry.log"
    port = registry.free_port()
    with registry.serving(store.path_of("registry"), f"127.0.0.1:{port}", log, read_only=True) as process:
        both = servers(address, (HTTP_PORT, HTTPS_PORT), folder, port)
        for server in both:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"standing in for {', '.join(NAMES)} on {address}", flush=True)
        while not ended.wait(1.0):
            if process.poll() is not None:
                raise LabError(f"docker-registry ended with status {process.returncode}: read {log}")
    for server in both:
        server.shutdown()
