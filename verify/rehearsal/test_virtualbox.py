"""An ordinary user's host with VirtualBox 7.2, of Debian sid: the way to a machine of VirtualBox, at this host's speed up to its start, then emulated.

While the emulated host is made (`verify/rehearsal/emulated_host.py`), Vagrant makes a machine there whose start is all that fails, since no kernel has VirtualBox'
module in it. Once it is booted, it has: Vagrant starts the machine, as it is and with other settings where it doesn't come up. The machine is of the mirror's box
`generic`, which is made as the public one is. A cluster isn't made: a lab on VirtualBox takes everything from the upstream.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from outlive.base.errors import LabError
from outlive.base.paths import ROOT, cache
from outlive.base.process import last_error
from outlive.host import box, packages, reach
from outlive.host.doctor import hypervisors
from outlive.host.rehearsals import UNSTABLE
from verify.rehearsal.emulated_host import Disk, EmulatedHost, Kind, booted, disk, needed

pytestmark = pytest.mark.rehearsal

NODE = "k8s-node1"
LAB = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text(encoding="utf-8"))["all"]
OF_NODE = LAB["children"]["workers"]["hosts"][NODE]
NETWORK = ipaddress.IPv4Network(LAB["vars"]["lab_network"])
"""What VirtualBox gives its first address to this host in."""
BY_VIRTUALBOX = 'export PATH=~/as-7.0:"$PATH" VAGRANT_DEFAULT_PROVIDER=virtualbox OUTLIVE_PROVIDER=virtualbox; '
HOUR = 3600.0
BOOT = 2400
"""Seconds that Vagrant waits for the machine's ssh."""


@dataclass(frozen=True)
class Try:
    """Settings of a machine with which its start is tried."""

    name: str
    changes: str = ""
    """Options of `VBoxManage modifyvm`; each try takes those of the one before back."""
    before: str = "true"
    """A command on the host."""


DEFAULTS = "--paravirt-provider default --cpu-profile host --nested-paging on --vm-execution-engine default"
TRIES = (
    Try("as Vagrant makes it"),
    Try("without a paravirtualization provider", "--paravirt-provider none"),
    Try("with an older processor's features", "--cpu-profile 'Quad-Core AMD Opteron 2384'"),
    Try("without nested paging", "--nested-paging off"),
    Try("by KVM instead of VirtualBox' own module (NEM)", "--vm-execution-engine native-api", "sudo modprobe kvm_amd"),
)
"""All but the first are for a machine that didn't come up."""


@pytest.fixture(scope="module")
def made() -> Iterator[Disk]:
    """Make the emulated host; nothing is booted."""
    with needed():
        reach.build_mirror("generic")
        kind = Kind(
            "virtualbox",
            UNSTABLE,
            {
                "OUTLIVE_PROVIDER": "virtualbox",
                "OUTLIVE_SOURCES": "upstream",
                "VAGRANT": hypervisors.VAGRANT_FOR["7.2"],
                "HOST_ONLY": f"{NETWORK[1]}/{NETWORK.prefixlen}",
            },
            scripts=("virtualbox_setup.sh",),
            alone=("virtualbox_machine.sh",),
            parts=("setup", "validate", "box", "left"),
            packages="linux-headers-cloud-amd64 virtualbox virtualbox-dkms",
            box=box.read_catalog(cache() / "boxes/generic.json").file,
        )
        with disk(kind) as whole:
            yield whole


@pytest.fixture(scope="module")
def makers(made: Disk) -> bool:
    """Say whether Vagrant's maker could be reached, so that the Vagrant is one that takes this VirtualBox."""
    return made.said["Vagrant of its maker"][-1] == "status 0"


def text(made: Disk, part: str, status: int = 0) -> str:
    """Return what a part printed, which has to have ended with a status."""
    *lines, ended = made.said[part]
    assert ended == f"status {status}", "\n".join([*lines, ended])
    return "\n".join(lines)


def is_host_only(said: str) -> bool:
    """Say whether VirtualBox lists a network in which the host's address is the first one of the lab's."""
    return re.search(rf"^IPAddress: +{re.escape(str(NETWORK[1]))}$", said, re.MULTILINE) is not None


def test_kernel_module_is_built(made: Disk) -> None:
    assert re.fullmatch(r"/lib/modules/\S+-cloud-amd64/updates/dkms/vboxdrv\.ko\S*", text(made, "module"))


def test_setup_removes_no_package(made: Disk) -> None:
    said = text(made, "setup without Vagrant", 2)
    assert "apt would remove virtualbox to install vagrant, and the lab removes no package, so nothing was installed" in said
    assert packages.OWN_VAGRANT in said
    assert re.fullmatch(r"virtualbox 7\.2\.\S+ installed", text(made, "packages"))


def test_missing_module_is_told_with_its_cure(made: Disk) -> None:
    assert "its kernel module isn't loaded (/dev/vboxdrv is missing): load it (`sudo modprobe vboxdrv`)" in text(
        made, "setup without the module", 2
    )


