"""An emulated host: the machine of a user who has KVM, made where no processor lends its virtualization.

QEMU's emulation of an AMD processor has SVM, so that the host's own kernel has KVM and runs real KVM machines, slowly. Its root file system is made at
the speed of this host: a clean Debian, in which an ordinary user clones the checkout and has `make setup` install what is missing. Then it is booted.
It reaches this host's loopback as 10.0.2.2, and is reached by ssh alone.

Its disk lies in the cache. A rehearsal that was cut short goes on with it, one that passed removes it.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from outlive.base.errors import LabError, UnreachableError
from outlive.base.locks import exclusive
from outlive.base.paths import LOGS, ROOT, cache
from outlive.base.process import as_root, end, last_error, logged, output, run, started
from outlive.base.wait import wait_for
from outlive.host.doctor import resources
from outlive.host.reach import log_of
from outlive.host.rehearsals import too_small, why_not_clean
from verify.rehearsal import clean_debian, teacher

MADE = "made.json"
"""Says that its disk is whole, and what of."""
FILES = Path(__file__).parent / "files"
SCRIPT = FILES / "emulated_host.sh"
OVERLAY = FILES / "emulated_host.yml"
CHECKOUT = "outlive"
"""Folder of the checkout in the user's home."""
OUTSIDE = "10.0.2.2"
"""This host's loopback, as the emulated host reaches it (QEMU's user network)."""

CPU = "Opteron_G3,svm=on,npt=on,cx16=off,ssse3=on,sse4.1=on,sse4.2=on,popcnt=on,aes=on,pclmulqdq=on"
"""A processor with SVM. Without cmpxchg16b, by which QEMU 7.2 corrupts guests with two processors; the others spare TLS and checksums instructions."""
PARAMETERS = "root=/dev/vda rw console=ttyS0 tsc=reliable highres=off nohz=off norandmaps init_on_alloc=0"
"""The kernel's, as for emulated machines: `inventories/emulated/group_vars/all/vagrant.yml` says why."""
TRANSLATION_CACHE = 2047
"""MiB that QEMU may keep of translated code."""
MEMORY = 9216
"""MiB of the emulated host: the lab's machines, QEMU for each, Ansible and vagrant."""
DISK = 40
"""GiB that its disk may grow to; a rehearsal fills a third."""
FREE_DISK = 25
"""GiB that must be free for it."""
BOOT_SECONDS = 900.0
"""Time from power-on to an answer by ssh; alone on two cores it takes a minute."""
OFF_SECONDS = 180.0


@dataclass(frozen=True)
class EmulatedHost:
    """An emulated host that answers by ssh."""

    folder: Path
    port: int

    def _argv(self, command: str, *options: str) -> list[str]:
        ssh = ["ssh", "-p", str(self.port), "-i", str(self.folder / "key"), "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"]
        # Its clock may stand still for a while, and ours goes on.
        ssh += ["-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=60"]
        ssh += ["-o", "ServerAliveInterval=60", "-o", "ServerAliveCountMax=20", "-o", "LogLevel=ERROR", *options]
        return [*ssh, f"{clean_debian.USER}@127.0.0.1", command]

    def output(self, command: str, timeout: float = 300) -> str:
        """Return what the user's shell command prints.

        Raises:
            LabError: it fails, or takes longer than `timeout` seconds.
        """
        return output(self._argv(command), timeout)

    def typed(self, command: str, lines: str, timeout: float) -> str:
        """Return what is seen on a terminal on which the user starts a command in the checkout and types lines.

        Raises:
            LabError: it takes longer than `timeout` seconds.
        """
        return run(self._argv(f"cd {CHECKOUT} && {command}", "-tt"), timeout=timeout, given=lines).stdout

    def put(self, text: str, name: str) -> None:
        """Write a file of the checkout."""
        output(self._argv(f"cat >{shlex.quote(f'{CHECKOUT}/{name}')}"), 300, given=text)

    def forget(self) -> None:
        """Remove its disk once it is off: what was to be shown was shown."""
        (self.folder / MADE).unlink()

    def answers(self) -> bool:
        """Say whether it answers by ssh.

        Raises:
            UnreachableError: it doesn't.
        """
        try:
            return self.output("true", 120) == ""
        except LabError as error:
            raise UnreachableError(str(error)) from error

    def step(self, what: str, command: str, *, seconds: float) -> str:
        """Run a command in the checkout, as the user types it, with a log of its own; return what it printed.

        Args:
            what: The step, as its log is called.
            command: Shell words.
            seconds: The longest that it may take.

        Raises:
            LabError: it failed or took longer.
        """
        name = f"rehearsal kvm {what}"
        argv = ["timeout", f"{seconds:.0f}", *self._argv(f"cd {CHECKOUT} && {command}")]
        logged(
            name,
            argv,
            log_of(name),
            show=lambda line: line[:100],
            tell=lambda line: line if re.match(r"\S.*: (\d+ min )?\d+ s$", line) else None,
        )
        return log_of(name).read_text(encoding="utf-8", errors="replace").partition("\n")[2]


def _commit() -> str:
    return output(["git", "-C", str(ROOT), "rev-parse", "HEAD"])


