"""What `make setup` leaves on the user's machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from outlive.base.architecture import ARM64
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.host import packages

SIMULATED = """\
Reading package lists...
Building dependency tree...
git is already the newest version (1:2.39.5-0+deb12u3).
Suggested packages:
  virtualbox
Recommended packages:
  nfs-kernel-server libguestfs-tools
The following packages will be REMOVED:
  virtualbox virtualbox-dkms virtualbox-qt
The following NEW packages will be installed:
  vagrant vagrant-libvirt
0 upgraded, 2 newly installed, 3 to remove and 127 not upgraded.
Remv virtualbox-qt [7.2.22-dfsg-1]
Remv virtualbox-dkms [7.2.22-dfsg-1]
Remv virtualbox [7.2.22-dfsg-1]
Inst vagrant (2.3.4+dfsg-1+deb12u1 Debian:12.15/oldstable [all])
Inst vagrant-libvirt (0.11.2-1 Debian:12.15/oldstable [all])
Conf vagrant (2.3.4+dfsg-1+deb12u1 Debian:12.15/oldstable [all])
Conf vagrant-libvirt (0.11.2-1 Debian:12.15/oldstable [all])
"""
"""What apt 2.6.1 of Debian 12 printed with a status file in which sid's VirtualBox is installed and Vagrant isn't."""

STATUS = """\
Package: virtualbox
Status: install ok installed
Maintainer: nobody <nobody@example.org>
Architecture: all
Version: 7.2.22-dfsg-1
Description: stands for sid's

Package: virtualbox-qt
Status: install ok installed
Maintainer: nobody <nobody@example.org>
Architecture: all
Version: 7.2.22-dfsg-1
Depends: virtualbox (= 7.2.22-dfsg-1)
Description: stands for sid's

"""
AVAILABLE = """\
Package: vagrant
Architecture: all
Version: 2.3.4+dfsg-1+deb12u1
Breaks: virtualbox (>= 7.1)
Filename: ./vagrant.deb
Size: 1
SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
Description: its relations as Debian 12 has them

Package: curl
Architecture: all
Version: 7.88.1-10
Filename: ./curl.deb
Size: 1
SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
Description: is in nobody's way

