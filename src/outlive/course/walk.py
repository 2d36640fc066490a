"""Follows the tutorial's pages: runs their commands where they say, and holds that a page leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.base.errors import LabError, NotFoundError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.wait import WaitTimeoutError, persist, wait_for
from outlive.course.pages import Block, Command, Page, Ran, objection
from outlive.lab import nfs
from outlive.lab.session import Lab

NAMESPACE = "default"
COMMAND_SECONDS = 1200
"""Seconds that a command may take. Those that wait say themselves how long: this only ends what hangs."""
QUIET_SECONDS = 180
"""Seconds in which the cluster has to take away what a page deleted last."""
LOOK_SECONDS = 60
"""Seconds for a whole list of what there is, where folders come and go."""
MANIFESTS = Path(".lab/tutorial")
"""Where the role storage_tutorial writes the manifests, in the checkout."""
KINDS = (
    "pods",
    "persistentvolumeclaims",
    "deployments.apps",
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
)
"""What a page could leave: objects of its namespace and those that belong to none."""
CORDONED = "cordoned/"
"""How a node that takes no new pods is listed among what a page could leave."""
LOOK_AT_NODES = (
    f"kubectl get nodes --output jsonpath='{{range .items[?(@.spec.unschedulable==true)]}}{CORDONED}{{.metadata.name}}{{\"\\n\"}}{{end}}'"
)
KEPT_FOLDER = "mysql-pv"
"""The folder of the export whose files are MySQL's own business."""
FIND = "find %s -mindepth 1 -print -path %s -prune -o -path %s -prune"
"""Lists an export, and of two of its folders the names alone."""


class PageLieError(AssertionError):
    """A page shows something that isn't so."""


