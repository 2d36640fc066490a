"""What a control plane says of itself on its own machine: its manifests, its processes, and what its programs said last before they ended."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import role_tasks
from .conftest import ROOT

MODULE = role_tasks.plugin("control_plane", "library/control_plane_programs.py")
FILTERS = role_tasks.plugin("control_plane", "filter_plugins/control_plane.py")
PROGRAMS = ["etcd", "kube-apiserver"]


def manifest(name: str, *flags: str, **container: Any) -> str:  # noqa: ANN401  whatever a manifest has
    """Return a manifest as kubeadm writes it."""
    made = {"command": [name, *flags], "image": f"registry.k8s.io/{name}:v1.37.2", "name": name, **container}
    return yaml.safe_dump({"kind": "Pod", "metadata": {"name": name, "namespace": "kube-system"}, "spec": {"containers": [made]}})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # As the programs of Kubernetes 1.37 and etcd 3.7 say it; a flag that etcd doesn't know is followed by all of its help.
        (["  -h, --help   help for kube-scheduler", "", "Error: unknown flag: --nope"], "Error: unknown flag: --nope"),
        (
            ["flag provided but not defined: -nope", "Usage:", "  --log-level 'info'  only debug, info, warn, error"],
            "flag provided but not defined: -nope",
        ),
        (
            ['invalid value "abc" for flag -election-timeout: parse error', "Usage:"],
            'invalid value "abc" for flag -election-timeout: parse error',
        ),
        (
            ["I1129 1 server.go] Version", 'E1129 22:32:46.433495 1 run.go:72] "command failed" err="x is not a valid cidr"', "goodbye"],
            'E1129 22:32:46.433495 1 run.go:72] "command failed" err="x is not a valid cidr"',
        ),
        (['{"level":"info"}', '{"level":"fatal","msg":"discovery failed"}'], '{"level":"fatal","msg":"discovery failed"}'),
        (["2026-11-29T22:33:12.1Z stderr F one", "2026-11-29T22:33:13.1Z stdout F  the   last ", ""], "the last"),
        ([], ""),
    ],
)
def test_last_words(lines: list[str], expected: str) -> None:
    assert MODULE.last_words(lines) == expected


def test_last_log_is_the_newest_that_has_a_line(tmp_path: Path) -> None:
    """A container that was started just now has said nothing yet; another program, and another node, have logs of their own."""
    for number, (folder, text) in enumerate(
        [
            ("kube-system_etcd-m_a/etcd/0.log", "of the pod before"),
            ("kube-system_etcd-m_b/etcd/1.log", "why it ended"),
            ("kube-system_etcd-m_b/etcd/2.log", ""),
            ("kube-system_etcd-n_b/etcd/9.log", "of another node"),
            ("kube-system_kube-apiserver-m_b/kube-apiserver/9.log", "of another program"),
            ("kube-system_etcd-m_b/await-api-server/9.log", "of another container"),
        ]
    ):
        path = tmp_path / folder
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        subprocess.run(["touch", f"--date=@{1000 + number}", str(path)], check=True)
    assert MODULE.last_log(tmp_path, "etcd", "m") == (["why it ended"], 1001)
    assert MODULE.last_log(tmp_path / "nowhere", "etcd", "m") == ([], 0)


@pytest.mark.parametrize(
    ("said", "later", "never"),
    [
        ("Error: unknown flag: --nope", 61, True),
        # It may be the program of before, which the kubelet hasn't replaced yet.
        ("Error: unknown flag: --nope", 59, False),
        ('E1129 1 run.go:72] "command failed" err="context deadline exceeded"', 999, False),
    ],
)
def test_whoever_refuses_its_flags_never_starts(tmp_path: Path, said: str, later: float, never: bool) -> None:
    """Nobody waits for it any longer; one that only ended may be well the next time."""
    manifest = tmp_path / "etcd.yaml"
    manifest.touch()
    assert MODULE.never_starts(manifest, [said], manifest.stat().st_mtime + later) is never
    assert MODULE.never_starts(tmp_path / "none", [said], 2e9 + later) is False


def test_manifests_are_all_that_the_kubelet_reads(tmp_path: Path) -> None:
    for name in ("etcd.yaml", "etcd.yaml.bak", "another", ".hidden.yaml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    assert MODULE.manifests(tmp_path) == {name: name for name in ("another", "etcd.yaml", "etcd.yaml.bak")}
    assert MODULE.manifests(tmp_path / "nowhere") == {}


def test_process_is_found_by_its_program() -> None:
    """It is told apart from the one that takes its place, also where that should get its number."""
    started = subprocess.Popen(["/usr/bin/outlive-etcd", "60"], executable=shutil.which("sleep"))
    try:
        (found,) = MODULE.processes(Path("/proc"), "/")["outlive-etcd"]
        number, begin = found.split()
        assert int(number) == started.pid
        assert int(begin) > 0
        # Another cluster on this machine isn't this one's.
        assert "outlive-etcd" not in MODULE.processes(Path("/proc"), "/kubepods")
    finally:
        started.kill()
        started.wait()
    assert "outlive-etcd" not in MODULE.processes(Path("/proc"), "/")


SYSTEMD = "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-1.scope"
OWN = "0123456789abcdef0123456789abcdef"
OTHER = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("group", "ours"),
    [
        (SYSTEMD.format(OWN), True),
        (f"0::/kubepods.slice/kubepods-pod{OWN}.slice/cri-containerd-1.scope", True),
        (f"4:memory:/kubepods/besteffort/pod{OWN}/1", True),
        (f"4:memory:/kubepods/pod{OWN}/1", True),
        # A user's, one of a cluster that a user runs in a pod, and one of a cluster that runs in a container.
        (SYSTEMD.format(OTHER.replace("-", "_")), False),
        (f"4:memory:/kubepods/burstable/pod{OTHER}/1", False),
        (f"{SYSTEMD.format(OTHER.replace('-', '_'))}{SYSTEMD.format(OWN)[3:]}", False),
        (f"0::/system.slice/docker-1.scope{SYSTEMD.format(OWN)[3:]}", False),
        ("0::/user.slice", False),
    ],
)
def test_process_of_another_pod_is_not_the_control_plane_s(tmp_path: Path, group: str, ours: bool) -> None:
    """A user's etcd runs in a pod too; what the kubelet makes of a manifest it calls by a checksum, wherever its logs are."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cmdline").write_bytes(b"/usr/local/bin/etcd\0--name=m\0")
    (tmp_path / "7/stat").write_text(f"7 (et cd) S {' '.join(str(each) for each in range(4, 30))}\n")
    (tmp_path / "7/cgroup").write_text(f"{group}\n")
    pods = yaml.safe_load((ROOT / "roles/control_plane/vars/main.yml").read_text(encoding="utf-8"))["__control_plane_pods"]
    assert MODULE.processes(tmp_path, pods) == ({"etcd": ["7 22"]} if ours else {})


