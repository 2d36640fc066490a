"""What `outlive mirror build` does, in order."""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from outlive.base.architecture import Architecture
from outlive.base.errors import LabError
from outlive.base.process import run, uninterrupted
from outlive.mirror import golang
from outlive.mirror.build import addons, boxes, debian, images, packages, programs, registry
from outlive.mirror.build.signing import Signer
from outlive.mirror.lock import BOXES, EARLIER, EXTRAS, Debian, Lock, OwnBox, earlier, load_addons, load_box, load_extra
from outlive.mirror.store import Artefact, Store
from outlive.mirror.tools import compiler, require_tools

TOOLS = (
    "apt-ftparchive",
    "apt-get",
    "debugfs",
    "docker-registry",
    "dpkg-deb",
    "gcc",
    "gpg",
    "mkfs.ext4",
    "mmdebstrap",
    "qemu-img",
    "setcap",
    "skopeo",
    "sfdisk",
    "tar",
    "umoci",
    "unshare",
)


EFI_TOOLS = ("mcopy", "mkfs.vfat", "mmd")
"""What boxes that UEFI starts need besides."""


# What a first build takes, Go's own caches included; measured: 13 GiB.
NEEDED_GIB = 15


def check_disk(folder: Path, needed_gib: int) -> None:
    """Raise LabError if the file system of `folder` has less than `needed_gib` GiB left."""
    free = shutil.disk_usage(folder).free / (1 << 30)
    if free < needed_gib:
        raise LabError(
            f"the cache folder {folder} has {free:.1f} GiB of disk left, and a first build takes {needed_gib}: "
            "free some, or set OUTLIVE_CACHE to a folder on a larger disk"
        )


def tools_for(architecture: Architecture) -> list[str]:
    """Give the programs that this host needs to build for an architecture."""
    efi = EFI_TOOLS if boxes.BOOTS[architecture.name].efi else ()
    foreign = () if architecture.native else ("arch-test", compiler(architecture))
    return [*TOOLS, *efi, *foreign]


def check_runs(architecture: Architecture) -> None:
    """Raise LabError unless this host runs programs of an architecture, by itself or by QEMU: packages configure themselves by their own programs."""
    if architecture.native or run(["arch-test", architecture.name], timeout=60).returncode == 0:
        return
    raise LabError(
        f"this host can't run programs for {architecture.name}, which make the mirror's file systems: install qemu-user-static and binfmt-support; where they are "
        f"there, `sudo mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc` and `sudo update-binfmts --enable qemu-{architecture.machine}`"
    )


def fix_permissions() -> None:
    """Give new files the permissions that packages and images have upstream, whatever this user's umask is."""
    os.umask(0o022)


def build(store: Store, lock: Lock, box_names: Sequence[str], extras: Collection[str] = ()) -> None:
    """Make everything that the lock file lists, the named boxes, and the named extras and those that were made before."""

    def wanted(extra: str, kind: str) -> bool:
        return extra in extras or store.path_of(f"{kind}-{extra}").exists()

    own = {name: load_box(name, store.architecture) for name in box_names if name in BOXES}
    fix_permissions()
    require_tools(tools_for(store.architecture))
    check_runs(store.architecture)
    if not store.path_of("programs-kubernetes").exists():
        check_disk(store.cache, NEEDED_GIB)
    version = golang.version()
    golang.check(lock.go, version)
    signer = Signer(store)
    try:
        # The programs take the processor, the packages mostly the disk and the network: side by side.
        with ThreadPoolExecutor(2) as pool:
            with uninterrupted():
                compiled = pool.submit(_programs, store, lock, version)
                assembled = pool.submit(_debian, store, lock, box_names, own, signer)
            made, (debs, roots) = compiled.result(), assembled.result()
        kubernetes = packages.make_packages(store, lock, made, signer)
        parts = images.Parts(made, roots, debs)
        layouts = [images.make_image(store, lock, name, lock.images[name], parts) for name in images.IMAGES if name in lock.images]
        layouts += [_extra(store, lock, name, signer) for name in EXTRAS if name in lock.extras or wanted(name, "image")]
        older = _earlier(store, earlier(lock), version, signer, parts) if wanted(EARLIER, "programs") else []
        optional = [addons.make_addon(store, lock, each, version) for name, each in load_addons().items() if wanted(name, "image")]
        registry.make_registry(store, [*layouts, *older, *optional])
        for name in box_names:
            disk = own[name].disk if name in own else lock.disk
            boxes.make_box(store, lock, name, disk, boxes.Parts(roots[name], kubernetes, layouts))
    finally:
        signer.close()


def _programs(store: Store, lock: Lock, version: str) -> dict[str, Artefact]:
    if not store.architecture.native:
        # The lab's kubectl runs on this host.
        programs.build_programs(store.for_this_host(), lock.programs["kubernetes"], version)
    return {name: programs.build_programs(store, program, version) for name, program in lock.programs.items()}


def _debian(
    store: Store, lock: Lock, box_names: Sequence[str], own: Mapping[str, OwnBox], signer: Signer
) -> tuple[Artefact, dict[str, Artefact]]:
    debs = debian.fetch_packages(store, lock.debian)
    repository = debian.make_repository(store, lock.debian, debs, signer)
    shared = [name for name in ("image-network", "image-mysql") if name in lock.debian.sets]
    wanted = [*shared, *(name for name in box_names if name not in own)]
    roots = {name: debian.make_root(store, lock.debian, lock.source_date_epoch, name, repository, signer) for name in wanted}
    return debs, roots | {name: _own_root(store, lock, box.debian, name, signer)[1] for name, box in own.items()}


def _earlier(store: Store, lock: Lock, version: str, signer: Signer, parts: images.Parts) -> list[Artefact]:
    """Make programs and packages of the earlier Kubernetes, and its images: a lab that is made of it takes both from the mirror, not from the box."""
    made = {**parts.programs, "kubernetes": programs.build_programs(store, lock.programs[EARLIER], version)}
    packages.make_packages(store, lock, made, signer, f"{EARLIER}-packages")
    parts = replace(parts, programs=made)
    return [images.make_image(store, lock, name, references, parts, "-earlier") for name, references in lock.images.items()]


def _extra(store: Store, lock: Lock, name: str, signer: Signer) -> Artefact:
    """Make an extra image, of packages and a root file system of its own."""
    extra, root = load_extra(name, store.architecture), f"image-{name}"
    debs, made = _own_root(store, lock, extra.debian, root, signer)
    return images.make_image(store, lock, name, extra.references, images.Parts({}, {root: made}, debs))


def _own_root(store: Store, lock: Lock, archive: Debian, name: str, signer: Signer) -> tuple[Artefact, Artefact]:
    """Fetch the packages of an archive of its own and make the root file system `name` of them; give both."""
    debs = debian.fetch_packages(store, archive)
    repository = debian.make_repository(store, archive, debs, signer)
    return debs, debian.make_root(store, archive, lock.source_date_epoch, name, repository, signer)
