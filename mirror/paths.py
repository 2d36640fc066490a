"""Where the mirror keeps what it makes and where its own files lie."""

import os
import re
from pathlib import Path

from mirror.errors import MirrorError

PACKAGE = Path(__file__).resolve().parent
FILES = PACKAGE / "files"
GO = PACKAGE / "go"
LOCK_FILE = PACKAGE / "lock.yml"
REPORTS = PACKAGE.parent / "reports" / "sbom"


def cache_folder() -> Path:
    """Give the cache folder: $OUTLIVE_CACHE, else $XDG_CACHE_HOME/outlive, else ~/.cache/outlive.

    Raises MirrorError if there is a space in its path, at which apt's lists of sources would be split.
    """
    chosen = os.environ.get("OUTLIVE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(chosen).expanduser().resolve() if chosen else (Path(base) if base else Path.home() / ".cache") / "outlive"
    if re.search(r"\s", str(folder)):
        raise MirrorError(f"the mirror's cache would be '{folder}', and its path may have no spaces: set OUTLIVE_CACHE to another folder")
    return folder