def test_program_is_well_once_its_process_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends over and over again answers in between."""
    moments = iter([0.0, 28.0, 30.0, 59.0, 60.0, 0.0, 0.0])
    monkeypatch.setattr(MODULE.time, "monotonic", lambda: next(moments))
    first: dict[str, Any] = {}
    said = [MODULE.settling(first, "etcd", [running], [], 30) for running in ("1 5", "1 5", "2 9", "2 9", "2 9")]
    assert [bool(each) for each in said] == [True, True, True, True, False]
    assert said[3] == "it has run for 29 s only, and ended before"
    # It ran before this run changed anything.
    assert MODULE.settling({}, "etcd", ["1 5"], ["1 5"], 30) == ""
    assert MODULE.settling({}, "etcd", ["1 5"], [], 0) == ""


def test_end_of_a_large_log_is_enough(tmp_path: Path) -> None:
    log = tmp_path / "kube-system_etcd-m_a/etcd/0.log"
    log.parent.mkdir(parents=True)
    log.write_text("x" * MODULE.LAST_BYTES + "\nlast but one\nlast\n")
    assert MODULE.last_log(tmp_path, "etcd", "m")[0] == ["last but one", "last"]


OLD = [{"etcd": {"manifest": "1", "processes": ["10 5"]}}]
CUT_SHORT = [*OLD, {"etcd": {"manifest": "2", "processes": ["10 5"]}}]
NOTICED = [*OLD, {"etcd": {"manifest": "2", "processes": ["11 6"]}}]
"""What ran when a first run began, and when the one after it did, while the kubelet hadn't noticed the first one's manifest."""


@pytest.mark.parametrize(
    ("now", "before", "anew", "expected"),
    [
        ({"manifest": "1", "processes": ["10 5"]}, OLD, [], ""),
        ({"manifest": "1", "processes": []}, OLD, [], "no process of it runs"),
        ({"manifest": "2", "processes": ["10 5"]}, OLD, [], "it still runs as before"),
        ({"manifest": "2", "processes": ["10 5", "11 6"]}, OLD, [], "it still runs as before"),
        ({"manifest": "2", "processes": []}, OLD, [], "no process of it runs"),
        ({"manifest": "2", "processes": ["10 6"]}, OLD, [], ""),
        ({"manifest": "1", "processes": ["10 5"]}, OLD, ["etcd"], "it still runs as before"),
        ({"manifest": "1", "processes": ["11 5"]}, OLD, ["etcd"], ""),
        ({"manifest": "1", "processes": ["11 5"]}, [], [], ""),
        ({"manifest": "2", "processes": ["10 5"]}, CUT_SHORT, [], "it still runs as before"),
        ({"manifest": "2", "processes": ["11 6"]}, CUT_SHORT, [], ""),
        # Set back, and the kubelet has never noticed what it was set to.
        ({"manifest": "1", "processes": ["10 5"]}, CUT_SHORT, [], ""),
        ({"manifest": "1", "processes": ["10 5"]}, CUT_SHORT, ["etcd"], "it still runs as before"),
        ({"manifest": "1", "processes": ["11 6"]}, NOTICED, [], "it still runs as before"),
        ({"manifest": "1", "processes": ["12 7"]}, NOTICED, [], ""),
    ],
)
def test_what_a_program_wants(now: dict[str, Any], before: list[dict[str, Any]], anew: list[str], expected: str) -> None:
    """A program whose manifest changed, or that was stopped, is another process than before."""
    assert MODULE.wanting("etcd", now, before, anew, "", []) == expected


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port of a server that answers each path with the status that it names."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:]))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_health(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever refuses to tell is there; a proxy of the machine isn't asked for itself."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = f"http://127.0.0.1:{port}"
    assert [MODULE.unwell(f"{url}/{status}", []) for status in (200, 401, 403)] == ["", "", ""]
    # The API server refuses everybody while it knows no roles yet.
    assert MODULE.unwell(f"{url}/403", [], tells=True) == f"{url}/403 says 403 Forbidden"
    # Whom it doesn't know has an old certificate, whatever the setting is.
    assert MODULE.unwell(f"{url}/401", [], tells=True) == (
        f"{url}/401 says 401 Unauthorized: where the certificates have expired, playbooks/renew-certificates.yml makes others"
    )
    assert MODULE.unwell(f"{url}/500", []) == f"{url}/500 says 500 Internal Server Error"
    assert "Connection refused" in MODULE.unwell("http://127.0.0.1:9/", [])
    assert "https://127.0.0.1:9/: " in MODULE.unwell("https://127.0.0.1:9/", ["/nowhere.crt", "/nowhere.key"])


def run(**arguments: Any) -> dict[str, Any]:  # noqa: ANN401  whatever the module takes
    """Run the module as Ansible does, and return what it says."""
    done = subprocess.run(
        [sys.executable, str(MODULE.__file__), json.dumps({"ANSIBLE_MODULE_ARGS": arguments})],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_first_program_that_does_not_run_is_named(tmp_path: Path, port: int) -> None:
    """In their order: what comes after it may only be waiting for it."""
    log = tmp_path / "logs/kube-system_outlive-api-m_1/outlive-api/4.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-29T22:33:12.1Z stderr F Error: unknown flag: --nope\n")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/outlive-etcd.yaml").write_text("1")
    told = {"manifests": f"{tmp_path}/manifests", "logs": f"{tmp_path}/logs", "node": "m", "pods": "/", "read": [__file__, "/nowhere"]}
    started = subprocess.Popen(["outlive-etcd", "infinity"], executable=shutil.which("sleep"))
    try:
        before = run(**told)
        assert list(before["files"]) == [__file__]
        assert before["manifests"] == {"outlive-etcd.yaml": "1"}
        programs = {"outlive-etcd": f"http://127.0.0.1:{port}/200"}
        assert "failed" not in run(**told, programs=programs, before=[before["programs"]], timeout=0)
        said = run(**told, programs={**programs, "outlive-api": "", "outlive-scheduler": ""}, before=[before["programs"]], timeout=0)
        assert said["msg"] == (
            "outlive-api doesn't run on m after 0 s (no process of it runs); the last that its log says is: Error: unknown flag: --nope -- correct the "
            "setting of the inventory that it was started with, then run this again, which repairs it. All of it: /var/log/pods/kube-system_outlive-api-m_*."
        )
        (tmp_path / "manifests/outlive-etcd.yaml").write_text("2")
        said = run(**told, programs=programs, before=[before["programs"]], timeout=0)
        assert "outlive-etcd doesn't run on m after 0 s (it still runs as before); it has no log" in said["msg"]
        said = run(**told, programs={"outlive-api": ""}, timeout=0, cure="mend it")
        assert "is: Error: unknown flag: --nope -- mend it. All of it" in said["msg"]
    finally:
        started.kill()
        started.wait()


@pytest.mark.parametrize(("begun", "settled", "least"), [(1, 3600, 0), (2, 3, 3)])
def test_second_run_does_not_take_a_program_at_its_word(tmp_path: Path, begun: int, settled: int, least: int) -> None:
    """The first one may have failed since it ends over and over again: what answers now hasn't been seen to stay."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/outlive-etcd.yaml").write_text("1")
    started = subprocess.Popen(["outlive-etcd", "infinity"], executable=shutil.which("sleep"))
    try:
        told = {"manifests": f"{tmp_path}/manifests", "logs": f"{tmp_path}/logs", "pods": "/"}
        before = [run(**told)["programs"]] * begun
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / str(started.pid)).symlink_to(f"/proc/{started.pid}")
        begin = time.monotonic()
        said = run(**told, processes=f"{tmp_path}/proc", programs={"outlive-etcd": ""}, before=before, timeout=60, settled=settled)
        assert "failed" not in said
        assert time.monotonic() - begin >= least
    finally:
        started.kill()
        started.wait()


