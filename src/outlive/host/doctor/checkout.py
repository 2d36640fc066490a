"""Where the checkout and the cache lie: file systems on which neither works, and a path that is too long for ssh's sockets."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from outlive.base.paths import ROOT, cache
from outlive.host.doctor import Finding, fine, wrong
from outlive.host.doctor.networks import read_file
from outlive.host.settings import CONTROL_PATH, SOCKET_PATH, control_folders, holds_sockets

WINDOWS = ("9p", "virtiofs", "drvfs")
"""By which WSL mounts the drives of Windows (its documentation, "Accessing Windows drives from Linux"); elsewhere the first two keep modes."""

WITHOUT_MODES = ("exfat", "fuse.vmhgfs-fuse", "vboxsf", "vfat")
"""File systems whose files all have one mode and one owner: sticks, and the folders that VirtualBox and VMware share with their guests."""


def file_system(what: str, folder: Path, kind: str | None, *, wsl: bool) -> Finding:
    """Say whether the files of a folder can have modes of their own.

    Args:
        what: What the folder is to the user.
        folder: The folder.
        kind: Its file system's type, None where it isn't known.
        wsl: This is Windows' Linux (WSL).
    """
    drive = wsl and kind in WINDOWS
    if drive or kind in WITHOUT_MODES:
        place = f"on a drive of Windows (WSL's {kind})" if drive else f"on a file system of type {kind}"
        cure = "set OUTLIVE_CACHE to a folder" if what == "cache" else "clone the project into a folder"
        return wrong(
            f"the {what} {folder} lies {place}, whose files have no modes of their own, so that ssh refuses the VMs' keys and Ansible its settings: "
            f"{cure} of Linux' own, such as in the home folder"
        )
    return fine(f"the {what} lies on a file system of type {kind or 'unknown'}")


def sockets(own: Path, other: Path) -> Finding:
    """Say whether ssh's sockets, one for each machine, have a place whose path is short enough.

    Args:
        own: Where they are in a checkout with a short path.
        other: Where they are else, in the cache.
    """
    for folder, sentence in ((own, "they lie in the checkout"), (other, f"they lie in {other}, as the checkout's path is too long")):
        if holds_sockets(folder):
            return fine(f"ssh's sockets: {sentence}")
    return wrong(
        f"neither {own} nor {other} is short enough for ssh's sockets, whose paths may have {SOCKET_PATH} characters with the {CONTROL_PATH} that Ansible and ssh add: "
        "clone the project into a folder with a shorter path, or set OUTLIVE_CACHE to one"
    )


def type_of(folder: Path, mountinfo: str) -> str | None:
    """Return the type of the file system in which a folder is or will be, by the text of /proc/self/mountinfo; None where none is named.

    Of two that are mounted at one place the later one counts; of others, the one whose place is nearest.
    """
    found: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        place, _, rest = line.partition(" - ")
        words = place.split()
        if len(words) < 5 or not rest:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4]))
        if (point == folder or point in folder.parents) and (found is None or len(point.parts) >= found[0]):
            found = (len(point.parts), rest.split()[0])
    return found[1] if found else None


def read() -> list[Finding]:
    """Look at the places of this checkout and of the cache."""
    mounts = read_file("/proc/self/mountinfo") or ""
    wsl = "microsoft" in platform.release().lower()
    places = {"checkout": ROOT, "cache": cache()}
    return [
        *(file_system(what, folder, type_of(folder.resolve(), mounts), wsl=wsl) for what, folder in places.items()),
        sockets(*control_folders()),
    ]