"""
needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed")


@pytest.fixture
def own_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point this host's apt to a system of the test's own; return its status file."""
    for folder in ("state/lists/partial", "cache/archives/partial", "etc", "repository"):
        (tmp_path / folder).mkdir(parents=True)
    status = tmp_path / "status"
    status.write_text(STATUS, encoding="ascii")
    (tmp_path / "repository/Packages").write_text(AVAILABLE, encoding="ascii")
    (tmp_path / "etc/sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/repository ./\n", encoding="ascii")
    settings = {
        "Dir::State": tmp_path / "state",
        "Dir::State::status": status,
        "Dir::Cache": tmp_path / "cache",
        "Dir::Etc": tmp_path / "etc",
        "Dir::Etc::sourcelist": tmp_path / "etc/sources.list",
        # apt would give its own user the rights to a folder that this one has in vain.
        "APT::Sandbox::User": "root",
        "Dir::Bin::dpkg": "/bin/false",
    }
    configuration = tmp_path / "apt.conf"
    configuration.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()), encoding="ascii")
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    monkeypatch.setattr(packages, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(packages, "as_root", list)
    return status


def test_what_apt_would_remove_is_read() -> None:
    assert packages.removals(SIMULATED) == ["virtualbox", "virtualbox-dkms", "virtualbox-qt"]
    assert packages.removals("Inst vagrant (2.3.4 Debian:12 [all])\nConf vagrant (2.3.4 Debian:12 [all])\n") == []
    assert packages.removals("Purg old [1]\n") == ["old"]


def test_vagrant_of_its_maker_takes_no_plugin_of_the_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to what lies in /opt/vagrant, or a script that calls it."""
    program = tmp_path / "vagrant"
    monkeypatch.setenv("PATH", str(tmp_path))
    files = {"/nowhere/vagrant-libvirt-*.gemspec": "vagrant-libvirt"}
    assert not packages.makers_vagrant()
    program.write_text("#!/usr/bin/ruby\n", encoding="ascii")
    program.chmod(0o755)
    assert not packages.makers_vagrant()
    assert "vagrant-libvirt" in packages.missing_packages({}, files)
    program.write_text('#!/bin/bash\n/opt/vagrant/bin/vagrant "$@"\n', encoding="ascii")
    assert packages.makers_vagrant()
    assert "vagrant-libvirt" not in packages.missing_packages({}, files)
    there = tmp_path / "opt/vagrant/bin/vagrant"
    there.parent.mkdir(parents=True)
    program.rename(there)
    there.write_bytes(b"\x7fELF")
    program.symlink_to(there)
    assert packages.makers_vagrant()


def test_user_who_cannot_become_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\n", encoding="ascii")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError) as refused:
        packages.install_packages(["curl", "vagrant"])
    assert str(refused.value) == (
        "missing on this system: curl, vagrant, and this user isn't root and has no sudo: run `apt-get install curl vagrant` as root, or install sudo"
    )


@needs_apt
def test_no_package_is_removed(own_apt: Path) -> None:
    """By this host's own apt: the one that wants it is named, not the others."""
    with pytest.raises(LabError) as refused:
        packages.install_packages(["curl", "vagrant"])
    assert str(refused.value) == (
        "apt would remove virtualbox, virtualbox-qt to install vagrant, and the lab removes no package, so nothing was installed: "
        "install Vagrant's own package (https://developer.hashicorp.com/vagrant/install), which removes none, "
        "or remove what you can do without (`sudo apt-get remove virtualbox virtualbox-qt`), then run the command again"
    )
    assert own_apt.read_text(encoding="ascii") == STATUS
    assert not (own_apt.parent / "logs/apt-install.log").exists()
    assert packages.removed_by(["curl"]) == []


@needs_apt
def test_apt_itself_is_told_to_remove_none(own_apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever changes between the look and the installation."""
    monkeypatch.setattr(packages, "removed_by", lambda _packages: [])
    with pytest.raises(LabError, match="Packages need to be removed but remove is disabled"):
        packages.install_packages(["vagrant"])
    assert own_apt.read_text(encoding="ascii") == STATUS


def test_other_way_to_a_program() -> None:
    assert packages.remover(["qemu-utils"], ["own-qemu"]).endswith(
        ": bring the program qemu-img onto PATH another way, or remove what you can do without (`sudo apt-get remove own-qemu`), then run the command again"
    )
    assert ": bring the program qemu-system-x86_64 onto PATH another way, or " in packages.remover(["qemu-system-x86"], ["own-qemu"])
    assert packages.remover(["dnsmasq-base"], ["other"]).endswith(
        "nothing was installed: remove what you can do without (`sudo apt-get remove other`), then run the command again"
    )


@pytest.mark.parametrize(
    ("services", "systemd", "ended"),
    [
        (False, True, [["systemctl", "disable", "--now", "docker-registry.service", "nginx.service"]]),
        (False, False, []),
        (True, True, []),
    ],
)
def test_services_that_came_with_the_mirror_s_packages_do_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, services: bool, systemd: bool, ended: list[list[str]]
) -> None:
    units = tmp_path / "units"
    units.mkdir()
    (units / "apache2.service").touch()
    if systemd:
        (tmp_path / "systemd").mkdir()
    ran: list[list[str]] = []

    def logged(_what: str, argv: list[str], *_: object, **__: object) -> float:
        if "install" in argv:
            for name in ("nginx.service", "docker-registry.service", "template@.service", "nginx.timer"):
                (units / name).touch()
        return 1.0

    monkeypatch.setattr(packages, "UNITS", (units,))
    monkeypatch.setattr(packages, "SYSTEMD", tmp_path / "systemd")
    monkeypatch.setattr(packages, "as_root", list)
    monkeypatch.setattr(packages, "logged", logged)
    monkeypatch.setattr(packages, "removed_by", lambda _packages: [])
    monkeypatch.setattr(packages, "output", lambda argv: ran.append(argv))
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/apt-get")
    packages.install_packages(["nginx", "docker-registry"], services=services)
    assert ran == ended
    ran.clear()
    packages.install_packages(["skopeo"], services=services)
    assert ran == [], "what was there before is the user's"


def test_firmware_of_the_machines_is_what_is_installed() -> None:
    settings = yaml.safe_load((ROOT / "inventories/lab-arm64/group_vars/all/vagrant.yml").read_text(encoding="utf-8"))
    assert list(packages.FIRMWARE[ARM64]) == [settings["lab_libvirt_firmware"]]
    assert settings["lab_libvirt_machine_architecture"] == ARM64.machine
