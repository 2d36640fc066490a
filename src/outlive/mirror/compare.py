"""Compare two caches: the same lock file, built twice, has to give the same files."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from outlive.base.errors import LabError
from outlive.mirror.store import Store

Digests = Mapping[str, Mapping[str, str]]
"""The sha256 of each file, by artefact and by name."""

# apt-ftparchive writes today's date, and each cache has a key of its own.
_DATED_OR_SIGNED = ("InRelease", "Release", "Release.gpg", "Release.key")
# Its disk has containerd's database and snapshots, written by a containerd that ran while the box was built.
_OWN_RECORDS = ("box-full",)
# It holds every image of its cache, by their digests: what one has of an image that the other was built without is no difference.
_OF_ALL_IMAGES = "registry"

_TOLD = 3  # files named for each artefact


def check_whole(store: Store) -> None:
    """Raise LabError if a file of the cache hasn't the checksum that was written down, or if nothing is there."""
    damaged = store.check()
    if damaged:
        raise LabError(f"{store.cache} is damaged ({'; '.join(damaged)}): run `outlive mirror build`, which builds those anew")


def check(store: Store, other: Store) -> str:
    """Compare the artefacts of a whole cache with those of another; give a sentence on what was compared.

    Raises LabError naming what differs and isn't expected to, or if the other cache is empty or damaged.
    """
    if other.cache.resolve() == store.cache.resolve():
        raise LabError(f"--against is {other.cache}, which is this cache itself: name another one, built with OUTLIVE_CACHE set to it")
    check_whole(other)
    one, two = ({name: each.record(name).files for name in each.names()} for each in (store, other))
    both = sorted(one.keys() & two.keys())
    if not both:
        raise LabError(f"{store.cache} and {other.cache} have no artefact in common: build both with the same `outlive mirror build`")
    found = differences(one, two)
    if found:
        raise LabError(
            f"{store.cache} and {other.cache} differ ({'; '.join(found)}): "
            "where both were built from one lock file with one version of Go and of gcc, report it"
        )
    alone = sorted(one.keys() ^ two.keys())
    return (
        f"{other.cache}: {len(both)} artefacts have the same files, expected differences apart "
        f"({', '.join(_DATED_OR_SIGNED)}; the disk in {', '.join(_OWN_RECORDS)})"
        + (f"; not compared, since only one cache has them: {', '.join(alone)}" if alone else "")
    )


def differences(one: Digests, two: Digests) -> list[str]:
    """Give a line for each artefact of both whose files differ and aren't expected to."""
    lines = []
    images_differ = any(name.startswith("image-") for name in one.keys() ^ two.keys())
    for name in sorted(one.keys() & two.keys()):
        partly = name == _OF_ALL_IMAGES and images_differ
        files = one[name].keys() & two[name].keys() if partly else one[name].keys() | two[name].keys()
        differing = [file for file in sorted(files) if one[name].get(file) != two[name].get(file) and not _expected(name, file)]
        if differing:
            more = f" and {len(differing) - _TOLD} more" if len(differing) > _TOLD else ""
            lines.append(f"{name}: {', '.join(differing[:_TOLD])}{more}")
    return lines


def _expected(artefact: str, file: str) -> bool:
    return artefact in _OWN_RECORDS or PurePosixPath(file).name in _DATED_OR_SIGNED
