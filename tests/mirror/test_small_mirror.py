"""A whole mirror, built by the real tools from a small world, served, and read as a node reads it.

Runs as root, on a host that has the tools of src/outlive/mirror/host-packages.txt, and the mirror's Go.
"""

import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlive.base.architecture import ARM64
from outlive.base.errors import LabError
from outlive.cli import main
from outlive.mirror import authority, build, command, golang, lock, upstream
from outlive.mirror.build import debian, images, packages, programs
from outlive.mirror.build.signing import Signer
from outlive.mirror.servers import free_port, registry
from outlive.mirror.store import Artefact, Store
from tests.mirror import layers
from tests.mirror.small import World, world

MISSING = [tool for tool in build.TOOLS if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a root file system and sets a file's capabilities"),
    pytest.mark.skipif(bool(MISSING), reason=f"this host lacks {', '.join(MISSING)}, with which a mirror is built"),
]

ROOTS = ("bare", "generic", "image-network", "image-mysql", "image-mysql-9.7")
IMAGES = ("kube-scheduler", "coredns", "busybox", "mysql")
Visit = Callable[[str, str], None]


@dataclass(frozen=True)
class Small:
    """A built mirror: its store, the lock that it was built from, and what was said meanwhile."""

    store: Store
    lock: lock.Lock
    world: World
    said: list[str]

    def build(self, *extras: str) -> list[str]:
        """Build; give the artefacts that were made."""
        self.said.clear()
        with self.store.locked():
            build.build(self.store, self.lock, (), extras)
        return [line.partition(":")[0] for line in self.said if ": built in " in line]

    def artefact(self, name: str) -> Artefact:
        return Artefact(name, self.store.path_of(name), "")


