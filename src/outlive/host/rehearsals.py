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
from outlive.host.doctor import resources

WAYS = {
    "names": "the upstream's names, by what a bare root file system asks them for, without a VM",
    "upstream": "the same to the end: a bare machine becomes a cluster",
    "host": "an ordinary user of a clean Debian, the system's libvirt, another host's mirror; all but KVM",
    "classroom": "a mirror that another host serves",
    "metal": "machines that exist already",
    "upgrade": "a lab of an earlier Kubernetes that is brought to this one",
}
"""The rehearsals, each a module of tests in verify/rehearsal."""

PATIENCE = 300.0
"""Seconds that an interrupted rehearsal has to remove its machines."""
SUITE = "bookworm"
ARCHIVE = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""What a clean Debian is made from."""
MEMORY, DISK = 3072, 12
"""MiB of memory and GiB of disk that the rehearsal `host` takes: a machine of 2 GiB, and what has been installed."""


def why_not_clean() -> str | None:
    """Return why this host can't make a clean Debian in namespaces, None if it can."""
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
        if said(["/usr/lib/apt/apt-helper", "download-file", f"{ARCHIVE}/dists/{SUITE}/InRelease", f"{folder}/InRelease"], 60) is None:
            return f"{ARCHIVE} doesn't answer"
    return None


def why_not() -> str | None:
    """Return why the rehearsal `host` can't be made here, None if it can."""
    if reason := why_not_clean():
        return reason
    findings = (resources.memory(MEMORY, resources.read_meminfo()), resources.disk(cache(), DISK, "a clean Debian with a lab"))
    return next((finding.sentence for finding in findings if finding.verdict == "WRONG"), None)


def run(chosen: Sequence[str]) -> int:
    """Run rehearsals, all where none is chosen; return pytest's exit status.

    Raises:
        LabError: one of them can't be made here.
    """
    if "host" in (chosen or WAYS) and (reason := why_not()):
        others = " ".join(way for way in WAYS if way != "host")
        raise LabError(f"the rehearsal `host` can't be made here: {reason}; those without it: `outlive rehearse {others}`")
    files = [f"verify/rehearsal/test_{way}.py" for way in chosen or WAYS]
    argv = [sys.executable, "-m", "pytest", *files, "-m", "rehearsal", "--capture=no", "--verbose"]
    return shown(argv, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, patience=PATIENCE)
