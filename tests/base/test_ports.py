"""Ports: who has one, and one sentence where it can't be had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.ports import check_free, holder, own_addresses
from outlive.base.process import name_of


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")])
def test_who_listens_is_named(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as ours:
        ours.bind((address, 0))
        port = ours.getsockname()[1]
        assert holder(port) is None, "who only has a port's number doesn't listen"
        ours.listen()
        assert holder(port) == os.getpid()
        said = rf"^it can't listen on 127\.0\.0\.1 port {port} \(Address already in use by process {os.getpid()}, {name_of(os.getpid())}\): do$"
        with pytest.raises(LabError, match=said):
            check_free("127.0.0.1", port, "it", "do")


def test_another_process_is_named() -> None:
    program = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert holder(int(other.stdout.readline())) == other.pid
        other.communicate("\n")


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
