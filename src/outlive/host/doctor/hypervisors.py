"""Processor, system and hypervisors: what runs the box, and what keeps it from running."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from outlive.base.architecture import AMD64, Architecture, of_machine
from outlive.base.process import said
from outlive.host import packages
from outlive.host.doctor import Finding, fine, note, numbers, wrong
from outlive.host.virtualization import VIRSH

BOX_ARCHITECTURES = "2.4.0"
"""The first Vagrant that asks for the box of the host's architecture (its changelog); older ones take the default, amd64."""

LOADS_ENABLED = "6.12"
"""The first kernel whose KVM turns virtualization on as soon as its module is loaded (parameter enable_virt_at_load)."""

LENDS = "6.16"
"""The first kernel whose KVM lends virtualization to another module (it exports kvm_enable_virtualization)."""

BORROWS = "7.2.10"
"""The first VirtualBox that makes use of that everywhere (reports on it: kernel 6.18 and 7.x work, 6.12 still doesn't)."""

VAGRANT_FOR = {"7.0": "2.3.2", "7.1": "2.4.2", "7.2": "2.4.9"}
"""VirtualBox's versions with the first Vagrant that takes each (its changelog; `driver_map` in its provider); what is older, every Vagrant that the lab works
with takes."""


def system(name: str, machine: str) -> Finding:
    """Say whether the lab's own side runs on this system; `name` and `machine` as uname has them."""
    if name == "Linux":
        return fine(f"system: Linux on {machine}")
    also = ", and this Mac's processor runs arm64 machines only" if name == "Darwin" and machine == "arm64" else ""
    return wrong(
        f"this host runs {name} on {machine}, and `make lab` needs Linux (/proc, ip, apt or libvirt){also}: run it on a Linux host, or in a Linux VM on this one"
    )


def architecture(machine: str, box: Architecture, *, mirror: bool, vagrant: str | None) -> Finding:
    """Say whether there is a box for the host's processor, and whether Vagrant would take that one.

    Args:
        machine: What `uname -m` says.
        box: What the lab's machines are.
        mirror: The box is the mirror's, which has a name of its own for each architecture.
        vagrant: Vagrant's version, None where it isn't known.
    """
    known = of_machine(machine)
    if known is None:
        return wrong(f"this host's processor is {machine}, and there are boxes for x86_64 and aarch64 only: use a host with one of those")
    if known != box or box == AMD64:
        return fine(f"processor: {machine}, the box is {box.name}{'' if known == box else ', emulated'}")
    if not mirror and vagrant is not None and numbers(vagrant) < numbers(BOX_ARCHITECTURES):
        return wrong(
            f"this host's processor is {machine}, and Vagrant {vagrant} would take the amd64 box, since it knows no box architectures before {BOX_ARCHITECTURES}: install a newer Vagrant"
        )
    return note(
        f"this host's processor is {machine}, for which there is a box, but nobody has run the lab on one so far: tell the project what you see"
    )


@dataclass(frozen=True)
class Kvm:
    """KVM as the kernel shows it."""

    kernel: str
    """The kernel's release."""
    module: str | None
    """kvm_intel or kvm_amd where it is loaded."""
    at_load: bool
    """The parameter enable_virt_at_load of kvm is on."""


def kvm_beside_virtualbox(kvm: Kvm, version: str | None) -> Finding:
    """Say whether VirtualBox of that version can start a VM beside KVM."""
    kernel = numbers(kvm.kernel)[:2]
    taken = kvm.module is not None and kvm.at_load and kernel >= numbers(LOADS_ENABLED)
    borrows = kernel >= numbers(LENDS) and version is not None and numbers(version) >= numbers(BORROWS)
    if not taken or borrows:
        return fine("VirtualBox: KVM doesn't keep virtualization to itself")
    cure = f"unload it (`sudo modprobe -r {kvm.module} kvm`), or boot with kvm.enable_virt_at_load=0, or leave VirtualBox for KVM (OUTLIVE_PROVIDER 'libvirt')"
    if kernel >= numbers(LENDS):
        return note(
            f"the module {kvm.module} is loaded, and VirtualBox {version or 'of an unknown version'} may be unable to start a VM beside it on kernel {kvm.kernel}: if it says VERR_VMX_IN_VMX_ROOT_MODE or VERR_SVM_IN_USE, install VirtualBox {BORROWS} or newer, or {cure}"
        )
    return wrong(
        f"VirtualBox can't start a VM while the module {kvm.module} is loaded, since kernels from {LOADS_ENABLED} on (here {kvm.kernel}) turn virtualization on for KVM alone: {cure}"
    )