def test_versions_that_do_not_go_together_are_told(made: Disk, makers: bool) -> None:
    text(made, "setup")
    if makers:
        assert "WRONG" not in text(made, "doctor")
        text(made, "pair")
        return
    sentence = r"VirtualBox is 7\.2\.\d+, and Vagrant 2\.3\.\d+ takes none that is newer than 7\.0: install Vagrant 2\.4\.9 or newer"
    assert re.search(f"  WRONG  {sentence}", "\n".join(made.said["doctor"]))
    assert re.search(sentence, text(made, "up", 2))
    # Vagrant's own words, which doctor foretells.
    assert "that is not supported by this version of Vagrant" in text(made, "pair", 1)


def test_vagrantfile_is_valid(made: Disk) -> None:
    assert "Vagrantfile validated successfully." in text(made, "validate")


def test_host_only_network_is_that_of_the_inventory(made: Disk) -> None:
    assert is_host_only(text(made, "host-only network"))


def test_definition_is_the_inventory_s(made: Disk) -> None:
    said = dict(line.partition("=")[::2] for line in text(made, "definition").splitlines())
    assert (said["memory"], said["cpus"]) == (str(OF_NODE["lab_memory"]), str(OF_NODE["lab_cpus"]))
    assert (said["nic1"], said["nic2"], said["hostonlyadapter2"]) == ('"nat"', '"hostonly"', '"vboxnet0"')
    assert "/Snapshots/" in said['"SATA-0-0"'], "a linked clone"


def test_start_is_all_that_failed(made: Disk) -> None:
    said = text(made, "machine", 1)
    assert "Running 'pre-boot' VM customizations" in said
    assert 'Command: ["startvm"' in said
    assert "VERR_VM_DRIVER_LOAD_ERROR" in text(made, "start", 1)


def test_destroy_leaves_the_master_of_the_clones_alone(made: Disk) -> None:
    text(made, "destroy")
    assert re.fullmatch(r'"outlive-base\S*" \{\S+\}', text(made, "left"))


@pytest.fixture(scope="module")
def host(made: Disk) -> Iterator[EmulatedHost]:
    """Boot the emulated host."""
    with needed(), booted(made) as emulated:
        yield emulated


@dataclass(frozen=True)
class Started:
    """Whether the machine came up, and what each try ended with."""

    up: bool
    tried: str


@pytest.fixture(scope="module")
def started(host: EmulatedHost) -> Started:
    """Have Vagrant start the machine, with one set of settings after the other until it answers."""
    host.be_patient(BOOT)
    ended = []
    for number, each in enumerate(TRIES):
        try:
            if each.changes:
                # The one that ends holds its settings for a moment yet.
                change = f"""timeout 60 sh -c 'until VBoxManage modifyvm "$@"; do sleep 2; done' sh "$id" {DEFAULTS} {each.changes}"""
                off = f'id=$(cat outlive/.vagrant/machines/{NODE}/virtualbox/id); VBoxManage controlvm "$id" poweroff'
                host.output(f"{off}; {each.before} && {change}")
            host.step(f"up {number}", f"{BY_VIRTUALBOX} vagrant up --no-tty {NODE}", seconds=BOOT + HOUR)
        except LabError:
            ended.append(f"{each.name}: {end_of(host, number)}")
        else:
            return Started(True, "\n".join([*ended, f"{each.name}: it answers"]))
    return Started(False, "\n".join(ended))


def end_of(host: EmulatedHost, number: int) -> str:
    """Return Vagrant's last words in a try, and VirtualBox' on what the machine did."""
    words = last_error(reach.log_of(f"rehearsal virtualbox up {number}"))
    logs = "grep -hE 'VERR_|VINF_EM|Guru|Changing the VM state|Using AMD-V' ~/'VirtualBox VMs'/outlive_*/Logs/VBox.log | tail -n 5"
    try:
        return f"{words} / {host.output(logs)}"
    except LabError as error:
        return f"{words} / {error}"


def test_emulated_host_has_the_module(host: EmulatedHost) -> None:
    assert host.output("test -c /dev/vboxdrv && lsmod | grep -c ^vbox") == "3"
    assert "its kernel module isn't loaded" not in host.step("doctor", "OUTLIVE_PROVIDER=virtualbox make doctor || true", seconds=HOUR)


def test_machine_comes_up(started: Started) -> None:
    print(started.tried, flush=True)
    assert started.up, started.tried


def test_machine_is_in_the_lab_s_network(started: Started, host: EmulatedHost) -> None:
    if not started.up:
        pytest.skip("the machine didn't come up")
    # VirtualBox made the network itself this time.
    assert is_host_only(host.output("VBoxManage list hostonlyifs"))
    run = f"{BY_VIRTUALBOX} . .venv/bin/activate && outlive run ansible {NODE} -m ansible.builtin.command -a"
    assert "oracle" in host.step("virtualization", f"{run} systemd-detect-virt", seconds=HOUR)
    assert f"{OF_NODE['ansible_host']}/{NETWORK.prefixlen}" in host.step("addresses", f"{run} 'ip -4 -brief address'", seconds=HOUR)


def test_destroy_removes_the_machine(started: Started, host: EmulatedHost, made: Disk, request: pytest.FixtureRequest) -> None:
    host.step("destroy", f"{BY_VIRTUALBOX} . .venv/bin/activate && outlive destroy", seconds=HOUR)
    assert f"outlive_{NODE}" not in host.output("VBoxManage list vms")
    if not request.session.testsfailed:
        made.forget()
