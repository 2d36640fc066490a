"""Debian packages: resolve them into the lock file, fetch them, and make root file systems of them."""

import email.utils
import os
import shlex
import shutil
import tempfile
import urllib.parse
from pathlib import Path

from outlive.base import architecture, process
from outlive.base.architecture import AMD64
from outlive.base.errors import LabError
from outlive.mirror.build import apt_repository
from outlive.mirror.build.download import Download, fetch_all
from outlive.mirror.build.signing import Signer
from outlive.mirror.lock import BOXES, Debian, DebianPackage
from outlive.mirror.paths import FILES
from outlive.mirror.store import Artefact, Store, digest_source, digest_tree
from outlive.mirror.tools import as_root, run

# What these lines make changes with them. Read once: an edit during a build must not count as built.
_SOURCE = digest_source(Path(__file__))

# apt tries a mirror that doesn't answer three times, each for two minutes.
_APT_SECONDS = 1200

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Which sets of the lock file outlive up each root file system, and mmdebstrap's variant for it.
ROOTS = {
    "bare": ("apt", ("bare",)),
    "full": ("apt", ("bare", "full")),
    "generic": ("apt", ("generic",)),
    "image-network": ("essential", ("image-network",)),
    "image-mysql": ("essential", ("image-mysql",)),
    "image-mysql-9.7": ("essential", ("image-mysql-9.7",)),
}

# Documentation and translations make up a third of a small system.
_DPKG_OPTIONS = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
)


def names_of(debian: Debian, root: str) -> list[str]:
    """Give the packages asked for in the root file system `root`."""
    return [name for part in ROOTS[root][1] for name in debian.sets[part]]


def resolve(debian: Debian) -> tuple[str, list[DebianPackage]]:
    """Ask apt, with an empty system, what the sets need today.

    Gives the archive's timestamp in the notation of snapshot.debian.org, and the packages.
    """
    wanted = [["?essential", "apt", *names_of(debian, root)] for root, (_, parts) in ROOTS.items() if set(parts) <= set(debian.sets)]
    wanted += [["?essential", *names] for names in debian.sets.values()]
    with tempfile.TemporaryDirectory(prefix="outlive-apt-") as folder:
        config = _private_apt(Path(folder), debian)
        _apt(config, "update")
        found: dict[str, DebianPackage] = {}
        for names in wanted:
            for line in _apt(config, "install", "--yes", "--print-uris", *names).splitlines():
                if line.startswith("'"):
                    package = parse_uri_line(line, debian.mirror)
                    found[package.path] = package
        return _archive_timestamp(Path(folder) / "lists"), [found[path] for path in sorted(found)]


def parse_uri_line(line: str, mirror: str) -> DebianPackage:
    """Parse a line of `apt-get --print-uris`: 'address' file size SHA256:digest."""
    address, _, size, digest = line.split()
    algorithm, _, value = digest.partition(":")
    path = urllib.parse.unquote(address.strip("'").removeprefix(f"{mirror}/"))
    if algorithm != "SHA256" or path.startswith("http"):
        raise LabError(f"apt printed {line!r}, of which the mirror can't make a lock entry: report it")
    return DebianPackage(path, int(size), value)


def _private_apt(folder: Path, debian: Debian) -> Path:
    """Make a configuration for apt that knows nothing of this host's packages."""
    for name in ("lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {debian.mirror} {debian.suite} main\n")
    config = folder / "apt.conf"
    # A mirror that stands still for a while is as good: the lock says of which day it is.
    config.write_text(
        f'Dir::State "{folder}"; Dir::State::status "{folder}/status"; Dir::State::lists "{folder}/lists";\n'
        f'Dir::Cache "{folder}/cache"; Dir::Etc "{folder}/etc"; Dir::Etc::sourceparts "-";\n'
        f'Dir::Etc::sourcelist "{folder}/sources.list"; APT::Architecture "{debian.architecture.name}"; APT::Architectures "{debian.architecture.name}";\n'
        'APT::Install-Recommends "false"; Acquire::Languages "none"; Acquire::Retries "3"; Acquire::ForceHash "SHA256"; Acquire::Check-Valid-Until "false"; APT::Sandbox::User "root";\n'
    )
    return config


def _apt(config: Path, *words: str) -> str:
    result = process.run(["apt-get", *words], timeout=_APT_SECONDS, env={**os.environ, "APT_CONFIG": str(config)})
    errors = [line for line in result.stderr.splitlines() if line.startswith(("E:", "W: Failed"))]
    if result.returncode != 0 or errors:
        raise LabError(
            f"apt-get {words[0]} failed while resolving ({' '.join(errors) or result.returncode}): "
            "check the network and the names under debian.sets in the lock file"
        )
    return result.stdout


