"""Which hypervisor this host can really use. `/dev/kvm` being there proves nothing: boot a kernel and look."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from outlive.base.architecture import AMD64, of_host
from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import STATE, cache
from outlive.base.process import run_bytes, said

BOOT_SECONDS = 25.0
"""Time that a kernel gets to reach its own panic for want of a root file system; on KVM it takes about two seconds."""

FETCH_SECONDS = 120.0
"""Time to fetch and to unpack a kernel where the host has none to try KVM with."""

MODULE_CURE = (
    'load it (`sudo modprobe vboxdrv`), where there is none have it built (Debian\'s: `sudo apt-get install virtualbox-dkms "linux-headers-$(uname -r)"`; '
    "Oracle's: `sudo /sbin/vboxconfig`)"
)
"""How VirtualBox gets its kernel module."""

VIRSH = ("setsid", "--wait", "virsh", "--connect", "qemu:///system")
"""The beginning of a command line that only looks at the system's libvirt. Without a terminal: in one, virsh would have polkit ask a user who isn't in
the group libvirt for an administrator's password."""


@dataclass(frozen=True)
class Usability:
    """Whether something is usable, and the reason as a sentence's part."""

    usable: bool
    reason: str
    cure: str = ""
    """What would make it usable, as a part of a sentence likewise; empty where nobody asks for it."""


def kvm() -> Usability:
    """Boot a kernel under KVM and say whether it came up. That answer is kept until the host is rebooted."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        # Seen at once, and cured without a reboot: not kept.
        return Usability(False, "/dev/kvm can't be opened by this user" if Path("/dev/kvm").exists() else "there is no /dev/kvm")
    kept = STATE / "kvm.json"
    boot = _boot_id()
    try:
        record = json.loads(kept.read_text(encoding="utf-8"))
        if record["boot"] == boot and record["decided"]:
            return Usability(record["usable"], record["reason"])
    except (OSError, ValueError, KeyError):
        pass
    finding, decided = _probe_kvm()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"boot": boot, "decided": decided, "usable": finding.usable, "reason": finding.reason}), encoding="utf-8")
    return finding


def virtualbox() -> Usability:
    """Say whether VirtualBox is installed with its kernel module loaded."""
    if shutil.which("VBoxManage") is None:
        return Usability(False, "VBoxManage is not installed", "install VirtualBox")
    if os.uname().sysname == "Linux" and not Path("/dev/vboxdrv").exists():
        return Usability(False, "its kernel module isn't loaded (/dev/vboxdrv is missing)", MODULE_CURE)
    return Usability(True, "VBoxManage is there")


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def _probe_kvm() -> tuple[Usability, bool]:
    """Return the finding and whether it is final; without QEMU or a kernel to boot, or while another hypervisor runs, it isn't."""
    emulator = of_host().emulator
    if shutil.which(emulator) is None:
        return Usability(False, f"/dev/kvm is there, but {emulator} isn't installed yet to try it"), False
    with tempfile.TemporaryDirectory() as scratch:
        kernel = _kernel(Path(scratch))
        if kernel is None:
            return Usability(False, "/dev/kvm is there, but no kernel was found to try it with"), False
        finding = boots(["-accel", "kvm", "-cpu", "host"], kernel)
        return finding, finding.usable or "busy" not in finding.reason


def boots(accelerator: list[str], kernel: Path, seconds: float = BOOT_SECONDS) -> Usability:
    """Boot `kernel` under QEMU with `accelerator`'s options; usable when it runs until it looks for its root file system."""
    native = of_host()
    machine, console = ([], "ttyS0") if native == AMD64 else (["-machine", "virt"], "ttyAMA0")
    argv = [native.emulator, *machine, *accelerator, "-m", "256", "-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none"]
    argv += ["-kernel", str(kernel), "-append", f"console={console} panic=-1"]
    try:
        done = run_bytes(argv, timeout=seconds)
    except UnreachableError:
        return Usability(False, f"a kernel did not boot within {seconds:.0f} s")
    except LabError:
        return Usability(False, f"{native.emulator} is not installed")
    if b"Unable to mount root" in done.stdout or b"VFS: Cannot open root" in done.stdout:
        return Usability(True, "a kernel boots")
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return Usability(False, f"a kernel did not boot ({words[-1] if words else 'QEMU ended without a word'})")


def _kernel(scratch: Path) -> Path | None:
    """Return a kernel to boot: the host's own, the mirror's, or the distribution's by apt; None if there is none."""
    own = sorted(path for path in Path("/boot").glob("vmlinuz-*") if os.access(path, os.R_OK))
    if own:
        return own[-1]
    native = of_host().name
    packages = sorted(cache().glob(f"store*/*/pool/**/linux-image-[0-9]*_{native}.deb"))
    if not packages and shutil.which("apt-get"):
        # The dependency of Debian's metapackage, or of Ubuntu's, is the kernel itself.
        depends = said(["apt-cache", "depends", f"linux-image-cloud-{native}", "linux-image-virtual"]) or ""
        names = [line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image")]
        said(["env", "--chdir", str(scratch), "apt-get", "-qq", "download", *names], FETCH_SECONDS)
        packages = sorted(scratch.glob("linux-image-[0-9]*.deb"))
    if not packages:
        return None
    said(["dpkg-deb", "--extract", str(packages[-1]), str(scratch)], FETCH_SECONDS)
    return next(iter(sorted(scratch.glob("boot/vmlinuz-*"))), None)
