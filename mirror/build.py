"""What `python -m mirror build` does, in order."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mirror import boxes, debian, images, packages, programs, registry
from mirror.lock import Lock
from mirror.shell import require_tools
from mirror.signing import Signer
from mirror.store import Artefact, Store

TOOLS = (
    "apt-ftparchive",
    "apt-get",
    "docker-registry",
    "dpkg-deb",
    "gcc",
    "go",
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


def build(store: Store, lock: Lock, box_names: Sequence[str]) -> None:
    """Make everything that the lock file lists, and the named boxes."""
    require_tools(TOOLS)
    version = programs.go_version()
    programs.check_go(lock.go, version)
    signer = Signer(store)
    try:
        # The programs take the processor, the packages mostly the disk and the network: side by side.
        with ThreadPoolExecutor(2) as pool:
            compiled = pool.submit(_programs, store, lock, version)
            assembled = pool.submit(_debian, store, lock, box_names, signer)
            made, (debs, roots) = compiled.result(), assembled.result()
        kubernetes = packages.make_packages(store, lock, made, signer)
        parts = images.Parts(made, roots, debs)
        layouts = [images.make_image(store, lock, name, parts) for name in images.IMAGES]
        registry.make_registry(store, layouts)
        for name in box_names:
            boxes.make_box(store, lock, name, boxes.Parts(roots[name], kubernetes, layouts))
    finally:
        signer.close()


def _programs(store: Store, lock: Lock, version: str) -> dict[str, Artefact]:
    return {name: programs.build_programs(store, lock, name, version) for name in lock.programs}


def _debian(
    store: Store, lock: Lock, box_names: Sequence[str], signer: Signer
) -> tuple[Artefact, dict[str, Artefact]]:
    debs = debian.fetch_packages(store, lock.debian)
    repository = debian.make_repository(store, lock, debs, signer)
    wanted = ["image-network", "image-mysql", *box_names]
    return debs, {name: debian.make_root(store, lock, name, repository, signer) for name in wanted}
