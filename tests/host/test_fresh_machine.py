"""The README's two commands on a Debian 12 that has nothing, by an ordinary user and by root: what a developer's machine hides shows here.

`make lab` runs for its first minutes, until the mirror's Go has fetched a module; it is interrupted then. The lab's own libvirt starts and ends, without
a machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from outlive.base.paths import cache
from outlive.host import rehearsals
from outlive.host.doctor import resources
from outlive.mirror import golang
from verify.rehearsal import clean_debian

SCRIPT = Path(__file__).with_name("first_minutes.sh")
FOLDERS = {clean_debian.USER: f"a student's share/{'a rather long path ' * 7}/outlive", "root": "outlive"}
"""Who does it, and where; the first one installs the packages, by sudo."""
MEMORY = 8192
"""MiB that the README asks for."""
LIMIT = 1800.0
"""Seconds for both users, on a slow host too."""

Parts = Mapping[str, list[str]]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Parts]]:
    """Return the lines that each part of the script printed, by user."""
    reason = rehearsals.why_not_clean()
    findings = (resources.memory(MEMORY, resources.read_meminfo()), resources.disk(cache(), resources.MIRROR_DISK, "the mirror"))
    reason = reason or next((finding.sentence for finding in findings if finding.verdict == "WRONG"), None)
    if reason:
        pytest.skip(reason)
    log = tmp_path_factory.mktemp("fresh") / "log"
    with clean_debian.machine(log.with_name("mmdebstrap.log")) as machine:
        for user, folder in FOLDERS.items():
            machine.put_checkout(folder, user)
        machine.run(SCRIPT, FOLDERS, log, LIMIT)
    by_user = log.read_text(encoding="utf-8", errors="replace").split("=== ")[1:]
    yield {each.partition("\n")[0]: clean_debian.parts(each) for each in by_user}
    left = [str(path) for path in (cache() / "clean-debian").glob("root*")]
    assert left == [], "nothing of the machine is left but its packed root file system and packages"


@pytest.fixture(params=FOLDERS)
def user(request: pytest.FixtureRequest) -> str:
    """Return one of the users."""
    return str(request.param)


@pytest.fixture
def parts(user: str, printed: Mapping[str, Parts]) -> Parts:
    """Return what was printed for him."""
    print(*(f"--- {name}\n" + "\n".join(lines) for name, lines in printed[user].items()), sep="\n")
    return printed[user]


def test_no_go_and_no_kubectl_before_and_after(parts: Parts) -> None:
    assert {"go", "kubectl"}.isdisjoint(parts["path before"])
    assert {"go", "kubectl"}.isdisjoint(parts["path after"])
    assert "vagrant" in parts["path after"]


def test_lab_comes_as_far_as_the_mirror(parts: Parts) -> None:
    assert any(line.startswith(f"Go {golang.pinned()}: ") for line in parts["lab"])
    assert "mirror ..." in parts["lab"]
    module, said = parts["compiled"]
    assert "/go/mod/cache/download/" in module
    assert said == "compiled"
    assert not any(line.startswith("error: ") for line in parts["lab"])


def test_interrupt_ends_all_of_it(parts: Parts) -> None:
    assert any(line.endswith(": lab] Error 130") for line in parts["lab"])
    assert parts["status"] in (["2"], ["130"]), "make's own: it sees its command end first, or its own interrupt"
    assert set(parts["left"]) <= {"bash", "runuser", "cat"}, parts["left"]


def test_second_command(parts: Parts) -> None:
    assert parts["activate"][0].startswith("outlive, version ")


def test_doctor_finds_nothing_wrong(parts: Parts) -> None:
    assert [line for line in parts["doctor"] if "WRONG" in line] == []
    assert "nothing was found that would break the lab" in parts["doctor"]


def test_setup_again_does_nothing(parts: Parts) -> None:
    assert parts["second"] == []


def test_libvirt_outlives_its_terminal_and_answers_the_user(user: str, parts: Parts) -> None:
    # The terminal shows the end of its input too.
    assert parts["libvirt"][0].endswith(user)
    assert "qemu:///system" in parts["libvirt"]
    assert parts["found"][-1].startswith("private libvirt: process ")


def test_interrupt_comes_once_and_the_command_ends_after_it(parts: Parts) -> None:
    """A second one would stop Vagrant from cleaning up."""
    assert parts["interrupted"][-2:] == ["status 130", "told"]
    assert parts["interrupted"].count("told") == 1


def test_files_are_the_user_s(parts: Parts) -> None:
    assert parts["foreign"] == []
    assert parts["destroy"] == []


def test_sudo_asks_once(printed: Mapping[str, Parts]) -> None:
    parts = printed[clean_debian.USER]
    lines = parts["password"]
    assert lines[0] == "To start the lab's own libvirt and reach its machines, sudo asks for your password, once."
    assert len([line for line in lines if "[sudo] password" in line]) == 1
    assert lines[-2:] == [clean_debian.USER, "status 0"]
    assert set(parts["at the end"]) <= {"bash", "runuser", "cat"}
