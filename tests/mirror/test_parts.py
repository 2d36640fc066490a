"""The small pieces: apt's output, names of images, versions of boxes, requirements on the host."""

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from outlive.base.architecture import AMD64, ARM64
from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.cli import main
from outlive.mirror import build, lock, tools
from outlive.mirror.build import boxes, debian, images, programs
from outlive.mirror.build.debian import parse_uri_line
from outlive.mirror.lock import DebianPackage
from outlive.mirror.paths import GO, PACKAGE
from outlive.mirror.store import Artefact, Store


def test_line_of_apt() -> None:
    line = "'http://deb.debian.org/debian/pool/main/c/ca/ca_1%2bb1_all.deb' ca_1%2bb1_all.deb 77 SHA256:ab12"
    assert parse_uri_line(line, "http://deb.debian.org/debian") == DebianPackage("pool/main/c/ca/ca_1+b1_all.deb", 77, "ab12")


@pytest.mark.parametrize(
    "line",
    [
        "'http://deb.debian.org/debian/pool/a.deb' a.deb 77 MD5Sum:ab12",
        "'http://elsewhere/pool/a.deb' a.deb 77 SHA256:ab12",
    ],
)
def test_line_of_apt_that_is_no_lock_entry(line: str) -> None:
    with pytest.raises(LabError, match="of which the mirror can't make a lock entry"):
        parse_uri_line(line, "http://deb.debian.org/debian")


def test_apt_that_is_missing_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="the program apt-get is missing"):
        debian.resolve(lock.load().debian)


def _layout(folder: Path, name: str, blobs: dict[str, str]) -> Path:
    layout = folder / name
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    for blob, content in blobs.items():
        (layout / "blobs/sha256" / blob).write_text(content)
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{"digest": f"sha256:{name}", "size": 1}]}))
    return layout


def test_manifest_gets_every_name(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "busybox", {})
    images.name_manifest(layout, ["docker.io/library/busybox:1.2.0", "docker.io/library/busybox:latest"])
    manifests = json.loads((layout / "index.json").read_text())["manifests"]
    assert [each["annotations"]["io.containerd.image.name"] for each in manifests] == [
        "docker.io/library/busybox:1.2.0",
        "docker.io/library/busybox:latest",
    ]
    assert [each["annotations"]["org.opencontainers.image.ref.name"] for each in manifests] == ["1.2.0", "latest"]
    assert {each["digest"] for each in manifests} == {"sha256:busybox"}


def _root(folder: Path, *files: str) -> Path:
    archive = folder / "root.tar"
    with tarfile.open(archive, "w") as root:
        for file in files:
            content = f"the base's {file}\n".encode()
            member = tarfile.TarInfo(f"./etc/{file}")
            member.size = len(content)
            root.addfile(member, io.BytesIO(content))
    return archive


def test_user_of_mysql_comes_after_those_of_the_base(tmp_path: Path) -> None:
    images.add_mysql_user(tmp_path / "top", _root(tmp_path, "passwd", "group"))
    assert (tmp_path / "top/etc/passwd").read_text().splitlines()[0] == "the base's passwd"
    assert (tmp_path / "top/etc/passwd").read_text().splitlines()[1].startswith("mysql:x:999:999:")
    assert (tmp_path / "top/etc/group").read_text() == "the base's group\nmysql:x:999:\n"


def test_base_without_users(tmp_path: Path) -> None:
    base = _root(tmp_path, "passwd")
    with pytest.raises(LabError, match=f"{base} has no file /etc/group: remove it and run the command again"):
        images.add_mysql_user(tmp_path / "top", base)


def test_merged_layouts_share_blobs(tmp_path: Path) -> None:
    one = _layout(tmp_path, "one", {"base": "b", "first": "1"})
    two = _layout(tmp_path, "two", {"base": "b", "second": "2"})
    images.merge_layouts([one, two], tmp_path / "merged")
    assert {path.name for path in (tmp_path / "merged/blobs/sha256").iterdir()} == {"base", "first", "second"}
    assert len(json.loads((tmp_path / "merged/index.json").read_text())["manifests"]) == 2


def test_version_of_a_box_follows_its_content() -> None:
    one = boxes.version_of(Artefact("box", Path(), "0" * 63 + "1"))
    other = boxes.version_of(Artefact("box", Path(), "f" * 64))
    assert one == "13.0.0"
    assert other == f"13.0.{0xFFFFFFF}"


def test_missing_tools_are_named_with_the_cure() -> None:
    tools.require_tools(["sh"])
    cure = "`OUTLIVE_SOURCES=mirror make setup` installs the Debian packages that src/outlive/mirror/host-packages\\*.txt list"
    with pytest.raises(LabError, match=rf"^this host lacks no-such-tool, no-such-other, which the mirror needs: {cure}$"):
        tools.require_tools(["sh", "no-such-tool", "no-such-other"])


