"""Follows the tutorial's pages: runs their commands where they say, and holds that a page leaves nothing behind.

What a page left is taken away where it is the page's own; what else appeared meanwhile may be another person's, and stays.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import yaml

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.base.errors import LabError, NotFoundError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.process import environment, output, start
from outlive.base.wait import StateNotReachedError, WaitTimeoutError, persist, wait_for
from outlive.course import ownership
from outlive.course.ownership import CHANGED, CORDONED, MOUNTED, NAMESPACE, OFF, OUT_OF_SERVICE, PROFILE, UNHEARD
from outlive.course.pages import Block, Command, Page, PageError, Ran, objection
from outlive.course.terminals import SecondTerminal, converse
from outlive.lab import nfs
from outlive.lab.session import Lab
from outlive.lab.ssh import Output, Remote

COMMAND_SECONDS = 1200
"""Seconds that a command may take. Those that wait say themselves how long: this only ends what hangs."""
DIALOGUE_SECONDS = 300.0
"""Seconds that a program may take until it shows its prompt: its image may have to be pulled."""
QUIET_SECONDS = 180
"""Seconds in which the cluster has to take away what a page deleted last."""
LOOK_SECONDS = 60
"""Seconds for a whole list of what there is, where folders come and go."""
LIST_SECONDS = 120
"""Seconds that one list may take, of an API server that is emulated too."""
TIMED_OUT = (124, 137)
"""Statuses of a command on a machine that ``timeout`` ended."""
KINDS = (
    "pods",
    "persistentvolumeclaims",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "services",
    "configmaps",
    "secrets",
    "persistentvolumes",
    "storageclasses.storage.k8s.io",
    "namespaces",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "volumeattachments.storage.k8s.io",
    "nodes",
)
"""What a page could leave: objects of its namespace and those that belong to none; of the nodes, that they take no pods."""
KEPT_FOLDER = "mysql-pv"
"""The folder of the export whose files are MySQL's own business."""
FIND = 'find "$1" -print -path "$2" -prune -o -path "$3" -prune'
"""Lists an export, itself first, and of two of its folders the names alone."""
UNMOUNT = 'mountpoint -q "$1" && umount "$1"; [ ! -d "$1" ] || { chattr -i "$1" && rmdir "$1"; }'
"""Takes a mount of the export away, with the mount point that nobody could write to."""
CURES = {
    OFF: "vagrant up",
    UNHEARD: "ansible cluster --become -m ansible.builtin.service -a 'name=kubelet state=started'",
    PROFILE: "ansible-playbook playbooks/site.yml playbooks/tutorial.yml --tags recovery_profile",
}
"""What takes back how a page left the lab itself, machines first."""
EMPTY_ANSWER = re.compile(r"kubectl (?:-n \S+ )?exec [^;|&]* -- (?:cat|df|grep|ls) [^;|&]*")
"""Commands that are run again where they ended well and printed nothing though the page shows something: a stream may break unnoticed."""
OWN_END = re.compile(r'[IWE]\d{4} [\d:.]+ +\d+ reflector\.go:\d+\] "Warning: watch ended with error" .*context canceled.*')
"""What `kubectl wait` logs now and then when it ends its own watch in the midst of an event: nothing that the cluster said."""


Observed = TypeVar("Observed")


class PageLieError(AssertionError):
    """A page shows something that isn't so."""


class Running(Protocol):
    """A command that runs in a second terminal."""

    def end(self) -> Ran:
        """Press Ctrl-C; return what was printed."""


class Places(Protocol):
    """Where a page's commands run."""

    def run(self, command: Command) -> Ran:
        """Run a command, and type what it is told in a dialogue."""

    def begin(self, command: Command) -> Running:
        """Start a command in a second terminal."""


