"""Pages of the tutorial: how they are read, and that a page that lies is found out."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import yaml

from outlive import cli
from outlive.base.paths import ROOT
from outlive.course.exercises import EXERCISES
from outlive.course.pages import Block, Command, Page, PageError, Ran, chapters, compare, line_matches, load, names, objection, parse
from verify.tutorial.test_pages import STEPS

PAGE = """\
# A page

Text with `$ code` in it.

```console
$ kubectl get pv mypv1
NAME    CAPACITY   STATUS      AGE
mypv1   1Gi        Available   …
k8s-master$ ls /nfsdata/pv1
@mypod1$ mount \\
> | grep nfs
one
> two
```

## What goes wrong

```console fails
$ false
```
"""


def test_pages_that_need_two_workers() -> None:
    """Those that show a second worker, or a pod that leaves its node: in a lab with one they are left out, and the others aren't."""
    two = {page.name for page in load(ROOT / "docs/tutorial/en", ROOT) if page.moves_between_nodes}
    assert two == {
        "README",
        "02-hostpath",
        "05-access-modes",
        "07-dynamic-provisioning",
        "09-mysql-supported",
        "10-lose-the-node",
        "11-iscsi",
        "12-local-disk",
    }


def test_blocks_and_commands() -> None:
    page = parse(PAGE, "docs/page.md")
    assert page.name == "page"
    assert page.blocks == (
        Block(
            5,
            "A page",
            (
                Command(6, "", "kubectl get pv mypv1", ("NAME    CAPACITY   STATUS      AGE", "mypv1   1Gi        Available   …")),
                Command(9, "k8s-master", "ls /nfsdata/pv1"),
                Command(10, "@mypod1", "mount \\\n| grep nfs", ("one", "> two")),
            ),
        ),
        Block(18, "What goes wrong", (Command(19, "", "false"),), fails=True),
    )
    assert page.blocks[0].commands[1].prompt == "k8s-master$ ls /nfsdata/pv1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("```console\n$ true\n", r"p\.md:1: the block that begins here isn't closed"),
        ("```yaml\na: 1\n```\n", r"p\.md:1: a block begins with '```yaml', and nothing would run it"),
        ("- item\n\n  ```console\n  $ true\n  ```\n", r"p\.md:3: .* at the line's start"),
        ("```console\nhello\n$ true\n```\n", r"p\.md:2: 'hello' comes before any command"),
        ("```console\n```\n", r"p\.md:1: .* has no command"),
        ("```console fails\n$ false\n$ false\n```\n", r"p\.md:1: .* has 2 commands"),
        ("```console beside\n$ watch\n$ watch\n```\n", r"p\.md:1: .* has 2 commands"),
        (
            "```console beside\nn1$ watch\n```\n",
            r"p\.md:2: a second terminal, and a dialogue, are the host's: begin the command with '\$ '\.",
        ),
        ("```console\nn1$ mysql\nmysql> exit\n```\n", r"p\.md:2: a second terminal, and a dialogue, are the host's"),
        ("```console\n$ ls \\\nfile\n```\n", r"p\.md:3: the command above ends with"),
    ],
)
def test_page_that_cannot_be_read(text: str, sentence: str) -> None:
    with pytest.raises(PageError, match=sentence):
        parse(text, "p.md")


def test_order_of_pages(tmp_path: Path) -> None:
    for name in ("02-b.md", "01-a.md", "README.md", "notes.txt"):
        (tmp_path / name).touch()
    assert [page.path for page in load(tmp_path, tmp_path)] == ["README.md", "01-a.md", "02-b.md"]


@pytest.mark.parametrize(
    ("shown", "seen", "is_same"),
    [
        ("mypv1   1Gi   …", "mypv1\t1Gi          7s", True),
        ("mypv1   1Gi   …", "mypv1   2Gi         7s", False),
        ("… is full", "disk 3 is full", True),
        ("a … c", "a b", False),
        ("all is well", "all is well today", False),
        ("all is well", "so all is well", False),
        ("  name: a", "name: a", False),
        ("  name: a", "  name: a", True),
        ("cost: 1.5 (a|b)*", "cost: 1.5 (a|b)*", True),
        ("cost: 1.5", "cost: 125", False),
        ("age 3s… ", "age 3s", True),
    ],
)
def test_lines(shown: str, seen: str, is_same: bool) -> None:
    assert line_matches(shown, seen) is is_same


