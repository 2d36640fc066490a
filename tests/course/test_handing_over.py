"""What may be lost on the way is looked at: input that is handed to a pod, and loops that wait for what is gone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base.paths import ROOT
from outlive.course import pages
from outlive.course.exercises import EXERCISES, FOLDER, PAGES
from outlive.course.pages import Command
from verify.tutorial.class_room import solution
from verify.tutorial.test_handing_over import text

WAYS_IN = r"(exec|run|attach)\b[^\n]*\s(-i|-it|-ti|--stdin)\b|kubectl cp\b|k8s_cp\b|\"(run|exec|attach)\", \"-i"
"""How input is handed to a pod: it may be lost, and the status is 0 all the same."""
READ_WHOLE = {"src/outlive/lab/mysql.py"}
"""Code that hands input over and takes only a whole answer, of MySQL's here (tests/lab/test_mysql.py)."""


def commands() -> Iterator[Command]:
    """Yield the commands of all pages, of the tutorial and the exercises."""
    read = [pages.parse(path.read_text(encoding="utf-8"), path.name) for path in sorted((PAGES / "en").rglob("*.md"))]
    for page in (*pages.load(pages.FOLDER, ROOT), *read):
        yield from (command for block in page.blocks for command in block.commands)


def written() -> Iterator[Path]:
    """Yield the files by which a lab is made, checked and taught."""
    names = ["docs/tutorial", "docs/exercises", "exercises", "roles", "playbooks", "verify", "src"]
    listing = subprocess.run(["git", "ls-files", "-z", *names], cwd=ROOT, capture_output=True, text=True, check=True)
    yield from (ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).suffix != ".png")


def test_input_is_handed_over_only_where_it_is_looked_for() -> None:
    handing = {str(path.relative_to(ROOT)) for path in written() if re.search(WAYS_IN, path.read_text(encoding="utf-8", errors="ignore"))}
    checks = {"verify/tutorial/test_handing_over.py"}
    pages_that_look = ("docs/exercises/{}/solutions/07-pinned-to-a-node.md", "docs/tutorial/{}/10-lose-the-node.md")
    assert handing - checks == READ_WHOLE | {page.format(language) for page in pages_that_look for language in ("en", "zh")}
    for command in commands():
        if command.typed:
            # In a dialogue each line is typed when the one before it was answered, and the page shows the answer.
            answers = dict(zip(command.shown, command.shown[1:], strict=False))
            assert {answers[line].partition(" ")[0] for line in command.typed[:-1]} <= {"Query", "+------+"}, command.text
            assert command.typed[-1] == "mysql> exit"
        elif re.search(WAYS_IN, command.text):
            assert command.text.startswith("until "), command.text
            assert "| \n(cd .lab/exercises && sha256sum -c); do sleep 2; done" in command.text.replace("\\", ""), command.text


@pytest.mark.parametrize(
    "way",
    [
        "kubectl exec -i a -- cat",
        "kubectl -n x exec -it a -- sh",
        "kubectl exec a --stdin -- sh",
        "kubectl run -i a",
        "kubectl cp a b:/c",
        "k8s_cp:",
    ],
)
def test_ways_in_are_known(way: str) -> None:
    assert re.search(WAYS_IN, way)
    assert not re.search(WAYS_IN, "kubectl exec a -- grep x; kubectl run a --image=i")


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a stand-in for exercise 7's pod: a kubectl that runs the command here, and loses what it carries as long as told to."""
    (tmp_path / "orders").mkdir()
    (tmp_path / ".lab/exercises").mkdir(parents=True)
    program = tmp_path / "kubectl"
    program.write_text(
        "#!/bin/bash\n"
        f"cd {tmp_path}\n"
        'while [ "$1" != -- ]; do shift; done; shift\n'
        f'set -- "${{@//\\/orders/{tmp_path}/orders}}"\n'
        'if [ "$(cat lose 2>/dev/null || echo 0)" -gt 0 ]; then\n'
        "  echo $(($(cat lose) - 1)) > lose\n"
        '  case "$*" in *"cat > list"*) exec "$@" < /dev/null ;; *) "$@" > /dev/null; exit 0 ;; esac\n'
        "fi\n"
        'exec "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize("losses", [0, 1, 3])
@pytest.mark.parametrize("which", ["read", "written"])
def test_the_solution_of_exercise_7_loses_nothing(pod: Path, losses: int, which: str) -> None:
    """Its own commands, with a kubectl that loses output and input; nothing is removed before the other side's checksum is right."""
    read, given = [
        each.text.replace("sleep 2", "sleep 0") for block in solution(EXERCISES[6]) for each in block.commands if "sha256sum" in each.text
    ]
    copy, there = pod / ".lab/exercises/list", pod / "orders/list"
    (there if which == "read" else copy).write_text(text(7), encoding="utf-8")
    (pod / "lose").write_text(f"{losses}\n")
    subprocess.run(["bash", "-c", read if which == "read" else given], cwd=pod, check=True, capture_output=True, timeout=60)
    assert (copy if which == "read" else there).read_text(encoding="utf-8") == text(7)
    assert copy.exists() is (which == "read")
    assert (pod / "lose").read_text() == "0\n"


def test_what_is_on_its_way_is_waited_for() -> None:
    """Each state that passes is shown by a loop; the first event of a reason may tell of something else; no answer isn't 'gone'."""
    for command in commands():
        passing = any(re.search(r"\b(ContainerCreating|Waiting for)\b", line) for line in command.shown)
        assert not passing or command.text.startswith("until "), command.prompt
        assert not re.search(r"describe pod .*grep.* (FailedMount|FailedScheduling);", command.text), command.prompt
        assert not re.match(r"(while|until ! ?)\s*kubectl", command.text), command.prompt


def test_nothing_has_the_name_of_a_recycler() -> None:
    """Kubernetes takes any pod of such a name in the namespace default for its own: only chapter 6 makes one, to show that."""
    templates = sorted((ROOT / "roles/storage_tutorial/templates").rglob("*.j2"))
    manifests = [*templates, *FOLDER.rglob("*.yml")]
    found = {name for path in manifests for name in re.findall(r"\bname: *[\"']?([^\s\"',}]+)", path.read_text(encoding="utf-8"))}
    assert len(found) > len(EXERCISES)
    assert [name for name in found if name.startswith("recycler-for-")] == []
    made = {words[1] for command in commands() for words in [re.search(r"kubectl run (\S+)", command.text)] if words}
    assert {name for name in made if name.startswith("recycler-for-")} == {"recycler-for-recyclepv"}
    for path in FOLDER.rglob("objects.yml"):
        assert "Recycle" not in path.read_text(encoding="utf-8"), path
        assert "\n  namespace: default" not in path.read_text(encoding="utf-8"), path


def test_no_page_kills_by_a_name() -> None:
    """Exercises and other chapters are worked on beside a page, on the same nodes: a name would find their processes too."""
    assert [command.prompt for command in commands() if re.search(r"\b(pkill|killall)\b", command.text)] == []
