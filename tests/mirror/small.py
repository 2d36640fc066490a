"""A small world to build a mirror from: a Debian archive and Go modules of a few lines each, built and signed by the real tools."""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from outlive.mirror.build import apt_repository
from outlive.mirror.build.signing import Signer
from outlive.mirror.store import Store
from tests.mirror.serving import serving

SUITE = "small"

# Where the archive has each package, and what it holds; an executable file begins with #!.
PACKAGES: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {
    "base-files": (
        "pool/main/b/base-files",
        {"Essential": "yes"},
        {
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
            "etc/group": "root:x:0:\n",
            "var/tmp/kept": "the folder is there\n",
            "usr/share/doc/base-files/README": "left out\n",
            "usr/share/doc/base-files/copyright": "kept\n",
        },
    ),
    "apt": ("pool/main/a/apt", {}, {"usr/bin/apt": "#!/bin/sh\n"}),
    "greeter": ("pool/main/g/greeter", {"Depends": "greeter-data"}, {"usr/bin/greet": "#!/bin/sh\n"}),
    "greeter-data": ("pool/main/g/greeter", {}, {"usr/share/greeter/hello": "hello\n"}),
    "unwanted": ("pool/main/u/unwanted", {}, {"usr/bin/unwanted": "#!/bin/sh\n"}),
    # What the image's maker asks of busybox is the list of its applets.
    "busybox-static": ("pool/main/b/busybox", {}, {"usr/bin/busybox": "#!/bin/sh\nprintf '%s\\n' busybox cat sh\n"}),
}

# The Go modules: one program each, which prints the version that the linker wrote into it.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "kubernetes": ("kubeadm", "kubectl", "kubelet", "kube-scheduler", "server"),
    "kubernetes-earlier": ("kubeadm", "kubectl", "kubelet", "kube-scheduler", "server"),
    "cni": ("bridge", "host-local"),
    "coredns": ("coredns",),
    "metrics-server": ("metrics-server",),
}
_GO = 'package main\n\nvar version = "none"\n\nfunc main() { println(version) }\n'

_LOCK = """
source_date_epoch: 1795305600
go: "1.24"
kubernetes_earlier: 1.2.2
programs:
  kubernetes: {{module: mirror.invalid/kubernetes, version: v1.2.3, ldflags: {{main.version: v1.2.3}}, rename: {{server: renamed}}}}
  cni: {{module: mirror.invalid/cni, version: v4.5.6}}
  coredns: {{module: mirror.invalid/coredns, version: v7.8.9}}
packages:
  repository: kubernetes/core:/stable:/v1.2/deb
  kubeadm: 1.2.3-1.1
  kubectl: 1.2.3-1.1
  kubelet: 1.2.3-1.1
  kubernetes-cni: 4.5.6-1.1
mysql: {{version: 5.6.24, url: "{site}/mysql.tgz", integrity: "{integrity}"}}
images:
  kube-scheduler: [registry.k8s.io/kube-scheduler:v1.2.3]
  coredns: [registry.k8s.io/coredns/coredns:v7.8.9]
  busybox: [docker.io/library/busybox:1.2.0, docker.io/library/busybox:latest]
  mysql: [docker.io/library/mysql:5.6.24]
boxes: {{disk_gib: 1}}
debian:
  suite: small
  mirror: {site}
  snapshot: {site}/snapshot
  sets:
    bare: [base-files]
    image-network: [base-files, greeter]
    image-mysql: [base-files]
    image-busybox: [busybox-static]
"""
_EXTRA = """
image: [docker.io/library/mysql:9.7]
debian:
  suite: small
  mirror: {site}
  snapshot: {site}/snapshot
  sets:
    image-mysql-9.7: [base-files]
"""
_ADDONS = """
metrics-server:
  module: mirror.invalid/metrics-server
  version: v9.8.7
  ldflags: {main.version: v9.8.7}
  image: [registry.k8s.io/metrics-server/metrics-server:v9.8.7]
"""
_BOX = """
disk_gib: {{size: 2, filled: 1}}
debian:
  suite: small
  mirror: {site}
  snapshot: {site}/snapshot
  sets:
    generic: [base-files, greeter]
"""


@dataclass(frozen=True)
class World:
    """What a mirror is built from: the archive's address and key, the folder of the Go modules, and its lock files, those of extras and add-ons among them."""

    site: str
    keyring: Path
    go: Path
    lock: Path
    extra: Path
    box: Path
    addons: Path


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make the world below `folder` and serve its archive on loopback until the block ends."""
    archive = folder / "archive"
    for name, (place, fields, files) in PACKAGES.items():
        (archive / place).mkdir(parents=True, exist_ok=True)
        make_deb(archive / place / f"{name}_1_amd64.deb", {"Package": name, **fields}, files)
    signer = Signer(Store(folder / "author", print))
    release = {"Origin": "Debian", "Codename": SUITE, "Suite": "stable", "Components": "main", "Architectures": "amd64"}
    apt_repository.index(archive, Path("pool"), Path("dists") / SUITE, release, signer)
    signer.close()
    _make_npm_package(archive / "mysql.tgz")
    for name, programs in PROGRAMS.items():
        _make_module(folder / "go" / name, programs)
    with serving(archive) as site:
        digest = hashlib.sha512((archive / "mysql.tgz").read_bytes()).digest()
        lock = folder / "lock.yml"
        lock.write_text(_LOCK.format(site=site, integrity=f"sha512-{base64.b64encode(digest).decode()}"))
        extra = folder / "lock-mysql-9.7.yml"
        extra.write_text(_EXTRA.format(site=site))
        box = folder / "lock-generic.yml"
        box.write_text(_BOX.format(site=site))
        addons = folder / "lock-addons.yml"
        addons.write_text(_ADDONS)
        yield World(site, signer.keyring, folder / "go", lock, extra, box, addons)


def make_deb(target: Path, fields: Mapping[str, str], files: Mapping[str, str]) -> None:
    """Make a package by dpkg-deb."""
    staging = target.with_suffix(".staging")
    (staging / "DEBIAN").mkdir(parents=True, mode=0o755)
    control = {"Version": "1", "Architecture": "amd64", "Maintainer": "test <test@mirror.invalid>", "Description": "small", **fields}
    (staging / "DEBIAN/control").write_text("".join(f"{name}: {value}\n" for name, value in control.items()))
    for name, text in files.items():
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_text(text)
        (staging / name).chmod(0o755 if text.startswith("#!") else 0o644)
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", staging, target], check=True, capture_output=True)
    shutil.rmtree(staging)


def _make_npm_package(target: Path) -> None:
    """Make a package laid out as the one with MySQL's server."""
    files = {
        "mysqld": "#!/bin/sh\n",
        "libaio.so.1": "library",
        "share/errmsg.sys": "messages",
        "data/mysql/user.MYD": "accounts",
        "data/mysql/auto.cnf": "the author's identity",
    }
    with tarfile.open(target, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/server/{name}")
            member.size = len(text)
            member.mode = 0o600
            archive.addfile(member, io.BytesIO(text.encode()))


def _make_module(folder: Path, programs: tuple[str, ...]) -> None:
    module = f"mirror.invalid/{folder.name.removesuffix('-earlier')}"
    for program in programs:
        (folder / program).mkdir(parents=True)
        (folder / program / "main.go").write_text(_GO)
    tools = "".join(f"\t{module}/{program}\n" for program in programs)
    (folder / "go.mod").write_text(f"module {module}\n\ngo 1.24\n\ntool (\n{tools})\n")
