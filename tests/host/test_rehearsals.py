"""What a rehearsal stands on: its inventories are whole, and a way that isn't known is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from outlive.base.errors import LabError
from outlive.base.locks import exclusive
from outlive.base.paths import ROOT
from outlive.host import private, rehearsals, virtualization
from outlive.host.doctor import resources
from verify.rehearsal import clean_debian, emulated_host, own_machines

LOGIN = {"ansible_user": "debian"}


def check(*folders: Path) -> subprocess.CompletedProcess[str]:
    """Run playbooks/check.yml, which touches no machine."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/check.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_INVENTORY": ",".join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_lab_of_one_node(tmp_path: Path) -> None:
    folder = own_machines.one_node(tmp_path / "one")
    done = check(own_machines.COMMON, folder, own_machines.OFFLINE, own_machines.of_box("bare"), own_machines.EMULATED)
    assert done.returncode == 0, done.stdout
    described = yaml.safe_load((folder / "hosts.yml").read_text(encoding="utf-8"))["all"]
    assert described["vars"]["control_plane_takes_pods"] is True
    hosts = described["children"]
    assert list(hosts["control_plane"]["hosts"]) == list(hosts["nfs_servers"]["hosts"])
    assert hosts["workers"]["hosts"] == {}


def test_example_for_metal_is_whole() -> None:
    done = check(own_machines.COMMON, own_machines.METAL)
    assert done.returncode == 0, done.stdout


def test_an_inventory_without_what_labs_share_is_refused() -> None:
    done = check(own_machines.METAL)
    assert done.returncode != 0
    assert "lab_state isn't set: give `--inventory inventories/common` before the inventory with your machines." in " ".join(
        done.stdout.split()
    )


def test_metal_with_other_addresses(tmp_path: Path) -> None:
    machines = [{"ansible_host": f"198.51.100.{number}"} for number in (1, 2, 3)]
    folder = own_machines.metal(tmp_path / "metal", "198.51.100.0/24", machines, LOGIN)
    done = check(own_machines.COMMON, folder)
    assert done.returncode == 0, done.stdout
    hosts = yaml.safe_load((folder / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]
    assert hosts["workers"]["hosts"] == {"beta": {"ansible_host": "198.51.100.2"}, "gamma": {"ansible_host": "198.51.100.3"}}


def test_metal_takes_another_hosts_mirror() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), "alpha", "-c", "local", "-m", "debug", "-a", "var=containerd_registry_mirrors"],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_INVENTORY": f"{own_machines.COMMON},{own_machines.METAL},{own_machines.OFFLINE}",
            "OUTLIVE_MIRROR": "198.51.100.9",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "http://198.51.100.9:8481/v2/registry.k8s.io" in done.stdout, done.stdout + done.stderr


def test_settings_of_a_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualization, "kvm", lambda: virtualization.Usability(False, "not here"))
    monkeypatch.setenv("OUTLIVE_PROVIDER", "libvirt")
    chosen = own_machines.settings(sources="mirror", mirror="198.18.0.1", folders=(tmp_path,), cache=tmp_path / "none")
    assert chosen.private
    assert not chosen.builds_mirror
    variables = chosen.environment()
    assert variables["ANSIBLE_INVENTORY"] == f"{tmp_path},{own_machines.EMULATED}"
    assert variables["OUTLIVE_MIRROR"] == "198.18.0.1"
    assert variables["OUTLIVE_CACHE"] == str(tmp_path / "none")


def test_way_that_is_not_known() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "outlive", "rehearse", "downstream"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "'downstream' isn't known: choose one of names, upstream, host, classroom, metal, upgrade, expired, kvm, virtualbox"
    )


def test_each_way_has_its_tests() -> None:
    assert {f"test_{way}.py" for way in rehearsals.WAYS} == {path.name for path in (ROOT / "verify/rehearsal").glob("test_*.py")}


def test_host_that_cannot_make_it_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsals, "why_not_clean", lambda: None)
    monkeypatch.setattr(resources, "read_meminfo", lambda: "MemAvailable: 1048576 kB")
    monkeypatch.setattr(rehearsals, "shown", lambda *_, **__: pytest.fail("nothing is to be begun"))
    with pytest.raises(
        LabError,
        match=r"the rehearsal `host` can't be made here: it needs 3072 MiB of memory and 1024 are available: end .* `outlive rehearse names",
    ):
        rehearsals.run(["host"], "12", 2)


