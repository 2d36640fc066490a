"""kube-bench on the lab's machines: handed over, run, and taken away again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from outlive.base import architecture
from outlive.base.errors import LabError
from outlive.base.paths import cache
from outlive.base.process import run_bytes
from outlive.lab.inventory import Inventory
from outlive.lab.ssh import Remote, ssh_command

FOLDER = "/var/tmp/outlive-cis"
"""Where kube-bench lies on a machine while it runs: on the disk, since /tmp is memory there, of which a worker has little."""
HANDED_OVER_WITHIN = 300.0
SCANNED_WITHIN = 2400.0
"""Seconds. The checks of the cluster call kubectl some hundred times, a second or two each on an emulated machine."""

NO_BENCHMARK = "unable to find a matching Benchmark Version"
"""What kube-bench says where it knows neither the version nor one before it; of a newer one than it knows it takes its newest benchmark."""

RUN = """
# Its checks are written for a /bin/sh that knows [[, as that of kube-bench's own image does: bash takes dash's place, for it alone.
mount --bind "$(readlink --canonicalize /bin/bash)" "$(readlink --canonicalize /bin/sh)" || exit
cd "$1" || exit
PATH="$1:$PATH" HOME=/root KUBECONFIG=/etc/kubernetes/admin.conf exec ./kube-bench run --targets "$2" --version "$3" --json
"""


def archive() -> Path:
    """Return the archive with kube-bench.

    Raises:
        LabError: it isn't built.
    """
    path = cache() / architecture.chosen().store / "scanner/kube-bench.tar.gz"
    if not path.exists():
        raise LabError(f"kube-bench isn't built ({path} isn't there): run `outlive mirror scanner`, which takes Go and two minutes")
    return path


def minor(version: str) -> str:
    """Return the minor version of Kubernetes, such as 1.2 for v1.2.3, by which kube-bench chooses its benchmark."""
    return ".".join(version.removeprefix("v").split(".")[:2])


def scan(lab: Inventory, name: str, targets: Sequence[str], version: str) -> str:
    """Run kube-bench as root on a machine and return its JSON; nothing of it stays there.

    Args:
        lab: The inventory.
        name: The machine.
        targets: Parts of the benchmark, by kube-bench's names.
        version: The cluster's Kubernetes, such as 1.37.

    Raises:
        LabError: kube-bench isn't built, doesn't arrive whole or doesn't run; the sentence has its own words.
    """
    remote = Remote(lab, within=SCANNED_WITHIN)
    try:
        with_it = archive().read_bytes()
        remote.check(name, "rm -rf %s && install --directory --mode=0700 %s", FOLDER, FOLDER)
        try:
            # What comes cut short is no whole archive: tar says so by its status.
            unpack = [*ssh_command(lab.host(name)), f"sudo tar --extract --gzip --no-same-owner --directory {FOLDER}"]
            sent = run_bytes(unpack, timeout=HANDED_OVER_WITHIN, given=with_it)
            if sent.returncode != 0:
                raise LabError(
                    f"kube-bench couldn't be handed over to {name} ({_last(sent.stderr.decode(errors='replace'))}): run it again"
                )
            ran = remote.run(name, "unshare --mount sh -c %s scan %s %s %s", RUN, FOLDER, ",".join(targets), version)
        finally:
            remote.check(name, "rm -rf %s", FOLDER)
    finally:
        remote.close()
    if NO_BENCHMARK in ran.stderr:
        raise LabError(
            f"kube-bench knows no benchmark for Kubernetes {version}, which {name} runs: give the lab a newer one (kubernetes_packages_version)"
        )
    if ran.status != 0:
        raise LabError(f"kube-bench on {name} ended with status {ran.status} ({_last(ran.stderr) or _last(ran.stdout)}): run it again")
    return ran.stdout


def _last(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
