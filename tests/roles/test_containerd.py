"""What the role containerd tells containerd about mirrors, and what an inventory adds, is what containerd 1.7 takes."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from . import role_tasks
from .conftest import Playbook

ONE = "http://192.0.2.1:8481/v2/docker.io"
TWO = "https://mirror.example"


@pytest.mark.parametrize(
    ("mirrors", "hosts"),
    [
        ([ONE], {ONE: {"capabilities": ["pull", "resolve"], "override_path": True}}),
        ([TWO, ONE], {TWO: {"capabilities": ["pull", "resolve"]}}),
    ],
)
def test_file_of_a_registry(playbook: Playbook, tmp_path: Path, mirrors: list[str], hosts: dict[str, Any]) -> None:
    """The last mirror takes the upstream's place, and there is always a host: a file without one is passed over, and the upstream asked."""
    (tmp_path / "docker.io").mkdir()
    write = role_tasks.task_of(role_tasks.read("containerd", "configure"), "Configure the registry mirrors")
    told = {"containerd_registry_mirrors": {"docker.io": mirrors}, "__containerd_registries_folder": str(tmp_path)}
    result = role_tasks.run(playbook, tmp_path, "containerd", [write], told)
    assert result.returncode == 0, result.stdout + result.stderr
    data = tomllib.loads((tmp_path / "docker.io/hosts.toml").read_text())
    assert data["server"] == mirrors[-1]
    assert data["override_path"] is True
    assert data["host"] == hosts


