"""What `make setup` leaves on the user's machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from outlive.host import packages


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
    monkeypatch.setattr(packages, "output", lambda argv: ran.append(argv))
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/apt-get")
    packages.install_packages(["nginx", "docker-registry"], services=services)
    assert ran == ended
    ran.clear()
    packages.install_packages(["skopeo"], services=services)
    assert ran == [], "what was there before is the user's"
