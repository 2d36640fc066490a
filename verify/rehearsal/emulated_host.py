"""An emulated host: the machine of a user whose processor has virtualization, made where none lends its own.

QEMU's emulation of an AMD processor has SVM, so that the host's own kernel has KVM, and VirtualBox's module what it needs: they run real machines, slowly.
Its root file system is made at the speed of this host: a clean Debian, in which an ordinary user clones the checkout and does what comes before a
machine. Then it is booted. It reaches this host's loopback as 10.0.2.2, and is reached by ssh alone.

Its disk lies in the cache, for each rehearsal in a folder of its own. A rehearsal that was cut short goes on with it, one that passed removes it.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outlive.base.errors import EXIT_UNKNOWN, LabError, UnreachableError
from outlive.base.locks import exclusive
from outlive.base.paths import LOGS, ROOT, cache
from outlive.base.process import as_root, end, logged, output, run, started
from outlive.base.wait import wait_for
from outlive.host.doctor import resources
from outlive.host.reach import log_of
from outlive.host.rehearsals import too_small, why_not_clean
from verify.rehearsal import clean_debian, teacher

MADE = "made.json"
"""Says that its disk is whole, and what of."""
SAID = "made.log"
"""What was printed while it was made."""
BOX = "mirror.box"
"""A box in the user's home, where the rehearsal gives one."""
FILES = Path(__file__).parent / "files"
SCRIPT = FILES / "emulated_host.sh"
OVERLAY = FILES / "emulated_host.yml"
CHECKOUT = "outlive"
"""Folder of the checkout in the user's home."""
OUTSIDE = "10.0.2.2"
"""This host's loopback, as the emulated host reaches it (QEMU's user network)."""

CPU = "Opteron_G3,svm=on,npt=on,cx16=off,ssse3=on,sse4.1=on,sse4.2=on,popcnt=on,aes=on,pclmulqdq=on"
"""A processor with SVM. Without cmpxchg16b, by which QEMU 7.2 corrupts guests with two processors; the others spare TLS and checksums instructions."""
PROCESSORS = 1
"""With two, each in a thread of QEMU's, the emulation of SVM isn't sound while KVM machines run on both: with QEMU 7.2 the host's kernel ended ("corrupted
stack end detected inside scheduler"), with 10.0 the host itself, and with 11.1 a machine in it faulted for ever at one instruction."""
PARAMETERS = "root=/dev/vda rw console=ttyS0 tsc=reliable highres=off nohz=off norandmaps init_on_alloc=0 panic=-1"
"""The kernel's, as for emulated machines: `inventories/emulated/group_vars/all/vagrant.yml` says why. Its panic ends QEMU, so that nobody waits for it."""
TRANSLATION_CACHE = 2047
"""MiB that QEMU may keep of translated code."""
MEMORY = 9216
"""MiB of the emulated host: the lab's machines, QEMU for each, Ansible and vagrant."""
DISK = 40
"""GiB that its disk may grow to; a rehearsal fills a third."""
FREE_DISK = 25
"""GiB that must be free for it."""
MAKE_SECONDS = 1800.0
"""Time that each of the scripts may take by which it is made."""
BOOT_SECONDS = 900.0
"""Time from power-on to an answer by ssh; alone on two cores it takes a minute."""
OFF_SECONDS = 180.0


@dataclass(frozen=True)
class Kind:
    """What one rehearsal's emulated host is, where it differs from another's. The scripts are in `verify/rehearsal/files`; their parts are those of `parts.sh`."""

    way: str
    """The rehearsal."""
    debian: str
    """The release, by its name in `outlive.host.rehearsals.SUITES`."""
    chosen: Mapping[str, str]
    """Variables for the scripts. What the machine will be is said to the program by them, since it isn't that yet."""
    scripts: tuple[str, ...]
    """What the user does in his checkout while this host's network leads out."""
    parts: tuple[str, ...]
    """The parts that have to end with status 0, else the host isn't made."""
    alone: tuple[str, ...] = ()
    """What he does afterwards, in a network of its own."""
    packages: str = ""
    """Debian packages that he has installed by himself before."""
    box: Path | None = None
    """A box that is put into his home."""
    identity: Mapping[str, object] = field(default_factory=dict)
    """What else makes a disk another one."""


