"""The way through the pages: what runs where, and what a failure means for the rest of a page."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outlive.base.errors import LabError, NotFoundError, UnreachableError
from outlive.base.paths import ROOT
from outlive.course.pages import Page, Ran, parse
from outlive.course.walk import FIND, KEPT_FOLDER, Ground, PageLieError, Shells, Walk, on_host
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Output
from tests.course.stages import FakeRemote, lab
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


@dataclass
class FakeLab:
    """A lab whose commands give prepared answers, and in which there are things."""

    answers: dict[str, Ran | Exception] = field(default_factory=lambda: {"make": Ran(0, ("made",)), "fail": Ran(1, ()), "look": Ran(0, ())})
    things: set[str] = field(default_factory=lambda: {"pod/other"})
    ran: list[str] = field(default_factory=list)
    cleared: list[frozenset[str]] = field(default_factory=list)
    looks: int = 0
    wear: Callable[[], None] = lambda: None

    def run(self, place: str, text: str) -> Ran:
        """Give the prepared answer."""
        self.ran.append(f"{place}$ {text}")
        answer = self.answers[text]
        if isinstance(answer, Exception):
            raise answer
        if text == "make":
            self.things.add("pod/made")
        if text == "look":
            self.things.discard("pod/made")
        return answer

    def look(self) -> frozenset[str]:
        """Say what there is."""
        self.looks += 1
        self.wear()
        return frozenset(self.things)

    def clear(self, left: frozenset[str]) -> None:
        """Take away."""
        self.cleared.append(left)
        self.things -= left


@pytest.fixture
def fake() -> FakeLab:
    """Return a lab in which the page is true."""
    return FakeLab()


@pytest.fixture
def walk(fake: FakeLab, clock: ManualClock) -> Walk:
    """Return a way through its pages."""
    return Walk(fake.run, fake.look, fake.clear, clock)


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


def test_page_that_is_begun_in_the_middle(walk: Walk, fake: FakeLab) -> None:
    with pytest.raises(LabError, match=r"docs/a\.md:8: not run, as the blocks above it weren't: .*-k a`"):
        walk.take(page(), page().blocks[1])
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


def test_host_shell() -> None:
    assert on_host("echo out; echo err >&2; echo $WORD; exit 3", {"WORD": "a b"}) == Ran(3, ("out", "err", "a b"))
    assert on_host("pwd; read -r x", {}).lines == (str(ROOT),)
    assert on_host("until [ 1 = 1 ]; do sleep 9; done", {}) == Ran(0, ())


def test_command_that_hangs_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"`sleep 600 \| cat` didn't end within 0 s"):
        on_host("sleep 600 | cat", {}, seconds=0.2)
    assert time.monotonic() - began < 60


class Server(FakeRemote):
    """An NFS server whose folders come and go: the first list is none."""

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Give a list that isn't whole, then one that is."""
        super().run(name, command, *arguments)
        return Output(1, "/nfsdata/kept\n", "find: gone") if len(self.told) == 1 else Output(0, "/nfsdata/kept\n/nfsdata/other\n", "")


def test_a_list_that_is_not_whole_is_asked_for_again(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive.course.walk.on_host", lambda *_: Ran(0, ("pod/mysql",)))
    server = Server()
    assert Ground(lab(fake_cluster, server)).look() == {"pod/mysql", "/nfsdata/kept", "/nfsdata/other"}
    assert len(server.told) == 2


def test_a_list_that_never_comes_whole_is_no_page_that_lies(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive.course.walk.on_host", lambda *_: Ran(0, ("pod/mysql",)))
    monkeypatch.setattr("outlive.course.walk.LOOK_SECONDS", 0)
    with pytest.raises(
        UnreachableError, match=r"wanted a whole list, last seen no answer \(the NFS server gave no list of its files \(find: gone\)"
    ):
        Ground(lab(fake_cluster, FakeRemote(Output(1, "", "find: gone")))).look()


def test_folders_that_are_others_business_are_named_and_not_walked(tmp_path: Path) -> None:
    for file in ("mysql-pv/ibdata1", "lost+found/x", "kept/a", "other"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    found = subprocess.run(
        ["sh", "-c", FIND.replace("%s", "'%s'") % (tmp_path, tmp_path / KEPT_FOLDER, tmp_path / "lost+found")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {str(Path(line).relative_to(tmp_path)) for line in found.stdout.split()} == {"mysql-pv", "lost+found", "kept", "kept/a", "other"}


def test_places(fake_cluster: Cluster, api: FakeApi) -> None:
    remote = FakeRemote(Output(1, "a\nb\n", ""))
    shells = Shells(lab(fake_cluster, remote))
    assert shells.run("", "echo $KUBECONFIG").lines == (str(fake_cluster.kubeconfig),)
    assert shells.run("m", "ls 'x y'") == Ran(1, ("a", "b"))
    assert remote.told == [("m", "timeout %s bash -c %s 2>&1", "1200", "ls 'x y'")]
    with pytest.raises(NotFoundError):
        shells.run("@nobody", "ls")
    shells.run("@mysql-u1", "ls")
    # The pod is gone, its node is where one looks for what it left.
    api.answers[f"{NAMESPACE}/pods/mysql-u1"] = [404]
    shells.run("@mysql-u1", "ls")
    assert [each[0] for each in remote.told] == ["m", "n1", "n1"]