def enough(folder: Path) -> None:
    """Refuse a host that hasn't the memory or the disk.

    Raises:
        LabError: it hasn't.
    """
    disk = resources.disk(folder, FREE_DISK, "the emulated host")
    if reason := too_small("the emulated host", MEMORY + TRANSLATION_CACHE + 512, disk):
        raise LabError(reason)


@contextmanager
def emulated_host(release: str, workers: int) -> Iterator[EmulatedHost]:
    """Make an emulated host, or go on with the one that an interrupted rehearsal left, and boot it; shut it down in the end.

    Args:
        release: Debian's number, as 12.
        workers: How many workers its lab has.

    Raises:
        LabError: this host can't, hasn't the memory or the disk, or another rehearsal runs.
    """
    folder = cache() / "emulated-host"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    refusal = "another rehearsal has the emulated host (process {}): wait until it has ended, or end it with Ctrl-C".format
    with exclusive(folder / "lock", refusal):
        identity = {"commit": _commit(), "debian": release, "workers": workers}
        enough(folder)
        try:
            if _kept(folder) != identity:
                _make(folder, identity)
            else:
                print(f"going on with the emulated host in {folder}", flush=True)
            with _booted(folder) as host:
                yield host
        finally:
            if _kept(folder) is None:
                forget(folder)
            else:
                print(
                    f"the emulated host is off; its disk stays in {folder}: the same command goes on with it, and removes it when all has passed",
                    flush=True,
                )


def _kept(folder: Path) -> object:
    try:
        return json.loads((folder / MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def forget(folder: Path) -> None:
    """Remove an emulated host's files: all but the lock, what says that it is whole first."""
    for name in (MADE, "bundle", "disk.img", "vmlinuz", "initrd.img", "key", "key.pub", "known_hosts"):
        (folder / name).unlink(missing_ok=True)


def _make(folder: Path, identity: dict[str, object]) -> None:
    """Make its disk, in some minutes at this host's speed."""
    if reason := why_not_clean(str(identity["debian"])):
        raise LabError(f"the emulated host can't be made: {reason}")
    forget(folder)
    output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rehearsal", "-f", str(folder / "key")])
    home = clean_debian.HOMES[clean_debian.USER]
    log = log_of("rehearsal kvm host")
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"emulated host: a clean Debian {identity['debian']}, and `make setup` in it ...", flush=True)
    with clean_debian.machine(log.with_name("rehearsal-kvm-mmdebstrap.log"), str(identity["debian"])) as machine:
        bundle = folder / "bundle"
        output(["git", "-C", str(ROOT), "bundle", "create", str(bundle), "HEAD"], 300)
        output(as_root(["install", "-D", "-m", "0644", str(bundle), f"{machine.root}{home}/{CHECKOUT}.bundle"]))
        bundle.unlink()
        output(as_root(["install", "-D", "-m", "0600", str(folder / "key.pub"), f"{machine.root}{home}/.ssh/authorized_keys"]))
        output(as_root(["chroot", str(machine.root), "chown", "-R", f"{clean_debian.USER}:", home]))
        machine.run(SCRIPT, {"root": "none", clean_debian.USER: CHECKOUT}, log, 1800)
        if not log.read_text(encoding="utf-8", errors="replace").rstrip().endswith(": made"):
            raise LabError(f"the emulated host can't be made: {last_error(log)} (whole log: {log})")
        machine.pack(folder / "disk.img", DISK, {"/boot/vmlinuz-*": folder / "vmlinuz", "/boot/initrd.img-*": folder / "initrd.img"})
    (folder / MADE).write_text(json.dumps(identity), encoding="utf-8")


@contextmanager
def mirror_for_it(host: EmulatedHost) -> Iterator[None]:
    """Serve this host's mirror where the emulated host reaches it; it answers when the block begins."""
    with teacher.served(None, "full", lambda argv: host.output(shlex.join(argv)), address="127.0.0.1", reached=OUTSIDE):
        yield


@contextmanager
def _booted(folder: Path) -> Iterator[EmulatedHost]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    accelerator = f"tcg,thread=multi,tb-size={TRANSLATION_CACHE}"
    argv = ["qemu-system-x86_64", "-machine", "pc", "-accel", accelerator, "-cpu", CPU, "-smp", "2", "-m", str(MEMORY)]
    argv += ["-drive", f"file={folder / 'disk.img'},if=virtio,format=raw,cache=unsafe,discard=unmap", "-device", "virtio-rng-pci"]
    argv += ["-netdev", f"user,id=outside,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=outside"]
    argv += ["-display", "none", "-monitor", "none", "-serial", f"file:{LOGS / 'rehearsal-kvm-console.log'}", "-no-reboot"]
    argv += ["-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img"), "-append", PARAMETERS]
    host = EmulatedHost(folder, port)
    with started(argv, leads=True, stdin=subprocess.DEVNULL, cwd="/") as process:
        try:
            wait_for("the emulated host", "an answer by ssh", host.answers, bool, within=BOOT_SECONDS, every=3)
            yield host
        finally:
            _switch_off(host, process)


def _switch_off(host: EmulatedHost, process: subprocess.Popen[bytes]) -> None:
    """Shut it down, so that its disk is whole for a next time; end it where that takes too long."""
    if process.poll() is None:
        with suppress(LabError):  # the connection may end before its answer has come
            host.output("sudo systemctl poweroff", 60)
    try:
        process.wait(OFF_SECONDS)
    except subprocess.TimeoutExpired:
        end(process)
