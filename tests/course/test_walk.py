"""The way through the pages: what runs where, and what a failure means for the rest of a page."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from outlive.base.errors import LabError, NotFoundError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict, of_error
from outlive.base.wait import wait_for
from outlive.course.pages import Command, Page, Ran, parse
from outlive.course.walk import FIND, KEPT_FOLDER, UNMOUNT, Ground, PageLieError, Shells, Walk, on_host, on_machine
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Output
from tests.course.stages import EXPORT, FakeRemote, Here, lab
from tests.fake_api import NAMESPACE, FakeApi
from tests.samples import ManualClock

TEXT = """\
# Chapter

```console
$ make
made
```

```console fails
$ fail
```

```console
n1$ look
```
"""


class Watched:
    """A command in a second terminal, with a prepared end."""

    def __init__(self, answer: Ran | Exception) -> None:
        """It runs."""
        self.answer = answer
        self.ended = False

    def end(self) -> Ran:
        """Say what it printed."""
        assert isinstance(self.answer, Ran)
        assert not self.ended
        self.ended = True
        return self.answer


class FakeLab(Ground):
    """A lab whose commands give prepared answers, and in which there are things: a page owns what its commands name."""

    def __init__(self) -> None:
        """Begin with a page that is true."""
        self.answers: dict[str, Ran | Exception] = {"make": Ran(0, ("made",)), "fail": Ran(1, ()), "look": Ran(0, ())}
        self.things = {"pod/other"}
        self.ran: list[str] = []
        self.watched: list[Watched] = []
        self.cleared: list[frozenset[str]] = []
        self.looks = 0
        self.wear: Callable[[], None] = lambda: None

    def run(self, command: Command) -> Ran:
        """Give the prepared answer."""
        text = command.text
        self.ran.append(command.prompt)
        answer = self.answers[text]
        if isinstance(answer, Exception):
            raise answer
        if text == "make":
            self.things.add("pod/made")
        if text == "look":
            self.things.discard("pod/made")
        return answer

    def begin(self, command: Command) -> Watched:
        """Start what never ends."""
        self.watched.append(Watched(self.answers[command.text]))
        return self.watched[-1]

    def look(self) -> frozenset[str]:
        """Say what there is."""
        self.looks += 1
        self.wear()
        return frozenset(self.things)

    def names(self, command: Command) -> frozenset[str]:
        """Say what a command makes."""
        return frozenset({"pod/made"} if command.text == "make" else ())

    def own(self, names: frozenset[str], left: frozenset[str]) -> frozenset[str]:
        """Say what is a page's: what is named."""
        return left & names

    def clear(self, own: frozenset[str]) -> None:
        """Take away."""
        self.cleared.append(own)
        self.things -= own


@pytest.fixture
def fake() -> FakeLab:
    """Return a lab in which the page is true."""
    return FakeLab()


@pytest.fixture
def walk(fake: FakeLab, clock: ManualClock) -> Walk:
    """Return a way through its pages."""
    return Walk(fake, fake, lambda thing: "exercise-" in thing, clock)


def page(path: str = "docs/a.md") -> Page:
    """Return the page."""
    return parse(TEXT, path)


def follow(walk: Walk, page: Page) -> None:
    """Run all of a page."""
    for block in page.blocks:
        walk.take(page, block)
    walk.leave(page)


def test_true_page(walk: Walk, fake: FakeLab) -> None:
    follow(walk, page())
    follow(walk, page("docs/b.md"))
    assert fake.ran == ["$ make", "$ fail", "n1$ look"] * 2
    assert fake.cleared == []
    # One look at the beginning, and one where each page ends.
    assert fake.looks == 3
    walk.end()
    assert fake.looks == 3


def test_page_begins_with_what_the_page_before_it_took_away(walk: Walk, fake: FakeLab) -> None:
    taker = page()
    for block in taker.blocks:
        walk.take(taker, block)
    fake.things.discard("pod/other")
    walk.leave(taker)
    untidy = page("docs/b.md")
    fake.answers["look"] = Ran(0, ())
    for block in untidy.blocks:
        walk.take(untidy, block)
    fake.things = {"pod/other"}
    with pytest.raises(AssertionError, match=r"the lab after docs/b\.md: wanted nothing that wasn't there before, last seen pod/other"):
        walk.leave(untidy)


