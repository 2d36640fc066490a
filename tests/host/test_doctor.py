"""`outlive doctor` as a command on simulated hosts, and what `make lab` makes of the same findings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.host import virtualization
from outlive.host.doctor import Finding, checklist, fine, note, wrong
from outlive.host.settings import Settings, decide


class Host:
    """A host whose programs are scripts that print what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.settings: dict[str, str] = {"OUTLIVE_CACHE": str(folder / "cache")}

    def prints(self, program: str, text: str, when: str = "*") -> None:
        """Have a program print a text where its arguments match a pattern of the shell's; it fails with others."""
        script = self.bin / program
        before = script.read_text(encoding="utf-8").removesuffix("exit 1\n") if script.exists() else "#!/bin/sh\n"
        script.write_text(f"{before}case \"$*\" in {when}) cat <<'END'\n{text}\nEND\nexit 0;; esac\nexit 1\n", encoding="utf-8")
        script.chmod(0o755)

    def doctor(self) -> tuple[int, list[str]]:
        """Run the command; return its exit status and the lines that it printed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OUTLIVE_")}
        done = subprocess.run(
            [sys.executable, "-m", "outlive", "doctor"],
            cwd=ROOT,
            env={**kept, **self.settings, "PATH": f"{self.bin}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host on which the programs that tell their versions are old, and the clock is behind the checkout."""
    host = Host(tmp_path)
    host.prints("vagrant", "Vagrant 2.2.4")
    host.prints("qemu-system-x86_64", "QEMU emulator version 4.2.1")
    host.prints("git", "4102444800")
    return host


def test_old_tools_and_a_clock_that_is_behind(host: Host) -> None:
    host.prints("virsh", "7.0.0", when="--version")
    host.settings |= {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "qemu"}
    status, lines = host.doctor()
    assert status == 1
    for sentence in (
        "Vagrant is 2.2.4, and the lab needs 2.2.8 or newer (",
        "libvirt is 7.0.0, and the lab needs 8.0.0 or newer (",
        "QEMU is 4.2.1, and the lab needs 5.0 or newer (",
    ):
        assert any(line.startswith(f"  WRONG  {sentence}") for line in lines), (sentence, lines)
    assert any(line.startswith("  note   not installed yet: Go ") for line in lines), lines
    assert any("WRONG" in line and "the checkout's newest commit is of 2100-01-01 00:00 UTC: certificates" in line for line in lines)
    wrongs = sum(line.startswith("  WRONG  ") for line in lines)
    assert lines[-1] == f"{wrongs} things would break the lab: cure what is marked WRONG"