@pytest.fixture(scope="module")
def small(mirrors_go: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = tmp_path_factory.mktemp("small")
    said: list[str] = []
    with world(folder) as given, pytest.MonkeyPatch.context() as patch:
        patch.setattr(debian, "_KEYRING", str(given.keyring))
        # Packages are unpacked, not configured: for that a whole Debian would have to be there.
        patch.setattr(debian, "ROOTS", {name: ("extract", (name,)) for name in ROOTS})
        patch.setattr(programs, "GO", given.go)
        patch.setattr(images, "IMAGES", {name: images.IMAGES[name] for name in IMAGES})
        patch.setattr(build, "NEEDED_GIB", 0)
        for module in (lock, build):
            patch.setattr(module, "EXTRAS", {"mysql-9.7": given.extra})
        patch.setattr(build, "load_addons", functools.partial(lock.load_addons, given.addons))
        for module in (lock, build, debian):
            patch.setattr(module, "BOXES", {"generic": given.box})
        for file, wanted in ((given.lock, lock.load(given.lock).debian), *map(lock.archive_of, ("mysql-9.7", "generic"))):
            lock.write_debian(file, *debian.resolve(wanted))
        made = Small(Store(folder / "cache", said.append), lock.load(given.lock), given, said)
        made.build()
        yield made


@pytest.fixture
def cache(small: Small, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the commands find the small mirror and its lock file."""
    monkeypatch.setenv("OUTLIVE_CACHE", str(small.store.cache))
    monkeypatch.setattr(lock, "load", functools.partial(lock.load, small.world.lock))
    return small.store.cache


def _serve(visit: Visit) -> int:
    """Run `outlive mirror serve`, call `visit` with both addresses, end it by SIGTERM; give the exit status."""
    apt, registry = free_port(), free_port()
    problems: list[BaseException] = []

    def client() -> None:
        try:
            _wait_for(f"http://127.0.0.1:{apt}/")
            visit(f"http://127.0.0.1:{apt}", f"127.0.0.1:{registry}")
        except BaseException as problem:
            problems.append(problem)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # Where the server doesn't come, the client's signal mustn't end the tests.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    thread = threading.Thread(target=client)
    thread.start()
    try:
        status = main(["mirror", "serve", "--address", "127.0.0.1", "--apt-port", str(apt), "--registry-port", str(registry)])
    finally:
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    for problem in problems:
        raise problem
    return status


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, f"{url} doesn't answer"
            time.sleep(0.05)
        else:
            return


def _apt(folder: Path, source: str, *words: str) -> str:
    """Run apt-get with one source and nothing of this host; give what it prints."""
    config = debian._private_apt(folder, lock.Debian("", "", "", "", "", {}, ()))
    (folder / "sources.list").write_text(source)
    debian._apt(config, "update")
    return debian._apt(config, *words)


def _layers(layout: Path) -> list[dict[str, tarfile.TarInfo]]:
    """Give the files of an image's layers, from the lowest to the highest."""
    found = []
    for layer in layers.of(layout):
        with layer.opened() as archive:
            found.append({member.name.removeprefix("./"): member for member in archive})
    return found


def test_second_build_makes_nothing(small: Small) -> None:
    assert small.build() == []
    assert {line.partition(": ")[2] for line in small.said} == {"ready"}


def test_damage_is_found_by_check_and_mended_by_build(small: Small, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = small.store.path_of("programs-cni") / "bridge"
    program.write_bytes(b"damaged")
    assert main(["mirror", "check"]) == 2
    said = capsys.readouterr().err
    assert f"error: {cache} is damaged (programs-cni: its file bridge is damaged" in said
    assert said.endswith("run `outlive mirror build`, which builds those anew\n")
    # The package has the same file under a second name.
    assert small.build() == ["programs-cni"]
    assert main(["mirror", "check"]) == 0
    assert f"{cache}: every checksum is right" in capsys.readouterr().out


def test_same_lock_gives_the_same_images(small: Small) -> None:
    index = small.store.path_of("image-mysql") / "index.json"
    before = index.read_text()
    index.write_text("damaged")
    assert small.build() == ["image-mysql"]
    assert index.read_text() == before


def test_too_old_go_stops_a_build_before_it_makes_anything(small: Small, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", print)
    wants = dataclasses.replace(small.lock, go="99.1")
    with store.locked(), pytest.raises(LabError, match=r"the mirror needs 99\.1 or newer: put a newer one on PATH"):
        build.build(store, wants, ())
    assert [path.name for path in store.cache.iterdir()] == ["lock"]


def test_lock_lists_what_apt_resolves(
    small: Small, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lock.yml"
    file.write_text(small.world.lock.read_text().partition(lock.GENERATED)[0])
    monkeypatch.setattr(command, "LOCK_FILE", file)
    assert main(["mirror", "lock"]) == 0
    assert "lock.yml: 5 Debian packages as of 20" in capsys.readouterr().out
    # With what they depend on, and nothing else of the archive.
    _, generated, listed = file.read_text().partition(lock.GENERATED)
    assert generated
    names = [Path(line.split()[1]).name.partition("_")[0] for line in listed.splitlines()[2:]]
    assert names == ["apt", "base-files", "busybox-static", "greeter-data", "greeter"]


def test_archive_of_another_key_is_not_believed(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer(Store(tmp_path, print))
    signer.close()
    monkeypatch.setattr(debian, "_KEYRING", str(signer.keyring))
    with pytest.raises(LabError, match=r"apt-get update failed while resolving \(.*not signed.*\): check the network and the names"):
        debian.resolve(small.lock.debian)


def test_package_that_the_archive_has_not(small: Small) -> None:
    wants = dataclasses.replace(small.lock.debian, sets={"bare": ("no-such-package",)})
    with pytest.raises(LabError, match=r"apt-get install failed while resolving \(E: Unable to locate package no-such-package\)"):
        debian.resolve(wants)


def test_lock_without_packages(small: Small) -> None:
    with pytest.raises(LabError, match=r"the lock file lists no Debian packages: run `outlive mirror lock`$"):
        debian.fetch_packages(small.store, dataclasses.replace(small.lock.debian, packages=()))


def test_changed_lock_fetches_only_what_is_new(small: Small, tmp_path: Path) -> None:
    store = Store(tmp_path, print)
    first, *rest = small.lock.debian.packages
    debian.fetch_packages(store, dataclasses.replace(small.lock.debian, packages=tuple(rest)))
    # Nobody answers at the new addresses.
    nowhere = dataclasses.replace(small.lock.debian, mirror="http://127.0.0.1:9", snapshot="http://127.0.0.1:9")
    debian.fetch_packages(store, dataclasses.replace(nowhere, packages=tuple(rest[1:])))
    with pytest.raises(LabError, match=rf"{first.filename} can't be downloaded \(http://127.0.0.1:9/.*refused\): try again later$"):
        debian.fetch_packages(store, nowhere)
    gone = dataclasses.replace(nowhere, mirror=f"{small.lock.debian.mirror}/none", snapshot=f"{small.lock.debian.mirror}/none")
    with pytest.raises(LabError, match=rf"{first.filename} can't be downloaded .*run `outlive mirror lock` to take those"):
        debian.fetch_packages(store, gone)
    assert (store.path_of("debian-packages") / rest[1].path).exists()


def test_root_file_system_is_dated_and_has_no_documentation(small: Small) -> None:
    with tarfile.open(small.store.path_of("root-image-network") / "root.tar") as root:
        members = {member.name: member for member in root}
    assert {"./usr/bin/greet", "./usr/share/greeter/hello", "./usr/share/doc/base-files/copyright"} <= set(members)
    assert "./usr/share/doc/base-files/README" not in members
    assert {member.mtime for member in members.values()} == {small.lock.source_date_epoch}


def test_programs_say_their_version(small: Small) -> None:
    folder = small.store.path_of("programs-kubernetes")
    assert sorted(path.name for path in folder.iterdir()) == ["kube-scheduler", "kubeadm", "kubectl", "kubelet", "renamed"]
    said = subprocess.run([folder / "kubelet"], capture_output=True, text=True, check=True).stderr
    assert said == "v1.2.3\n"


def test_packages_are_as_upstream_lays_them_out(small: Small) -> None:
    pool = small.store.path_of("kubernetes-packages") / small.lock.packages["repository"] / "amd64"

    def deb(option: str, name: str) -> str:
        return subprocess.run(["dpkg-deb", option, *pool.glob(f"{name}_*")], capture_output=True, text=True, check=True).stdout

    listed = {line.split()[-1] for line in deb("--contents", "kubelet").splitlines()}
    assert {"./usr/bin/kubelet", "./usr/lib/systemd/system/kubelet.service"} <= listed
    kubelet = deb("--info", "kubelet")
    assert "Version: 1.2.3-1.1\n" in kubelet
    assert f"Depends: {packages.PACKAGES['kubelet'].depends}\n" in kubelet
    # What a person may edit is asked about, and kept, when the package is renewed.
    assert "conffiles" in kubelet
    assert {"./opt/cni/bin/bridge", "./opt/cni/bin/host-local"} <= {
        line.split()[-1] for line in deb("--contents", "kubernetes-cni").splitlines()
    }


def test_programs_and_packages_of_another_architecture_lie_beside(small: Small) -> None:
    """The same sources, for arm64: neither takes the other's place."""
    said: list[str] = []
    store = Store(small.store.cache, said.append, ARM64)
    made = {name: programs.build_programs(store, small.lock.programs[name], golang.version()) for name in ("kubernetes", "cni")}
    signer = Signer(store)
    packages.make_packages(store, small.lock, made, signer)
    signer.close()
    # e_machine in an ELF header: 183 is AArch64's, 62 x86-64's.
    for folder, machine in ((store.path_of("programs-cni"), 183), (small.store.path_of("programs-cni"), 62)):
        assert (folder / "bridge").read_bytes()[18:20] == machine.to_bytes(2, "little")
    repository = store.path_of("kubernetes-packages") / small.lock.packages["repository"]
    assert (repository / "arm64/kubelet_1.2.3-1.1_arm64.deb").exists()
    assert "Architecture: arm64\n" in (repository / "Packages").read_text()
    assert "Architectures: arm64\n" in (repository / "Release").read_text()
    assert small.build() == []


def test_image_of_one_program(small: Small) -> None:
    (layer,) = _layers(small.store.path_of("image-kube-scheduler"))
    assert layer["usr/local/bin/kube-scheduler"].mode & 0o111
    assert {member.mtime for member in layer.values()} == {small.lock.source_date_epoch}


def test_dns_may_use_its_port(small: Small) -> None:
    (layer,) = _layers(small.store.path_of("image-coredns"))
    assert "SCHILY.xattr.security.capability" in layer["coredns"].pax_headers


def test_busybox_has_every_applet(small: Small) -> None:
    (layer,) = _layers(small.store.path_of("image-busybox"))
    assert layer["bin/sh"].linkname == layer["bin/cat"].linkname == "busybox"
    assert layer["bin/busybox"].isreg()
    assert layer["tmp"].mode == 0o1777


def test_image_without_its_package(small: Small, tmp_path: Path) -> None:
    parts = images.Parts({}, {}, Artefact("none", tmp_path, ""))
    with pytest.raises(LabError, match="lists no package busybox-static: run `outlive mirror lock`"):
        images.make_image(Store(tmp_path, print), small.lock, "busybox", small.lock.images["busybox"], parts)


def test_mysql_owns_its_data_and_not_the_authors_identity(small: Small) -> None:
    root, top, *owned = _layers(small.store.path_of("image-mysql"))
    assert "usr/bin/greet" not in root
    assert "usr/share/mysql-5.6/initial-data/user.MYD" in top
    assert "usr/share/mysql-5.6/initial-data/auto.cnf" not in top
    assert top["usr/sbin/mysqld"].mode == 0o755
    assert [(layer[name].uid, layer[name].isdir()) for layer, name in zip(owned, ("var/lib/mysql", "run/mysqld"), strict=True)] == [
        (999, True),
        (999, True),
    ]


def test_mysql_of_another_checksum_is_refused(small: Small, tmp_path: Path) -> None:
    other = dataclasses.replace(small.lock, mysql=dataclasses.replace(small.lock.mysql, integrity="sha512-AAAA"))
    parts = images.Parts({}, {"image-mysql": small.artefact("root-image-mysql")}, small.artefact("debian-packages"))
    with pytest.raises(LabError, match=r"mysql\.tgz can't be downloaded .*: check mysql in src/outlive/mirror/lock\.yml"):
        images.make_image(Store(tmp_path, print), other, "mysql", other.images["mysql"], parts)


def test_extra_image_is_made_where_it_is_asked_for_and_kept_up_to_date(small: Small) -> None:
    assert not small.store.path_of("image-mysql-9.7").exists()
    assert "image-mysql-9.7" in small.build("mysql-9.7")
    (small.store.path_of("image-mysql-9.7") / "index.json").unlink()
    # Nobody asks for it this time.
    assert small.build() == ["image-mysql-9.7"]


def test_addon_is_made_where_it_is_asked_for(small: Small) -> None:
    """Its image has its program alone, says its version, and is in the registry; no other image is made anew for it."""
    assert not small.store.path_of("image-metrics-server").exists()
    assert set(small.build("metrics-server")) == {"programs-metrics-server", "image-metrics-server", "registry"}
    (layer,) = _layers(small.store.path_of("image-metrics-server"))
    assert {name for name, member in layer.items() if member.isfile()} == {"metrics-server"}
    program = small.store.path_of("programs-metrics-server") / "metrics-server"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stderr == "v9.8.7\n"
    assert list(small.store.path_of("registry").rglob("metrics-server/_manifests/tags/v9.8.7"))
    assert small.build() == []


def test_earlier_kubernetes_is_made_where_it_is_asked_for(small: Small) -> None:
    assert not small.store.path_of(f"programs-{lock.EARLIER}").exists()
    assert set(small.build(lock.EARLIER)) == {
        "programs-kubernetes-earlier",
        "kubernetes-earlier-packages",
        "image-kube-scheduler-earlier",
        "registry",
    }
    program = small.store.path_of("programs-kubernetes-earlier") / "kubelet"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stderr == "v1.2.2\n"
    pool = small.store.path_of("kubernetes-earlier-packages") / small.lock.packages["repository"] / "amd64"
    assert (pool / "kubelet_1.2.2-1.1_amd64.deb").exists()
    assert (pool / "kubernetes-cni_4.5.6-1.1_amd64.deb").exists()
    index = json.loads((small.store.path_of("image-kube-scheduler-earlier") / "index.json").read_text())
    assert "kube-scheduler:v1.2.2" in json.dumps(index)
    assert small.build() == []


@pytest.mark.parametrize(("box", "failed"), [("bare", "useradd"), ("full", "dpkg"), ("generic", "sed")])
def test_box_that_fails_leaves_nothing_and_everything_else(
    small: Small, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, box: str, failed: str
) -> None:
    # The small root file system has no such program.
    monkeypatch.setattr(debian, "ROOTS", {**debian.ROOTS, "full": debian.ROOTS["bare"]})
    assert main(["mirror", "build", "--box", box]) == 2
    log = small.store.log(f"box-{box}")
    assert f"read {log}, mend what it says and run the command again\n" in capsys.readouterr().err
    assert f"'{failed}': No such file or directory" in log.read_text()
    assert list(small.store.path_of(f".new-box-{box}").glob(".root")) == []
    assert not small.store.path_of(f"box-{box}").exists()
    assert not list((cache / "boxes").glob("*"))
    assert small.build() == []


def test_node_finds_its_packages(small: Small, cache: Path, tmp_path: Path) -> None:
    key = tmp_path / "Release.asc"

    def visit(site: str, registry: str) -> None:
        repository = f"{site}/{small.lock.packages['repository']}/"
        with urllib.request.urlopen(f"{repository}Release.key", timeout=10) as answer:
            key.write_bytes(answer.read())
        found = _apt(tmp_path / "kubernetes", f"deb [signed-by={key}] {repository} /\n", "download", "--print-uris", "kubelet")
        assert found.startswith(f"'{repository}amd64/kubelet_1.2.3-1.1_amd64.deb'")
        source = f"deb [signed-by={key}] {site}/debian small main\n"
        assert "/pool/main/g/greeter/greeter-data_1_amd64.deb'" in _apt(
            tmp_path / "debian", source, "install", "--print-uris", "--yes", "greeter"
        )

    assert _serve(visit) == 0


def test_node_pulls_its_images_and_can_push_none(small: Small, cache: Path) -> None:
    def visit(site: str, registry: str) -> None:
        def skopeo(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, text=True, check=False)

        for name in (each for references in small.lock.images.values() for each in references):
            seen = skopeo("inspect", "--config", "--tls-verify=false", f"docker://{registry}/{name}")
            assert seen.returncode == 0, f"{name}: {seen.stderr}"
        busybox = json.loads(
            skopeo("inspect", "--config", "--tls-verify=false", f"docker://{registry}/docker.io/library/busybox:latest").stdout
        )
        assert busybox["config"]["Cmd"] == ["sh"]
        dns = json.loads(
            skopeo("inspect", "--config", "--tls-verify=false", f"docker://{registry}/registry.k8s.io/coredns/coredns:v7.8.9").stdout
        )
        assert (dns["config"]["Entrypoint"], dns["config"]["User"]) == (["/coredns"], "65532:65532")
        assert set(dns["config"]["ExposedPorts"]) == {"53/tcp", "53/udp"}
        image = f"oci:{small.store.path_of('image-busybox')}:latest"
        refused = skopeo("copy", "--dest-tls-verify=false", image, f"docker://{registry}/docker.io/library/other:latest")
        assert refused.returncode != 0

    assert _serve(visit) == 0


def test_upstream_stands_in_for_by_keys_of_its_own(small: Small, tmp_path: Path) -> None:
    stand_in = tmp_path / "stand-in"
    upstream.lay_out(small.store, small.lock, stand_in)
    upstream.lay_out(small.store, small.lock, stand_in)  # what an earlier run left is replaced
    site = stand_in / "site"
    releases = [
        site / "deb.debian.org/debian/dists/small/InRelease",
        site / "deb.debian.org/debian/dists/small-updates/InRelease",
        site / "security.debian.org/debian-security/dists/small-security/InRelease",
        site / "pkgs.k8s.io" / small.lock.packages["repository"].partition("/")[2] / "InRelease",
    ]
    for release in releases:
        checked = subprocess.run(["gpgv", "--keyring", stand_in / "debian.gpg", release], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
    # The mirror's own key didn't sign them.
    assert subprocess.run(["gpgv", "--keyring", small.store.cache / "gnupg/mirror.gpg", releases[0]], check=False).returncode != 0
    key = site / "Release.asc"
    shutil.copy(releases[-1].with_name("Release.key"), key)
    repository = f"copy:{releases[-1].parent}/"
    found = _apt(tmp_path / "apt", f"deb [signed-by={key}] {repository} /\n", "download", "--print-uris", "kubelet")
    assert "amd64/kubelet_1.2.3-1.1_amd64.deb'" in found


def test_upstreams_registries_have_the_images(small: Small, tmp_path: Path) -> None:
    authority.make(upstream.NAMES, tmp_path)
    back, ports = free_port(), (free_port(), free_port())
    with (
        registry(small.store.path_of("registry"), "127.0.0.1", back, tmp_path / "log", read_only=True),
        upstream.answering("127.0.0.1", ports, tmp_path, back),
    ):
        for host, path in (("registry.k8s.io", "coredns/coredns/manifests/v7.8.9"), ("registry.k8s.io", "kube-scheduler/tags/list")):
            request = urllib.request.Request(
                f"http://127.0.0.1:{ports[0]}/v2/{path}",
                headers={"Host": host, "Accept": "application/vnd.oci.image.manifest.v1+json"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert json.load(answer)


def test_port_of_the_registry_is_taken(small: Small, tmp_path: Path) -> None:
    port = free_port()
    storage = small.store.path_of("registry")
    with (
        registry(storage, "127.0.0.1", port, tmp_path / "log"),
        pytest.raises(
            LabError,
            match=rf"can't listen on 127.0.0.1 port {port} \(Address already in use by process \d+, docker-registry\): end what uses that port, or",
        ),
        registry(storage, "127.0.0.1", port, tmp_path / "log"),
    ):
        pass
