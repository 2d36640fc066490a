"""What `make test` runs, in which order, and what it leaves out when it is late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from outlive import cli
from outlive.base import paths
from outlive.base.errors import LabError
from outlive.base.locks import alone, exclusive
from outlive.base.process import remove
from outlive.host import bench, box, doctor, molecule, packages, private, reach, rehearsals, steps
from outlive.host.reach import Reached
from outlive.host.settings import Settings, decide


class Run:
    """A lab that only notes what is asked of it; ``minutes`` is what making it takes."""

    def __init__(self, minutes: float = 0, broken: str = "") -> None:
        self.done: list[str] = []
        self.seconds = 100.0
        self.minutes = minutes
        self.broken = broken

    def lint(self) -> None:
        """Note the linters."""
        self._note("lint")

    def unit(self) -> None:
        """Note the unit tests."""
        self._note("unit")

    def make(self) -> None:
        """Take the time that it takes."""
        self.seconds += self.minutes * 60
        self._note("make")

    def outlive(self, what: str, *words: str) -> float:
        """Note a command."""
        self._note(" ".join(words))
        return 1.0

    def roles(self) -> None:
        """Note the roles' scenarios."""
        self._note("roles")

    def destroy(self) -> None:
        """Note the end."""
        self._note("destroy")

    def _note(self, what: str) -> None:
        self.done.append(what)
        if self.broken and what.startswith(self.broken):
            raise LabError("broken")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    run = Run()
    monkeypatch.setattr(steps, "lint", run.lint)
    monkeypatch.setattr(steps, "unit", run.unit)
    monkeypatch.setattr(steps, "build_mirror", lambda *names: run.done.append(f"mirror {' '.join(names)}"))
    monkeypatch.setattr(steps, "build_scanner", lambda: run.done.append("scanner"))
    monkeypatch.setattr(steps, "decide", lambda: decide({"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "qemu"}))
    monkeypatch.setattr(steps, "make", run.make)
    monkeypatch.setattr(steps, "destroy", run.destroy)
    monkeypatch.setattr(steps, "_outlive", run.outlive)
    monkeypatch.setattr(steps, "add_storage", lambda name: run.outlive("", "storage", "add", name))
    monkeypatch.setattr(steps, "roles", run.roles)
    monkeypatch.setattr(steps, "_rehearse", lambda _what, way: run.outlive("", "rehearse", way))
    monkeypatch.setattr(rehearsals, "why_not", lambda: None)
    monkeypatch.setattr(steps, "machine_ids", dict)
    monkeypatch.setattr(steps, "VERIFIED", tmp_path / "verified.json")
    monkeypatch.setattr(steps, "alone", lambda: alone(tmp_path / "lab.lock"))
    monkeypatch.setattr(steps, "LOGS", tmp_path)
    monkeypatch.setattr(time, "monotonic", lambda: run.seconds)
    yield run


DISKS = ["storage add iscsi", "pages 11-iscsi"]
DRILLS = ["drills --fault mysqld-kill --fault nfs-restart --profile default", "drills --fault power-cut --profile fenced"]


def test_a_part_of_everything(run: Run) -> None:
    steps.test()
    assert run.done == ["lint", "unit", "make", "pages 01-emptydir 04-nfs", *DRILLS, *DISKS, "destroy", "rehearse host"]


def test_host_that_cannot_rehearse_says_why(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(rehearsals, "why_not", lambda: "this host lacks mmdebstrap")
    steps.test()
    assert run.done[-1] == "destroy"
    assert "rehearsal host: not run, this host lacks mmdebstrap: `outlive rehearse host` runs it elsewhere\n" in capsys.readouterr().out


def test_host_without_a_mirror_rehearses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(steps, "decide", lambda: Settings("libvirt", "kvm", "upstream", private=False, why=""))
    steps.test()
    assert run.done[-1] == "destroy"
    assert "rehearsal host: not run, this host builds no mirror" in capsys.readouterr().out


def test_everything_however_late(run: Run) -> None:
    run.minutes = 300
    steps.test(everything=True)
    assert run.done == [
        "lint",
        "mirror full mysql-9.7",
        "scanner",
        "unit",
        "make",
        "storage add iscsi",
        "pages",
        *DRILLS,
        "cis",
        "lifecycle",
        "destroy",
        "roles",
        "rehearse host",
    ]


def test_late_run_says_what_it_left_out(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.minutes = 56
    steps.test()
    assert run.done == ["lint", "unit", "make", "destroy"]
    said = capsys.readouterr().out
    assert "pages: not run, 56 minutes have passed and none begins after 55: `outlive pages` runs it" in said
    assert "drills fenced (power-cut): not run" in said
    assert "page 11-iscsi: not run, 56 minutes have passed and none begins after 55: `outlive pages 11-iscsi` runs it" in said
    assert "`outlive drills --fault power-cut --profile fenced` runs it" in said
    assert "rehearsal host: not run, 56 minutes have passed" in said


def test_lab_that_was_there_stays(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "machine_ids", lambda: {"k8s-master": "1"})
    steps.test()
    assert "destroy" not in run.done


def test_lab_that_was_there_is_in_the_way_of_the_scenarios(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "machine_ids", lambda: {"k8s-master": "1"})
    steps.test(everything=True)
    assert "roles" not in run.done
    assert "roles' scenarios: not run, since this checkout's lab stays: `outlive molecule` in another checkout" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["lint", "unit"])
def test_without_lint_and_unit_tests_no_lab_is_made(run: Run, broken: str) -> None:
    run.broken = broken
    with pytest.raises(LabError, match="broken"):
        steps.test()
    assert "make" not in run.done


def test_rehearsal_that_fails_shows_its_log(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.broken = "rehearse"
    (tmp_path / "step.log").write_text("why it failed\n")
    with pytest.raises(LabError, match="broken"):
        steps.test(everything=True)
    assert "why it failed" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["make", "pages", "drill"])
def test_failure_removes_the_lab_and_shows_the_newest_log(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    run.broken = broken
    (tmp_path / "step.log").write_text("why it failed\n")
    with pytest.raises(LabError, match="broken"):
        steps.test(everything=True)
    assert run.done[-1] == "destroy"
    assert "why it failed" in capsys.readouterr().out


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a checkout's folder, with machines that Vagrant made in the system's libvirt."""
    (tmp_path / ".lab").mkdir()
    (tmp_path / ".vagrant").mkdir()
    monkeypatch.setattr(steps, "STATE", tmp_path / ".lab")
    monkeypatch.setattr(steps, "LOCK", tmp_path / ".lab/lab.lock")
    monkeypatch.setattr(steps, "alone", lambda: alone(tmp_path / ".lab/lab.lock"))
    monkeypatch.setattr(private, "ROOT", tmp_path)
    monkeypatch.setattr(private, "FOLDER", tmp_path / ".lab/private")
    there = iter([{"k8s-master": "1"}])  # until it is destroyed
    monkeypatch.setattr(steps, "machine_ids", lambda: next(there, {}))
    return tmp_path


def test_private_lab_is_removed_whatever_the_settings_would_be_today(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUTLIVE_DRIVER was 'qemu' when it was made, or the user is in the group libvirt since."""
    monkeypatch.setenv("OUTLIVE_LIBVIRT", "system")
    stopped: list[str] = []
    monkeypatch.setattr(private, "stop", lambda: stopped.append("libvirt"))
    monkeypatch.setattr(Reached, "run", lambda _self, command: pytest.fail(f"{command} has nothing to do here"))
    (checkout / ".lab/private").mkdir()
    steps.destroy()
    assert stopped == ["libvirt"]
    assert list(checkout.iterdir()) == []


@pytest.mark.parametrize("status", [0, 1])
def test_what_vagrant_could_not_remove_is_not_forgotten(checkout: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(Reached, "run", lambda _self, _command: status)
    if status == 0:
        steps.destroy()
        assert list(checkout.iterdir()) == []
    else:
        with pytest.raises(LabError, match="`vagrant destroy` ended with status 1, so the lab's state stays"):
            steps.destroy()
        assert {each.name for each in checkout.iterdir()} == {".lab", ".vagrant"}


@pytest.mark.parametrize(
    ("provider", "off", "gone"),
    [
        ("libvirt", "virsh --quiet destroy 2", "virsh --quiet undefine 2 --remove-all-storage --snapshots-metadata --managed-save"),
        ("virtualbox", "VBoxManage controlvm 2 poweroff", "VBoxManage unregistervm 2 --delete"),
    ],
)
@pytest.mark.parametrize("status", [0, 1])
def test_machine_that_the_inventory_names_no_more_is_removed_too(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, provider: Literal["libvirt", "virtualbox"], off: str, gone: str, status: int
) -> None:
    """`vagrant destroy` knows nothing of it, and would leave it running with an address of the lab's."""
    ran: list[str] = []

    def note(_self: Reached, command: list[str]) -> int:
        ran.append(" ".join(command))
        return 0 if command[0] == "vagrant" else 1 if ran[-1] == off else status

    monkeypatch.setattr(doctor.leftovers, "read_existing", lambda _settings: {"2", "7"})
    ids = iter([{"k8s-master": "1", "k8s-node2": "2"}, {"k8s-node2": "2", "k8s-node3": "3"}])  # the last one is gone already
    monkeypatch.setattr(steps, "machine_ids", lambda: next(ids))
    monkeypatch.setattr(steps, "decide", lambda: Settings(provider, None, "upstream", private=False, why=""))
    monkeypatch.setattr(Reached, "run", note)
    if status == 0:
        steps.destroy()
        assert list(checkout.iterdir()) == []
    else:
        with pytest.raises(LabError, match=f"`{gone}` ended with status 1, so k8s-node2 and the lab's state stay: see its words above"):
            steps.destroy()
        assert {each.name for each in checkout.iterdir()} == {".lab", ".vagrant"}
    assert ran == ["vagrant destroy --force", off, gone]


def test_nothing_is_installed_where_the_lab_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "the checkout /mnt/c/outlive lies on a drive of Windows: clone it elsewhere"
    monkeypatch.setattr(doctor.checkout, "read", lambda: [doctor.fine("the cache is good"), doctor.wrong(sentence)])
    monkeypatch.setattr(packages, "install_packages", lambda *_, **__: pytest.fail("packages were installed"))
    with pytest.raises(LabError, match=f"^{sentence}$"):
        steps.setup()


@pytest.mark.parametrize("command", ["lab", "test", "reset", "destroy", "molecule"])
def test_lab_that_another_command_works_on_stays_as_it_is(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(private, "inside", lambda: False)
    for module, name in ((steps, "_make_cluster"), (steps, "_reset"), (steps, "_remove"), (molecule, "prepare")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("the lab was touched"))
    with alone(checkout / ".lab/lab.lock"):
        assert cli.main([command]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: another command works on this lab (it holds ")
    assert said.endswith("lab.lock): wait until it has ended, or end it with Ctrl-C\n")


def test_lock_goes_last_with_the_lab(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = checkout / ".lab/lab.lock"
    removed: list[tuple[Path, bool]] = []

    def note(folder: Path) -> None:
        removed.append((folder, lock.exists()))
        remove(folder)

    monkeypatch.setattr(Reached, "run", lambda _self, _command: 0)
    monkeypatch.setattr(steps, "remove", note)
    (checkout / ".lab/secrets").mkdir()
    steps.destroy()
    assert removed == [(checkout / ".lab/secrets", True)]
    assert list(checkout.iterdir()) == []


def test_no_libvirt_is_started_while_the_lab_is_removed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `outlive report`, say, which doesn't hold the lab: its folder would go away below it."""
    refused: list[str] = []

    def begin(_self: Reached, _command: list[str]) -> int:
        with pytest.raises(LabError, match="held"), exclusive(private.lock(), lambda _: "held"):
            pass
        refused.append("a start")
        return 0

    monkeypatch.setattr(Reached, "run", begin)
    steps.destroy()
    assert refused == ["a start"]


@pytest.mark.parametrize("what", ["ensure", "read_catalog", "_clear_leftovers"])
def test_two_commands_at_once_make_ready_one_after_the_other(checkout: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Else both unpack the box in one folder, and the second takes machines that the first one makes for leftovers."""
    seen: list[str] = []

    def note(*_: object, **__: object) -> private.Init:
        with pytest.raises(LabError, match="held"), exclusive(private.lock(), lambda _: "held"):
            pass
        seen.append("held")
        return private.Init(1, 0, "")

    (checkout / "full.json").touch()
    for module, name in ((private, "ensure"), (box, "read_catalog"), (reach, "_clear_leftovers")):
        monkeypatch.setattr(module, name, note if name == what else lambda *_, **__: private.Init(1, 0, ""))
    monkeypatch.setattr(private, "current", lambda: None)
    monkeypatch.setattr(private, "serve_mirror", lambda _: None)
    monkeypatch.setattr(box, "stage", lambda *_: None)
    monkeypatch.setattr(reach, "copy_kubectl", lambda: None)
    monkeypatch.setattr(reach, "SCENARIOS", checkout / "molecule")
    monkeypatch.setattr(reach, "machine_ids", dict)
    monkeypatch.setattr(reach, "_catalog", lambda _: checkout / "full.json")
    reach.reach(Settings("libvirt", "qemu", "mirror", private=True, why=""))
    assert seen == ["held"]


class Snapshots(Reached):
    """A lab that says which machines have the snapshot, and notes the steps."""

    def __init__(self, have: int) -> None:
        self.listing = "snapshot,fresh\n" * have
        self.steps: list[str] = []

    def output(self, command: list[str], timeout: float = 120) -> str:
        """List the snapshots."""
        return self.listing

    def require_libvirt(self) -> None:
        """Be there."""

    def step(self, what: str, *_: object, **__: object) -> float:
        """Note a step."""
        self.steps.append(what)
        return 1.0


def machines(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(steps, "machine_ids", lambda: {f"k8s-{each}": str(each) for each in range(number)})


def test_lab_with_a_machine_that_came_later_is_not_half_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Snapshots(have=3)
    machines(monkeypatch, 4)
    monkeypatch.setattr(steps, "reach", lambda: fake)
    with pytest.raises(LabError, match="1 of 4 machines came after the snapshot of the fresh cluster, which can't go back without them"):
        steps.reset()
    assert fake.steps == []


def test_lab_is_not_put_back_without_what_tells_that_it_is_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten minutes later, it would be said that no node is Ready."""
    fake = Snapshots(have=3)
    machines(monkeypatch, 3)
    monkeypatch.setattr(steps, "reach", lambda: fake)
    monkeypatch.setattr(paths, "KUBECTL", tmp_path / "kubectl")
    with pytest.raises(LabError, match="no kubectl of its own"):
        steps.reset()
    assert fake.steps == []


def test_snapshot_of_the_fresh_cluster_is_never_one_of_a_used_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machines(monkeypatch, 4)
    monkeypatch.setattr(steps, "STATE", tmp_path)
    cut_short = Snapshots(have=1)
    steps._snapshot(cut_short)
    assert "snapshot" in cut_short.steps
    (tmp_path / "tutorial").mkdir()
    used = Snapshots(have=3)
    assert steps._snapshot(used) == 0.0
    assert used.steps == []


def test_system_libvirt_that_refuses_this_user_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vagrant's own words name none."""
    monkeypatch.setattr(reach, "system_libvirt", lambda: False)
    with pytest.raises(LabError, match=r"the system's libvirt doesn't answer this user .* join its group"):
        Reached(Settings("libvirt", "kvm", "upstream", private=False, why=""), None).require_libvirt()
    Reached(Settings("virtualbox", None, "upstream", private=False, why=""), None).require_libvirt()
    Reached(Settings("libvirt", "qemu", "mirror", private=True, why=""), private.Init(1, 0, "")).require_libvirt()


def test_bench_does_not_remove_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "machine_ids", lambda: {"k8s-master": "1"})
    with pytest.raises(LabError, match="this checkout has a lab, and what is measured is how a new one is made: run `outlive destroy`"):
        bench.run(cold=False)


def test_command_that_gives_no_answer() -> None:
    with pytest.raises(LabError, match=r"`sleep 600` gave no answer within 0 s"):
        Reached(decide(), None).output(["sleep", "600"], timeout=0.2)
