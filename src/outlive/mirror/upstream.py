"""Stand in for the upstream's servers under their own names: what a user with internet asks, asked of the mirror.

For a network of a test's own, in which the names lead to this server and nothing leads out. Its guests trust the certificate authority
and the signing key that are made here for this purpose, nothing else is different for them: apt reads the repositories of deb.debian.org,
security.debian.org and pkgs.k8s.io, and containerd, without any mirror in its configuration, speaks to registry.k8s.io, to ghcr.io
and to Docker Hub, the last two after they gave it a token. What differs from upstream: no name redirects to another one.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.ports import check_address
from outlive.mirror import authority, servers
from outlive.mirror.build import apt_repository
from outlive.mirror.build.signing import Signer
from outlive.mirror.lock import Lock
from outlive.mirror.store import Store

HTTP_PORT, HTTPS_PORT = 80, 443

REGISTRIES = {"registry.k8s.io": "registry.k8s.io", "registry-1.docker.io": "docker.io", "ghcr.io": "ghcr.io"}
"""Hosts that are asked for images, each with the part of the mirror's repositories that stands for it. containerd knows that
docker.io's registry is registry-1.docker.io."""

REALMS = {"registry-1.docker.io": ("auth.docker.io", "registry.docker.io"), "ghcr.io": ("ghcr.io", "ghcr.io")}
"""The registries that want a token, also for what is public: the host that gives it, and what they call themselves there."""

FILES = ("pkgs.k8s.io", "deb.debian.org", "security.debian.org")
"""Hosts of apt repositories."""

NAMES = tuple(dict.fromkeys((*REGISTRIES, *(host for host, _ in REALMS.values()), *FILES)))
"""Every name that is stood in for."""


def lay_out(store: Store, lock: Lock, folder: Path) -> None:
    """Make in `folder` what the names have: site/ with a folder for each repository's host, signed by a key of its own, and certificates.

    debian.gpg is the public key that the guests take for Debian's. What an earlier run left is replaced.
    """
    debian, kubernetes = store.path_of("debian-repository"), store.path_of("kubernetes-packages") / lock.packages["repository"]
    if not debian.is_dir() or not kubernetes.is_dir() or not (store.path_of("registry") / "docker").is_dir():
        raise LabError(f"the mirror in {store.cache} isn't built: run `outlive mirror build`")
    site = folder / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    (folder / "requests.log").unlink(missing_ok=True)
    signer = Signer(Store(folder, print))
    try:
        shutil.copyfile(signer.keyring, folder / "debian.gpg")
        suite = lock.debian.suite
        _signed_again(debian, Path("dists") / suite, site / "deb.debian.org/debian", signer)
        # Nothing is newer than what the mirror has.
        architecture = lock.debian.architecture.name
        for later in ("updates", "backports"):
            _empty(site / "deb.debian.org/debian", f"{suite}-{later}", architecture, signer)
        for host in ("security.debian.org", "deb.debian.org"):
            _empty(site / host / "debian-security", f"{suite}-security", architecture, signer)
        published = site / "pkgs.k8s.io" / lock.packages["repository"].partition("/")[2]
        _signed_again(kubernetes, Path(), published, signer)
        (published / "Release.key").unlink()
        signer.export_armored(published / "Release.key")
    finally:
        signer.close()
    authority.make(NAMES, folder)


def _signed_again(source: Path, release: Path, target: Path, signer: Signer) -> None:
    """Publish a repository at `target`, its Release file in the folder `release` signed by another key."""
    shutil.copytree(source, target, copy_function=os.symlink)
    place = target / release
    (place / "Release").unlink()
    shutil.copyfile(source / release / "Release", place / "Release")
    for signature in ("Release.gpg", "InRelease"):
        (place / signature).unlink()
    signer.sign_release(place / "Release")


def _empty(target: Path, suite: str, architecture: str, signer: Signer) -> None:
    """Publish a suite that has no packages."""
    (target / "pool/none").mkdir(parents=True, exist_ok=True)
    release = {
        "Origin": "Debian",
        "Label": "Debian",
        "Suite": suite,
        "Codename": suite,
        "Components": "main",
        "Architectures": architecture,
    }
    apt_repository.index(target, Path("pool/none"), Path("dists") / suite, release, signer)


@contextmanager
def answering(address: str, ports: tuple[int, int], folder: Path, registry_port: int) -> Iterator[subprocess.Popen[str]]:
    """Answer for all names on `address`, by HTTP and HTTPS, until the block ends.

    Each request is a line of requests.log in `folder`: host, method, path and status.

    Raises:
        LabError: one of the ports can't be used.
    """
    with servers.nginx(
        folder,
        "upstream.conf.j2",
        address,
        ports,
        folder / "servers.log",
        who="the upstream's stand-in",
        cure="it needs root and a network of its own, as `outlive rehearse upstream` makes it",
        registry_port=registry_port,
        token=secrets.token_urlsafe(32),
        names=NAMES,
        files=FILES,
        registries=REGISTRIES,
        realms=REALMS,
        token_hosts=[host for host, _ in REALMS.values()],
    ) as process:
        yield process


def serve(store: Store, lock: Lock, address: str, folder: Path) -> None:
    """Stand in for the upstream on `address` until SIGTERM or SIGINT; keys, certificates, signatures and logs lie in `folder`."""
    check_address(address)
    lay_out(store, lock, folder)
    log, port = folder / "servers.log", servers.free_port()
    with (
        servers.registry(store.path_of("registry"), "127.0.0.1", port, log, read_only=True) as registry,
        answering(address, (HTTP_PORT, HTTPS_PORT), folder, port) as nginx,
    ):
        servers.wait_until_told(f"standing in for {', '.join(NAMES)} on {address}", {"nginx": nginx, "docker-registry": registry}, log)
