"""Make Vagrant boxes for libvirt: Debian 13 with ssh and Python (bare), with everything in it (full), or as a public box is (generic)."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from outlive.base.architecture import Architecture
from outlive.base.errors import LabError
from outlive.mirror.build import images
from outlive.mirror.lock import Disk, Lock
from outlive.mirror.paths import FILES
from outlive.mirror.store import Artefact, Store, digest_file, digest_source, digest_tree, publish, write_atomically
from outlive.mirror.tools import as_root, run

BOXES = ("bare", "full", "generic")

# What these lines make changes with them. Read once: an edit during a build must not count as built.
_SOURCE = digest_source(Path(__file__))

_GIB = 1 << 30
_SECTOR = 512
_FIRST = 2048  # sectors before the first partition
_LABEL = "outlive"
# Fixed, so that the same root file system gives the same disk.
_UUID = "6f75746c-6976-4500-8000-000000000001"
_DISK_ID = "0x6f75746c"


@dataclass(frozen=True)
class Boot:
    """How machines of an architecture find the kernel: by GRUB, which a PC's BIOS reads from the disk's beginning, and UEFI from a file system of its own."""

    format: str
    """GRUB's name of the platform."""
    modules: tuple[str, ...]
    """Modules of GRUB that find the kernel and start it."""
    efi: str = ""
    """The program that UEFI starts from a disk of which it knows nothing; empty where there is a BIOS."""
    efi_sectors: int = 0
    """Size of the EFI system partition, which then comes first."""

    @property
    def root_start(self) -> int:
        """First sector of the root file system; for a BIOS, GRUB lies in the gap before."""
        return _FIRST + self.efi_sectors

    def partitions(self, end: int) -> str:
        """Give the partition table, as sfdisk reads it; the root file system's partition ends before sector `end`."""
        system = f"start={_FIRST}, size={self.efi_sectors}, type=ef\n" if self.efi else ""
        root = f"start={self.root_start}, size={end - self.root_start}, type=83, bootable\n"
        return f"label: dos\nlabel-id: {_DISK_ID}\n{system}{root}"

    @property
    def prefix(self) -> str:
        """GRUB's own folder, in its words."""
        return f"(hd0,msdos{2 if self.efi else 1})/boot/grub"


BOOTS = {
    "amd64": Boot("i386-pc", ("biosdisk", "part_msdos", "ext2", "linux", "normal", "configfile", "serial", "smbios", "terminal", "test")),
    "arm64": Boot("arm64-efi", ("part_msdos", "ext2", "linux", "normal", "configfile", "smbios"), "EFI/BOOT/BOOTAA64.EFI", 32768),
}
"""By the architecture's name."""

# Work that a lab's machine doesn't need, and that a slow one feels.
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "grub-common.service",
    "grub-initrd-fallback.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sshd-unix-local.socket",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-udev-load-credentials.service",
)
# Services that the roles enable where they belong.
_DISABLED = {
    "bare": (),
    "full": (
        "containerd.service",
        "nfs-server.service",
        "nfs-blkmap.service",
        "rpcbind.service",
        "rpcbind.socket",
        "iscsid.socket",
        "open-iscsi.service",
        "rtslib-fb-targetctl.service",
    ),
}


@dataclass(frozen=True)
class Parts:
    """The artefacts that a box is made of; the full box takes them all, the others the root only."""

    root: Artefact
    kubernetes: Artefact
    layouts: Sequence[Artefact]


