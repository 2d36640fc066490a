"""The API's client, against a server with prepared answers."""

from __future__ import annotations

import shutil
import threading
from itertools import islice
from pathlib import Path

import pytest

from outlive.base.errors import LabError, NotFoundError, UnreachableError
from outlive.lab import kube
from outlive.lab.kube import Cluster, Line
from outlive.lab.objects import SecretKey
from tests import samples
from tests.fake_api import HELD, NAMESPACE, TORN, FakeApi, kubeconfig, listing


def test_reads(fake_cluster: Cluster) -> None:
    assert [node.name for node in fake_cluster.nodes()] == ["m", "n1", "n2"]
    assert fake_cluster.node("n1").ready == "True"
    assert fake_cluster.pods("default", "app=mysql")[0].node == "n1"
    assert fake_cluster.all_pods()[0].name == "mysql-u1"
    assert fake_cluster.pod("default", "mysql-u1").uid == "u1"
    assert fake_cluster.deployment("default", "mysql").image == "mysql:5.6"
    assert fake_cluster.volumes()[0].name == fake_cluster.volume("mysql-pv").name
    assert fake_cluster.claims("default")[0] == fake_cluster.claim("default", "mysql-pvc")
    assert fake_cluster.service_address("default", "mysql") == "10.96.1.1"
    assert fake_cluster.secret("default", SecretKey("mysql-root", "password")) == "s3cret"
    assert fake_cluster.commands("default", "app=mysql") == ("mysqld", "--flag=1")


def test_selector_is_sent(fake_cluster: Cluster, api: FakeApi) -> None:
    fake_cluster.pods("default", "app=mysql")
    assert api.requests == [f"GET {NAMESPACE}/pods?labelSelector=app%3Dmysql"]


def test_no_pod_has_no_command(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers[f"{NAMESPACE}/pods"] = [listing()]
    assert fake_cluster.commands("default", "app=mysql") == ()


def test_how_a_kubelet_is_configured(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers["/api/v1/nodes/n1/proxy/configz"] = [{"kubeletconfig": {"shutdownGracePeriod": "0s"}}, {"other": {}}, 503]
    assert fake_cluster.kubelet_configuration("n1") == {"shutdownGracePeriod": "0s"}
    with pytest.raises(LabError, match="The kubelet of n1 doesn't say how it is configured: it answers with other"):
        fake_cluster.kubelet_configuration("n1")
    with pytest.raises(UnreachableError, match="answered 503"):
        fake_cluster.kubelet_configuration("n1")


def test_programs_find_the_lab_s_kubectl_first(fake_cluster: Cluster, kubectl: Path) -> None:
    assert fake_cluster.environment["KUBECONFIG"] == str(fake_cluster.kubeconfig)
    assert shutil.which("kubectl", path=fake_cluster.environment["PATH"]) == str(kubectl)
    kubectl.unlink()
    with pytest.raises(LabError, match="no kubectl of its own"):
        _ = fake_cluster.environment


def test_missing_object(fake_cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match="The cluster has no deployment default/other"):
        fake_cluster.deployment("default", "other")


def test_missing_key_of_a_secret(fake_cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match="secret default/mysql-root has no key 'root'"):
        fake_cluster.secret("default", SecretKey("mysql-root", "root"))


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, LabError, "refuses the credentials of .* run `outlive provision`"),
        (403, LabError, "refuses the credentials"),
        (400, LabError, "refuses node n1 with 400"),
        (429, UnreachableError, "answered 429"),
        (503, UnreachableError, "answered 503"),
        (422, LabError, "refuses node n1 with 422"),
    ],
)
def test_refusals(fake_cluster: Cluster, api: FakeApi, status: int, kind: type[LabError], sentence: str) -> None:
    api.answers["/api/v1/nodes/n1"] = [status]
    with pytest.raises(LabError, match=sentence) as raised:
        fake_cluster.node("n1")
    assert type(raised.value) is kind


