"""Where the mirror's own files lie."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
FILES = PACKAGE / "files"
GO = PACKAGE / "go"
LOCK_FILE = PACKAGE / "lock.yml"
