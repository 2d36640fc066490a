"""Exercises: how a stage is set and taken away, the command line, and its errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from outlive import cli
from outlive.base.errors import EXIT_FAIL, EXIT_INTERRUPTED, EXIT_PASS, EXIT_UNKNOWN, LabError, UnreachableError
from outlive.base.wait import WaitTimeoutError
from outlive.course.exercises import EXERCISES, LABEL, LIST_FILES, Stage, numbered, parse_files
from outlive.course.grading import File
from outlive.course.pages import Ran
from outlive.course.walk import on_machine
from outlive.lab import inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Output
from tests import samples
from tests.course import stages
from tests.course.stages import EXPORT, FakeRemote, Here
from tests.course.test_grading import solved
from tests.fake_api import FakeApi, listing
from tests.samples import ManualClock

pytestmark = pytest.mark.usefixtures("in_lab")

THIRD = EXERCISES[2]


def named(name: str, **meta: Any) -> dict[str, Any]:  # noqa: ANN401  the API's JSON
    """Return an object of which only its metadata counts."""
    return {"metadata": {"name": name, **meta}}


@dataclass
class FakeHost:
    """A host whose commands end as prepared; ``fail`` is a part of the command that fails."""

    told: list[str] = field(default_factory=list)
    fail: str = "nothing"

    def run(self, command: str, variables: dict[str, str]) -> Ran:
        """Remember the command."""
        assert list(variables) == ["KUBECONFIG", "PATH"]
        self.told.append(command)
        return Ran(1, ("first line", "it said no")) if self.fail in command else Ran(0, ())


@pytest.fixture
def host() -> FakeHost:
    """Return a host on which all goes well."""
    return FakeHost()


@pytest.fixture
def machines() -> FakeRemote:
    """Return machines on which all goes well."""
    return FakeRemote()


@pytest.fixture
def empty(api: FakeApi) -> FakeApi:
    """Return the API of a cluster without exercises."""
    api.answers["/api/v1/namespaces"] = [listing(named("default"), named("exercise-30"))]
    api.answers["/api/v1/persistentvolumes"] = [listing(samples.volume(), named("exercise-30-x"))]
    return api


@pytest.fixture
def stage(empty: FakeApi, fake_cluster: Cluster, machines: FakeRemote, host: FakeHost, clock: ManualClock, tmp_path: Path) -> Stage:
    """Return the exercises' view of a lab in which none is set."""
    del empty
    return Stage(stages.lab(fake_cluster, machines, clock), host.run, tmp_path)


def there(api: FakeApi, label: bool = True, **meta: Any) -> None:  # noqa: ANN401  the API's JSON
    """Have exercise 3's stage in the cluster, with nothing in it."""
    labels = {LABEL: "set"} if label else {}
    api.answers["/api/v1/namespaces"] = [listing(named("default"), named("exercise-3", labels=labels, **meta))]
    api.answers["/api/v1/namespaces/exercise-3/pods"] = [listing()]
    api.answers["/api/v1/namespaces/exercise-3/persistentvolumeclaims"] = [listing()]
    api.answers["/apis/apps/v1/namespaces/exercise-3/deployments"] = [listing()]


def removed(machines: FakeRemote) -> list[tuple[str, ...]]:
    """Return the machines on which folders were removed, each with these; nothing else was done there."""
    assert {told[3] for told in machines.told} == {'rm -rf --one-file-system -- "$@"'}
    return [(told[0], *told[4:]) for told in machines.told]


def test_without_the_lab_s_kubectl_nothing_is_touched(stage: Stage, host: FakeHost, machines: FakeRemote, kubectl: Path) -> None:
    kubectl.unlink()
    with pytest.raises(LabError, match="no kubectl of its own"):
        stage.set(THIRD)
    assert (host.told, machines.told) == ([], [])