def test_a_refusal_of_a_server_that_starts_is_no_answer(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers["/api/v1/nodes/n1"] = [403]
    api.answers["/readyz"] = [500]
    with pytest.raises(UnreachableError, match="answered 403 while it starts"):
        fake_cluster.node("n1")


def test_deployment_is_scaled(fake_cluster: Cluster, api: FakeApi) -> None:
    fake_cluster.scale("default", "mysql", 0)
    assert api.requests == ['PATCH /apis/apps/v1/namespaces/default/deployments/mysql/scale {"spec": {"replicas": 0}}']


def test_log_is_read(fake_cluster: Cluster, api: FakeApi) -> None:
    api.logs = [["one", "two"]]
    assert fake_cluster.log("default", "p", 10, previous=True).split() == ["one", "two"]
    assert "previous=true" in api.requests[0].lower()


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"the API server http://127\.0\.0\.1:9 gave no answer"):
        Cluster(kubeconfig(tmp_path, "http://127.0.0.1:9")).nodes()


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(LabError, match=r"The kubeconfig .*none \(KUBECONFIG\) isn't there"):
        kube.connect()


def test_damaged_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("clusters: [")
    with pytest.raises(LabError, match=r"can't be read \(.*\): remove it and run `outlive provision`"):
        Cluster(tmp_path / "kubeconfig")


def test_answer_that_breaks_in_its_midst_is_none(fake_cluster: Cluster, api: FakeApi) -> None:
    api.answers["/api/v1/nodes"] = [TORN, listing(samples.node("n1"))]
    with pytest.raises(UnreachableError, match="gave no answer"):
        fake_cluster.nodes()
    assert [node.name for node in fake_cluster.nodes()] == ["n1"]


def test_pods_are_made_and_deleted(fake_cluster: Cluster, api: FakeApi) -> None:
    fake_cluster.create_pod("default", {"metadata": {"name": "p"}})
    fake_cluster.delete_pod("default", "mysql-u1")
    fake_cluster.delete_pod("default", "none", grace=0)
    assert api.created == [{"metadata": {"name": "p"}}]
    assert api.deletions == [{}, {"gracePeriodSeconds": 0}]
    assert [request.split()[0] for request in api.requests] == ["POST", "DELETE", "DELETE"]


def test_watch_goes_on_where_it_ended(fake_cluster: Cluster, api: FakeApi) -> None:
    changed = samples.node("n1", ready="False")
    changed["metadata"]["resourceVersion"] = "42"
    api.watches["/api/v1/nodes"] = [[{"type": "MODIFIED", "object": changed}], [{"type": "DELETED", "object": changed}]]
    events = list(islice(fake_cluster.watch_nodes(Line()), 5))
    assert [event.kind for event in events] == ["LISTED", "LISTED", "LISTED", "MODIFIED", "DELETED"]
    assert "resourceVersion=42" in api.requests[-1]


def test_watch_that_the_server_ends(fake_cluster: Cluster, api: FakeApi) -> None:
    api.watches[f"{NAMESPACE}/pods"] = [[{"type": "ERROR", "object": {"code": 410, "message": "too old"}}]]
    with pytest.raises(UnreachableError, match="too old"):
        list(fake_cluster.watch_pods(Line(), "default"))


def test_log_is_followed_line_by_line(fake_cluster: Cluster, api: FakeApi) -> None:
    api.logs = [["OK 111", "FAIL ERROR 2003", "", "ÜK"]]
    assert list(fake_cluster.follow_log(Line(), "default", "p")) == ["OK 111", "FAIL ERROR 2003", "ÜK"]
    assert "follow=true" in api.requests[0]


def test_line_that_is_hung_up_while_a_stream_comes(fake_cluster: Cluster, api: FakeApi) -> None:
    """The server keeps the stream open: only the other thread ends the wait for its next line."""
    api.logs = [["OK 111", HELD]]
    line, seen = Line(), threading.Event()
    ended: list[str] = []

    def follow() -> None:
        try:
            for text in fake_cluster.follow_log(line, "default", "p"):
                ended.append(text)
                seen.set()
        except UnreachableError as error:
            ended.append(str(error))

    thread = threading.Thread(target=follow)
    thread.start()
    assert seen.wait(30)
    line.hang_up()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert ended[0] == "OK 111"
    assert len(ended) == 1 or "a stream from the API server broke" in ended[1]


def test_line_that_was_hung_up_before(fake_cluster: Cluster, api: FakeApi) -> None:
    line = Line()
    line.hang_up()
    assert [event.kind for event in fake_cluster.watch_nodes(line)] == ["LISTED"] * 3
    assert not [request for request in api.requests if "watch" in request]
