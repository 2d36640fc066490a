"""What a user can get wrong on the host: one sentence that names the setting and the cure."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from outlive.base.architecture import AMD64, ARM64
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.process import born, last_error, logged
from outlive.host import box, packages, private, reach, virtualization
from outlive.host.settings import Settings, decide


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("OUTLIVE_PROVIDER", "vmware"),
        ("OUTLIVE_DRIVER", "xen"),
        ("OUTLIVE_SOURCES", "cloud"),
        ("OUTLIVE_LIBVIRT", "mine"),
        ("OUTLIVE_BOX", "debian"),
    ],
)
def test_unknown_value_of_a_setting(setting: str, value: str) -> None:
    with pytest.raises(LabError, match=f"{setting} is '{value}', which isn't known: set it to one of auto, "):
        decide({setting: value})


def test_command_line_prints_one_sentence_and_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "outlive", "status"],
        cwd=ROOT,
        env={**os.environ, "OUTLIVE_PROVIDER": "vmware"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: OUTLIVE_PROVIDER is 'vmware', which isn't known: set it to one of auto, libvirt, virtualbox"
    ]


def test_virtualbox_asked_for_but_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        LabError, match="OUTLIVE_PROVIDER is 'virtualbox', but VBoxManage is not installed: install VirtualBox or set it to"
    ):
        decide({"OUTLIVE_PROVIDER": "virtualbox"})


def test_virtualbox_asked_for_without_its_kernel_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed already: what it lacks is said."""
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/VBoxManage")
    monkeypatch.setattr(Path, "exists", lambda path: str(path) != "/dev/vboxdrv")
    with pytest.raises(
        LabError,
        match=r"its kernel module isn't loaded \(/dev/vboxdrv is missing\): load it \(`sudo modprobe vboxdrv`\), where there is none have it built .* or set it",
    ):
        decide({"OUTLIVE_PROVIDER": "virtualbox"})


def test_emulation_chooses_mirror_and_private_libvirt() -> None:
    settings = decide({"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "qemu"})
    assert settings.inventories == ["inventories/common", "inventories/lab", "inventories/offline", "inventories/emulated"]
    assert settings.private
    strategy = settings.environment()["ANSIBLE_STRATEGY"]
    assert Path(settings.environment()["ANSIBLE_STRATEGY_PLUGINS"], f"{strategy}.py").is_file()


def test_every_command_reads_one_locale() -> None:
    """`virsh` would speak of a "laufend" machine, and Ansible refuses a locale without UTF-8."""
    assert decide(SYSTEM).environment()["LC_ALL"] == "C.UTF-8"


def test_kvm_keeps_kubernetes_defaults_and_upstream_sources() -> None:
    settings = decide({"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "system"})
    assert settings.inventories == ["inventories/common", "inventories/lab"]
    assert "ANSIBLE_STRATEGY" not in settings.environment()


def test_box_of_the_mirror_that_is_asked_for() -> None:
    emulated = {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "qemu"}
    assert decide(emulated).box == decide({**emulated, "OUTLIVE_BOX": "full"}).box == "full"
    settings = decide({**emulated, "OUTLIVE_BOX": "generic"})
    assert settings.inventories == [f"inventories/{name}" for name in ("common", "lab", "offline", "generic", "emulated")]
    with pytest.raises(
        LabError, match="OUTLIVE_BOX is 'generic', a box of the mirror's, and this lab's comes from the public catalogue: leave it out"
    ):
        decide({**SYSTEM, "OUTLIVE_BOX": "generic"})


def test_private_libvirt_takes_the_mirror_and_refuses_upstream() -> None:
    wish = {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "private"}
    assert decide(wish).sources == "mirror"
    with pytest.raises(LabError, match="OUTLIVE_SOURCES is 'upstream', but the lab's own libvirt has no way out: leave it at 'auto'"):
        decide({**wish, "OUTLIVE_SOURCES": "upstream"})


SYSTEM = {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "system"}


def test_mirror_of_another_host_is_taken_and_none_is_built() -> None:
    chosen = decide({**SYSTEM, "OUTLIVE_MIRROR": "192.0.2.5"})
    assert chosen.sources == "mirror"
    assert not chosen.builds_mirror
    assert chosen.inventories == ["inventories/common", "inventories/lab", "inventories/offline"]
    assert chosen.environment()["OUTLIVE_MIRROR"] == "192.0.2.5"
    assert decide({**SYSTEM, "OUTLIVE_SOURCES": "mirror"}).builds_mirror


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"OUTLIVE_MIRROR": "teacher"}, "OUTLIVE_MIRROR is 'teacher', which is no IPv4 address: give that of the host on which"),
        ({"OUTLIVE_MIRROR": "192.0.2.5", "OUTLIVE_SOURCES": "upstream"}, "OUTLIVE_SOURCES is 'upstream': leave one of the two out"),
        ({"OUTLIVE_MIRROR": "192.0.2.5", "OUTLIVE_LIBVIRT": "private"}, "but the lab's own libvirt has no way out: leave it out and run"),
    ],
)
def test_mirror_of_another_host_that_cannot_be_taken(wish: dict[str, str], sentence: str) -> None:
    with pytest.raises(LabError) as raised:
        decide({**SYSTEM, **wish})
    assert sentence in str(raised.value)


