"""MySQL's answers, told from those of everything in between."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import LabError, NotFoundError, RefusedError, UnreachableError
from outlive.base.wait import WaitTimeoutError
from outlive.lab import mysql, objects
from outlive.lab.kube import Cluster
from outlive.lab.mysql import Account, Password, Witness
from outlive.lab.objects import SecretKey
from tests import samples
from tests.fake_api import NAMESPACE, FakeApi
from tests.samples import ManualClock

ROOT = Account("mysql:5.6", SecretKey("mysql-root", "password"), Password("s3cret"))
DENIED = "ERROR 1045 (28000): Access denied for user 'root'@'10.244.0.7' (using password: YES)"


def test_account_comes_from_the_deployment_s_secret(fake_cluster: Cluster) -> None:
    account = mysql.account(fake_cluster, objects.deployment(samples.deployment()))
    assert (account.image, account.reference.name, account.password.reveal()) == ("mysql:5.6", "mysql-root", "s3cret")


def test_deployment_without_secret(fake_cluster: Cluster) -> None:
    with pytest.raises(LabError, match="takes MYSQL_ROOT_PASSWORD from no Secret"):
        mysql.account(fake_cluster, objects.deployment(samples.deployment(secret=False)))


def test_password_shows_itself_nowhere() -> None:
    assert "s3cret" not in f"{ROOT} {ROOT!r} {ROOT.password}"
    assert ROOT.password.hide("mysql -ps3cret") == "mysql -p…"
    assert Password("").hide("text") == "text"


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        (DENIED, LabError, r"refuses the password in Secret mysql-root \(key password; ERROR 1045.*put that one back"),
        ("Warning: x\nERROR 2003 (HY000): Can't connect to MySQL server on 'mysql' (111)", UnreachableError, "gave no answer .ERROR 2003"),
        ("ERROR 2005 (HY000): Unknown MySQL server host 'mysql' (-3)", UnreachableError, "ERROR 2005"),
        ("ERROR 1146 (42S02) at line 1: Table 'mysql.my_id' doesn't exist", RefusedError, "refuses the statement .ERROR 1146"),
        ("OCI runtime exec failed: error executing setns process: exit status 1", UnreachableError, "didn't run .*setns process"),
        ("", UnreachableError, "it printed nothing"),
    ],
)
def test_failures_are_told_apart(text: str, kind: type[LabError], sentence: str) -> None:
    error = mysql.failure(text, ROOT.reference)
    assert type(error) is kind
    with pytest.raises(LabError, match=sentence):
        raise error


def test_client_is_the_tutorial_s_command(fake_cluster: Cluster, tmp_path: Path, kubectl: Path) -> None:
    kubectl.write_text(
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/call; cat > {tmp_path}/sql; printf 'id\\n111\\n'; echo 'pod \"mysql-client\" deleted'\n"
    )
    assert mysql.tutorial_client(fake_cluster, ROOT, mysql.WRITE_ROW) == ["id", "111"]
    call = (tmp_path / "call").read_text()
    assert "run -i --rm" in call
    assert "--image=mysql:5.6 --restart=Never" in call
    assert call.strip().endswith("mysql-client -- mysql -h mysql -ps3cret")
    assert (tmp_path / "sql").read_text() == mysql.WRITE_ROW


@pytest.mark.parametrize("warning", ["Warning:", "mysql: [Warning]"])
def test_warnings_of_old_and_new_clients_are_no_rows(warning: str, fake_cluster: Cluster, kubectl: Path) -> None:
    """Where kubectl reads the answer from the pod's log, it comes with what the client said on the other stream."""
    said = f"{warning} Using a password on the command line interface can be insecure."
    kubectl.write_text(f"#!/bin/sh\ncat > /dev/null; echo '{said}'; printf 'id\\n111\\n'\n")
    assert mysql.tutorial_client(fake_cluster, ROOT, mysql.WRITE_ROW) == ["id", "111"]


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        (["id", "111", "count(*)", "1"], ["111"]),
        (["id", "111", "111", "count(*)", "2"], ["111", "111"]),
        (["count(*)", "0"], []),
        (["id", "count(*)", "0"], []),
    ],
)
def test_rows_without_their_heading(lines: list[str], rows: list[str]) -> None:
    assert mysql.parse_rows(lines) == rows


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["id"],
        ["id", "111"],
        ["111", "count(*)", "1"],
        ["id", "count(*)", "1"],
        ["id", "111", "count(*)", "2"],
        ["count(*)", "1"],
        ["count(*)"],
        ["error: timed out waiting for the condition"],
    ],
)
def test_output_that_is_no_answer_says_nothing_about_the_rows(lines: list[str]) -> None:
    with pytest.raises(UnreachableError, match="printed no whole answer"):
        mysql.parse_rows(lines)


