"""How this host runs the lab, decided once a command: provider, accelerator, the machines' architecture, where packages come from, whose libvirt.

Each can be given by an environment variable; `auto`, the default, looks at the host.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from outlive.base import architecture
from outlive.base.architecture import AMD64, Architecture
from outlive.base.errors import LabError
from outlive.base.paths import BIN, KUBECONFIG, ROOT, STATE, cache
from outlive.base.process import LOCALE, said
from outlive.host import environment, storage, virtualization

Provider = Literal["libvirt", "virtualbox"]
Driver = Literal["kvm", "qemu"]
Sources = Literal["upstream", "mirror"]
Box = Literal["full", "bare", "generic"]

FILES = ROOT / "src/outlive/host/files"
"""What comes in the lab's shell before the host's programs, and says what is missing."""

CHOICES: dict[str, tuple[str, ...]] = {
    "OUTLIVE_PROVIDER": ("auto", "libvirt", "virtualbox"),
    "OUTLIVE_DRIVER": ("auto", "kvm", "qemu"),
    "OUTLIVE_SOURCES": ("auto", "upstream", "mirror"),
    "OUTLIVE_LIBVIRT": ("auto", "private", "system"),
    "OUTLIVE_BOX": ("auto", "full", "bare", "generic"),
    architecture.SETTING: architecture.CHOICES,
}
"""The settings and what each may be."""

SOCKET_PATH = 107
"""Characters that the path of a socket may have (unix(7): 108 with the zero at its end)."""

CONTROL_PATH = 28
"""Characters of it that come behind the folder of ssh's control sockets: a slash and Ansible's 10, and while ssh makes one, a dot and 16 more."""

PROXY_EXCEPTIONS = ("no_proxy", "NO_PROXY")
"""Variables that name the hosts for which no proxy is asked: some programs know the one, some the other."""


@dataclass(frozen=True)
class Settings:
    """What was decided, and why."""

    provider: Provider
    driver: Driver | None
    """libvirt's domain type: hardware virtualization or software emulation. None on VirtualBox."""
    sources: Sources
    """Packages and images from the internet or from the mirror on this host."""
    private: bool
    """The lab runs a libvirtd of its own, in namespaces of its own (`src/outlive/host/private/__init__.py`)."""
    why: str
    mirror: str = ""
    """Address of another host that serves the mirror to this lab (`outlive mirror serve` there); empty where this one does."""
    architecture: Architecture = AMD64
    """That of the machines' processors, the host's own unless OUTLIVE_ARCH says otherwise."""
    box: Box = "full"
    """Which of the mirror's boxes the machines are made of, where they come from the mirror; upstream there is one."""
    scenarios: bool = False
    """The machines are for the roles' scenarios, not for a lab."""

    @property
    def builds_mirror(self) -> bool:
        """Say whether packages and images come from a mirror that is built on this host."""
        return self.sources == "mirror" and not self.mirror

    @property
    def inventories(self) -> list[str]:
        """What all labs share, the inventory with the machines, and its overlays: a later one overrides an earlier one."""
        # A role's scenario may be about any kind of storage.
        storages = storage.KINDS if self.scenarios else storage.chosen()
        chosen = ["inventories/common", "inventories/lab", *(f"inventories/{name}" for name in storages)]
        if self.sources == "mirror":
            chosen.append("inventories/offline")
        if self.sources == "mirror" and self.box != "full":
            chosen.append(f"inventories/{self.box}")
        if self.driver == "qemu":
            chosen.append("inventories/emulated")
        return for_architecture(chosen, self.architecture)

    def environment(self) -> dict[str, str]:
        """Return the variables under which vagrant, virsh, ansible-playbook, kubectl and pytest work on this lab."""
        variables = {
            **LOCALE,
            "ANSIBLE_INVENTORY": ",".join(str(ROOT / name) for name in self.inventories),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "KUBECONFIG": str(KUBECONFIG),
            architecture.SETTING: self.architecture.name,
            "OUTLIVE_CACHE": str(cache()),
            "OUTLIVE_SHELL": str(ROOT),
            "PATH": f"{ROOT / '.venv/bin'}:{BIN}:{FILES}:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
            "VAGRANT_CWD": str(ROOT),
            "VAGRANT_DEFAULT_PROVIDER": self.provider,
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_NO_COLOR": "1",
        }
        variables |= dict.fromkeys(PROXY_EXCEPTIONS, self._without_proxy())
        own, other = control_folders()
        if not holds_sockets(own):
            variables["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(other)  # else ansible.cfg's
        if self.provider == "libvirt":
            variables["LIBVIRT_DEFAULT_URI"] = "qemu:///system"
        if self.driver == "qemu":
            # Starting Python on an emulated guest takes seconds: site.yml takes a third of the time. Not on other hosts, where it saves little:
            # ansible-core means to drop strategies that aren't its own, and says so at each start.
            variables |= mitogen()
        if self.mirror:
            variables["OUTLIVE_MIRROR"] = self.mirror
        if self.private:
            variables["VAGRANT_HOME"] = str(STATE / "vagrant.d")
        return variables

    def _without_proxy(self) -> str:
        """Return the hosts for which no proxy is asked: the user's, and the lab's own addresses, which none but this host reaches.

        Each address by itself, since not every program takes a network.
        """
        given = [host for name in PROXY_EXCEPTIONS for host in os.environ.get(name, "").split(",")]
        files = (ROOT / name / "hosts.yml" for name in self.inventories)
        hosts = "".join(file.read_text(encoding="utf-8") for file in files if file.exists())
        lab = re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}(?:/\d+)?", re.sub(r"#.*", "", hosts))
        first = []
        for network in (each for each in lab if "/" in each):
            with suppress(ValueError, IndexError):  # that it is none, or too small, is the inventory's check to say
                # This host's own address in the lab's network, where its mirror answers.
                first.append(str(ipaddress.ip_network(network, strict=False)[1]))
        listed = [*given, "localhost", "127.0.0.1", *lab, *first, self.mirror]
        return ",".join(dict.fromkeys(host.strip() for host in listed if host.strip()))


