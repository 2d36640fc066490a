"""The lab against the CIS Kubernetes Benchmark: what doesn't pass is known, with its reason, and nothing else.

The whole of what the scanner said lies in the report, and so does the list as it would have to be (cis.yml).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from outlive.lab.session import Lab
from outlive.report.model import Report
from verify.cis import benchmark, scan
from verify.cis.benchmark import Expected, Finding
from verify.stories import Narrator


@dataclass
class Scans:
    """What was found so far."""

    lab: Lab
    report: Report
    expected: Expected
    narrator: Narrator
    findings: list[Finding] = field(default_factory=list)

    @property
    def control_plane(self) -> str:
        """The machine that kube-bench's checks of the cluster run on."""
        return self.lab.inventory.group("control_plane")[0].name

    @property
    def version(self) -> str:
        """The cluster's Kubernetes, as kube-bench is told it."""
        return scan.minor(self.lab.cluster.node(self.control_plane).kubelet)

    def of(self, name: str, targets: Sequence[str]) -> list[Finding]:
        """Scan a machine and keep what was said."""
        with self.narrator.clock(f"kube-bench on {name} ({', '.join(targets)})"):
            said = scan.scan(self.lab.inventory, name, targets, self.version)
        (self.report.folder / f"cis-{name}-{'-'.join(targets)}.json").write_text(said, encoding="utf-8")
        found = benchmark.parse(said, name, self.expected.benchmark)
        self.findings += found
        return found

    def judge(self, sections: str, findings: Sequence[Finding]) -> None:
        """Fail with all that isn't as the list says of these sections of the benchmark."""
        entries = [each for each in self.expected.entries if benchmark.section(each.number) in sections]
        wrong = benchmark.differences(entries, findings)
        assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def scans(whole_lab: Lab, report: Report, narrator: Narrator) -> Iterator[Scans]:
    """Return what scans; at the end, leave the list as it would have to be in the report."""
    made = Scans(whole_lab, report, benchmark.load(), narrator)
    scan.archive()
    yield made
    (report.folder / "cis.yml").write_text(benchmark.as_seen(made.expected, made.findings), encoding="utf-8")


def test_control_plane_is_as_the_list_says(scans: Scans) -> None:
    """Files, programs, etcd and settings of the control plane pass the benchmark's sections 1 to 3, but for what the list gives a reason for."""
    scans.judge("123", scans.of(scans.control_plane, ["master", "etcd", "controlplane"]))


def test_every_node_is_as_the_list_says(scans: Scans) -> None:
    """Each node passes section 4, the kubelets' and kube-proxy's, but for what the list gives a reason for."""
    scans.judge("4", [found for host in scans.lab.inventory.group("cluster") for found in scans.of(host.name, ["node"])])


def test_cluster_is_as_the_list_says(scans: Scans) -> None:
    """Roles, accounts and pods pass section 5, but for what the list gives a reason for."""
    scans.judge("5", scans.of(scans.control_plane, ["policies"]))


def test_nothing_of_the_scanner_stays(scans: Scans) -> None:
    """No machine has anything of kube-bench left."""
    for host in scans.lab.inventory.group("cluster"):
        assert scans.lab.remote.run(host.name, "test -e %s", scan.FOLDER).status == 1, f"{host.name} still has {scan.FOLDER}"
