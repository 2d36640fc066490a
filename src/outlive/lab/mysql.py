"""MySQL as its users reach it: the tutorial's client pod, and a witness that asks again and again.

The witness is a pod that asks the Service once a second and writes a line for each answer; the host follows its log and stamps
each line on arrival. So the first answer after a fault has the host's time, and no long-lived connection can hide a gap.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from outlive.base.clock import HOST_CLOCK, Clock, Instant
from outlive.base.errors import LabError, NotFoundError, RefusedError, UnreachableError
from outlive.base.paths import kubectl
from outlive.base.process import run
from outlive.base.wait import wait_for
from outlive.lab.kube import ENDS_WITHIN, Cluster, Line
from outlive.lab.objects import Deployment, Json, SecretKey

NAMESPACE = "default"
DEPLOYMENT = "mysql"
CLIENT_POD = "mysql-client"
WITNESS_POD = "mysql-witness"

CLIENT_SECONDS = 420
"""Seconds that a client pod may take to start, ask and end."""

WITNESS_SCRIPT = """\
while true; do
  if answer=$(timeout 10 mysql -h mysql -uroot --connect-timeout=3 -N -B -e 'select id from mysql.my_id' 2>&1)
  then echo "OK" $answer
  else echo "FAIL" $answer
  fi
  sleep 1
done
"""
"""What the witness runs. The table is the tutorial's; the pause is the pace of its questions."""

WRITE_ROW = """\
create table if not exists my_id(id int(4));
insert into my_id select 111 from dual where not exists (select * from my_id);
"""
"""The tutorial's statements, so worded that a second run leaves one row too."""
RUNS = "power_off"
"""Table beside the tutorial's with the row of one run: what is new in it can't be an earlier run's. The tutorial's keeps its one row."""

ACCESS_DENIED = 1045
UNANSWERED = {1040, 1053, 2002, 2003, 2005, 2006, 2013}
"""MySQL errors that mean 'not just now': too many connections, shutting down, no connection, unknown host, connection lost."""


class Password:
    """A password that shows itself nowhere by accident."""

    def __init__(self, text: str) -> None:
        """Keep the text."""
        self._text = text

    def __repr__(self) -> str:
        """Hide the text from tracebacks and logs."""
        return "Password(…)"

    def reveal(self) -> str:
        """Return the text, for a command's argument."""
        return self._text

    def hide(self, text: str) -> str:
        """Return ``text`` without the password in it."""
        return text.replace(self._text, "…") if self._text else text


@dataclass(frozen=True)
class Account:
    """MySQL's root account: the image of the server and where its password is kept."""

    image: str
    reference: SecretKey
    password: Password


@dataclass(frozen=True)
class Answer:
    """One answer that the witness got: rows as text where ``ok``, else what went wrong."""

    at: Instant
    ok: bool
    text: str


def account(cluster: Cluster, deployment: Deployment) -> Account:
    """Return the account that a MySQL Deployment was given."""
    if deployment.password is None:
        raise LabError(
            f"The deployment {deployment.name} takes MYSQL_ROOT_PASSWORD from no Secret: it has to refer to one, "
            "so apply the tutorial's manifests with `outlive tutorial apply`."
        )
    return Account(deployment.image, deployment.password, Password(cluster.secret(NAMESPACE, deployment.password)))


def failure(text: str, reference: SecretKey) -> LabError:
    """Turn what a client printed into an error: MySQL's own answers are told from a client that never got there."""
    found = re.search(r"ERROR (\d+) \(\w+\).*", text)
    if found is None:
        # For example 'error executing setns process' on an overloaded node: not MySQL's answer.
        return UnreachableError(f"the MySQL client didn't run ({_last_line(text)})")
    code = int(found.group(1))
    if code == ACCESS_DENIED:
        return LabError(
            f"MySQL refuses the password in Secret {reference.name} (key {reference.key}; {found.group(0)}): it has to be the one "
            "that the data folder was first started with, so put that one back into the Secret and delete the mysql pod, or empty "
            "the volume's folder to start anew."
        )
    if code in UNANSWERED:
        return UnreachableError(f"MySQL gave no answer ({found.group(0)})")
    return RefusedError(f"MySQL refuses the statement ({found.group(0)}).")


