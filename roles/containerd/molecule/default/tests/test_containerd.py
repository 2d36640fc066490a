"""A container runtime as the kubelet wants it, which pulls from where it was told."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import testinfra

CRI = "io.containerd.grpc.v1.cri"
REGISTRIES = "/etc/containerd/certs.d"


def test_it_runs_and_starts_with_the_machine(host: testinfra.host.Host) -> None:
    service = host.service("containerd")
    assert service.is_enabled
    assert service.is_running


def test_it_took_the_configuration(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    cri = tomllib.loads(host.check_output("containerd config dump"))["plugins"][CRI]
    options = cri["containerd"]["runtimes"]["runc"]["options"]
    assert cri["sandbox_image"] == told("containerd_sandbox_image")
    assert cri["registry"]["config_path"] == REGISTRIES
    assert options["SystemdCgroup"] is True
    assert options["BinaryName"] in ("", f"/usr/bin/{told('containerd_runtime')}")


def test_open_files_are_limited(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    shown = host.check_output("systemctl show --property=LimitNOFILESoft --property=LimitNOFILE --value containerd").split()
    assert sorted(shown, key=int) == told("containerd_open_files").split(":")


def test_it_pulls_the_sandbox_image(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    _pull(host, told("containerd_sandbox_image"))


def test_it_runs_a_container(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    image = f"docker.io/library/{told('storage_tutorial_busybox_image')}"
    _pull(host, image)
    runtime = host.check_output("command -v %s", told("containerd_runtime"))
    command = "ctr --namespace scenario run --rm --runc-binary %s %s hello echo %s"
    assert host.check_output(command, runtime, image, "from a container") == "from a container"


def _pull(host: testinfra.host.Host, image: str) -> None:
    """Pull an image anew, from the registries that the role wrote down."""
    host.run("ctr --namespace scenario images remove --sync %s", image)
    host.check_output("ctr --namespace scenario images pull --hosts-dir %s %s", REGISTRIES, image)
    assert host.check_output("ctr --namespace scenario images list --quiet name==%s", image) == image
