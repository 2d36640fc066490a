"""Put the mirror's box where Vagrant and the private libvirt want it, without the slow way.

vagrant-libvirt sends a box image through libvirt's stream API, some ten megabytes a second on a small host. A volume of
the name that it looks for, put into the pool beforehand, is taken as it is; uncompressed, as emulated VMs read it faster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from outlive.base.errors import LabError
from outlive.base.paths import LOGS
from outlive.base.process import as_root, logged, output, remove


@dataclass(frozen=True)
class Box:
    """A box as its catalogue describes it."""

    name: str
    version: str
    file: Path


def read_catalog(catalog: Path) -> Box:
    """Return the newest box of a Vagrant catalogue.

    Raises:
        LabError: the catalogue or the box that it names isn't there.
    """
    try:
        data = json.loads(catalog.read_text(encoding="utf-8"))
        newest = data["versions"][-1]
        url = next(provider["url"] for provider in newest["providers"] if provider["name"] == "libvirt")
    except FileNotFoundError as error:
        raise LabError(f"lab_box_catalog names {catalog}, which isn't there: run `outlive mirror build`, which builds the boxes") from error
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        raise LabError(
            f"lab_box_catalog names {catalog}, which is no catalogue with a libvirt box: run `outlive mirror build`, which rebuilds it"
        ) from error
    file = Path(unquote(url.removeprefix("file://")))
    if not file.exists():
        raise LabError(f"the box {data['name']} {newest['version']} isn't there ({file}): run `outlive mirror build`, which builds it")
    return Box(data["name"], newest["version"], file)


def stage(box: Box, pool: Path) -> None:
    """Put the box's image into the pool under the name that vagrant-libvirt looks for; nothing to do where it is there."""
    volume = pool / f"{box.name.replace('/', '-VAGRANTSLASH-')}_vagrant_box_image_{box.version}_box.img"
    if volume.exists():
        return
    scratch = pool / "unpack"
    # By root, whose the pool is.
    output(as_root(["mkdir", "-p", str(scratch)]))
    try:
        tar = ["tar", "--extract", "--file", str(box.file), "--directory", str(scratch), "--wildcards", "*box.img"]
        output(as_root(tar), timeout=1800)
        image = next(scratch.rglob("box.img"))
        converted = volume.with_suffix(".part")
        logged("box image", as_root(["qemu-img", "convert", "-O", "qcow2", str(image), str(converted)]), LOGS / "box.log")
        output(as_root(["mv", str(converted), str(volume)]))
    finally:
        remove(scratch)
