"""A Debian that has next to nothing, in namespaces at the host's speed: what a user's new machine is, without a machine.

mmdebstrap makes its root file system once; it is kept in the cache, with what apt has downloaded in there. Each use unpacks it anew. Where
packages come from is the host's to say: apt's settings, pip's and Go's and the certificates that the host trusts are taken along.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from outlive.base.locks import exclusive
from outlive.base.paths import ROOT, cache
from outlive.base.process import as_root, environment, logged, output, remove, started
from outlive.host.rehearsals import ARCHIVE, OLDEST, SUITES, UNSTABLE

PACKAGES = ("ca-certificates", "git", "make", "passwd", "sudo")
"""What a user needs to get a checkout, and to become root; passwd has become a package that isn't there by itself. Beside them only what every Debian has."""
SCRIPT = Path(__file__).with_suffix(".sh")
USER = "learner"
"""An ordinary user who may become root by sudo without a password."""
CARRIED = re.compile(r"(PIP_\w+|GO(PROXY|SUMDB|NOSUMDB|NOPROXY|PRIVATE|INSECURE)|(https?|no|all)_proxy|SSL_CERT_\w+)", re.IGNORECASE)
"""Variables by which a host says where packages come from."""
CHEAPER = {"PIP_NO_COMPILE": "0"}
"""Python compiles what it imports; to have pip compile everything takes half a minute of the processor for each user. To pip, 0 turns an option
that begins with `no-` on."""
SLOW = 300.0
"""Seconds that may pass until some hundred megabytes are on a busy disk."""
PACKED = 1800.0
"""The same for a whole machine."""
HOMES = {"root": "/root", USER: f"/home/{USER}"}
SETTINGS = {
    "/etc/resolv.conf": ["/etc/resolv.conf"],
    "/etc/ssl/certs/ca-certificates.crt": ["/etc/ssl/certs/ca-certificates.crt"],
    "/etc/pip.conf": ["/etc/pip.conf"],
    "~/.config/pip/pip.conf": ["/etc/pip.conf"],
    "~/.config/go/env": [f"{home}/.config/go/env" for home in HOMES.values()],
}
"""Files by which it does, each with its places in the root file system; those of this user come after the system's."""


@dataclass(frozen=True)
class Machine:
    """An unpacked root file system, and the folder that keeps what apt downloads."""

    root: Path
    kept: Path

    @property
    def upper(self) -> Path:
        """Return the folder with what was changed since it was unpacked."""
        return self.root.with_suffix(".upper")

    def put_checkout(self, folder: str, user: str, changed: Path | None = None) -> None:
        """Copy this checkout, with what isn't committed yet, to a folder in a user's home; what is in the folder `changed` goes over it."""
        target = f"{self.root}{HOMES[user]}/{folder}"
        output(as_root(["mkdir", "-p", target]))
        listed = output(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        names = "\0".join(name for name in listed.split("\0") if (ROOT / name).is_file())
        copy = 'tar --create --directory "$1" --null --files-from=- | tar --extract --no-same-owner --directory "$2"'
        output(as_root(["bash", "-o", "pipefail", "-c", copy, "bash", str(ROOT), target]), SLOW, given=names)
        if changed is not None:
            output(as_root(["cp", "--recursive", "--dereference", f"{changed}/.", target]))
        output(as_root(["chroot", str(self.root), "chown", "-R", f"{user}:", HOMES[user]]), SLOW)

    def run(
        self,
        script: Path,
        folders: Mapping[str, str],
        log: Path,
        timeout: float,
        *,
        variables: Mapping[str, str] = MappingProxyType({}),
        network: str | None = None,
    ) -> None:
        """Run a bash script in there by one user after the other, who log in for it; the log has a line ``=== user`` before what each printed.

        What a run leaves on the disk is there in the next one; its processes aren't.

        Args:
            script: The script.
            folders: The users, each with the folder in his home that the script gets.
            log: Where all output goes.
            timeout: Seconds that all may take.
            variables: Variables that it gets.
            network: The name of a network namespace to do it in. None: this host's network, with the variables that say where packages come from.

        Raises:
            subprocess.TimeoutExpired: it takes longer; all that it started is ended.
        """
        given = dict(variables)
        if network is None:
            given |= {name: value for name, value in {**os.environ, **CHEAPER}.items() if CARRIED.fullmatch(name)}
        argv = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private", "bash", str(SCRIPT)]
        argv += [str(self.root), ",".join(sorted(given)), str(self.kept), str(script), "own" if network else "host"]
        argv += [word for user, folder in folders.items() for word in (user, f"{HOMES[user]}/{folder}")]
        enter = ["nsenter", f"--net=/run/netns/{network}"] if network else []
        with log.open("wb") as file:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file, "cwd": "/"}
            options["env"] = environment({**os.environ, **given})
            with started(as_root([*enter, *argv]), leads=True, **options) as process:
                assert process.wait(timeout=timeout) == 0, log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def pack(self, disk: Path, size: int, boot: Mapping[str, Path]) -> None:
        """Make a disk of it, ext4 without a partition table, of `size` GiB; `boot` says which of its files to copy where, by their globs below /."""
        for file in (disk, *boot.values()):
            file.touch(mode=0o600)
        os.truncate(disk, size * 2**30)
        # Both are lower layers: nothing is written. Where no overlay could be mounted, the root file system itself was changed.
        pack = (
            'mount -t overlay -o "ro,lowerdir=$2:$1" overlay "$1" || test -z "$(ls -A "$2")" || exit 1; mkfs.ext4 -q -F -d "$1" "$3"; '
            'root=$1; shift 3; while [ "$#" -gt 0 ]; do cat "$root"$1 >"$2"; shift 2; done'
        )
        copies = [word for glob, file in boot.items() for word in (glob, str(file))]
        inside = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", pack, "sh", str(self.root), str(self.upper), str(disk)]
        output(as_root([*inside, *copies]), PACKED)