def test_page_that_lies_isn_t_run_on(walk: Walk, fake: FakeLab) -> None:
    fake.answers["fail"] = Ran(0, ())
    lies = page()
    walk.take(lies, lies.blocks[0])
    with pytest.raises(PageLieError, match=r"docs/a\.md:9: \$ fail\nThe page says that it fails"):
        walk.take(lies, lies.blocks[1])
    with pytest.raises(LabError, match=r"docs/a\.md:12: not run, as the page failed at line 9: correct that first"):
        walk.take(lies, lies.blocks[2])
    with pytest.raises(LabError, match="not all of it ran"):
        walk.leave(lies)
    assert fake.ran == ["$ make", "$ fail"]
    # What the page had made is gone, what wasn't its own is there, and the next page is not to blame.
    assert fake.cleared == [frozenset({"pod/made"})]
    assert fake.things == {"pod/other"}
    fake.answers["fail"] = Ran(1, ())
    follow(walk, page("docs/b.md"))


def test_page_that_leaves_something(walk: Walk, fake: FakeLab) -> None:
    fake.answers["look"] = Ran(0, ())
    untidy = parse(TEXT.replace("n1$ look", "n1$ fail").replace("```console fails\n$ fail", "```console\n$ make\nmade"), "docs/a.md")
    fake.answers["fail"] = Ran(0, ())
    with pytest.raises(AssertionError, match=r"the lab after docs/a\.md: wanted nothing that wasn't there before, last seen pod/made"):
        follow(walk, untidy)
    assert fake.things == {"pod/other"}


def test_what_appeared_beside_a_page_that_lies_stays(walk: Walk, fake: FakeLab) -> None:
    fake.answers["fail"] = Ran(0, ())
    lies = page()
    walk.take(lies, lies.blocks[0])
    fake.things |= {"pod/theirs", "/export/theirs"}
    with pytest.raises(PageLieError):
        walk.take(lies, lies.blocks[1])
    with pytest.raises(
        LabError, match=r"whole page again\. Appeared meanwhile and isn't this page's, so it stays: /export/theirs, pod/theirs\.$"
    ):
        walk.leave(lies)
    assert fake.things == {"pod/other", "pod/theirs", "/export/theirs"}
    fake.answers["fail"] = Ran(1, ())
    follow(walk, page("docs/b.md"))


def test_what_a_page_leaves_under_a_name_that_it_does_not_say_fails_and_stays(walk: Walk, fake: FakeLab) -> None:
    untidy = page()
    walk.take(untidy, untidy.blocks[0])
    fake.things.add("pod/unforeseen")
    for block in untidy.blocks[1:]:
        walk.take(untidy, block)
    with pytest.raises(
        PageLieError,
        match=r"last seen pod/unforeseen, gave up after 180 s\. Appeared meanwhile and isn't this page's, so it stays: pod/unforeseen\.",
    ):
        walk.leave(untidy)
    assert fake.cleared == []
    assert "pod/unforeseen" in fake.things


def test_exercises_are_worked_on_beside_a_page(walk: Walk, fake: FakeLab) -> None:
    def wear() -> None:
        fake.things.add(f"pv/exercise-{fake.looks}")

    fake.wear = wear
    follow(walk, page())
    walk.take(page("docs/b.md"), page().blocks[0])
    assert walk.end() == frozenset()
    assert fake.cleared == [frozenset({"pod/made"})]
    assert "pv/exercise-2" in fake.things


def test_what_an_interrupted_command_made_is_the_page_s(walk: Walk, fake: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Command) -> Ran:
        fake.things.add("pod/made")
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        walk.take(page(), page().blocks[0])
    walk.end()
    assert fake.cleared == [frozenset({"pod/made"})]


def test_what_goes_a_little_later_is_no_fault(walk: Walk, fake: FakeLab, clock: ManualClock) -> None:
    fake.things.add("pv/slow")
    slow = page()

    def wear() -> None:
        if fake.looks == 2:
            fake.things.add("pod/recycler")
        if clock.seconds > 10:
            fake.things.discard("pod/recycler")

    fake.wear = wear
    follow(walk, slow)
    assert clock.seconds > 10


def test_lab_that_gives_no_list_after_a_page_proves_nothing(walk: Walk, fake: FakeLab) -> None:
    def wear() -> None:
        if fake.looks > 1:
            raise UnreachableError("the cluster gave no list of its objects")

    fake.wear = wear
    with pytest.raises(LabError, match="gave no list") as error:
        follow(walk, page())
    assert of_error(error.value) is Verdict.UNKNOWN


