"""The judgement over what kube-bench says, its list, and how kube-bench gets to a machine and away from it."""

from __future__ import annotations

import os
import shlex
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from verify.cis import benchmark, scan
from verify.cis.benchmark import Entry, Expected, Finding

SAID = (Path(__file__).with_name("kube-bench-node.json")).read_text(encoding="utf-8")
"""What kube-bench v0.12.0 said on a node, some of its checks."""
SERVICE_FILE = Entry(
    "4.1.1", "Ensure that the kubelet service file permissions are set to 600 or more restrictive", ("FAIL",), "the package's own"
)
PROXY = Entry(
    "4.1.3", "If proxy kubeconfig file exists ensure permissions are set to 600 or more restrictive", ("WARN",), "there is no such file"
)
LISTED = (SERVICE_FILE, PROXY)


@pytest.fixture
def findings() -> list[Finding]:
    """What was found on a node."""
    return benchmark.parse(SAID, "k8s-node1", "cis-1.10")


def test_what_kube_bench_says_is_read(findings: list[Finding]) -> None:
    assert {each.number: each.result for each in findings} == {
        "4.1.1": "FAIL",
        "4.1.2": "PASS",
        "4.1.3": "WARN",
        "4.2.1": "PASS",
        "4.3.1": "PASS",
    }
    assert (findings[0].title, findings[0].seen) == (SERVICE_FILE.title, "permissions=644")
    assert "chmod 600 /lib/systemd/system/kubelet.service" in findings[0].cure


def test_nothing_differs(findings: list[Finding]) -> None:
    assert benchmark.differences(LISTED, findings) == []


def test_check_that_is_not_in_the_list_has_to_pass(findings: list[Finding]) -> None:
    (said,) = benchmark.differences([PROXY], findings)
    first, _, to_paste = said.partition(" or add\n")
    assert first.startswith(
        f"4.1.1 {SERVICE_FILE.title}, k8s-node1: FAIL (seen: permissions=644), and no entry of expected.yml says why; cure it (Run"
    )
    entry = {"number": "4.1.1", "title": SERVICE_FILE.title, "result": "FAIL", "reason": None}
    assert yaml.safe_load(to_paste) == [entry]


def test_warning_that_is_not_in_the_list_counts_as_well(findings: list[Finding]) -> None:
    (said,) = benchmark.differences([SERVICE_FILE], findings)
    assert f"4.1.3 {PROXY.title}, k8s-node1: WARN (nothing was seen), and no entry" in said


def test_check_of_the_list_that_passes_now(findings: list[Finding]) -> None:
    passing = Entry("4.2.1", "Ensure that the --anonymous-auth argument is set to false", ("FAIL",), "once it was so")
    assert benchmark.differences([*LISTED, passing], findings) == [
        f"4.2.1 {passing.title}, k8s-node1: PASS, and expected.yml says FAIL; take the entry out (once it was so)"
    ]


def test_other_result_than_the_list_s(findings: list[Finding]) -> None:
    (said,) = benchmark.differences([replace(SERVICE_FILE, results=("WARN",)), PROXY], findings)
    assert "k8s-node1: FAIL (seen: permissions=644), and expected.yml says WARN (the package's own); cure it" in said


def test_either_of_two_results(findings: list[Finding]) -> None:
    either = replace(PROXY, results=("PASS", "WARN"))
    assert benchmark.differences([SERVICE_FILE, either], findings) == []
    passed = [replace(each, result="PASS") if each.number == "4.1.3" else each for each in findings]
    assert benchmark.differences([SERVICE_FILE, either], passed) == []
    failed = [replace(each, result="FAIL") if each.number == "4.1.3" else each for each in findings]
    (said,) = benchmark.differences([SERVICE_FILE, either], failed)
    assert "expected.yml says PASS or WARN" in said


def test_check_that_is_no_more(findings: list[Finding]) -> None:
    gone = Entry("4.9.1", "Ensure something", ("WARN",), "it was so")
    assert benchmark.differences([*LISTED, gone], findings) == [
        "4.9.1 Ensure something: the scanner has no such check; take it out of expected.yml"
    ]


def test_number_that_is_another_check_now(findings: list[Finding]) -> None:
    (said,) = benchmark.differences([replace(SERVICE_FILE, title="Ensure something"), PROXY], findings)
    assert said.endswith("expected.yml has this number for `Ensure something`; look at the reason again, and correct the title")