@pytest.mark.parametrize("there", ["machines", "kubeconfig"])
def test_a_checkout_with_a_lab_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    monkeypatch.setattr(own_machines, "machine_ids", lambda: {"k8s-master": "1"} if there == "machines" else {})
    monkeypatch.setattr(own_machines, "KUBECONFIG", tmp_path if there == "kubeconfig" else tmp_path / "none")
    monkeypatch.setattr(private, "current", lambda: None)
    with pytest.raises(LabError, match="this checkout has a lab, and a rehearsal makes machines of its own: run `outlive destroy`, or"):
        own_machines.require_no_lab()


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the words of the command line that a rehearsal would be run by."""
    seen: list[str] = []

    def shown(argv: list[str], **_: object) -> int:
        seen[:] = argv
        return 0

    monkeypatch.setattr(rehearsals, "shown", shown)
    return seen


def test_what_takes_hours_runs_only_where_it_is_named(words: list[str]) -> None:
    rehearsals.run((), "12", 2)
    ran = {Path(word).stem.removeprefix("test_") for word in words if word.endswith(".py")}
    assert ran == rehearsals.WAYS.keys() - {"kvm", "virtualbox"}
    for way in ("virtualbox", "kvm"):
        rehearsals.run((way,), "13", 1)
        assert [word for word in words if word.endswith(".py")] == [f"verify/rehearsal/test_{way}.py"]
    assert words[-4:] == ["--debian", "13", "--workers", "1"]


@pytest.mark.parametrize(
    ("memory", "disk", "sentence"),
    [
        ("MemAvailable: 8388608 kB\n", 100, r"the emulated host needs 11775 MiB of memory and 8192 are available: end other programs, or"),
        (
            "MemAvailable: 16777216 kB\n",
            24,
            r"the emulated host needs 25 GiB of disk and 24 are free on \S+: free some, or name another folder",
        ),
    ],
)
def test_host_that_is_too_small_for_an_emulated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str, disk: int, sentence: str
) -> None:
    monkeypatch.setattr(resources, "read_meminfo", lambda: memory)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk * 2**30))
    with pytest.raises(LabError, match=sentence):
        emulated_host.enough(tmp_path)


def kind(way: str) -> emulated_host.Kind:
    """Return what an emulated host of a rehearsal would be, of which nothing is made."""
    return emulated_host.Kind(way, "12", {}, scripts=(), parts=())


@pytest.mark.parametrize("way", ["kvm", "virtualbox"])
def test_second_emulated_host_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Each wants this host for itself, so that one of the other rehearsal is refused too."""
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path))
    refusal = rf"another rehearsal has the emulated host \(process {os.getpid()}\): wait until it has ended, or end it with Ctrl-C"
    with (
        exclusive(tmp_path / "emulated-host/lock"),
        pytest.raises(LabError, match=refusal),
        emulated_host.disk(kind(way)),
    ):
        pass


@pytest.fixture
def roomy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an emulated host's files, on a host with enough of everything."""
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path))
    monkeypatch.setattr(emulated_host, "enough", lambda _: None)
    return tmp_path / "emulated-host"


