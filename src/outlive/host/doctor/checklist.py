"""What is looked at, and in which order, before anything is made: `outlive doctor` prints all of it, `make lab` stops at what is wrong.

The findings themselves are in `src/outlive/host/doctor/`; here is what the inventory file alone can be asked.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.paths import ROOT, SCENARIOS, STATE, cache, machine_ids
from outlive.host import environment, packages, private, virtualization
from outlive.host.doctor import Finding, checkout, clock, fine, hypervisors, leftovers, networks, resources, software, wrong
from outlive.host.settings import Settings, decide
from outlive.lab import inventory
from outlive.mirror import golang

POOLS = {"libvirt": Path("/var/lib/libvirt/images"), "virtualbox": Path("~/VirtualBox VMs").expanduser()}
"""Where the provider keeps the VMs' disks by default, without a libvirt of the lab's own."""


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


def needed_memory(lab: inventory.Inventory) -> int:
    """Return the MiB that the lab's machines and the host beside them need; look at the machines' other sizes too.

    Raises:
        LabError: a size is missing or no whole number.
    """
    for host in lab.hosts.values():
        size_of(host.name, "lab_cpus", host.variables.get("lab_cpus"))
        if "lab_data_disk" in host.variables:
            size_of(host.name, "lab_data_disk", host.variables["lab_data_disk"])
    return resources.HOST_MEMORY + sum(size_of(host.name, "lab_memory", host.variables.get("lab_memory")) for host in lab.hosts.values())


def of_host(settings: Settings, *, installable: bool) -> Iterator[Finding]:
    """Look at what a lab with `settings` needs of the host, whatever the inventory says; `installable`: `make setup` comes yet."""
    yield from checkout.read()
    libvirt = settings.provider == "libvirt"
    lacking = packages.missing(settings.architecture, libvirt=libvirt)
    if settings.builds_mirror:
        lacking += packages.missing_mirror_packages(settings.architecture)
    yield software.missing(lacking, installable=installable)
    vagrant = None
    if "vagrant" not in lacking:
        vagrant = software.read(software.VAGRANT)
        yield software.tool(software.VAGRANT, vagrant)
    if libvirt and packages.makers_vagrant():
        home = settings.environment().get("VAGRANT_HOME") or os.environ.get("VAGRANT_HOME") or "~/.vagrant.d"
        yield software.makers_plugin(software.read_plugins(Path(home).expanduser()), home, private=settings.private)
    elif libvirt and "vagrant-libvirt" not in lacking:
        yield software.plugin(software.read_gemspecs())
    if settings.driver == "qemu":
        if "libvirt-clients" not in lacking:
            yield software.tool(software.LIBVIRT, software.read(software.LIBVIRT))
        qemu = software.qemu(settings.architecture)
        if packages.EMULATORS[settings.architecture] not in lacking:
            yield software.tool(qemu, software.read(qemu))
    if settings.builds_mirror:
        yield software.go(golang.pinned(), there=golang.is_there())
    installs = bool(lacking) and installable
    if settings.private or settings.builds_mirror or installs:
        yield software.privileges(root=os.geteuid() == 0, sudo=shutil.which("sudo") is not None, installs=installs)
    yield hypervisors.architecture(
        hypervisors.read_system()[1],
        settings.architecture,
        mirror=settings.sources == "mirror",
        vagrant=software.version(vagrant or ""),
    )
    if not libvirt:
        virtualbox = hypervisors.read_virtualbox()
        yield hypervisors.vagrant_for_virtualbox(software.version(vagrant or ""), virtualbox)
        yield hypervisors.kvm_beside_virtualbox(hypervisors.read_kvm(), virtualbox)
    yield clock.plausible(time.time(), clock.read_written(mirror=settings.builds_mirror))


def of_lab(settings: Settings, lab: inventory.Inventory, memory: int) -> Iterator[Finding]:
    """Look at what the inventory asks of the host; `memory` as `needed_memory` has it."""
    machines = machine_ids()
    yield leftovers.purpose(machines, scenarios=SCENARIOS.exists(), wanted=settings.scenarios)
    yield leftovers.renamed(machines, lab.hosts)
    running = bool(machines) and not leftovers.read_running(settings).isdisjoint(machines.values())
    if not running:
        yield resources.memory(memory, resources.read_meminfo())
        yield resources.disk(STATE if settings.private else POOLS[settings.provider], resources.LAB_DISK, "the lab")
    if settings.builds_mirror and not (cache() / str(lab.setting("lab_box_catalog"))).exists():
        yield resources.disk(cache(), resources.MIRROR_DISK, "the mirror")
    prefix = str(lab.setting("lab_libvirt_prefix"))
    unmade = {f"{prefix}{name}" for name in lab.hosts if name not in machines}
    if settings.private:
        if (defined := leftovers.read_defined()) is not None:
            yield leftovers.volumes(unmade - defined, leftovers.read_private_pool())
        # Its networks, ports and machines are its own: nothing of the host's can be in their way.
        return
    network = str(lab.setting("lab_network"))
    if settings.provider == "libvirt":
        wanted = {f"{prefix}{name}" for name in lab.hosts}
        domains = leftovers.read_domains()
        yield hypervisors.system_libvirt(answers=domains is not None)
        yield leftovers.foreign(wanted, domains or {}, machines)
        yield leftovers.volumes(unmade.difference(domains or {}), leftovers.read_system_pool())
        yield hypervisors.confined(hypervisors.read_pool(), apparmor=hypervisors.read_apparmor())
    if not running:
        links = networks.read_links()
        if settings.provider == "libvirt":
            yield networks.free(network, links, networks.read_bridge(f"{prefix}lab"))
            management = "lab_libvirt_management_network"
            yield networks.free(str(lab.setting(management)), links, networks.read_bridge("vagrant-libvirt"), management)
        else:
            yield networks.free(network, links, "vboxnet0")
    if settings.provider == "virtualbox":
        yield networks.virtualbox_range(network, networks.read_file("/etc/vbox/networks.conf"), hypervisors.read_virtualbox())
    if settings.builds_mirror:
        yield networks.mirror_ports(private.MIRROR_PORTS, networks.read_mirror(private.MIRROR_PORTS))


def advice(settings: Settings, lab: inventory.Inventory | None) -> Iterator[Finding]:
    """Look at what is worth knowing and never stops a lab; not looked at by `make lab`."""
    if settings.driver == "qemu" and os.environ.get("OUTLIVE_DRIVER", "auto") == "auto":
        kvm = virtualization.kvm()
        yield hypervisors.emulated(kvm.reason, Path("/dev/kvm").exists(), hypervisors.read_flags(), hypervisors.read_kvm().module)
    file, daemon = networks.read_docker()
    links = networks.read_links()
    runs = any(link.get("ifname") == "docker0" for link in links)
    if lab is not None and not settings.private and (runs or daemon is not None or shutil.which("dockerd") is not None):
        yield networks.docker(str(lab.setting("lab_network")), daemon, links, file)
    if settings.provider == "libvirt" and not settings.private and not settings.builds_mirror and runs:
        yield networks.forwarding(networks.read_backend(), daemon, networks.read_forward_policy(), file)
    yield networks.proxy(os.environ, sources=settings.sources)
    if settings.private:
        ended = private.ended()
        yield leftovers.ended(ended.pid if ended else None, machine_ids())
    yield leftovers.vagrant_state(machine_ids(), leftovers.read_existing(settings))


def before_anything(settings: Settings) -> None:
    """Look at everything that would break the lab; raise on the first thing that is wrong.

    Raises:
        LabError: something is wrong; its sentence names the cure.
    """
    lab = load_inventory(settings)
    memory = needed_memory(lab)
    for finding in chain(of_host(settings, installable=False), of_lab(settings, lab, memory)):
        if finding.verdict == "WRONG":
            raise LabError(finding.sentence)


def everything() -> Iterator[Finding]:
    """Look at all there is to look at, as far as it can be looked at; nothing is made or installed."""
    yield hypervisors.system(*hypervisors.read_system())
    yield software.python(*environment.python_version())
    link = ROOT / ".venv"
    there = find_spec("yaml") is not None and find_spec("ansible") is not None
    yield software.environment(there=there, foreign=link.is_dir() and not link.is_symlink())
    yield leftovers.orphans(private.orphans())
    yield clock.synchronized(clock.read_synchronized())
    try:
        cache()
        settings = decide()
    except LabError as error:
        yield wrong(str(error))
        return
    libvirt = f", driver {settings.driver}, {'private' if settings.private else 'system'} libvirt" if settings.provider == "libvirt" else ""
    yield fine(f"provider {settings.provider}{libvirt}, sources {settings.sources} ({settings.why})")
    yield from of_host(settings, installable=shutil.which("apt-get") is not None)
    lab = None
    if there:
        try:
            lab = load_inventory(settings)
            memory = needed_memory(lab)
        except LabError as error:
            yield wrong(str(error))
        else:
            yield from of_lab(settings, lab, memory)
    yield from advice(settings, lab)


def report() -> int:
    """Print every finding (`outlive doctor`); return 1 if any would break the lab."""
    bad = 0
    for finding in everything():
        bad += finding.verdict == "WRONG"
        print(f"  {finding.verdict:<5}  {finding.sentence}", flush=True)
    print(
        f"{bad} {'thing' if bad == 1 else 'things'} would break the lab: cure what is marked WRONG"
        if bad
        else "nothing was found that would break the lab"
    )
    return 1 if bad else 0


def status() -> int:
    """Print how this host runs the lab and whether its private libvirt is alive; return 1 if there is no lab."""
    settings = decide()
    init = private.current()
    print(
        f"provider {settings.provider}, driver {settings.driver}, sources {settings.sources}, inventories {', '.join(settings.inventories)}"
    )
    machines = sorted(machine_ids())
    print(f"machines: {', '.join(machines) or 'none'}")
    if settings.private:
        print(f"private libvirt: {f'process {init.pid}' if init else 'not running'}")
    return 0 if machines else 1
