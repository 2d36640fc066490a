"""What the watcher looks at and acts upon: the API, the hypervisor, the NFS server; each as a Protocol and as the real thing."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.fence.decisions import TAINT, TAINT_EFFECT, TAINT_VALUE, Fenced, NodeState, marked
from outlive.lab import iscsi, nfs, nft, objects, power
from outlive.lab.kube import LEASES, MERGE_PATCH, Cluster
from outlive.lab.objects import Json, Pod
from outlive.lab.power import Power, State
from outlive.lab.ssh import Remote

ANNOTATION = "outlive.io/fenced"

NFT_OBJECTS = "add table inet outlive_fence; add set inet outlive_fence fenced { type ipv4_addr; }; "
NFT_RULES = (
    NFT_OBJECTS
    # NFS, and iSCSI where the server offers disks too. Before connection tracking, and for connections that stand already too.
    + "add chain inet outlive_fence input { type filter hook input priority raw; policy accept; }; "
    + "flush chain inet outlive_fence input; "
    + "add rule inet outlive_fence input ip saddr @fenced meta l4proto { tcp, udp } th dport { 2049, 3260 } counter drop; "
)
"""What ``nft`` is told, all in one transaction; said twice it changes nothing."""

KILL = "ss --kill --tcp dst %s sport = :3260; "
"""Ends an address's iSCSI connections. LIO ends a session that has lost its connection; by itself it notices after 45 s that nobody answers any more."""
EXPIRE = 'for each in /proc/fs/nfsd/clients/*/; do if grep -qsF %s "$each/info"; then echo expire > "$each/ctl" || true; fi; done; '
"""Ends an address's NFSv4 clients; its place is ``address: "ADDRESS:``."""
LEFT = f"{nfs.READ_CLIENTS}; {iscsi.ALL_SESSIONS}"
ENDED_WITHIN = 10.0
"""Seconds that a session has to end in after its connection: the disk may have commands of it to finish."""


class Api(Protocol):
    """The cluster's API; each call raises ``UnreachableError`` where it gives no answer, ``LabError`` where it refuses."""

    def look(self) -> Mapping[str, NodeState]:
        """Return all nodes by name, with their leases; those that are marked with the pods that can't end there."""

    def read(self, name: str) -> NodeState:
        """Return one node, without lease and pods."""

    def mark(self, node: NodeState, fenced: Fenced) -> NodeState:
        """Set taint and annotation in one patch, refused where the node changed since it was read; return it as it is then."""

    def unmark(self, node: NodeState) -> NodeState:
        """Take taint and annotation away likewise."""

    def force_delete(self, pod: Pod) -> None:
        """Delete a pod without a word from its kubelet; one that isn't there any more is no error, and a namesake is left alone."""


class Hypervisor(Protocol):
    """The VMs under the nodes; each call raises ``LabError`` where it isn't done."""

    def look(self, name: str) -> Power:
        """Return the power of the VM under a node; only what is certain is returned."""

    def paused(self, name: str) -> bool:
        """Say whether the hypervisor lets a VM's processors stand, until somebody lets them go on."""

    def cut(self, name: str) -> None:
        """Take a VM's power, or drop its saved memory; ``look`` says whether it worked."""


class Storage(Protocol):
    """The server of NFS, and of disks over iSCSI; each call raises ``UnreachableError`` where it isn't reached, ``LabError`` where it refuses."""

    def revoked(self) -> frozenset[str]:
        """Return the addresses that are turned away."""

    def lost(self) -> frozenset[str]:
        """Return the addresses that are turned away since their nodes were removed as lost: only ``remove-node.yml`` lets them in."""

    def revoke(self, address: str) -> None:
        """Turn an address away; twice is harmless."""

    def expire(self, address: str) -> None:
        """End the NFSv4 clients of an address, with their locks and delegations, and its iSCSI sessions; ``LabError`` where one is left."""

    def allow(self, address: str) -> None:
        """Let an address in again; twice is harmless."""


