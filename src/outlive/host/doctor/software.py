"""Programs and their versions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outlive import OLDEST_PYTHON
from outlive.base.architecture import Architecture
from outlive.base.process import said
from outlive.host import environment as python_environment
from outlive.host import packages
from outlive.host.doctor import Finding, fine, note, numbers, wrong


@dataclass(frozen=True)
class Tool:
    """A program whose version matters."""

    name: str
    argv: tuple[str, ...]
    """What prints the version."""
    oldest: str
    why: str
    """Which of its features the lab can't do without: the source of `oldest`."""


VAGRANT = Tool("Vagrant", ("vagrant", "--version"), "2.2.8", "its changelog: the first with --no-tty, which `vagrant up` is called with")
LIBVIRT = Tool(
    "libvirt", ("virsh", "--version"), "8.0.0", "its documentation of domains: the first with tb-cache, which emulated machines get"
)


def qemu(architecture: Architecture) -> Tool:
    """Return the QEMU that runs machines of an architecture."""
    return Tool(
        "QEMU", (architecture.emulator, "--version"), "5.0", "its documentation: the first with tcg's tb-size, which emulated machines get"
    )


PLUGIN_OLDEST = "0.10.0"
"""The first vagrant-libvirt with snapshots of its own (its change 1456), which `outlive reset` goes back to, and with `sysinfo`."""


def tool(which: Tool, printed: str | None) -> Finding:
    """Compare a tool's version, in what it printed, with the oldest one that works."""
    call = " ".join(which.argv)
    if printed is None:
        return note(
            f"`{call}` gives no answer, so {which.name}'s version is unknown ({which.oldest} or newer is needed): see what it prints"
        )
    return _compare(which.name, version(printed), which.oldest, which.why, f"`{call}`")


def plugin(gemspecs: Sequence[str]) -> Finding:
    """Compare vagrant-libvirt's version, in the names of its gem specifications, with the oldest one that works."""
    versions = [found[1] for name in gemspecs if (found := re.search(r"vagrant-libvirt-(\d[\d.]*\d)\.gemspec$", name))]
    newest = max(versions, key=numbers, default=None)
    return _compare(
        "vagrant-libvirt", newest, PLUGIN_OLDEST, "the first with Vagrant's snapshots, for `outlive reset`", "its gem specification"
    )


def makers_plugin(plugins: Sequence[str], home: str, *, private: bool) -> Finding:
    """Say whether vagrant-libvirt is installed for the Vagrant of its maker's own package, which doesn't see the distribution's.

    Args:
        plugins: The texts of the files in which that Vagrant notes its plugins.
        home: The folder in which the user's are (VAGRANT_HOME).
        private: The lab runs a libvirt of its own, whose Vagrant has a home of its own that is removed with the lab.
    """
    there: list[str] = []
    for text in plugins:
        try:
            noted = json.loads(text)["installed"].get("vagrant-libvirt")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if noted is not None:
            there.append(str(noted.get("installed_gem_version") or noted.get("gem_version") or ""))
    if there:
        newest = max((each for each in there if each), key=numbers, default=None)
        return _compare(
            "vagrant-libvirt", newest, PLUGIN_OLDEST, "the first with Vagrant's snapshots, for `outlive reset`", f"{home}/plugins.json"
        )
    own = "" if private else "run `vagrant plugin install vagrant-libvirt` (it needs a compiler and libvirt-dev), or "
    return wrong(
        f"vagrant is its maker's own package (/opt/vagrant), which doesn't see the distribution's vagrant-libvirt, and has none of its own in {home}: {own}"
        "take the distribution's Vagrant (`sudo apt-get remove vagrant`, then `make setup`)"
    )


def go(pinned: str, *, there: bool) -> Finding:
    """Say whether the Go that the mirror's programs are built with is there."""
    if not there:
        return note(f"not installed yet: Go {pinned}, with which the mirror is built: `make lab` installs it, `make setup` does only that")
    return fine(f"Go {pinned}: there")


def python(version: tuple[int, int], path: str) -> Finding:
    """Compare the Python that the environment is made with to the oldest one that works."""
    if version < OLDEST_PYTHON:
        return wrong(python_environment.too_old(version, path))
    return fine(f"Python {version[0]}.{version[1]} (oldest that works: {'.'.join(map(str, OLDEST_PYTHON))})")


def environment(*, there: bool, foreign: bool) -> Finding:
    """Say whether the Python environment is there; `foreign`: .venv is a folder that the lab did not make."""
    if foreign:
        return wrong(".venv is a folder that the lab did not make: move it away, the lab links its own environment there")
    if not there:
        return note(
            "the Python environment isn't made yet, so the inventory's sizes and network weren't looked at: run `make setup`, then `outlive doctor` again"
        )
    return fine("Python environment: there")


def missing(lacking: Sequence[str], *, installable: bool) -> Finding:
    """Say which Debian packages are missing; `installable`: `make setup` can and will install them."""
    names = ", ".join(sorted(set(lacking)))
    if lacking and installable:
        return note(f"not installed yet: {names} (Debian's names): `make lab` installs them, `make setup` does only that")
    if lacking:
        return wrong(f"not installed: {names} (Debian's names): run `make setup`, or install them")
    return fine("programs: all there")


def privileges(*, root: bool, sudo: bool, installs: bool = False) -> Finding:
    """Say whether this user can become root, for a libvirt of the lab's own and for the mirror's file systems; `installs`: packages are missing."""
    if root or sudo:
        return fine(f"root: {'this user' if root else 'by sudo'}")
    if installs:
        return wrong(
            "this user isn't root and there is no sudo, by which `make setup` installs packages: install sudo, or the packages as root"
        )
    return wrong(
        "this user isn't root and there is no sudo, which the lab's own libvirt needs: install sudo, run as root, or use the system's libvirt (be a member of the group libvirt, OUTLIVE_LIBVIRT 'system')"
    )


def _compare(name: str, found: str | None, oldest: str, why: str, where: str) -> Finding:
    if found is None:
        return note(f"{where} names no version of {name} ({oldest} or newer is needed): look which one is installed")
    if numbers(found) < numbers(oldest):
        return wrong(f"{name} is {found}, and the lab needs {oldest} or newer ({why}): install a newer one, Debian 12 has one")
    return fine(f"{name} {found} (oldest that works: {oldest})")


def version(text: str) -> str | None:
    """Return the first version in a text."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else None


def read(which: Tool) -> str | None:
    """Return what a tool prints as its version."""
    return said(which.argv)


def read_gemspecs() -> list[str]:
    """Return the names of vagrant-libvirt's gem specifications."""
    pattern = next(pattern for pattern, package in packages.LIBVIRT.items() if package == "vagrant-libvirt")
    return [path.name for path in Path("/").glob(pattern.lstrip("/"))]


def read_plugins(home: Path) -> list[str]:
    """Return the texts of the files in which a Vagrant of its maker's own package notes its plugins: the user's, and the system's."""
    found = []
    for file in (home / "plugins.json", Path("/opt/vagrant/embedded/plugins.json")):
        try:
            found.append(file.read_text(encoding="utf-8"))
        except OSError:
            continue
    return found