def test_virtualbox_that_vagrant_does_not_take(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.prints("VBoxManage", "7.2.22_Debianr170000", when="--version")
    monkeypatch.setattr(virtualization, "virtualbox", lambda: virtualization.Usability(True, "VBoxManage is there"))
    monkeypatch.setenv("PATH", f"{host.bin}:{os.environ['PATH']}")
    found = list(checklist.of_host(decide({"OUTLIVE_PROVIDER": "virtualbox"}), installable=False))
    assert any(each.verdict == "WRONG" and each.sentence.startswith("VirtualBox is 7.2.22, and Vagrant 2.2.4 takes none") for each in found)


def test_vagrant_that_does_not_see_the_distribution_s_plugin(host: Host, tmp_path: Path) -> None:
    host.prints("vagrant", "Vagrant 2.4.9\n# exec /opt/vagrant/embedded/bin/ruby")
    host.settings |= {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "system", "VAGRANT_HOME": str(tmp_path)}
    sentence = f"  WRONG  vagrant is its maker's own package (/opt/vagrant), which doesn't see the distribution's vagrant-libvirt, and has none of its own in {tmp_path}: "
    status, lines = host.doctor()
    assert status == 1
    assert any(line.startswith(sentence) for line in lines), lines
    plugins = {"version": "1", "installed": {"vagrant-libvirt": {"installed_gem_version": "0.12.2"}}}
    (tmp_path / "plugins.json").write_text(json.dumps(plugins), encoding="utf-8")
    assert "  ok     vagrant-libvirt 0.12.2 (oldest that works: 0.10.0)" in host.doctor()[1]


def test_what_is_in_the_way_of_a_system_libvirt(host: Host) -> None:
    host.prints("virsh", "qemu:///system", when='*"uri"')
    host.prints("virsh", "11111111-2222-3333-4444-555555555555 outlive_k8s-node1", when='*"list --all --uuid --name"')
    volumes = " Name                     Path\n----------------------------------\n"
    volumes += "".join(f" outlive_{name}.img   /var/lib/libvirt/images/outlive_{name}.img\n" for name in ("k8s-node1", "k8s-node2"))
    host.prints("virsh", volumes, when='*"vol-list default"')
    host.prints("ip", json.dumps([{"ifname": "br-0123456789ab", "addr_info": [{"local": "192.168.56.1", "prefixlen": 24}]}]))
    host.settings |= {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "system"}
    status, lines = host.doctor()
    assert status == 1
    for sentence in (
        "the system's libvirt has outlive_k8s-node1 already, ",
        "lab_network is 192.168.56.0/24, and the host's interface br-0123456789ab (a network of Docker's, see `docker network ls`) has ",
    ):
        assert any(line.startswith(f"  WRONG  {sentence}") for line in lines), (sentence, lines)
    assert any(
        line.startswith("  WRONG  libvirt's pool 'default' has outlive_k8s-node2.img, left of machines that are no more") for line in lines
    ), lines
    assert not any("outlive_k8s-node1.img" in line for line in lines), "its machine is there"
    assert not any(" Go " in line for line in lines), "only the mirror is built with Go"


def test_system_libvirt_that_does_not_answer(host: Host) -> None:
    host.prints("virsh", "9.0.0", when="--version")
    host.settings |= {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "system"}
    status, lines = host.doctor()
    assert status == 1
    assert any(line.startswith("  WRONG  the system's libvirt doesn't answer this user (") for line in lines), lines


def test_unknown_setting_hides_nothing_that_can_be_seen_without(host: Host) -> None:
    host.settings["OUTLIVE_PROVIDER"] = "vmware"
    status, lines = host.doctor()
    assert status == 1
    assert "  WRONG  OUTLIVE_PROVIDER is 'vmware', which isn't known: set it to one of auto, libvirt, virtualbox" in lines
    assert any(line.startswith("  ok     Python ") for line in lines)
    assert lines[-1] == "1 thing would break the lab: cure what is marked WRONG"


def test_doctor_installs_nothing() -> None:
    done = subprocess.run(["make", "-n", "doctor"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m outlive doctor" in done.stdout
    assert "apt-get" not in done.stdout
    assert "outlive setup" not in done.stdout


SETTINGS = Settings(provider="libvirt", driver="qemu", sources="mirror", private=True, why="as asked")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Return the list of what is found on a host; empty at first."""
    found: list[Finding] = []

    def host(*_arguments: object, installable: bool) -> Iterator[Finding]:
        yield from found

    monkeypatch.setattr(checklist, "decide", lambda: SETTINGS)
    monkeypatch.setattr(checklist, "of_host", host)
    monkeypatch.setattr(checklist, "of_lab", lambda *_: iter(()))
    monkeypatch.setattr(checklist, "advice", lambda *_: iter(()))
    return found


def test_lab_goes_on_beside_notes_and_stops_at_the_first_wrong_thing(found: list[Finding]) -> None:
    found += [fine("good"), note("worth knowing: do this")]
    checklist.before_anything(SETTINGS)
    found += [wrong("first: do that"), wrong("second: do that too")]
    with pytest.raises(LabError, match=r"^first: do that$"):
        checklist.before_anything(SETTINGS)


def test_exit_status_and_form(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found += [fine("good"), note("worth knowing: do this")]
    assert checklist.report() == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-3:] == ["  ok     good", "  note   worth knowing: do this", "nothing was found that would break the lab"]
    found.append(wrong("bad: do that"))
    assert checklist.report() == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["  WRONG  bad: do that", "1 thing would break the lab: cure what is marked WRONG"]


def test_inventory_that_is_wrong_is_one_finding_among_others(
    found: list[Finding], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_settings: Settings) -> None:
        raise LabError("the inventory is wrong: correct it")

    monkeypatch.setattr(checklist, "load_inventory", refuse)
    found.append(fine("good"))
    assert checklist.report() == 1
    said = capsys.readouterr().out.splitlines()
    assert "  ok     good" in said
    assert "  WRONG  the inventory is wrong: correct it" in said
