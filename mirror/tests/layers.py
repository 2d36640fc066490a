"""Layers of the mirror's images as tar archives: Python's tarfile reads zstd from 3.14 on only."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def opened(blob: Path) -> Iterator[tarfile.TarFile]:
    """Give a layer as a stream of its entries, from the first to the last."""
    unpack = ["zstd", "--decompress", "--stdout", str(blob)]
    with subprocess.Popen(unpack, stdout=subprocess.PIPE) as zstd, tarfile.open(fileobj=zstd.stdout, mode="r|") as archive:
        yield archive