def test_node_that_differs_from_the_others(findings: list[Finding]) -> None:
    other = [replace(each, machine="k8s-node2", result="PASS") for each in findings if each.number == "4.1.1"]
    (said,) = benchmark.differences(LISTED, [*findings, *other])
    assert "k8s-node2: PASS, and expected.yml says FAIL" in said


@pytest.mark.parametrize(
    ("text", "shown"), [("", "nothing"), ("Killed", "Killed"), ("[]", "[]"), ('{"Controls": [{}]}', '{"Controls": [{}]}')]
)
def test_no_answer_of_kube_bench_s(text: str, shown: str) -> None:
    with pytest.raises(LabError) as raised:
        benchmark.parse(text, "k8s-node1", "cis-1.10")
    assert str(raised.value) == f"kube-bench on k8s-node1 gave no list of checks ({shown}): run it again"


def test_run_without_a_check() -> None:
    with pytest.raises(LabError, match="ran no check"):
        benchmark.parse('{"Controls": []}', "k8s-node1", "cis-1.10")


def test_lab_of_another_benchmark() -> None:
    with pytest.raises(LabError) as raised:
        benchmark.parse(SAID.replace("cis-1.10", "cis-1.9"), "k8s-node1", "cis-1.10")
    assert str(raised.value).startswith(
        "kube-bench takes cis-1.9 for the Kubernetes of k8s-node1, and verify/cis/expected.yml goes by cis-1.10: give the lab a Kubernetes of that"
    )


def test_list_as_it_would_have_to_be(findings: list[Finding], tmp_path: Path) -> None:
    """Reasons stay where nothing changed, what passes is gone, what is new lacks one, and what nobody looked at stays."""
    passing = Entry("4.2.1", "Ensure that the --anonymous-auth argument is set to false", ("FAIL",), "once it was so")
    elsewhere = Entry("5.1.1", "Ensure something", ("FAIL", "WARN"), "it's so")
    written = benchmark.as_seen(Expected("cis-1.10", (SERVICE_FILE, passing, elsewhere)), findings)
    assert written.startswith("---\n# What of the CIS Kubernetes Benchmark")
    path = tmp_path / "expected.yml"
    path.write_text(written)
    with pytest.raises(LabError, match=r"the check 4\.1\.3 has no reason: say why it doesn't pass"):
        benchmark.load(path)
    path.write_text(written.replace("    reason:\n", "    reason: there is no such file\n"))
    assert benchmark.load(path) == Expected("cis-1.10", (SERVICE_FILE, PROXY, elsewhere))


def test_list_of_the_project_is_what_the_writer_writes() -> None:
    """So the file of a run can take its place, and only what changed differs."""
    expected = benchmark.load()
    found = [Finding("k8s-master", each.number, each.title, each.results[0]) for each in expected.entries]
    assert benchmark.as_seen(expected, found) == benchmark.LIST.read_text(encoding="utf-8")


ONE: dict[str, Any] = {"number": "1.1.1", "title": "Ensure something", "result": "FAIL", "reason": "it is so"}


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ([ONE, ONE], "the check 1.1.1 is there twice: leave one of them"),
        (
            [ONE | {"result": "BAD"}],
            "the result of 1.1.1 is BAD, and what the list is for is FAIL or WARN or INFO: give one of them, or take",
        ),
        ([ONE | {"result": "PASS"}], "the result of 1.1.1 is PASS, and what the list is for"),
        ([ONE | {"result": None}], "the result of 1.1.1 is empty, and what the list is for"),
        ([ONE | {"reason": None}], "the check 1.1.1 has no reason: say why it doesn't pass and stays so, or cure it"),
        ([{"number": "1.1.1"}], "can't be read (KeyError: 'result'): restore it with `git checkout` or mend it"),
        (None, "can't be read (TypeError: "),
    ],
)
def test_wrong_lists(tmp_path: Path, checks: object, said: str) -> None:
    path = tmp_path / "expected.yml"
    path.write_text(yaml.safe_dump({"benchmark": "cis-1.10", "checks": checks}))
    with pytest.raises(LabError) as raised:
        benchmark.load(path)
    assert said in str(raised.value)


def test_page_without_its_place() -> None:
    with pytest.raises(LabError, match="has no place for the list: restore the lines"):
        benchmark.shown("# Security\n", [])


def test_version_by_which_the_benchmark_is_chosen() -> None:
    assert (scan.minor("v1.37.2"), scan.minor("v1.38.0-rc.1")) == ("1.37", "1.38")