def answering(monkeypatch: pytest.MonkeyPatch, *outputs: list[str]) -> list[str]:
    """Let the tutorial's client print these, one after another; return the list of what it was asked."""
    asked: list[str] = []

    def client(_cluster: Cluster, _account: Account, statements: str) -> list[str]:
        asked.append(statements)
        return outputs[len(asked) - 1]

    monkeypatch.setattr(mysql, "tutorial_client", client)
    return asked


def test_a_client_that_prints_nothing_is_asked_again(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, [], ["id", "111", "count(*)", "1"])
    monkeypatch.setattr(HOST_CLOCK, "rest", lambda _: None)
    assert mysql.read_rows(fake_cluster, ROOT) == ["111"]
    assert asked == ["use mysql; select id from my_id; select count(*) from my_id;"] * 2


def test_the_row_of_a_run_takes_an_earlier_one_s_place(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, *[["id", "1700000000", "count(*)", "1"]] * 2)
    mysql.write_run(fake_cluster, ROOT, 1700000000)
    assert asked == [
        "use mysql; create table if not exists power_off(id bigint); delete from power_off; insert into power_off values(1700000000); "
        "select id from power_off; select count(*) from power_off;"
    ]
    with pytest.raises(RefusedError, match="took the row 5 and has 1700000000 in power_off"):
        mysql.write_run(fake_cluster, ROOT, 5)