def test_probe_says_where_a_program_is_asked() -> None:
    """As kubeadm writes it: by the port's name, at the address that the flags give it."""
    ports = [{"containerPort": 2381, "name": "probe-port"}]
    probe = {"httpGet": {"host": "127.0.0.1", "path": "/readyz", "port": "probe-port", "scheme": "HTTP"}}
    found = {
        "etcd.yaml": manifest("etcd", ports=ports, readinessProbe=probe, livenessProbe={}),
        "kube-apiserver.yaml": manifest("kube-apiserver", livenessProbe={"httpGet": {"host": "::1", "port": 6443, "scheme": "HTTPS"}}),
        "broken.yaml": "{",
        "exec.yaml": manifest("exec", readinessProbe={"exec": {"command": ["true"]}}),
    }
    assert FILTERS.health(found, ["etcd", "kube-apiserver", "broken", "exec", "missing"]) == {
        "etcd": "http://127.0.0.1:2381/readyz",
        "kube-apiserver": "https://[::1]:6443/",
        "broken": "",
        "exec": "",
        "missing": "",
    }


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("kube-apiserver.yaml", manifest("kube-apiserver"), False),
        ("kube-apiserver.yaml.bak", manifest("kube-apiserver"), True),
        ("kube-apiserver.yaml~", "", True),
        ("etcd.json", json.dumps(yaml.safe_load(manifest("etcd"))), True),
        ("before.yml", manifest("etcd"), True),
        ("haproxy.yaml", manifest("haproxy"), False),
        ("notes", "not: [yaml", False),
        ("list", "[]", False),
    ],
)
def test_duplicates(name: str, text: str, named: bool) -> None:
    assert FILTERS.duplicates({name: text}, PROGRAMS) == ([name] if named else [])


