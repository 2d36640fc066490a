"""Indices and signatures of apt repositories, made by apt-ftparchive."""

import gzip
from pathlib import Path

from outlive.base.errors import LabError
from outlive.base.process import run_bytes
from outlive.mirror.build.signing import Signer


def index(root: Path, packages: Path, folder: Path, release: dict[str, str], signer: Signer) -> None:
    """Write Packages for the .debs below `root`/`packages` and a signed Release into `root`/`folder`.

    `release` gives the fields of the Release file (Origin, Suite, Codename, Components, Architectures).
    A flat repository has Packages beside Release; one with components has it in
    <component>/binary-<architecture>.
    """
    target = root / folder
    component = release.get("Components")
    place = target / component / f"binary-{release['Architectures']}" if component else target
    place.mkdir(parents=True, exist_ok=True)
    listing = _ftparchive(root, "packages", str(packages))
    (place / "Packages").write_bytes(listing)
    # mtime=0: the same list gives the same bytes.
    (place / "Packages.gz").write_bytes(gzip.compress(listing, mtime=0))
    options = [word for name, value in release.items() for word in ("-o", f"APT::FTPArchive::Release::{name}={value}")]
    text = _ftparchive(target, *options, "release", ".")
    (target / "Release").write_bytes(text)
    signer.sign_release(target / "Release")


def _ftparchive(cwd: Path, *words: str) -> bytes:
    result = run_bytes(["apt-ftparchive", *words], cwd=cwd, timeout=600)
    if result.returncode != 0:
        message = result.stderr.decode(errors="replace").strip()
        raise LabError(f"apt-ftparchive {words[0]} failed in {cwd} ({message}): free some disk space and try again")
    return result.stdout
