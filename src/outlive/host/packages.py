"""What the host needs: Debian packages and the virtual environment. Standard library only: it runs before both exist."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host import OLDEST_PYTHON
from host.command import as_root, logged
from host.paths import LOGS, ROOT, cache
from verify.lab.errors import LabError

TOOLS: dict[str, str] = {
    "vagrant": "vagrant",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "curl": "curl",
    "git": "git",
}
"""Programs that the lab calls, each with the Debian package that brings it."""

LIBVIRT: dict[str, str] = {
    "/usr/sbin/libvirtd": "libvirt-daemon-system",
    "/usr/share/rubygems-integration/all/specifications/vagrant-libvirt-*.gemspec": "vagrant-libvirt",
    "/usr/sbin/dnsmasq": "dnsmasq-base",
    "/usr/sbin/iptables": "iptables",
}
"""Files (glob patterns) that a lab on libvirt needs, each with its Debian package."""


def missing_packages(tools: dict[str, str], files: dict[str, str]) -> list[str]:
    """Return the Debian packages whose program or file isn't there, sorted."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacking = {package for tool, package in tools.items() if shutil.which(tool, path=path) is None}
    lacking |= {package for pattern, package in files.items() if not list(Path("/").glob(pattern.lstrip("/")))}
    if not _has_ensurepip():
        lacking.add("python3-venv")
    return sorted(lacking)


def missing_mirror_packages() -> list[str]:
    """Return the Debian packages that building the mirror lacks; `mirror/host-packages.txt` lists what it needs."""
    lines = (ROOT / "mirror/host-packages.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted], capture_output=True, text=True, check=False
    )
    there = {line.split()[0] for line in query.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in there]


def _has_ensurepip() -> bool:
    probe = subprocess.run([_python(), "-c", "import ensurepip"], capture_output=True, check=False)
    return probe.returncode == 0


def _python() -> str:
    """Return the Python to build the environment with: Debian's own where it is new enough, else the one that runs this."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() and Path("/etc/debian_version").exists() else sys.executable


def python_version() -> tuple[tuple[int, int], str]:
    """Return the version and the path of the Python that the environment is built with."""
    printed = subprocess.run([_python(), "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=True)
    major, minor = (int(part) for part in printed.stdout.split())
    return (major, minor), _python()


def too_old(version: tuple[int, int], path: str) -> str:
    """Return the sentence on a Python that is older than the lab's oldest."""
    return (
        f"{path} is Python {version[0]}.{version[1]}, the lab needs {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer: use Debian 12 or newer"
    )


def install_packages(packages: list[str]) -> None:
    """Install Debian packages with apt.

    Raises:
        LabError: the system has no apt (the sentence lists what is missing), or apt fails.
    """
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(
            f"missing on this system, which has no apt-get: {', '.join(packages)} (Debian's package names); install them and run the command again"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    logged("package lists", as_root(["apt-get", "-qq", "update"]), LOGS / "apt-update.log", env=env)
    logged(
        f"host packages ({len(packages)})",
        as_root(["apt-get", "-y", "-q", "--no-install-recommends", "install", *packages]),
        LOGS / "apt-install.log",
        env=env,
    )


def make_environment() -> Path:
    """Make the virtual environment from `requirements.lock` where it isn't there yet, and link `.venv` to it.

    It lies in the cache under the lock's checksum, so that a second checkout has it at once.

    Returns:
        The environment's folder.

    Raises:
        LabError: Python is too old, or pip fails (a package whose checksum isn't the lock's among other reasons).
    """
    (major, minor), python = python_version()
    if (major, minor) < OLDEST_PYTHON:
        raise LabError(too_old((major, minor), python))
    lock = ROOT / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = cache() / "venv" / f"{digest}-py{major}.{minor}"
    complete = folder / ".complete"
    with _alone(folder.parent):
        _fill(folder, complete, python, lock)
    link = ROOT / ".venv"
    if not link.is_symlink() or link.readlink() != folder:
        if link.is_dir() and not link.is_symlink():
            raise LabError(f"{link} is a folder that the lab did not make: move it away, the lab links its own environment there")
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
    return folder


@contextmanager
def _alone(environments: Path) -> Iterator[None]:
    """Hold the cache's environments: another checkout that makes the same one is waited for."""
    environments.mkdir(parents=True, exist_ok=True)
    with (environments / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(folder: Path, complete: Path, python: str, lock: Path) -> None:
    """Make the environment in a folder, where it isn't there in full."""
    if not complete.exists():
        # Built in place (an environment can't be moved); the marker says that it came to its end.
        logged("virtual environment", [python, "-m", "venv", "--clear", str(folder)], LOGS / "venv.log")
        # The lock names everything, so pip has nothing to resolve: left to itself it looks at the newest `coverage` for
        # `coverage[toml]`, which the lock pins without its extra, and gives up once a newer one is out.
        pip = [str(folder / "bin/pip"), "install", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(lock)]
        logged("python packages", pip, LOGS / "pip.log", show=lambda line: line if line.startswith(("Collecting", "Installing")) else None)
        complete.touch()
