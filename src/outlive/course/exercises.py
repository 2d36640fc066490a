"""The exercises: sets a stage in the lab, looks at what became of it, and takes it away.

An exercise's stage is a folder of ``exercises/``: ``objects.yml`` is applied, ``server.sh`` is run before it on the NFS server, in the
exercise's folder there, and ``host.sh`` after it on the host. The learner's text is in ``docs/exercises``. All objects of exercise 3 are in
the namespace ``exercise-3`` or, where they belong to none, have names that begin with ``exercise-3-``.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import ROOT, kubectl
from outlive.base.screen import Board
from outlive.base.wait import wait_for
from outlive.course import grading
from outlive.course.grading import File, Seen
from outlive.course.pages import Ran
from outlive.course.walk import COMMAND_SECONDS, LIST_SECONDS, on_host, on_machine
from outlive.lab import nfs, session
from outlive.lab.objects import Json
from outlive.lab.session import Lab

FOLDER = ROOT / "exercises"
PAGES = ROOT / "docs/exercises"
WRITTEN = Path(".lab/exercises")
"""Where a stage's objects are written for the learner to change, in the checkout."""
LABEL = "outlive/stage"
"""Label of a namespace whose stage was set to its end."""
GONE_SECONDS = 300
"""Seconds in which the cluster has to take a stage away."""
EMPTIED = "deployments,replicasets,pods,persistentvolumeclaims"
"""What is deleted before its namespace, in this order: nothing that is deleted is made anew by what stood before it."""
NOT_THERE = "isn't there"
"""Said of a stage that has no namespace: its exercise wasn't started, or was taken away."""
EVERY_SECONDS = 3.0
"""Seconds between two looks of one who watches."""
LEVEL = "pod-security.kubernetes.io/enforce"
"""Label of a namespace for what its pods may do; without it they may what is asked of every namespace."""
OWN = "kubernetes.io/"
"""What the finalizers of Kubernetes itself begin with: the cluster takes them off, in its order."""
NO_FOLDER = "no folder"
LIST_FILES = f"""\
[ -d "$1" ] || {{ echo {NO_FOLDER}; exit 0; }}
cd "$1"
find . -printf '%U %m %P\\n' || exit
echo
grep --recursive --text --max-count 1000 '' . || [ $? -eq 1 ]
"""
"""Lists a folder on the NFS server, itself first, then the lines of its files; it fails where one goes meanwhile."""


@dataclass(frozen=True)
class Exercise:
    """One exercise."""

    number: int
    name: str
    check: Callable[[Seen], list[str]]

    @property
    def slug(self) -> str:
        """Return the name of its folder and its pages."""
        return f"{self.number:02}-{self.name}"

    @property
    def namespace(self) -> str:
        """Return its namespace, which is the name of its folder on the NFS server too."""
        return f"exercise-{self.number}"

    @property
    def node_folder(self) -> str:
        """Return the folder that its pods may have on a worker."""
        return f"/srv/{self.namespace}"

    @property
    def on_nodes(self) -> bool:
        """Say whether its pods have that folder."""
        return "hostPath:" in self.script("objects.yml")

    @property
    def title(self) -> str:
        """Return the title of its page."""
        return (PAGES / "en" / f"{self.slug}.md").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")

    def script(self, file: str) -> str:
        """Return the text of a file of its stage; empty where the stage has none of that name."""
        path = FOLDER / self.slug / file
        return path.read_text(encoding="utf-8") if path.exists() else ""


EXERCISES = tuple(
    Exercise(number, check.__name__.replace("_", "-"), check)
    for number, check in enumerate(
        (
            grading.no_volume_fits,
            grading.missing_folder,
            grading.released_volume,
            grading.not_allowed_to_write,
            grading.stuck_claim,
            grading.lost_with_the_pod,
            grading.pinned_to_a_node,
            grading.two_writers,
            grading.rollout_that_hangs,
        ),
        1,
    )
)
"""All exercises in their order; a check's name is its exercise's."""


