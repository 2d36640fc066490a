"""What dead labs left behind, and machines of other labs that are in the way."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from outlive.base.paths import machine_ids
from outlive.base.process import said
from outlive.host import private
from outlive.host.doctor import Finding, fine, note, wrong
from outlive.host.settings import Settings
from outlive.host.virtualization import VIRSH


def orphans(inits: Sequence[private.Init]) -> Finding:
    """Say whether labs of deleted checkouts still run."""
    if inits:
        first = inits[0]
        more = f", and {len(inits) - 1} more" if len(inits) > 1 else ""
        return note(f"a lab still runs whose checkout {first.root} is gone (process {first.pid}{more}): `make lab` clears it")
    return fine("no leftovers of other labs")


def ended(process: int | None, machines: Collection[str]) -> Finding:
    """Say whether this checkout's private libvirt has ended; `process`: the one that is noted and no more, None where there is none."""
    if process is None:
        return fine("no leftovers of this checkout's libvirt")
    names = f" with its machines {', '.join(sorted(machines))}" if machines else ""
    return note(
        f"this checkout's own libvirt (process {process}) has ended{names}: `make lab` starts it again and goes on with their disks, `outlive destroy` removes them"
    )


def vagrant_state(machines: Mapping[str, str], existing: Collection[str] | None) -> Finding:
    """Say whether Vagrant knows machines that are no more.

    Args:
        machines: The ids that Vagrant noted in .vagrant, by machine.
        existing: The ids of all machines that the provider has; None where it couldn't be asked.
    """
    if existing is None:
        return fine("Vagrant's machines: the provider wasn't asked")
    gone = sorted(name for name, identity in machines.items() if identity not in existing)
    if gone:
        return note(
            f".vagrant names machines that are no more ({', '.join(gone)}): `outlive destroy` forgets them; `make lab` makes them anew, beside what is left of the others"
        )
    return fine(f"Vagrant's machines: {', '.join(sorted(machines)) or 'none yet'}")


def purpose(machines: Collection[str], *, scenarios: bool, wanted: bool) -> Finding:
    """Say whether this checkout's machines are there for something else.

    Args:
        machines: Their names.
        scenarios: They were made for the roles' scenarios, not for a lab.
        wanted: Machines for the roles' scenarios are wanted, not a lab's.
    """
    if machines and scenarios != wanted:
        there, others = ("`outlive molecule`'s", "the lab") if scenarios else ("a lab's", "`outlive molecule`")
        return wrong(
            f"this checkout has machines that are {there} ({', '.join(sorted(machines))}), and {others} makes others of the same names: run `outlive destroy`, which removes them, or use another checkout"
        )
    return fine("no machines of this checkout that are there for something else")


def renamed(machines: Collection[str], named: Collection[str]) -> Finding:
    """Say whether a machine that the inventory doesn't name any more is in the way of one that is to be made.

    Args:
        machines: Those of this checkout that Vagrant made.
        named: Those that the inventory names.
    """
    old, new = sorted(set(machines) - set(named)), sorted(set(named) - set(machines))
    if not old:
        return fine("the inventory names each machine that this checkout has")
    said = f"this checkout has {', '.join(old)}, which inventories/lab/hosts.yml doesn't name any more"
    cure = f"run `outlive destroy`, which removes the whole lab, or name {'it' if len(old) == 1 else 'them'} again there"
    if new:
        return wrong(
            f"{said}, while {', '.join(new)} {'is' if len(new) == 1 else 'are'} to be made, maybe with an address that is in use: {cure}"
        )
    return note(f"{said}, and Vagrant leaves alone: {cure}")


