"""Ports: who has one, and one sentence where it can't be had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.ports import check_free, holder, own_addresses, typed
from outlive.base.process import name_of


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")])
def test_who_listens_is_named(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as ours:
        ours.bind((address, 0))
        port = ours.getsockname()[1]
        assert holder("127.0.0.1", port) is None, "who only has a port's number doesn't listen"
        ours.listen()
        assert holder("127.0.0.1", port) == os.getpid()
        said = rf"^it can't listen on 127\.0\.0\.1 port {port} \(Address already in use by process {os.getpid()}, {name_of(os.getpid())}\): do$"
        with pytest.raises(LabError, match=said):
            check_free("127.0.0.1", port, "it", "do")


@contextmanager
def listener(address: str) -> Iterator[tuple[int, int]]:
    """Have another process listen on an address; return its id and its port."""
    program = (
        "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); "
        "s.bind((sys.argv[1], 0)); s.listen(); print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        try:
            yield other.pid, int(other.stdout.readline())
        finally:
            other.communicate("\n")


def test_another_process_is_named() -> None:
    with listener("127.0.0.1") as (other, port):
        assert holder("127.0.0.1", port) == other


@pytest.mark.parametrize("ours", ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"])
def test_of_two_on_a_port_the_one_of_the_address_is_named(ours: str) -> None:
    """And nobody where the address is free."""
    family = socket.AF_INET6 if ":" in ours else socket.AF_INET
    with listener("127.0.0.2") as (innocent, port), socket.socket(family) as here:
        assert holder("127.0.0.1", port) is None
        assert holder("127.0.0.2", port) == holder("0.0.0.0", port) == innocent
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        here.bind((ours, port))
        here.listen()
        assert holder("127.0.0.1", port) == os.getpid()


def test_who_listens_for_ipv6_alone_is_innocent() -> None:
    with listener("127.0.0.1") as (guilty, port):
        for address in ("::1", "::"):
            with socket.socket(socket.AF_INET6) as ours:
                ours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                ours.bind((address, port))
                ours.listen()
                assert holder("127.0.0.1", port) == holder("0.0.0.0", port) == guilty


def test_a_listener_that_may_not_be_looked_into_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Path) -> Path:
        raise PermissionError

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(Path, "readlink", forbidden)
        with pytest.raises(LabError, match=rf"port {port} \(Address already in use\): do"):
            check_free("127.0.0.1", port, "it", "do")


def test_address_of_another_host() -> None:
    with pytest.raises(LabError, match=r"it can't listen on 192\.0\.2\.1 port 8482 \(Cannot assign requested address\): do"):
        check_free("192.0.2.1", 8482, "it", "do")


def test_the_addresses_of_this_host_are_its_own() -> None:
    for address in own_addresses():
        assert not address.startswith("127.")
        check_free(address, 0, "it", "do")


def test_without_ip_no_address_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_addresses() == []


def test_what_others_type_for_a_server_of_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive.base.ports.own_addresses", lambda: ["192.0.2.1", "198.51.100.1"])
    assert typed("0.0.0.0") == ["192.0.2.1", "198.51.100.1"]
    assert typed("192.0.2.7") == ["192.0.2.7"]
    monkeypatch.setattr("outlive.base.ports.own_addresses", list)
    assert typed("0.0.0.0") == ["<this host's address>"]