def make_box(store: Store, lock: Lock, name: str, disk: Disk, parts: Parts) -> Artefact:
    """Make the box `name` and enter it in the cache's catalogue as outlive/`name`."""
    full, boot = name == "full", BOOTS[store.architecture.name]
    overlays = _overlays(store.architecture)
    files = [FILES / "generic"] if name == "generic" else [*overlays, FILES / "full", FILES / "import-images"]
    log = store.log(f"box-{name}")

    def build(target: Path) -> None:
        root, work = target / ".root", target / ".work"
        work.mkdir()
        run(as_root(["mkdir", "-m", "0755", str(root)]), log)
        try:
            tar = ["tar", "--extract", "--file", str(parts.root.path / "root.tar"), "--directory", str(root)]
            run(as_root([*tar, "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*"]), log)
            if full:
                _install_kubernetes(root, lock, parts.kubernetes, store.architecture, log)
                _import_images(root, work, parts.layouts, log)
            if name == "generic":
                _configure_as_public(root, log)
            else:
                _configure_for_lab(root, name, overlays, lock, log)
            _finish(root, boot, log)
            _date_files(root, lock, log)
            image = _make_disk(root, work, disk, boot, lock.source_date_epoch, log)
        finally:
            run(as_root(["rm", "-rf", "--one-file-system", str(root)]), log, cleanup=True)
        _pack_box(target / f"{name}.box", image, work, disk, lock.source_date_epoch, log)
        shutil.rmtree(work)

    inputs = [
        parts.root.key,
        [parts.kubernetes.key, [layout.key for layout in parts.layouts]] if full else [],
        digest_tree(*files),
        [disk.size, disk.filled],
        _SOURCE,
    ]
    box = store.make(f"box-{name}", inputs, build)
    _publish(store.cache / "boxes", name, box, store.architecture)
    return box


def _overlays(architecture: Architecture) -> list[Path]:
    """Give the folders that a lab's box has over its packages' files, a later one over an earlier one; amd64 needs no more than all have."""
    return list(dict.fromkeys(FILES / f"box{suffix}" for suffix in ("", architecture.suffix)))


def version_of(box: Artefact) -> str:
    """Give the box's version: its last part changes with the content, so that Vagrant sees a new box."""
    return f"13.0.{int(box.key[:7], 16)}"


def _publish(folder: Path, name: str, box: Artefact, architecture: Architecture) -> None:
    """Write the catalogue entry that `vagrant` reads, and name the box's file by its version.

    Another architecture's box has a name of its own: older Vagrants tell boxes by name and version only, and take the newest.
    """
    version = version_of(box)
    known_as = f"{name}{architecture.suffix}"
    file = folder / f"{known_as}-{version}.box"
    publish(box.path / f"{name}.box", file)
    manifest = {
        "name": f"outlive/{known_as}",
        "description": "Debian 13 for the outlive lab",
        "versions": [
            {
                "version": version,
                "providers": [
                    {
                        "name": "libvirt",
                        "url": file.as_uri(),
                        "checksum_type": "sha256",
                        "checksum": digest_file(file),
                        "architecture": architecture.name,
                        "default_architecture": True,
                    }
                ],
            }
        ],
    }
    write_atomically(folder / f"{known_as}.json", json.dumps(manifest, indent=2) + "\n")
    for old in folder.glob(f"{known_as}-[0-9]*.box"):
        if old != file:
            old.unlink()


def _chroot(root: Path, log: Path, *words: str, **variables: str) -> None:
    run(as_root(["chroot", str(root), *words]), log, env={"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", **variables})


def _install_kubernetes(root: Path, lock: Lock, kubernetes: Artefact, architecture: Architecture, log: Path) -> None:
    """Install the Kubernetes packages, whose dependencies the root has."""
    debs = sorted((kubernetes.path / lock.packages["repository"] / architecture.name).glob("*.deb"))
    run(as_root(["cp", *map(str, debs), str(root / "var/tmp")]), log)
    _chroot(root, log, "dpkg", "--install", *(f"/var/tmp/{deb.name}" for deb in debs))
    run(as_root(["rm", *(str(root / "var/tmp" / deb.name) for deb in debs)]), log)
    # As roles/kubernetes_packages would leave them.
    _chroot(root, log, "apt-mark", "hold", "kubeadm", "kubelet", "kubectl")
    run(as_root(["cp", "--recursive", "--no-preserve=ownership", f"{FILES / 'full'}/.", str(root)]), log)
    _chroot(root, log, "systemctl", "enable", "kubelet.service")


def _import_images(root: Path, work: Path, layouts: Sequence[Artefact], log: Path) -> None:
    """Unpack the images into the root's containerd, by its own containerd."""
    images.merge_layouts([layout.path for layout in layouts], work / "layout")
    archive = work / "images.tar"
    run(["tar", "--create", "--file", archive, "--directory", work / "layout", "."], log)
    run(as_root(["install", "-m", "0644", str(archive), str(root / "var/tmp/images.tar")]), log)
    run(as_root(["install", "-m", "0755", str(FILES / "import-images"), str(root / "var/tmp/import-images")]), log)
    namespaces = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
    run(as_root([*namespaces, "chroot", str(root), "/var/tmp/import-images", "/var/tmp/images.tar"]), log)
    run(as_root(["rm", str(root / "var/tmp/images.tar"), str(root / "var/tmp/import-images")]), log)
    archive.unlink()


