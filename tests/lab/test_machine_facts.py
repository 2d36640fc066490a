"""The program that runs on a node, run here."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from outlive.lab import machine_facts


def dns(monkeypatch: pytest.MonkeyPatch, flags: bytes, tail: bytes) -> None:
    """Serve one DNS answer on this machine, at a port of its own."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def serve() -> None:
        question, client = server.recvfrom(512)
        server.sendto(question[:2] + flags + question[12:] + tail, client)
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    connect, link = socket.socket.connect, socket.socket
    elsewhere = {"connect": lambda self, _: connect(self, ("127.0.0.1", port))}
    monkeypatch.setattr(socket, "socket", type("Link", (link,), elsewhere))


def test_name_that_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    dns(monkeypatch, b"\x81\x80\0\1\0\1\0\0\0\0", b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\x60\0\1")
    assert machine_facts.lookup("127.0.0.1", "kubernetes.default.svc.cluster.local") == "10.96.0.1"


def test_name_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    dns(monkeypatch, b"\x81\x83\0\1\0\0\0\0\0\0", b"")
    assert machine_facts.lookup("127.0.0.1", "none.local") == "no such name (code 3)"


def test_server_that_is_not_there() -> None:
    assert machine_facts.lookup("127.0.0.1", "x").startswith("no answer from 127.0.0.1 (")


def test_program_prints_json() -> None:
    wanted = {
        "packages": ["dpkg", "no-such-package"],
        "services": ["no-such.service"],
        "modules": ["no_such_module"],
        "sysctls": ["kernel.ostype", "no.such"],
        "files": ["/etc/passwd", "/no/such"],
        "dns": ["127.0.0.1", "x"],
    }
    source = Path(machine_facts.__file__).read_text()
    done = subprocess.run([sys.executable, "-c", source, json.dumps(wanted)], capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert list(facts["packages"]) == ["dpkg"]
    assert facts["sysctls"] == {"kernel.ostype": "Linux", "no.such": ""}
    assert facts["modules"] == []
    assert facts["modes"] == {"/etc/passwd": "0644"}