def test_page_that_is_begun_in_the_middle(walk: Walk, fake: FakeLab) -> None:
    with pytest.raises(LabError, match=r"docs/04-nfs\.md:8: not run, as the blocks above it weren't: .*`outlive pages 04-nfs`"):
        walk.take(page("docs/04-nfs.md"), page().blocks[1])
    assert fake.ran == []


def test_lab_that_gives_no_answer_proves_nothing(walk: Walk, fake: FakeLab) -> None:
    fake.answers["make"] = UnreachableError("ssh to n1 failed")
    with pytest.raises(LabError, match=r"docs/a\.md:4: ssh to n1 failed: see `outlive doctor`") as error:
        walk.take(page(), page().blocks[0])
    assert not isinstance(error.value, AssertionError)


def test_pod_that_a_page_only_imagines(walk: Walk, fake: FakeLab) -> None:
    fake.answers["make"] = NotFoundError("The cluster has no pod default/x.")
    with pytest.raises(PageLieError, match=r"docs/a\.md:4: \$ make\nThe cluster has no pod"):
        walk.take(page(), page().blocks[0])


def test_interrupted_page_is_taken_away(walk: Walk, fake: FakeLab) -> None:
    walk.take(page(), page().blocks[0])
    walk.end()
    walk.end()
    assert fake.cleared == [frozenset({"pod/made"})]


EXEC = """\
# Chapter

```console
$ kubectl -n x exec a -c b -- cat /data/hello
hello
```
"""


@pytest.mark.parametrize(("answers", "true"), [([(), ("hello",)], True), ([(), ()], False)])
def test_empty_answer_is_asked_for_once_more(
    fake: FakeLab, monkeypatch: pytest.MonkeyPatch, answers: list[tuple[str, ...]], true: bool
) -> None:
    """A stream of `kubectl exec` may break and say nothing; data that is gone is gone at the second look too."""
    given = iter(answers)
    monkeypatch.setattr(fake, "run", lambda _: Ran(0, next(given)))
    walk = Walk(fake, fake)
    read = parse(EXEC, "docs/a.md")
    with nullcontext() if true else pytest.raises(PageLieError, match="- hello"):
        walk.take(read, read.blocks[0])
    assert list(given) == []


@pytest.mark.parametrize(
    "command", ["kubectl exec a -- sh -c 'echo x >> /data/y'", "kubectl exec a -- ls /data && rm x", "kubectl get pods"]
)
def test_what_may_change_something_runs_once(fake: FakeLab, command: str) -> None:
    fake.answers[command] = Ran(0, ())
    lies = parse(EXEC.replace("kubectl -n x exec a -c b -- cat /data/hello", command), "docs/a.md")
    with pytest.raises(PageLieError):
        Walk(fake, fake).take(lies, lies.blocks[0])
    assert fake.ran == [f"$ {command}"]


WATCHING = """\
# Chapter

## Watch

```console beside
$ watch
one
…
three
```

```console
$ make
made
```

## Afterwards

```console
n1$ look
```
"""


@pytest.mark.parametrize(("lines", "true"), [(("one", "two", "three"), True), (("one", "two"), False)])
def test_second_terminal_is_compared_when_its_section_ends(walk: Walk, fake: FakeLab, lines: tuple[str, ...], true: bool) -> None:
    fake.answers["watch"] = Ran(0, lines)
    watching = parse(WATCHING, "docs/a.md")
    for block in watching.blocks[:2]:
        walk.take(watching, block)
    assert not fake.watched[0].ended
    with nullcontext() if true else pytest.raises(PageLieError, match=r"docs/a\.md:6: \$ watch\n(.*\n)+- three"):
        walk.take(watching, watching.blocks[2])
    assert fake.watched[0].ended
    with nullcontext() if true else pytest.raises(LabError, match="not all of it ran"):
        walk.leave(watching)


def test_second_terminal_is_compared_where_the_page_ends(walk: Walk, fake: FakeLab) -> None:
    fake.answers["watch"] = Ran(1, ("error: no such pod",))
    watching = parse(WATCHING.partition("## Afterwards")[0].replace("$ make\nmade", "$ fail"), "docs/a.md")
    fake.answers["fail"] = Ran(0, ())
    for block in watching.blocks:
        walk.take(watching, block)
    with pytest.raises(PageLieError, match=r"It failed with status 1\.\n(.*\n)+- one\n"):
        walk.leave(watching)


def test_second_terminal_ends_with_a_page_that_is_cut_short(walk: Walk, fake: FakeLab) -> None:
    fake.answers["watch"] = Ran(0, ())
    watching = parse(WATCHING, "docs/a.md")
    walk.take(watching, watching.blocks[0])
    walk.end()
    assert fake.watched[0].ended


