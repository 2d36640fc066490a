"""Commands on machines; testinfra's own local connection stands in for ssh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import testinfra

from outlive.base.errors import LabError, UnreachableError
from outlive.base.process import born
from outlive.lab import nfs
from outlive.lab.inventory import Inventory
from outlive.lab.ssh import Remote


class Here:
    """Connects to this machine instead, and remembers how it was asked to connect."""

    def __init__(self) -> None:
        """Begin without a call."""
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, spec: str, **options: Any) -> testinfra.host.Host:  # noqa: ANN401  testinfra's options
        """Return testinfra's host of this machine, which needs no sudo."""
        self.calls.append((spec, options))
        host = testinfra.host.Host(testinfra.backend.get_backend("local://"))  # not get_host's, which is one for all tests
        host.backend.get_sudo_command = lambda command, _: command
        return host


def test_commands_and_their_failure(small_inventory: Inventory) -> None:
    here = Here()
    remote = Remote(small_inventory, here)
    assert remote.run("n1", "echo %s; exit 3", "a b").stdout == "a b\n"
    assert remote.check("n1", "echo yes") == "yes\n"
    with pytest.raises(LabError, match=r"`false` on n1 ended with status 1 \(no message\)"):
        remote.check("n1", "false")
    assert len(here.calls) == 1
    remote.forget("n1")
    remote.run("n1", "true")
    assert len(here.calls) == 2
    remote.close()


def test_a_machine_speaks_one_language(small_inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its commands say is read, whatever locale it has, or hasn't generated."""
    monkeypatch.setenv("LC_ALL", "tlh_QO.UTF-8")
    monkeypatch.setenv("LANGUAGE", "zh")
    remote = Remote(small_inventory, Here())
    assert remote.check("n1", 'echo "$LC_ALL,$LANGUAGE"; sh -c %s', 'echo "$LC_ALL,$LANGUAGE"') == "C.UTF-8,\n" * 2
    assert "no-such-file: No such file or directory" in remote.run("n1", "ls /no-such-file").stderr.replace("'", "")
    remote.close()


def test_way_to_a_machine(small_inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", str(tmp_path))
    key = tmp_path / "machines" / "n1" / "libvirt" / "private_key"
    key.parent.mkdir(parents=True)
    key.touch()
    here = Here()
    remote = Remote(small_inventory, here)
    for name in ("m", "n1", "n2"):
        remote.host(name)
    assert [spec for spec, _ in here.calls] == ["ssh://vagrant@192.0.2.10", "ssh://vagrant@192.0.2.11", "ssh://admin@192.0.2.12:2222"]
    assert [options["ssh_identity_file"] for _, options in here.calls] == [None, str(key), "/key"]


def test_machine_that_is_not_reached(small_inventory: Inventory) -> None:
    class Broken(Here):
        def __call__(self, spec: str, **options: Any) -> testinfra.host.Host:  # noqa: ANN401  testinfra's options
            host = super().__call__(spec, **options)

            def run(command: str, *_: str) -> None:
                raise RuntimeError(host.backend.result(255, command.encode(), b"", b"ssh: connect to host: No route to host\r\n"))

            host.run = run
            return host

    with pytest.raises(UnreachableError, match=r"ssh to n1 \(192\.0\.2\.11\) failed \(ssh: connect to host: No route to host\)"):
        Remote(small_inventory, Broken()).run("n1", "true")


def test_command_that_gives_no_answer(small_inventory: Inventory, tmp_path: Path) -> None:
    here = Here()
    remote = Remote(small_inventory, here, within=0.5)
    sentence = r"`echo \$\$ > %s; exec tail -f /dev/null` on n1 \(192\.0\.2\.11\) gave no answer within 0 s: `vagrant status` says"
    with pytest.raises(UnreachableError, match=sentence):
        remote.run("n1", "echo $$ > %s; exec tail -f /dev/null", str(tmp_path / "pid"))
    assert born(int((tmp_path / "pid").read_text())) is None
    assert remote.run("n1", "echo %s", "again").stdout == "again\n"
    assert len(here.calls) == 2, "the connection is a new one"


def test_nfs_reads_through_it(small_inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote(small_inventory, Here())
    answers = {
        "exportfs -v": "/nfsdata 192.0.2.0/24(rw,sync)\n",
        nfs.READ_CLIENTS: "== /proc/fs/nfsd/clients/*/\n",
        "cat /proc/fs/nfsd/nfsv4leasetime": "90\n",
    }
    monkeypatch.setattr(remote, "check", lambda _, command: answers[command])
    assert nfs.exports(remote, "m")[0].path == "/nfsdata"
    assert nfs.clients(remote, "m") == ()
    assert nfs.lease_seconds(remote, "m") == 90
