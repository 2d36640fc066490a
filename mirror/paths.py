"""Where the mirror keeps what it makes and where its own files lie."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
FILES = PACKAGE / "files"
GO = PACKAGE / "go"
LOCK_FILE = PACKAGE / "lock.yml"
REPORTS = PACKAGE.parent / "reports" / "sbom"


def cache_folder() -> Path:
    """Give the cache folder: $OUTLIVE_CACHE, else $XDG_CACHE_HOME/outlive, else ~/.cache/outlive."""
    chosen = os.environ.get("OUTLIVE_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "outlive"
