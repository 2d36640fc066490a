"""Write down what images and boxes are made of: syft reads each artefact and writes one CycloneDX document."""

from collections.abc import Iterator
from pathlib import Path

from outlive.base.errors import LabError
from outlive.mirror import golang
from outlive.mirror.build import boxes, programs
from outlive.mirror.lock import Program
from outlive.mirror.store import Store
from outlive.mirror.tools import run

SYFT = Program(name="syft", module="github.com/anchore/syft", version="", cgo=False, ldflags={}, rename={})
"""Its version stands in go/syft/go.mod alone; `outlive mirror build` doesn't build it."""
ADDED = ("programs-kubernetes", "programs-cni")
"""What a box has beside its root file system and the images: the programs in its Kubernetes packages."""


def write(store: Store, folder: Path) -> list[Path]:
    """Write a document into `folder` for each image, each box's root file system and the programs added to it; return the files.

    Raises:
        LabError: nothing is built, something of it is damaged, syft can't be built, or `folder` can't be written.
    """
    there = dict(sources(store))
    if not there:
        raise LabError(f"the mirror in {store.cache} isn't built: run `outlive mirror build` (OUTLIVE_CACHE names its folder)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"the folder {folder} can't be written ({error.strerror}): name another one with --to") from error
    syft = programs.build_programs(store.for_this_host(), SYFT, golang.version()).path / "syft"
    # It asks nobody for a newer version of itself, and keeps nothing in the home folder.
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false", "SYFT_CACHE_TTL": "0"}
    written = []
    for name, source in there.items():
        store.require(name)
        written.append(folder / f"{name}.cdx.json")
        # The programs in a folder count as installed, as they are in an image.
        command: list[str | Path] = [syft, "scan", "--quiet", "--override-default-catalogers", "image", "--source-name", name, source]
        run([*command, "--output", f"cyclonedx-json={written[-1]}"], store.log("sbom"), env=quiet)
    return written


def sources(store: Store) -> Iterator[tuple[str, str]]:
    """Yield the artefacts that get a document, each with what syft is to read."""
    roots = [f"root-{box}" for box in boxes.BOXES]
    for name in store.names():
        path = store.path_of(name)
        if name.startswith("image-"):
            yield name, f"oci-dir:{path}"
        elif name in roots:
            yield name, f"file:{path / 'root.tar'}"
        elif name in ADDED:
            yield name, f"dir:{path}"