def tutorial_client(cluster: Cluster, account: Account, statements: str) -> list[str]:
    """Run statements by the tutorial's own command, a client pod that lives for them, and return the lines they gave.

    The statements may not have come: only lines that MySQL alone could give say that they did, as ``read_rows`` demands them.
    """
    command = [str(kubectl()), "--kubeconfig", str(cluster.kubeconfig), "--namespace", NAMESPACE]
    command += ["run", "-i", "--rm", "--quiet", f"--image={account.image}", "--restart=Never", "--pod-running-timeout=5m", CLIENT_POD]
    command += ["--", "mysql", "-h", "mysql", f"-p{account.password.reveal()}"]
    _remove_client(cluster)
    output = _kubectl(command, statements, account)
    notes = re.compile(rf'^(pod "{CLIENT_POD}" deleted.*|If you don\'t see a command prompt.*|Warning: .*|mysql: \[Warning\] .*|)$')
    return [line for line in output.splitlines() if not notes.match(line)]


def read_rows(cluster: Cluster, account: Account, table: str = "my_id", before: str = "") -> list[str]:
    """Return the values in the tutorial's table or another one, asked by the tutorial's own command until MySQL answers.

    ``before`` are statements that the same client gives first; they may be given several times.
    """
    return wait_for(
        "MySQL, asked by the tutorial's client pod",
        "an answer",
        lambda: parse_rows(tutorial_client(cluster, account, question(table, before))),
        lambda _: True,
        within=2 * CLIENT_SECONDS,
        every=5.0,
    )


def question(table: str = "my_id", before: str = "") -> str:
    """Return statements whose whole answer ``parse_rows`` reads: the values in a table and their count, after the statements ``before``."""
    return f"use mysql; {before}select id from {table}; select count(*) from {table};"


def write_row(cluster: Cluster, account: Account) -> None:
    """Put the tutorial's row into its table, where it isn't yet; returns when MySQL has said that it is there.

    Raises:
        RefusedError: MySQL answers, but with other rows.
    """
    rows = read_rows(cluster, account, before=WRITE_ROW)
    if rows != ["111"]:
        raise RefusedError(
            f"MySQL took the tutorial's row 111 and has {', '.join(rows) or 'no row'} in my_id, whose one row it has to be: "
            "delete the others there, or drop the table, and run the command again."
        )


def drop_rows(cluster: Cluster, account: Account) -> None:
    """Drop the tutorial's table; returns when MySQL has said that it isn't there.

    Raises:
        RefusedError: MySQL answers, but still has the table.
    """
    tables = "(select table_name as id from information_schema.tables where table_schema = 'mysql' and table_name = 'my_id') as found"
    if read_rows(cluster, account, tables, "drop table if exists my_id; "):
        raise RefusedError("MySQL took `drop table` and still has my_id.")


def write_run(cluster: Cluster, account: Account, run: int) -> None:
    """Put the row of one run in the place of an earlier run's.

    Returns when MySQL acknowledged it: each statement is a transaction of its own, and what is read after it is its answer.

    Raises:
        RefusedError: MySQL answers, but without the row.
    """
    statements = f"create table if not exists {RUNS}(id bigint); delete from {RUNS}; insert into {RUNS} values({run}); "
    rows = read_rows(cluster, account, RUNS, statements)
    if rows != [str(run)]:
        raise RefusedError(f"MySQL took the row {run} and has {', '.join(rows) or 'no row'} in {RUNS}.")


def parse_rows(lines: Sequence[str]) -> list[str]:
    """Return the values of the column id from what a client printed of them and of their count.

    Raises:
        UnreachableError: it isn't MySQL's whole answer. A client that printed nothing, or lost a line, says nothing about the rows.
    """
    rows = list(lines[1:-2])
    # No heading comes before no rows.
    counted = ["count(*)", "0"] if len(lines) == 2 else ["id", *rows, "count(*)", str(len(rows))]
    if list(lines) != counted:
        raise UnreachableError(f"the MySQL client printed no whole answer ({' / '.join(lines)[-200:] or 'nothing'})")
    return rows


def _kubectl(command: list[str], statements: str, account: Account) -> str:
    """Run kubectl with the statements on its standard input; its errors never carry the password."""
    try:
        done = run(command, given=statements, timeout=CLIENT_SECONDS)
    # `from None`, and in other words: the cause shows the command with the password.
    except UnreachableError:
        raise UnreachableError(f"the pod {CLIENT_POD} had no answer from MySQL within {CLIENT_SECONDS} s") from None
    except LabError:
        raise LabError(f"The program {command[0]} can't be run: remove it and run `outlive provision`, which fetches it again.") from None
    if done.returncode != 0:
        raise failure(account.password.hide(done.stdout + done.stderr), account.reference)
    return done.stdout


