"""What can be wrong with a host, looked at before anything is made: each finding names its cure."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from host import packages, private
from host.paths import ROOT, STATE, cache
from host.settings import Settings, decide
from verify.lab import inventory
from verify.lab.errors import LabError

HOST_MEMORY = 1024
"""MiB that the host needs beside the VMs: Ansible, pytest, the mirror's server, QEMU's own (measured: below 900)."""

LAB_DISK = 12
"""GiB for the VMs' disks with a snapshot (measured: 9)."""

MIRROR_DISK = 20
"""GiB for building mirror and boxes (measured: 15, Go's build cache included)."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `sentence` says what is wrong and how to cure it, or what was found."""

    ok: bool
    sentence: str


def load_inventory(settings: Settings) -> inventory.Inventory:
    """Ask Ansible for the inventory with the overlays that this host needs.

    Raises:
        LabError: the inventory can't be read.
    """
    for folder in settings.inventories:
        no_doubled_key(ROOT / folder / "hosts.yml")
    os.environ.update({name: settings.environment()[name] for name in ("ANSIBLE_INVENTORY", "ANSIBLE_CONFIG")})
    return inventory.load()


def no_doubled_key(hosts: Path) -> None:
    """Refuse an inventory in which a name stands twice in one place.

    Ansible and Ruby take the last one: a machine would be missing without a word, and no rule of `roles/inventory_check`
    could see it any more.

    Raises:
        LabError: a name is doubled, or the file can't be read.
    """
    import yaml  # not at the top: `make setup` runs before there is an environment that has it

    def walk(node: yaml.Node) -> None:
        if isinstance(node, yaml.SequenceNode):
            for each in node.value:
                walk(each)
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                here = key.start_mark.line + 1
                if key.value in lines:
                    raise LabError(
                        f"'{key.value}' stands twice in {hosts} (lines {lines[key.value]} and {here}), and the later one would replace the other: rename one or remove it"
                    )
                lines[key.value] = here
                walk(value)

    try:
        root = yaml.compose(hosts.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise LabError(f"{hosts} can't be read ({' '.join(str(error).split())}): correct it, or take it back from git") from error
    if root is not None:
        walk(root)


def size_of(name: str, setting: str, value: object) -> int:
    """Return what `lab_memory` (MiB), `lab_cpus` or `lab_data_disk` (MiB) gives a machine.

    Raises:
        LabError: it gives none, or no whole number.
    """
    unit, example = {"lab_memory": ("number of MiB", 2048), "lab_cpus": ("number of CPUs", 2), "lab_data_disk": ("number of MiB", 2048)}[
        setting
    ]
    try:
        size = int(str(value))
    except ValueError:
        size = 0
    if size <= 0:
        there = "missing" if value is None else repr(value)
        raise LabError(
            f"{setting} of {name} is {there}, which is no {unit}: write a whole one, such as {example}, in inventories/lab/hosts.yml"
        )
    return size


def memory(needed: int, meminfo: str) -> Finding:
    """Compare `needed` MiB with what /proc/meminfo (its text) says is available."""
    values = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if ":" in line}
    available = values.get("MemAvailable", values.get("MemFree", 0)) // 1024
    if available < needed:
        return Finding(
            False,
            f"the lab needs {needed} MiB of memory (lab_memory of all machines and {HOST_MEMORY} for the host) and {available} are available: end other programs or lower lab_memory in inventories/lab/hosts.yml",
        )
    return Finding(True, f"memory: {available} MiB available, {needed} needed")


def disk(folder: Path, needed: int, what: str) -> Finding:
    """Compare `needed` GiB with the free space where `folder` is or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free // 2**30
    if free < needed:
        return Finding(
            False,
            f"{what} needs {needed} GiB of disk and {free} are free on {there}: free some, or name another folder (OUTLIVE_CACHE for the cache)",
        )
    return Finding(True, f"disk for {what}: {free} GiB free on {there}, {needed} needed")


def network(wanted: str, links: Iterable[Mapping[str, object]], own: str) -> Finding:
    """Say whether another interface of the host (as `ip -j address` lists them) lies in the network `wanted`; `own` is the lab's bridge."""
    try:
        lab = ipaddress.ip_network(wanted)
    except ValueError as error:
        return Finding(
            False, f"lab_network is '{wanted}', which is no network ({error}): write it like 192.0.2.0/24 in inventories/lab/hosts.yml"
        )
    for link in links:
        name = str(link.get("ifname", "?"))
        addresses = link.get("addr_info", [])
        for entry in addresses if isinstance(addresses, list) else []:
            address = ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}")
            if name != own and address.version == lab.version and address.network.overlaps(lab):
                return Finding(
                    False,
                    f"lab_network is {wanted}, and the host's interface {name} has {address} in it: give lab_network and the addresses in inventories/lab/hosts.yml another network",
                )
    return Finding(True, f"network {wanted} is free")