def numbered(text: str) -> Exercise:
    """Return the exercise of a number.

    Raises:
        LabError: there is none.
    """
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= len(EXERCISES):
        return EXERCISES[int(text) - 1]
    raise LabError(
        f"{text!r} is no exercise: choose a number from 1 to {len(EXERCISES)}, as in `outlive exercise start 3`; "
        "docs/exercises/en/README.md lists them."
    )


@dataclass(frozen=True)
class Progress:
    """How far a learner is with an exercise."""

    exercise: Exercise
    unset: str
    """Why there is nothing to check, as the end of a sentence on its stage; empty where the stage is set."""
    wrong: tuple[str, ...] = ()
    """What is still wrong, where the stage is set."""

    @property
    def started(self) -> bool:
        """Say whether there is anything of it: a stage that was set only in part is one to be solved too."""
        return self.unset != NOT_THERE

    @property
    def solved(self) -> bool:
        """Say whether its stage is set and nothing is wrong."""
        return not self.unset and not self.wrong

    @property
    def state(self) -> str:
        """Return how far it is, in words."""
        if not self.started:
            return "not started"
        if self.unset:
            return f"open, its stage {self.unset}"
        return f"open, {len(self.wrong)} left" if self.wrong else "solved"


class Stage:
    """The lab, as the exercises use it."""

    def __init__(self, lab: Lab, run: Callable[[str, dict[str, str]], Ran] = on_host, root: Path = ROOT) -> None:
        """Find server, export and image in the inventory; ``run`` runs a command on the host."""
        self._lab = lab
        self.clock = lab.clock
        self._cluster = lab.cluster
        self._run = run
        self._written = root / WRITTEN
        self._server, self._export = nfs.exported(lab.inventory)
        image = lab.inventory.setting("storage_tutorial_busybox_image")
        if image is None:
            raise LabError(
                "The inventory has no literal storage_tutorial_busybox_image, which the exercises' pods run: give it a name there."
            )
        self._image = image

    def objects(self, exercise: Exercise) -> str:
        """Return the objects of an exercise, with the lab's own addresses and names filled in."""
        values = {
            "folder": self._folder(exercise),
            "server": self._server.address,
            "image": self._image,
            "first": self._lab.workers[0],
            "second": self._lab.workers[-1],
        }
        return Template(exercise.script("objects.yml")).substitute(values)

    def set(self, exercise: Exercise) -> None:
        """Put an exercise to its beginning, and write its objects down for the learner.

        Raises:
            LabError: something of it can't be made; the next attempt begins anew.
            WaitTimeoutError: what was there of it doesn't go away.
        """
        self.reset([exercise])
        script = exercise.script("server.sh") or ":"
        folder = self._folder(exercise)
        self._on_machine(self._server.name, f'set -eu; mkdir -p "$1"; cd "$1"\n{script}', folder)
        path = self._path(exercise)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.objects(exercise), encoding="utf-8")
        namespace = exercise.namespace
        self._host(exercise, f"kubectl create namespace {namespace}")
        if exercise.on_nodes:
            self._host(exercise, f"kubectl label namespace {namespace} {LEVEL}=privileged")
        # No pod is let in before its account is there.
        self._host(exercise, f"kubectl --namespace {namespace} wait --for=create --timeout=3m serviceaccount/default")
        self._host(exercise, f"kubectl apply --filename {shlex.quote(str(path))}")
        for line in exercise.script("host.sh").splitlines():
            self._host(exercise, line)
        self._host(exercise, f"kubectl label namespace {namespace} {LABEL}=set")

    def check(self, exercise: Exercise) -> list[str]:
        """Return what is still wrong; nothing where the exercise is solved.

        Raises:
            LabError: its stage wasn't set.
            UnreachableError: the cluster or the NFS server gives no answer, so nothing is known.
        """
        (found,) = self.progress([exercise])
        if found.unset:
            raise LabError(
                f"The stage of exercise {exercise.number} (namespace {exercise.namespace}) {found.unset}: "
                f"only a stage that was set can be checked, so run `outlive exercise start {exercise.number}`."
            )
        return list(found.wrong)

    def progress(self, exercises: Sequence[Exercise]) -> list[Progress]:
        """Return how far each of some exercises is.

        Raises:
            UnreachableError: the cluster or the NFS server gives no answer, so nothing is known.
        """
        namespaces = _by_name(self._cluster.listing("namespaces"))
        return [self._progress(each, namespaces.get(each.namespace)) for each in exercises]

    def _progress(self, exercise: Exercise, namespace: Json | None) -> Progress:
        if namespace is None:
            return Progress(exercise, NOT_THERE)
        if "deletionTimestamp" in namespace["metadata"]:
            return Progress(exercise, "is going away")
        if namespace["metadata"].get("labels", {}).get(LABEL) != "set":
            return Progress(exercise, "was set only in part")
        return Progress(exercise, "", tuple(exercise.check(self.seen(exercise))))

    def seen(self, exercise: Exercise) -> Seen:
        """Return what there is of an exercise, in the cluster and on the NFS server."""
        namespace = exercise.namespace
        return Seen(
            namespace=namespace,
            folder=self._folder(exercise),
            pods=_by_name(self._cluster.listing("pods", namespace)),
            claims=_by_name(self._cluster.listing("persistentvolumeclaims", namespace)),
            volumes=_by_name(each for each in self._cluster.listing("persistentvolumes") if _is_of(exercise, each)),
            deployments=_by_name(self._cluster.listing("deployments", namespace)),
            files=self._files(exercise),
        )

    def _files(self, exercise: Exercise) -> dict[str, File]:
        listing = self._on_machine(self._server.name, LIST_FILES, self._folder(exercise), seconds=LIST_SECONDS, error=UnreachableError)
        return parse_files(listing)

    def reset(self, exercises: Sequence[Exercise]) -> None:
        """Take away all that exercises made, whatever became of it; what isn't there is no error.

        Raises:
            LabError: the lab's kubectl isn't there; nothing was touched.
            WaitTimeoutError: the cluster doesn't let something go.
        """
        kubectl()
        left = self._left(exercises)
        if left:
            self._empty(exercises, [each.removeprefix("namespace/") for each in left if each.startswith("namespace/")])
            self._host(None, f"kubectl delete --ignore-not-found --wait=false {' '.join(map(shlex.quote, left))}")
            self._await_none("what is left of the exercises", lambda: self._left(exercises))
        # Only now: a pod that still ran would write again, or hang on a folder that is gone.
        folders = [self._folder(each) for each in exercises]
        self._remove(self._server.name, folders)
        on_nodes = [each.node_folder for each in exercises if each.on_nodes]
        for worker in self._lab.workers if on_nodes else ():
            self._remove(worker, on_nodes)
        for each in exercises:
            self._path(each).unlink(missing_ok=True)

    def _empty(self, exercises: Sequence[Exercise], namespaces: Sequence[str]) -> None:
        """Take away pods and claims first: a namespace goes in one pass over all kinds of objects where none of them is left, else in several."""
        for name in namespaces:
            self._host(None, f"kubectl --namespace {name} delete {EMPTIED} --all --grace-period=1 --wait=false")
        self._free(exercises)
        self._await_none(
            "what runs in the exercises",
            lambda: [
                f"{kind}/{each['metadata']['name']}"
                for name in namespaces
                for kind in ("pods", "persistentvolumeclaims")
                for each in self._cluster.listing(kind, name)
            ],
        )

    def _await_none(self, what: str, look: Callable[[], list[str]]) -> None:
        wait_for(what, "nothing", look, lambda left: not left, within=GONE_SECONDS, every=1.0, describe=", ".join, clock=self.clock)

    def _left(self, exercises: Sequence[Exercise]) -> list[str]:
        """Return the namespaces and volumes of exercises, as ``kind/name``."""
        names = {each.namespace for each in exercises}
        namespaces = [each["metadata"]["name"] for each in self._cluster.listing("namespaces")]
        volumes = [each for each in self._cluster.listing("persistentvolumes") if any(_is_of(exercise, each) for exercise in exercises)]
        return [
            *(f"namespace/{name}" for name in namespaces if name in names),
            *(f"persistentvolume/{each['metadata']['name']}" for each in volumes),
        ]

    def _free(self, exercises: Sequence[Exercise]) -> None:
        """Take off the finalizers that nobody in this cluster would take off."""
        for exercise in exercises:
            found = [
                (kind, each) for kind in ("pods", "persistentvolumeclaims") for each in self._cluster.listing(kind, exercise.namespace)
            ]
            found += [("persistentvolumes", each) for each in self._cluster.listing("persistentvolumes") if _is_of(exercise, each)]
            for kind, each in found:
                finalizers = each["metadata"].get("finalizers", [])
                kept = [name for name in finalizers if name.startswith(OWN)]
                if kept != finalizers:
                    patch = shlex.quote(json.dumps({"metadata": {"finalizers": kept}}))
                    name = f"{kind}/{each['metadata']['name']}"
                    # One that went meanwhile needs nothing; one that stays is named by the wait.
                    self._run(
                        f"kubectl --namespace {exercise.namespace} patch {name} --type=merge --patch {patch}", self._cluster.environment
                    )

    def _host(self, exercise: Exercise | None, command: str) -> None:
        ran = self._run(command, self._cluster.environment)
        if ran.status != 0:
            again = "outlive exercise reset" if exercise is None else f"outlive exercise start {exercise.number}"
            reason = " ".join(ran.lines[-1:]) or "no message"
            raise LabError(
                f"`{command}` ended with status {ran.status} ({reason}): look at `kubectl get nodes,pods -A`, then run `{again}` again."
            )

    def _remove(self, machine: str, folders: Sequence[str]) -> None:
        self._on_machine(machine, 'rm -rf --one-file-system -- "$@"', *folders)

    def _on_machine(
        self, machine: str, script: str, *arguments: str, seconds: int = COMMAND_SECONDS, error: type[LabError] = LabError
    ) -> str:
        """Run a script as ``walk.on_machine`` does and return its output; its failure is an error."""
        done = on_machine(self._lab.remote, machine, script, *arguments, seconds=seconds)
        if done.status != 0:
            reason = " ".join(done.stderr.splitlines()[-1:]) or "no message"
            raise error(f"`{script.splitlines()[-1]}` on {machine} ended with status {done.status} ({reason})")
        return done.stdout

    def _folder(self, exercise: Exercise) -> str:
        return f"{self._export}/{exercise.namespace}"

    def _path(self, exercise: Exercise) -> Path:
        return self._written / f"{exercise.slug}.yml"


