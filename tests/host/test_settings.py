"""The variables under which the lab's programs run, beside those that tests/host/test_bad_input.py looks at: proxies and ssh's sockets."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import requests.utils

from outlive.base.paths import ROOT
from outlive.host import settings
from outlive.host.settings import Settings, decide

SYSTEM = {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "qemu", "OUTLIVE_LIBVIRT": "system"}
LAB = ("192.168.56.1", "192.168.56.10", "192.168.56.11", "192.168.56.12", "127.0.0.1")
"""This host's address in the lab's network, where its mirror answers, and the machines'."""


@pytest.fixture
def behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Use a proxy that reaches nothing of the lab's, and give the lab's variables."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "intranet.example, .local")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,10.1.2.3")
    return decide({**SYSTEM, "OUTLIVE_MIRROR": "10.77.0.1"}).environment()


@pytest.mark.parametrize("address", [*LAB, "10.77.0.1", "intranet.example", "10.1.2.3"])
def test_no_proxy_is_asked_for_the_lab_s_addresses(behind_a_proxy: dict[str, str], monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """By Python, with which Ansible reads the mirror's key, and by a program that knows networks too; what the user has said stays."""
    for name in settings.PROXY_EXCEPTIONS:
        monkeypatch.setenv(name, behind_a_proxy[name])
    assert urllib.request.proxy_bypass(address)
    assert requests.utils.should_bypass_proxies(f"http://{address}:8480/", no_proxy=None)


def test_proxy_is_asked_for_the_rest(behind_a_proxy: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.PROXY_EXCEPTIONS:
        monkeypatch.setenv(name, behind_a_proxy[name])
    assert not urllib.request.proxy_bypass("deb.debian.org")
    assert not urllib.request.proxy_bypass("192.168.57.10")
    assert behind_a_proxy["no_proxy"] == behind_a_proxy["NO_PROXY"]


@pytest.mark.parametrize("network", ["300.1.2.0/24", "10.1.2.3/32", "10.1.2.3/33"])
def test_inventory_that_is_wrong_is_not_the_proxy_s_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    lab = tmp_path / "inventories/lab"
    lab.mkdir(parents=True)
    (lab / "hosts.yml").write_text(f"lab_network: {network} # once 10.9.9.9\nansible_host: 300.1.2.3\n", encoding="utf-8")
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    listed = decide(SYSTEM).environment()["no_proxy"].split(",")
    assert "300.1.2.3" in listed
    assert "10.9.9.9" not in listed


def lab() -> Settings:
    """Return the settings of a lab."""
    return decide(SYSTEM)


def test_sockets_of_a_checkout_with_a_short_path_are_ansible_cfg_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STATE", Path("/srv/outlive/.lab"))
    assert "ANSIBLE_SSH_CONTROL_PATH_DIR" not in lab().environment()
    assert f"control_path_dir = {settings.control_folders()[0].relative_to('/srv/outlive')}" in (ROOT / "ansible.cfg").read_text()


def test_sockets_of_a_checkout_with_a_long_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STATE", Path(f"/srv/{'a long path ' * 9}/.lab"))
    folder = Path(lab().environment()["ANSIBLE_SSH_CONTROL_PATH_DIR"])
    assert folder == (ROOT / ".venv").resolve() / "ssh"


def test_what_ansible_and_ssh_add_to_the_folder() -> None:
    """Ansible's name of a socket, and what ssh appends while it makes one (muxserver_listen in its mux.c)."""
    from ansible.plugins.connection.ssh import Connection  # type: ignore[import-untyped]

    name = Path(Connection._create_control_path("192.168.56.10", 22, "vagrant")).name
    assert len(f"/{name}.0123456789abcdef") == settings.CONTROL_PATH