def mitogen() -> dict[str, str]:
    """Return the variables with which Ansible keeps one Python running on each machine instead of starting one for each task; none without Mitogen."""
    found = importlib.util.find_spec("ansible_mitogen")
    if found is None or not found.submodule_search_locations:
        return {}
    return {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(Path(found.submodule_search_locations[0]) / "plugins/strategy"),
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
    }


def holds_sockets(folder: Path) -> bool:
    """Say whether a folder's path is short enough for ssh's control sockets in it."""
    return len(os.fsencode(folder)) + CONTROL_PATH <= SOCKET_PATH


def control_folders() -> tuple[Path, Path]:
    """Return where ssh's control sockets are in a checkout with a short path, as ansible.cfg has it, and where they are else, in the cache."""
    return STATE / "ssh", environment.own() / environment.SOCKETS


def for_architecture(folders: Sequence[str], machines: Architecture) -> list[str]:
    """Return inventories with what is otherwise in them for an architecture: a folder beside the one that it is about, with the architecture's name at its end."""
    chosen = []
    for folder in folders:
        chosen.append(folder)
        if machines.suffix and (ROOT / f"{folder}{machines.suffix}").is_dir():
            chosen.append(f"{folder}{machines.suffix}")
    return chosen


def decide(given: Mapping[str, str] = os.environ) -> Settings:
    """Decide how the lab runs on this host.

    Raises:
        LabError: a setting has a value that isn't one of its choices, or asks for what the host can't do.
    """
    wish = {name: _choice(name, given.get(name, "auto")) for name in CHOICES}
    provider, driver = wish["OUTLIVE_PROVIDER"], wish["OUTLIVE_DRIVER"]
    machines = architecture.chosen(given)
    why: list[str] = []

    if not machines.native:
        if driver == "kvm" or provider == "virtualbox":
            asked = "OUTLIVE_DRIVER is 'kvm'" if driver == "kvm" else "OUTLIVE_PROVIDER is 'virtualbox'"
            raise LabError(
                f"{asked}, but OUTLIVE_ARCH is '{machines.name}', and this host's processor ({platform.machine()}) runs such machines by emulation only: "
                "leave one of the two out"
            )
        provider, driver = "libvirt", "qemu"
        why.append(f"machines for {machines.name} are emulated on {platform.machine()}")
    if provider == "auto" or (provider == "libvirt" and driver == "auto"):
        kvm = virtualization.kvm() if driver != "qemu" else virtualization.Usability(False, "emulation was asked for")
        why.append(f"KVM: {kvm.reason}")
        if kvm.usable or driver == "kvm":
            provider, driver = "libvirt", "kvm"
        elif provider == "auto" and driver == "auto" and (box := virtualization.virtualbox()).usable:
            provider = "virtualbox"
            why.append(f"VirtualBox: {box.reason}")
        else:
            provider, driver = "libvirt", "qemu"
    if provider == "virtualbox":
        found = virtualization.virtualbox()
        if not found.usable:
            raise LabError(f"OUTLIVE_PROVIDER is 'virtualbox', but {found.reason}: {found.cure} or set it to 'auto' or 'libvirt'")
        if driver not in ("auto", "kvm"):
            raise LabError(
                f"OUTLIVE_DRIVER is '{driver}', which VirtualBox doesn't have: leave it out, or set OUTLIVE_PROVIDER to 'libvirt'"
            )

    emulated = provider == "libvirt" and driver == "qemu"
    private = provider == "libvirt" and (
        wish["OUTLIVE_LIBVIRT"] == "private" or (wish["OUTLIVE_LIBVIRT"] == "auto" and (emulated or not system_libvirt()))
    )
    sources, mirror = wish["OUTLIVE_SOURCES"], _mirror(given.get("OUTLIVE_MIRROR", ""), private=private)
    if mirror and sources == "upstream":
        raise LabError(f"OUTLIVE_MIRROR is '{mirror}', but OUTLIVE_SOURCES is 'upstream': leave one of the two out")
    if mirror:
        sources = "mirror"
    if sources == "auto":
        # Unpacking an image in an emulated VM takes minutes; the mirror's full box has them unpacked already. And nothing
        # leads out of a private libvirt.
        sources = "mirror" if emulated or private else "upstream"
    if sources == "mirror" and provider == "virtualbox":
        named = f"OUTLIVE_MIRROR is '{mirror}', a mirror" if mirror else "OUTLIVE_SOURCES is 'mirror',"
        cure = "leave it out and set OUTLIVE_SOURCES" if mirror else "set it"
        raise LabError(f"{named} whose box is for libvirt only (here: {provider}): {cure} to 'upstream', which needs internet")
    if private and sources == "upstream":
        raise LabError(
            "OUTLIVE_SOURCES is 'upstream', but the lab's own libvirt has no way out: leave it at 'auto' or 'mirror', "
            "or use the system's libvirt (be a member of the group libvirt, OUTLIVE_LIBVIRT 'system')"
        )
    made_of = wish["OUTLIVE_BOX"]
    if made_of != "auto" and sources == "upstream":
        raise LabError(
            f"OUTLIVE_BOX is '{made_of}', a box of the mirror's, and this lab's comes from the public catalogue: leave it out, "
            "or set OUTLIVE_SOURCES to 'mirror'"
        )
    if made_of == "generic" and machines != AMD64:
        raise LabError(
            f"OUTLIVE_BOX is '{made_of}', which the mirror has for amd64 only, and the machines are {machines.name} ones (OUTLIVE_ARCH, or this host's processor): "
            "leave it out, or set it to 'full' or 'bare'"
        )
    return Settings(
        provider="libvirt" if provider == "libvirt" else "virtualbox",
        driver=None if provider == "virtualbox" else ("qemu" if driver == "qemu" else "kvm"),
        sources="mirror" if sources == "mirror" else "upstream",
        private=private,
        why="; ".join(why) or "as asked",
        mirror=mirror,
        box="generic" if made_of == "generic" else "bare" if made_of == "bare" else "full",
        architecture=machines,
    )


def _mirror(address: str, *, private: bool) -> str:
    """Return OUTLIVE_MIRROR, looked at."""
    if not address:
        return ""
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise LabError(
            f"OUTLIVE_MIRROR is '{address}', which is no IPv4 address: give that of the host on which `outlive mirror serve` runs, or leave it out"
        ) from error
    if private:
        raise LabError(
            f"OUTLIVE_MIRROR is '{address}', but the lab's own libvirt has no way out: leave it out and run `outlive mirror build` here, "
            "or use the system's libvirt (be a member of the group libvirt, OUTLIVE_LIBVIRT 'system')"
        )
    return address


def _choice(name: str, value: str) -> str:
    if value not in CHOICES[name]:
        raise LabError(f"{name} is '{value}', which isn't known: set it to one of {', '.join(CHOICES[name])}")
    return value


def system_libvirt() -> bool:
    """Say whether a libvirtd of the system answers this user."""
    return said([*virtualization.VIRSH, "uri"], 20) is not None