def test_stage_is_set(stage: Stage, host: FakeHost, machines: FakeRemote, tmp_path: Path) -> None:
    stage.set(THIRD)
    path = tmp_path / ".lab/exercises/03-released-volume.yml"
    text = path.read_text()
    assert "path: /export/exercise-3/letters" in text
    assert "server: 192.0.2.10" in text
    assert "$" not in text
    assert [command.split()[1:4] for command in host.told] == [
        ["create", "namespace", "exercise-3"],
        ["--namespace", "exercise-3", "wait"],
        ["apply", "--filename", str(path)],
        ["wait", "--for=jsonpath='{.status.phase}'=Released", "--timeout=3m"],
        ["label", "namespace", "exercise-3"],
    ]
    machine, _, _, script, folder = machines.told[-1]
    assert (machine, folder) == ("m", "/export/exercise-3")
    assert script == 'set -eu; mkdir -p "$1"; cd "$1"\n' + THIRD.script("server.sh")


def test_stage_on_nodes_says_so(stage: Stage, host: FakeHost) -> None:
    """Its namespace lets in what no other one does, before its pods come."""
    stage.set(EXERCISES[6])
    told = [" ".join(command.split()[1:5]) for command in host.told]
    assert told[:2] == ["create namespace exercise-7", "label namespace exercise-7 pod-security.kubernetes.io/enforce=privileged"]