@pytest.mark.parametrize(
    "text", ["", "spec: foo", "spec: {containers: foo}", "spec: {containers: [foo]}", "spec: {containers: [{command: foo}]}", "[]", "{"]
)
def test_manifest_that_is_no_pod(text: str) -> None:
    """It says nothing, and is named by what reads it."""
    found = {"etcd.yaml": text, "kube-apiserver.yaml": manifest("kube-apiserver")}
    assert FILTERS.unreadable(found, [*PROGRAMS, "missing"]) == ["etcd", "missing"]
    assert FILTERS.health(found, ["etcd"]) == {"etcd": ""}
    assert FILTERS.flags(found, "etcd") == {}
    assert FILTERS.version({"kube-apiserver.yaml": text}) == ""
    assert FILTERS.duplicates(found, PROGRAMS) == []


def test_checksum_is_of_the_programs_manifests() -> None:
    found = {"etcd.yaml": manifest("etcd"), "kube-apiserver.yaml": manifest("kube-apiserver")}
    made = FILTERS.checksum(found, PROGRAMS)
    assert FILTERS.checksum({**found, "another.yaml": "3"}, PROGRAMS) == made
    assert len({made, FILTERS.checksum({**found, "etcd.yaml": manifest("etcd", "--more")}, PROGRAMS), FILTERS.checksum({}, PROGRAMS)}) == 3
    # What the kubelet reads is the same, and it restarts nothing.
    written = "# by hand\n\n" + json.dumps(yaml.safe_load(manifest("etcd")), indent=1)
    assert FILTERS.checksum({**found, "etcd.yaml": written}, PROGRAMS) == made


