"""The online path: the upstream's inventory provisions a bare machine, as it would for a user with internet.

The names pkgs.k8s.io, registry.k8s.io, docker.io, ghcr.io and Debian's lead to the mirror, in the lab's own network and nowhere else. The
machine is told to trust a certificate authority and a signing key of the rehearsal's, nothing more: no mirror is in any of its settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

from outlive.base.paths import STATE
from outlive.host import private
from outlive.host.reach import Reached, build_mirror, mirror_argv
from outlive.lab.playbook import Played
from outlive.mirror.upstream import HTTP_PORT, HTTPS_PORT, NAMES
from verify.rehearsal import own_machines

pytestmark = pytest.mark.rehearsal

FOLDER = STATE / "stand-in"
NODE = "k8s-master"


@dataclass(frozen=True)
class Way:
    """The machine at the end of the way: what was there before, and what the playbook did."""

    lab: Reached
    packages_before: str
    site: Played


@pytest.fixture(scope="module")
def way(empty: None) -> Iterator[Way]:
    """Make a bare machine where the upstream's names lead to the stand-in, and run site.yml."""
    box = own_machines.box()
    build_mirror(box)
    folders = (own_machines.COMMON, own_machines.one_node(STATE / "one-node"), own_machines.of_box(box))
    chosen = own_machines.settings(sources="upstream", folders=folders)
    lab = own_machines.raise_lab(chosen, mirror_argv("stand-in", "--address", "0.0.0.0", "--folder", str(FOLDER)))
    assert lab.init is not None
    private.serve_mirror(lab.init, (HTTP_PORT, HTTPS_PORT))
    own_machines.make_machines(lab)
    lead_names_here(lab)
    before = own_machines.on(lab, NODE, "dpkg-query --show --showformat '${Package} '")
    own_machines.play(lab, "rehearsal trust", "verify/rehearsal/prepare.yml", "-e", f"rehearsal_folder={FOLDER}")
    yield Way(lab, before, own_machines.play(lab, "rehearsal cluster", "playbooks/site.yml"))


def lead_names_here(lab: Reached) -> None:
    """Let the name server of the machines' first network answer the upstream's names with the address of this side of it."""
    network = "vagrant-libvirt"
    description = ElementTree.fromstring(lab.output(["virsh", "net-dumpxml", network]))
    address = description.find("ip")
    assert address is not None
    names = "".join(f"<hostname>{name}</hostname>" for name in NAMES)
    lab.output(["virsh", "net-update", network, "add", "dns-host", f"<host ip='{address.get('address')}'>{names}</host>", "--live"])


def archives(lab: Reached) -> set[str]:
    """Return the hosts that apt takes packages from, those of its lists of mirrors among them."""
    sources = own_machines.on(lab, NODE, "cat /etc/apt/sources.list.d/* $(find /etc/apt/mirrors -type f 2>/dev/null)")
    return set(re.findall(r"^(?:URIs: *)?https?://([^/\s]+)", sources, re.MULTILINE))


def requests() -> list[tuple[str, str, str, int]]:
    """Return the requests that the stand-in answered: host, method, path and status."""
    lines = (FOLDER / "requests.log").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"(\S*) ([A-Z]+) (\S+) (\d{3})", line) for line in lines]
    return [(each[1], each[2], each[3], int(each[4])) for each in found if each]


def test_machine_was_bare(way: Way) -> None:
    assert not {"containerd", "kubelet", "kubeadm", "nfs-kernel-server"} & set(way.packages_before.split())


def test_node_is_ready(way: Way) -> None:
    assert own_machines.ready_nodes(way.lab) == [NODE]


def test_pod_of_docker_hub_runs(way: Way) -> None:
    own_machines.run_pod(way.lab, "busybox:1.37")


def test_volumes_are_exported(way: Way) -> None:
    assert "/nfsdata" in own_machines.on(way.lab, NODE, "exportfs -s")


def test_no_mirror_is_configured(way: Way) -> None:
    assert own_machines.on(way.lab, NODE, "find /etc/containerd -path '/etc/containerd/certs.d/*' -type f") == ""
    assert "mirrors" not in own_machines.on(way.lab, NODE, "cat /etc/containerd/config.toml")
    assert archives(way.lab) in ({"pkgs.k8s.io", "deb.debian.org"}, {"pkgs.k8s.io", "deb.debian.org", "security.debian.org"})


def test_every_name_was_asked_and_answered(way: Way) -> None:
    answered = {host for host, _, _, status in requests() if status == 200}
    # Debian's cloud images ask deb.debian.org for the security archive too.
    assert answered == set(NAMES) - ({"security.debian.org"} - archives(way.lab))


def test_nothing_was_asked_for_as_of_a_mirror(way: Way) -> None:
    """By `ns` containerd tells a mirror for whom it stands; it never tells the upstream's own servers."""
    assert [path for _, _, path, _ in requests() if "ns=" in path] == []


def test_registries_asked_for_a_token_first(way: Way) -> None:
    refused = {host for host, _, _, status in requests() if status == 401}
    assert refused == {"registry-1.docker.io", "ghcr.io"}


def test_second_run_changes_nothing(way: Way) -> None:
    again = own_machines.play(way.lab, "rehearsal cluster again", "playbooks/site.yml")
    assert again.recap
    assert again.changed == ()