@pytest.mark.parametrize("mirrors", [{}, {"ghcr.io": [ONE]}])
def test_mirror_that_is_no_longer_wanted_goes(playbook: Playbook, tmp_path: Path, mirrors: dict[str, list[str]]) -> None:
    """What an administrator wrote stays, and so does what lies beside a file of the role's."""
    for name, text in (
        ("docker.io", "# Written by Ansible (role containerd).\n"),
        ("ghcr.io", "# Written by Ansible (role containerd).\n"),
        ("quay.io", "# mine\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hosts.toml").write_text(text + 'server = "http://192.0.2.1"\n')
    (tmp_path / "docker.io/ca.crt").touch()
    tasks = role_tasks.read("containerd", "configure")
    told = {"containerd_registry_mirrors": mirrors, "__containerd_registries_folder": str(tmp_path)}
    wanted = ("Configure the registry mirrors", "Find registries that have no mirror any more", "Remove their mirrors")
    result = role_tasks.run(playbook, tmp_path, "containerd", [role_tasks.task_of(tasks, name) for name in wanted], told)
    assert result.returncode == 0, result.stdout + result.stderr
    left = {str(path.relative_to(tmp_path)) for name in ("docker.io", "ghcr.io", "quay.io") for path in (tmp_path / name).iterdir()}
    assert left == {"docker.io/ca.crt", "quay.io/hosts.toml", *(f"{name}/hosts.toml" for name in mirrors)}


@pytest.mark.parametrize(("runtime", "options"), [("runc", {}), ("crun", {"BinaryName": "/usr/bin/crun"})])
def test_configuration(playbook: Playbook, tmp_path: Path, runtime: str, options: dict[str, str]) -> None:
    """The runtime is named only where it is another one than containerd's own."""
    write = role_tasks.task_of(role_tasks.read("containerd", "configure"), "Configure containerd")
    write["ansible.builtin.template"] |= {"dest": f"{tmp_path}/config.toml", "validate": "grep sandbox_image %s"}
    del write["notify"]
    variables = {"containerd_runtime": runtime, "containerd_sandbox_image": "registry.example/pause:1"}
    result = role_tasks.run(playbook, tmp_path, "containerd", [write], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    cri = tomllib.loads((tmp_path / "config.toml").read_text())["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "registry.example/pause:1"
    assert cri["image_pull_with_sync_fs"] is True
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True, **options}


@pytest.mark.parametrize(
    ("told", "environment"),
    [
        ({}, []),
        (
            {"containerd_proxy": "http://me:a%40b@192.0.2.3:3128", "containerd_no_proxy": ["192.0.2.0/24", ".svc"]},
            [
                'Environment="HTTP_PROXY=http://me:a%%40b@192.0.2.3:3128"',
                'Environment="HTTPS_PROXY=http://me:a%%40b@192.0.2.3:3128"',
                'Environment="NO_PROXY=192.0.2.0/24,.svc"',
            ],
        ),
    ],
)
def test_proxy(playbook: Playbook, tmp_path: Path, told: dict[str, Any], environment: list[str]) -> None:
    """By systemd, to which a per cent sign means something; a password is root's alone."""
    write = role_tasks.task_of(role_tasks.read("containerd", "configure"), "Configure the limit of open files and the proxy")
    write["ansible.builtin.template"]["dest"] = str(tmp_path / "unit.conf")
    del write["notify"]
    result = role_tasks.run(playbook, tmp_path, "containerd", [write], told)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "unit.conf").read_text().splitlines()[3:] == environment
    assert (tmp_path / "unit.conf").stat().st_mode & 0o777 == (0o600 if told else 0o644)


APT = """Reading package lists...
The following packages will be REMOVED:
  containerd.io docker-ce
  docker-ce-cli
The following NEW packages will be installed:
  containerd runc
E: Packages need to be removed but remove is disabled.
"""


@pytest.mark.parametrize(("printed", "named"), [(APT, "containerd.io docker-ce docker-ce-cli"), ("", "")])
def test_what_apt_would_remove(playbook: Playbook, tmp_path: Path, printed: str, named: str) -> None:
    """It is named, and nothing is removed."""
    tasks = role_tasks.read("containerd", "install")
    install, check = (role_tasks.task_of(tasks, name) for name in ("Install containerd", "Check that nothing is in the way"))
    assert install["ansible.builtin.apt"]["fail_on_autoremove"] is True
    result = role_tasks.run(playbook, tmp_path, "containerd", [check], {"__containerd_installed": {"stdout": printed}})
    assert (result.returncode != 0) == bool(named), result.stdout + result.stderr
    sentence = f"apt would remove {', '.join(named.split())}, which this role doesn't do: name another machine"
    assert (sentence in " ".join((result.stdout + result.stderr).split())) == bool(named)


CRI = "io.containerd.grpc.v1.cri"
BASE = f'''
version = 2
[plugins."{CRI}"]
  sandbox_image = "registry.example/pause:1"
[plugins."{CRI}".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."{CRI}".containerd.runtimes.runc.options]
  SystemdCgroup = true
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
'''
ACCOUNT = {"registry": "registry.example:5000", "username": "lab", "password": 's3cret "b" c'}


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Return the module of the filters."""
    return role_tasks.plugin("containerd", "filter_plugins/containerd_drop_in.py")


def test_drop_in_keeps_what_the_role_says_of_a_plugin(filters: ModuleType) -> None:
    """Containerd 1.7 lets an imported file take a plug-in's whole section: over one key it would forget sandbox image and cgroup driver."""
    extra = {"debug": {"level": "debug"}, "plugins": {CRI: {"max_concurrent_downloads": 6, "sandbox_image": "mine:1"}}}
    made = tomllib.loads(filters.drop_in(BASE, extra, []))
    cri = made["plugins"][CRI]
    assert (made["version"], made["debug"]) == (2, {"level": "debug"})
    assert (cri["max_concurrent_downloads"], cri["sandbox_image"]) == (6, "mine:1")
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True}
    assert cri["registry"] == {"config_path": "/etc/containerd/certs.d"}
    assert set(made["plugins"]) == {CRI}


def test_credentials_are_where_containerd_looks(filters: ModuleType) -> None:
    """By the host that is asked; Docker Hub's images are asked of a host by another name."""
    made = tomllib.loads(filters.drop_in(BASE, {}, [ACCOUNT, {"registry": "docker.io", "username": "me", "password": "x"}]))
    registry = made["plugins"][CRI]["registry"]
    assert registry["config_path"] == "/etc/containerd/certs.d"
    assert registry["configs"] == {
        "registry.example:5000": {"auth": {"username": "lab", "password": ACCOUNT["password"]}},
        "registry-1.docker.io": {"auth": {"username": "me", "password": "x"}},
    }
    assert made["plugins"][CRI]["sandbox_image"] == "registry.example/pause:1"