def vagrant_for_virtualbox(vagrant: str | None, version: str | None) -> Finding:
    """Say whether Vagrant takes VirtualBox of that version: it knows each by name, and refuses the others.

    Args:
        vagrant: Vagrant's version, None where it isn't known.
        version: VirtualBox's, likewise.
    """
    if version is None:
        return note(
            "`VBoxManage --version` names no version, so whether Vagrant takes this VirtualBox is unknown: see what it prints, its kernel module may be missing"
        )
    if vagrant is None:
        return fine(f"VirtualBox {version}: not compared with a Vagrant of unknown version")
    minor = ".".join(map(str, numbers(version)[:2]))
    newest = max(VAGRANT_FOR, key=numbers)
    if numbers(minor) > numbers(newest):
        return note(
            f"VirtualBox is {version}, and the newest one that a Vagrant is known to take is {newest} (Vagrant {VAGRANT_FOR[newest]}; here {vagrant}): "
            f"if it refuses this one, install a newer Vagrant ({packages.OWN_VAGRANT}) or VirtualBox {newest}"
        )
    first = VAGRANT_FOR.get(minor)
    if first is None or numbers(vagrant) >= numbers(first):
        return fine(f"VirtualBox {version}: Vagrant {vagrant} takes it")
    taken = max((each for each, since in VAGRANT_FOR.items() if numbers(vagrant) >= numbers(since)), key=numbers, default="6.1")
    return wrong(
        f"VirtualBox is {version}, and Vagrant {vagrant} takes none that is newer than {taken}: install Vagrant {first} or newer ({packages.OWN_VAGRANT}; "
        f"Debian's is 2.3, whatever the release), or VirtualBox {taken}, or use KVM (OUTLIVE_PROVIDER 'libvirt')"
    )


def system_libvirt(*, answers: bool) -> Finding:
    """Say whether the system's libvirt answers this user."""
    if answers:
        return fine("libvirt: the system's answers")
    return wrong(
        "the system's libvirt doesn't answer this user (`virsh -c qemu:///system list` says why): start libvirtd (`sudo systemctl start libvirtd`), join its group (`sudo usermod -aG libvirt \"$USER\"`, then log in anew), or set OUTLIVE_LIBVIRT to 'private'"
    )


def confined(pool: str | None, *, apparmor: bool) -> Finding:
    """Say whether AppArmor lets QEMU at the VMs' disks: libvirt's helper that grants it is denied hidden folders, and bin, of all homes.

    Args:
        pool: The folder of libvirt's pool `default`, in which Vagrant makes the disks; None where there is no such pool yet.
        apparmor: AppArmor is on (the helper's profile: /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper).
    """
    if apparmor and pool is not None and re.match(r"(/home/[^/]+|/root)/(\.|bin(/|$))", pool):
        return wrong(
            f"libvirt's pool 'default' lies in {pool}, where libvirt's AppArmor profile denies QEMU the disks of VMs: give the pool another folder (`virsh -c qemu:///system pool-edit default`), such as /var/lib/libvirt/images"
        )
    return fine(f"AppArmor: {'allows the disks of VMs where they lie' if apparmor else 'is off'}")


def emulated(reason: str, device: bool, flags: Collection[str], module: str | None) -> Finding:
    """Say how to get KVM on a host that has to emulate.

    Args:
        reason: Why KVM isn't used.
        device: There is a /dev/kvm.
        flags: The processor's, of /proc/cpuinfo.
        module: kvm_intel or kvm_amd where it is loaded.
    """
    able = {"vmx": "kvm_intel", "svm": "kvm_amd"}
    wanted = next((module for flag, module in able.items() if flag in flags), None)
    if device and "can't be opened" in reason:
        cure = 'join its group (`sudo usermod -aG kvm "$USER"`) and log in anew'
    elif device and ("installed" in reason or "no kernel was found" in reason):
        cure = "run `make setup`, then `outlive doctor` again"
    elif device and "busy" in reason:
        cure = "end the VMs of the other hypervisor (VirtualBox's, for one), then run the command again"
    elif device:
        cure = "where this host is a VM itself, ask for nested virtualization that works; then reboot"
    elif wanted is not None and module is None:
        cure = f"load KVM's module (`sudo modprobe {wanted}`)"
    elif wanted is not None:
        cure = "/dev/kvm isn't there although the module is: where this host is a container, give it the device"
    else:
        cure = "turn VT-x or AMD-V on in the firmware; where this host is a VM itself, turn nested virtualization on outside of it"
    return note(f"the VMs are emulated, which is slow, since KVM can't be used ({reason}): {cure}")


def read_kvm() -> Kvm:
    """Return KVM as this kernel shows it."""
    module = next((name for name in ("kvm_intel", "kvm_amd") if Path("/sys/module", name).is_dir()), None)
    try:
        at_load = Path("/sys/module/kvm/parameters/enable_virt_at_load").read_text(encoding="ascii").strip() in ("Y", "1")
    except OSError:
        at_load = False
    return Kvm(platform.release(), module, at_load)


def read_flags() -> frozenset[str]:
    """Return the first processor's flags."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def read_virtualbox() -> str | None:
    """Return VirtualBox's version, as 7.1.4 of `7.1.4r165100`."""
    found = re.search(r"^\d+(?:\.\d+)+", said(("VBoxManage", "--version")) or "", re.MULTILINE)
    return found[0] if found else None


def read_system() -> tuple[str, str]:
    """Return the system's and the machine's name, as uname has them."""
    return os.uname().sysname, os.uname().machine


def read_pool() -> str | None:
    """Return the folder of the system libvirt's pool `default`."""
    found = re.search(r"<path>(.+?)</path>", said((*VIRSH, "pool-dumpxml", "default")) or "")
    return found[1] if found else None


def read_apparmor() -> bool:
    """Say whether AppArmor is on."""
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text(encoding="ascii").strip() == "Y"
    except OSError:
        return False
