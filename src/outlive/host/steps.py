"""The lab as a whole: `make lab` leads from a fresh machine to a verified fail-over; reset and destroy."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from outlive.base import architecture
from outlive.base.errors import EXIT_FAIL, FailedError, LabError, StepFailedError, UnreachableError
from outlive.base.locks import alone
from outlive.base.paths import LOCK, LOGS, REPORTS, ROOT, STATE, kubectl, machine_ids
from outlive.base.process import OUTLIVE, logged, remove, shown
from outlive.base.wait import wait_for
from outlive.host import durations, environment, molecule, packages, private, rehearsals, storage
from outlive.host.doctor import checklist, checkout, leftovers
from outlive.host.reach import Reached, build_mirror, build_scanner, check_of, log_of, outcome, reach
from outlive.host.settings import Settings, decide
from outlive.lab import objects
from outlive.mirror import golang

SNAPSHOT = "fresh"
"""Name of the snapshot that `outlive reset` goes back to: the cluster as site.yml left it."""

VERIFIED = STATE / "verified.json"
"""Which VMs passed the power-off verification, and where its report lies."""

DRILLS: tuple[tuple[tuple[str, ...], str], ...] = ((("mysqld-kill", "nfs-restart"), "default"), (("power-cut",), "fenced"))
"""The faults that `make test` runs, each with its recovery profile: `outlive drills` runs them all."""
PAGES = ("01-emptydir", "04-nfs")
"""The pages of the tutorial that `make test` runs: `outlive pages` runs them all."""
DISKS_PAGE = "11-iscsi"
"""The page on a disk that doesn't leave its dead node, which `make test` runs too, once the lab has such disks."""
MORE_UNTIL = 3300.0
"""Seconds after the beginning of `make test` in which pages, a row of drills or the rehearsal may begin: a slow host that built the mirror first
has shown the main job by then, and isn't kept for as long again."""


def test(*, everything: bool = False) -> None:
    """Lint, run the unit tests, make the lab, verify it, run pages and drills, give it disks over iSCSI; remove it where it wasn't there before; rehearse a user's host.

    Args:
        everything: Run all pages and all exercises, the CIS benchmark, the steps of a lab's life and the roles' scenarios too, however long it takes.

    Raises:
        LabError: a step or a check failed; the end of its log was printed.
    """
    began = time.monotonic()
    with alone():
        ours = not machine_ids()
    lint()
    if everything:
        settings = decide()
        if settings.builds_mirror:
            # The last chapter's; without it its page and its image's tests are skipped, and what was skipped never passes.
            build_mirror(settings.box, "mysql-9.7")
        build_scanner()
    unit()
    VERIFIED.unlink(missing_ok=True)
    with _newest_log():
        try:
            make()
            more: list[tuple[str, str, Callable[[], object]]] = [
                ("pages", "outlive pages", partial(_outlive, "pages", "pages", *(() if everything else PAGES)))
            ]
            more += [
                (
                    f"drills {profile} ({', '.join(faults)})",
                    f"outlive {' '.join(_drill_words(faults, profile))}",
                    partial(_outlive, f"drills {profile}", *_drill_words(faults, profile)),
                )
                for faults, profile in DRILLS
            ]
            disks = ("storage iscsi", "outlive storage add iscsi", partial(add_storage, "iscsi"))
            if everything:
                more.insert(0, disks)  # before the pages, of which one needs it
                more.append(("cis", "outlive cis", partial(_outlive, "cis", "cis")))
                more.append(("lifecycle", "outlive lifecycle", partial(_outlive, "lifecycle", "lifecycle")))
            else:
                more += [
                    disks,
                    (f"page {DISKS_PAGE}", f"outlive pages {DISKS_PAGE}", partial(_outlive, "page of iscsi", "pages", DISKS_PAGE)),
                ]
            for what, command, run in more:
                if everything or not _late(what, command, began):
                    run()
        finally:
            if ours:
                destroy()
        if everything:
            if ours:
                roles()
            else:
                print("roles' scenarios: not run, since this checkout's lab stays: `outlive molecule` in another checkout runs them")
        what, command = "rehearsal host", "outlive rehearse host"
        if reason := rehearsals.why_not() if decide().builds_mirror else "this host builds no mirror":
            print(f"{what}: not run, {reason}: `{command}` runs it elsewhere")
        elif everything or not _late(what, command, began):
            _rehearse(what, "host")


def _late(what: str, command: str, began: float) -> bool:
    """Say whether too much time has passed since the beginning for a part that has a command of its own; tell it where it has."""
    minutes = (time.monotonic() - began) / 60
    if minutes * 60 <= MORE_UNTIL:
        return False
    print(f"{what}: not run, {minutes:.0f} minutes have passed and none begins after {MORE_UNTIL / 60:.0f}: `{command}` runs it")
    return True


