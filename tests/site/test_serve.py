"""`outlive class`: what it answers, how it ends, and one sentence for each wrong option."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from outlive.base.errors import LabError
from outlive.base.ports import own_addresses
from outlive.base.process import name_of
from outlive.base.wait import wait_for
from outlive.cli import main
from outlive.site import build, serve


def ask(served: str, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    """Ask for exactly this path; http.client leaves it as it is."""
    connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def test_pages_are_served(served: str, site: Path) -> None:
    for path, name in (
        ("/", "index.html"),
        ("/docs/tutorial/zh/", "docs/tutorial/zh/index.html"),
        ("/docs/results.html", "docs/results.html"),
    ):
        status, body, headers = ask(served, path)
        assert (status, body) == (200, (site / name).read_bytes())
        assert headers["content-security-policy"].startswith("default-src 'self'")
    assert ask(served, "/", "HEAD")[:2] == (200, b"")


def test_a_file_that_a_page_links_to_is_shown_as_text(served: str) -> None:
    status, _, headers = ask(served, "/roles/containerd/defaults/main.yml")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/docs/nowhere/at/all.html",
        "/docs/",
        "/assets",
        f"/{build.NOTE}",
        "/../../etc/passwd",
        "/%2e%2e/x",
        "/%00",
        "/%ed%a0%80",
        f"/{'x' * 400}",
    ],
)
def test_what_is_not_there_leads_back(served: str, path: str) -> None:
    status, body, _ = ask(served, path)
    assert status == 404
    links = re.findall(r'<a href="(/[^"]+)"', body.decode().split("<h1>404</h1>")[1])
    assert links == ["/index.html", "/docs/tutorial/zh/index.html"]
    assert [ask(served, link)[0] for link in links] == [200, 200]
    assert ask(served, path, "HEAD")[:2] == (404, b"")


def test_no_name_server_is_asked(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without internet one may answer after many seconds only."""
    asked: list[str] = []
    for question in ("getfqdn", "gethostbyaddr", "getaddrinfo"):
        monkeypatch.setattr(socket, question, lambda *words, **_: asked.append(str(words[0])))
    with serve.server("127.0.0.1", 0, site) as server:
        assert (server.server_name, server.server_port) == server.server_address
    assert asked == []


def answered_once(server: ThreadingHTTPServer) -> None:
    """Have a server answer one request that waits for it, in a thread of its own, to the end."""
    before = set(threading.enumerate())
    server.handle_request()
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_a_browser_that_goes_away_is_passed_over(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serve.server("127.0.0.1", 0, site) as server:
        with socket.create_connection(("127.0.0.1", server.server_port)) as browser:
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it resets the connection
            browser.sendall(b"GET / HTTP/1.1\r\n")
        answered_once(server)
    assert capfd.readouterr() == ("", "")


def test_another_failure_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "404.html").symlink_to("/proc/self/mem")  # nobody can read its first byte
    with serve.server("127.0.0.1", 0, tmp_path) as server, socket.create_connection(("127.0.0.1", server.server_port)) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answered_once(server)
    assert capfd.readouterr() == ("", "127.0.0.1 had no answer: OSError: [Errno 5] Input/output error\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(served: str, method: str) -> None:
    assert ask(served, "/index.html", method)[0] == 501


def test_port_taken_says_by_whom(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["class", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"error: the class room's site can't listen on 127.0.0.1 port {port} "
        f"(Address already in use by process {os.getpid()}, {name_of(os.getpid())}): "
        "choose another port with --port, or name an address of this host with --address\n"
    )


def test_a_second_one_is_told_of_the_first(site: Path) -> None:
    with (
        serve.server("127.0.0.1", 0, site) as first,
        pytest.raises(LabError, match=f"in use by process {os.getpid()}, .*another port with --port"),
    ):
        serve.server("127.0.0.1", first.server_port, site)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("192.0.2.1", "can't listen on 192.0.2.1 port 8482 (Cannot assign requested address): choose another port"),
        ("room", "--address is 'room', which is no IPv4 address: give one of this host's"),
        ("::1", "--address is '::1', which is no IPv4 address"),
    ],
)
def test_address_that_cannot_be_had(address: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["class", "--address", address]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_no_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["class", "--port", port]) == 2
    assert "Error: Invalid value for '--port': " in capsys.readouterr().err


PROGRAM = """
import sys
from pathlib import Path
from outlive.base.program import ended
from outlive.site import serve
sys.exit(ended(lambda: serve.serve(sys.argv[2], 0, Path(sys.argv[1]))))
"""


@contextmanager
def room(folder: Path, address: str = "127.0.0.1", env: Mapping[str, str] = os.environ) -> Iterator[subprocess.Popen[str]]:
    """Serve a class room, by a process that is gone afterwards, whatever the test found."""
    argv = [sys.executable, "-c", PROGRAM, str(folder), address]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_builds_what_is_not_there_and_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with room(tmp_path / "site") as process:
        assert process.stdout is not None
        ready = next(line for line in process.stdout if line.startswith("the site: "))
        found = re.match(r"the site: (http://127\.0\.0\.1:\d+)/; Ctrl-C ends it\n", ready)
        assert found
        assert ask(found[1], "/")[0] == 200
        process.send_signal(number)
        assert process.communicate(timeout=60)[1] == ""
    # As `outlive mirror serve`: to end it is no failure.
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_ended_while_it_builds_was_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    with room(tmp_path / "site") as process:
        # Its lock is there a moment earlier, and whoever ends it then leaves that.
        begun = tmp_path / ".site.new"
        wait_for("the build", "begun", lambda: begun.is_dir() or process.poll() is not None, bool, within=60, every=0.01)
        process.send_signal(number)
        assert process.communicate(timeout=60)[1].startswith("interrupted: ")
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ip", [True, False])
def test_on_every_address_it_names_those_that_a_browser_can_ask(site: Path, tmp_path: Path, ip: bool) -> None:
    with room(site, "0.0.0.0", os.environ if ip else {**os.environ, "PATH": str(tmp_path)}) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if ip and own_addresses():
            places = re.findall(r"http://[0-9.]+:\d+", ready)
            assert [urlsplit(each).hostname for each in places] == own_addresses()
            assert [ask(each, "/")[0] for each in places] == [200] * len(places)
        else:
            assert re.fullmatch(r"the site: http://<this host's address>:\d+/; Ctrl-C ends it\n", ready)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
