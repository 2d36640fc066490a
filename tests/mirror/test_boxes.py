"""A box's disk has what it boots from, and its catalogue tells Vagrant of it.

Made by the real tools of a root file system of a few files; a whole box is started by `make lab` only.
"""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from outlive.base.architecture import AMD64, ARM64, Architecture
from outlive.base.errors import LabError
from outlive.mirror import build, lock
from outlive.mirror.build import boxes
from outlive.mirror.paths import FILES
from outlive.mirror.store import Artefact, Store, digest_file

TOOLS = ("sfdisk", "mkfs.ext4", "qemu-img", "debugfs")
MISSING_EFI = [tool for tool in ("mtype", *build.EFI_TOOLS) if shutil.which(tool) is None]
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
needs_tools = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mkfs.ext4 keeps the owners of a root file system only as root"),
    pytest.mark.skipif(bool(MISSING), reason=f"this host lacks {', '.join(MISSING)}, with which a disk is made"),
]
LOCK = lock.load()
DISK = lock.Disk(1, 1)
START = 2048 * 512
BOOT, CORE = b"boot" * 128, b"core" * 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root file system with GRUB's two images and one more file."""
    folder = tmp_path / "root"
    for name, content in (("usr/lib/grub/i386-pc/boot.img", BOOT), ("boot/grub/core.img", CORE), ("etc/hostname", b"small\n")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _disk(root: Path, work: Path, disk: lock.Disk = DISK, architecture: Architecture = AMD64) -> Path:
    work.mkdir()
    return boxes._make_disk(root, work, disk, boxes.BOOTS[architecture.name], LOCK.source_date_epoch, work / "log")


class TestDisk:
    pytestmark = needs_tools

    def test_has_what_it_boots_from_and_the_root_file_system(self, root: Path, tmp_path: Path) -> None:
        raw = tmp_path / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", _disk(root, tmp_path / "work"), raw], check=True)
        with raw.open("rb") as file:
            start = file.read(512 + len(CORE))
        # The processor begins with the first bytes; the partition table behind them stays.
        assert start[:440] == BOOT[:440]
        assert start[512:] == CORE
        (partition,) = json.loads(subprocess.check_output(["sfdisk", "--json", raw]))["partitiontable"]["partitions"]
        assert (partition["start"], partition["bootable"]) == (2048, True)
        assert raw.stat().st_size == 1 << 30
        name = subprocess.check_output(["debugfs", "-R", "cat /etc/hostname", f"{raw}?offset={START}"], stderr=subprocess.DEVNULL)
        assert name == b"small\n"

    def test_leaves_room_to_grow(self, root: Path, tmp_path: Path) -> None:
        """A public box's file system fills its disk at the first start only."""
        raw = tmp_path / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", _disk(root, tmp_path / "work", lock.Disk(2, 1)), raw], check=True)
        (partition,) = json.loads(subprocess.check_output(["sfdisk", "--json", raw]))["partitiontable"]["partitions"]
        assert raw.stat().st_size == 2 << 30
        assert (partition["start"] + partition["size"]) * 512 == 1 << 30
        told = subprocess.check_output(["dumpe2fs", "-h", f"{raw}?offset={START}"], text=True, stderr=subprocess.DEVNULL)
        (blocks,) = (int(line.split()[-1]) for line in told.splitlines() if line.startswith("Block count:"))
        (size,) = (int(line.split()[-1]) for line in told.splitlines() if line.startswith("Block size:"))
        assert blocks * size == partition["size"] * 512

    def test_has_nothing_of_the_day_on_which_it_is_made(self, root: Path, tmp_path: Path) -> None:
        """The same files, unpacked and read at other times, give the same bytes."""
        again = tmp_path / "again"
        shutil.copytree(root, again)
        for each in (root, again):
            boxes._date_files(each, LOCK, tmp_path / "log")
        name = "etc/hostname"
        # ext4 counts in seconds.
        while int((again / name).stat().st_ctime) == int((root / name).stat().st_ctime):
            os.utime(again / name, (1, LOCK.source_date_epoch))
        one, other = (_disk(each, tmp_path / f"work-{each.name}") for each in (root, again))
        assert one.read_bytes() == other.read_bytes()

    @pytest.mark.skipif(bool(MISSING_EFI), reason=f"this host lacks {', '.join(MISSING_EFI)}, with which an EFI system partition is made")
    def test_has_what_uefi_starts(self, root: Path, tmp_path: Path) -> None:
        raw = tmp_path / "raw"
        one, other = (_disk(root, tmp_path / name, architecture=ARM64) for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()
        subprocess.run(["qemu-img", "convert", "-O", "raw", one, raw], check=True)
        system, files = json.loads(subprocess.check_output(["sfdisk", "--json", raw]))["partitiontable"]["partitions"]
        assert (system["type"], files["type"]) == ("ef", "83")
        assert files["start"] == system["start"] + system["size"]
        # UEFI starts a program of this name from a disk of which it knows nothing.
        program = subprocess.check_output(["mtype", "-i", f"{raw}@@{system['start'] * 512}", "::/EFI/BOOT/BOOTAA64.EFI"])
        assert program == CORE
        name = subprocess.check_output(
            ["debugfs", "-R", "cat /etc/hostname", f"{raw}?offset={files['start'] * 512}"], stderr=subprocess.DEVNULL
        )
        assert name == b"small\n"

    def test_loader_that_does_not_fit_is_refused(self, root: Path, tmp_path: Path) -> None:
        (root / "boot/grub/core.img").write_bytes(bytes(START))
        with pytest.raises(LabError, match=f"GRUB has {START} bytes and {START - 512} fit: name fewer modules"):
            _disk(root, tmp_path / "work")


def test_box_says_what_it_is(tmp_path: Path) -> None:
    disk = tmp_path / "box.img"
    disk.write_bytes(b"disk")
    boxes._pack_box(tmp_path / "bare.box", disk, tmp_path, lock.Disk(10, 3), LOCK.source_date_epoch, tmp_path / "log")
    with tarfile.open(tmp_path / "bare.box") as box:
        assert box.getnames() == ["metadata.json", "Vagrantfile", "box.img"]
        metadata = box.extractfile("metadata.json")
        assert metadata is not None
        assert json.load(metadata) == {"provider": "libvirt", "format": "qcow2", "virtual_size": 10}


def test_boot_loaders_say_the_same_but_for_the_console() -> None:
    *_, own = boxes._overlays(ARM64)
    assert boxes._overlays(AMD64) == [FILES / "box"]
    assert [folder.name for folder in boxes._overlays(ARM64)] == ["box", "box-arm64"]

    def said(folder: Path) -> list[str]:
        lines = (folder / "boot/grub/grub.cfg").read_text().splitlines()
        return [line for line in lines if not line.startswith(("#", "serial ", "terminal_"))]

    assert said(own) == [line.replace("ttyS0,115200n8", "ttyAMA0") for line in said(FILES / "box")]


def test_catalogue_names_the_newest_box_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", print)
    folder = tmp_path / "boxes"

    def publish(content: str, architecture: Architecture = AMD64) -> Artefact:
        def build(target: Path) -> None:
            (target / "bare.box").write_text(content)

        box = store.make("box-bare", content, build)
        boxes._publish(folder, "bare", box, architecture)
        return box

    publish("old")
    newest = publish("new")
    entry = json.loads((folder / "bare.json").read_text())
    (version,) = entry["versions"]
    (provider,) = version["providers"]
    file = Path(provider["url"].removeprefix("file://"))
    assert (entry["name"], version["version"]) == ("outlive/bare", boxes.version_of(newest))
    assert file.read_text() == "new"
    assert provider["checksum"] == digest_file(file)
    # The disk of the old one is free again.
    assert list(folder.glob("*.box")) == [file]


def test_box_of_another_architecture_lies_beside(tmp_path: Path) -> None:
    """Neither takes the other's place, nor its name: Vagrant before 2.4 would take the newest of one name."""
    folder = tmp_path / "boxes"
    for architecture, content in ((ARM64, "arm"), (AMD64, "amd"), (AMD64, "amd again"), (ARM64, "arm again")):

        def build(target: Path, content: str = content) -> None:
            (target / "full.box").write_text(content)

        box = Store(tmp_path / "cache", print, architecture).make("box-full", content, build)
        boxes._publish(folder, "full", box, architecture)
    entries = [json.loads((folder / file).read_text()) for file in ("full.json", "full-arm64.json")]
    assert [entry["name"] for entry in entries] == ["outlive/full", "outlive/full-arm64"]
    providers = [entry["versions"][0]["providers"][0] for entry in entries]
    assert [provider["architecture"] for provider in providers] == ["amd64", "arm64"]
    assert [Path(provider["url"].removeprefix("file://")).read_text() for provider in providers] == ["amd again", "arm again"]
    assert len(list(folder.glob("*.box"))) == 2