@contextmanager
def _newest_log() -> Iterator[None]:
    """Show the end of the log that was written last where a step fails."""
    try:
        yield
    except LabError:
        newest = max(LOGS.glob("*.log"), key=lambda path: path.stat().st_mtime, default=None)
        if newest is not None:
            print(f"--- the end of {newest}", *newest.read_text(encoding="utf-8", errors="replace").splitlines()[-80:], sep="\n")
        raise


def _rehearse(what: str, way: str) -> None:
    """Run a rehearsal, which needs no lab of this checkout's, as one step.

    Raises:
        FailedError: its verdict is fail.
        LabError: it isn't known.
    """
    try:
        logged(what, [*OUTLIVE, "rehearse", way], log_of(what), show=check_of, patience=rehearsals.PATIENCE)
    except StepFailedError as error:
        raise (FailedError(str(error)) if error.status == EXIT_FAIL else error) from error
    finally:
        print(outcome(log_of(what)), flush=True)


def roles(named: Sequence[str] = (), step: str = "test") -> None:
    """Run the roles' scenarios on machines of the bare box, or of the one that is asked for; remove the machines afterwards.

    Args:
        named: The roles' names; none for all.
        step: `test`, or one step of the role's scenario, which leaves the machines for the next one.

    Raises:
        LabError: see `src/outlive/host/molecule.py`.
    """
    with alone():
        settings = molecule.prepare(named, step)
        try:
            molecule.run(settings, named, step)
        finally:
            if step == "test":
                _remove()


def _outlive(what: str, *words: str) -> float:
    """Run a command of `outlive` on the lab as one step; return the seconds it took."""
    return reach().judge(what, [*OUTLIVE, *words])


def _drill_words(faults: Sequence[str], profile: str) -> list[str]:
    """Return the words of `outlive` that run some faults under a recovery profile."""
    return ["drills", *(word for fault in faults for word in ("--fault", fault)), "--profile", profile]


def make() -> dict[str, float]:
    """Do all that leads from a fresh machine to a lab in which MySQL's data was seen to outlive its node.

    Each step is done only as far as it isn't done yet, so that an interrupted run can be run again.

    Returns:
        Seconds that each step took, by name.

    Raises:
        LabError: a step failed; the sentence names it, its log and the cure.
    """
    started = time.monotonic()
    with alone():
        settings = decide()
        print(
            f"provider: {settings.provider}{f' ({settings.driver})' if settings.driver else ''}, sources: {settings.sources} [{settings.why}]"
        )
        print(durations.sentence(settings))
        lab, took = _make_cluster(settings)
        took["tutorial"] = lab.step("tutorial", ["ansible-playbook", "playbooks/tutorial.yml"], task_of)
    # Not held any more: the checks, processes of their own, hold the lab themselves.
    took["verification"] = _verify()
    durations.keep(settings, took)
    print(
        f"\nThe lab is up after {(time.monotonic() - started) / 60:.0f} minutes. `outlive shell` opens a shell in which kubectl and vagrant see it.\n",
        flush=True,
    )
    status = lab.run([*OUTLIVE, "report"])
    if status != 0:
        raise LabError("the summary could not be printed: run `outlive report` to see where the reports lie")
    return took


def _make_cluster(settings: Settings) -> tuple[Reached, dict[str, float]]:
    """Make the VMs and the cluster with its NFS server, and keep a snapshot of it.

    Returns:
        The lab, and the seconds that each step took, by name.

    Raises:
        LabError: a step failed.
    """
    checklist.before_anything(settings)
    took: dict[str, float] = {}
    if settings.builds_mirror:
        took["mirror"] = build_mirror(settings.box)
    lab = reach()
    took["inventory"] = lab.step("inventory", ["ansible-playbook", "playbooks/check.yml"], task_of)
    took["up"] = lab.step("virtual machines", ["vagrant", "up", "--no-tty"], vagrant_line)
    took["site"] = lab.step("cluster", ["ansible-playbook", "playbooks/site.yml"], task_of)
    took["snapshot"] = _snapshot(lab)
    return lab, took


def _verify() -> float:
    """Run the checks with the power-off, unless these very VMs passed them already."""
    identity = machine_ids()
    kept = _kept()
    if identity and kept.get("machines") == identity and Path(str(kept.get("report"))).is_dir():
        print(f"verification: passed on these machines at {kept['when']} (run it again: `outlive verify`)")
        return 0.0
    seconds = _outlive("verification", "verify")
    latest = (REPORTS / "latest").resolve()
    VERIFIED.write_text(
        json.dumps({"machines": identity, "report": str(latest), "when": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}),
        encoding="utf-8",
    )
    return seconds


