"""The machines under the nodes. The providers' tools are programs of the tests' own that write down how they were called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import WaitTimeoutError
from outlive.lab import power
from outlive.lab.power import LibvirtMachine, Machine, Power, State, VirtualBoxMachine, find_process, look
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
    with pytest.raises(UnreachableError, match=r"destroy 11aa` gave no answer within 0 s"):
        LibvirtMachine("n1", "11aa").cut()


def test_a_tool_that_is_missing(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools.parent / "nowhere"))
    with pytest.raises(LabError, match="the program VBoxManage is missing"):
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
    [("echo 'no such box' >&2; exit 1", "`vagrant up --no-tty` failed \\(no such box\\)"), ("exec sleep 60", "gave no answer within 1 s")],
)
def test_vagrant_fails(tools: Path, script: str, expected: str) -> None:
    program = tools.parent / "vagrant"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(LabError, match=expected):
        power.vagrant("up", within=1)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no VM have a process."""
    monkeypatch.setattr(Machine, "process", lambda _: None)


def says(tools: Path, domstate: str, managed_save: str = "no") -> None:
    """Let virsh and VBoxManage say this."""
    (tools.parent / "virsh").write_text(
        f'#!/bin/sh\ncase "$*" in\n*dominfo*) echo "Id: -"; echo "Managed save:   {managed_save}";;\n*domstate*) echo "{domstate}"; echo;;\nesac\n'
    )
    (tools.parent / "VBoxManage").write_text(f"#!/bin/sh\necho 'name=\"x\"'\necho 'VMState=\"{domstate}\"'\n")


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("kind", "word", "managed_save", "state"),
    [
        (LibvirtMachine, "shut off (shutdown)", "no", State.OFF),
        (LibvirtMachine, "shut off (destroyed)", "no", State.OFF),
        (LibvirtMachine, "shut off (crashed)", "no", State.OFF),
        (LibvirtMachine, "shut off (daemon)", "no", State.OFF),
        (LibvirtMachine, "shut off (saved)", "no", State.SAVED),  # `virsh save FILE`
        (LibvirtMachine, "shut off (saved)", "yes", State.SAVED),
        (LibvirtMachine, "shut off (unknown)", "yes", State.SAVED),  # libvirt was restarted
        (LibvirtMachine, "shut off (destroyed)", "unknown", State.SAVED),
        (VirtualBoxMachine, "poweroff", "", State.OFF),
        (VirtualBoxMachine, "aborted", "", State.OFF),
        (VirtualBoxMachine, "saved", "", State.SAVED),
        (VirtualBoxMachine, "aborted-saved", "", State.SAVED),
    ],
)
def test_a_vm_without_a_process(tools: Path, kind: type[Machine], word: str, managed_save: str, state: State) -> None:
    says(tools, word, managed_save)
    assert look(kind("n1", "11aa")) == Power(state)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (LibvirtMachine, "running (booted)"),
        (LibvirtMachine, "paused (user)"),
        (LibvirtMachine, "in shutdown (user)"),
        (LibvirtMachine, "crashed (panicked)"),
        (LibvirtMachine, "shut off"),
        (LibvirtMachine, "shut off (unknown)"),
        (LibvirtMachine, "shut off (failed)"),
        (LibvirtMachine, "shut off (migrated)"),
        (LibvirtMachine, "shut off (from snapshot)"),
        (LibvirtMachine, "ausgeschaltet (heruntergefahren)"),
        (LibvirtMachine, ""),
        (VirtualBoxMachine, "running"),
        (VirtualBoxMachine, "teleported"),
        (VirtualBoxMachine, ""),
    ],
)
def test_a_word_that_proves_nothing_is_not_off(tools: Path, kind: type[Machine], word: str) -> None:
    says(tools, word)
    with pytest.raises(UnreachableError, match=r"the VM of n1 has no process here, but its hypervisor calls it .*doesn't prove"):
        look(kind("n1", "11aa"))


def test_a_vm_with_a_process(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = LibvirtMachine("n1", "11aa")
    says(tools, "shut off (destroyed)")
    monkeypatch.setattr(machine, "process", os.getpid)
    seen = look(machine)
    assert (seen.state, seen.process) == (State.ON, os.getpid())
    assert 0 <= seen.age < 86400
    monkeypatch.setattr(machine, "process", lambda: 2**30)  # ended since it was found
    assert look(machine).state is State.OFF


def test_a_process_that_is_another_program_s_by_now_is_not_the_vm_s(tools: Path) -> None:
    says(tools, "shut off (destroyed)")
    assert look(LibvirtMachine("n1", "no-process-has-this-id"), process=os.getpid()) == Power(State.OFF)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("kind", [LibvirtMachine, VirtualBoxMachine])
def test_hypervisor_that_gives_no_answer_may_give_one_later(tools: Path, kind: type[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("virsh", "VBoxManage"):
        (tools.parent / name).write_text("#!/bin/sh\necho 'error: no connection' >&2\nexit 1\n")
    with pytest.raises(UnreachableError, match="no connection"):
        look(kind("n1", "11aa"))
    for name in ("virsh", "VBoxManage"):
        (tools.parent / name).write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(power, "LOOK_SECONDS", 0.2)
    with pytest.raises(UnreachableError, match="gave no answer within 0 s"):
        look(kind("n1", "11aa"))


def test_tools_speak_english_whatever_the_user_speaks(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    for name in ("virsh", "VBoxManage"):
        (tools.parent / name).write_text(f'#!/bin/sh\necho "$LC_ALL,$LANGUAGE" >> {tools}\n')
    for machine in (LibvirtMachine("n1", "11aa"), VirtualBoxMachine("n2", "22bb")):
        machine.start()
        machine.cut()
        machine.said()
        machine.paused()
    assert set(tools.read_text().splitlines()) == {"C.UTF-8,"}


@pytest.mark.parametrize(
    ("word", "paused"),
    [
        ("paused (user)", True),
        ("paused (I/O error)", True),
        ("paused (saving)", False),
        ("paused (creating snapshot)", False),
        ("running (booted)", False),
        ("shut off (saved)", False),
    ],
)
def test_a_paused_domain(tools: Path, word: str, paused: bool) -> None:
    says(tools, word)
    assert LibvirtMachine("n1", "11aa").paused() is paused


def test_virtualbox_s_saved_state_is_discarded(tools: Path) -> None:
    VirtualBoxMachine("n2", "22bb").discard()
    assert tools.read_text().splitlines() == ["VBoxManage discardstate 22bb"]


def test_wait_until_off(tools: Path, clock: ManualClock) -> None:
    says(tools, "shut off (shutdown)")
    machine = LibvirtMachine("n1", "no-process-has-this-id")
    assert machine.process() is None
    machine.wait_until_off(clock=clock)
    assert clock.seconds == 0.0


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("word", "seen"), [("shut off (saved)", "its memory saved"), ("running (booted)", r"no answer .*calls it 'running \(booted\)'")]
)
def test_wait_until_off_wants_both_witnesses(tools: Path, clock: ManualClock, word: str, seen: str) -> None:
    says(tools, word)
    with pytest.raises(WaitTimeoutError, match=f"VM of n1: wanted off, last seen {seen}"):
        LibvirtMachine("n1", "11aa").wait_until_off(within=2, clock=clock)


def test_a_machine_that_stays_on(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = LibvirtMachine("n1", "11aa")
    monkeypatch.setattr(machine, "process", os.getpid)
    with pytest.raises(WaitTimeoutError, match=f"VM of n1: wanted off, last seen process {os.getpid()} running, gave up after 2 s"):
        machine.wait_until_off(within=2, clock=clock)