def test_mirror_of_another_host_has_no_box_for_virtualbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualization, "virtualbox", lambda: virtualization.Usability(True, "usable"))
    with pytest.raises(
        LabError, match=r"OUTLIVE_MIRROR is '192\.0\.2\.5', a mirror whose box is for libvirt .*: leave it out and set OUTLIVE_S"
    ):
        decide({"OUTLIVE_PROVIDER": "virtualbox", "OUTLIVE_MIRROR": "192.0.2.5"})


def test_mirror_where_its_box_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualization, "virtualbox", lambda: virtualization.Usability(True, "usable"))
    with pytest.raises(
        LabError, match=r"OUTLIVE_SOURCES is 'mirror', whose box is for libvirt only .*: set it to 'upstream', which needs internet$"
    ):
        decide({"OUTLIVE_PROVIDER": "virtualbox", "OUTLIVE_SOURCES": "mirror"})


@pytest.mark.parametrize(
    ("machine", "wish", "sentence"),
    [
        ("x86_64", {"OUTLIVE_ARCH": "arm"}, "OUTLIVE_ARCH is 'arm', which isn't known: set it to one of auto, amd64, arm64"),
        (
            "x86_64",
            {"OUTLIVE_ARCH": "arm64", "OUTLIVE_DRIVER": "kvm"},
            "OUTLIVE_DRIVER is 'kvm', but OUTLIVE_ARCH is 'arm64', and this host's processor (x86_64) runs such machines by emulation only: leave one of the two out",
        ),
        (
            "aarch64",
            {"OUTLIVE_ARCH": "amd64", "OUTLIVE_PROVIDER": "virtualbox"},
            "OUTLIVE_PROVIDER is 'virtualbox', but OUTLIVE_ARCH is 'amd64', and this host's processor (aarch64) runs such machines by emulation only: "
            "leave one of the two out",
        ),
        (
            "aarch64",
            {"OUTLIVE_BOX": "generic", "OUTLIVE_DRIVER": "qemu"},
            "OUTLIVE_BOX is 'generic', which the mirror has for amd64 only, and the machines are arm64 ones (OUTLIVE_ARCH, or this host's processor): "
            "leave it out, or set it to 'full' or 'bare'",
        ),
    ],
)
def test_architecture_that_cannot_be_had(machine: str, wish: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(LabError) as raised:
        decide(wish)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("machine", "wish", "architecture", "emulated"),
    [
        ("x86_64", {}, "amd64", True),
        ("x86_64", {"OUTLIVE_ARCH": "arm64"}, "arm64", True),
        ("aarch64", {}, "arm64", True),
        ("aarch64", {"OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "system", "OUTLIVE_SOURCES": "mirror"}, "arm64", False),
        ("riscv64", {}, "amd64", True),
    ],
)
def test_machines_architecture(
    machine: str, wish: dict[str, str], architecture: str, emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(virtualization, "kvm", lambda: virtualization.Usability(False, "no KVM"))
    monkeypatch.setattr(virtualization, "virtualbox", lambda: virtualization.Usability(False, "no VirtualBox"))
    settings = decide(wish)
    assert settings.architecture.name == architecture
    assert (settings.driver == "qemu") == emulated
    overlays = [name for name in settings.inventories if name.endswith("-arm64")]
    if architecture == "amd64":
        assert overlays == []
    else:
        assert overlays == ["inventories/lab-arm64", "inventories/offline-arm64", *(["inventories/emulated-arm64"] if emulated else [])]
        assert settings.environment()["OUTLIVE_ARCH"] == "arm64"


def test_machines_of_another_architecture_need_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(packages, "LIBVIRT", {})
    monkeypatch.setattr(packages, "FIRMWARE", {ARM64: {"/no/such/firmware": "firmware"}})
    one, other = (set(packages.missing(each, libvirt=True)) for each in (AMD64, ARM64))
    assert (one - other, other - one) == ({"qemu-system-x86"}, {"qemu-system-arm", "firmware"})
    # Without dpkg-query nothing is there.
    assert set(packages.missing_mirror_packages(ARM64)) - set(packages.missing_mirror_packages(AMD64)) >= {"mtools", "qemu-user-static"}


def test_missing_tool_is_found_by_its_debian_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "vagrant" not in packages.missing_packages({"sh": "dash"}, {})
    assert "no-such-package" in packages.missing_packages({"no-such-tool": "no-such-package"}, {})
    assert "no-such-file-package" in packages.missing_packages({}, {"/no/such/file-*": "no-such-file-package"})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match="missing on this system, which has no apt-get: vagrant"):
        packages.install_packages(["vagrant"])


def test_box_that_is_not_there(tmp_path: Path) -> None:
    catalog = tmp_path / "full.json"
    with pytest.raises(LabError, match=r"lab_box_catalog names .*full\.json, which isn't there: run `outlive mirror build`"):
        box.read_catalog(catalog)
    catalog.write_text("{", encoding="utf-8")
    with pytest.raises(LabError, match="no catalogue with a libvirt box: run `outlive mirror build`"):
        box.read_catalog(catalog)
    provider = {"name": "libvirt", "url": f"file://{tmp_path}/gone.box"}
    catalog.write_text(json.dumps({"name": "outlive/full", "versions": [{"version": "1.0", "providers": [provider]}]}), encoding="utf-8")
    with pytest.raises(LabError, match=r"the box outlive/full 1\.0 isn't there .*: run `outlive mirror build`"):
        box.read_catalog(catalog)


def test_box_below_a_folder_of_an_unusual_name(tmp_path: Path) -> None:
    """The mirror writes addresses of files, in which such letters are escaped."""
    file = tmp_path / "josé's boxes+1" / "full.box"
    file.parent.mkdir()
    file.touch()
    provider = {"name": "libvirt", "url": file.as_uri()}
    catalog = tmp_path / "full.json"
    catalog.write_text(json.dumps({"name": "outlive/full", "versions": [{"version": "1.0", "providers": [provider]}]}), encoding="utf-8")
    assert box.read_catalog(catalog).file == file


def test_no_machine_is_made_without_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path))
    monkeypatch.setattr(reach, "machine_ids", dict)
    settings = Settings(provider="libvirt", driver="kvm", sources="mirror", private=False, why="as asked")
    with pytest.raises(LabError, match=r"lab_box_catalog names .*full\.json, which isn't there: run `outlive mirror build`"):
        reach.Reached(settings, None).require_box()
    reach.Reached(replace(settings, sources="upstream"), None).require_box()