class Shells:
    """The places in which a page's commands run: the host, the machines, and the nodes of pods."""

    def __init__(self, lab: Lab) -> None:
        """Nothing is run yet."""
        self._lab = lab
        self._nodes: dict[str, str] = {}

    def run(self, command: Command) -> Ran:
        """Run a command at its place, and type what it is told in a dialogue."""
        place, text = command.place, command.text
        if command.typed:
            return converse(text, command.typed, self._lab.cluster.environment, DIALOGUE_SECONDS)
        if not place:
            return on_host(text, self._lab.cluster.environment)
        machine = self._node(place[1:]) if place.startswith("@") else place
        done = on_machine(self._lab.remote, machine, f"exec 2>&1\n{text}", seconds=COMMAND_SECONDS)
        return Ran(done.status, tuple(done.stdout.splitlines()))

    def begin(self, command: Command) -> SecondTerminal:
        """Start a command in a second terminal of the host."""
        return SecondTerminal(command.text, self._lab.cluster.environment)

    def _node(self, pod: str) -> str:
        """Return the node of a pod; of one that is gone, the node that it was last seen on."""
        try:
            self._nodes[pod] = self._lab.cluster.pod(NAMESPACE, pod).node or self._nodes.get(pod, "")
        except NotFoundError:
            if pod not in self._nodes:
                raise
        if not self._nodes[pod]:
            raise LabError(
                f"The pod {pod} is on no node yet: wait for it in the page, with `kubectl wait`, before the line that needs its node."
            )
        return self._nodes[pod]