def test_comment_is_no_other_manifest() -> None:
    """The kubelet restarts nothing for it, and its end would be waited for in vain."""
    text = manifest("etcd")
    made, commented, other = (
        MODULE.programs({"etcd.yaml": each}, {}, [])["etcd"]["manifest"]
        for each in (text, f"# by hand\n{text}\n  # here\n", text.replace("etcd:v", "etcd:w"))
    )
    assert made == commented != other


def test_version() -> None:
    assert FILTERS.version({"kube-apiserver.yaml": manifest("kube-apiserver")}) == "1.37.2"
    assert (
        FILTERS.version({"kube-apiserver.yaml": manifest("kube-apiserver", image="registry:5000/kube-apiserver:v1.38.0-rc.1")})
        == "1.38.0-rc.1"
    )
    assert FILTERS.version({}) == FILTERS.version({"kube-apiserver.yaml": ""}) == ""


def test_differences() -> None:
    """What isn't known differs in nothing, and a flag of the inventory's own isn't the setting's."""
    wanted = {"setting": "subnet", "value": "10.0.0.0/8", "program": "etcd", "flag": "net", "given": {}}
    made = {"etcd.yaml": manifest("etcd", "--name=m", "--net=10.1.0.0/16")}
    assert FILTERS.differences(made, [wanted]) == ["subnet is 10.0.0.0/8, and the cluster was made with 10.1.0.0/16"]
    assert (
        FILTERS.differences(made, [{**wanted, "given": {"net": "x"}}, {**wanted, "flag": "other"}, {**wanted, "program": "kube-apiserver"}])
        == []
    )
    assert FILTERS.differences(made, [{**wanted, "value": "10.1.0.0/16"}]) == []


def test_names_of_the_certificate() -> None:
    """Those that kubeadm gives it, as openssl shows them, and the settings'."""
    shown = [
        "DNS:k8s-master",
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        "DNS:kubernetes.default.svc.cluster.local",
    ]
    wanted = FILTERS.certificate_names(["Lab.example", "198.51.100.7", "2001:db8::0:1"], "k8s-master", "192.0.2.10", "10.96.0.0/12")
    more = ["IP:10.96.0.1", "IP Address:192.0.2.10", "DNS:lab.example", "IP:198.51.100.7", "IP:2001:db8:0:0:0:0:0:1"]
    assert FILTERS.plain_names([*shown, *more]) == wanted
    assert FILTERS.plain_names(shown) != wanted
