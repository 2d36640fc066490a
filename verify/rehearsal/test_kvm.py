"""An ordinary user's host with KVM and the system's libvirt, in a class room: the README's commands, typed there.

The host is an emulated one (`verify/rehearsal/emulated_host.py`); its machines are real KVM machines. What a host with a processor of its own doesn't need is
patience: `verify/rehearsal/files/emulated_host.yml`. It takes one to three hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from outlive.base.paths import ROOT
from outlive.host import reach
from verify.rehearsal.clean_debian import USER
from verify.rehearsal.emulated_host import OUTSIDE, Disk, EmulatedHost, Kind, booted, disk, mirror_for_it, needed

pytestmark = pytest.mark.rehearsal

CLASS_ROOM = f"export OUTLIVE_MIRROR={OUTSIDE} OUTLIVE_DRIVER=kvm; "
"""Where packages, images and box come from. The driver is named, as a kernel's start takes longer there than the lab waits for it to find KVM out."""
GROUP = "libvirt"
"""What the user has to be a member of, as doctor says."""
HOSTS = "inventories/lab/hosts.yml"
HOUR = 3600.0


def kind(config: pytest.Config) -> Kind:
    """Return what its user's machine is."""
    chosen = {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "kvm", "OUTLIVE_LIBVIRT": "system", "OUTLIVE_SOURCES": "upstream"}
    lab = {"workers": config.getoption("--workers")}
    return Kind("kvm", config.getoption("--debian"), chosen, scripts=("setup.sh",), parts=("setup",), identity=lab)


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Disk]:
    """Make the emulated host."""
    with needed():
        reach.build_mirror("full")
        with disk(kind(request.config)) as whole:
            yield whole


@pytest.fixture(scope="module")
def host(made: Disk) -> Iterator[EmulatedHost]:
    """Boot the emulated host; serve it the mirror."""
    with needed(), booted(made) as emulated, mirror_for_it(emulated):
        yield emulated


@pytest.fixture(scope="module")
def member(host: EmulatedHost) -> EmulatedHost:
    """Return the host with a user who has done what doctor says, and an inventory with patience."""
    host.output(f"sudo usermod -aG {GROUP} $USER")
    return host


@pytest.fixture(scope="module")
def patient(request: pytest.FixtureRequest, member: EmulatedHost) -> EmulatedHost:
    """Return the host with a checkout whose inventory has patience, and as many workers as asked for."""
    member.be_patient(1200)
    hosts = yaml.safe_load((ROOT / HOSTS).read_text(encoding="utf-8"))
    workers = hosts["all"]["children"]["workers"]["hosts"]
    for name in list(workers)[request.config.getoption("--workers") :]:
        del workers[name]
    member.put(yaml.safe_dump(hosts, sort_keys=False), HOSTS)
    return member


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, patient: EmulatedHost) -> str:
    """Make the lab: `make lab`, with a single worker its steps but for the power-off, since MySQL could go nowhere. Return what was printed."""
    if request.config.getoption("--workers") > 1:
        return patient.step("lab", f"{CLASS_ROOM} make lab", seconds=3 * HOUR)
    steps = ("outlive up", "outlive provision", "outlive tutorial apply", "outlive run pytest verify -m 'static or storage'")
    return patient.step("lab", f"{CLASS_ROOM} make setup && . .venv/bin/activate && {' && '.join(steps)}", seconds=3 * HOUR)


def outlive(host: EmulatedHost, words: str, *, seconds: float = HOUR) -> str:
    """Run a command of the program there."""
    return host.step(words.split(" -")[0], f"{CLASS_ROOM} . .venv/bin/activate && outlive {words}", seconds=seconds)


def test_user_is_ordinary(host: EmulatedHost) -> None:
    words = host.output("id --user --name; id --user; command -v kubectl go || true").split()
    assert words[0] == USER
    assert words[1] != "0"
    assert words[2:] == []


def test_host_has_kvm(host: EmulatedHost) -> None:
    said = host.output("sudo virt-host-validate qemu || true; systemd-detect-virt")
    assert re.search(r"hardware virtualization +: PASS", said)
    assert said.split()[-1] == "qemu"


def test_doctor_names_the_group_that_the_user_must_join(host: EmulatedHost) -> None:
    if GROUP in host.output("id --groups --name").split():
        pytest.skip("the user has joined it, in the run that was cut short")
    assert f"be a member of the group {GROUP}" in host.step("doctor before", f"{CLASS_ROOM} make doctor || true", seconds=HOUR)


def test_lab_is_made(lab: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--workers") > 1:
        assert "Verdict: pass" in lab
    else:
        assert re.search(r"=+ \d+ passed.* in ", lab)


def test_machines_run_on_kvm(lab: str, patient: EmulatedHost) -> None:
    names = patient.output("virsh -c qemu:///system list --name").split()
    assert names
    for name in names:
        assert "<domain type='kvm'" in patient.output(f"virsh -c qemu:///system dumpxml {name}")
    assert "kvm" in outlive(patient, "run ansible k8s-master -a systemd-detect-virt")


def test_kubectl_is_the_labs_own(lab: str, patient: EmulatedHost) -> None:
    said = outlive(patient, "run kubectl get nodes")
    assert re.search(r"^k8s-master +Ready ", said, re.MULTILINE)
    assert "NotReady" not in said


def test_shell_on_a_terminal(lab: str, patient: EmulatedHost) -> None:
    said = patient.typed(f"{CLASS_ROOM} . .venv/bin/activate && outlive shell", "kubectl get nodes\nexit\n", 600)
    assert re.search(r"^k8s-master +Ready ", said.replace("\r", ""), re.MULTILINE)


def test_page_of_the_tutorial(lab: str, patient: EmulatedHost) -> None:
    assert re.search(r"=+ \d+ passed", outlive(patient, "pages 01-emptydir"))


def test_drill(lab: str, patient: EmulatedHost) -> None:
    assert re.search(r"=+ \d+ passed", outlive(patient, "drill mysqld-kill"))


def test_reset(lab: str, patient: EmulatedHost, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--workers") < 2:
        pytest.skip("the snapshot is `make lab`'s, which isn't run with a single worker")
    assert "all nodes are Ready" in outlive(patient, "reset")


def test_all_files_belong_to_the_user(lab: str, patient: EmulatedHost) -> None:
    assert patient.output(f"find ~ ! -user {USER} -print -quit") == ""


def test_destroy_leaves_nothing(lab: str, patient: EmulatedHost, made: Disk, request: pytest.FixtureRequest) -> None:
    outlive(patient, "destroy")
    assert patient.output("virsh -c qemu:///system list --all --name").split() == []
    assert "k8s-" not in patient.output("virsh -c qemu:///system vol-list default")
    assert patient.output("test ! -e outlive/.lab && echo gone") == "gone"
    if not request.session.testsfailed:
        made.forget()