@dataclass(frozen=True)
class Disk:
    """An emulated host's disk, which is whole, and all that belongs to it."""

    kind: Kind
    folder: Path

    @property
    def said(self) -> dict[str, list[str]]:
        """The lines that each part printed while it was made; the last one is the status."""
        return clean_debian.parts((self.folder / SAID).read_text(encoding="utf-8"))

    def forget(self) -> None:
        """Remove it once the host is off: what was to be shown was shown."""
        (self.folder / MADE).unlink()


@dataclass(frozen=True)
class EmulatedHost:
    """An emulated host that answers by ssh."""

    disk: Disk
    port: int

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return self.disk.folder

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

    def be_patient(self, boot_seconds: int) -> None:
        """Give the checkout's inventory patience, and its machines so many seconds to boot."""
        self.put(OVERLAY.read_text(encoding="utf-8"), "inventories/lab/group_vars/all/emulated_host.yml")
        settings = (ROOT / "inventories/lab/group_vars/all/vagrant.yml").read_text(encoding="utf-8")
        patient = re.sub(r"(?m)^lab_boot_timeout: .*", f"lab_boot_timeout: {boot_seconds}", settings)
        self.put(patient, "inventories/lab/group_vars/all/vagrant.yml")

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
        name = f"rehearsal {self.disk.kind.way} {what}"
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
def needed() -> Iterator[None]:
    """End pytest with the sentence of what goes wrong in the block: without an emulated host nothing is known."""
    try:
        yield
    except LabError as error:
        pytest.exit(str(error), returncode=EXIT_UNKNOWN)


@contextmanager
def disk(kind: Kind) -> Iterator[Disk]:
    """Make an emulated host's disk, or go on with the one that an interrupted rehearsal left.

    Raises:
        LabError: this host can't, hasn't the memory or the disk, or another rehearsal runs.
    """
    place = cache() / "emulated-host"
    folder = place / kind.way
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    refusal = "another rehearsal has the emulated host (process {}): wait until it has ended, or end it with Ctrl-C".format
    # One lock for all of them: they are for one host, and each wants it for itself.
    with exclusive(place / "lock", refusal):
        box = kind.box.name if kind.box else None
        identity = {"commit": _commit(), "debian": kind.debian, "box": box, **kind.identity}
        enough(folder)
        made = Disk(kind, folder)
        try:
            if _kept(folder) != identity:
                _make(made, identity)
            else:
                print(f"going on with the emulated host in {folder}", flush=True)
            yield made
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
    """Remove an emulated host's files, what says that it is whole first."""
    for name in (MADE, SAID, "bundle", "disk.img", "vmlinuz", "initrd.img", "key", "key.pub", "known_hosts"):
        (folder / name).unlink(missing_ok=True)


