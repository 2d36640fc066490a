"""Setting the machines' clocks: a program named ssh stands in for the way to them."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.process import born
from outlive.lab import guest_clocks
from outlive.lab.inventory import Host

HOST = Host("n1", "192.0.2.11", {"ansible_host": "192.0.2.11", "ansible_user": "someone", "ansible_port": 2222})


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the program that is run as ssh; it writes down its arguments."""
    program = tmp_path / "ssh"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program.touch(mode=0o755)
    return program


def test_the_time_is_sent_when_the_machine_is_ready(ssh: Path, tmp_path: Path) -> None:
    ssh.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho ready; read now; echo "set to $now"\n')
    before = time.time()
    name, told = guest_clocks._set(HOST)
    assert name == "n1"
    assert before <= float(told.removeprefix("set to ")) + 0.001
    assert "-p 2222 someone@192.0.2.11 sudo sh -c" in (tmp_path / "arguments").read_text()


def test_the_way_to_a_machine_that_was_just_put_back_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ssh that tries again: on a port that opens late it comes as far as what answers there."""
    (tmp_path / "ssh").symlink_to("/usr/bin/ssh")
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        port = late.getsockname()[1]
        opened = threading.Timer(2.5, late.listen)
        opened.start()
        monkeypatch.setattr(guest_clocks, "WITHIN", 30)
        host = Host("n1", "127.0.0.1", {"ansible_host": "127.0.0.1", "ansible_user": "someone", "ansible_port": port})
        with ThreadPoolExecutor() as pool:
            telling = pool.submit(guest_clocks._set, host)
            late.settimeout(30)
            opened.join()
            late.accept()[0].close()
            with pytest.raises(LabError, match=r"The clock of n1 could not be set .*kex_exchange_identification"):
                telling.result(30)


@pytest.mark.parametrize("script", ["echo 'no route to host'; exit 255", "echo ready; read now; echo 'date: no'; exit 1"])
def test_a_clock_that_cannot_be_set(ssh: Path, script: str) -> None:
    ssh.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(LabError, match=r"The clock of n1 could not be set \((no route to host|date: no)\): see `vagrant status`"):
        guest_clocks._set(HOST)


@pytest.mark.parametrize("script", ["exec tail -f /dev/null", "echo ready; read now; exec tail -f /dev/null"])
def test_a_machine_that_gives_no_answer(ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(guest_clocks, "WITHIN", 0.5)
    ssh.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{script}\n")
    with pytest.raises(LabError, match=r"The clock of n1 could not be set \(no answer within 0 s\): see `vagrant status`"):
        guest_clocks._set(HOST)
    assert born(int((tmp_path / "pid").read_text())) is None