def test_stage_is_put_back_to_its_beginning(stage: Stage, empty: FakeApi, host: FakeHost, machines: FakeRemote, tmp_path: Path) -> None:
    """Pods and claims go first, then what they are in, then the folder; foreign finalizers are taken off, the cluster's own stay."""
    there(empty)
    empty.answers["/api/v1/namespaces"].append(listing(named("default")))
    volumes = listing(samples.volume(), named("exercise-3-letters", finalizers=["kubernetes.io/pv-protection"]))
    empty.answers["/api/v1/persistentvolumes"] = [volumes, volumes, volumes, listing(samples.volume())]
    claim = named("new", finalizers=["example.com/x", "kubernetes.io/pvc-protection"])
    empty.answers["/api/v1/namespaces/exercise-3/persistentvolumeclaims"] = [listing(claim), listing(claim), listing()]
    written = tmp_path / ".lab/exercises/03-released-volume.yml"
    written.parent.mkdir(parents=True)
    written.touch()
    stage.reset([THIRD])
    assert not written.exists()
    kept = json.dumps({"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}})
    assert host.told == [
        "kubectl --namespace exercise-3 delete deployments,replicasets,pods,persistentvolumeclaims --all --grace-period=1 --wait=false",
        f"kubectl --namespace exercise-3 patch persistentvolumeclaims/new --type=merge --patch '{kept}'",
        "kubectl delete --ignore-not-found --wait=false namespace/exercise-3 persistentvolume/exercise-3-letters",
    ]
    assert removed(machines) == [("m", "/export/exercise-3")]


def test_nothing_to_take_away(stage: Stage, host: FakeHost, machines: FakeRemote) -> None:
    """Folders are taken away all the same, those of workers too; another exercise's namespace isn't taken for one of ours."""
    stage.reset(EXERCISES)
    assert host.told == []
    folders = tuple(f"{EXPORT}/exercise-{number}" for number in range(1, len(EXERCISES) + 1))
    assert removed(machines) == [("m", *folders), ("n1", "/srv/exercise-7"), ("n2", "/srv/exercise-7")]


def test_stage_that_doesn_t_go_away(stage: Stage, empty: FakeApi, machines: FakeRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive.course.exercises.GONE_SECONDS", 6)
    there(empty)
    with pytest.raises(
        WaitTimeoutError, match="what is left of the exercises: wanted nothing, last seen namespace/exercise-3, gave up after 6 s"
    ):
        stage.reset([THIRD])
    assert machines.told == []


def test_pod_that_doesn_t_go_away(stage: Stage, empty: FakeApi, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and its namespace isn't touched."""
    monkeypatch.setattr("outlive.course.exercises.GONE_SECONDS", 6)
    there(empty)
    empty.answers["/api/v1/namespaces/exercise-3/pods"] = [listing(named("reader"))]
    with pytest.raises(WaitTimeoutError, match="what runs in the exercises: wanted nothing, last seen pods/reader, gave up after 6 s"):
        stage.reset([THIRD])
    assert not any("delete --ignore-not-found" in command for command in host.told)


def test_object_that_can_t_be_made(stage: Stage, host: FakeHost) -> None:
    host.fail = "kubectl apply"
    with pytest.raises(LabError, match=r"`kubectl apply .*` ended with status 1 \(it said no\): .*run `outlive exercise start 3` again\."):
        stage.set(THIRD)
    assert not any("label" in command for command in host.told)


def test_check(stage: Stage, empty: FakeApi, machines: FakeRemote) -> None:
    there(empty)
    machines.answer = Output(0, "0 755 \n0 755 letters\n0 644 letters/letter\n\n./letters/letter:keep me\n", "")
    findings = stage.check(THIRD)
    assert "The volume exercise-3-letters isn't there; wanted: the one that was." in findings
    assert not any("letter on the NFS server" in finding for finding in findings)


@pytest.mark.parametrize(
    ("label", "meta", "state"),
    [
        (None, {}, "isn't there"),
        (False, {}, "was set only in part"),
        (True, {"deletionTimestamp": "2026-01-02T03:04:05Z"}, "is going away"),
    ],
)
def test_check_before_its_stage(stage: Stage, empty: FakeApi, label: bool | None, meta: dict[str, str], state: str) -> None:
    if label is not None:
        there(empty, label, **meta)
    with pytest.raises(LabError, match=rf"The stage of exercise 3 \(namespace exercise-3\) {state}: .*`outlive exercise start 3`"):
        stage.check(THIRD)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Output(1, "0 755 \n", "find: gone"), r"on m ended with status 1 \(find: gone\)"),
        (Output(124, "0 755 \n\n", ""), r"on m didn't end within 120 s"),
        (Output(0, "", ""), "gave no list of the exercise's files"),
        (Output(0, "\n", ""), "gave no list of the exercise's files"),
        (Output(0, "0 755 \n0 755 letters", ""), "gave no list of the exercise's files"),
        (Output(0, "0 755 letters\n\n", ""), "gave no list of the exercise's files"),
    ],
)
def test_server_that_gives_no_whole_listing(stage: Stage, empty: FakeApi, machines: FakeRemote, answer: Output, sentence: str) -> None:
    """Whether the exercise is solved isn't known then: a file that wasn't listed isn't one that is missing."""
    there(empty)
    machines.answer = answer
    with pytest.raises(UnreachableError, match=sentence):
        stage.check(THIRD)


def test_folder_that_the_server_does_not_have(stage: Stage, empty: FakeApi, machines: FakeRemote) -> None:
    there(empty)
    machines.answer = Output(0, "no folder\n", "")
    assert any("letter on the NFS server isn't there" in finding for finding in stage.check(THIRD))


def test_inventory_without_image(fake_cluster: Cluster, small_inventory: inventory.Inventory) -> None:
    with pytest.raises(LabError, match="The NFS server m has no literal nfs_server_export"):
        Stage(Lab(small_inventory, fake_cluster, FakeRemote()))
    listing = json.loads(json.dumps(samples.INVENTORY))
    listing["_meta"]["hostvars"]["m"]["nfs_server_export"] = EXPORT
    with pytest.raises(LabError, match="no literal storage_tutorial_busybox_image"):
        Stage(Lab(inventory.parse(listing, "of the tests"), fake_cluster, FakeRemote()))


def test_files_are_read_as_the_server_lists_them(tmp_path: Path) -> None:
    """The real commands, on this machine."""
    folder = tmp_path / "a folder"

    def files() -> dict[str, File]:
        done = on_machine(Here(), "m", LIST_FILES, str(folder))
        assert done.status == 0, done.stderr
        return parse_files(done.stdout)

    assert files() == {}
    folder.mkdir()
    assert files() == {}
    (folder / "sub").mkdir(mode=0o755)
    (folder / "sub").chmod(0o2775)
    owner = folder.stat().st_uid
    assert files() == {"sub": File(owner, 0o2775)}
    (folder / "sub" / "two words").write_text("a: b\n\nlast")
    (folder / "sub" / "two words").chmod(0o640)
    (folder / "none").touch(mode=0o644)
    (folder / "none").chmod(0o644)
    assert files() == {
        "sub": File(owner, 0o2775),
        "sub/two words": File(owner, 0o640, "a: b\n\nlast\n"),
        "none": File(owner, 0o644),
    }


@pytest.mark.parametrize("text", ["", "0", str(len(EXERCISES) + 1), "x", "-1", "3.0", "³"])
def test_number_that_is_no_exercise(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LabError, match=rf"^'{text}' is no exercise: choose a number from 1 to 9, as in `outlive exercise start 3`; docs/"):
        numbered(text)
    for action in ("start", "check", "reset"):
        assert cli.main(["exercise", action, "--", text]) == EXIT_UNKNOWN
        assert f"{text!r} isn't known: choose one of 1, 2, 3, 4, 5, 6, 7, 8, 9" in capsys.readouterr().err


def test_numbers() -> None:
    assert [numbered(str(each.number)) for each in EXERCISES] == list(EXERCISES)
    assert numbered("03") is THIRD
    assert [each.number for each in EXERCISES] == list(range(1, len(EXERCISES) + 1))


def test_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["exercise", "start"]) == EXIT_UNKNOWN
    assert "Missing argument 'NUMBER'" in capsys.readouterr().err


