"""Pack the Kubernetes programs as .debs under the names and in the layout of pkgs.k8s.io."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from outlive.mirror.build import apt_repository
from outlive.mirror.build.signing import Signer
from outlive.mirror.lock import Lock
from outlive.mirror.paths import FILES
from outlive.mirror.store import Artefact, Store, digest_source, digest_tree
from outlive.mirror.tools import run

# What these lines make changes with them. Read once: an edit during a build must not count as built.
_SOURCE = digest_source(Path(__file__))


@dataclass(frozen=True)
class Package:
    """What a package holds: whole folders of programs and single programs, its overlay and its relations."""

    description: str
    depends: str = ""
    programs: tuple[tuple[str, str], ...] = ()  # (set of programs, program), into /usr/bin
    plugins: tuple[str, ...] = ()  # sets of programs, all of them into /opt/cni/bin
    overlay: str = ""


# The repository has one version of each, so that their relations name none.
# Upstream's kubeadm depends on cri-tools as well; Debian has no such package, and kubeadm talks to
# the container runtime by itself.
PACKAGES: Mapping[str, Package] = {
    "kubeadm": Package(
        "Command-line utility for administering a Kubernetes cluster",
        "kubelet, kubectl",
        programs=(("kubernetes", "kubeadm"),),
        overlay="kubeadm",
    ),
    "kubectl": Package(
        "Command-line utility for interacting with a Kubernetes cluster",
        programs=(("kubernetes", "kubectl"),),
    ),
    "kubelet": Package(
        "Node agent for Kubernetes clusters",
        "iptables (>= 1.4.21), kubernetes-cni (>= 1.2.0), iproute2, mount, util-linux, ethtool",
        programs=(("kubernetes", "kubelet"),),
        overlay="kubelet",
    ),
    "kubernetes-cni": Package("Binaries required to provision container networking", plugins=("cni",)),
}


def make_packages(
    store: Store, lock: Lock, programs: Mapping[str, Artefact], signer: Signer, name: str = "kubernetes-packages"
) -> Artefact:
    """Make a signed flat apt repository with the four packages, as pkgs.k8s.io publishes it; `name` is the artefact's."""
    architecture = store.architecture.name

    def build(target: Path) -> None:
        repository = target / lock.packages["repository"]
        pool = repository / architecture
        pool.mkdir(parents=True)
        for each, package in PACKAGES.items():
            staging = target / ".staging"
            _lay_out(staging, {"Package": each, "Version": lock.packages[each], "Architecture": architecture}, package, programs)
            run(
                ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z3", "--build", staging, pool],
                store.log(name),
                env={"SOURCE_DATE_EPOCH": str(lock.source_date_epoch)},
            )
            shutil.rmtree(staging)
        release = {"Origin": "outlive", "Label": "kubernetes", "Architectures": architecture}
        apt_repository.index(repository, Path(architecture), Path(), release, signer)
        signer.export_armored(repository / "Release.key")

    inputs = [
        {group: artefact.key for group, artefact in programs.items() if group in ("kubernetes", "cni")},
        dict(lock.packages),
        _SOURCE,
        digest_tree(FILES / "kubelet", FILES / "kubeadm"),
        lock.source_date_epoch,
        signer.fingerprint,
    ]
    return store.make(name, inputs, build)


def _lay_out(staging: Path, identity: Mapping[str, str], package: Package, programs: Mapping[str, Artefact]) -> None:
    """Fill the folder that dpkg-deb packs; `identity` is the fields of its name, version and architecture."""
    control = staging / "DEBIAN"
    control.mkdir(parents=True, mode=0o755)
    if package.overlay:
        shutil.copytree(FILES / package.overlay, staging, dirs_exist_ok=True)
    for group, program in package.programs:
        _install(programs[group].path / program, staging / "usr/bin" / program)
    for group in package.plugins:
        for plugin in sorted(programs[group].path.iterdir()):
            _install(plugin, staging / "opt/cni/bin" / plugin.name)
    fields = {
        **identity,
        "Maintainer": "outlive <outlive@mirror.invalid>",
        "Section": "net",
        "Priority": "optional",
        "Depends": package.depends,
        "Homepage": "https://kubernetes.io",
        "Description": package.description,
    }
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items() if value))
    configuration = sorted((staging / "etc").rglob("*")) if (staging / "etc").exists() else []
    files = [f"/{path.relative_to(staging)}\n" for path in configuration if path.is_file()]
    if files:
        (control / "conffiles").write_text("".join(files))


def _install(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
