"""The upstream's names without a VM: apt, kubeadm and containerd of a bare root file system take all they need from the stand-in.

What a machine asks the upstream for, at the host's own speed: the root file system is that of the bare box, in namespaces of its own. No
cluster is made; that is the rehearsal `upstream`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from outlive.base.paths import LOGS, ROOT, STATE, cache
from outlive.base.process import as_root, logged, output
from outlive.host.reach import build_mirror
from outlive.mirror import lock
from outlive.mirror.upstream import NAMES, REALMS
from verify.rehearsal import own_machines

pytestmark = pytest.mark.rehearsal

FILES = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Taken:
    """What was wanted, what the root file system printed, and the requests that the stand-in answered: (host, status)."""

    wanted: set[str]
    printed: str
    requests: list[tuple[str, int]]
    paths: list[str]


@pytest.fixture(scope="module")
def taken(empty: None) -> Taken:
    """Unpack the bare root file system and let it take packages and images."""
    build_mirror("bare")
    folder, root = STATE / "stand-in", STATE / "root"
    for each in (folder, root):
        each.mkdir(parents=True)
    tar = ["tar", "--extract", "--file", str(cache() / "store/root-bare/root.tar"), "--directory", str(root)]
    output(as_root([*tar, "--preserve-permissions", "--numeric-owner"]), timeout=600)
    output(as_root(["cp", "-r", f"{ROOT / 'src/outlive/mirror/files/box/etc/apt'}/.", str(root / "etc/apt")]))
    described = (own_machines.COMMON / "group_vars/all/kubernetes_packages.yml", ROOT / "roles/kubernetes_packages/defaults/main.yml")
    version, archives = (
        yaml.safe_load(path.read_text(encoding="utf-8"))[name]
        for path, name in zip(described, ("kubernetes_packages_version", "kubernetes_packages_repository"), strict=True)
    )
    repository = f"{archives}v{version.rpartition('.')[0]}/deb/"
    images = lock.load().images
    others = [images[name][0] for name in ("busybox", "flannel", "flannel-cni-plugin")]
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash", str(FILES / "outside.sh")]
    argv += [str(folder), str(root), " ".join(NAMES), repository, f"{version}-*", version, *others]
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OUTLIVE_CACHE": str(cache())}
    log = LOGS / "rehearsal-names.log"
    logged("rehearsal names", as_root(argv), log, env=environment, show=lambda line: line)
    lines = [line.split() for line in (folder / "requests.log").read_text(encoding="utf-8").splitlines()]
    answers = [line for line in lines if len(line) == 4 and line[3].isdigit()]
    kubernetes = {references[0] for references in images.values() if references[0].startswith("registry.k8s.io/kube-")}
    printed = log.read_text(encoding="utf-8")
    return Taken(kubernetes | set(others), printed, [(line[0], int(line[3])) for line in answers], [line[2] for line in answers])


def test_every_image_is_there(taken: Taken) -> None:
    there = taken.printed.partition("--- images\n")[2].partition("--- mirrors\n")[0].split()
    assert taken.wanted - set(there) == set()


def test_no_mirror_is_configured(taken: Taken) -> None:
    assert taken.printed.partition("--- mirrors\n")[2].strip() == ""


def test_every_name_was_asked_and_answered(taken: Taken) -> None:
    assert {host for host, status in taken.requests if status == 200} == set(NAMES)


def test_nothing_was_asked_for_as_of_a_mirror(taken: Taken) -> None:
    assert [path for path in taken.paths if "ns=" in path] == []


def test_registries_asked_for_a_token_first(taken: Taken) -> None:
    assert {host for host, status in taken.requests if status == 401} == set(REALMS)
