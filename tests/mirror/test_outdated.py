"""Versions are compared rightly, and a registry that doesn't answer leaves "unknown"."""

import dataclasses
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.mirror import lock, outdated
from outlive.mirror.lock import DebianPackage
from outlive.mirror.outdated import Row, UnansweredError
from outlive.mirror.paths import PACKAGE
from outlive.mirror.serve import http_server
from tests.mirror.serving import serving

LOCK = lock.load()
NOBODY = "http://127.0.0.1:9"  # the port `discard`, on which nothing listens


@pytest.mark.parametrize(
    ("newest", "verdict"),
    [("v1.2.3", "up to date"), ("v1.3.0", "behind"), (None, "unknown")],
)
def test_verdict(newest: str | None, verdict: str) -> None:
    assert outdated.compare("Go", "etcd", "v1.2.3", newest) == Row("Go", "etcd", "v1.2.3", newest, verdict)


def _packages(*files: str) -> list[DebianPackage]:
    return [DebianPackage(f"pool/main/x/{file}.deb", 1, "ab") for file in files]


def test_debian_packages() -> None:
    locked = _packages(
        "curl_8.9-1_amd64", "less_668-1_amd64", "linux-image-6.12.9_6.12.9-1_amd64", "tzdata_2026c_all", "zstd_1.5~rc1_amd64"
    )
    now = _packages("curl_8.10-1_amd64", "less_668-1_amd64", "linux-image-6.12.10_6.12.10-1_amd64", "tzdata_2026b_all", "zstd_1.5_amd64")
    assert outdated.compare_debian("Debian", locked, now) == [
        Row("Debian", "curl:amd64", "8.9-1", "8.10-1", "behind"),
        Row("Debian", "linux-image-6.12.10:amd64", "-", "6.12.10-1", "new"),
        Row("Debian", "linux-image-6.12.9:amd64", "6.12.9-1", "-", "no longer needed"),
        # An archive's mirror may be behind the lock.
        Row("Debian", "tzdata:all", "2026c", "2026b", "newer than the archive's"),
        # A tilde sorts before the end.
        Row("Debian", "zstd:amd64", "1.5~rc1", "1.5", "behind"),
        Row("Debian", "1 of 5 packages", "", "", "up to date"),
    ]


def test_locked_packages_can_be_compared() -> None:
    for archive in (LOCK.debian, *(lock.load_extra(name).debian for name in lock.EXTRAS)):
        total = len(archive.packages)
        assert outdated.compare_debian("Debian", archive.packages, archive.packages) == [
            Row("Debian", f"{total} of {total} packages", "", "", "up to date")
        ]


def test_python_packages_that_are_asked_for() -> None:
    wanted = "# tools\nruff\n\npyyaml  # reads\n"
    locked = "attrs==1.0 \\\n    --hash=sha256:ab\npyyaml==6.0.3 \\\n    # via ruff==9\nruff==0.17.6 \\\n"
    assert outdated.pins(wanted, locked) == {"ruff": "0.17.6", "pyyaml": "6.0.3"}


def test_python_package_that_is_not_locked() -> None:
    with pytest.raises(LabError, match=r"requirements.lock has no mypy, which requirements.in names: run pip-compile as its first lines"):
        outdated.pins("mypy\nruff\n", "ruff==0.17.6 \\\n")


def test_every_python_package_of_the_project_is_locked() -> None:
    root = PACKAGE.parent
    assert all(outdated.pins((root / "requirements.in").read_text(), (root / "requirements.lock").read_text()).values())


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("ruff (0.17.7)\nAvailable versions: 0.17.7, 0.17.6\n  INSTALLED: 0.17.6\n  LATEST:    0.17.7\n", "0.17.7"),
        ("", None),
        ("something else\n", None),
    ],
)
def test_answer_of_pip(text: str, newest: str | None) -> None:
    assert outdated.parse_pip(text) == newest


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with serving(http_server("127.0.0.1", 0, tmp_path)) as address:
        yield address, tmp_path


def test_answer_of_npm(site: tuple[str, Path]) -> None:
    address, folder = site
    (folder / "latest").write_text('{"name": "mysql", "version": "5.6.25001"}')
    assert outdated.newest_of_npm(f"{address}/latest") == "5.6.25001"


@pytest.mark.parametrize("answer", ["not JSON", "[]", "{}"])
def test_npm_that_answers_something_else(site: tuple[str, Path], answer: str) -> None:
    address, folder = site
    (folder / "latest").write_text(answer)
    with pytest.raises(UnansweredError, match=f"{address}/latest: "):
        outdated.newest_of_npm(f"{address}/latest")


def test_npm_that_does_not_answer() -> None:
    with pytest.raises(UnansweredError, match=f"{NOBODY}/latest: .*refused"):
        outdated.newest_of_npm(f"{NOBODY}/latest")


def test_go_that_may_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    # Told so, Go calls a locked module the newest one where it's asked for updates.
    monkeypatch.setenv("GOPROXY", "off")
    with pytest.raises(UnansweredError, match=r"module lookup disabled by GOPROXY=off|go: No such file or directory"):
        outdated.newest_of_go("etcd", LOCK.programs["etcd"].module)


def test_pip_that_does_not_reach_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{NOBODY}/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    with pytest.raises(UnansweredError, match="No matching distribution found for ruff"):
        outdated.newest_of_pip("ruff")


def test_host_without_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnansweredError, match=r"^go: No such file or directory$"):
        outdated.newest_of_go("etcd", LOCK.programs["etcd"].module)


needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="this host has no apt-get, which asks the archive")


@needs_apt
def test_archive_that_does_not_answer() -> None:
    archive = dataclasses.replace(LOCK.debian, mirror=NOBODY)
    problems: list[str] = []
    rows = outdated.debian_rows([archive], problems)
    assert rows == [Row("Debian trixie", f"{len(archive.packages)} packages", archive.timestamp, None, "unknown")]
    assert len(problems) == 1
    assert problems[0].startswith("Debian trixie: apt-get update failed while resolving (")


@needs_apt
def test_archive_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outdated, "ARCHIVE_SECONDS", 1.0)
    problems: list[str] = []
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        archive = dataclasses.replace(LOCK.debian, mirror=f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert [row.verdict for row in outdated.debian_rows([archive], problems)] == ["unknown"]
        # apt by itself would wait for half a minute, several times.
        assert time.monotonic() - started < 20
    assert problems == ["Debian trixie: no answer in 1 s"]


def test_table_tells_behind_from_unknown() -> None:
    rows = [
        Row("Go", "etcd", "v3.7.0", "v3.7.3", "behind"),
        Row("npm", "mysql", "5.6", None, "unknown"),
        Row("Debian", "9 of 9", "", "", "up to date"),
    ]
    assert outdated.table(rows, ["npm mysql: connection refused"]) == (
        "                lock    newest\n"
        "Go      etcd    v3.7.0  v3.7.3  behind\n"
        "npm     mysql   5.6     ?       unknown\n"
        "Debian  9 of 9                  up to date\n"
        "\n"
        "No answer, so nothing is known of:\n"
        "  npm mysql: connection refused\n"
    )