def test_every_kind_of_value_is_written(filters: ModuleType) -> None:
    extra = {
        "a b": True,
        "number": 3,
        "share": 0.5,
        "list": ["x", 1, [2]],
        "tables": [{"a.b": 1}, {"c": "\u4e2d\n\x7f"}],
        "empty": {},
        "deep": {"er": {"x": "y"}},
    }
    assert tomllib.loads(filters.drop_in(BASE, extra, [])) == {"version": 2, **extra}


@pytest.mark.parametrize(
    ("extra", "credentials", "sentence"),
    [
        ({"imports": []}, [], "containerd_extra_config has 'imports', which is the role's: leave it out."),
        ({"plugins": {CRI: {"registry": {}}}}, [], "name registries in containerd_registry_mirrors"),
        ({}, [ACCOUNT | {"registry": "https://x/y"}], "has the registry 'https://x/y', and only a host is allowed"),
        ({}, [ACCOUNT, ACCOUNT], "has the registry 'registry.example:5000' twice: leave one of them"),
        (
            {},
            [ACCOUNT | {"registry": "docker.io"}, ACCOUNT | {"registry": "index.docker.io"}],
            "has the registry 'index.docker.io' beside 'docker.io', which is the same: leave one of them",
        ),
        ({"plugins": {CRI: None}}, [], f"containerd_extra_config has no value for plugins.{CRI}: give it one"),
        ({"debug": None}, [], "containerd_extra_config has no value for debug: give it one, or leave it out."),
        ({}, [ACCOUNT | {"password": ""}], "has no password for the registry 'registry.example:5000': give it one"),
    ],
)
def test_what_cannot_be_is_refused(
    playbook: Playbook, tmp_path: Path, extra: dict[str, Any], credentials: list[dict[str, str]], sentence: str
) -> None:
    """Before anything is written, and without a password in the sentence."""
    variables = {"containerd_extra_config": extra, "containerd_registry_credentials": credentials}
    result = role_tasks.run(playbook, tmp_path, "containerd", role_tasks.read("containerd", "preflight"), variables)
    assert result.returncode != 0
    assert sentence in " ".join(result.stdout.split())
    assert not any("s3cret" in result.stdout for _ in credentials)


@pytest.mark.parametrize("credentials", [[], [ACCOUNT]])
def test_drop_in_is_root_s_alone_and_goes_when_nobody_wants_it(
    playbook: Playbook, tmp_path: Path, credentials: list[dict[str, str]]
) -> None:
    """Written once, and with passwords in no output; without a reason for it, it is removed. containerd restarts for both."""
    tasks = role_tasks.read("containerd", "drop_in")
    role_tasks.task_of(tasks, "Write it")["ansible.builtin.copy"]["validate"] = "grep max_concurrent %s"
    for task in role_tasks.each(tasks):
        task.pop("notify", None)
    told: dict[str, Any] = {"__containerd_drop_in_folder": str(tmp_path / "conf.d"), "containerd_sandbox_image": "registry.example/pause:1"}
    wanted = {
        "containerd_extra_config": {"plugins": {CRI: {"max_concurrent_downloads": 6}}},
        "containerd_registry_credentials": credentials,
    }
    file = tmp_path / "conf.d/50-inventory.toml"
    for changed in (1, 0):
        result = role_tasks.run(playbook, tmp_path, "containerd", tasks, told | wanted, "--diff", "-vvv")
        assert result.returncode == 0, result.stdout + result.stderr
        assert ("changed=2" if changed else "changed=0") in result.stdout
        assert "s3cret" not in result.stdout
        assert "max_concurrent_downloads = 6" in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    result = role_tasks.run(playbook, tmp_path, "containerd", tasks, told)
    assert "changed=1" in result.stdout
    assert not file.exists()


def test_no_password_is_in_the_output_of_a_whole_run(playbook: Playbook, tmp_path: Path) -> None:
    """The check of the role's variables among it, which shows what it was given."""
    path = role_tasks.on_this_machine(tmp_path, "k8s-master", roles=["containerd"])
    result = playbook(path, "--check", "--diff", "-vvv", "-e", f"@{_variables(tmp_path)}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "drop_in | Write it" in result.stdout
    assert "s3cret" not in result.stdout + result.stderr


def _variables(folder: Path) -> Path:
    file = folder / "variables.json"
    file.write_text(json.dumps({"containerd_registry_credentials": [ACCOUNT]}))
    return file
