"""MySQL answers the pods that its NetworkPolicy names, and no other: on each node, by its Service and by its pod's address.

Only where the lab enforces NetworkPolicies (role network_policy); flannel alone lets everybody in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from outlive.base.wait import wait_for
from outlive.lab import mysql
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import DEPLOYMENT, NAMESPACE, UNANSWERED, Account
from outlive.lab.objects import Json
from verify.stories import LeftOutError

ENFORCER = "app=kube-network-policies"
CLIENT = {"mysql-client": "true"}
"""The label of the pods that MySQL answers (inventories/common/group_vars/all/network_policy.yml)."""
PREFIX = "network-policy"
ENDS_WITHIN = 600.0
SCRIPT = """\
for server in mysql %s; do
  if answer=$(mysql -h "$server" -uroot --connect-timeout=15 -N -B -e 'select 1' 2>&1); then echo "IN $answer"; else echo "OUT $answer"; fi
done
"""


@pytest.fixture(scope="module", autouse=True)
def enforced(lab: Inventory, cluster: Cluster) -> None:
    """Leave all of this out in a lab that isn't meant to enforce anything."""
    if lab.setting("network_policy_enabled") != str(True) and not cluster.pods("kube-system", ENFORCER):
        raise LeftOutError(
            "this lab enforces no NetworkPolicies: set network_policy_enabled to true in a file of its inventory, and run `outlive provision`"
        )


@pytest.fixture(scope="module")
def answers(lab: Inventory, cluster: Cluster) -> Iterator[Mapping[str, list[str]]]:
    """Ask MySQL from two pods on each node, one with the label and one without; return what each of them was told, by the pods' names."""
    account = mysql.account(cluster, cluster.deployment(NAMESPACE, DEPLOYMENT))
    (server,) = [
        pod for pod in cluster.pods(NAMESPACE, cluster.deployment(NAMESPACE, DEPLOYMENT).selector) if pod.ready and not pod.deleted
    ]
    address = next(each["status"]["podIP"] for each in cluster.listing("pods", NAMESPACE) if each["metadata"]["name"] == server.name)
    pods = {
        f"{PREFIX}-{host.name}-{kind}": (host.name, labels) for host in lab.workers for kind, labels in (("client", CLIENT), ("other", {}))
    }
    try:
        for name, (node, labels) in pods.items():
            cluster.delete_pod(NAMESPACE, name)  # what an interrupted run left
            mysql.wait_for_pod_gone(cluster, name)
            cluster.create_pod(NAMESPACE, _pod(account, name, node, labels, address))
        wait_for(
            "pods that ask MySQL",
            "all at their end",
            lambda: {each.name: each for each in cluster.pods(NAMESPACE) if each.name in pods},
            lambda there: len(there) == len(pods) and all(each.over for each in there.values()),
            within=ENDS_WITHIN,
            describe=lambda there: ", ".join(f"{name} {each.state}" for name, each in there.items() if not each.over),
        )
        yield {name: cluster.log(NAMESPACE, name, 10).splitlines() for name in pods}
    finally:
        for name in pods:
            cluster.delete_pod(NAMESPACE, name)


def test_pods_with_the_label_are_let_in(answers: Mapping[str, list[str]]) -> None:
    """A pod with the label mysql-client=true gets MySQL's answer, whatever node it is on."""
    assert {name: told for name, told in answers.items() if name.endswith("-client") and told != ["IN 1", "IN 1"]} == {}


def test_other_pods_are_kept_out(answers: Mapping[str, list[str]]) -> None:
    """A pod without it gets no connection, by the Service or by the pod's address, from MySQL's own node or from another one."""
    others = {name: told for name, told in answers.items() if name.endswith("-other")}
    assert others
    assert {name: told for name, told in others.items() if len(told) != 2 or not all(map(_unconnected, told))} == {}


def _unconnected(line: str) -> bool:
    found = re.match(r"OUT .*?ERROR (\d+) ", line)
    return found is not None and int(found.group(1)) in UNANSWERED


def _pod(account: Account, name: str, node: str, labels: Mapping[str, str], address: str) -> Json:
    secret = {"name": account.reference.name, "key": account.reference.key}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "client",
                    "image": account.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", SCRIPT % address],
                    "env": [{"name": "MYSQL_PWD", "valueFrom": {"secretKeyRef": secret}}],
                }
            ],
        },
    }