def parse_files(listing: str) -> dict[str, File]:
    """Read what ``LIST_FILES`` printed: a line for each file and folder, an empty line, a line for each line of a file.

    Raises:
        UnreachableError: it doesn't begin with the folder itself, so it is no answer.
    """
    if listing.strip() == NO_FOLDER:
        return {}
    heads, bodies = [], listing.splitlines()
    while bodies and bodies[0]:
        heads.append(bodies.pop(0))
    if not bodies or not heads or not re.fullmatch(r"\d+ \d+ ", heads[0]):
        raise UnreachableError("the NFS server gave no list of the exercise's files: what it printed doesn't begin with their folder")
    texts: dict[str, str] = {}
    for line in bodies[1:]:
        path, _, text = line.removeprefix("./").partition(":")
        texts[path] = f"{texts.get(path, '')}{text}\n"
    files = {}
    for head in heads[1:]:
        owner, mode, path = head.split(" ", 2)
        files[path] = File(int(owner), int(mode, 8), texts.get(path, ""))
    return files


def _is_of(exercise: Exercise, volume: Json) -> bool:
    return str(volume["metadata"]["name"]).startswith(f"{exercise.namespace}-")


def _by_name(listing: Iterable[Json]) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in listing}


@contextmanager
def _stage() -> Iterator[Stage]:
    """Yield the exercises' view of the lab in use; that it gives no answer becomes a sentence with the cure."""
    try:
        with session.connect() as lab:
            yield Stage(lab)
    except UnreachableError as error:
        raise LabError(f"Nothing is known of the exercise, as {error}: see `outlive doctor`, then run this again.") from error


