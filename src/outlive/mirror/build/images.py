"""Make the container images of the lock file, as OCI layouts, with umoci and skopeo.

The same lock gives the same digests: layers are sorted and stamped with one date.
"""

import base64
import json
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from outlive.base.architecture import Architecture
from outlive.base.errors import LabError
from outlive.mirror.build.download import Download, fetch
from outlive.mirror.lock import Lock
from outlive.mirror.paths import FILES, GO
from outlive.mirror.store import Artefact, Store, digest_source, digest_tree
from outlive.mirror.tools import as_root, capture, compiler, run

# What these lines make changes with them. Read once: an edit during a build must not count as built.
_SOURCE = digest_source(Path(__file__))

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MYSQL_ID = 999  # the official image's user and group


@dataclass(frozen=True)
class Image:
    """What an image is made of, from the lowest layer to the highest, and how it starts.

    `base` names a root file system of `outlive.mirror.build.debian`; `programs` lists sets of programs, the program
    and where it goes.
    """

    base: str = ""
    busybox: bool = False
    programs: tuple[tuple[str, str, str], ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    environment: tuple[str, ...] = (_PATH,)
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    capabilities: Mapping[str, str] = field(default_factory=dict)  # by file
    mysql: str = ""  # the series of MySQL's server, where it is one: files/mysql-SERIES goes in


def _kubernetes(name: str, base: str = "") -> Image:
    return Image(base=base, programs=(("kubernetes", name, f"usr/local/bin/{name}"),), command=(name,))


def _mysql(series: str, base: str, *ports: str) -> Image:
    return Image(
        base=base, entrypoint=("docker-entrypoint.sh",), command=("mysqld",), ports=ports, volumes=("/var/lib/mysql",), mysql=series
    )


IMAGES: Mapping[str, Image] = {
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kube-proxy": _kubernetes("kube-proxy", "image-network"),
    "etcd": Image(
        programs=tuple(("etcd", name, f"usr/local/bin/{name}") for name in ("etcd", "etcdctl", "etcdutl")),
        command=("etcd",),
    ),
    "coredns": Image(
        programs=(("coredns", "coredns", "coredns"),),
        entrypoint=("/coredns",),
        user="65532:65532",
        ports=("53/tcp", "53/udp"),
        # It runs as an ordinary user and listens on port 53.
        capabilities={"coredns": "cap_net_bind_service=+ep"},
    ),
    "pause": Image(entrypoint=("/pause",), user="65535:65535"),
    "flannel": Image(
        base="image-network",
        programs=(("flannel", "flanneld", "opt/bin/flanneld"), ("flannel", "install-conf", "opt/bin/install-conf")),
        entrypoint=("/opt/bin/flanneld",),
    ),
    "flannel-cni-plugin": Image(busybox=True, programs=(("flannel-cni", "flannel", "flannel"),)),
    "busybox": Image(busybox=True, command=("sh",)),
    # The pod with which Kubernetes empties a volume of the policy Recycle: a shell, find and ls.
    "debian-base": Image(base="image-network", command=("bash",)),
    # Upstream has it on Alpine, whose shell and tools are busybox's too.
    "local-path-provisioner": Image(
        busybox=True,
        programs=(("local-path-provisioner", "local-path-provisioner", "usr/bin/local-path-provisioner"),),
        command=("local-path-provisioner",),
    ),
    "mysql": _mysql("5.6", "image-mysql", "3306/tcp"),
}
EXTRA_IMAGES: Mapping[str, Image] = {"mysql-9.7": _mysql("9.7", "image-mysql-9.7", "3306/tcp", "33060/tcp")}
"""Images of `outlive.mirror.lock.EXTRAS`."""


@dataclass(frozen=True)
class Parts:
    """The artefacts that images are made of."""

    programs: Mapping[str, Artefact]
    roots: Mapping[str, Artefact]
    packages: Artefact


def make_image(store: Store, lock: Lock, name: str, references: Sequence[str], parts: Parts, suffix: str = "") -> Artefact:
    """Make the OCI layout of the image `name`; its index.json gives all its names, `references`. The artefact's name ends with `suffix`."""
    image = {**IMAGES, **EXTRA_IMAGES}[name]
    artefact = f"image-{name}{suffix}"
    log = store.log(artefact)
    mysql = FILES / f"mysql-{image.mysql}" if image.mysql else None

    def build(target: Path) -> None:
        layers = []
        work = target / ".work"
        work.mkdir()
        if image.base:
            layers.append(parts.roots[image.base].path / "root.tar")
        if image.busybox:
            _fill_busybox(work / "busybox", parts.packages, store.architecture, log)
            layers.append(_pack(work / "busybox", lock, log))
        top = work / "top"
        for group, program, place in image.programs:
            (top / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(parts.programs[group].path / program, top / place)
        if name == "pause":
            _compile_pause(top, lock, store.architecture, log)
        if mysql:
            shutil.copytree(FILES / "mysql", top)
            shutil.copytree(mysql, top, dirs_exist_ok=True)
            add_mysql_user(top, layers[0])
        if name == "mysql":
            _fill_mysql(top, store, lock)
        for file, capability in image.capabilities.items():
            run(as_root(["setcap", capability, str(top / file)]), log)
        if top.exists():
            layers.append(_pack(top, lock, log))
        if mysql:
            owned = work / "owned"
            for folder in ("var/lib/mysql", "run/mysqld"):
                (owned / folder).mkdir(parents=True)
            layers.append(_pack(owned / "var/lib/mysql", lock, log, prefix="var/lib/mysql", owner=_MYSQL_ID))
            layers.append(_pack(owned / "run/mysqld", lock, log, prefix="run/mysqld", owner=_MYSQL_ID))
        layout = work / "layout"
        _assemble(layout, layers, image, lock, store.architecture, log)
        # umoci compresses by gzip, which an emulated node takes twice as long to unpack (docs/results.md).
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-compress-format", "zstd"]
        run([*copy, f"oci:{layout}:latest", f"oci:{target}:latest"], log)
        name_manifest(target, references)
        shutil.rmtree(work)

    groups = sorted({group for group, _, _ in image.programs})
    inputs = [
        {group: parts.programs[group].key for group in groups},
        parts.roots[image.base].key if image.base else "",
        parts.packages.key if image.busybox else "",
        _SOURCE,
        digest_tree(FILES / "mysql", mysql) if mysql else {},
        repr(lock.mysql) if name == "mysql" else "",
        digest_tree(GO / "kubernetes" / "go.mod") if name == "pause" else {},
        list(references),
        lock.source_date_epoch,
    ]
    return store.make(artefact, inputs, build)


def name_manifest(layout: Path, references: Sequence[str]) -> None:
    """Give the one manifest of a layout its names, as containerd and skopeo read them."""
    index_file = layout / "index.json"
    index = json.loads(index_file.read_text())
    descriptor = index["manifests"][0]
    index["manifests"] = [
        {
            **descriptor,
            "annotations": {
                "io.containerd.image.name": reference,
                "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
            },
        }
        for reference in references
    ]
    index_file.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def merge_layouts(layouts: Sequence[Path], target: Path) -> None:
    """Put several layouts into one, blobs that they share only once."""
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = []
    for layout in layouts:
        manifests += json.loads((layout / "index.json").read_text())["manifests"]
        for blob in (layout / "blobs" / "sha256").iterdir():
            if not (blobs / blob.name).exists():
                os.link(blob, blobs / blob.name)
    shutil.copy2(layouts[0] / "oci-layout", target / "oci-layout")
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


def _assemble(layout: Path, layers: Sequence[Path], image: Image, lock: Lock, architecture: Architecture, log: Path) -> None:
    """Make an OCI layout of layers and the image's configuration."""
    created = datetime.fromtimestamp(lock.source_date_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    run(["umoci", "init", "--layout", layout], log)
    run(["umoci", "new", "--image", f"{layout}:latest"], log)
    for layer in layers:
        command = ["umoci", "raw", "add-layer", "--image", f"{layout}:latest", "--history.created", created]
        run([*command, "--history.created_by", "outlive mirror", layer], log)
    words = ["umoci", "config", "--image", f"{layout}:latest", "--no-history", "--created", created]
    words += ["--os", "linux", "--architecture", architecture.name, "--author", "outlive mirror"]
    for option, values in (
        ("entrypoint", image.entrypoint),
        ("cmd", image.command),
        ("env", image.environment),
        ("exposedports", image.ports),
        ("volume", image.volumes),
        ("user", (image.user,) if image.user else ()),
    ):
        for value in values:
            words += [f"--config.{option}", value]
    run(words, log)


def _pack(folder: Path, lock: Lock, log: Path, prefix: str = ".", owner: int = 0) -> Path:
    """Pack a folder as a layer, the same bytes each time."""
    layer = folder.with_name(f"{folder.name}.tar")
    command = ["tar", "--create", "--file", str(layer), "--directory", str(folder), "--format=posix", "--sort=name"]
    command += [f"--mtime=@{lock.source_date_epoch}", "--numeric-owner", f"--owner={owner}", f"--group={owner}"]
    command += ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
    command += ["--xattrs", "--xattrs-include=security.capability", f"--transform=flags=r;s,^\\.,{prefix},", "."]
    run(command, log)
    return layer


def _fill_busybox(top: Path, packages: Artefact, architecture: Architecture, log: Path) -> None:
    """Lay out Debian's static busybox as the official image has it: every applet by its name in /bin."""
    found = sorted(packages.path.glob(f"pool/main/b/busybox/busybox-static_*_{architecture.name}.deb"))
    if not found:
        raise LabError("src/outlive/mirror/lock.yml lists no package busybox-static: run `outlive mirror lock`")
    extracted = top.with_name("busybox-deb")
    run(["dpkg-deb", "--extract", found[0], extracted], log)
    for name in ("bin", "etc", "home", "root", "tmp", "usr", "var"):
        (top / name).mkdir(parents=True)
    (top / "tmp").chmod(0o1777)
    (top / "root").chmod(0o700)
    program = top / "bin" / "busybox"
    shutil.copy2(extracted / "usr/bin/busybox", program)
    for applet in capture([program, "--list"]).split():
        if applet != "busybox":
            (top / "bin" / applet).symlink_to("busybox")
    (top / "usr/bin").mkdir()
    (top / "usr/bin/env").symlink_to("../../bin/env")
    (top / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
    )
    (top / "etc/group").write_text("root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n")


def _compile_pause(top: Path, lock: Lock, architecture: Architecture, log: Path) -> None:
    """Compile pause from the sources in Kubernetes' own module."""
    module = capture(["go", "-C", GO / "kubernetes", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"])
    source = Path(module.strip()) / "build/pause/linux/pause.c"
    version = lock.images["pause"][0].rpartition(":")[2]
    top.mkdir()
    run([compiler(architecture), "-Os", "-Wall", "-static", "-s", f"-DVERSION=v{version}", "-o", top / "pause", source], log)


def _fill_mysql(top: Path, store: Store, lock: Lock) -> None:
    """Lay out the server of MySQL 5.6 and its initial data."""
    archive = store.cache / "downloads" / lock.mysql.url.rpartition("/")[2]
    algorithm, _, digest = lock.mysql.integrity.partition("-")
    fetch(Download((lock.mysql.url,), archive, _hex(digest), algorithm, "check mysql in src/outlive/mirror/lock.yml"))
    share = top / "usr/share/mysql-5.6"
    extracted = top.with_name("mysql-npm")
    extracted.mkdir()
    run(["tar", "--extract", "--file", archive, "--directory", extracted, "--no-same-owner"], store.log("image-mysql"))
    server = extracted / "package/server"
    for source, place in (("mysqld", "usr/sbin/mysqld"), ("libaio.so.1", "usr/lib/x86_64-linux-gnu/libaio.so.1")):
        (top / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(server / source, top / place)
        (top / place).chmod(0o755)
    shutil.copytree(server / "share", share / "share")
    # The first start copies this: made once by MySQL's own bootstrap, by the package's author.
    shutil.copytree(server / "data/mysql", share / "initial-data")
    # Each server makes its own identity.
    (share / "initial-data/auto.cnf").unlink()
    # The package's author alone could read them; here it is the user mysql that does.
    for path in share.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (top / "usr/bin").mkdir(parents=True, exist_ok=True)
    (top / "usr/bin/mysql").symlink_to("mariadb")


def add_mysql_user(top: Path, base: Path) -> None:
    """Give the image the user and group mysql, by the numbers of the official image.

    Args:
        top: The folder of the image's upper layer, in which passwd and group come to lie.
        base: The archive of its root file system.

    Raises:
        LabError: the archive has no such files.
    """
    (top / "etc").mkdir(parents=True, exist_ok=True)
    with tarfile.open(base) as root:
        for file, line in (
            ("passwd", f"mysql:x:{_MYSQL_ID}:{_MYSQL_ID}::/var/lib/mysql:/usr/sbin/nologin\n"),
            ("group", f"mysql:x:{_MYSQL_ID}:\n"),
        ):
            try:
                member = root.extractfile(f"./etc/{file}")
            except KeyError:
                member = None
            if member is None:
                raise LabError(f"{base} has no file /etc/{file}: remove it and run the command again")
            (top / "etc" / file).write_text(member.read().decode() + line)


def _hex(base64_digest: str) -> str:
    """Turn npm's notation of a digest into hex."""
    return base64.b64decode(base64_digest).hex()