class Kubernetes(Cluster):
    """The API that a kubeconfig leads to."""

    def look(self) -> Mapping[str, NodeState]:
        """List nodes and leases: two requests, and one more for each node that is marked."""
        nodes = [node_state(data) for data in self._list(self._core.list_node)]
        nodes = [replace(node, terminating=self._terminating(node.name)) if marked(node) else node for node in nodes]
        # Last, since they have to be as new as the moment at which this returns.
        renewed = {
            each["metadata"]["name"]: each.get("spec", {}).get("renewTime")
            for each in self._list(self._leases.list_namespaced_lease, LEASES)
        }
        return {node.name: replace(node, renewed=renewed.get(node.name)) for node in nodes}

    def _terminating(self, name: str) -> tuple[Pod, ...]:
        """List a node's pods; none where that gets no answer, since nodes and leases matter more, and the next look asks again."""
        try:
            pods = [
                objects.pod(each) for each in self._list(self._core.list_pod_for_all_namespaces, field_selector=f"spec.nodeName={name}")
            ]
        except LabError:
            return ()
        return tuple(pod for pod in pods if pod.deleted)

    def read(self, name: str) -> NodeState:
        """Get the node."""
        return node_state(self._get(f"node {name}", self._core.read_node, name))

    def mark(self, node: NodeState, fenced: Fenced) -> NodeState:
        """Patch taint and annotation in."""
        taint = {"key": TAINT, "value": TAINT_VALUE, "effect": TAINT_EFFECT}
        return self._patch(node, json.dumps({"boot": fenced.boot, "at": fenced.at}), [taint])

    def unmark(self, node: NodeState) -> NodeState:
        """Patch taint and annotation out."""
        return self._patch(node, None, [])

    def force_delete(self, pod: Pod) -> None:
        """Delete it without grace."""
        self.delete_pod(pod.namespace, pod.name, grace=0, uid=pod.uid)

    def _patch(self, node: NodeState, annotation: str | None, ours: list[Json]) -> NodeState:
        others = [each for each in node.taints if each.get("key") != TAINT]
        body = {
            # A merge patch replaces the whole list of taints: one that came since must make it fail, not vanish.
            "metadata": {"resourceVersion": node.version, "annotations": {ANNOTATION: annotation}},
            "spec": {"taints": [*others, *ours]},
        }
        return node_state(
            json.loads(self._call(f"node {node.name}", self._core.patch_node, node.name, body, _content_type=MERGE_PATCH).data)
        )


def node_state(data: Json, renewed: str | None = None) -> NodeState:
    """Read a Node."""
    node = objects.node(data)
    note = data["metadata"].get("annotations", {}).get(ANNOTATION)
    return NodeState(
        name=node.name,
        ready=node.ready,
        boot=node.boot,
        version=data["metadata"].get("resourceVersion", ""),
        taints=tuple(data.get("spec", {}).get("taints", ())),
        fenced=None if note is None else _fenced(note),
        renewed=renewed,
    )


class VagrantMachines:
    """The VMs that Vagrant made, in libvirt or VirtualBox."""

    def __init__(self) -> None:
        """Know no process yet."""
        self._processes: dict[str, int] = {}

    def check(self, name: str) -> None:
        """Raise ``LabError`` where the VM or its hypervisor's tool is missing, ``UnreachableError`` where it gives no answer."""
        power.find(name).said()

    def look(self, name: str) -> Power:
        """Look by both witnesses; the process is kept in mind, so that a VM that is on costs no command."""
        seen = power.look(power.find(name), self._processes.get(name))
        if seen.process is None:
            self._processes.pop(name, None)
        else:
            self._processes[name] = seen.process
        return seen

    def paused(self, name: str) -> bool:
        """Ask the hypervisor's tool."""
        return power.find(name).paused()

    def cut(self, name: str) -> None:
        """Destroy the domain or power the VM off; one that is saved loses its memory."""
        machine = power.find(name)
        if self.look(name).state is State.SAVED:
            machine.discard()
        else:
            machine.cut()


