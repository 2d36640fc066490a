"""Where the mirror keeps what it makes and where its own files lie."""

import os
from pathlib import Path

from outlive.base.errors import LabError

PACKAGE = Path(__file__).resolve().parent
FILES = PACKAGE / "files"
GO = PACKAGE / "go"
LOCK_FILE = PACKAGE / "lock.yml"


def cache_folder() -> Path:
    """Give the cache folder: $OUTLIVE_CACHE, else $XDG_CACHE_HOME/outlive, else ~/.cache/outlive.

    Raises LabError if its path has white space, at which apt would cut it in two, minutes after a build began.
    """
    chosen, base = os.environ.get("OUTLIVE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if chosen:
        setting, value, folder = "OUTLIVE_CACHE", chosen, Path(chosen).expanduser().resolve()
    elif base:
        setting, value, folder = "XDG_CACHE_HOME", base, Path(base) / "outlive"
    else:
        setting, value, folder = "the home folder", str(Path.home()), Path.home() / ".cache" / "outlive"
    if any(character.isspace() for character in str(folder)):
        raise LabError(
            f"{setting} is {value!r}, which makes {str(folder)!r} the cache folder, and apt takes no path with white space: "
            "set OUTLIVE_CACHE to a folder without"
        )
    return folder
