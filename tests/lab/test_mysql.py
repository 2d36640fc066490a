"""MySQL's answers, told from those of everything in between."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def kubectl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program named kubectl on PATH."""
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_client_is_the_tutorial_s_command(fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(
        tmp_path,
        monkeypatch,
        f"echo \"$@\" > {tmp_path}/call; cat > {tmp_path}/sql; printf 'id\\n111\\n'; echo 'pod \"mysql-client\" deleted'",
    )
    assert mysql.tutorial_client(fake_cluster, ROOT, mysql.WRITE_ROW) == ["id", "111"]
    call = (tmp_path / "call").read_text()
    assert "run -i --rm" in call
    assert "--image=mysql:5.6 --restart=Never" in call
    assert call.strip().endswith("mysql-client -- mysql -h mysql -ps3cret")
    assert (tmp_path / "sql").read_text() == mysql.WRITE_ROW


def test_rows_without_their_heading(fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, monkeypatch, "printf 'id\\n111\\n'")
    assert mysql.read_rows(fake_cluster, ROOT) == ["111"]


def test_error_of_the_client_never_carries_the_password(fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, monkeypatch, 'echo "error: cannot run $@" >&2; exit 1')
    with pytest.raises(UnreachableError) as raised:
        mysql.tutorial_client(fake_cluster, ROOT, "select 1;")
    assert "s3cret" not in str(raised.value)
    assert "-p…" in str(raised.value)


def test_wrong_password(fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, monkeypatch, f'echo "{DENIED}" >&2; exit 1')
    with pytest.raises(LabError, match="Secret mysql-root"):
        mysql.read_rows(fake_cluster, ROOT)


def test_no_kubectl(fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="The program kubectl is missing"):
        mysql.tutorial_client(fake_cluster, ROOT, "select 1;")


def test_client_that_hangs(fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, monkeypatch, "exec sleep 60")
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
