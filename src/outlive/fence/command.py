"""What `outlive fence` does, where hypervisor, API server and the NFS server's ssh can be reached."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from outlive.base.errors import LabError, NotFoundError, UnreachableError
from outlive.base.locks import exclusive
from outlive.base.paths import KUBECONFIG, STATE
from outlive.fence.actions import Api, Hypervisor, Kubernetes, NfsServer, Storage, VagrantMachines
from outlive.fence.decisions import Limits, NodeState
from outlive.fence.log import Log
from outlive.fence.watcher import Tools, Watcher
from outlive.lab import inventory
from outlive.lab.power import State
from outlive.lab.ssh import Remote

LOCK = STATE / "fence.lock"


def watch(suspect_after: float | None, confirm_after: float | None, log_file: Path | None) -> None:
    """Watch the workers and fence those that are lost, until SIGTERM or SIGINT (`outlive fence watch`).

    Args:
        suspect_after: Seconds without a renewed lease; the watcher's own default where None.
        confirm_after: Seconds more before a power cut; likewise.
        log_file: Appended to, a JSON line for each step; standard output where None.

    Raises:
        LabError: fencing could never work here, or another watcher runs.
    """
    limits = Limits()
    limits = Limits(suspect_after or limits.suspect_after, confirm_after or limits.confirm_after)
    with contextlib.ExitStack() as stack:
        tools = stack.enter_context(_tools())
        stack.enter_context(only_one(LOCK))
        log = Log(stack.enter_context(log_file.open("a", encoding="utf-8")) if log_file else sys.stdout)
        check([*(partial(tools.hypervisor.check, name) for name in tools.workers), tools.storage.check], log)
        run(Watcher(tools.workers, Tools(tools.api, tools.hypervisor, tools.storage, log, limits)))


def print_status() -> None:
    """Print a line for each worker (`outlive fence status`)."""
    with _tools() as tools:
        print("\n".join(status(tools.workers, tools.api, tools.hypervisor, tools.storage)))


def release_by_hand(name: str) -> None:
    """Take the fence of a node back and say so (`outlive fence release`). Fails as ``release`` does."""
    with _tools() as tools:
        print(release(name, tools.workers, tools.api, tools.hypervisor, tools.storage))


@dataclass(frozen=True)
class _Real:
    """The lab's API, hypervisor and NFS server, with the workers' addresses."""

    workers: Mapping[str, str]
    api: Kubernetes
    hypervisor: VagrantMachines
    storage: NfsServer


@contextlib.contextmanager
def _tools() -> Iterator[_Real]:
    lab = inventory.load()
    remote = Remote(lab)
    try:
        yield _Real(
            {host.name: host.address for host in lab.group("workers")},
            Kubernetes(Path(os.environ.get("KUBECONFIG") or KUBECONFIG)),
            VagrantMachines(),
            NfsServer(remote, lab.group("nfs_servers")[0].name),
        )
    finally:
        remote.close()


def check(checks: Iterable[Callable[[], None]], log: Log) -> None:
    """Raise ``LabError`` where fencing could never work; what merely gives no answer now may do so later."""
    for each in checks:
        try:
            each()
        except UnreachableError as error:
            log.write("failed", text=f"check: {error}")


def run(watcher: Watcher) -> None:
    """Run until SIGTERM or SIGINT."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: watcher.stop())
    watcher.run()


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock of the only watcher.

    Raises:
        LabError: another process holds it.
    """
    with exclusive(path, lambda holder: f"A watcher runs already (process {holder} holds {path}): only one may fence."):
        yield


def status(workers: Mapping[str, str], api: Api, hypervisor: Hypervisor, storage: Storage) -> list[str]:
    """Return a line for each worker: VM, node, fence, NFS access."""
    nodes, revoked, lost = api.look(), storage.revoked(), storage.lost()
    lines = []
    for name, address in workers.items():
        try:
            power = hypervisor.look(name).state.value
        except LabError as error:
            power = f"unknown ({error})"
        node = nodes.get(name)
        ready = "not in the cluster" if node is None else "Ready" if node.ready == "True" else "NotReady"
        fenced = f"fenced since {node.fenced.at} (boot id {node.fenced.boot})" if node is not None and node.fenced else "not fenced"
        access = "revoked, as it was removed as lost" if address in lost else "revoked" if address in revoked else "open"
        lines.append(f"{name}: VM {power}, node {ready}, {fenced}, NFS {access}")
    return lines


def release(name: str, workers: Mapping[str, str], api: Api, hypervisor: Hypervisor, storage: Storage) -> str:
    """Open NFS to a node and take its taint and annotation away; return the sentence that says so.

    Raises:
        LabError: there is no such worker, it was removed as lost, what ran when it was fenced may still write, or the server or the API refuses.
    """
    if name not in workers:
        raise LabError(f"{name!r} is no worker of the inventory: choose one of {', '.join(workers)}.")
    if workers[name] in storage.lost():
        # Its machine was never seen off, and without its Node nobody can tell its old boot from a new one.
        raise LabError(
            f"{name} can't be released: it was removed as lost, so what it still holds of a volume would be written now; "
            f"`ansible-playbook playbooks/remove-node.yml -e node={name}` restarts its machine, resets it and lets it in."
        )
    node = None
    with contextlib.suppress(NotFoundError):  # a worker that isn't a node any more has nothing but NFS to take back
        node = api.read(name)
    _check_harmless(name, node, hypervisor)
    storage.allow(workers[name])
    if node is not None and (node.fenced is not None or node.tainted):
        api.unmark(node)
    return f"{name} is released; a watcher that runs fences it again while its VM is off."


def _check_harmless(name: str, node: NodeState | None, hypervisor: Hypervisor) -> None:
    """Raise ``LabError`` unless the VM is off, or runs with another boot than the one that was fenced.

    The pods of the fenced boot run elsewhere by now, and its own writes, which hang on the NFS server's silence, would come after theirs.
    """
    cure = f"cut its power with `vagrant halt --force {name}`, and run this again"
    try:
        state = hypervisor.look(name).state
    except UnreachableError as error:
        raise LabError(
            f"{name} can't be released: it isn't known whether its VM is off ({error}), so what was fenced may still write; "
            f"see to it that the hypervisor answers, or {cure}."
        ) from error
    if state is State.SAVED:
        raise LabError(
            f"{name} can't be released: its VM's memory is saved and would go on where it was, with its hung writes; "
            f"start it with `vagrant up {name}`, {cure}."
        )
    if state is State.ON and node is None:
        raise LabError(
            f"{name} can't be released: its VM runs, and without its Node nobody knows whether it was started anew since: {cure}."
        )
    fenced = node.fenced if node is not None else None
    if state is State.ON and node is not None and fenced is not None and (not fenced.boot or node.boot == fenced.boot):
        boot = f"the boot id {fenced.boot} that it was fenced with" if fenced.boot else "an annotation that names no boot id"
        raise LabError(f"{name} can't be released: its VM runs, and its node has {boot}, so its hung writes may still come: {cure}.")
