"""A lab that was off for more than a year: all certificates have expired but those of the authorities, and one playbook brings it back with its data.

The machines' own clocks are set ahead and they start again with them, as machines do that were off for so long. On this host only Ansible lives in their
time, by libfaketime, since to all others a certificate of that time isn't valid yet; kubectl is run on the control plane.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlive.base.errors import EXIT_UNKNOWN, LabError, UnreachableError
from outlive.base.wait import wait_for
from outlive.host import reach
from outlive.host.reach import Reached
from outlive.lab import mysql
from outlive.lab.playbook import Played
from verify.rehearsal import own_machines

pytestmark = pytest.mark.rehearsal

DAYS = 400
"""More than the year for which kubeadm's and the kubelets' certificates are good, and less than two: the renewed ones are good then."""
SET_CLOCK = f"""python3 - <<'END'
import fcntl, struct, time
ahead = time.gmtime(time.time() + {DAYS} * 86400)
with open("/dev/rtc0", "wb") as clock:
    fcntl.ioctl(clock, 0x4024700A, struct.pack("9i", *ahead[5::-1][:4], ahead.tm_mon - 1, ahead.tm_year - 1900, 0, 0, 0))  # RTC_SET_TIME
END"""
"""Sets the machine's own clock, by which its kernel starts. Debian's box has no hwclock."""
FAKE_TIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""Debian's package faketime."""
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
BACK_WITHIN = 600.0


@dataclass(frozen=True)
class Year:
    """The lab and its nodes; what there was of it when the year had passed, and what the playbook did."""

    lab: Reached
    nodes: list[str]
    certificates: dict[str, str]
    """What openssl says of each kubelet's certificate."""
    processes: str
    """The API server's processes, when the kubelet had said why it doesn't start."""
    played: Played


@pytest.fixture(scope="module")
def year(empty: None) -> Iterator[Year]:
    """Make a lab with a row in MySQL, let a year and more pass for its machines, and renew what has expired."""
    if not FAKE_TIME:
        pytest.exit(
            "this rehearsal lets Ansible live in the machines' time by libfaketime: install Debian's package faketime",
            returncode=EXIT_UNKNOWN,
        )
    reach.build_mirror("full")
    lab = reach.reach()
    own_machines.make_machines(lab)
    own_machines.play(lab, "rehearsal cluster", "playbooks/site.yml")
    own_machines.play(lab, "rehearsal tutorial", "playbooks/tutorial.yml")
    assert own_machines.rows(lab, mysql.WRITE_ROW) == ["111"]
    nodes = own_machines.ready_nodes(lab)
    pass_a_year(lab, nodes)
    certificates = {name: own_machines.on(lab, name, f"openssl x509 -noout -checkend 0 -in {CERTIFICATE} || true") for name in nodes}
    wait_for(
        "kubelet of k8s-master",
        "a word on its certificate",
        lambda: own_machines.on(lab, "k8s-master", "journalctl --unit kubelet --boot --no-pager | grep --count expired || true"),
        lambda count: count not in ("", "0"),
        within=BACK_WITHIN,
        every=5,
    )
    # By then an API server would have been started too.
    processes = own_machines.on(lab, "k8s-master", "pgrep --exact kube-apiserver || true")
    yield Year(lab, nodes, certificates, processes, play_then(lab, "rehearsal renewal", "playbooks/renew-certificates.yml"))


def play_then(lab: Reached, what: str, playbook: str) -> Played:
    """Run a playbook in the machines' time; return what it did."""
    return own_machines.play(lab, what, playbook, before=[f"LD_PRELOAD={FAKE_TIME[0]}", f"FAKETIME=+{DAYS}d"])


def then(lab: Reached, words: str) -> str:
    """Return what kubectl prints on the control plane.

    Raises:
        UnreachableError: it failed, as where a pod doesn't run yet.
    """
    try:
        return own_machines.on(lab, "k8s-master", f"{KUBECTL} {words}")
    except LabError as error:
        raise UnreachableError(str(error)) from error


def pass_a_year(lab: Reached, names: Iterable[str]) -> None:
    """Set the machines' clocks ahead, start them again, and wait until they are there in their new time."""
    began = {name: clock(lab, name) for name in names}
    for name in began:
        own_machines.on(lab, name, f"{SET_CLOCK}\nsystemd-run --on-active=1 systemctl reboot")
    for name, before in began.items():
        wait_for(
            f"clock of {name}",
            f"{DAYS} days ahead",
            lambda name=name: clock(lab, name),  # type: ignore[misc]
            lambda now, before=before: now - before > (DAYS - 1) * 86400,  # type: ignore[misc]
            within=BACK_WITHIN,
            every=5,
        )


def clock(lab: Reached, name: str) -> int:
    """Return a machine's time, in seconds since 1970.

    Raises:
        UnreachableError: it gives no answer, as while it starts.
    """
    try:
        return int(own_machines.on(lab, name, "date +%s"))
    except (LabError, ValueError) as error:
        raise UnreachableError(f"{name} gave no time ({error})") from error


def test_nothing_runs_after_the_year(year: Year) -> None:
    """No kubelet starts, so neither does what it would start: the API server."""
    assert year.certificates == dict.fromkeys(year.nodes, "Certificate will expire")
    assert year.processes == ""


def test_every_node_is_back(year: Year) -> None:
    states = [line.split()[:2] for line in then(year.lab, "get nodes --no-headers").splitlines()]
    assert states == [[name, "Ready"] for name in year.nodes]
    assert year.played.changed


def test_row_outlived_the_year(year: Year) -> None:
    """It is read by `kubectl exec`, for which the kubelet needs a certificate that is good too."""
    words = f"exec deployment/mysql -- sh -c {shlex.quote(own_machines.asking())}"
    rows = wait_for(
        "MySQL", "an answer", lambda: mysql.parse_rows(then(year.lab, words).splitlines()), lambda _: True, within=BACK_WITHIN, every=5
    )
    assert rows == ["111"]


def test_nothing_has_to_be_repaired_after_the_year(year: Year) -> None:
    again = play_then(year.lab, "rehearsal cluster again", "playbooks/site.yml")
    assert again.recap
    assert again.changed == ()