def start(number: str) -> None:
    """Put an exercise of the lab in use to its beginning, and say where its page is (`outlive exercise start`). Fails as ``Stage.set`` does."""
    exercise = numbered(number)
    print(f"setting exercise {exercise.title} ...", flush=True)
    with _stage() as stage:
        stage.set(exercise)
    print(f"The stage is set, in the namespace {exercise.namespace}; its objects are written down in {WRITTEN}/{exercise.slug}.yml.")
    print(f"Read on in docs/exercises/en/{exercise.slug}.md (中文: docs/exercises/zh/{exercise.slug}.md).")


def check(number: str | None) -> bool:
    """Print what is still wrong with an exercise, or how far all are where none is named (`outlive exercise check`).

    Returns:
        Whether it is solved, or all that were started are.

    Raises:
        LabError: its stage wasn't set, none was started, or no answer was given, so that nothing is known.
    """
    with _stage() as stage:
        seen = _first_look(stage, number)
    if number is None:
        print("\n".join(_table(seen)))
    else:
        print("\n".join(_findings(seen[0], "solved" if seen[0].solved else "not solved yet")))
    return _all_solved(seen)


def watch(number: str | None) -> None:
    """Show again and again what ``check`` shows, until it is solved (`outlive exercise check --watch`); who gives no answer is asked again.

    Raises:
        LabError: at the first look there is nothing to check.
    """
    end = "all that are started are" if number is None else "it is"
    print(f"looking every {EVERY_SECONDS:.0f} s until {end} solved; Ctrl-C ends it", flush=True)
    with _stage() as stage, Board() as board:
        look = _Watcher(stage, number, board).look
        wait_for("the exercises", "solved", look, _all_solved, within=math.inf, every=EVERY_SECONDS, clock=stage.clock)


