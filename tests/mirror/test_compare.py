"""The same lock and the same programs give the same packages, repositories and images, whatever the cache folder."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.cli import main
from outlive.mirror import build as whole
from outlive.mirror import compare, lock
from outlive.mirror.build import debian, fix_permissions, images, packages
from outlive.mirror.build.packages import PACKAGES
from outlive.mirror.build.signing import Signer
from outlive.mirror.store import Artefact, Store
from tests.mirror import layers

TOOLS = ("apt-ftparchive", "dpkg-deb", "gpg", "skopeo", "tar", "umoci")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]


LOCK = lock.load()
IMAGE = "kube-scheduler"
PROGRAMS = {"kubernetes": ("kubeadm", "kubectl", "kubelet", IMAGE), "cni": ("bridge", "host-local")}


def build(cache: Path, content: str = "") -> Store:
    """Build what needs neither a network nor Go, by the mirror's own steps, of programs whose content is given."""
    fix_permissions()
    store = Store(cache, lambda line: None)

    def programs(group: str) -> Artefact:
        def write(target: Path) -> None:
            for name in PROGRAMS[group]:
                (target / name).write_text(f"#!/bin/sh\necho {name} {content}\n")
                (target / name).chmod(0o755)

        return store.make(f"programs-{group}", [group, content], write)

    made: Mapping[str, Artefact] = {group: programs(group) for group in PROGRAMS}
    signer = Signer(store)
    try:
        kubernetes = packages.make_packages(store, LOCK, made, signer)

        def pool(target: Path) -> None:
            for deb in kubernetes.path.rglob("*.deb"):
                place = target / "pool/main" / deb.name[0] / deb.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(deb, place)

        debs = store.make("debian-packages", kubernetes.key, pool)
        debian.make_repository(store, LOCK.debian, debs, signer)
    finally:
        signer.close()
    images.make_image(store, LOCK, IMAGE, LOCK.images[IMAGE], images.Parts(made, {}, debs))
    return store


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    if MISSING:
        pytest.skip(f"this host lacks {', '.join(MISSING)}, which the mirror is built with")
    mask = os.umask(0o022)
    try:
        one = build(tmp_path_factory.mktemp("one"))
        os.umask(0o077)
        two = build(tmp_path_factory.mktemp("another") / "folder with a longer name")
    finally:
        os.umask(mask)
    return one, two


def test_two_builds_have_the_same_files(twice: tuple[Store, Store]) -> None:
    one, two = twice
    assert (
        one.names()
        == two.names()
        == sorted(["debian-packages", "debian-repository", f"image-{IMAGE}", "kubernetes-packages", "programs-cni", "programs-kubernetes"])
    )
    assert compare.check(one, two) == (
        f"{two.cache}: 6 artefacts have the same files, expected differences apart "
        "(InRelease, Release, Release.gpg, Release.key; the disk in box-full)"
    )


def test_only_signatures_and_dates_differ(twice: tuple[Store, Store]) -> None:
    # So that what is let pass isn't more than what has to be.
    one, two = twice
    for name in one.names():
        first, second = one.record(name).files, two.record(name).files
        assert first.keys() == second.keys()
        assert {Path(file).name for file in first if first[file] != second[file]} <= {"InRelease", "Release", "Release.gpg", "Release.key"}
    assert one.record(f"image-{IMAGE}").files == two.record(f"image-{IMAGE}").files
    debs = {file for file in one.record("kubernetes-packages").files if file.endswith(".deb")}
    assert len(debs) == len(PACKAGES)


def test_layers_are_compressed_by_zstd(twice: tuple[Store, Store]) -> None:
    found = {layer.media_type for layer in layers.of(twice[0].path_of(f"image-{IMAGE}"))}
    assert found == {"application/vnd.oci.image.layer.v1.tar+zstd"}