def _kept() -> dict[str, object]:
    try:
        data = json.loads(VERIFIED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _snapshot(lab: Reached) -> float:
    """Keep the fresh cluster, once, for `outlive reset`; return the seconds it took.

    All machines stand while they are saved, one after the other: else a connection between two of them would be
    at different bytes on its two ends, and hang after the restore.
    """
    names = list(machine_ids())
    have = _snapshots(lab)
    if have >= len(names):
        return 0.0
    if have and (STATE / "tutorial").exists():
        print("snapshot: not taken, as a machine came later and the others aren't fresh any more: `outlive reset` needs a new lab")
        return 0.0
    seconds = lab.step("snapshot: suspend", ["vagrant", "suspend"], vagrant_line)
    try:
        seconds += lab.step("snapshot", ["vagrant", "snapshot", "save", "--force", SNAPSHOT], vagrant_line)
    finally:
        seconds += lab.step("snapshot: resume", ["vagrant", "resume", "--no-provision"], vagrant_line)
    storage.keep()
    return seconds


def _snapshots(lab: Reached) -> int:
    """Return how many machines have the snapshot of the fresh cluster."""
    return lab.output(["vagrant", "snapshot", "list", "--machine-readable"]).count(SNAPSHOT)


def reset() -> None:
    """Put the VMs back to the fresh cluster and wait until its nodes are Ready.

    Raises:
        LabError: there is no snapshot, the cluster doesn't come back, or another command works on the lab.
    """
    with alone():
        _reset()


def _reset() -> None:
    lab = reach()
    lab.require_libvirt()
    have, machines = _snapshots(lab), len(machine_ids())
    if not have:
        raise LabError("there is no snapshot of a fresh cluster to go back to: run `make lab`, which takes one after playbooks/site.yml")
    if have < machines:
        raise LabError(
            f"{machines - have} of {machines} machines came after the snapshot of the fresh cluster, which can't go back without them: "
            "remove them (docs/lifecycle.md), or run `outlive destroy` and `make lab`"
        )
    kubectl()  # before anything is put back: it tells when the nodes are Ready
    lab.step("restore", ["vagrant", "snapshot", "restore", "--no-provision", "--no-start", SNAPSHOT], vagrant_line)
    VERIFIED.unlink(missing_ok=True)
    came_later = storage.go_back()
    lab.step("resume", ["vagrant", "resume", "--no-provision"], vagrant_line)
    restored = datetime.now(UTC)
    # The guests' clocks go on from the moment of the snapshot.
    lab.step("clocks", [sys.executable, "-P", "-m", "outlive.lab.guest_clocks"], lambda line: line)
    wait_for(
        "nodes",
        "Ready with a lease renewed since",
        lambda: _stale_nodes(lab, restored),
        lambda stale: not stale,
        within=600,
        every=2,
        describe=", ".join,
    )
    print("all nodes are Ready: the cluster is as playbooks/site.yml left it")
    for name in came_later:
        print(f"{name} came after the snapshot, and is gone with what was on it: `outlive storage add {name}` brings it again, empty")


def _stale_nodes(lab: Reached, since: datetime) -> list[str]:
    """Return the nodes that aren't Ready or whose kubelet has not renewed its lease since.

    Raises:
        UnreachableError: the API server gives no answer yet.
    """
    try:
        listing = lab.output([str(kubectl()), "--request-timeout=20s", "get", "nodes,leases.coordination.k8s.io", "-A", "-o", "json"])
    except LabError as error:
        raise UnreachableError(str(error)) from error
    items = json.loads(listing)["items"]
    renewed = {
        item["metadata"]["name"]: datetime.fromisoformat(item["spec"]["renewTime"])
        for item in items
        if item["kind"] == "Lease" and item["metadata"]["namespace"] == "kube-node-lease"
    }
    ready = {node.name: node.ready == "True" for node in (objects.node(item) for item in items if item["kind"] == "Node")}
    return [name for name, is_ready in ready.items() if not is_ready or renewed.get(name, since) <= since]


def add_storage(name: str) -> None:
    """Give the lab a kind of storage that it hasn't got, or bring it up to date; a lab that isn't there yet gets it when it is made.

    Raises:
        LabError: a playbook failed, or another command works on the lab.
    """
    kind = storage.KINDS[name]
    print(f"{name}: {kind.title}; takes {kind.needs}", flush=True)
    with alone():
        storage.choose(name)
        if not machine_ids():
            print("there is no lab yet: `make lab`, or `outlive up` and `outlive provision`, make one with it")
            return
        lab = reach()
        lab.step(f"storage {name}", ["ansible-playbook", "playbooks/site.yml", "--tags", kind.tags], task_of)
        if (STATE / "tutorial").exists():
            lab.step("tutorial", ["ansible-playbook", "playbooks/tutorial.yml"], task_of)


def destroy() -> None:
    """Remove the VMs, the private libvirt and this checkout's state; reports stay.

    Raises:
        LabError: another command works on the lab, or Vagrant couldn't remove a machine; nothing else was removed.
    """
    with alone():
        _remove()


def _remove() -> None:
    """Remove it all while the lab and its libvirt are held; the locks' files last, so that whoever waits for them finds nothing half removed."""
    with private.held():
        # What is there decides, not what this host's settings would be today.
        if private.FOLDER.exists():
            # Ending it ends the VMs; their disks lie in its folder.
            private.stop()
        elif machine_ids():
            lab = Reached(decide(), None)
            status = lab.run(["vagrant", "destroy", "--force"])
            if status != 0:
                raise LabError(
                    f"`vagrant destroy` ended with status {status}, so the lab's state stays: see its words above, then run `outlive destroy` again"
                )
            _remove_unnamed(lab)
        private.forget_vms()
        locks = (private.lock(), LOCK)
        for each in STATE.iterdir() if STATE.exists() else ():
            if each not in locks:
                remove(each)
        for each in locks:
            each.unlink(missing_ok=True)
        with suppress(OSError):  # not empty: another command has begun since
            STATE.rmdir()


def _remove_unnamed(lab: Reached) -> None:
    """Remove the machines that are left after `vagrant destroy`, which knows those alone that the inventory names now.

    Raises:
        LabError: the provider doesn't remove one.
    """
    existing = leftovers.read_existing(lab.settings)
    for name, identity in machine_ids().items():
        if existing is not None and identity not in existing:
            continue
        print(f"removing {name}, which the inventory doesn't name any more")
        if lab.settings.provider == "virtualbox":
            off, gone = ["VBoxManage", "controlvm", identity, "poweroff"], ["VBoxManage", "unregistervm", identity, "--delete"]
        else:
            off = ["virsh", "--quiet", "destroy", identity]
            gone = ["virsh", "--quiet", "undefine", identity, "--remove-all-storage", "--snapshots-metadata", "--managed-save"]
        lab.run(off)  # which one that is off already refuses
        if (status := lab.run(gone)) != 0:
            raise LabError(
                f"`{' '.join(gone)}` ended with status {status}, so {name} and the lab's state stay: see its words above, then run `outlive destroy` again"
            )


def setup() -> None:
    """Install what the host lacks and make the virtual environment; where the mirror is built, install what builds it.

    Raises:
        LabError: the checkout or the cache lies where the lab can't work; see `src/outlive/host/packages.py`; Go, with which the mirror is built, can't be had.
    """
    # What can't be used is refused before anything is installed.
    for finding in checkout.read():
        if finding.verdict == "WRONG":
            raise LabError(finding.sentence)
    # Only hosts that build the mirror need its tools; whether this one does is known once QEMU is there to try KVM.
    packages.install_packages(packages.missing(architecture.chosen(), libvirt=_wants_libvirt()))
    own = environment.make()
    if decide().builds_mirror:
        packages.install_packages(packages.missing_mirror_packages(architecture.chosen()), services=False)
        golang.prepare(str(own / "bin/python"))


def _wants_libvirt() -> bool:
    return os.environ.get("OUTLIVE_PROVIDER", "auto") != "virtualbox"


def lint() -> None:
    """Run the linters on the whole checkout.

    Raises:
        FailedError: one of them found something; its words were printed.
    """
    tools = ["ruff check .", "ruff format --check .", "mypy", "yamllint --strict .", "ansible-lint --offline"]
    failed = [tool for tool in tools if shown(tool.split(), cwd=ROOT)]
    if failed:
        raise FailedError(f"{', '.join(failed)}: see the words above, correct what they name, then run `outlive lint` again")


def unit() -> None:
    """Run the tests without machines.

    Raises:
        LabError: one failed; its log is named.
    """
    try:
        logged("unit tests", [sys.executable, "-m", "pytest", str(ROOT / "tests")], log_of("unit tests"), show=check_of)
    finally:
        print(outcome(log_of("unit tests")), flush=True)


def task_of(line: str) -> str | None:
    """Return the task or play that a line of ansible-playbook's output begins, None for other lines."""
    found = re.match(r"(?:TASK|PLAY|RUNNING HANDLER) \[(.+?)\]", line)
    return found[1] if found else None


def vagrant_line(line: str) -> str | None:
    """Return what a line of Vagrant's output says that is worth showing, None for other lines."""
    return line.removeprefix("==> ").strip() if line.startswith("==> ") else None
