"""Layers of the mirror's images: which there are, and what is in them."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layer:
    """A layer: its media type, and the file that it lies in."""

    media_type: str
    blob: Path

    @contextmanager
    def opened(self) -> Iterator[tarfile.TarFile]:
        """Give its entries as a stream, from the first to the last. Python's tarfile reads zstd from 3.14 on only."""
        unpack = ["zstd", "--decompress", "--stdout", str(self.blob)]
        with subprocess.Popen(unpack, stdout=subprocess.PIPE) as zstd, tarfile.open(fileobj=zstd.stdout, mode="r|") as archive:
            yield archive


def of(layout: Path) -> list[Layer]:
    """Return the layers of the image in an OCI layout, from the lowest to the highest."""

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    return [Layer(each["mediaType"], blob(each["digest"])) for each in manifest["layers"]]