def _configure_as_public(root: Path, log: Path) -> None:
    """Leave a system that cloud-init configures at its first start: no account, no name, no network (docs/mirror.md says whose settings these are)."""
    run(as_root(["cp", "--recursive", "--no-preserve=ownership", f"{FILES / 'generic'}/.", str(root)]), log)
    _chroot(root, log, "sed", "--in-place", "s/^#PasswordAuthentication yes/PasswordAuthentication no/", "/etc/ssh/sshd_config")
    _chroot(root, log, "sed", "--in-place", "$aClientAliveInterval 120", "/etc/ssh/sshd_config")
    _chroot(root, log, "systemctl", "enable", "systemd-networkd", "systemd-resolved")
    _chroot(root, log, "truncate", "--size=0", "/etc/hostname")
    _chroot(root, log, "ln", "-sfn", "../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")


def _configure_for_lab(root: Path, name: str, overlays: Sequence[Path], lock: Lock, log: Path) -> None:
    """Make a system of the root that Vagrant can take over, without what a lab's machine doesn't need."""
    account = ("--create-home", "--uid", "1000", "--shell", "/bin/bash", "vagrant")
    # It writes down on which day the password was set.
    _chroot(root, log, "useradd", *account, SOURCE_DATE_EPOCH=str(lock.source_date_epoch))
    for overlay in overlays:
        run(as_root(["cp", "--recursive", "--no-preserve=ownership", f"{overlay}/.", str(root)]), log)
    _chroot(root, log, "chown", "-R", "vagrant:vagrant", "/home/vagrant")
    _chroot(root, log, "chmod", "0700", "/home/vagrant/.ssh")
    _chroot(root, log, "chmod", "0600", "/home/vagrant/.ssh/authorized_keys")
    _chroot(root, log, "chmod", "0440", "/etc/sudoers.d/vagrant")
    _chroot(root, log, "systemctl", "enable", "systemd-networkd", "systemd-resolved", "ssh-host-keys", "ssh")
    # Every login, sudo's included, would start a service manager of its own: seconds of work where the processor is emulated.
    _chroot(root, log, "pam-auth-update", "--package", "--remove", "systemd")
    _chroot(root, log, "systemctl", "mask", *_MASKED)
    _chroot(root, log, "systemctl", "set-default", "multi-user.target")
    if _DISABLED[name]:
        _chroot(root, log, "systemctl", "disable", *_DISABLED[name])
    _chroot(root, log, "ln", "-sfn", "/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")
    # Nothing is to be brought up to date at the first start: /usr hasn't changed since.
    _chroot(root, log, "touch", "--reference=/usr", "/etc/.updated", "/var/.updated")


def _finish(root: Path, boot: Boot, log: Path) -> None:
    """Take away what is each machine's own, and write the boot loader."""
    # Each machine makes its own.
    _chroot(root, log, "truncate", "--size=0", "/etc/machine-id")
    _chroot(root, log, "rm", "-rf", "/var/lib/dbus/machine-id", "/var/lib/apt/lists")
    _chroot(root, log, "mkdir", "-p", "/var/lib/apt/lists/partial", "/boot/grub")
    grub = ["grub-mkimage", f"--format={boot.format}", "--output=/boot/grub/core.img", f"--prefix={boot.prefix}"]
    _chroot(root, log, *grub, *boot.modules)


def _date_files(root: Path, lock: Lock, log: Path) -> None:
    """Give all that was made since the packages were unpacked their date, as they have one of their own."""
    date = f"@{lock.source_date_epoch}"
    run(as_root(["find", str(root), "-newermt", date, "-exec", "touch", "--no-dereference", f"--date={date}", "{}", "+"]), log)