@pytest.mark.parametrize(
    ("shown", "seen", "is_same"),
    [
        ([], [], True),
        ([], [""], True),
        ([], ["surprise"], False),
        (["a", "b"], ["a", "b", "", ""], True),
        (["a", "b"], ["b", "a"], False),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
        (["…"], [], True),
        (["a", "…", "z"], ["a", "z"], True),
        (["a", "…", "z"], ["a", "b", "z", "c", "z"], True),
        (["a", "…", "z"], ["a", "b", "z", "c"], False),
        (["…", "b", "…"], ["a", "c"], False),
        (["…", "b", "…"], ["a", "b", "c"], True),
        (["a", "", "b"], ["a", "b"], False),
    ],
)
def test_outputs(shown: list[str], seen: list[str], is_same: bool) -> None:
    page = parse("```console\n$ x\n" + "".join(f"{line}\n" for line in shown) + "```\n", "p.md")
    block = page.blocks[0]
    assert (objection(page, block, block.commands[0], Ran(0, tuple(seen))) is None) is is_same


def test_difference_shows_both_sides() -> None:
    shown = ["NAME    STATUS      AGE", "mypv1   Available   …", "…", "end"]
    seen = ["NAME    STATUS   AGE", "mypv1   Bound    7s", "more", "more", "end"]
    assert compare(shown, seen) == [
        "  NAME    STATUS   AGE",
        "- mypv1   Available   …",
        "  mypv1   Bound    7s",
        "  more",
        "  more",
        "  end",
    ]
    assert compare(["a", "b"], ["a", "c"]) == ["  a", "- b", "+ c"]


def lie(text: str, *outputs: Ran) -> str | None:
    """Return what is wrong with the first block of a page when its commands give these outputs."""
    page = parse(text, "docs/lie.md")
    block = page.blocks[0]
    found = (objection(page, block, command, ran) for command, ran in zip(block.commands, outputs, strict=True))
    return next(filter(None, found), None)


def test_true_page() -> None:
    assert lie("```console\n$ echo hello\nhello\n```\n", Ran(0, ("hello",))) is None
    assert lie("```console fails\n$ ls nothing\nls: …\n```\n", Ran(2, ("ls: no such file",))) is None


def test_page_that_shows_another_output() -> None:
    text = "# T\n\n```console\n$ true\n$ kubectl get pv\nmypv1   Available\n```\n"
    assert lie(text, Ran(0, ()), Ran(0, ("mypv1   Bound",))) == "\n".join(
        [
            "docs/lie.md:5: $ kubectl get pv",
            "What it printed (+) isn't what the page shows (-):",
            "- mypv1   Available",
            "+ mypv1   Bound",
        ]
    )


def test_page_that_hides_a_failure() -> None:
    wrong = lie("```console\nk8s-master$ ls nothing\nls: …\n```\n", Ran(2, ("ls: no such file",)))
    assert wrong == "docs/lie.md:2: k8s-master$ ls nothing\nIt failed with status 2.\n  ls: no such file"


def test_page_that_invents_a_failure() -> None:
    wrong = lie("```console fails\n$ true\n```\n", Ran(0, ()))
    assert wrong == "docs/lie.md:2: $ true\nThe page says that it fails, and it ended with status 0."


def test_page_that_keeps_an_output_to_itself() -> None:
    wrong = lie("```console\n$ kubectl apply -f x.yml\n```\n", Ran(0, ("pod/x created",)))
    assert wrong is not None
    assert wrong.endswith("\n+ pod/x created")


def test_block_of_a_page_without_commands() -> None:
    assert Page("p.md", ()).blocks == parse("# Only text\n", "p.md").blocks


def test_names_are_those_of_the_pages_that_are_run() -> None:
    assert names()[:2] == ["README", "01-emptydir"]
    assert names() == list(dict.fromkeys(step.page.name for step in STEPS))


def test_each_name_chooses_its_page_alone() -> None:
    """`outlive pages NAME` hands it to pytest as a part of the tests' names."""
    others = [str(step) for step in STEPS] + [each.slug for each in EXERCISES]
    for name in names():
        chosen = {other for other in others if name.lower() in other.lower()}
        assert chosen == {str(step) for step in STEPS if step.page.name == name}


def test_chapters_are_those_that_the_role_can_apply() -> None:
    variables = yaml.safe_load((ROOT / "roles/storage_tutorial/vars/main.yml").read_text(encoding="utf-8"))
    assert sorted(chapters()) == sorted(variables["__storage_tutorial_standing_by_chapter"])
    assert [each for each in chapters() if not (ROOT / "roles/storage_tutorial/templates" / each).is_dir()] == []


@pytest.mark.parametrize("wrong", ["then", "mysql", "no"])
def test_chapter_that_cannot_be_applied(wrong: str) -> None:
    command = cli.tutorial.commands["apply"]
    with pytest.raises(click.UsageError, match=f"'{wrong}' isn't known: choose one of all, emptydir, "):
        command.make_context("apply", [wrong])