def test_another_architecture_takes_more_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert build.tools_for(AMD64) == list(build.TOOLS)
    assert set(build.tools_for(ARM64)) - set(build.TOOLS) == {"arch-test", "aarch64-linux-gnu-gcc", "mcopy", "mkfs.vfat", "mmd"}
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert set(build.tools_for(ARM64)) - set(build.TOOLS) == {"mcopy", "mkfs.vfat", "mmd"}


def test_programs_that_nothing_runs_are_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    build.check_runs(AMD64)
    for status in (0, 1):
        (tmp_path / "arch-test").write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / "arch-test").chmod(0o755)
        if status == 0:
            build.check_runs(ARM64)
    with pytest.raises(
        LabError,
        match=r"^this host can't run programs for arm64, .*: install qemu-user-static .* `sudo update-binfmts --enable qemu-aarch64`$",
    ):
        build.check_runs(ARM64)


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no Debian")
@pytest.mark.parametrize("tool", sorted({*build.TOOLS, *build.EFI_TOOLS, "arch-test", "aarch64-linux-gnu-gcc", "nginx", "setpriv"}))
def test_package_of_each_tool_is_listed_for_the_set_up(tool: str) -> None:
    found = shutil.which(tool, path="/usr/bin:/usr/sbin:/bin:/sbin")
    if found is None:
        pytest.skip(f"this host lacks {tool}")
    # Where /bin is a link to /usr/bin, dpkg may know either name; gcc's and others' own are links too.
    names = {found, found.replace("/usr/", "/"), os.path.realpath(found)}
    owners = subprocess.run(["dpkg-query", "--search", *sorted(names)], capture_output=True, text=True, check=False).stdout
    packages = {line.split(":")[0] for line in owners.splitlines()}
    always_there = {"apt", "dpkg", "util-linux", "gpg"}  # the last by gnupg
    listed = {word for file in PACKAGE.glob("host-packages*.txt") for word in file.read_text().split()}
    assert packages & {*listed, *always_there}, packages


def test_too_little_disk(tmp_path: Path) -> None:
    build.check_disk(tmp_path, 0)
    with pytest.raises(LabError, match=r"has [\d.]+ GiB of disk left, and a first build takes 1000000: free some, or set OUTLIVE_CACHE"):
        build.check_disk(tmp_path, 1_000_000)


def test_failed_tool_is_told_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(LabError, match=r"sh failed with status 3 \(no such thing\): read .*step.log, mend what it says"):
        tools.run(["sh", "-c", "echo no such thing >&2; exit 3"], log)


def test_failed_question_is_told_with_the_tools_last_line() -> None:
    assert tools.capture(["echo", "1"]) == "1"
    with pytest.raises(LabError, match=r"^`sh -c .*` ended with status 2: no such key$"):
        tools.capture(["sh", "-c", "echo first >&2; echo no such key >&2; exit 2"])
    with pytest.raises(LabError, match=r"^`false` ended with status 1: no output$"):
        tools.capture(["false"])


def test_command_that_is_begun_after_the_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "_ending", threading.Event())
    tools.end_all()
    with pytest.raises(LabError, match="tail failed with status -2"):
        tools.run(["tail", "-f", "/dev/null"], tmp_path / "log")


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"OUTLIVE_CACHE": "/a b", "XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/a b"),
        ({"XDG_CACHE_HOME": "/a\tb", "HOME": "/home/me"}, "/a\tb/outlive"),
        ({"HOME": "/home/me too"}, "/home/me too/.cache/outlive"),
    ],
)
def test_cache_folder_that_apt_would_not_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: dict[str, str], folder: str
) -> None:
    _set(monkeypatch, environment)
    assert main(["mirror", "check"]) == 2
    assert capsys.readouterr().err == (
        f"error: the cache folder is {folder!r} (by OUTLIVE_CACHE, else XDG_CACHE_HOME or the home folder), "
        "and neither apt nor Ansible takes a path with white space: set OUTLIVE_CACHE to a folder without\n"
    )


def test_cache_folder_that_is_a_link_to_one_that_apt_would_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to("a b")
    _set(monkeypatch, {"OUTLIVE_CACHE": str(tmp_path / "link")})
    assert main(["mirror", "check"]) == 2
    assert "/a b' (by OUTLIVE_CACHE" in capsys.readouterr().err


def _set(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Set what names the cache folder."""
    for name in ("OUTLIVE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_a_build_of_programs_says_how_many_packages_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    store = Store(tmp_path, said.append)
    monkeypatch.setattr(programs, "REPORT_EVERY", 0.01)
    monkeypatch.setattr(programs, "packages_of", lambda _module: 3)
    store.log("programs-x").parent.mkdir(parents=True, exist_ok=True)
    store.log("programs-x").write_text("+ go build -v\ngo: downloading example.org/a v1.0.0\nexample.org/a\nexample.org/b\n")
    with programs._counted(store, "programs-x", tmp_path):
        wait_for("the build", "2 packages", lambda: said, lambda lines: "programs-x: 2 of 3 packages" in lines, within=30, every=0.01)


def test_packages_that_the_programs_of_a_module_are_made_of(mirrors_go: None) -> None:
    assert programs.packages_of(GO / "cni") > 100
