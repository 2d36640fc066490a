"""The exercises' checks: unsolved at the beginning, solved at the end, and not taken in by what only looks like it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from outlive.course.exercises import EXERCISES
from outlive.course.grading import File, Seen
from tests.course.stages import Scene, scene
from verify.tutorial.class_room import FIRST


def begin_2(it: Scene) -> None:
    it.bind("photos", "exercise-2-photos")
    it.pods["album"]["spec"]["nodeName"] = "n1"
    it.pods["album"]["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ContainerCreating"}}}]


def begin_4(it: Scene) -> None:
    it.bind("reports", "exercise-4-reports")
    it.run("reporter")
    it.files["reports"] = File(0, 0o755)


def begin_5(it: Scene) -> None:
    it.bind("ledger", "exercise-5-ledger")
    it.run("bookkeeper")
    it.claims["ledger"]["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    it.write("ledger/book", "balance: 42\n")


def begin_8(it: Scene) -> None:
    it.bind("journal", "exercise-8-journal")
    it.run("writer-1", "writer-2")
    it.write("journal/pages", "page 1\nwriter-1\nwriter-2\n")


def begin_9(it: Scene) -> None:
    it.bind("db", "exercise-9-db")
    it.pod_of("db", "db-old")
    it.pods["db-new"] = {**it.pods["db-old"], "metadata": {"name": "db-new", "uid": "db-new"}, "status": {"phase": "Running"}}
    it.deployments["db"]["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "2"
    it.deployments["db"]["status"]["replicas"] = 2
    it.files["db/lock"] = File(0, 0o755)


BEGIN: dict[int, Callable[[Scene], None]] = {
    1: lambda _: None,
    2: begin_2,
    3: lambda it: it.write("letters/letter", "keep me\n"),
    4: begin_4,
    5: begin_5,
    6: lambda it: it.pod_of("diary", "diary-1"),
    7: lambda it: it.run("shop"),
    8: begin_8,
    9: begin_9,
}


def solve_1(it: Scene) -> None:
    it.claim("data", "exercise-1-data")
    it.run("app")


def solve_3(it: Scene) -> None:
    it.bind("new", "exercise-3-letters")
    it.run("reader")


def solve_4(it: Scene) -> None:
    it.files["reports"] = File(0, 0o2775)
    it.write("reports/report", "Fri Jan 2\n", 1000)


def solve_5(it: Scene) -> None:
    it.claims.clear()
    it.pods.clear()
    it.volumes["exercise-5-ledger"]["status"] = {"phase": "Released"}


def solve_6(it: Scene) -> None:
    it.claim("mine", "exercise-6-diary")
    it.deployments["diary"]["spec"]["template"]["spec"]["volumes"][0] = {"name": "diary", "persistentVolumeClaim": {"claimName": "mine"}}
    it.pods.clear()
    it.pod_of("diary", "diary-3")
    it.write("diary/pods", "diary-2\ndiary-3\n")


def solve_7(it: Scene) -> None:
    it.claim("orders", "exercise-7-orders")
    del it.pods["shop"]["spec"]["nodeSelector"]
    it.pods["shop"]["spec"]["volumes"][0] = {"name": "orders", "persistentVolumeClaim": {"claimName": "orders"}}
    it.write("orders/list", "order 1: paid\norder 2: sent\norder 3: new\norder 4: new\n")


def solve_8(it: Scene) -> None:
    for each in (it.claims["journal"], it.volumes["exercise-8-journal"]):
        each["spec"]["accessModes"] = ["ReadWriteOncePod"]
    del it.pods["writer-2"]["spec"]["nodeName"]
    it.pods["writer-2"]["status"] = {"phase": "Pending"}


def solve_9(it: Scene) -> None:
    it.deployments["db"]["spec"]["strategy"] = {"type": "Recreate"}
    it.pods.clear()
    it.pod_of("db", "db-new")


SOLVE: dict[int, Callable[[Scene], None]] = {
    1: solve_1,
    2: lambda it: it.run("album"),
    3: solve_3,
    4: solve_4,
    5: solve_5,
    6: solve_6,
    7: solve_7,
    8: solve_8,
    9: solve_9,
}


def begun(number: int) -> Scene:
    """Return an exercise's beginning."""
    it = scene(EXERCISES[number - 1])
    BEGIN[number](it)
    return it


