"""A cluster that knows what its node uses, and knows it again after a start."""

from __future__ import annotations

import testinfra

from outlive.base.wait import wait_for
from outlive.lab.inventory import Host


def test_top_shows_the_node(host: testinfra.host.Host, tested: Host, start_seconds: float) -> None:
    """By a kubelet whose certificate is the cluster's: another one would be refused."""
    wait_for(
        "`kubectl top nodes`",
        f"what {tested.name} uses",
        lambda: host.run("kubectl --kubeconfig /etc/kubernetes/admin.conf top nodes --no-headers").stdout.split(),
        lambda words: words[:1] == [tested.name] and "<unknown>" not in words,
        within=start_seconds,
        every=5,
    )
