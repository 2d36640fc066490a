"""Ways to a cluster that the lab itself doesn't go, each gone on fresh machines: `outlive rehearse`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from outlive.base.errors import LabError
from outlive.base.paths import ROOT, cache
from outlive.base.process import as_root, said, shown
from outlive.host.doctor import Finding, resources

WAYS = {
    "names": "the upstream's names, by what a bare root file system asks them for, without a VM",
    "upstream": "the same to the end: a bare machine becomes a cluster",
    "host": "an ordinary user of a clean Debian, the system's libvirt, another host's mirror; all but KVM",
    "classroom": "a mirror that another host serves",
    "metal": "machines that exist already",
    "upgrade": "a lab of an earlier Kubernetes that is brought to this one",
    "expired": "a lab that was off for more than a year, and whose certificates have expired",
    "kvm": "an ordinary user's host with KVM and the system's libvirt; it is emulated: one to three hours, only where it is named",
    "virtualbox": "the same with VirtualBox of Debian sid, as far as a machine that answers: one to three hours, only where it is named",
}
"""The rehearsals, each a module of tests in verify/rehearsal."""

PATIENCE = 300.0
"""Seconds that an interrupted rehearsal has to remove its machines."""
UNSTABLE = "sid"
"""Where Debian has what no release of it has, VirtualBox among it."""
SUITES = {"12": "bookworm", "13": "trixie", UNSTABLE: UNSTABLE}
"""Debian's releases of which a host can be made, by their number, and what becomes the next one."""
OLDEST = min(SUITES)
NAMED_ONLY = {"kvm", "virtualbox"}
"""Rehearsals that take hours."""
ARCHIVE = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""What a clean Debian is made from."""
MEMORY, DISK = 3072, 12
"""MiB of memory and GiB of disk that the rehearsal `host` takes: a machine of 2 GiB, and what has been installed."""


def why_not_clean(release: str = OLDEST) -> str | None:
    """Return why this host can't make a clean Debian of a release in namespaces, None if it can."""
    if not Path("/etc/debian_version").exists() or not Path(KEYRING).exists():
        return "this host isn't Debian, or lacks debian-archive-keyring"
    if platform.machine() != "x86_64":
        return "the lab's longest way, with the mirror, is for x86_64"
    if lacking := [program for program in ("mmdebstrap", "unshare", "git") if shutil.which(program) is None]:
        return f"this host lacks {', '.join(lacking)}"
    if os.geteuid() != 0 and said(["sudo", "--non-interactive", "true"]) is None:
        return "this user isn't root, and sudo wants a password or isn't there"
    if said(as_root(["unshare", "--mount", "--pid", "--fork", "true"])) is None:
        return "no namespaces can be made here"
    with TemporaryDirectory() as folder:
        release_file = f"{ARCHIVE}/dists/{SUITES[release]}/InRelease"
        if said(["/usr/lib/apt/apt-helper", "download-file", release_file, f"{folder}/InRelease"], 60) is None:
            return f"{ARCHIVE} doesn't answer"
    return None


def why_not() -> str | None:
    """Return why the rehearsal `host` can't be made here, None if it can."""
    if reason := why_not_clean():
        return reason
    return too_small("it", MEMORY, resources.disk(cache(), DISK, "a clean Debian with a lab"))


def too_small(what: str, memory: int, disk: Finding) -> str | None:
    """Return why this host has too little memory or disk for a rehearsal, None if it has enough; `memory` in MiB."""
    available = resources.available_memory(resources.read_meminfo())
    if available is not None and available < memory:
        return f"{what} needs {memory} MiB of memory and {available} are available: end other programs, or rehearse on another host"
    return disk.sentence if disk.verdict == "WRONG" else None


def run(chosen: Sequence[str], debian: str, workers: int) -> int:
    """Run rehearsals, all that don't take hours where none is chosen; return pytest's exit status.

    Args:
        chosen: Their names.
        debian: The release of an emulated host.
        workers: How many workers its lab has.

    Raises:
        LabError: one of them can't be made here.
    """
    chosen = chosen or [way for way in WAYS if way not in NAMED_ONLY]
    if "host" in chosen and (reason := why_not()):
        others = " ".join(way for way in WAYS if way not in {"host", *NAMED_ONLY})
        raise LabError(f"the rehearsal `host` can't be made here: {reason}; those without it: `outlive rehearse {others}`")
    files = [f"verify/rehearsal/test_{way}.py" for way in chosen]
    argv = [
        sys.executable,
        "-m",
        "pytest",
        *files,
        "-m",
        "rehearsal",
        "--capture=no",
        "--verbose",
        "--debian",
        debian,
        "--workers",
        str(workers),
    ]
    return shown(argv, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, patience=PATIENCE)
