"""The processors that machines of a lab can have, by the names that the world has for them."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from outlive.base.errors import LabError


@dataclass(frozen=True)
class Architecture:
    """One of them."""

    name: str
    """As Debian, Go, container images and Vagrant's boxes call it."""
    machine: str
    """As `uname -m`, libvirt and QEMU call it; GNU's programs begin with it."""

    @property
    def suffix(self) -> str:
        """What stands behind the name of a file, folder or box that amd64's doesn't share: nothing for amd64 itself."""
        return "" if self == AMD64 else f"-{self.name}"

    @property
    def store(self) -> str:
        """The folder of the cache that has the mirror's artefacts for it."""
        return f"store{self.suffix}"

    @property
    def native(self) -> bool:
        """Say whether this host's processor runs its programs by itself."""
        return of_machine(platform.machine()) == self

    @property
    def emulator(self) -> str:
        """The program of QEMU that runs a machine of it."""
        return f"qemu-system-{self.machine}"


AMD64 = Architecture("amd64", "x86_64")
ARM64 = Architecture("arm64", "aarch64")
ARCHITECTURES: Mapping[str, Architecture] = {each.name: each for each in (AMD64, ARM64)}
"""Those for which there are boxes, by name."""

SETTING = "OUTLIVE_ARCH"
CHOICES = ("auto", *ARCHITECTURES)
"""What the setting may be: `auto` is the host's own."""


def of_machine(machine: str) -> Architecture | None:
    """Return the architecture of what `uname -m` says (macOS says arm64, Windows amd64); None where there is no box for it."""
    return next((each for each in ARCHITECTURES.values() if machine.lower() in (each.machine, each.name)), None)


def of_host() -> Architecture:
    """Return this host's own architecture: what runs on it is built for that. On a host for whose processor there is no box it is amd64; doctor names that."""
    return of_machine(platform.machine()) or AMD64


def chosen(given: Mapping[str, str] = os.environ) -> Architecture:
    """Return the architecture of this lab's machines: OUTLIVE_ARCH's, or the host's own.

    Raises:
        LabError: OUTLIVE_ARCH has a value that isn't one of its choices.
    """
    value = given.get(SETTING, "auto")
    if value not in CHOICES:
        raise LabError(f"{SETTING} is '{value}', which isn't known: set it to one of {', '.join(CHOICES)}")
    return ARCHITECTURES.get(value) or of_host()
