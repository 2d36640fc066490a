"""What the role control_plane tells kubeadm and the API server: the security baseline is in it, whatever an inventory adds."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Playbook

ROLE = ROOT / "roles" / "control_plane"
EMULATED = ("--inventory", str(ROOT / "inventories" / "emulated"))
BASELINE = {
    "profiling": "false",
    "admission-control-config-file": "/etc/kubernetes/api-server/admission.yaml",
    "audit-policy-file": "/etc/kubernetes/api-server/audit-policy.yaml",
    "audit-log-path": "/var/log/kubernetes/audit/audit.log",
    "encryption-provider-config": "/etc/kubernetes/api-server/encryption.yaml",
    "enable-admission-plugins": "NodeRestriction,DenyServiceExternalIPs",
    "kubelet-certificate-authority": "/etc/kubernetes/pki/ca.crt",
}


def rendered(playbook: Playbook, folder: Path, *arguments: str) -> dict[str, str]:
    """Return the text of each template of the role by its name, rendered by Ansible with the lab's variables."""
    copy = Path(shutil.copytree(ROLE, folder / "roles/control_plane", ignore=shutil.ignore_patterns("argument_specs.yml")))
    names = sorted(path.name for path in (ROLE / "templates").iterdir())
    entries = [
        {"path": f"{folder}/{name}", "content": f"{{{{ lookup('ansible.builtin.template', '{name}') }}}}", "mode": "0600"} for name in names
    ]
    (copy / "tasks/main.yml").write_text(yaml.safe_dump([{"name": "Write", "config_files": {"entries": entries}}]))
    play = folder / "playbook.yml"
    variables = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    plays = [{"name": "Write them", "hosts": "control_plane", "connection": "local", "vars": variables, "roles": ["control_plane"]}]
    play.write_text(yaml.safe_dump(plays))
    result = playbook(play, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: (folder / name).read_text() for name in names}


def flags(arguments: list[dict[str, str]]) -> dict[str, str]:
    """Return flags by name, each of which is there once."""
    found = {each["name"]: each["value"] for each in arguments}
    assert len(found) == len(arguments)
    return found


@pytest.mark.parametrize(
    ("overlay", "added", "tls"),
    [((), {}, "VersionTLS13"), (EMULATED, {"enable-priority-and-fairness": "false"}, "VersionTLS12")],
    ids=["lab", "emulated"],
)
def test_baseline_is_kept(playbook: Playbook, tmp_path: Path, overlay: tuple[str, ...], added: dict[str, str], tls: str) -> None:
    """Flags of an inventory's own come beside the baseline's, and take only the place of those that they name."""
    texts = rendered(playbook, tmp_path, *overlay)
    _, cluster, kubelet = yaml.safe_load_all(texts["kubeadm-config.yaml.j2"])
    server = flags(cluster["apiServer"]["extraArgs"])
    assert server.items() >= {**BASELINE, **added, "tls-min-version": tls}.items()
    for program in ("controllerManager", "scheduler"):
        assert flags(cluster[program]["extraArgs"]).items() >= {"profiling": "false", "tls-min-version": "VersionTLS13"}.items()
    assert flags(cluster["etcd"]["local"]["extraArgs"])["tls-min-version"] == "TLS1.3"
    assert kubelet.items() >= {"tlsMinVersion": "VersionTLS13", "serverTLSBootstrap": True, "enableProfilingHandler": False}.items()
    # What the flags name is mounted, and only the log's folder can be written to.
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in cluster["apiServer"]["extraVolumes"]}
    assert mounts == {"/etc/kubernetes/api-server": True, "/var/log/kubernetes/audit": False}


def test_secrets_are_encrypted_with_a_key_of_its_own(playbook: Playbook, tmp_path: Path) -> None:
    """The first provider writes, the last one reads what is older; each cluster has another key, of the length that secretbox takes."""
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        configuration = yaml.safe_load(rendered(playbook, tmp_path / name)["encryption.yaml.j2"])
        (rule,) = configuration["resources"]
        assert rule["resources"] == ["secrets"]
        first, last = rule["providers"]
        assert last == {"identity": {}}
        (key,) = first["secretbox"]["keys"]
        keys.append(base64.b64decode(key["secret"], validate=True))
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_key_stays_and_is_shown_nowhere() -> None:
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    (entry,) = variables["__control_plane_encryption_files"]
    assert (entry["mode"], entry["overwrite"]) == ("0600", False)
    tasks = yaml.safe_load((ROLE / "tasks/configure.yml").read_text())
    (writing,) = [each for each in tasks if "__control_plane_encryption_files" in each["config_files"]["entries"]]
    assert writing["no_log"] is True


def test_audit_log_has_no_contents(playbook: Playbook, tmp_path: Path) -> None:
    """No rule logs what was sent or answered, which may be a Secret; what nobody thought of is logged."""
    policy = yaml.safe_load(rendered(playbook, tmp_path)["audit-policy.yaml.j2"])
    assert {rule["level"] for rule in policy["rules"]} == {"None", "Metadata"}
    assert policy["rules"][-1] == {"level": "Metadata"}


def test_level_of_pods(playbook: Playbook, tmp_path: Path) -> None:
    """A namespace without a label is baseline, and nobody is warned: the tutorial's pages show what is printed."""
    (plugin,) = yaml.safe_load(rendered(playbook, tmp_path)["admission.yaml.j2"])["plugins"]
    found: dict[str, Any] = plugin["configuration"]
    assert found["defaults"] == {"enforce": "baseline", "audit": "restricted"}
    assert found["exemptions"] == {"namespaces": ["kube-system"]}