def on_host(text: str, variables: dict[str, str], seconds: float = COMMAND_SECONDS) -> Ran:
    """Run a command in a bash at the checkout's root; what it prints on both its outputs is taken in its order, but for ``OWN_END``.

    It ends with all that it started, however it ends.

    Raises:
        UnreachableError: it doesn't end within ``seconds``.
        LabError: there is no bash.
    """
    with start(
        ["bash", "-c", text],
        cwd=ROOT,
        env=environment({**os.environ, **variables}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(f"`{text}` didn't end within {seconds:.0f} s") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return Ran(process.returncode, tuple(line for line in printed.splitlines() if not OWN_END.fullmatch(line)))


def on_machine(remote: Remote, machine: str, script: str, *arguments: str, seconds: int = LIST_SECONDS) -> Output:
    """Run a script in a bash as root on a machine, with arguments as ``$1`` and so on.

    Raises:
        UnreachableError: ssh fails, or the script doesn't end within ``seconds``; there it was ended.
    """
    command = "timeout --kill-after=10 %s bash -c %s bash" + " %s" * len(arguments)
    done = remote.run(machine, command, str(seconds), script, *arguments)
    if done.status in TIMED_OUT:
        raise UnreachableError(f"`{script.splitlines()[-1]}` on {machine} didn't end within {seconds} s")
    return done


class Ground:
    """What a page could leave behind: objects in the cluster, files on the NFS server."""

    def __init__(self, lab: Lab) -> None:
        """Find the NFS server and its export in the inventory."""
        self._lab = lab
        self._variables = lab.cluster.environment
        server, self._export = nfs.exported(lab.inventory)
        self._server = server.name

    def look(self) -> frozenset[str]:
        """Return all things: the objects, the cordoned nodes, and the paths of all folders and files of the export.

        Raises:
            UnreachableError: the cluster or the NFS server gave no whole list for a minute; that is no verdict about a page.
        """
        return self._persist(lambda: ownership.things(self._objects()) | self._files())

    def names(self, command: Command) -> frozenset[str]:
        """Return the names of what a command of a page is about to make.

        Raises:
            LabError: it can't be told, as the command or a manifest that it applies can't be read.
        """
        try:
            paths = ownership.applied(command.text)
            names = set(ownership.named_by_command(command.text, self._export))
            if command.place and ownership.mounts(command.text):
                names.add(f"{MOUNTED}{command.place}")
        except ValueError as error:
            raise PageError(f"{command.prompt!r} isn't a shell's command ({error}): close its quotes.") from error
        for path in paths:
            for data in read_manifests(path):
                names |= ownership.named_by_object(data, self._export)
        return frozenset(names)

    def own(self, names: frozenset[str], left: frozenset[str]) -> frozenset[str]:
        """Return those of the things that have one of the names, or that the cluster made for what has, and the mounts. Fails as ``look`` does."""
        unlisted = frozenset(each for each in names if each.startswith((MOUNTED, CHANGED)))
        if not left:
            return unlisted
        grown = ownership.grown(names, self._persist(self._objects), self._export)
        return unlisted | frozenset(each for each in left if ownership.is_own(grown, each))

    def _persist(self, look: Callable[[], Observed]) -> Observed:
        try:
            return persist("all objects and files", look, wanted="a whole list", within=LOOK_SECONDS, clock=self._lab.clock)
        except WaitTimeoutError as error:
            raise UnreachableError(str(error)) from error

    def _objects(self) -> list[dict[str, Any]]:
        command = ["kubectl", "get", "--namespace", NAMESPACE, "--output", "json", ",".join(KINDS)]
        try:
            listing = output(command, LIST_SECONDS, environment({**os.environ, **self._variables}))
            items: list[dict[str, Any]] = json.loads(listing)["items"]
        except (LabError, ValueError, KeyError) as error:
            raise UnreachableError(f"the cluster gave no list of its objects ({error})") from error
        if not any(each["kind"] == "Node" for each in items):
            raise UnreachableError("the cluster gave no list of its objects (it names no node)")
        return items

    def _files(self) -> frozenset[str]:
        done = on_machine(self._lab.remote, self._server, FIND, self._export, f"{self._export}/{KEPT_FOLDER}", f"{self._export}/lost+found")
        files = done.stdout.splitlines()
        if done.status != 0 or files[:1] != [self._export]:
            # A folder that goes while find is in it, an exercise's say: what it printed isn't all.
            reason = " ".join(done.stderr.splitlines()[-1:]) or "it doesn't name the export"
            raise UnreachableError(f"the NFS server gave no list of its files ({reason})")
        return frozenset(files[1:])

    def clear(self, own: frozenset[str]) -> None:
        """Take away objects, files and mounts that are a page's, switch machines on, and let nodes take pods again."""
        for change, cure in CURES.items():
            if change in own:
                on_host(cure, self._variables)
        for node in sorted(each.removeprefix(OUT_OF_SERVICE) for each in own if each.startswith(OUT_OF_SERVICE)):
            on_host(f"kubectl taint node {shlex.quote(node)} node.kubernetes.io/out-of-service-", self._variables)
        nodes = sorted(each.removeprefix(CORDONED) for each in own if each.startswith(CORDONED))
        if nodes:
            on_host(f"kubectl uncordon {' '.join(map(shlex.quote, nodes))}", self._variables)
        objects = sorted(each for each in own if not each.startswith(("/", CORDONED, MOUNTED, CHANGED)))
        if objects:
            names = " ".join(map(shlex.quote, objects))
            on_host(
                f"kubectl delete --namespace {NAMESPACE} --ignore-not-found --cascade=foreground --timeout={QUIET_SECONDS}s {names}",
                self._variables,
            )
        # A folder's files go with it, and may have gone already.
        for path in sorted(each for each in own if each.startswith("/")):
            on_machine(self._lab.remote, self._server, 'rm -rf --one-file-system -- "$1"', path)
        # Behind the pods that use them.
        for machine in sorted(each.removeprefix(MOUNTED) for each in own if each.startswith(MOUNTED)):
            on_machine(self._lab.remote, machine, UNMOUNT, self._export)


def read_manifests(path: str) -> list[dict[str, Any]]:
    """Return the objects of a manifest, or of those of a folder, as kubectl reads them; where there is none, kubectl says so.

    Raises:
        LabError: one isn't YAML.
    """
    place = ROOT / path
    files = sorted(each for each in place.iterdir() if each.suffix in (".json", ".yaml", ".yml")) if place.is_dir() else [place]
    objects: list[dict[str, Any]] = []
    for file in files:
        try:
            found = [each for each in yaml.safe_load_all(file.read_text(encoding="utf-8")) if each]
        except FileNotFoundError:
            continue
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise LabError(f"The manifest {file} isn't YAML ({reason}): run `outlive tutorial apply`, which writes it anew.") from error
        objects += [item for each in found for item in (each["items"] if each["kind"] == "List" else [each])]
    return objects


@dataclass
class Walk:
    """One way through the pages, block after block.

    ``places`` runs commands. ``beside`` says of a thing that it is of work that is done beside the pages: it comes and goes.
    """

    places: Places
    ground: Ground
    beside: Callable[[str], bool] = lambda _: False
    clock: Clock = HOST_CLOCK
    _page: Page | None = None
    _before: frozenset[str] = frozenset()
    _names: frozenset[str] = frozenset()
    """The names of what the page's commands made so far."""
    _clean: frozenset[str] | None = None
    """What there was when the last page was left in order: the next one begins with that, as a look at everything takes seconds."""
    _done: int = 0
    _broken: dict[str, int] = field(default_factory=dict)
    """The line at which each page failed."""
    _watching: list[tuple[Block, Running]] = field(default_factory=list)
    """What runs in a second terminal, each until its section ends."""

    def take(self, page: Page, block: Block) -> None:
        """Run a block of a page and compare what it prints.

        Raises:
            PageLieError: the page shows something that isn't so.
            LabError: the block can't be run, as one before it failed or wasn't run.
        """
        if self._page is None or self._page.path != page.path:
            self.end()
            self._before = self._look() if self._clean is None else self._clean
            self._page, self._clean, self._done, self._names = page, None, 0, frozenset()
        if page.path in self._broken:
            raise LabError(
                f"{page.path}:{block.line}: not run, as the page failed at line {self._broken[page.path]}: correct that first, then run the page again."
            )
        if page.blocks[self._done] != block:
            raise LabError(
                f"{page.path}:{block.line}: not run, as the blocks above it weren't: choose the whole page, with `outlive pages {page.name}`."
            )
        self._done += 1
        try:
            self._put_aside(page, block.heading)
            for command in block.commands:
                self._broken[page.path] = command.line
                # Before it runs: also what an interrupted command made is the page's.
                self._names |= self.ground.names(command)
                if block.beside:
                    self._watching.append((block, self.places.begin(command)))
                elif wrong := objection(page, block, command, self._guarded(page, command)):
                    raise PageLieError(wrong)
        except UnreachableError as error:
            raise LabError(f"{page.path}:{self._broken[page.path]}: {error}: see `outlive doctor`, then run the page again.") from error
        del self._broken[page.path]

    def _guarded(self, page: Page, command: Command) -> Ran:
        try:
            ran = self.places.run(command)
            if ran == Ran(0, ()) and command.shown and EMPTY_ANSWER.fullmatch(command.text):
                ran = self.places.run(command)
            return ran
        except NotFoundError as error:
            raise PageLieError(f"{page.path}:{command.line}: {command.prompt}\n{error}") from error

    def leave(self, page: Page) -> None:
        """Hold that a page whose blocks all ran left nothing. What it left is named; what of it is the page's own is taken away.

        Raises:
            PageLieError: there is something that wasn't there before, the page's or not.
            LabError: not all of the page was run.
        """
        whole = self._page is not None and self._page.path == page.path and self._done == len(page.blocks) and page.path not in self._broken
        if not whole:
            raise LabError(
                f"{page.path}: what it leaves wasn't looked at, as not all of it ran: correct what failed, then run the whole page again."
                f"{_sentence(self.end())}"
            )
        before = self._before
        try:
            self._put_aside(page)
            self._clean = wait_for(
                f"the lab after {page.path}",
                "nothing that wasn't there before",
                self._look,
                lambda seen: seen <= before,
                within=QUIET_SECONDS,
                every=2.0,
                describe=lambda seen: ", ".join(sorted(seen - before)),
                clock=self.clock,
            )
        except StateNotReachedError as error:
            raise PageLieError(f"{error}.{_sentence(self.end())}") from error
        except BaseException:
            self.end()
            raise
        self._page = None

    def _put_aside(self, page: Page, heading: str | None = None) -> None:
        """Press Ctrl-C in the second terminals of other sections than this, and compare what they showed."""
        for block, running in [each for each in self._watching if each[0].heading != heading]:
            self._watching.remove((block, running))
            self._broken[page.path] = block.line
            if wrong := objection(page, block, block.commands[0], running.end()):
                raise PageLieError(wrong)
            del self._broken[page.path]

    def end(self) -> frozenset[str]:
        """Take away what the present page left, as after a failure or an interruption; return what appeared meanwhile and isn't the page's."""
        while self._watching:
            self._watching.pop()[1].end()
        if self._page is None:
            return frozenset()
        self._page = None
        left = self._look() - self._before
        own = self.ground.own(self._names, left)
        if own:
            self.ground.clear(own)
        return left - own

    def _look(self) -> frozenset[str]:
        return frozenset(each for each in self.ground.look() if not self.beside(each))


def _sentence(others: frozenset[str]) -> str:
    """Return a sentence about what stays, to be added to another one; nothing where nothing does."""
    return f" Appeared meanwhile and isn't this page's, so it stays: {', '.join(sorted(others))}." if others else ""