def test_host_shell() -> None:
    assert on_host("echo out; echo err >&2; echo $WORD; exit 3", {"WORD": "a b"}) == Ran(3, ("out", "err", "a b"))
    assert on_host("pwd; read -r x", {}).lines == (str(ROOT),)
    assert on_host("until [ 1 = 1 ]; do sleep 9; done", {}) == Ran(0, ())
    assert on_host("echo $LC_ALL; printf 'caf\\xc3\\xa9'", {}).lines == ("C.UTF-8", "café")


def is_gone(pid: str) -> bool:
    """Say whether a process has ended; one that nobody has waited for yet has."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_command_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"` .* & wait` didn't end within 0 s"):
        on_host(f" sleep 600 & echo $! > {tmp_path}/pid & wait", {}, seconds=0.5)
    await_end((tmp_path / "pid").read_text().strip())


def test_what_a_command_leaves_in_the_background_ends_with_it() -> None:
    await_end(on_host("sleep 600 > /dev/null 2>&1 & echo $!", {}).lines[0])


def test_interrupted_command_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(process: subprocess.Popen[str], timeout: float) -> None:
        wait_for("the command", "begun", (tmp_path / "pid").exists, bool, within=30, every=0.05)
        del process, timeout
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        on_host(f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 600", {})
    await_end((tmp_path / "pid").read_text().strip())


def test_log_of_a_watch_that_kubectl_ended_itself_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        'I1129 17:33:09.799603    6215 reflector.go:664] "Warning: watch ended with error" reflector="k8s.io/client-go@v0.37.2/tools/cache/'
        'reflector.go:343" type="*unstructured.Unstructured" err="an error on the server (\\"unable to decode an event from the watch stream: '
        'context canceled\\") has prevented the request from succeeding"\n'
    )
    log = str(tmp_path / "log")
    assert on_host('cat "$LOG" >&2; echo condition met', {"LOG": log}).lines == ("condition met",)
    other = on_host('sed "s/context canceled/connection refused/" "$LOG"', {"LOG": log}).lines
    assert [line.split()[3] for line in other] == ["reflector.go:664]"]


def test_program_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="the program bash is missing"):
        on_host("true", {"PATH": str(tmp_path)})


def await_end(pid: str) -> None:
    """Wait until a process has ended."""
    wait_for(f"process {pid}", "ended", lambda: is_gone(pid), bool, within=30, every=0.05)


def test_command_on_a_machine() -> None:
    done = on_machine(Here(), "m", 'echo "see $1"\necho err >&2; exit 3', "a b")
    assert done == Output(3, "see a b\n", "err\n")
    with pytest.raises(UnreachableError, match="`sleep 600` on m didn't end within 1 s"):
        on_machine(Here(), "m", "sleep 600", seconds=1)


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mysql"}}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}}
SHUT = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}, "spec": {"unschedulable": True}}


class Kubectl:
    """Gives prepared lists of objects, in turn; the last stays."""

    def __init__(self, *answers: str | list[dict[str, Any]] | LabError) -> None:
        """Nothing was asked for yet."""
        self.answers = list(answers)

    def __call__(self, argv: list[str], timeout: float, env: dict[str, str]) -> str:
        """Give the next list."""
        assert argv[:2] == ["kubectl", "get"]
        assert timeout > 0
        assert env["LC_ALL"] == "C.UTF-8"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, LabError):
            raise answer
        return answer if isinstance(answer, str) else json.dumps({"items": answer})


class Server(FakeRemote):
    """An NFS server that gives prepared answers, in turn; the last stays."""

    def __init__(self, *answers: Output) -> None:
        """Nothing was asked for yet."""
        super().__init__()
        self.answers = list(answers)

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Give the next answer."""
        super().run(name, command, *arguments)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


WHOLE = Output(0, f"{EXPORT}\n{EXPORT}/kept\n", "")


@pytest.mark.parametrize(
    "broken",
    [Output(1, f"{EXPORT}\n", "find: gone"), Output(0, "", ""), Output(0, f"{EXPORT}/kept\n", ""), Output(124, f"{EXPORT}\n", "")],
)
def test_a_list_of_files_that_is_not_whole_is_asked_for_again(
    fake_cluster: Cluster, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, broken: Output
) -> None:
    monkeypatch.setattr("outlive.course.walk.output", Kubectl([POD, NODE, SHUT]))
    server = Server(broken, WHOLE)
    assert Ground(lab(fake_cluster, server, clock)).look() == {"pod/mysql", "cordoned/n2", f"{EXPORT}/kept"}
    assert len(server.told) == 2