class NfsServer:
    """The lab's NFS server, through ssh."""

    def __init__(self, remote: Remote, server: str) -> None:
        """Take the way to the machines and the server's name in the inventory."""
        self._remote = remote
        self._server = server

    def check(self) -> None:
        """Raise ``LabError`` where the server can't fence."""
        if self._remote.run(self._server, "nft --version").status != 0:
            raise LabError(
                f"{self._server} has no nft, by which a fenced node's NFS access is revoked: "
                "the package nftables has to be there, so run `apt-get install nftables` on it."
            )
        if self._remote.run(self._server, "test -d /proc/fs/nfsd/clients").status != 0:
            raise LabError(
                f"{self._server} has no /proc/fs/nfsd/clients, by which a fenced node's locks are taken: "
                "its NFS server has to run, on Linux 5.3 or newer, so run `outlive provision`."
            )

    def revoked(self) -> frozenset[str]:
        """List the watcher's set."""
        return self._list(nft.FENCED)

    def lost(self) -> frozenset[str]:
        """List the playbook's set."""
        return self._list(nft.LOST)

    def revoke(self, address: str) -> None:
        """Add the address to the set, and the rule where it isn't there."""
        self._nft(f"{NFT_RULES}add element {nft.FENCED} {{ {_ipv4(address)} }}")

    def expire(self, address: str) -> None:
        """Write to the clients' ctl files, which returns when they are gone, end the sessions' connections, and look until all are gone."""
        self._remote.check(self._server, f"{EXPIRE}{KILL}true", f'address: "{_ipv4(address)}:', address)
        wait_for(
            f"{self._server}",
            f"no NFSv4 client and no iSCSI session of {address}",
            lambda: self.left(address),
            lambda left: left == 0,
            within=ENDED_WITHIN,
            every=0.2,
        )

    def left(self, address: str) -> int:
        """Return how many NFSv4 clients and iSCSI connections of an address the server knows."""
        listing = self._remote.check(self._server, LEFT)
        return sum(each.address == address for each in nfs.parse_clients(listing)) + iscsi.connected(listing).count(address)

    def allow(self, address: str) -> None:
        """Take the address out of the set; added before, since to delete what isn't there is an error.

        Sessions that are there then are a dead kernel's, which ``expire`` came too late for, or one's that will log in again.
        """
        self._remote.check(self._server, f"{KILL}true", _ipv4(address))
        element = f"element {nft.FENCED} {{ {_ipv4(address)} }}"
        self._nft(f"{NFT_OBJECTS}add {element}; delete {element}")

    def _list(self, name: str) -> frozenset[str]:
        output = self._remote.run(self._server, f"nft -j list set {name}")
        if output.status == 0:
            return nft.addresses(output.stdout)
        if "No such file or directory" in output.stderr:  # no table: nobody was put into it since the server booted
            return frozenset()
        raise LabError(f"`nft` on {self._server} can't list the set {name} ({output.stderr.strip() or 'no message'}): look at it there.")

    def _nft(self, commands: str) -> None:
        self._remote.check(self._server, "nft %s", commands)


def _fenced(note: str) -> Fenced:
    """Read the annotation; one that nobody understands names no boot, so that only a person takes it back."""
    try:
        data = json.loads(note)
        return Fenced(str(data["boot"]), str(data["at"]))
    except (ValueError, KeyError, TypeError):
        return Fenced("", note)


def _ipv4(address: str) -> str:
    try:
        return str(ipaddress.IPv4Address(address))
    except ValueError as error:
        raise LabError(
            f"{address!r} can't be fenced: the node_ip, or else ansible_host, of each worker has to be an IPv4 address, so write one there."
        ) from error
