"""The manifests of the roles are valid objects of the Kubernetes version that the lab runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from .conftest import ROOT, Playbook

pytestmark = pytest.mark.unit


def render(playbook: Playbook, tmp_path: Path, role: str) -> list[dict[str, Any]]:
    """Return the objects in all manifests of `role`, rendered by Ansible with the lab's variables."""
    copy = tmp_path / "roles" / role
    shutil.copytree(ROOT / "roles" / role, copy, dirs_exist_ok=True)
    templates = sorted((copy / "templates").glob("*.yml.j2"))
    assert templates
    # The copy of the role does nothing but write its templates.
    tasks = [
        {
            "name": f"Render {template.name}",
            "ansible.builtin.template": {"src": template.name, "dest": str(tmp_path / template.stem), "mode": "0600"},
        }
        for template in templates
    ]
    (copy / "tasks" / "main.yml").write_text(yaml.safe_dump(tasks))
    path = tmp_path / "playbook.yml"
    path.write_text(yaml.safe_dump([{"name": "Render the manifests", "hosts": "localhost", "connection": "local", "roles": [role]}]))
    result = playbook(path, "-e", f"storage_tutorial_mysql_password_file={tmp_path}/secrets/password")
    assert result.returncode == 0, result.stdout + result.stderr
    return [each for template in templates for each in yaml.safe_load_all((tmp_path / template.stem).read_text())]


def kubernetes_version() -> str:
    """Return major and minor version of the lab's Kubernetes."""
    variables = yaml.safe_load((ROOT / "inventories" / "lab" / "group_vars" / "all" / "kubernetes_packages.yml").read_text())
    return ".".join(str(variables["kubernetes_packages_version"]).split(".")[:2])


@pytest.mark.parametrize("role", ["pod_network", "storage_tutorial"])
def test_valid(playbook: Playbook, tmp_path: Path, role: str) -> None:
    """Each object has only fields that the API knows, with values of their types."""
    for each in render(playbook, tmp_path, role):
        kubernetes_validate.validate(each, kubernetes_version(), strict=True)


def test_mysql_keeps_the_tutorials_names(playbook: Playbook, tmp_path: Path) -> None:
    """Whoever follows the text finds the objects under the names that it uses; only the password is elsewhere."""
    objects = {(each["kind"], each["metadata"]["name"]): each for each in render(playbook, tmp_path, "storage_tutorial")}
    volume = objects["PersistentVolume", "mysql-pv"]["spec"]
    assert volume["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["nfs"]["path"] == "/nfsdata/mysql-pv"
    assert objects["PersistentVolumeClaim", "mysql-pvc"]["spec"]["storageClassName"] == volume["storageClassName"] == "nfs"
    assert objects["Service", "mysql"]["spec"]["ports"] == [{"port": 3306}]
    deployment = objects["Deployment", "mysql"]
    assert deployment["apiVersion"] == "apps/v1"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "mysql:5.6"
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "mysql-root", "key": "password"}
    # A server that waits for the lock of a dead node must be let wait.
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 180
    assert "livenessProbe" not in container


def test_password_is_made_once_and_private(playbook: Playbook, tmp_path: Path) -> None:
    """The password is generated into a file that only its owner reads, and stays what it is."""
    render(playbook, tmp_path, "storage_tutorial")
    secret = tmp_path / "secrets" / "password"
    first = secret.read_text()
    assert secret.stat().st_mode & 0o777 == 0o600
    render(playbook, tmp_path, "storage_tutorial")
    assert secret.read_text() == first
    assert len(first.strip()) == 24