def test_scanner_that_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path))
    with pytest.raises(LabError) as raised:
        scan.archive()
    path = tmp_path / "store/scanner/kube-bench.tar.gz"
    assert str(raised.value) == f"kube-bench isn't built ({path} isn't there): run `outlive mirror scanner`, which takes Go and two minutes"


class Machine:
    """This machine in the place of one of the lab's: commands run here, as root."""

    def __init__(self, _lab: object, *, within: float) -> None:
        assert within == scan.SCANNED_WITHIN

    def run(self, _name: str, command: str, *arguments: str) -> SimpleNamespace:
        """Run a command."""
        line = command % tuple(map(shlex.quote, arguments))
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
        return SimpleNamespace(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def check(self, name: str, command: str, *arguments: str) -> str:
        """Run a command that has to go well."""
        done = self.run(name, command, *arguments)
        assert done.status == 0, done.stderr
        return str(done.stdout)

    def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that kube-bench goes to, on this machine."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as kube-bench does")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (bin_folder / "sudo").chmod(0o755)
    monkeypatch.setattr(scan, "FOLDER", str(tmp_path / "there"))
    monkeypatch.setattr(scan, "Remote", Machine)
    monkeypatch.setattr(scan, "ssh_command", lambda _host: ["env", f"PATH={bin_folder}:{os.environ['PATH']}", "sh", "-c"])
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "there"


def pack(tmp_path: Path, kube_bench: str) -> Path:
    """Put an archive into the cache with a program of that text in kube-bench's place."""
    for name, text in (("kube-bench", kube_bench), ("jq", "#!/bin/sh\necho jq is there\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    path = tmp_path / "cache/store/scanner/kube-bench.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in ("kube-bench", "jq"):
            archive.add(tmp_path / name, name)
    return path


LAB: Any = SimpleNamespace(host=lambda name: name)


def test_scan(machine: Path, tmp_path: Path) -> None:
    """Its checks have jq, and a /bin/sh that knows [[, which this machine's has not; nothing of it stays."""
    pack(tmp_path, '#!/bin/bash\necho "$@"\n/bin/sh -c \'[[ a == a ]] && jq\'\necho "$HOME $KUBECONFIG"; pwd\n')
    said = scan.scan(LAB, "k8s-master", ["master", "etcd"], "1.37").splitlines()
    assert said == [
        "run --targets master,etcd --version 1.37 --json",
        "jq is there",
        "/root /etc/kubernetes/admin.conf",
        str(machine),
    ]
    assert not machine.exists()
    assert subprocess.run(["readlink", "-f", "/bin/sh"], capture_output=True, text=True, check=True).stdout.strip() != "/usr/bin/bash"


def test_archive_that_does_not_arrive_whole(machine: Path, tmp_path: Path) -> None:
    path = pack(tmp_path, "#!/bin/sh\n")
    for size in (0, 100):
        path.write_bytes(path.read_bytes()[:size] if size else b"")
        with pytest.raises(LabError, match=r"kube-bench couldn't be handed over to k8s-master \(.+\): run it again"):
            scan.scan(LAB, "k8s-master", ["node"], "1.37")
        assert not machine.exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            f"echo 'error: {scan.NO_BENCHMARK} match for kubernetes version: 1.11' >&2; exit 1",
            "kube-bench knows no benchmark for Kubernetes 1.11, which ",
        ),
        ("echo broken >&2; exit 1", "kube-bench on k8s-master ended with status 1 (broken): run it again"),
    ],
)
def test_scanner_that_fails(machine: Path, tmp_path: Path, program: str, said: str) -> None:
    pack(tmp_path, f"#!/bin/sh\n{program}\n")
    with pytest.raises(LabError) as raised:
        scan.scan(LAB, "k8s-master", ["node"], "1.11")
    assert str(raised.value).startswith(said)
    assert not machine.exists()


def test_story_is_not_part_of_the_ordinary_checks() -> None:
    """It takes minutes, and kube-bench has to be built."""
    options = {**os.environ, "OUTLIVE_REPORTS": "/nonexistent"}
    pytest_command = [str(ROOT / ".venv/bin/python"), "-m", "pytest", "verify", "--collect-only", "-q", "-p", "no:cacheprovider"]
    listed = subprocess.run(pytest_command, cwd=ROOT, env=options, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "verify/static/test_security.py" in listed
    assert "verify/cis" not in listed