def _make(made: Disk, identity: Mapping[str, object]) -> None:
    """Make its disk, in some minutes at this host's speed."""
    kind, folder = made.kind, made.folder
    if reason := why_not_clean(kind.debian):
        raise LabError(f"the emulated host can't be made: {reason}")
    forget(folder)
    output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rehearsal", "-f", str(folder / "key")])
    user = clean_debian.USER
    home = clean_debian.HOMES[user]
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"emulated host: a clean Debian {kind.debian}, and in it what comes before a machine ...", flush=True)
    with clean_debian.machine(log_of(f"rehearsal {kind.way} mmdebstrap"), kind.debian) as machine:
        bundle = folder / "bundle"
        output(["git", "-C", str(ROOT), "bundle", "create", str(bundle), "HEAD"], 300)
        output(as_root(["install", "-D", "-m", "0644", str(bundle), f"{machine.root}{home}/{CHECKOUT}.bundle"]))
        bundle.unlink(missing_ok=True)
        output(as_root(["install", "-D", "-m", "0600", str(folder / "key.pub"), f"{machine.root}{home}/.ssh/authorized_keys"]))
        if kind.box is not None:
            output(as_root(["install", "-m", "0644", str(kind.box), f"{machine.root}{home}/{BOX}"]), 300)
        output(as_root(["chroot", str(machine.root), "chown", "-R", f"{user}:", home]))
        variables = {**kind.chosen, "PACKAGES": kind.packages}
        _run(made, machine, SCRIPT.name, {"root": "none", user: CHECKOUT}, variables, None)
        for script in kind.scripts:
            _run(made, machine, script, {user: CHECKOUT}, variables, None)
        for script in kind.alone:
            with teacher.namespace(kind.way) as network:
                _run(made, machine, script, {user: CHECKOUT}, variables, network)
        said = made.said
        for part in ("system", "clone", *kind.parts):
            if (lines := said.get(part, ["it wasn't begun"]))[-1] != "status 0":
                raise LabError(f"the emulated host can't be made: '{part}' ended with {' / '.join(lines[-2:])} (whole log: {_log(made)})")
        machine.pack(folder / "disk.img", DISK, {"/boot/vmlinuz-*": folder / "vmlinuz", "/boot/initrd.img-*": folder / "initrd.img"})
        # Whole, whatever becomes of what it was made of.
        (folder / MADE).write_text(json.dumps(identity), encoding="utf-8")


def _log(made: Disk) -> Path:
    """Return the log that a reader finds: with those of the rehearsal, and there after the disk has gone."""
    return log_of(f"rehearsal {made.kind.way} host")


def _run(
    made: Disk, machine: clean_debian.Machine, script: str, folders: Mapping[str, str], variables: Mapping[str, str], network: str | None
) -> None:
    """Run a script in there; what it prints comes to the end of the disk's log."""
    log = made.folder / f"{script}.log"
    try:
        machine.run(FILES / script, folders, log, MAKE_SECONDS, variables=variables, network=network)
    finally:
        if log.exists():
            with (made.folder / SAID).open("a", encoding="utf-8") as whole:
                whole.write(log.read_text(encoding="utf-8", errors="replace"))
            log.unlink()
            _log(made).write_bytes((made.folder / SAID).read_bytes())


@contextmanager
def mirror_for_it(host: EmulatedHost) -> Iterator[None]:
    """Serve this host's mirror where the emulated host reaches it; it answers when the block begins."""
    with teacher.served(None, "full", lambda argv: host.output(shlex.join(argv)), address="127.0.0.1", reached=OUTSIDE):
        yield


@contextmanager
def booted(disk: Disk) -> Iterator[EmulatedHost]:
    """Boot an emulated host; shut it down in the end.

    Raises:
        LabError: it doesn't answer.
    """
    folder = disk.folder
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ["qemu-system-x86_64", "-machine", "pc", "-cpu", CPU, "-smp", str(PROCESSORS), "-m", str(MEMORY)]
    # Its time isn't counted in instructions (-icount), though its machines boot well so: under load each instruction of theirs came to be a round
    # of QEMU's own loop, and 14 s of its time took eleven minutes of a processor.
    argv += ["-accel", f"tcg,thread=single,tb-size={TRANSLATION_CACHE}"]
    argv += ["-drive", f"file={folder / 'disk.img'},if=virtio,format=raw,cache=unsafe,discard=unmap", "-device", "virtio-rng-pci"]
    argv += ["-netdev", f"user,id=outside,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=outside"]
    argv += ["-display", "none", "-monitor", "none", "-serial", f"file:{log_of(f'rehearsal {disk.kind.way} console')}", "-no-reboot"]
    argv += ["-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img"), "-append", PARAMETERS]
    host = EmulatedHost(disk, port)
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