class Shells:
    """The three places in which a page's commands run."""

    def __init__(self, lab: Lab) -> None:
        """Nothing is run yet."""
        self._lab = lab
        self._nodes: dict[str, str] = {}

    def run(self, place: str, text: str) -> Ran:
        """Run a command at a place of ``pages.Command``."""
        if not place:
            return on_host(text, self._lab.cluster.environment)
        machine = self._node(place[1:]) if place.startswith("@") else place
        done = self._lab.remote.run(machine, "timeout %s bash -c %s 2>&1", str(COMMAND_SECONDS), text)
        return Ran(done.status, tuple(done.stdout.splitlines()))

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
    """Run a command in a bash at the checkout's root; what it prints on both its outputs is taken in its order.

    Raises:
        UnreachableError: it doesn't end within ``seconds``; it and what it started were ended.
    """
    with subprocess.Popen(
        ["bash", "-c", text],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise UnreachableError(f"`{text}` didn't end within {seconds:.0f} s") from error
            raise
    return Ran(process.returncode, tuple(output.splitlines()))


class Ground:
    """What a page could leave behind: objects in the cluster, files on the NFS server."""

    def __init__(self, lab: Lab) -> None:
        """Find the NFS server and its export in the inventory."""
        self._lab = lab
        self._variables = lab.cluster.environment
        server, self._export = nfs.exported(lab.inventory)
        self._server = server.name

    def look(self) -> frozenset[str]:
        """Return the names of all objects, as ``kind/name``, the cordoned nodes, and the paths of all folders and files of the export.

        Raises:
            UnreachableError: the cluster or the NFS server gave no whole list for a minute; that is no verdict about a page.
        """
        try:
            return persist("all objects and files", self._look, wanted="a whole list", within=LOOK_SECONDS)
        except WaitTimeoutError as error:
            raise UnreachableError(str(error)) from error

    def _look(self) -> frozenset[str]:
        listing = on_host(f"kubectl get --namespace {NAMESPACE} --output name {','.join(KINDS)} && {LOOK_AT_NODES}", self._variables)
        if listing.status != 0:
            raise UnreachableError(f"the cluster gave no list of its objects ({' '.join(listing.lines[-1:])})")
        files = self._lab.remote.run(self._server, FIND, self._export, f"{self._export}/{KEPT_FOLDER}", f"{self._export}/lost+found")
        if files.status != 0:
            # A folder that goes while find is in it, an exercise's say: what it printed isn't all.
            raise UnreachableError(f"the NFS server gave no list of its files ({' '.join(files.stderr.splitlines()[-1:])})")
        return frozenset(line for line in (*listing.lines, *files.stdout.splitlines()) if "/" in line)

    def clear(self, left: frozenset[str]) -> None:
        """Take away objects and files that a page left, and let nodes take pods again."""
        nodes = sorted(each.removeprefix(CORDONED) for each in left if each.startswith(CORDONED))
        if nodes:
            on_host(f"kubectl uncordon {' '.join(map(shlex.quote, nodes))}", self._variables)
        objects = sorted(each for each in left if not each.startswith(("/", CORDONED)))
        if objects:
            names = " ".join(map(shlex.quote, objects))
            on_host(f"kubectl delete --namespace {NAMESPACE} --ignore-not-found --timeout={QUIET_SECONDS}s {names}", self._variables)
        # A folder's files go with it, and may have gone already.
        for path in sorted(each for each in left if each.startswith("/")):
            self._lab.remote.run(self._server, "rm -rf --one-file-system -- %s", path)


@dataclass
class Walk:
    """One way through the pages, block after block.

    ``run`` runs a command at a place, ``look`` says what there is, ``clear`` takes away.
    """

    run: Callable[[str, str], Ran]
    look: Callable[[], frozenset[str]]
    clear: Callable[[frozenset[str]], None]
    clock: Clock = HOST_CLOCK
    _page: Page | None = None
    _before: frozenset[str] = frozenset()
    _clean: frozenset[str] | None = None
    """What there was when the last page was left in order: the next one begins with that, as a look at everything takes seconds."""
    _done: int = 0
    _broken: dict[str, int] = field(default_factory=dict)
    """The line at which each page failed."""

    def take(self, page: Page, block: Block) -> None:
        """Run a block of a page and compare what it prints.

        Raises:
            PageLieError: the page shows something that isn't so.
            LabError: the block can't be run, as one before it failed or wasn't run.
        """
        if self._page is None or self._page.path != page.path:
            self.end()
            self._before = self.look() if self._clean is None else self._clean
            self._page, self._clean, self._done = page, None, 0
        if page.path in self._broken:
            raise LabError(
                f"{page.path}:{block.line}: not run, as the page failed at line {self._broken[page.path]}: correct that first, then run the page again."
            )
        if page.blocks[self._done] != block:
            raise LabError(
                f"{page.path}:{block.line}: not run, as the blocks above it weren't: choose the whole page, with `pytest -m tutorial -k {page.name}`."
            )
        self._done += 1
        try:
            for command in block.commands:
                self._broken[page.path] = command.line
                wrong = objection(page, block, command, self._guarded(page, command))
                if wrong:
                    raise PageLieError(wrong)
        except UnreachableError as error:
            raise LabError(f"{page.path}:{self._broken[page.path]}: {error}: see `outlive doctor`, then run the page again.") from error
        del self._broken[page.path]

    def _guarded(self, page: Page, command: Command) -> Ran:
        try:
            return self.run(command.place, command.text)
        except NotFoundError as error:
            raise PageLieError(f"{page.path}:{command.line}: {command.prompt}\n{error}") from error

    def leave(self, page: Page) -> None:
        """Hold that a page whose blocks all ran left nothing; what it left is named, and taken away.

        Raises:
            PageLieError: the page left something behind.
            LabError: not all of the page was run.
        """
        whole = self._page is not None and self._page.path == page.path and self._done == len(page.blocks) and page.path not in self._broken
        if not whole:
            self.end()
            raise LabError(
                f"{page.path}: what it leaves wasn't looked at, as not all of it ran: correct what failed, then run the whole page again."
            )
        before = self._before
        try:
            self._clean = wait_for(
                f"the lab after {page.path}",
                "nothing that wasn't there before",
                self.look,
                lambda seen: seen <= before,
                within=QUIET_SECONDS,
                every=2.0,
                describe=lambda seen: ", ".join(sorted(seen - before)),
                clock=self.clock,
            )
        except BaseException:
            self.end()
            raise
        self._page = None

    def end(self) -> None:
        """Take away what the present page left, as after a failure or an interruption."""
        if self._page is None:
            return
        self._page = None
        left = self.look() - self._before
        if left:
            self.clear(left)
