"""An API server's outside: a real HTTP server that gives prepared answers. The client that talks to it is the real one."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from outlive.lab.kube import Cluster
from tests import samples

NAMESPACE = "/api/v1/namespaces/default"
TORN = "(torn)"
"""An answer of which half is sent, then the connection ends."""
HELD = "(held)"
"""A line that is never sent: the stream stays open until its client hangs up."""
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"


def listing(*items: dict[str, Any]) -> dict[str, Any]:
    """Return a list as the API gives it."""
    return {"metadata": {"resourceVersion": "1"}, "items": list(items)}


@dataclass
class FakeApi:
    """Prepared answers by path, behind ``POST`` where an object is taken; more than one are given in turn, and the last stays."""

    answers: dict[str, list[Any]] = field(default_factory=dict)
    watches: dict[str, list[list[dict[str, Any]]]] = field(default_factory=dict)
    """For each path the lines of its watches, in turn; after the last a watch stays silent and ends."""
    logs: list[list[str]] = field(default_factory=list)
    """The lines of each log that is followed, in turn."""
    requests: list[str] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    deletions: list[dict[str, Any]] = field(default_factory=list)

    def next(self, path: str) -> Any:  # noqa: ANN401  the API's JSON
        """Return the next answer for a path: an object, or a status."""
        prepared = self.answers.get(path, [404])
        return prepared.pop(0) if len(prepared) > 1 else prepared[0]


def small_lab() -> FakeApi:
    """Return the API of a lab in which all is well."""
    secret = {"data": {"password": base64.b64encode(b"s3cret").decode()}}
    nodes = [samples.node("m", address="192.0.2.10"), samples.node("n1"), samples.node("n2", address="192.0.2.12")]
    return FakeApi(
        {
            "/api/v1/nodes": [listing(*nodes)],
            "/api/v1/nodes/n1": [samples.node("n1")],
            "/api/v1/pods": [listing(samples.pod())],
            f"{NAMESPACE}/pods": [listing(samples.pod())],
            f"{NAMESPACE}/pods/mysql-u1": [samples.pod()],
            "/api/v1/namespaces/kube-system/pods": [listing(samples.pod())],
            "/apis/apps/v1/namespaces/default/deployments/mysql": [samples.deployment()],
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies": [listing()],
            "/api/v1/persistentvolumes": [listing(samples.volume())],
            "/api/v1/persistentvolumes/mysql-pv": [samples.volume()],
            f"{NAMESPACE}/persistentvolumeclaims": [listing(samples.claim())],
            f"{NAMESPACE}/persistentvolumeclaims/mysql-pvc": [samples.claim()],
            LEASE: [samples.lease(str(number)) for number in range(100)],
            "/readyz": [{}],
            f"{NAMESPACE}/services/mysql": [{"spec": {"clusterIP": "10.96.1.1"}}],
            f"{NAMESPACE}/secrets/mysql-root": [secret],
        }
    )


class _Handler(BaseHTTPRequestHandler):
    api: FakeApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a read, a watch or a followed log."""
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.api.requests.append(f"GET {self.path}")
        if "watch" in query:
            prepared = self.api.watches.get(url.path, [])
            self._stream([json.dumps(each) for each in (prepared.pop(0) if prepared else [])])
        elif url.path.endswith("/log"):
            self._stream(self.api.logs.pop(0) if self.api.logs else [])
        else:
            self._answer(self.api.next(url.path))

    def do_DELETE(self) -> None:
        """Answer a deletion; its options are kept."""
        self.api.requests.append(f"DELETE {self.path}")
        if length := int(self.headers.get("Content-Length", 0)):
            self.api.deletions.append(json.loads(self.rfile.read(length)))
        refusal = self.api.answers.get(f"DELETE {self.path}")
        self._answer(refusal[0] if refusal else {} if self.path in self.api.answers else 404)

    def do_POST(self) -> None:
        """Take an object."""
        self.api.requests.append(f"POST {self.path}")
        self.api.created.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(self.api.answers.get(f"POST {self.path}", [{}])[0])

    def do_PATCH(self) -> None:
        """Take a change."""
        change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.api.requests.append(f"PATCH {self.path} {json.dumps(change)}")
        # A dictionary is a merge patch, a strategic one or not; where JSON patch is named, the API takes a list only.
        self._answer(400 if self.headers["Content-Type"] == "application/json-patch+json" else {})

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, answer: Any) -> None:  # noqa: ANN401  the API's JSON
        status = answer if isinstance(answer, int) else 200
        torn = answer == TORN
        body = json.dumps({"message": f"status {status}"} if isinstance(answer, int) else answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if torn else body)
        self.close_connection = self.close_connection or torn

    def _stream(self, lines: list[str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            if line == HELD:
                self.connection.recv(1)
                return
            data = line.encode() + b"\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def server_activate(self) -> None:
        """Begin without connections."""
        self.links: list[socket.socket] = []
        super().server_activate()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection, and keep it to be hung up."""
        link, address = super().get_request()
        self.links.append(link)
        return link, address

    def handle_error(self, *_: object) -> None:
        """Take no notice of a client that hangs up."""


@contextmanager
def serve(api: FakeApi, folder: Path) -> Iterator[Cluster]:
    """Serve prepared answers and yield the cluster that they look like."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
    try:
        yield Cluster(kubeconfig(folder, f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        for link in server.links:
            with suppress(OSError):  # closed already
                link.shutdown(socket.SHUT_RDWR)
        server.server_close()


def kubeconfig(folder: Path, server: str) -> Path:
    """Write a kubeconfig for a server and return its path."""
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "lab",
                "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
                "clusters": [{"name": "lab", "cluster": {"server": server}}],
                "users": [{"name": "lab", "user": {"token": "t"}}],
            }
        )
    )
    return path