def _make_disk(root: Path, work: Path, disk: Disk, boot: Boot, epoch: int, log: Path) -> Path:
    """Make a bootable qcow2 disk of the root: GRUB where the firmware looks for it, ext4 on the last partition; what it doesn't fill is left for it to grow."""
    raw = work / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(disk.size * _GIB)
    table = work / "partitions"
    end = disk.filled * _GIB
    table.write_text(boot.partitions(end // _SECTOR))
    run(["sfdisk", "--quiet", raw], log, stdin=table)
    offset = boot.root_start * _SECTOR
    options = f"offset={offset},hash_seed={_UUID},root_owner=0:0,nodiscard,assume_storage_prezeroed=1"
    command = ["mkfs.ext4", "-q", "-F", "-L", _LABEL, "-U", _UUID, "-m", "1", "-J", "size=64"]
    # Bookworm's mke2fs turns on features that GRUB doesn't read.
    command += ["-O", "^metadata_csum_seed,^orphan_file", "-E", options, "-d", str(root), str(raw)]
    blocks = f"{(end - offset) // 1024}k"
    clock = {"E2FSPROGS_FAKE_TIME": str(epoch)}
    run(as_root([*command, blocks]), log, env=clock)
    # mkfs.ext4 copies when a file was last changed and read, which is when it was unpacked here, and no program can set the former.
    dates = work / "dates"
    lines = "".join(f'set_inode_field "/%P" {field} @{epoch}\\n' for field in ("ctime", "atime"))
    run(as_root(["find", str(root), "-fprintf", str(dates), lines]), log)
    # Without its echo of every line.
    quiet = ["sh", "-c", 'exec debugfs -w "$0" > /dev/null']
    run(as_root([*quiet, f"{raw}?offset={offset}"]), log, env=clock, stdin=dates)
    if boot.efi:
        _write_efi_partition(raw, root, work, epoch, boot, log)
    else:
        _write_boot_sector(raw, root, boot)
    image = work / "box.img"
    compression = ["-c", "-o", "compression_type=zstd"]
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *compression, "-m", "4", raw, image], log)
    raw.unlink()
    return image


def _write_boot_sector(raw: Path, root: Path, boot: Boot) -> None:
    """Put GRUB before the first partition."""
    core = root / "boot/grub/core.img"
    room = (_FIRST - 1) * _SECTOR
    if core.stat().st_size > room:
        raise LabError(f"GRUB has {core.stat().st_size} bytes and {room} fit: name fewer modules")
    with raw.open("r+b") as file:
        # The first 440 bytes are code, the partition table follows; core.img lies where boot.img looks by itself.
        file.write((root / "usr/lib/grub" / boot.format / "boot.img").read_bytes()[:440])
        file.seek(_SECTOR)
        file.write(core.read_bytes())


def _write_efi_partition(raw: Path, root: Path, work: Path, epoch: int, boot: Boot, log: Path) -> None:
    """Put GRUB into the EFI system partition, where UEFI looks by itself: the machines' firmware keeps no variables."""
    system = work / "efi.img"
    with system.open("wb") as file:
        file.truncate(boot.efi_sectors * _SECTOR)
    # The same bytes each time: --invariant for the volume, and mtools heeds the variable.
    run(["mkfs.vfat", "--invariant", "-F", "16", system], log)
    stamped = {"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC"}
    for folder in list(reversed(PurePosixPath(boot.efi).parents))[1:]:
        run(["mmd", "-i", system, f"::/{folder}"], log, env=stamped)
    run(["mcopy", "-i", system, root / "boot/grub/core.img", f"::/{boot.efi}"], log, env=stamped)
    with raw.open("r+b") as file:
        file.seek(_FIRST * _SECTOR)
        file.write(system.read_bytes())


def _pack_box(target: Path, image: Path, work: Path, disk: Disk, epoch: int, log: Path) -> None:
    """Pack the disk with what Vagrant wants to know of it."""
    (work / "metadata.json").write_text(json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": disk.size}) + "\n")
    (work / "Vagrantfile").write_text((FILES / "Vagrantfile").read_text())
    command = ["tar", "--create", "--file", str(target), "--directory", str(work), f"--mtime=@{epoch}"]
    run([*command, "--numeric-owner", "--owner=0", "--group=0", "metadata.json", "Vagrantfile", image.name], log)
