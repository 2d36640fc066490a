"""The Python environment of a checkout. Standard library only: it runs before there is one.

Two layers, both in the cache. The packages of `requirements.lock` are installed once for all checkouts, under the lock's checksum. Above them each
checkout has a thin environment of its own, which `.venv` links to: the program `outlive`, installed from this checkout as editable, and the shared
packages by a `.pth` file. So a second checkout is set up in seconds, and none runs another one's code. It lies in the cache, whose path has no white
space, since Ansible can't call a Python whose path has some.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from outlive import OLDEST_PYTHON
from outlive.base.errors import LabError
from outlive.base.locks import exclusive
from outlive.base.paths import LOGS, ROOT, cache
from outlive.base.process import logged, output, said

LINK = ROOT / ".venv"
NOTE = "outlive.json"
"""What a checkout's environment was made from; written last."""
SOCKETS = "ssh"
"""The folder in it for ssh's control sockets, whose paths have to be short: used where the checkout's is not."""
PROGRAM = b"""\
#!/bin/sh
'''exec' "$(dirname -- "$(readlink -f -- "$0")")/python" "$0" "$@"
' '''
"""
"""The head of a program of the shared packages, for the shell and for Python: it runs in the environment that it lies in, however long its path."""


def own() -> Path:
    """Return the folder of this checkout's environment: in the cache, by the checkout's checksum."""
    return cache() / "venv/checkouts" / hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]


def has_ensurepip() -> bool:
    """Say whether the Python that the environment is built with can install pip."""
    return said([_python(), "-c", "import ensurepip"], 60) is not None


def python_version() -> tuple[tuple[int, int], str]:
    """Return the version and the path of the Python that the environment is built with."""
    printed = output([_python(), "-c", "import sys; print(*sys.version_info[:2])"])
    major, minor = (int(part) for part in printed.split())
    return (major, minor), _python()


def too_old(version: tuple[int, int], path: str) -> str:
    """Return the sentence on a Python that is older than the lab's oldest."""
    return (
        f"{path} is Python {version[0]}.{version[1]}, the lab needs {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer: use Debian 12 or newer"
    )


def make() -> Path:
    """Make this checkout's environment as far as it isn't there, and link `.venv` to it.

    Returns:
        Its folder.

    Raises:
        LabError: Python is too old, or pip fails (a package whose checksum isn't the lock's among other reasons).
    """
    (major, minor), python = python_version()
    if (major, minor) < OLDEST_PYTHON:
        raise LabError(too_old((major, minor), python))
    if LINK.is_dir() and not LINK.is_symlink():
        raise LabError(f"{LINK} is a folder that the lab did not make: move it away, the lab links its own environment there")
    folder = cache() / "venv"
    with exclusive(folder / "lock"):
        shared = _shared(folder, python, f"py{major}.{minor}")
        made = _own(own(), shared, python)
        _prune(made.parent)
    if not LINK.is_symlink() or LINK.readlink() != made:
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(made)
    return made


def _python() -> str:
    """Return the Python to build the environment with: Debian's own where it is new enough, else the one that runs this."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() and Path("/etc/debian_version").exists() else sys.executable


def _shared(folder: Path, python: str, version: str) -> Path:
    """Return the folder of the lock's packages, installed where they aren't there in full."""
    lock = ROOT / "requirements.lock"
    shared = folder / f"{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}-{version}"
    complete = shared / ".complete"
    if not complete.exists():
        # Built in place (an environment can't be moved); the marker says that it came to its end.
        logged("virtual environment", [python, "-m", "venv", "--clear", str(shared)], LOGS / "venv.log")
        # The lock names everything, so pip has nothing to resolve: left to itself it looks at the newest `coverage` for
        # `coverage[toml]`, which the lock pins without its extra, and gives up once a newer one is out.
        pip = [str(shared / "bin/pip"), "install", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(lock)]
        logged("python packages", pip, LOGS / "pip.log", show=lambda line: line if line.startswith(("Collecting", "Installing")) else None)
        complete.touch()
    return shared


def _own(own: Path, shared: Path, python: str) -> Path:
    """Return the folder of this checkout's thin environment, made where it isn't there as it has to be."""
    note = {
        "checkout": str(ROOT),
        "shared": str(shared),
        "project": hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()).hexdigest(),
    }
    if _note(own) == note:
        return own
    (own / NOTE).unlink(missing_ok=True)
    logged("this checkout's environment", [python, "-m", "venv", "--clear", "--without-pip", str(own)], LOGS / "venv.log")
    (packages,) = own.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(f"{shared / packages.relative_to(own)}\n", encoding="utf-8")
    # What venv itself puts there is Python's affair: 3.14 adds a name for Python that no pattern would guess.
    its = {program.name for program in (own / "bin").iterdir()}
    for program in sorted((shared / "bin").iterdir()):
        if program.name not in its and not program.name.startswith("pip"):
            _link_program(program, own / "bin", shared)
    pip = [str(own / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
    pip += ["--no-index", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    logged("outlive", pip, LOGS / "pip.log")
    # By this user, also where root is the one who logs in to the machines.
    (own / SOCKETS).mkdir(mode=0o700)
    (own / NOTE).write_text(json.dumps(note), encoding="utf-8")
    return own


def _link_program(program: Path, folder: Path, shared: Path) -> None:
    """Give the checkout's environment a program of the shared one; a Python program runs by the checkout's Python."""
    data = program.read_bytes()
    # One line, or three where the path was too long for the kernel: the last of them names the interpreter or closes the quotes.
    head, found, body = data.partition(b"\n")
    if head == b"#!/bin/sh":
        _, found, body = body.partition(b"' '''\n")
    elif str(shared).encode() not in head:
        found = b""
    if not found:
        (folder / program.name).symlink_to(program)
        return
    target = folder / program.name
    target.write_bytes(PROGRAM + body)
    target.chmod(0o755)


def _note(own: Path) -> object:
    try:
        return json.loads((own / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _prune(folder: Path) -> None:
    """Remove the environments of checkouts that are gone."""
    for each in folder.iterdir():
        note = _note(each)
        if isinstance(note, dict) and not _is_there(Path(str(note["checkout"]))):
            shutil.rmtree(each, ignore_errors=True)


def _is_there(folder: Path) -> bool:
    """Say whether a checkout is there; one in a folder that this user may not look into counts as there."""
    try:
        return (folder / "pyproject.toml").exists()
    except PermissionError:
        return True