def _remove_client(cluster: Cluster) -> None:
    """Remove a client pod that an interrupted run left, or kubectl would refuse to make ours."""
    cluster.delete_pod(NAMESPACE, CLIENT_POD)
    wait_for_pod_gone(cluster, CLIENT_POD)


def await_elsewhere(cluster: Cluster, node: str, within: float) -> None:
    """Wait up to ``within`` seconds until MySQL is one pod, Ready, on another node than the one that it had; pods that only wait don't count."""
    deployment = cluster.deployment(NAMESPACE, DEPLOYMENT)
    wait_for(
        "MySQL",
        f"one pod, Ready, on another node than {node}",
        lambda: [pod for pod in cluster.pods(NAMESPACE, deployment.selector) if pod.ready or not deployment.standby],
        lambda pods: [pod.ready and pod.node != node for pod in pods] == [True],
        within=within,
        describe=lambda pods: ", ".join(f"{pod.name} {pod.state} on {pod.node}" for pod in pods) or "no pod",
    )


def wait_for_pod_gone(cluster: Cluster, name: str) -> None:
    """Wait until no pod of that name is left."""
    wait_for(
        f"pod {name}",
        "gone",
        lambda: [pod.state for pod in cluster.pods(NAMESPACE) if pod.name == name],
        lambda states: not states,
        within=180,
        describe=", ".join,
    )


class Witness:
    """Asks MySQL once a second while it is entered, from a pod on a node that stays."""

    def __init__(self, cluster: Cluster, account: Account, node: str, clock: Clock = HOST_CLOCK) -> None:
        """Prepare; ``with`` starts it."""
        self._cluster = cluster
        self._account = account
        self._node = node
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._failure: LabError | None = None
        self._line = Line()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        """Start the pod and wait for its first rows, so that a later gap is the fault's."""
        try:
            self._cluster.delete_pod(NAMESPACE, WITNESS_POD)
            wait_for_pod_gone(self._cluster, WITNESS_POD)
            self._cluster.create_pod(NAMESPACE, witness_pod(self._account, self._node))
            wait_for(
                f"pod {WITNESS_POD} on {self._node}",
                "Running",
                lambda: self._cluster.pod(NAMESPACE, WITNESS_POD),
                lambda pod: pod.running,
                within=600,
                describe=lambda pod: pod.state,
                clock=self._clock,
            )
            self._thread.start()
            wait_for(
                "MySQL, asked by the witness",
                "rows of my_id",
                self.answers,
                lambda answers: any(answer.ok for answer in answers),
                within=180,
                describe=lambda answers: answers[-1].text if answers else "no answer",
                clock=self._clock,
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop and remove the pod."""
        self._end()

    def answers(self) -> tuple[Answer, ...]:
        """Return all answers so far; a refused password is an error at once."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            return tuple(self._answers)

    def _end(self) -> None:
        self._stop.set()
        self._line.hang_up()
        if self._thread.is_alive():
            self._thread.join(timeout=ENDS_WITHIN)
        self._cluster.delete_pod(NAMESPACE, WITNESS_POD)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                for line in self._cluster.follow_log(self._line, NAMESPACE, WITNESS_POD):
                    self._take(line)
                    if self._stop.is_set():
                        return
            except NotFoundError:
                if self._stop.is_set():
                    return
                self._failure = LabError(f"The pod {WITNESS_POD} was removed while it was needed: run the test again.")
                return
            except LabError:  # the stream broke, or the kubelet isn't there yet: take it up again
                self._stop.wait(1.0)

    def _take(self, line: str) -> None:
        verdict, _, text = line.partition(" ")
        ok = verdict == "OK" and bool(text)  # a client that ends well and prints nothing read no row
        with self._lock:
            self._answers.append(Answer(self._clock.now(), ok, text))
        if not ok:
            error = failure(text, self._account.reference)
            if not isinstance(error, UnreachableError | RefusedError):
                self._failure = error


def witness_pod(account: Account, node: str) -> Json:
    """Return the manifest of the witness: placed by name, so that neither taints nor the scheduler move it."""
    secret = {"name": account.reference.name, "key": account.reference.key}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": WITNESS_POD, "labels": {"app.kubernetes.io/name": WITNESS_POD}},
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "witness",
                    "image": account.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", WITNESS_SCRIPT],
                    # The client reads its password from MYSQL_PWD, so it is on no command line.
                    "env": [{"name": "MYSQL_PWD", "valueFrom": {"secretKeyRef": secret}}],
                }
            ],
        },
    }


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