def parts(text: str) -> dict[str, list[str]]:
    """Return the lines that each part of a script printed; a part begins with a line ``--- name``, a user's with ``=== user``."""
    found = [part.splitlines() for part in re.split(r"(?m)^--- ", re.sub(r"(?m)^=== \w+\n", "", text))[1:]]
    return {name: lines for name, *lines in found}


@contextmanager
def machine(log: Path, release: str = OLDEST) -> Iterator[Machine]:
    """Unpack the root file system of Debian's `release`, and remove it at the end; `log` is where what makes it says what it does."""
    folder = cache() / "clean-debian"
    # The host's settings may hold passwords of where packages come from.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive(folder / "lock"):
        made = Machine(folder / "root", folder / "archives")
        parts = [made.root, made.upper, made.root.with_suffix(".work")]
        _remove(parts)  # what a killed run left
        try:
            for each in (*parts, made.kept):
                each.mkdir(parents=True, exist_ok=True)
            unpack = ["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--directory", str(made.root), "--file"]
            output(as_root([*unpack, str(_archive(folder, log, release))]), SLOW)
            _furnish(made.root)
            yield made
        finally:
            _remove(parts)


def _remove(folders: Iterable[Path]) -> None:
    for each in folders:
        remove(each)


def _archive(folder: Path, log: Path, release: str) -> Path:
    """Return the packed root file system, made where it isn't there."""
    suite = SUITES[release]
    if release == UNSTABLE:
        # It has neither updates nor security. What is free itself and needs what isn't, as VirtualBox' firmware a compiler, is in contrib.
        sources = [f"deb {ARCHIVE} {suite} main contrib"]
    else:
        sources = [f"deb {ARCHIVE} {suite} main", f"deb {ARCHIVE} {suite}-updates main", f"deb {ARCHIVE}-security {suite}-security main"]
    # apt's own user can't read a cache below /root.
    lines = [*_apt_settings(), 'APT::Sandbox::User "root";', ""]
    # A file, as command lines are shown and logged, and a proxy's address may hold a password.
    settings = folder / "apt.conf"
    settings.touch(mode=0o600)
    settings.write_text("\n".join(lines), encoding="utf-8")
    command = ["mmdebstrap", "--variant=apt", f"--include={','.join(PACKAGES)}", f"--aptopt={settings}"]
    command += [f'--customize-hook=chroot "$1" useradd --create-home --shell /bin/bash {USER}']
    command += [f'--customize-hook=echo "{USER} ALL=(ALL:ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/{USER}"']
    # There is no init that could start a service.
    command += ['--customize-hook=printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d" && chmod +x "$1/usr/sbin/policy-rc.d"']
    key = hashlib.sha256(repr((command, lines, sources)).encode()).hexdigest()[:12]
    archive = folder / f"{suite}-{key}.tar"
    if not archive.exists():
        for old in folder.glob(f"{suite}-*.tar"):
            old.unlink()
        fresh = archive.with_name(".new.tar")
        logged("clean Debian", as_root([*command, suite, str(fresh), *sources]), log)
        fresh.rename(archive)
    return archive


def _apt_settings() -> list[str]:
    """Return the host's settings on how apt fetches, proxies above all, as lines of apt's configuration."""
    lines = output(["apt-config", "dump", "Acquire"]).splitlines()
    return [line for line in lines if re.match(r"Acquire::(https?|Check-\S+|Retries|ForceIPv\d)\b", line) and not line.endswith(' "";')]


def _furnish(root: Path) -> None:
    """Give the root file system the host's settings on where packages come from."""
    for source, places in SETTINGS.items():
        file = Path(source).expanduser()
        for place in places if file.exists() else ():
            output(as_root(["install", "-D", "-m", "0644", str(file), f"{root}{place}"]))
    output(as_root(["tee", str(root / "etc/hosts")]), given="127.0.0.1 localhost fresh\n")