def _archive_timestamp(lists: Path) -> str:
    for path in lists.glob("*InRelease"):
        for line in path.read_text().splitlines():
            if line.startswith("Date: "):
                return email.utils.parsedate_to_datetime(line[6:]).strftime("%Y%m%dT%H%M%SZ")
    raise LabError("apt fetched no InRelease file: check debian.mirror and debian.suite in the lock file")


def fetch_packages(store: Store, debian: Debian) -> Artefact:
    """Fetch every package of a lock file."""
    name = f"{debian.name}-packages"
    lock = f"outlive mirror lock{'' if debian.name == 'debian' else f' --also {debian.name}'}"
    lock = lock if debian.architecture == AMD64 else f"{architecture.SETTING}={debian.architecture.name} {lock}"

    def build(target: Path) -> None:
        # What is there already is kept in a folder of its own, so that a cut download goes on.
        kept = store.cache / "downloads" / debian.name
        kept.mkdir(parents=True, exist_ok=True)
        # A changed lock file keeps most of its packages: take those from the last build.
        for old in (store.path_of(name) / "pool").rglob("*.deb"):
            if not (kept / old.name).exists():
                os.link(old, kept / old.name)
        fetch_all(
            [
                Download(
                    (
                        f"{debian.mirror}/{package.path}",
                        f"{debian.snapshot}/{debian.timestamp}/{package.path}",
                    ),
                    kept / package.filename,
                    package.sha256,
                    cure=f"the archive has newer packages by now: run `{lock}` to take those",
                )
                for package in debian.packages
            ]
        )
        for package in debian.packages:
            place = target / package.path
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(kept / package.filename, place)
        # The store holds them now; a second name would keep a damaged file alive.
        shutil.rmtree(kept)

    if not debian.packages:
        raise LabError(f"the lock file lists no Debian packages: run `{lock}`")
    return store.make(name, [[p.path, p.sha256] for p in debian.packages], build)


def make_repository(store: Store, debian: Debian, packages: Artefact, signer: Signer) -> Artefact:
    """Make a signed apt repository of the packages, laid out as Debian's own."""

    def build(target: Path) -> None:
        shutil.copytree(packages.path / "pool", target / "pool", copy_function=os.link)
        release = {
            "Origin": "Debian",
            "Label": "Debian",
            "Suite": "stable",
            "Codename": debian.suite,
            "Components": "main",
            "Architectures": debian.architecture.name,
        }
        apt_repository.index(target, Path("pool"), Path("dists") / debian.suite, release, signer)

    return store.make(f"{debian.name}-repository", [packages.key, signer.fingerprint, debian.suite, 1], build)


def make_root(store: Store, debian: Debian, epoch: int, name: str, repository: Artefact, signer: Signer) -> Artefact:
    """Make root.tar, a root file system with the packages of the root `name`, by mmdebstrap.

    Args:
        store: Where it is kept.
        debian: The packages asked for.
        epoch: The date that every file gets, in seconds since 1970.
        name: One of ROOTS.
        repository: Where the packages are.
        signer: By whom that is signed.
    """
    variant, _ = ROOTS[name]
    names = names_of(debian, name)
    # A public box has no settings of this project's.
    overlays = [] if name in BOXES else [FILES / "root"]

    def build(target: Path) -> None:
        command = ["mmdebstrap", f"--variant={variant}", f"--architectures={debian.architecture.name}", f"--include={','.join(names)}"]
        command += [f"--dpkgopt={option}" for option in _DPKG_OPTIONS]
        # apt's own user can't read a cache below /root.
        command += ['--aptopt=APT::Sandbox::User "root"']
        # Nothing that names this host's folders is left in the result, and no key: each machine makes its own.
        left_over = ("etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/sources.list", "etc/ssh/ssh_host_*")
        command += [f'--customize-hook=rm -f "$1"/{path}' for path in left_over]
        # What has to be there before the packages are configured: initramfs-tools' settings, for one.
        command += [f'--essential-hook=cp -a {shlex.quote(str(overlay))}/. "$1"' for overlay in overlays]
        source = f"deb [signed-by={signer.keyring}] copy:{repository.path} {debian.suite} main"
        run(
            as_root([*command, debian.suite, str(target / "root.tar"), source]),
            store.log(f"root-{name}"),
            env={"SOURCE_DATE_EPOCH": str(epoch)},
        )

    inputs = [repository.key, _SOURCE, names, digest_tree(*overlays), epoch]
    return store.make(f"root-{name}", inputs, build)
