"""The mysql images' first start, for real: their own root file system, entrypoint and server, without a container runtime.

Runs where the mirror is built and this is root; the other tests don't need it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml

from outlive.base.paths import ROOT, cache
from outlive.base.wait import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a root file system is entered by root only"),
]

PASSWORD = "it's a \\ password;\n"
_NAMESPACES = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child")
LIMIT_SECONDS = 120.0
CONFIG = ROOT / "roles/storage_tutorial/templates/mysql/mysql-config.yml.j2"

DOCKER_HUB = """#!/bin/bash
set -eo pipefail
docker_temp_server_stop() { MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysqladmin --user=root shutdown; }
[ "${1:0:1}" != - ] || set -- mysqld "$@"
[ "$1" = mysqld ] || exec "$@"
if [ ! -d /var/lib/mysql/mysql ]; then
	"$@" --initialize-insecure
	"$@" --daemonize --skip-networking
	mysql --user=root --execute="ALTER USER root@localhost IDENTIFIED BY '$MYSQL_ROOT_PASSWORD'"
	for f in /docker-entrypoint-initdb.d/*; do . "$f"; done
	docker_temp_server_stop
fi
exec "$@"
"""
"""How Docker Hub's image starts: the order of its own script's steps, and the names in it that the tutorial's script builds on."""


@dataclass(frozen=True)
class Series:
    """An image of a series of MySQL, and what differs from the other ones."""

    tag: str
    image: str
    client: str
    moments: tuple[str, ...]
    """What is said while the first start goes on."""
    vital: str
    """A file below the data folder without which there is no server."""
    version: tuple[str, int, Literal["big", "little"]]
    """Where a server writes its version as a number of four bytes: the file, the offset, and the order of the bytes."""

    def __str__(self) -> str:
        """Return the series' name in reports."""
        return self.tag


SERIES = (
    Series(
        "5.6",
        "image-mysql",
        "MariaDB",
        ("initialising /var/lib/mysql", "starting as process", "LSN="),
        "mysql/user.MYD",
        ("mysql/user.frm", 51, "little"),
    ),
    Series(
        "9.7",
        "image-mysql-9.7",
        "Ver 9.7.",
        ("initialising /var/lib/mysql", "InnoDB initialization has started", "InnoDB initialization has ended"),
        "mysql.ibd",
        ("mysql.ibd", 8, "big"),
    ),
)


class Server:
    """A container's stand-in: one root file system with namespaces of its own for each start."""

    def __init__(self, root: Path, series: Series) -> None:
        self.root = root
        self.series = series
        self.data = root / "var/lib/mysql"
        self.log = root.parent / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start the entrypoint as the container runtime does; the process is the namespaces' first one."""
        inside = f'mount -t proc proc "{self.root}/proc" && mount --bind /dev "{self.root}/dev" && exec chroot "{self.root}" "$@"'
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_NAMESPACES, "sh", "-c", inside, "sh", "docker-entrypoint.sh", *words],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._process

    def wait_for(self, text: str, after: str = "") -> None:
        """Wait until the log has `text` behind `after`."""
        assert self._process is not None
        deadline = time.monotonic() + LIMIT_SECONDS
        while text not in (self.said().rpartition(after)[2] if after else self.said()):
            assert self._process.poll() is None, f"the server ended before it said {text!r}:\n{self.said()}"
            assert time.monotonic() < deadline, f"the server didn't say {text!r} in {LIMIT_SECONDS} s:\n{self.said()}"
            time.sleep(0.05)

    def wait_until_ready(self) -> None:
        """Wait until clients are served. A server that runs for the first start alone says that it is ready, too."""
        self.wait_for("mysqld: ready for connections")
        if "entrypoint: initialising" in self.said():
            self.wait_for("entrypoint: initialised")
            self.wait_for("mysqld: ready for connections", after="entrypoint: initialised")

    def run(self, *words: str, **environment: str) -> int:
        """Start the entrypoint and give its exit status."""
        return self.start(*words, **environment).wait(LIMIT_SECONDS)

    def said(self) -> str:
        """Give all that was said since the last start."""
        return self.log.read_text(errors="replace")

    def query(self, sql: str, user: str = "root", password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        """Ask the running server by the image's own client."""
        return subprocess.run(
            ["chroot", self.root, "mysql", "--skip-column-names", "--user", user, "--execute", sql],
            env={"PATH": "/usr/sbin:/usr/bin:/bin", "MYSQL_PWD": password},
            capture_output=True,
            text=True,
            check=False,
        )

    def first_child(self) -> int:
        """Give the process that is number 1 in the server's namespace."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def wait_until_it_waits(self) -> None:
        """Wait until it has asked for its lock in vain, and pauses."""
        wait_for("the lock", "waited for", lambda: "sleep" in self._members(), bool, within=LIMIT_SECONDS, every=0.05)

    def _members(self) -> set[str]:
        """Give the names of the processes of the server's namespace."""
        assert self._process is not None
        found, names = [self._process.pid], set()
        while found:
            process = Path("/proc") / str(found.pop())
            with suppress(OSError):  # it has ended
                names.add((process / "comm").read_text().strip())
                found += map(int, (process / "task" / process.name / "children").read_text().split())
        return names

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the server: SIGTERM as the kubelet does, SIGKILL as a power cut does to the process."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self.first_child(), number)
            self._process.wait(LIMIT_SECONDS)


@pytest.fixture(scope="module", params=SERIES, ids=str)
def series(request: pytest.FixtureRequest) -> Series:
    """Give each series whose image is there."""
    found: Series = request.param
    if not (cache() / "store" / found.image / "index.json").exists():
        pytest.skip(f"the mirror has no mysql:{found.tag}")
    return found


@pytest.fixture(scope="module")
def image(series: Series, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the image's root file system."""
    folder = tmp_path_factory.mktemp("mysql")
    # umoci unpacks no zstd.
    copy = ["skopeo", "--insecure-policy", "copy", "--dest-compress-format", "gzip"]
    source = cache() / "store" / series.image
    for command in (
        [*copy, f"oci:{source}:{series.tag}", f"oci:{folder / 'layout'}:{series.tag}"],
        ["umoci", "unpack", "--image", f"{folder / 'layout'}:{series.tag}", str(folder / "bundle")],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return folder / "bundle/rootfs"


@pytest.fixture
def server(image: Path, series: Series) -> Iterator[Server]:
    server = Server(image, series)
    for path in server.data.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.chown(server.data, 999, 999)
    yield server
    server.end(signal.SIGKILL)


def _data(server: Server) -> Mapping[str, bytes]:
    return {str(path.relative_to(server.data)): path.read_bytes() for path in server.data.rglob("*") if path.is_file()}


def test_first_start_makes_the_accounts_and_data_outlives_a_restart(server: Server) -> None:
    server.start("mysqld", MYSQL_ROOT_PASSWORD=PASSWORD, MYSQL_DATABASE="shop", MYSQL_USER="bob", MYSQL_PASSWORD="b'ob")
    server.wait_until_ready()
    assert server.query("SELECT Host FROM mysql.user WHERE User = 'root' ORDER BY Host").stdout.split() == ["%", "localhost"]
    created = server.query("CREATE TABLE t (a INT); INSERT INTO t VALUES (111)", "bob", "b'ob")
    assert created.returncode != 0 and "No database selected" in created.stderr
    created = server.query("CREATE TABLE shop.t (a INT); INSERT INTO shop.t VALUES (111)", "bob", "b'ob")
    assert created.returncode == 0, created.stderr
    assert "denied" in server.query("SELECT 1 FROM mysql.user", "bob", "b'ob").stderr
    wrong = server.query("SELECT 1", password="wrong")
    assert "Access denied for user 'root'@'localhost'" in wrong.stderr
    status = Path(f"/proc/{server.first_child()}/status").read_text()
    assert "Uid:\t999" in status
    assert PASSWORD.strip() not in Path(f"/proc/{server.first_child()}/environ").read_text()
    server.end()
    assert not (server.data / ".initialising").exists()
    # The variables of a later start change nothing.
    server.start("mysqld", MYSQL_ROOT_PASSWORD="another")
    server.wait_until_ready()
    assert server.query("SELECT a FROM shop.t").stdout.strip() == "111"
    server.end(signal.SIGKILL)
    server.start("mysqld", "--max-connections=20")
    server.wait_until_ready()
    assert server.query("SELECT a, @@max_connections FROM shop.t").stdout.split() == ["111", "20"]


def test_password_in_a_file(server: Server) -> None:
    secret = server.root / "run/secret"
    secret.write_text("from a file\n")
    secret.chmod(0o400)
    server.start("--skip-networking", MYSQL_ROOT_PASSWORD_FILE="/run/secret")
    server.wait_until_ready()
    assert server.query("SELECT 1", password="from a file").stdout.strip() == "1"


def test_empty_password_only_where_it_is_asked_for(server: Server) -> None:
    server.start("mysqld", MYSQL_ALLOW_EMPTY_PASSWORD="yes")
    server.wait_until_ready()
    assert server.query("SELECT 1", password="").stdout.strip() == "1"


def test_no_password_is_one_sentence_and_leaves_the_folder_empty(server: Server) -> None:
    assert server.run("mysqld") == 1
    assert server.said() == (
        "entrypoint: the data folder is empty and no password is given: set MYSQL_ROOT_PASSWORD, or MYSQL_ALLOW_EMPTY_PASSWORD=yes\n"
    )
    assert list(server.data.iterdir()) == []


def test_value_and_file_at_once(server: Server) -> None:
    assert server.run("mysqld", MYSQL_ROOT_PASSWORD="a", MYSQL_ROOT_PASSWORD_FILE="/run/secret") == 1
    assert "MYSQL_ROOT_PASSWORD and MYSQL_ROOT_PASSWORD_FILE are both set: set one of them" in server.said()


def test_secret_that_is_not_mounted(server: Server) -> None:
    assert server.run("mysqld", MYSQL_ROOT_PASSWORD_FILE="/run/none") == 1
    assert "MYSQL_ROOT_PASSWORD_FILE names /run/none, which can't be read: mount the secret there" in server.said()


def test_wrong_option_of_the_server(server: Server) -> None:
    assert server.run("mysqld", "--no-such-option", MYSQL_ROOT_PASSWORD="a") == 1
    assert "mysqld refuses its options (mysqld --no-such-option): run 'mysqld --verbose --help' with them to see why" in server.said()


def test_account_that_mysql_does_not_take(server: Server) -> None:
    """The folder counts as empty afterwards: a start with another name begins anew."""
    if server.series.tag == "5.6":
        pytest.skip("5.6 writes the accounts as rows and takes any name")
    assert server.run("mysqld", MYSQL_ROOT_PASSWORD="a", MYSQL_USER="u" * 33, MYSQL_PASSWORD="a") == 1
    assert "the accounts can't be made: see the server's lines above, set MYSQL_DATABASE, MYSQL_USER" in server.said()
    server.start("mysqld", MYSQL_ROOT_PASSWORD="a", MYSQL_USER="u", MYSQL_PASSWORD="a")
    server.wait_until_ready()
    assert server.query("SELECT 1", "u", "a").stdout.strip() == "1"


def test_another_command_is_run_as_it_is(server: Server) -> None:
    assert server.run("mysql", "--version") == 0
    assert server.series.client in server.said()
    assert server.run("mysqld", "--version") == 0
    assert f"Ver {server.series.tag}." in server.said()
    assert list(server.data.iterdir()) == []


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_first_start_cut_short_is_begun_anew(server: Server, moment: int) -> None:
    server.start("mysqld", MYSQL_ROOT_PASSWORD="first")
    server.wait_for(server.series.moments[moment])
    server.end(signal.SIGKILL)
    assert (server.data / ".initialising").exists()
    # What a power cut may leave of it: files that are there and empty.
    for file in server.data.glob(server.series.vital):
        file.write_bytes(b"")
    server.start("mysqld", MYSQL_ROOT_PASSWORD="second")
    server.wait_until_ready()
    assert "an earlier first start was cut short: beginning anew" in server.said()
    assert server.query("SELECT 1", password="second").stdout.strip() == "1"
    assert not (server.data / ".initialising").exists()


def test_folder_with_something_else_in_it_is_never_touched(server: Server) -> None:
    (server.data / "important").write_text("not MySQL's")
    assert server.run("mysqld", MYSQL_ROOT_PASSWORD="a") == 1
    assert "the data folder holds /var/lib/mysql/important and no MySQL data: empty it, or mount another volume" in server.said()
    assert (server.data / "important").read_text() == "not MySQL's"


def test_damaged_data_is_never_made_anew(server: Server) -> None:
    server.start("mysqld", MYSQL_ROOT_PASSWORD=PASSWORD)
    server.wait_until_ready()
    server.end()
    (server.data / server.series.vital).unlink()
    before = _data(server)
    assert server.run("mysqld", MYSQL_ROOT_PASSWORD=PASSWORD) != 0
    after = _data(server)
    assert server.series.vital not in after
    assert {name: content for name, content in after.items() if name.startswith("mysql/")} == {
        name: content for name, content in before.items() if name.startswith("mysql/")
    }


def _tutorial_s_script(server: Server) -> None:
    """Put the script of the tutorial's manifests where /run/start.sh is called."""
    script = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["data"]["start.sh"]
    (server.root / "run/start.sh").write_text(script, encoding="utf-8")


def test_data_of_another_series_is_refused_before_anything_is_written(server: Server) -> None:
    """By the script of the tutorial's manifests, which starts the server otherwise as the image does."""
    _tutorial_s_script(server)
    for _ in ("its first start", "its second"):
        server.start("sh", "/run/start.sh", "--skip-networking", MYSQL_ROOT_PASSWORD="a")
        server.wait_until_ready()
        server.end()
    name, offset, order = server.series.version
    with (server.data / name).open("r+b") as file:
        file.seek(offset)
        made = int.from_bytes(file.read(4), order)
        assert f"{made // 10000}.{made // 100 % 100}" == server.series.tag
        for other in (made + 100, made - 100):
            file.seek(offset)
            file.write(other.to_bytes(4, order))
            file.flush()
            before = _data(server)
            assert server.run("sh", "/run/start.sh", "--skip-networking", MYSQL_ROOT_PASSWORD="a") == 1
            assert (
                f"The volume holds data of MySQL {other // 10000}.{other // 100 % 100}, which the image's MySQL {server.series.tag} doesn't open: "
                in server.said()
            )
            assert _data(server) == before


def test_the_second_of_two_waits_for_the_first_s_end(server: Server) -> None:
    """However that comes; and who waits serves nobody, writes nothing, and ends at once when it is told to."""
    _tutorial_s_script(server)
    told = {"MYSQL_STANDBY": "true", "MYSQL_ROOT_PASSWORD": "a"}
    servers = [server, Server(server.root, server.series), Server(server.root, server.series)]
    for number, each in enumerate(servers):
        each.log = server.root.parent / f"log{number}"
    try:
        first, second, third = servers
        first.start("sh", "/run/start.sh", "--skip-networking", **told)
        first.wait_until_ready()
        assert first.query("CREATE DATABASE shop", password="a").returncode == 0
        for ends, follows, number in ((first, second, signal.SIGKILL), (second, third, signal.SIGTERM)):
            waiting = follows.start("sh", "/run/start.sh", "--skip-networking", **told)
            follows.wait_until_it_waits()
            assert "ready for connections" not in follows.said()
            ends.end(number)
            follows.wait_until_ready()
            assert "shop" in follows.query("SHOW DATABASES", password="a").stdout.split()
            assert waiting.poll() is None
        waiting = first.start("sh", "/run/start.sh", "--skip-networking", **told)
        first.wait_until_it_waits()
        before = _data(first)
        first.end()
        assert waiting.returncode == 143
        assert _data(first).keys() == before.keys()
        assert first.said() == ""
        assert "shop" in third.query("SHOW DATABASES", password="a").stdout.split()
    finally:
        for each in servers[1:]:
            each.end(signal.SIGKILL)


@pytest.fixture
def hub(server: Server) -> Iterator[Mapping[str, str]]:
    """Give the environment in which the root file system starts as Docker Hub's image does, by the tutorial's script."""
    if server.series.tag == "5.6":
        pytest.skip("the mirror's 5.6 lacks the programs that its first start takes at Docker Hub")
    _tutorial_s_script(server)
    entrypoint, hooks = server.root / "run/hub/docker-entrypoint.sh", server.root / "docker-entrypoint-initdb.d"
    entrypoint.parent.mkdir()
    entrypoint.write_text(DOCKER_HUB, encoding="utf-8")
    entrypoint.chmod(0o755)
    hooks.mkdir()
    yield {"PATH": "/run/hub:/usr/sbin:/usr/bin:/sbin:/bin", "MYSQL_ROOT_PASSWORD": "a"}
    shutil.rmtree(entrypoint.parent)
    shutil.rmtree(hooks)


@pytest.mark.parametrize("moment", ["InnoDB initialization has ended", "ready for connections"])
def test_docker_hub_s_first_start_cut_short_is_begun_anew(server: Server, hub: Mapping[str, str], moment: str) -> None:
    """And at once, when the pod is deleted: the next one's server is started beside it."""
    process = server.start("sh", "/run/start.sh", "--max-connections=20", **hub)
    server.wait_for(moment)
    server.end()
    assert process.returncode == 143
    assert (server.data / ".initialising").exists() and (server.data / "ibdata1").exists()
    server.start("sh", "/run/start.sh", "--max-connections=20", **hub)
    server.wait_for("port: 3306")
    assert "An earlier first start was cut short: beginning anew." in server.said()
    assert not (server.data / ".initialising").exists()
    assert server.query("CREATE DATABASE shop", password="a").returncode == 0
    server.end(signal.SIGKILL)
    server.start("sh", "/run/start.sh", "--max-connections=20", **hub)
    server.wait_for("port: 3306")
    assert "anew" not in server.said()
    assert "shop" in server.query("SHOW DATABASES", password="a").stdout.split()


def test_docker_hub_s_first_start_is_not_ended_by_another(server: Server, hub: Mapping[str, str]) -> None:
    """A start that another one has begun anew doesn't declare that one's folder initialised, and serves nobody."""
    process = server.start("sh", "/run/start.sh", "--max-connections=20", **hub)
    server.wait_for("InnoDB initialization has ended")
    (server.data / ".initialising").write_text("another's\n")
    assert process.wait(LIMIT_SECONDS) == 1
    assert (server.data / ".initialising").read_text() == "another's\n"


def test_folder_that_mysql_cannot_write(server: Server) -> None:
    # As an export that refuses chown: root in the container can't help itself.
    server.data.chmod(0o500)
    inside = ["setpriv", "--reuid=999", "--regid=999", "--clear-groups", "docker-entrypoint.sh", "mysqld"]
    try:
        assert server.run(*inside, MYSQL_ROOT_PASSWORD="a") == 1
        assert "the data folder /var/lib/mysql can't be written by user 999: give it to that user on the server" in server.said()
    finally:
        server.data.chmod(0o700)


def test_ordinary_user_starts_it_too(server: Server) -> None:
    (server.root / "run/mysqld").chmod(0o777)
    server.start("setpriv", "--reuid=999", "--regid=999", "--clear-groups", "docker-entrypoint.sh", "mysqld", MYSQL_ROOT_PASSWORD="a")
    server.wait_until_ready()
    assert server.query("SELECT 1", password="a").stdout.strip() == "1"