class _Watcher:
    """Looks at an exercise, or at all of them where none is named, and shows what it sees."""

    def __init__(self, stage: Stage, number: str | None, board: Board) -> None:
        self._stage = stage
        self._number = number
        self._board = board
        self._begun = False
        self._silent = False

    def look(self) -> list[Progress]:
        """Look once. Fails as ``_first_look`` does until something was seen: later a learner may set a stage anew, or take it away."""
        try:
            seen = self._stage.progress(_chosen(self._number)) if self._begun else _first_look(self._stage, self._number)
        except UnreachableError as error:
            if not self._silent:
                self._board.show([f"Nothing is known now, as {error}. It is asked again."])
            self._silent = True
            raise
        self._begun, self._silent = True, False
        self._board.show(_table(seen) if self._number is None else _findings(seen[0], seen[0].state))
        return seen


def _chosen(number: str | None) -> Sequence[Exercise]:
    return EXERCISES if number is None else (numbered(number),)


def _first_look(stage: Stage, number: str | None) -> list[Progress]:
    """Return how far the chosen exercises are. Fails where there is nothing to check of them."""
    if number is not None:
        exercise = numbered(number)
        return [Progress(exercise, "", tuple(stage.check(exercise)))]
    seen = stage.progress(_chosen(None))
    if not any(each.started for each in seen):
        raise LabError(
            "No exercise is started, so there is nothing to check: run `outlive exercise start 1`; docs/exercises/en/README.md lists them all."
        )
    return seen


def _all_solved(seen: Iterable[Progress]) -> bool:
    """Say whether all that were started are solved; where none is, nothing is."""
    started = [each for each in seen if each.started]
    return bool(started) and all(each.solved for each in started)


def _findings(one: Progress, state: str) -> list[str]:
    """Return a line for each thing that is wrong, and the exercise's state."""
    return [*(f"- {finding}" for finding in one.wrong), f"{state}: {one.exercise.title}"]


def _table(seen: Sequence[Progress]) -> list[str]:
    """Return a row for each exercise: its title, its state, and the first thing that is wrong."""
    width = max(len(each.exercise.title) for each in seen)
    return [f"{each.exercise.title.ljust(width)}  {': '.join([each.state, *each.wrong[:1]])}" for each in seen]


def take_away(number: str | None) -> None:
    """Take an exercise away, all of them where none is named (`outlive exercise reset`). Fails as ``Stage.reset`` does."""
    chosen = _chosen(number)
    with _stage() as stage:
        stage.reset(chosen)
    print(f"taken away: {', '.join(each.namespace for each in chosen)}")