def tools(settings: Settings) -> Finding:
    """Say which programs are missing."""
    lacking = packages.missing_packages(packages.TOOLS, packages.LIBVIRT if settings.provider == "libvirt" else {})
    if settings.sources == "mirror":
        lacking += packages.missing_mirror_packages()
    if lacking:
        return Finding(False, f"not installed: {', '.join(sorted(set(lacking)))} (Debian's names): run `make setup`, or install them")
    return Finding(True, "tools: all there")


def orphans() -> Finding:
    """Say whether labs of deleted checkouts still run."""
    found = private.orphans()
    if found:
        return Finding(False, f"a lab still runs whose checkout {found[0].root} is gone (process {found[0].pid}): `make lab` clears it")
    return Finding(True, "no leftovers of other labs")


def all_checks(settings: Settings) -> list[Callable[[], Finding]]:
    """Return what to look at for a lab that is to be made with `settings`."""
    lab = load_inventory(settings)
    running = private.current() is not None and any(ROOT.glob(".vagrant/machines/*/*/id"))
    for host in lab.hosts.values():
        size_of(host.name, "lab_cpus", host.variables.get("lab_cpus"))
        if "lab_data_disk" in host.variables:
            size_of(host.name, "lab_data_disk", host.variables["lab_data_disk"])
    needed = HOST_MEMORY + sum(size_of(host.name, "lab_memory", host.variables.get("lab_memory")) for host in lab.hosts.values())
    checks: list[Callable[[], Finding]] = [lambda: tools(settings), orphans]
    if not running:
        checks.append(lambda: memory(needed, Path("/proc/meminfo").read_text(encoding="ascii")))
        checks.append(lambda: disk(STATE, LAB_DISK, "the lab"))
    if settings.sources == "mirror" and not (cache() / "boxes/full.json").exists():
        checks.append(lambda: disk(cache(), MIRROR_DISK, "the mirror"))
    if not settings.private and not running:
        own = _lab_bridge(f"{lab.setting('lab_libvirt_prefix')}lab") if settings.provider == "libvirt" else "vboxnet0"
        checks.append(lambda: network(str(lab.setting("lab_network")), _links(), own))
    return checks


def before_anything(settings: Settings) -> None:
    """Look at everything; raise on the first thing that is wrong.

    Raises:
        LabError: something is wrong; its sentence names the cure.
    """
    for check in all_checks(settings):
        finding = check()
        if not finding.ok and check is not orphans:
            raise LabError(finding.sentence)


def report() -> int:
    """Print every finding (`make doctor`); return 1 if any is bad."""
    settings = decide()
    print(
        f"  ok   provider {settings.provider}, driver {settings.driver or 'its own'}, sources {settings.sources}, {'private' if settings.private else 'system'} libvirt ({settings.why})"
    )
    bad = 0
    for check in all_checks(settings):
        finding = check()
        bad += not finding.ok
        print(f"  {'ok  ' if finding.ok else 'WRONG'}  {finding.sentence}" if not finding.ok else f"  ok   {finding.sentence}")
    return 1 if bad else 0


def status() -> int:
    """Print how this host runs the lab and whether its private libvirt is alive; return 1 if there is no lab."""
    settings = decide()
    holder = private.current()
    print(
        f"provider {settings.provider}, driver {settings.driver}, sources {settings.sources}, inventories {', '.join(settings.inventories)}"
    )
    machines = sorted(path.parts[-3] for path in ROOT.glob(".vagrant/machines/*/*/id"))
    print(f"machines: {', '.join(machines) or 'none'}")
    if settings.private:
        print(f"private libvirt: {f'process {holder.pid}' if holder else 'not running'}")
    return 0 if machines else 1


def _links() -> list[dict[str, object]]:
    try:
        done = subprocess.run(["ip", "-j", "address"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    links: list[dict[str, object]] = json.loads(done.stdout)
    return links


def _lab_bridge(network_name: str) -> str:
    done = subprocess.run(["virsh", "-c", "qemu:///system", "net-info", network_name], capture_output=True, text=True, check=False)
    return next((line.split()[-1] for line in done.stdout.splitlines() if line.startswith("Bridge:")), "")