def volumes(domains: Collection[str], there: Collection[str]) -> Finding:
    """Say whether disks are left of machines that are to be made.

    Args:
        domains: Names that these will have in libvirt, which has none of them.
        there: The volumes in libvirt's pool `default`.
    """
    # As vagrant-libvirt names them: the disks of the box, and those that the Vagrantfile adds.
    left = sorted(
        volume for volume in there for domain in domains if re.fullmatch(rf"{re.escape(domain)}(\.img|_\d+\.img|-[a-z]+\.\w+)", volume)
    )
    if left:
        more = ", likewise the others" if len(left) > 1 else ""
        return wrong(
            f"libvirt's pool 'default' has {', '.join(left)}, left of machines that are no more, and Vagrant would make no machine over them: remove them (`outlive run virsh vol-delete --pool default {left[0]}`{more})"
        )
    return fine("libvirt: no disks left of machines that are no more")


def foreign(wanted: Collection[str], domains: Mapping[str, str], machines: Mapping[str, str]) -> Finding:
    """Say whether the system's libvirt has machines of the lab's names that aren't this checkout's.

    Args:
        wanted: The domains' names that the lab will use.
        domains: The ids of all of libvirt's domains, by name.
        machines: The ids that Vagrant noted in this checkout, by machine.
    """
    ours = set(machines.values())
    others = sorted(name for name, identity in domains.items() if name in wanted and identity not in ours)
    if others:
        return wrong(
            f"the system's libvirt has {', '.join(others)} already, which this checkout's Vagrant doesn't know: run `outlive destroy` in the checkout that made it, or remove it (`virsh -c qemu:///system undefine {others[0]} --remove-all-storage --snapshots-metadata`), or give lab_libvirt_prefix in inventories/lab/group_vars/all/vagrant.yml another value"
        )
    return fine("libvirt: no machines of the lab's names but its own")


def read_domains() -> dict[str, str] | None:
    """Return the ids of the system libvirt's domains, by name."""
    printed = said((*VIRSH, "list", "--all", "--uuid", "--name"))
    return None if printed is None else domains(printed)


def domains(printed: str) -> dict[str, str]:
    """Return ids by name from what `virsh list --uuid --name` printed."""
    return {words[1]: words[0] for line in printed.splitlines() if len(words := line.split()) == 2}


def read_existing(settings: Settings) -> set[str] | None:
    """Return the ids of all machines that the lab's provider has, running or not."""
    if settings.provider == "virtualbox":
        return _virtualbox("vms")
    if not settings.private:
        found = read_domains()
        return None if found is None else set(found.values())
    return definitions(private.FOLDER / "etc/qemu")


def read_system_pool() -> set[str]:
    """Return the volumes of the system libvirt's pool `default`."""
    printed = said((*VIRSH, "vol-list", "default")) or ""
    return {words[0] for line in printed.splitlines()[2:] if (words := line.split())}


def read_private_pool() -> set[str]:
    """Return the volumes of the pool of this checkout's own libvirt."""
    try:
        return {file.name for file in private.pool().iterdir()}
    except OSError:
        return set()


def read_defined() -> set[str] | None:
    """Return the names of the machines that this checkout's own libvirt has; None where this user can't read them."""
    folder = private.FOLDER / "etc/qemu"
    try:
        return {file.stem for file in folder.iterdir() if file.suffix == ".xml"} if folder.exists() else set()
    except OSError:
        return None


def definitions(folder: Path) -> set[str] | None:
    """Return the ids in libvirt's definitions of domains in a folder; none where it isn't there, None where this user can't read it."""
    found: set[str] = set()
    try:
        if not folder.exists():
            return found
        for file in folder.iterdir():
            if file.suffix == ".xml" and (uuid := re.search(r"<uuid>([0-9a-f-]{36})</uuid>", file.read_text(encoding="utf-8"))):
                found.add(uuid[1])
    except OSError:
        return None
    return found


def read_running(settings: Settings) -> set[str]:
    """Return the ids of the machines that run; of a private libvirt, of all machines, as long as it is alive."""
    if settings.provider == "virtualbox":
        return _virtualbox("runningvms") or set()
    if not settings.private:
        return set((said((*VIRSH, "list", "--uuid")) or "").split())
    return set(machine_ids().values()) if private.current() is not None else set()


def _virtualbox(which: str) -> set[str] | None:
    printed = said(("VBoxManage", "list", which))
    return None if printed is None else set(re.findall(r"\{([0-9a-f-]{36})\}", printed))
