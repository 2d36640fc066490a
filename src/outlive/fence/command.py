"""Command line of the watcher: `python -m fence`, where hypervisor, API server and the NFS server's ssh can be reached."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from fence.actions import Api, Hypervisor, Kubernetes, NfsServer, Storage, VagrantMachines
from fence.log import Log
from fence.loop import Tools, Watcher
from fence.watcher import Limits
from verify.lab import inventory
from verify.lab.errors import LabError, NotFoundError, UnreachableError
from verify.lab.exclusive import exclusive
from verify.lab.inventory import ROOT
from verify.lab.remote import Remote

LOCK = ROOT / ".lab" / "fence.lock"


def main(arguments: list[str] | None = None) -> int:
    """Run the watcher, or one of its two other commands; return the exit status. What a user can cure is one sentence."""
    limits = Limits()
    parser = argparse.ArgumentParser(prog="python -m fence", description="Fence workers whose VM is proven off.")
    parser.add_argument(
        "--suspect-after", type=_seconds, default=limits.suspect_after, metavar="S", help="without a renewed lease (%(default)s)"
    )
    parser.add_argument(
        "--confirm-after", type=_seconds, default=limits.confirm_after, metavar="S", help="more, before a power cut (%(default)s)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="append the JSON lines to FILE, not to standard output")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--status", action="store_true", help="print what is fenced")
    other.add_argument("--release", metavar="NODE", help="take the fence of a node back by hand")
    options = parser.parse_args(arguments)
    try:
        with contextlib.ExitStack() as stack:
            lab = inventory.load()
            workers = {host.name: host.address for host in lab.group("workers")}
            remote = Remote(lab)
            stack.callback(remote.close)
            api = Kubernetes(Path(os.environ.get("KUBECONFIG") or ROOT / ".lab" / "kubeconfig"))
            storage = NfsServer(remote, lab.group("nfs_servers")[0].name)
            hypervisor = VagrantMachines()
            if options.status:
                print("\n".join(status(workers, api, hypervisor, storage)))
            elif options.release:
                print(release(options.release, workers, api, storage))
            else:
                stack.enter_context(only_one(LOCK))
                stream = stack.enter_context(options.log.open("a", encoding="utf-8")) if options.log else sys.stdout
                log = Log(stream)
                limits = Limits(options.suspect_after, options.confirm_after)
                check([*(partial(hypervisor.check, name) for name in workers), storage.check], log)
                watch(Watcher(workers, Tools(api, hypervisor, storage, log, limits)))
    except (LabError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def check(checks: Iterable[Callable[[], None]], log: Log) -> None:
    """Raise ``LabError`` where fencing could never work; what merely gives no answer now may do so later."""
    for each in checks:
        try:
            each()
        except UnreachableError as error:
            log.write("failed", text=f"check: {error}")


def watch(watcher: Watcher) -> None:
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
    nodes, revoked = api.look(), storage.revoked()
    lines = []
    for name, address in workers.items():
        try:
            power = hypervisor.look(name).state.value
        except LabError as error:
            power = f"unknown ({error})"
        node = nodes.get(name)
        ready = "not in the cluster" if node is None else "Ready" if node.ready == "True" else "NotReady"
        fenced = f"fenced since {node.fenced.at} (boot id {node.fenced.boot})" if node is not None and node.fenced else "not fenced"
        lines.append(f"{name}: VM {power}, node {ready}, {fenced}, NFS {'revoked' if address in revoked else 'open'}")
    return lines


def release(name: str, workers: Mapping[str, str], api: Api, storage: Storage) -> str:
    """Open NFS to a node and take its taint and annotation away; return the sentence that says so.

    Raises:
        LabError: there is no such worker, or the server or the API refuses.
    """
    if name not in workers:
        raise LabError(f"{name!r} is no worker of the inventory: choose one of {', '.join(workers)}.")
    storage.allow(workers[name])
    # A worker that isn't a node any more has nothing else to take back.
    with contextlib.suppress(NotFoundError):
        node = api.read(name)
        if node.fenced is not None or node.tainted:
            api.unmark(node)
    return f"{name} is released; a watcher that runs fences it again while its VM is off."


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} isn't possible: give 1 to 3600 seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
