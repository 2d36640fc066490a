"""Debian packages that the host needs. Standard library only: it runs before there is an environment."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from outlive.base.architecture import AMD64, ARM64, Architecture
from outlive.base.errors import LabError
from outlive.base.paths import LOGS, ROOT
from outlive.base.process import as_root, logged, output, require_root, run
from outlive.host import environment

EMULATORS: dict[Architecture, str] = {AMD64: "qemu-system-x86", ARM64: "qemu-system-arm"}
"""The Debian package of the QEMU that runs machines of an architecture."""

FIRMWARE: dict[Architecture, dict[str, str]] = {ARM64: {"/usr/share/qemu-efi-aarch64/QEMU_EFI.fd": "qemu-efi-aarch64"}}
"""Files that machines of an architecture need on libvirt; a PC's BIOS comes with QEMU."""

TOOLS: dict[str, str] = {
    "vagrant": "vagrant",
    "virsh": "libvirt-clients",
    "qemu-img": "qemu-utils",
    "ip": "iproute2",
    "flock": "util-linux",
    "ps": "procps",  # and kill
    "ssh": "openssh-client",
    "curl": "curl",
    "git": "git",
}
"""Programs that every lab calls, each with the Debian package that brings it."""

LIBVIRT: dict[str, str] = {
    "/usr/sbin/libvirtd": "libvirt-daemon-system",
    "/usr/share/rubygems-integration/all/specifications/vagrant-libvirt-*.gemspec": "vagrant-libvirt",
    "/usr/sbin/dnsmasq": "dnsmasq-base",
    "/usr/sbin/iptables": "iptables",
}
"""Files (glob patterns) that a lab on libvirt needs, each with its Debian package."""


INSTALL = ("--no-install-recommends", "install")
"""How apt is called, to install and to look what it would do."""
OWN_VAGRANT = "https://developer.hashicorp.com/vagrant/install"
"""Where Vagrant's maker has packages of it that break none of VirtualBox."""

SYSTEMD = Path("/run/systemd/system")
"""There where systemd runs (sd_booted(3))."""
UNITS = (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
"""Where packages put their services."""


def makers_vagrant() -> bool:
    """Say whether the Vagrant on PATH is its maker's own package, which lies in /opt/vagrant and doesn't see the distribution's plugins."""
    found = shutil.which("vagrant")
    try:
        # A link to /opt/vagrant/bin, or a script that calls what is in there.
        return found is not None and ("/opt/vagrant/" in str(Path(found).resolve()) or b"/opt/vagrant/" in Path(found).read_bytes()[:2048])
    except OSError:
        return False


def missing_packages(tools: dict[str, str], files: dict[str, str]) -> list[str]:
    """Return the Debian packages whose program or file isn't there, sorted."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacking = {package for tool, package in tools.items() if shutil.which(tool, path=path) is None}
    lacking |= {package for pattern, package in files.items() if not list(Path("/").glob(pattern.lstrip("/")))}
    if makers_vagrant():
        lacking.discard("vagrant-libvirt")  # it would come in vain
    if not environment.has_ensurepip():
        lacking.add("python3-venv")
    return sorted(lacking)


def missing(architecture: Architecture, *, libvirt: bool) -> list[str]:
    """Return the Debian packages that a lab with machines of an architecture lacks on this host."""
    files = {**LIBVIRT, **FIRMWARE.get(architecture, {})} if libvirt else {}
    return missing_packages({**TOOLS, architecture.emulator: EMULATORS[architecture]}, files)


def missing_mirror_packages(architecture: Architecture) -> list[str]:
    """Return the Debian packages that building the mirror for an architecture lacks; `src/outlive/mirror/host-packages*.txt` list what it needs."""
    folder = ROOT / "src/outlive/mirror"
    lists = [folder / "host-packages.txt", folder / f"host-packages-{architecture.name}.txt"]
    lines = [line for file in lists if file.exists() for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    # It ends with status 1 where one of them isn't known.
    query = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted]).stdout if shutil.which("dpkg-query") else ""
    there = {line.split()[0] for line in query.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in there]


def install_packages(packages: list[str], *, services: bool = True) -> None:
    """Install Debian packages with apt, which removes none for it.

    Args:
        packages: Their names.
        services: What they bring as services of this machine stays so. Else those that came just now are stopped and disabled: the mirror runs its
            own nginx and docker-registry, and nobody has asked for others on ports 80 and 5000.

    Raises:
        LabError: the system has no apt, or this user can't become root (the sentence lists what is missing); apt would remove a package (the sentence names it), or apt fails.
    """
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(
            f"missing on this system, which has no apt-get: {', '.join(packages)} (Debian's package names); install them and run the command again"
        )
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        raise LabError(
            f"missing on this system: {', '.join(packages)}, and this user isn't root and has no sudo: run `apt-get install {' '.join(packages)}` as root, or install sudo"
        )
    require_root(f"install {len(packages)} Debian packages")
    before = _units()
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    logged("package lists", as_root(["apt-get", "-qq", "update"]), LOGS / "apt-update.log", env=env)
    if gone := removed_by(packages):
        wanting = [package for package in packages if removed_by([package])] or packages
        raise LabError(remover(wanting, gone))
    try:
        logged(
            f"host packages ({len(packages)})",
            as_root(["apt-get", "-y", "-q", "--no-remove", *INSTALL, *packages]),
            LOGS / "apt-install.log",
            env=env,
        )
    finally:  # also of an installation that was cut short
        came = sorted(_units() - before)
        if came and not services and SYSTEMD.is_dir():
            output(as_root(["systemctl", "disable", "--now", *came]))


def removed_by(packages: Sequence[str]) -> list[str]:
    """Return the packages that apt would remove to install others, by its own simulation; none where it finds no way at all."""
    return removals(run(["apt-get", "--simulate", "-q", *INSTALL, *packages], timeout=300).stdout)


def removals(simulated: str) -> list[str]:
    """Return the packages that are removed in what `apt-get --simulate` printed, sorted."""
    return sorted(re.findall(r"^(?:Remv|Purg) (\S+)", simulated, re.MULTILINE))


def remover(wanting: Sequence[str], gone: Sequence[str]) -> str:
    """Return the sentence on packages whose installation would remove others."""
    emulators = {architecture.emulator: package for architecture, package in EMULATORS.items()}
    programs = [program for program, package in (TOOLS | emulators).items() if package in wanting]
    ways = [f"bring the program {' and '.join(programs)} onto PATH another way"] if programs else []
    if "vagrant" in wanting:
        ways = [f"install Vagrant's own package ({OWN_VAGRANT}), which removes none"]
    ways.append(f"remove what you can do without (`sudo apt-get remove {' '.join(gone)}`)")
    return (
        f"apt would remove {', '.join(gone)} to install {', '.join(wanting)}, and the lab removes no package, so nothing was installed: "
        f"{', or '.join(ways)}, then run the command again"
    )


def _units() -> set[str]:
    """Return the names of the services that packages have brought; a template is none by itself."""
    return {file.name for folder in UNITS for file in folder.glob("*.service") if "@" not in file.name}