def solved(number: int) -> Scene:
    """Return an exercise's end."""
    it = begun(number)
    SOLVE[number](it)
    return it


def test_each_exercise_has_a_beginning_and_an_end() -> None:
    assert list(BEGIN) == list(SOLVE) == [each.number for each in EXERCISES]


@pytest.mark.parametrize("number", BEGIN)
def test_beginning_is_unsolved(number: int) -> None:
    findings = begun(number).findings()
    assert any(re.fullmatch(FIRST[number], each) for each in findings), findings


@pytest.mark.parametrize("number", BEGIN)
def test_end_is_solved(number: int) -> None:
    assert solved(number).findings() == []


@pytest.mark.parametrize("number", BEGIN)
def test_nothing_seen_is_never_solved(number: int) -> None:
    exercise = EXERCISES[number - 1]
    findings = exercise.check(Seen(exercise.namespace, "/export/x", {}, {}, {}, {}, {}))
    assert findings


@pytest.mark.parametrize("number", BEGIN)
def test_findings_are_sentences_that_name_what_is_wanted(number: int) -> None:
    findings = begun(number).findings()
    assert len(set(findings)) == len(findings)
    for finding in findings:
        assert re.fullmatch(r"(The|Of the) .+; wanted: .+\.", finding), finding


def delete(it: Scene) -> None:
    """Mark a pod as one that is being deleted."""
    it.pods["album"]["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"


def elsewhere(it: Scene) -> None:
    """Lead a volume to another folder."""
    it.volumes["exercise-2-photos"]["spec"]["nfs"]["path"] = "/export/elsewhere"


def empty_dir(it: Scene) -> None:
    """Give the pod a volume of another kind."""
    it.pods["album"]["spec"]["volumes"][0] = {"name": "photos", "emptyDir": {}}


def test_the_first_exercise_has_one_fault() -> None:
    """Claim and volume differ in their class alone, which is what the volume has to keep."""
    claim, volume = (begun(1).claims["data"]["spec"], begun(1).volumes["exercise-1-data"]["spec"])
    assert claim["accessModes"] == volume["accessModes"]
    assert claim["resources"]["requests"] == volume["capacity"]
    assert claim["storageClassName"] != volume["storageClassName"]


ALMOST: list[tuple[int, Callable[[Scene], object], str]] = [
    (1, lambda it: it.volumes["exercise-1-data"]["spec"].update(storageClassName="exercise-one"), "has the class 'exercise-one' and 1Gi"),
    (
        1,
        lambda it: it.volumes["exercise-1-data"]["spec"].update(accessModes=["ReadWriteMany"]),
        "modes ReadWriteMany; wanted: ReadWriteOnce",
    ),
    (1, lambda it: it.volumes["exercise-1-data"]["spec"].update(capacity={"storage": "2Gi"}), "has the class 'exercise-1' and 2Gi"),
    (1, lambda it: it.claims["data"]["spec"].update(volumeName="other"), "is Bound with other; wanted: bound to exercise-1-data"),
    (1, lambda it: it.pods.clear(), "The pod exercise-1/app isn't there"),
    (2, delete, "The pod exercise-2/album is Terminating"),
    (2, elsewhere, "leads to /export/elsewhere; wanted: /export/exercise-2/photos"),
    (2, empty_dir, "has at /photos a volume of the kind emptyDir; wanted: the claim photos"),
    (3, lambda it: it.write("letters/letter", "new\n"), "letter on the NFS server has other content"),
    (3, lambda it: it.files.clear(), "letter on the NFS server isn't there"),
    (3, lambda it: it.volumes["exercise-3-letters"]["spec"]["claimRef"].update(name="old"), "is for exercise-3/old; wanted"),
    (3, lambda it: it.volumes["exercise-3-letters"]["spec"].update(persistentVolumeReclaimPolicy="Delete"), "reclaim policy Delete"),
    (4, lambda it: it.pods["reporter"]["spec"]["securityContext"].update(runAsUser=0), "runs as 0; wanted: user 1000"),
    (4, lambda it: it.pods["reporter"]["spec"]["containers"][0].update(securityContext={"runAsUser": 0}), "runs as 0"),
    (4, lambda it: it.pods["reporter"]["spec"].pop("securityContext"), "runs as the user of its image"),
    (4, lambda it: it.files.update(reports=File(0, 0o777)), "has the mode 777"),
    (4, lambda it: it.write("reports/report", "x\n", 0), "report belongs to user 0"),
    (4, lambda it: it.write("reports/report", "", 1000), "has no report"),
    (5, lambda it: it.pods.update(begun(5).pods), "The pod exercise-5/bookkeeper is Running and uses the claim ledger"),
    (5, lambda it: it.volumes["exercise-5-ledger"].update(status={"phase": "Available"}), "is Available; wanted: Released"),
    (5, lambda it: it.volumes.clear(), "The volume exercise-5-ledger isn't there"),
    (5, lambda it: it.files.clear(), "book on the NFS server isn't there"),
    (6, lambda it: it.write("diary/pods", "diary-3\n"), "names no pod that is gone"),
    (6, lambda it: it.write("diary/pods", "diary-2\n"), "doesn't name the pod that runs"),
    (6, lambda it: it.deployments["diary"]["status"].update(updatedReplicas=0), "of its present template: 0"),
    (6, lambda it: it.deployments["diary"]["metadata"].update(generation=4), "wanted: its one pod, of its present template"),
    (6, lambda it: it.claims.clear(), "The claim exercise-6/mine isn't there"),
    (7, lambda it: it.pods["shop"]["spec"].update(affinity={"nodeAffinity": {}, "x": 1}, nodeSelector={"a": "b"}), "is held on a node"),
    (7, lambda it: it.write("orders/list", "order 1: paid\n"), "list on the NFS server has other content"),
    (7, lambda it: it.pods["shop"]["spec"].update(volumes=[{"name": "orders", "hostPath": {"path": "/x"}}]), "of the kind hostPath"),
    (8, lambda it: it.claims["journal"]["spec"].update(accessModes=["ReadWriteOnce"]), "claim exercise-8/journal has the access modes"),
    (8, lambda it: it.pods.pop("writer-2"), "The pod exercise-8/writer-2 isn't there"),
    (8, lambda it: it.pods.update(begun(8).pods), "writer-1 is Running on n1 and writer-2 is Running on n1; wanted: one runs"),
    (8, lambda it: it.files.clear(), "pages on the NFS server isn't there"),
    (9, lambda it: it.deployments["db"]["spec"].pop("strategy"), "has the strategy RollingUpdate"),
    (9, lambda it: it.deployments["db"]["spec"].update(replicas=0), "wants 0 pods; wanted: 1"),
    (9, lambda it: it.deployments.clear(), "The deployment exercise-9/db isn't there"),
    (9, lambda it: it.deployments["db"]["spec"]["template"]["spec"]["containers"][0]["env"].clear(), "is for version unknown"),
    (9, lambda it: it.pods.update(begun(9).pods), "has the pods db-new .*, db-old .*; wanted: exactly one"),
    (9, lambda it: it.files.clear(), "has no lock"),
]


@pytest.mark.parametrize(("number", "spoil", "finding"), ALMOST, ids=[f"{number}: {finding}" for number, _, finding in ALMOST])
def test_what_only_looks_solved(number: int, spoil: Callable[[Scene], object], finding: str) -> None:
    it = solved(number)
    spoil(it)
    assert any(re.search(finding, each) for each in it.findings()), it.findings()