def files(folder: Path) -> list[str]:
    """Return the names of a folder's files."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ends", [KeyboardInterrupt, LabError])
def test_emulated_host_whose_making_was_cut_short_leaves_nothing(
    roomy: Path, monkeypatch: pytest.MonkeyPatch, ends: type[BaseException]
) -> None:
    def make(made: emulated_host.Disk, _identity: object) -> None:
        for name in (emulated_host.SAID, "disk.img", "key"):
            (made.folder / name).touch()
        raise ends

    monkeypatch.setattr(emulated_host, "_make", make)
    with pytest.raises(ends), emulated_host.disk(kind("virtualbox")):
        pass
    assert files(roomy / "virtualbox") == []


def test_disk_is_gone_on_with_and_is_each_rehearsal_s_own(roomy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def make(made: emulated_host.Disk, identity: object) -> None:
        begun.append(made.kind.way)
        (made.folder / "disk.img").touch()
        (made.folder / emulated_host.MADE).write_text(json.dumps(identity), encoding="utf-8")

    monkeypatch.setattr(emulated_host, "_make", make)
    for way in ("virtualbox", "kvm", "virtualbox", "kvm"):
        with emulated_host.disk(kind(way)):
            pass
    assert begun == ["virtualbox", "kvm"]
    with emulated_host.disk(replace(kind("virtualbox"), debian="13")) as made:
        assert begun == ["virtualbox", "kvm", "virtualbox"]
        made.forget()
    assert files(roomy / "virtualbox") == []
    assert files(roomy / "kvm") == ["disk.img", "made.json"]


class ScriptedMachine:
    """A clean Debian in which each script prints what is foreseen for it."""

    def __init__(self, root: Path, printed: dict[str, str]) -> None:
        """Nothing was printed yet."""
        self.root, self._printed = root, printed

    def run(self, script: Path, _folders: object, log: Path, _timeout: float, **_: object) -> None:
        """Print it."""
        log.write_text(self._printed[script.name], encoding="utf-8")

    def pack(self, *_: object) -> None:
        """Make no disk: none is to be made of what isn't whole."""
        pytest.fail("nothing is to be packed")


@pytest.mark.parametrize(
    ("printed", "sentence"),
    [
        ("--- setup\nerror: no network: find one\nstatus 2\n", "'setup' ended with error: no network: find one / status 2 "),
        ("", "'setup' ended with it wasn't begun "),
    ],
)
def test_emulated_host_in_which_a_part_failed_is_refused(
    roomy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, sentence: str
) -> None:
    system = "=== root\n--- system\nstatus 0\n=== learner\n--- clone\nstatus 0\n"
    machine = ScriptedMachine(tmp_path / "root", {emulated_host.SCRIPT.name: system, "setup.sh": f"=== learner\n{printed}"})
    monkeypatch.setattr(emulated_host, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(emulated_host, "log_of", lambda what: tmp_path / "logs" / f"{what}.log")
    monkeypatch.setattr(emulated_host, "why_not_clean", lambda _: None)
    monkeypatch.setattr(emulated_host, "output", lambda *_, **__: "")
    monkeypatch.setattr(clean_debian, "machine", lambda *_: nullcontext(machine))
    wanted = replace(kind("kvm"), scripts=("setup.sh",), parts=("setup",))
    with pytest.raises(LabError, match=re.escape(f"the emulated host can't be made: {sentence}(whole log: ")), emulated_host.disk(wanted):
        pass
    assert files(roomy / "kvm") == []
    assert (tmp_path / "logs/rehearsal kvm host.log").read_text(encoding="utf-8").startswith(system), "the log stays"


def test_parts_of_what_scripts_print() -> None:
    text = "=== root\n--- system\nx --- y\nstatus 0\n=== learner\n--- clone\nstatus 1\n=== learner\n--- setup\n=== 3 passed ===\nstatus 0\n"
    assert clean_debian.parts(text) == {
        "system": ["x --- y", "status 0"],
        "clone": ["status 1"],
        "setup": ["=== 3 passed ===", "status 0"],
    }


def test_emulated_host_s_patience_is_settings_of_roles() -> None:
    wanted = yaml.safe_load(emulated_host.OVERLAY.read_text(encoding="utf-8")).keys()
    specs = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (ROOT / "roles").glob("*/meta/argument_specs.yml")]
    known = {name for spec in specs for entry in spec["argument_specs"].values() for name in entry.get("options", {})}
    assert wanted <= known


def test_what_says_that_an_emulated_host_is_whole_is_gone_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (emulated_host.MADE, "disk.img", "key"):
        (tmp_path / name).touch()
    gone: list[str] = []
    unlink = Path.unlink

    def noted(self: Path, missing_ok: bool = False) -> None:
        gone.append(self.name)
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)
    emulated_host.forget(tmp_path)
    assert gone[0] == emulated_host.MADE
    assert list(tmp_path.iterdir()) == []