def test_the_tutorial_s_row_is_written_when_mysql_says_so(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements that didn't come leave no answer: they are given again."""
    asked = answering(monkeypatch, [], ["id", "111", "count(*)", "1"], ["count(*)", "0"])
    monkeypatch.setattr(HOST_CLOCK, "rest", lambda _: None)
    mysql.write_row(fake_cluster, ROOT)
    assert asked == [mysql.question(before=mysql.WRITE_ROW)] * 2
    with pytest.raises(RefusedError, match="took the tutorial's row 111 and has no row in my_id"):
        mysql.write_row(fake_cluster, ROOT)


def test_the_tutorial_s_table_is_dropped_when_mysql_says_so(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, [], ["count(*)", "0"], ["id", "my_id", "count(*)", "1"])
    monkeypatch.setattr(HOST_CLOCK, "rest", lambda _: None)
    mysql.drop_rows(fake_cluster, ROOT)
    assert len(asked) == 2
    assert asked[0].startswith("use mysql; drop table if exists my_id; select id from (select table_name as id from ")
    with pytest.raises(RefusedError, match="still has my_id"):
        mysql.drop_rows(fake_cluster, ROOT)


def test_a_witness_s_client_that_printed_nothing_read_no_row() -> None:
    witness = Witness(cast(Cluster, None), ROOT, "m")
    for line in ("OK", "OK ", "OK 111"):
        witness._take(line)
    assert [answer.ok for answer in witness.answers()] == [False, False, True]


def test_error_of_the_client_never_carries_the_password(fake_cluster: Cluster, kubectl: Path) -> None:
    kubectl.write_text('#!/bin/sh\necho "error: cannot run $@" >&2; exit 1\n')
    with pytest.raises(UnreachableError) as raised:
        mysql.tutorial_client(fake_cluster, ROOT, "select 1;")
    assert "s3cret" not in str(raised.value)
    assert "-p…" in str(raised.value)


def test_wrong_password(fake_cluster: Cluster, kubectl: Path) -> None:
    kubectl.write_text(f'#!/bin/sh\necho "{DENIED}" >&2; exit 1\n')
    with pytest.raises(LabError, match="Secret mysql-root"):
        mysql.read_rows(fake_cluster, ROOT)


def test_without_the_lab_s_kubectl_nothing_is_asked(
    fake_cluster: Cluster, api: FakeApi, tmp_path: Path, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, and at once; another kubectl on PATH isn't called."""
    other = tmp_path / "kubectl"
    kubectl.rename(other)
    other.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LabError, match=r"no kubectl of its own .*: run `outlive provision`, which fetches it") as raised:
        mysql.read_rows(fake_cluster, ROOT)
    assert not isinstance(raised.value, UnreachableError)
    assert not (tmp_path / "called").exists()
    assert api.requests == []


def test_client_that_hangs(fake_cluster: Cluster, kubectl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(mysql, "CLIENT_SECONDS", 0.1)
    with pytest.raises(UnreachableError, match="had no answer from MySQL") as raised:
        mysql.tutorial_client(fake_cluster, ROOT, "select 1;")
    assert raised.value.__cause__ is None


def witnessed(api: FakeApi, *logs: list[str]) -> FakeApi:
    """Prepare a witness that writes these lines, a list for each time its log is followed."""
    path = f"{NAMESPACE}/pods/{mysql.WITNESS_POD}"
    api.answers[path] = [samples.pod("w", phase="Pending", running=False), samples.pod("w")]
    api.logs = list(logs)
    return api


def test_witness_asks_from_a_pod_on_a_node_that_stays(fake_cluster: Cluster, api: FakeApi) -> None:
    witnessed(api, ["FAIL ERROR 2003 (HY000): Can't connect", "OK 111"], ["OK 111"])
    with Witness(fake_cluster, ROOT, "m") as witness:
        answers = witness.answers()
    assert [(answer.ok, answer.text) for answer in answers][:2] == [(False, "ERROR 2003 (HY000): Can't connect"), (True, "111")]
    spec = api.created[0]["spec"]
    assert spec["nodeName"] == "m"
    assert spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "mysql-root", "key": "password"}
    assert "s3cret" not in str(api.created)
    assert api.requests[-1].startswith("DELETE") or any(request.startswith("DELETE") for request in api.requests)


def test_witness_stops_at_a_wrong_password(fake_cluster: Cluster, api: FakeApi) -> None:
    witnessed(api, [f"FAIL {DENIED}"])
    with pytest.raises(LabError, match="refuses the password in Secret mysql-root"), Witness(fake_cluster, ROOT, "m"):
        pass
    assert any(request.startswith("DELETE") for request in api.requests[-3:])


def test_witness_without_an_answer(fake_cluster: Cluster, api: FakeApi, clock: ManualClock) -> None:
    witnessed(api)
    with (
        pytest.raises(WaitTimeoutError, match="MySQL, asked by the witness: wanted rows of my_id, last seen no answer"),
        Witness(fake_cluster, ROOT, "m", clock),
    ):
        pass


def test_witness_that_was_removed(fake_cluster: Cluster, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    witnessed(api, ["OK 111"])

    def gone(*_: str) -> None:
        raise NotFoundError("no pod")

    with Witness(fake_cluster, ROOT, "m") as witness:
        monkeypatch.setattr(fake_cluster, "follow_log", gone)
        witness._thread.join(timeout=30)
        with pytest.raises(LabError, match="was removed while it was needed"):
            witness.answers()


def test_a_kubectl_that_cannot_be_run_shows_no_password(fake_cluster: Cluster, kubectl: Path) -> None:
    kubectl.write_text("")
    with pytest.raises(LabError, match=r"The program .*/kubectl can't be run: remove it and run `outlive provision`") as raised:
        mysql.tutorial_client(fake_cluster, ROOT, "select 1;")
    assert raised.value.__suppress_context__