@pytest.fixture
def command_line(stage: Stage, fake_cluster: Cluster, machines: FakeRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line work on the prepared lab."""

    @contextmanager
    def prepared() -> Iterator[Lab]:
        yield stages.lab(fake_cluster, machines)

    monkeypatch.setattr("outlive.lab.session.connect", prepared)
    monkeypatch.setattr("outlive.course.exercises.Stage", lambda _: stage)


@pytest.mark.usefixtures("command_line")
def test_statuses_of_a_check(empty: FakeApi, machines: FakeRemote, capsys: pytest.CaptureFixture[str]) -> None:
    machines.answer = Output(0, "no folder\n", "")
    assert cli.main(["exercise", "check", "3"]) == EXIT_UNKNOWN
    assert "(namespace exercise-3) isn't there" in capsys.readouterr().err
    there(empty)
    assert cli.main(["exercise", "check", "3"]) == EXIT_FAIL
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "not solved yet: 3. A released volume"
    assert all(line.startswith("- The ") for line in out[:-1])
    stages.show(empty, machines, solved(3))
    assert cli.main(["exercise", "check", "3"]) == EXIT_PASS
    assert capsys.readouterr().out == "solved: 3. A released volume\n"


@pytest.mark.usefixtures("command_line")
def test_no_answer_is_neither_solved_nor_unsolved(empty: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    empty.answers["/api/v1/namespaces"] = [503]
    for action in ("start", "check", "reset"):
        assert cli.main(["exercise", action, "3"]) == EXIT_UNKNOWN
        assert "error: Nothing is known of the exercise, as the API server" in capsys.readouterr().err
    there(empty)
    empty.answers["/api/v1/namespaces/exercise-3/pods"] = [500]
    assert cli.main(["exercise", "check", "3"]) == EXIT_UNKNOWN
    assert "see `outlive doctor`, then run this again." in capsys.readouterr().err


@pytest.mark.usefixtures("command_line")
def test_start_and_reset(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["exercise", "start", "3"]) == EXIT_PASS
    assert "written down in .lab/exercises/03-released-volume.yml" in capsys.readouterr().out
    assert cli.main(["exercise", "reset"]) == EXIT_PASS
    assert "exercise-1, " in capsys.readouterr().out

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stage, "reset", interrupted)
    for action in ("start", "reset"):
        assert cli.main(["exercise", action, "3"]) == EXIT_INTERRUPTED


def test_no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("outlive.lab.inventory.load", stages.small_inventory)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for number in (["3"], []):
        assert cli.main(["exercise", "check", *number]) == EXIT_UNKNOWN
        assert "(KUBECONFIG) isn't there: it has to be a file that `outlive provision` writes" in capsys.readouterr().err


def test_server_that_is_off(stage: Stage, empty: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    there(empty)

    def off(*_: object) -> Output:
        raise UnreachableError("ssh to m failed")

    monkeypatch.setattr(FakeRemote, "run", off)
    with pytest.raises(UnreachableError):
        stage.check(THIRD)
