"""The machines under the nodes. The providers' tools are programs of the tests' own that write down how they were called."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import WaitTimeoutError
from outlive.lab import power
from outlive.lab.power import LibvirtMachine, VirtualBoxMachine, find_process
from tests.samples import ManualClock

PS = """\
    1 Ss   /sbin/init
  812 Sl   /usr/bin/qemu-system-x86_64 -name guest=outlive_n1,debug-threads=on -uuid 11aa -smp 2
  813 Z    /usr/bin/qemu-system-x86_64 -name guest=outlive_n2 -uuid 22bb
  900 Sl   /usr/lib/virtualbox/VBoxHeadless --comment lab_n3 --startvm 33cc --vrde config
  901 S    virsh domstate 44dd
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put programs named as the providers' tools on PATH; return the file with their calls."""
    calls = tmp_path / "calls"
    for name in ("virsh", "VBoxManage"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $@" >> {calls}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return calls


@pytest.mark.parametrize(
    ("option", "identity", "process"),
    [("-uuid", "11aa", 812), ("-uuid", "22bb", None), ("-uuid", "44dd", None), ("-uuid", "11a", None), ("--startvm", "33cc", 900)],
)
def test_process_is_found_by_the_provider_s_id(option: str, identity: str, process: int | None) -> None:
    assert find_process(PS, option, identity) == process


def test_machine_is_what_vagrant_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", str(tmp_path))
    for name, provider in (("n1", "libvirt"), ("n2", "virtualbox")):
        (tmp_path / "machines" / name / provider).mkdir(parents=True)
        (tmp_path / "machines" / name / provider / "id").write_text(f"id-of-{name}\n")
    assert isinstance(power.find("n1"), LibvirtMachine)
    assert isinstance(power.find("n2"), VirtualBoxMachine)
    assert power.find("n1").identity == "id-of-n1"
    with pytest.raises(LabError, match=r"n3 has no VM below .*: power can be switched only on machines that Vagrant made with libvirt or"):
        power.find("n3")


def test_libvirt_s_commands(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu:///other")
    machine = LibvirtMachine("n1", "11aa")
    machine.start()
    machine.cut()
    assert tools.read_text().splitlines() == [
        "virsh --quiet --connect qemu:///other start 11aa",
        "virsh --quiet --connect qemu:///other destroy 11aa",
    ]


def test_virtualbox_s_commands(tools: Path) -> None:
    machine = VirtualBoxMachine("n2", "22bb")
    machine.start()
    machine.cut()
    assert tools.read_text().splitlines() == ["VBoxManage startvm 22bb --type headless", "VBoxManage controlvm 22bb poweroff"]


def test_a_tool_that_fails(tools: Path) -> None:
    (tools.parent / "virsh").write_text("#!/bin/sh\necho 'error: Domain not found' >&2\nexit 1\n")
    with pytest.raises(LabError, match=r"start 11aa` failed \(error: Domain not found\): see whether"):
        LibvirtMachine("n1", "11aa").start()


def test_a_tool_that_hangs_hangs_nothing_else(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools.parent / "virsh").write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(power, "TOOL_SECONDS", 0.2)
    with pytest.raises(UnreachableError, match=r"destroy 11aa` didn't end within 0 s"):
        LibvirtMachine("n1", "11aa").cut()


def test_a_tool_that_is_missing(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools.parent / "nowhere"))
    with pytest.raises(LabError, match="The program VBoxManage is missing"):
        VirtualBoxMachine("n2", "22bb").cut()


def test_vagrant_s_commands(tools: Path) -> None:
    program = tools.parent / "vagrant"
    program.write_text(f'#!/bin/sh\necho "vagrant $@" >> {tools}\n')
    program.chmod(0o755)
    power.vagrant("up", within=60)
    power.vagrant("destroy", "n3", within=60)
    assert tools.read_text().splitlines() == ["vagrant up --no-tty", "vagrant destroy --force --no-tty n3"]


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo 'no such box' >&2; exit 1", "`vagrant up --no-tty` failed \\(no such box\\)"), ("exec sleep 60", "didn't end within 1 s")],
)
def test_vagrant_fails(tools: Path, script: str, expected: str) -> None:
    program = tools.parent / "vagrant"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(LabError, match=expected):
        power.vagrant("up", within=1)


def test_wait_until_off(clock: ManualClock) -> None:
    machine = LibvirtMachine("n1", "no-process-has-this-id")
    assert machine.process() is None
    machine.wait_until_off(clock=clock)
    assert clock.seconds == 0.0


def test_a_machine_that_stays_on(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = LibvirtMachine("n1", "11aa")
    monkeypatch.setattr(machine, "process", lambda: 812)
    with pytest.raises(WaitTimeoutError, match="VM of n1: wanted process gone, last seen process 812 running, gave up after 2 s"):
        machine.wait_until_off(within=2, clock=clock)