def test_other_program_is_found(twice: tuple[Store, Store], tmp_path: Path) -> None:
    one, _ = twice
    other = build(tmp_path / "other", "changed")
    with pytest.raises(LabError) as caught:
        compare.check(one, other)
    said = str(caught.value)
    assert said.startswith(f"{one.cache} and {other.cache} differ (debian-packages: pool/main/k/kubeadm_")
    assert f"; image-{IMAGE}: blobs/sha256/" in said
    assert "; programs-kubernetes: kube-scheduler, kubeadm, kubectl and 1 more): where both were built from one lock file" in said


def test_build_does_not_depend_on_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "TOOLS", ("no-such-tool",))
    mask = os.umask(0o077)
    try:
        with pytest.raises(LabError, match="lacks no-such-tool"):
            whole.build(Store(tmp_path, print), LOCK, ())
        assert os.umask(0o077) == 0o022
    finally:
        os.umask(mask)


def test_differences_name_what_one_lacks() -> None:
    one = {"image-etcd": {"index.json": "a", "blobs/sha256/b": "b"}, "registry": {"x": "1"}}
    two = {"image-etcd": {"index.json": "a"}, "box-full": {"full.box": "1"}}
    assert compare.differences(one, two) == ["image-etcd: blobs/sha256/b"]
    assert compare.differences(one, one) == []


def test_what_is_expected_to_differ() -> None:
    one = {"box-full": {"full.box": "1"}, "debian-repository": {"dists/trixie/Release": "1", "dists/trixie/Packages": "1"}}
    two = {"box-full": {"full.box": "2"}, "debian-repository": {"dists/trixie/Release": "2", "dists/trixie/Packages": "1"}}
    assert compare.differences(one, two) == []
    two["debian-repository"]["dists/trixie/Packages"] = "2"
    assert compare.differences(one, two) == ["debian-repository: dists/trixie/Packages"]


def _filled(cache: Path, name: str = "thing", content: str = "1") -> Store:
    store = Store(cache, lambda line: None)

    def write(target: Path) -> None:
        (target / "file").write_text(content)

    store.make(name, content, write)
    return store


def test_artefact_of_one_cache_alone_is_named(tmp_path: Path) -> None:
    one, two = _filled(tmp_path / "one"), _filled(tmp_path / "two")
    _filled(tmp_path / "two", "image-mysql-9.7")
    assert compare.check(one, two).endswith("; not compared, since only one cache has them: image-mysql-9.7")


def test_nothing_in_common(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"have no artefact in common: build both with the same"):
        compare.check(_filled(tmp_path / "one"), _filled(tmp_path / "two", "other"))


def test_other_cache_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(_filled(tmp_path / "one").cache))
    assert main(["mirror", "check", "--against", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == (
        f"error: the mirror in {tmp_path}/none isn't built: run `outlive mirror build` (OUTLIVE_CACHE names its folder)\n"
    )


def test_cache_is_not_compared_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(_filled(tmp_path / "one").cache))
    assert main(["mirror", "check", "--against", str(tmp_path / "elsewhere/../one")]) == 2
    assert "one, which is this cache itself: name another one" in capsys.readouterr().err


def test_other_cache_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(_filled(tmp_path / "one").cache))
    two = _filled(tmp_path / "two")
    assert main(["mirror", "check", "--against", str(two.cache)]) == 0
    (two.path_of("thing") / "file").write_text("damaged")
    assert main(["mirror", "check", "--against", str(two.cache)]) == 2
    assert f"{two.cache} is damaged (thing: its file file is damaged): run" in capsys.readouterr().err


def test_cache_that_is_not_built_is_not_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "none"))
    assert main(["mirror", "check"]) == 2
    assert "isn't built: run `outlive mirror build`" in capsys.readouterr().err


def test_registry_of_another_choice_of_images() -> None:
    one = {"image-etcd": {}, "registry": {"blobs/a": "a", "blobs/b": "b"}}
    two = {"image-etcd": {}, "image-mysql-9.7": {}, "registry": {"blobs/a": "a", "blobs/b": "b", "blobs/c": "c"}}
    assert compare.differences(one, two) == []
    assert compare.differences(one, {**one, "registry": two["registry"]}) == ["registry: blobs/c"]
    two["registry"]["blobs/b"] = "other"
    assert compare.differences(one, two) == ["registry: blobs/b"]