def test_vagrant_without_its_private_libvirt_says_where_to_go(tmp_path: Path) -> None:
    if shutil.which("vagrant") is None:
        pytest.skip("vagrant is not installed")
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    (tmp_path / ".lab/private").mkdir(parents=True)
    (tmp_path / ".lab/private/ready").touch()
    env = {name: value for name, value in os.environ.items() if name != "OUTLIVE_SHELL"} | {"VAGRANT_CWD": str(tmp_path)}
    done = subprocess.run(["vagrant", "status"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "This lab's VMs live in a libvirt of their own: run `outlive shell`, and `vagrant status` in there." in done.stderr + done.stdout


def test_a_fourth_node_is_one_more_entry(tmp_path: Path) -> None:
    if shutil.which("vagrant") is None:
        pytest.skip("vagrant is not installed")
    shutil.copytree(ROOT / "inventories/lab", tmp_path / "lab")
    hosts = tmp_path / "lab/hosts.yml"
    text = hosts.read_text(encoding="utf-8")
    third = text[text.index("        k8s-node2:") : text.index("    nfs_servers:")]
    hosts.write_text(text.replace(third, third + third.replace("k8s-node2", "k8s-node3").replace(".12", ".13")), encoding="utf-8")
    env = {
        **os.environ,
        "ANSIBLE_INVENTORY": str(tmp_path / "lab"),
        "OUTLIVE_SHELL": "1",
        "VAGRANT_CWD": str(ROOT),
        "VAGRANT_HOME": str(tmp_path / "home"),
    }
    env["VAGRANT_DOTFILE_PATH"] = str(tmp_path / "dot")
    done = subprocess.run(["vagrant", "status", "--machine-readable"], env=env, capture_output=True, text=True, check=False)
    names = [line.split(",")[1] for line in done.stdout.splitlines() if ",state," in line]
    assert names == ["k8s-master", "k8s-node1", "k8s-node2", "k8s-node3"], done.stdout + done.stderr


def test_failed_step_names_its_log_and_quotes_the_error(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(LabError) as raised:
        logged("a step", ["sh", "-c", "echo fine; echo 'Error: the disk is full'; echo bye; exit 3"], log)
    assert "a step: " in str(raised.value)
    assert "ended with status 3; Error: the disk is full (whole log: " in str(raised.value)
    assert str(log) in str(raised.value)
    log.write_text("$ command\n", encoding="utf-8")
    assert last_error(log) == "it printed nothing"


def test_a_kvm_that_boots_no_kernel_is_not_usable(tmp_path: Path) -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed")
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"no kernel at all")
    finding = virtualization.boots(["-accel", "tcg"], kernel, seconds=20)
    assert not finding.usable
    assert "did not boot" in finding.reason


def test_busy_kvm_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VirtualBox's VMs may end, and QEMU may be installed: neither answer is kept until the next boot."""
    monkeypatch.setattr(virtualization, "_kernel", lambda _scratch: tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/there")
    for reason, final in (("failed to initialize kvm: Device or resource busy", False), ("a kernel did not boot within 25 s", True)):
        monkeypatch.setattr(virtualization, "boots", lambda *_, reason=reason: virtualization.Usability(False, reason))
        assert virtualization._probe_kvm() == (virtualization.Usability(False, reason), final)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert virtualization._probe_kvm() == (
        virtualization.Usability(False, "/dev/kvm is there, but qemu-system-x86_64 isn't installed yet to try it"),
        False,
    )


def test_device_that_this_user_cannot_open_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining the group kvm is enough, without a reboot."""
    monkeypatch.setattr(virtualization, "STATE", tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not virtualization.kvm().usable
    assert list(tmp_path.iterdir()) == []


def test_a_dead_init_is_not_taken_for_a_living_one(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        began = born(child.pid)
        assert began is not None
        record = {"pid": child.pid, "born": began, "root": str(ROOT)}
        (tmp_path / "init.json").write_text(json.dumps(record), encoding="utf-8")
        assert private.current(tmp_path) == private.Init(**record)  # type: ignore[arg-type]
        (tmp_path / "init.json").write_text(json.dumps({**record, "born": began - 1}), encoding="utf-8")
        assert private.current(tmp_path) is None, "the pid was given to another process since"
    finally:
        child.terminate()
        child.wait()
    (tmp_path / "init.json").write_text(json.dumps(record), encoding="utf-8")
    assert private.current(tmp_path) is None


def test_a_lab_whose_checkout_is_gone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "REGISTRY", tmp_path)
    child = subprocess.Popen(["sleep", "60"])
    try:
        record = {"pid": child.pid, "born": born(child.pid), "root": str(tmp_path / "deleted")}
        (tmp_path / "deleted.json").write_text(json.dumps(record), encoding="utf-8")
        assert [init.pid for init in private.orphans()] == [child.pid]
        private.clear_orphans()
        assert child.wait(timeout=30) != 0
        private.clear_orphans()
        assert not list(tmp_path.glob("*.json"))
    finally:
        child.kill()
