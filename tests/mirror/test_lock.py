"""The lock file agrees with itself and with what is made of it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from outlive.base.architecture import AMD64, ARM64
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.mirror import lock
from outlive.mirror.build import addons, boxes, debian, images, packages, programs
from outlive.mirror.paths import GO, LOCK_FILE

LOCK = lock.load()
ARM64_LOCK = lock.load(architecture=ARM64)
EXTRAS = {name: lock.load_extra(name) for name in lock.EXTRAS}
ARM64_EXTRAS = {name: lock.load_extra(name, ARM64) for name in lock.EXTRAS}
BOXES = {name: lock.load_box(name) for name in lock.BOXES}
EARLIER = lock.earlier(LOCK)
ADDONS = lock.load_addons()
REFERENCES = {each for references in (*LOCK.images.values(), *(extra.references for extra in EXTRAS.values())) for each in references}
INVENTORIES = ROOT / "inventories"


@pytest.mark.parametrize(
    "program",
    [*LOCK.programs.values(), *EARLIER.programs.values(), *(addon.program for addon in ADDONS.values())],
    ids=lambda each: each.name,
)
def test_go_modules_have_the_locked_version(program: lock.Program) -> None:
    name = program.name
    text = (GO / name / "go.mod").read_text()
    assert re.search(rf"^(require |\t){re.escape(program.module)} {re.escape(program.version)}( // indirect)?$", text, re.MULTILINE)


def test_kubernetes_programs_say_their_version() -> None:
    program = LOCK.programs["kubernetes"]
    flags = programs.linker_flags(program)
    major, minor, _ = program.version.removeprefix("v").split(".")
    assert f"-X k8s.io/component-base/version.gitVersion={program.version}" in flags
    assert program.ldflags["k8s.io/component-base/version.gitMajor"] == major
    assert program.ldflags["k8s.io/component-base/version.gitMinor"] == minor


def test_earlier_kubernetes_differs_in_its_version_alone() -> None:
    later, version = LOCK.programs["kubernetes"], f"v{LOCK.kubernetes_earlier}"
    (program,) = EARLIER.programs.values()
    assert program.version == version != later.version
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in programs.linker_flags(program)
    assert programs.linker_flags(program).replace(version, later.version) == programs.linker_flags(later)
    assert {name: text for name, text in EARLIER.packages.items() if name not in lock.KUBERNETES} == {
        "repository": LOCK.packages["repository"],
        "kubernetes-cni": LOCK.packages["kubernetes-cni"],
    }
    assert EARLIER.packages["kubelet"].startswith(f"{LOCK.kubernetes_earlier}-")
    assert set(EARLIER.images) < set(LOCK.images)
    assert {reference.rpartition(":")[2] for references in EARLIER.images.values() for reference in references} == {version}


def test_provisioner_says_its_version() -> None:
    program = LOCK.programs["local-path-provisioner"]
    assert f"-X main.VERSION={program.version}" in programs.linker_flags(program)


def test_images_and_packages_carry_the_versions_of_their_programs() -> None:
    version = LOCK.programs["kubernetes"].version
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        assert LOCK.images[name] == (f"registry.k8s.io/{name}:{version}",)
    for name in ("kubeadm", "kubectl", "kubelet"):
        assert LOCK.packages[name].startswith(f"{version.removeprefix('v')}-")
    assert LOCK.packages["kubernetes-cni"].startswith(f"{LOCK.programs['cni'].version.removeprefix('v')}-")
    assert LOCK.images["coredns"][0].endswith(f":{LOCK.programs['coredns'].version}")
    assert LOCK.images["flannel"][0].endswith(f":{LOCK.programs['flannel'].version}")
    assert LOCK.images["local-path-provisioner"][0].endswith(f":{LOCK.programs['local-path-provisioner'].version}")
    assert LOCK.images["etcd"][0].endswith(f":{LOCK.programs['etcd'].version.removeprefix('v')}-0")
    assert LOCK.images["mysql"][0].endswith(f":{LOCK.mysql.version}")


def test_busybox_has_the_version_of_its_package() -> None:
    version = LOCK.images["busybox"][0].rpartition(":")[2]
    assert any(package.filename.startswith(f"busybox-static_{version}-") for package in LOCK.debian.packages)


def test_every_image_package_and_root_is_known_on_both_sides() -> None:
    assert set(LOCK.images) == set(images.IMAGES)
    assert set(LOCK.packages) - {"repository"} == set(packages.PACKAGES)
    assert {part for _, parts in debian.ROOTS.values() for part in parts} <= {
        *LOCK.debian.sets,
        *(f"image-{name}" for name in EXTRAS),
        *BOXES,
    }
    assert set(boxes.BOXES) <= set(debian.ROOTS)


@pytest.mark.parametrize("name", EXTRAS)
def test_extra_image_has_a_lock_file_of_its_own(name: str) -> None:
    extra = EXTRAS[name]
    assert name in images.EXTRA_IMAGES
    assert debian.ROOTS[f"image-{name}"][1] == tuple(extra.debian.sets)
    # The tag is what a pod asks for, the name what a person types.
    assert {reference.rpartition("/")[2].replace(":", "-") for reference in extra.references} >= {name}
    version = extra.references[0].rpartition(":")[2]
    assert [package.filename for package in extra.debian.packages if package.filename.startswith(f"mysql-server-core_{version}-")]


@pytest.mark.parametrize("name", ADDONS)
def test_addon_is_known_on_both_sides(name: str) -> None:
    """Its image has the version of its program, and is none that the mirror makes anyway."""
    addon = ADDONS[name]
    assert addon.references[0].endswith(f":{addon.program.version}")
    assert {group for group, _, _ in addons.IMAGES[name].programs} == {name}
    assert name not in {*LOCK.images, *EXTRAS, *LOCK.programs}


def test_inventory_asks_for_the_locked_addons() -> None:
    """And from a registry that the mirror stands in for."""
    wanted = {
        value
        for role in ("network_policy", "metrics_server")
        for key, value in yaml.safe_load((INVENTORIES / f"common/group_vars/all/{role}.yml").read_text()).items()
        if key.endswith("_image")
    }
    assert wanted == {reference for addon in ADDONS.values() for reference in addon.references}
    mirrors = yaml.safe_load((INVENTORIES / "offline/group_vars/all/containerd.yml").read_text())["containerd_registry_mirrors"]
    assert {reference.partition("/")[0] for reference in wanted} <= set(mirrors)


@pytest.mark.parametrize("name", BOXES)
def test_box_with_a_lock_file_of_its_own(name: str) -> None:
    box = BOXES[name]
    assert name in boxes.BOXES
    assert name not in LOCK.debian.sets
    assert debian.ROOTS[name][1] == tuple(box.debian.sets) == (name,)
    assert box.disk.filled < box.disk.size
    # Its machines get the cluster's packages from the mirror.
    assert box.debian.suite == LOCK.debian.suite


def test_public_box_has_what_the_public_box_has() -> None:
    names = {package.filename.partition("_")[0] for package in BOXES["generic"].debian.packages}
    assert names >= {"cloud-init", "netplan.io", "apparmor", "unattended-upgrades", "linux-image-amd64", "systemd-resolved", "polkitd"}
    assert not names & {"containerd", "nfs-kernel-server", "linux-image-cloud-amd64"}


def test_programs_in_images_are_built() -> None:
    assert {group for image in images.IMAGES.values() for group, _, _ in image.programs} <= set(LOCK.programs)


def test_inventory_asks_for_the_locked_packages() -> None:
    wanted = yaml.safe_load((INVENTORIES / "common/group_vars/all/kubernetes_packages.yml").read_text())
    # Of a version, whatever the packages' revision is.
    assert LOCK.packages["kubeadm"].rpartition("-")[0] == wanted["kubernetes_packages_version"]


def test_inventory_asks_for_the_locked_images() -> None:
    wanted = yaml.safe_load((INVENTORIES / "common/group_vars/all/storage_tutorial.yml").read_text())
    images_of_pods = {value for name, value in wanted.items() if name.endswith("_image")}
    # Docker Hub is where a name without a registry comes from, and `library` the owner where none is named.
    full = {f"docker.io/{each if '/' in each else f'library/{each}'}" for each in images_of_pods}
    assert full
    assert full <= REFERENCES


def test_offline_inventory_points_at_the_locked_repository() -> None:
    offered = yaml.safe_load((INVENTORIES / "offline/group_vars/all/kubernetes_packages.yml").read_text())
    minor = ".".join(LOCK.packages["kubeadm"].split(".")[:2])
    assert f"{offered['kubernetes_packages_repository']}v{minor}/deb/".endswith(f"/{LOCK.packages['repository']}/")
    source = yaml.safe_load((INVENTORIES / "offline/group_vars/all/node_base.yml").read_text())["node_base_apt_source"]
    assert source["Suites"] == LOCK.debian.suite


def test_offline_inventory_mirrors_every_registry_of_the_images() -> None:
    mirrors = yaml.safe_load((INVENTORIES / "offline/group_vars/all/containerd.yml").read_text())["containerd_registry_mirrors"]
    assert set(mirrors) == {reference.partition("/")[0] for references in LOCK.images.values() for reference in references}


def test_emulated_control_plane_waits_in_an_image_of_the_tutorial() -> None:
    patches = yaml.safe_load((INVENTORIES / "emulated/group_vars/all/control_plane.yml").read_text())["control_plane_patches"]
    waiting = patches["kube-controller-manager+strategic"]["spec"]["initContainers"]
    assert [each["image"] for each in waiting] == ["{{ storage_tutorial_busybox_image }}"]


@pytest.mark.parametrize(
    "archive",
    [
        LOCK.debian,
        ARM64_LOCK.debian,
        *(lock.archive_of(name)[1] for name in (*EXTRAS, *BOXES)),
        *(extra.debian for extra in ARM64_EXTRAS.values()),
    ],
    ids=lambda each: f"{each.name}-{each.architecture.name}",
)
def test_debian_packages_have_names_and_checksums(archive: lock.Debian) -> None:
    assert archive.packages
    for package in archive.packages:
        assert re.fullmatch(rf"pool/main/[^ %]+_({archive.architecture.name}|all)\.deb", package.path)
        assert re.fullmatch(r"[0-9a-f]{64}", package.sha256)
    assert re.fullmatch(r"\d{8}T\d{6}Z", archive.timestamp)


def test_another_architecture_is_made_of_the_same_but_for_what_its_file_says() -> None:
    assert ARM64_LOCK.programs == LOCK.programs
    assert ARM64_LOCK.packages == LOCK.packages
    assert LOCK.images.keys() - ARM64_LOCK.images.keys() == {"mysql"}
    assert ARM64_LOCK.extras == ("mysql-9.7",)
    assert LOCK.extras == ()
    one, other = (set(debian.names_of(each.debian, "full")) for each in (LOCK, ARM64_LOCK))
    assert (one - other, other - one) == (
        {"linux-image-cloud-amd64", "grub-pc-bin"},
        {"linux-image-cloud-arm64", "grub-efi-arm64-bin"},
    )


@pytest.mark.parametrize("extra", lock.EXTRAS)
def test_extra_image_has_the_version_of_its_tag_on_each_architecture(extra: str) -> None:
    for each in (EXTRAS[extra], ARM64_EXTRAS[extra]):
        version = each.references[0].rpartition(":")[2]
        assert any(package.filename.startswith(f"mysql-server-core_{version}-") for package in each.debian.packages)


def test_box_that_another_architecture_has_not_is_named() -> None:
    with pytest.raises(
        LabError, match=r"^the box 'generic' isn't made for arm64: name another one, or set OUTLIVE_ARCH to another architecture$"
    ):
        lock.load_box("generic", ARM64)
    assert {name for name in boxes.BOXES if not lock.has_box(name, ARM64)} == {"generic"}
    assert all(lock.has_box(name, AMD64) for name in boxes.BOXES)


def test_broken_file_of_another_architecture_is_named(tmp_path: Path) -> None:
    copy = tmp_path / "lock.yml"
    copy.write_text(LOCK_FILE.read_text())
    own = tmp_path / "lock-arm64.yml"
    for text, what in (("extras: [mysql-9.7]", "KeyError"), (": :", "ScannerError|ParserError"), (None, "FileNotFoundError")):
        own.unlink(missing_ok=True)
        if text is not None:
            own.write_text(text)
        with pytest.raises(LabError, match=rf"the lock file {re.escape(str(own))} can't be read \(({what}): .*restore it"):
            lock.load(copy, ARM64)


def test_generated_part_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    copy = tmp_path / "lock.yml"
    copy.write_text(LOCK_FILE.read_text())
    lock.write_debian(copy, LOCK.debian.timestamp, list(LOCK.debian.packages))
    assert copy.read_text() == LOCK_FILE.read_text()
    package = lock.DebianPackage("pool/main/a/a/a_1+b_all.deb", 5, "ab")
    lock.write_debian(copy, "20260101T000000Z", [package])
    assert lock.load(copy).debian.packages == (package,)
    assert lock.load(copy).programs == LOCK.programs


@pytest.mark.parametrize("content", ["", "format: [", "format: 1\n", json.dumps({"debian": 3})])
def test_broken_lock_file(tmp_path: Path, content: str) -> None:
    broken = tmp_path / "lock.yml"
    broken.write_text(content)
    with pytest.raises(LabError, match=r"the lock file .*lock.yml can't be read \(.*\): restore it"):
        lock.load(broken)


def test_missing_lock_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="can't be read"):
        lock.load(tmp_path / "none.yml")