def test_pages_begin_only_with_the_lab_s_kubectl(fake_cluster: Cluster, kubectl: Path) -> None:
    kubectl.unlink()
    with pytest.raises(LabError, match="no kubectl of its own"):
        Ground(lab(fake_cluster, Server(WHOLE)))


@pytest.mark.parametrize("broken", ["", "{", "{}", [], [POD], LabError("`kubectl get` ended with status 1: no route")])
def test_a_list_of_objects_that_is_not_whole_is_asked_for_again(
    fake_cluster: Cluster, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, broken: str | list[dict[str, Any]] | LabError
) -> None:
    monkeypatch.setattr("outlive.course.walk.output", Kubectl(broken, [POD, NODE]))
    assert Ground(lab(fake_cluster, Server(WHOLE), clock)).look() == {"pod/mysql", f"{EXPORT}/kept"}
    assert clock.seconds > 0


def test_a_list_that_never_comes_whole_is_no_page_that_lies(
    fake_cluster: Cluster, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlive.course.walk.output", Kubectl([POD, NODE]))
    with pytest.raises(
        UnreachableError, match=r"wanted a whole list, last seen no answer \(the NFS server gave no list of its files \(find: gone\)"
    ):
        Ground(lab(fake_cluster, Server(Output(1, "", "find: gone")), clock)).look()


def test_folders_that_are_others_business_are_named_and_not_walked(tmp_path: Path) -> None:
    for file in ("mysql-pv/ibdata1", "lost+found/x", "kept/a", "other"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    found = on_machine(Here(), "m", FIND, str(tmp_path), str(tmp_path / KEPT_FOLDER), str(tmp_path / "lost+found")).stdout.splitlines()
    assert found[0] == str(tmp_path)
    assert {str(Path(line).relative_to(tmp_path)) for line in found[1:]} == {"mysql-pv", "lost+found", "kept", "kept/a", "other"}


def test_what_a_page_owns_is_asked_from_the_cluster(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = {**POD, "metadata": {"name": "web-1", "ownerReferences": [{"kind": "Job", "name": "web"}]}}
    monkeypatch.setattr("outlive.course.walk.output", Kubectl([pod, NODE]))
    ground = Ground(lab(fake_cluster, Server(WHOLE)))
    left = frozenset({"pod/web-1", "pod/theirs", "job.batch/web", "/export/web/x"})
    names = frozenset({"job/web", "/export/web"})
    assert ground.own(names, left) == left - {"pod/theirs"}
    mounted = frozenset({"mounted/n1"})
    assert ground.own(names | mounted, left) == left - {"pod/theirs"} | mounted
    assert ground.own(names | mounted, frozenset()) == mounted
    # That a node is off, and another recovery profile in force, no list says either.
    changed = frozenset({"lab/off", "lab/profile"})
    assert ground.own(names | changed, frozenset()) == changed


def test_only_what_is_own_is_taken_away(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("outlive.course.walk.on_host", lambda text, _: told.append(text))
    server = Server(Output(0, "", ""))
    Ground(lab(fake_cluster, server)).clear(frozenset({"pod/a", "job.batch/b", "cordoned/n1", "/export/x y", "mounted/n2"}))
    # With what it made: the folder is a pod's, and goes behind it.
    delete = "kubectl delete --namespace default --ignore-not-found --cascade=foreground --timeout=180s job.batch/b pod/a"
    assert told == ["kubectl uncordon n1", delete]
    assert [(each[0], *each[3:]) for each in server.told[:1]] == [("m", 'rm -rf --one-file-system -- "$1"', "/export/x y")]
    assert [(each[0], *each[3:]) for each in server.told[1:]] == [("n2", UNMOUNT, "/export")]


def test_lab_is_put_right_after_a_page_that_stopped_halfway(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines first: a playbook needs all of them."""
    told: list[str] = []
    monkeypatch.setattr("outlive.course.walk.on_host", lambda text, _: told.append(text))
    ground = Ground(lab(fake_cluster, Server(Output(0, "", ""))))
    for text, names in (
        ("vagrant ssh n1 --command 'sudo systemctl poweroff'", {"lab/off"}),
        ("ansible-playbook playbooks/site.yml --tags recovery_profile -e recovery_profile=tuned", {"lab/profile"}),
        ("kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute", {"lab/out-of-service/n1"}),
        ("kubectl taint node n1 node.kubernetes.io/out-of-service-", set[str]()),
        ("systemctl stop kubelet", {"lab/kubelet"}),
        ("systemctl start kubelet", set[str]()),
        ("vagrant up", set[str]()),
    ):
        assert ground.names(Command(1, "", text)) == names
    ground.clear(frozenset({"lab/off", "lab/profile", "lab/kubelet", "lab/out-of-service/n1"}))
    assert told == [
        "vagrant up",
        "ansible cluster --become -m ansible.builtin.service -a 'name=kubelet state=started'",
        "ansible-playbook playbooks/site.yml playbooks/tutorial.yml --tags recovery_profile",
        "kubectl taint node n1 node.kubernetes.io/out-of-service-",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a folder immutable")
def test_mount_point_is_taken_away_however_far_the_page_came(tmp_path: Path) -> None:
    folder = tmp_path / "nfsdata"
    folder.mkdir()
    if on_machine(Here(), "m", 'chattr +i "$1"', str(folder)).status != 0:
        pytest.skip("this file system has no immutable files")
    for _ in ("it is there", "it isn't"):
        assert on_machine(Here(), "m", UNMOUNT, str(folder)) == Output(0, "", "")
        assert not folder.exists()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of manifests of a checkout."""
    monkeypatch.setattr("outlive.course.walk.ROOT", tmp_path)
    folder = tmp_path / ".lab/tutorial/nfs"
    folder.mkdir(parents=True)
    return folder


def test_names_of_a_command_are_those_of_its_manifests(fake_cluster: Cluster, checkout: Path) -> None:
    (checkout / "a.yml").write_text("kind: Pod\nmetadata: {name: a}\n---\n---\nkind: Service\nmetadata: {name: b}\n")
    (checkout / "list.yaml").write_text(
        "kind: List\nitems:\n- {kind: PersistentVolume, metadata: {name: c}, spec: {nfs: {path: /export/c}}}\n"
    )
    (checkout / "notes.txt").write_text("kind: Pod\nmetadata: {name: d}\n")
    ground = Ground(lab(fake_cluster, FakeRemote()))

    def names(text: str, place: str = "") -> frozenset[str]:
        return ground.names(Command(1, place, text))

    volume = {"persistentvolume/c", "pod/recycler-for-c", "/export/c"}
    assert names("kubectl apply -f .lab/tutorial/nfs/") == {"pod/a", "service/b"} | volume
    assert names("kubectl apply -f .lab/tutorial/nfs/a.yml") == {"pod/a", "service/b"}
    assert names("kubectl apply -f .lab/tutorial/nfs/none.yml") == frozenset()
    assert names("cat .lab/tutorial/nfs/a.yml") == frozenset()
    assert names("mountpoint -q /export || { chattr +i /export && mount -t nfs s:/export /export; }", "n1") == {"mounted/n1"}
    assert names("umount /export; echo mount", "n1") == frozenset()
    (checkout / "broken.yml").write_text("kind: [")
    with pytest.raises(LabError, match=r"broken\.yml isn't YAML .*: run `outlive tutorial apply`, which writes it anew\."):
        names("kubectl apply -f .lab/tutorial/nfs/broken.yml")
    with pytest.raises(LabError, match=r"close its quotes\.$"):
        names("kubectl apply -f '.lab")


def test_places(fake_cluster: Cluster, api: FakeApi) -> None:
    remote = FakeRemote(Output(1, "a\nb\n", ""))
    shells = Shells(lab(fake_cluster, remote))
    assert shells.run(Command(1, "", "echo $KUBECONFIG")).lines == (str(fake_cluster.kubeconfig),)
    assert shells.run(Command(1, "m", "ls 'x y'")) == Ran(1, ("a", "b"))
    assert remote.told[0][0] == "m"
    assert remote.told[0][2:] == ("1200", "exec 2>&1\nls 'x y'")
    with pytest.raises(NotFoundError):
        shells.run(Command(1, "@nobody", "ls"))
    shells.run(Command(1, "@mysql-u1", "ls"))
    # The pod is gone, its node is where one looks for what it left.
    api.answers[f"{NAMESPACE}/pods/mysql-u1"] = [404]
    shells.run(Command(1, "@mysql-u1", "ls"))
    assert [each[0] for each in remote.told] == ["m", "n1", "n1"]
    remote.answer = Output(124, "", "")
    with pytest.raises(UnreachableError, match="`ls` on m didn't end within 1200 s"):
        shells.run(Command(1, "m", "ls"))
