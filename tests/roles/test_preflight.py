"""Bad input ends with one sentence that names the setting, the value and the cure, and nothing is touched."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import role_tasks
from .conftest import ROOT, Playbook

SITE = ROOT / "playbooks" / "site.yml"
CHECK = ROOT / "playbooks" / "check.yml"

SYSTEM = platform.freedesktop_os_release()
HERE = {"node_base_distributions": [f"{SYSTEM['ID'].title()} {SYSTEM['VERSION_ID'].split('.')[0]}"]}
"""Lets node_base take this machine's own distribution."""

Edit = Callable[[Callable[[dict[str, Any]], None]], None]


def sentence(output: str) -> str:
    """Return the message of the failed check in the output of ansible-playbook; exactly one check must have failed."""
    messages = [line for line in output.splitlines() if line.startswith("[ERROR]: ")]
    assert len(messages) == 1, output
    return messages[0].partition("Action failed: ")[2] or messages[0]


def control_plane(hosts: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of the only host of the control plane."""
    found: dict[str, Any] = next(iter(hosts["children"]["control_plane"]["hosts"].values()))
    return found


def workers(hosts: dict[str, Any]) -> dict[str, Any]:
    """Return the workers with their variables."""
    found: dict[str, Any] = hosts["children"]["workers"]["hosts"]
    return found


def test_address_outside_the_network(playbook: Playbook, edit_hosts: Edit) -> None:
    """A node's address must be in lab_network."""
    edit_hosts(lambda hosts: control_plane(hosts).update(ansible_host="203.0.113.10"))
    result = playbook(SITE)
    assert result.returncode != 0
    assert "203.0.113.10, which is not in lab_network" in sentence(result.stdout + result.stderr)


def test_no_address(playbook: Playbook, edit_hosts: Edit) -> None:
    """A node without an address is named."""
    edit_hosts(lambda hosts: control_plane(hosts).pop("ansible_host"))
    result = playbook(SITE)
    assert result.returncode != 0
    assert "which is no IPv4 address: give it one in lab_network" in sentence(result.stdout + result.stderr)


def test_address_used_twice(playbook: Playbook, edit_hosts: Edit) -> None:
    """Two nodes can't share an address."""

    def double(hosts: dict[str, Any]) -> None:
        for host in workers(hosts).values():
            host["ansible_host"] = control_plane(hosts)["ansible_host"]

    edit_hosts(double)
    result = playbook(SITE)
    assert result.returncode != 0
    message = sentence(result.stdout + result.stderr)
    assert "have the same node_ip, or else ansible_host" in message
    assert " and ".join(["k8s-master", "k8s-node1", "k8s-node2"]) in message


@pytest.mark.parametrize("group", ["control_plane", "workers", "nfs_servers"])
def test_no_host_in_a_group(playbook: Playbook, edit_hosts: Edit, group: str) -> None:
    """Each group needs a host; an empty one must not end in a half-made cluster."""
    edit_hosts(lambda hosts: hosts["children"].update({group: {"hosts": {}}}))
    result = playbook(SITE)
    assert result.returncode != 0
    assert f"No host is in the inventory's group '{group}'" in sentence(result.stdout + result.stderr)


def test_no_workers_without_a_word(playbook: Playbook, edit_hosts: Edit) -> None:
    """A group that is empty by mistake doesn't become a cluster of one machine; the sentence has the setting that makes it one."""
    edit_hosts(lambda hosts: hosts["children"].update(workers={"hosts": {}}))
    result = playbook(SITE)
    assert result.returncode != 0
    assert "add it in the inventory, or set control_plane_takes_pods to true for a cluster of the control plane alone." in sentence(
        result.stdout + result.stderr
    )


def smaller(hosts: dict[str, Any], left: int) -> None:
    """Take workers away until so many are left, as docs/lifecycle.md says."""
    for name in list(workers(hosts))[left:]:
        del workers(hosts)[name]
    if not left:
        hosts["vars"]["control_plane_takes_pods"] = True


@pytest.mark.parametrize(("left", "nodes"), [(1, ["k8s-node1"]), (0, ["k8s-master"])])
def test_smaller_lab(playbook: Playbook, edit_hosts: Edit, tmp_path: Path, left: int, nodes: list[str]) -> None:
    """One worker, or none: the inventory is right, and the tutorial's pods have a node."""
    edit_hosts(lambda hosts: smaller(hosts, left))
    assert playbook(CHECK).returncode == 0
    shown = role_tasks.on_this_machine(
        tmp_path,
        "k8s-master",
        tasks=[{"name": "Show", "ansible.builtin.debug": {"msg": "nodes={{ storage_tutorial_workers | join(',') }}."}}],
    )
    assert f"nodes={','.join(nodes)}." in playbook(shown).stdout


def test_two_control_planes(playbook: Playbook, edit_hosts: Edit) -> None:
    """More than one host of the control plane is refused, not half built."""
    edit_hosts(lambda hosts: hosts["children"]["control_plane"]["hosts"].update(workers(hosts)))
    result = playbook(SITE)
    assert result.returncode != 0
    assert "only one is supported" in sentence(result.stdout + result.stderr)


def test_control_plane_that_is_a_worker_too(playbook: Playbook, edit_hosts: Edit) -> None:
    """The control plane's machine can't join the cluster a second time."""
    edit_hosts(lambda hosts: workers(hosts).update(hosts["children"]["control_plane"]["hosts"]))
    result = playbook(SITE)
    assert result.returncode != 0
    assert "The host k8s-master is in both groups 'control_plane' and 'workers'" in sentence(result.stdout + result.stderr)


def test_name_that_no_node_can_have(playbook: Playbook, edit_hosts: Edit) -> None:
    """Kubernetes takes lower-case names only."""
    edit_hosts(lambda hosts: workers(hosts).update({"K8s_Node3": workers(hosts).pop("k8s-node2")}))
    result = playbook(SITE)
    assert result.returncode != 0
    assert "The host name 'K8s_Node3' in the inventory can't be the name of a node" in sentence(result.stdout + result.stderr)


@pytest.mark.parametrize("name", ["a.example", "k8s-node3", "n" * 63])
def test_name_with_a_domain_and_an_address_of_its_own(playbook: Playbook, edit_hosts: Edit, tmp_path: Path, name: str) -> None:
    """A machine that Ansible reaches by a name: the roles get its node_ip, and all the others its address for /etc/hosts."""
    machine = {"ansible_host": "login.example", "node_ip": "192.168.56.77"}
    edit_hosts(lambda hosts: workers(hosts).update({name: machine}))
    show = {
        "name": "Write what the roles get",
        "ansible.builtin.copy": {
            "dest": f"{tmp_path}/told",
            "content": "{{ [node_base_address, worker_address, kubelet_address, worker_api_endpoint, node_base_hosts | last] | to_json }}",
            "mode": "0600",
        },
        "delegate_to": "localhost",
    }
    path = role_tasks.on_this_machine(
        tmp_path, name, tasks=[{"name": "Check", "ansible.builtin.import_role": {"name": "inventory_check"}}, show]
    )
    result = playbook(path)
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads((tmp_path / "told").read_text())
    assert told == [*["192.168.56.77"] * 3, "192.168.56.10:6443", {"name": name, "address": "192.168.56.77"}]


@pytest.mark.parametrize("name", ["a..example", ".a", "a.", "n" * 64, "a.-b"])
def test_name_that_is_no_domain_s(playbook: Playbook, edit_hosts: Edit, name: str) -> None:
    edit_hosts(lambda hosts: workers(hosts).update({name: {"ansible_host": "192.168.56.77"}}))
    result = playbook(SITE)
    assert result.returncode != 0
    assert f"The host name '{name}' in the inventory can't be the name of a node" in sentence(result.stdout + result.stderr)


def test_address_that_is_a_name(playbook: Playbook, edit_hosts: Edit) -> None:
    """By itself it isn't enough, and the sentence says what is."""
    edit_hosts(lambda hosts: control_plane(hosts).update(ansible_host="alpha.example"))
    result = playbook(SITE)
    assert result.returncode != 0
    assert "The node_ip, or else ansible_host, of k8s-master is 'alpha.example', which is no IPv4 address: give it one" in sentence(
        result.stdout + result.stderr
    )


def test_unknown_recovery_profile(playbook: Playbook) -> None:
    """A recovery profile that isn't known is refused before a machine is touched."""
    result = playbook(SITE, "-e", "recovery_profile=swift")
    assert result.returncode != 0
    assert "recovery_profile is 'swift', which isn't known: set it to one of default, tuned, fenced, standby." in sentence(
        result.stdout + result.stderr
    )


def test_no_network(playbook: Playbook) -> None:
    """A network is written with its prefix."""
    result = playbook(SITE, "-e", "lab_network=somewhere")
    assert result.returncode != 0
    assert "lab_network is 'somewhere', which is no IPv4 network" in sentence(result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"control_plane_pod_subnet": "10.244.0.0"}, "control_plane_pod_subnet is '10.244.0.0', which is no IPv4 network in CIDR notation"),
        (
            {"control_plane_service_subnet": "192.168.0.0/16"},
            "control_plane_service_subnet (192.168.0.0/16) and lab_libvirt_management_network (192.168.121.0/24)",
        ),
        (
            {"lab_libvirt_management_network": "192.168.56.0/21"},
            "lab_libvirt_management_network (192.168.56.0/21) and lab_network (192.168.56.0/24) overlap",
        ),
        (
            {"mirror_address": "10.100.0.5"},
            "mirror_address (OUTLIVE_MIRROR) has 10.100.0.5, which is in control_plane_service_subnet (10.96.0.0/12): a node would take it",
        ),
        (
            {"mirror_address": "10.244.0.5"},
            "mirror_address (OUTLIVE_MIRROR) has 10.244.0.5, which is in control_plane_pod_subnet (10.244.0.0/16): a node would take it",
        ),
        (
            {"containerd_registry_mirrors": {"docker.io": ["https://a.example", "http://10.97.0.1:5000/v2/docker.io"]}},
            "containerd_registry_mirrors has 10.97.0.1, which is in control_plane_service_subnet (10.96.0.0/12)",
        ),
        ({"lab_proxy": "http://10.99.0.1:3128"}, "lab_proxy has 10.99.0.1, which is in control_plane_service_subnet (10.96.0.0/12)"),
        ({"kubernetes_packages_repository": "http://10.98.0.1/"}, "kubernetes_packages_repository has 10.98.0.1, which is in"),
    ],
)
def test_networks_that_take_addresses_of_others(playbook: Playbook, told: dict[str, Any], expected: str) -> None:
    """The cluster's networks are nobody else's: not the machines', not libvirt's, and what the machines reach isn't in them."""
    result = playbook(SITE, "-e", json.dumps(told))
    assert result.returncode != 0
    assert expected in sentence(result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("role", "variables", "expected"),
    [
        (
            "node_base",
            {**HERE, "node_base_address": "127.0.0.1", "node_base_cluster_networks": {"a": "127.0.0.0/16"}},
            "reaches, the network of lo (127.0.0.0/8) is in a (127.0.0.0/16), and a node takes these addresses for pods and Services: give a another",
        ),
        (
            "node_base",
            {"node_base_distributions": ["Plan 9", "Inferno 4"]},
            f"k8s-master runs {HERE['node_base_distributions'][0]}, and node_base_distributions is Plan 9, Inferno 4: install one of these",
        ),
        ("node_base", {**HERE, "node_base_minimum_memory": 99999999}, "node_base_minimum_memory is 99999999 MiB: give the machine more"),
        ("node_base", {**HERE, "node_base_minimum_cpus": 9999}, "node_base_minimum_cpus is 9999: give the machine more"),
        ("node_base", {**HERE, "node_base_address": "203.0.113.10"}, "has node_base_address 203.0.113.10 (found: "),
        (
            "node_base",
            {
                **HERE,
                "node_base_address": "127.0.0.1",
                "node_base_sysctl": {
                    "net.ipv4.ip_forward": 1,
                    "kernel.keys.root_maxbytes": 25000000,
                    "kernel.keys.root_maxkeys": 1000000,
                    "kernel.panic": 0,
                    "kernel.panic_on_oops": 1,
                    "vm.overcommit_memory": 1,
                },
            },
            'node_base_sysctl has to have {"kernel.panic": 10, "vm.panic_on_oom": 0}, without which a kubelet',
        ),
        (
            "node_base",
            {**HERE, "node_base_address": "127.0.0.1", "node_base_shutdown_timeout": 60, "node_base_shutdown_delays": ["0s", "40s"]},
            "node_base_shutdown_timeout is 60 s, and node_base_shutdown_delays has up to 40 s of them: 20 s are left to stop all programs, which may "
            "take 30 s. Give the first at least 70 s",
        ),
        (
            "node_base",
            {**HERE, "node_base_address": "127.0.0.1", "node_base_shutdown_delays": ["40s", "soon"]},
            "node_base_shutdown_delays has 'soon', which is no duration",
        ),
        (
            "node_base",
            {**HERE, "node_base_address": "127.0.0.1", "node_base_refused_packages": ["no-such-package", "dpkg"]},
            "k8s-master has the package dpkg, whose place Debian's containerd would take, and whatever needs it (Docker) would be removed: name another",
        ),
        (
            "node_base",
            {**HERE, "node_base_address": "127.0.0.1", "node_base_proxy": "192.0.2.3:3128"},
            "node_base_proxy is '192.0.2.3:3128', which is no proxy's URL: write it like http://192.0.2.3:3128",
        ),
        ("containerd", {"containerd_proxy": "socks5://192.0.2.3"}, "containerd_proxy is 'socks5://192.0.2.3', which is no proxy's URL"),
        ("nfs_server", {"nfs_server_clients": ["*"]}, "nfs_server_clients is '*', and only addresses and networks are allowed"),
        ("nfs_server", {"nfs_server_clients": []}, "nfs_server_clients is ''"),
        (
            "nfs_server",
            {"nfs_server_clients": ["0.0.0.0/0"]},
            "nfs_server_clients is '0.0.0.0/0', and only addresses and networks are allowed",
        ),
        ("nfs_server", {"nfs_server_export": "/"}, "nfs_server_export is '/', which can't be exported"),
        ("nfs_server", {"nfs_server_disk": "/dev/sdb"}, "nfs_server_disk is '/dev/sdb', and only names in /dev/disk/by-id are allowed"),
        (
            "nfs_server",
            {"nfs_server_options": ["rw", "snyc", "fsid=7"]},
            "nfs_server_options has 'snyc', which exports(5) doesn't know: use its options, such as rw, sync, no_subtree_check, no_root_squash.",
        ),
        ("nfs_server", {"nfs_server_lease_time": 5}, "nfs_server_lease_time is 5, and the kernel takes 10 to 3600 seconds"),
        ("pod_network", {"pod_network_mtu": 50}, "pod_network_mtu is 50, and an IPv4 network takes packets of 576 to 65535 bytes"),
        (
            "pod_network",
            {"pod_network_iptables_resync": 0},
            "pod_network_iptables_resync is 0, and flannel would look at its rules without a pause: give at least 1 second",
        ),
        (
            "network_policy",
            {"network_policy_policies": [{"kind": "NetworkPolicy", "metadata": {"name": "mysql"}, "spec": {"podSelector": {}}}]},
            'network_policy_policies has {"kind": "NetworkPolicy"',
        ),
        (
            "storage_tutorial",
            {"storage_tutorial_mysql_startup_seconds": 60},
            "storage_tutorial_mysql_startup_seconds is 60, and MySQL needs at least 180",
        ),
        (
            "storage_tutorial",
            {
                "storage_tutorial_mysql_storage": "iscsi",
                "storage_tutorial_iscsi_chap_password": "abcdefghijkl",
                "storage_tutorial_iscsi_targets": ["iqn.2026-11.x:a"],
            },
            "storage_tutorial_mysql_storage is iscsi, and no disk is offered as iqn.2026-11.internal.outlive:mysql (iqn.2026-11.x:a): give iscsi_server_volumes",
        ),
        (
            "storage_tutorial",
            {"storage_tutorial_mysql_storage": "iscsi"},
            "storage_tutorial_mysql_storage is iscsi, and this lab has no disks over iSCSI: run `outlive storage add iscsi` first, or set it to nfs.",
        ),
        (
            "storage_tutorial",
            {"storage_tutorial_kubeconfig": "/nowhere/kubeconfig"},
            "No cluster answers by storage_tutorial_kubeconfig /nowhere/kubeconfig",
        ),
    ],
)
def test_bad_variable(playbook: Playbook, tmp_path: Path, role: str, variables: dict[str, Any], expected: str) -> None:
    """A role refuses a value that it can't work with before it changes anything."""
    path = role_tasks.on_this_machine(tmp_path, "k8s-master", roles=[role])
    result = playbook(path, "--check", "-e", json.dumps(variables))
    assert result.returncode != 0
    assert expected in sentence(result.stdout + result.stderr)


def refusal(playbook: Playbook, tmp_path: Path, told: dict[str, Any]) -> str:
    """Return how node_base refuses what it is told, at the latest by a value of its own that ends the run before anything would be written."""
    variables = {**HERE, "node_base_address": "127.0.0.1", "node_base_shutdown_delays": ["soon"], **told}
    result = playbook(role_tasks.on_this_machine(tmp_path, "k8s-master", roles=["node_base"]), "--check", "-e", json.dumps(variables))
    assert result.returncode != 0
    return sentence(result.stdout + result.stderr)


ENDED = "node_base_shutdown_delays has 'soon'"


@pytest.mark.parametrize("runs_pods", [True, False])
def test_name_server_that_no_pod_reaches(playbook: Playbook, tmp_path: Path, runs_pods: bool) -> None:
    """CoreDNS would ask itself; a machine that only serves NFS may ask itself."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    told = {"node_base_resolv_conf": str(tmp_path / "resolv.conf"), "node_base_runs_pods": runs_pods}
    expected = (
        f"The name server of k8s-master is 127.0.0.53 ({tmp_path}/resolv.conf), at which each pod finds itself, and CoreDNS would ask itself without end"
        if runs_pods
        else ENDED
    )
    assert expected in refusal(playbook, tmp_path, told)


@pytest.mark.parametrize(
    ("text", "runs_pods", "refused"), [("", True, True), ("# none known\n", True, True), ("", False, False), (None, True, False)]
)
def test_machine_without_a_name_server(playbook: Playbook, tmp_path: Path, text: str | None, runs_pods: bool, refused: bool) -> None:
    """CoreDNS ends where it is told of none; where there is no file at all, the role writes one."""
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    told = {"__node_base_resolv_file": str(file), "__node_base_resolv_conf": str(file), "node_base_runs_pods": runs_pods}
    expected = f"{file} of k8s-master names no name server, without which CoreDNS doesn't start" if refused else ENDED
    assert expected in refusal(playbook, tmp_path, told)


@pytest.mark.parametrize("options", [[], ["-e", "node=k8s-node9"], ["-e", "node=k8s-master"]])
def test_no_worker_to_remove(playbook: Playbook, options: list[str]) -> None:
    """Only a worker of the inventory can be taken out of the cluster; without a name nothing is."""
    named = options[1].partition("=")[2] if options else ""
    result = playbook(ROOT / "playbooks" / "remove-node.yml", *options)
    assert result.returncode != 0
    assert f"node is '{named}', which isn't known: set it to one of k8s-node1, k8s-node2." in sentence(result.stdout + result.stderr)


def test_no_control_plane_to_renew(playbook: Playbook, tmp_path: Path) -> None:
    """Where there is no control plane, its certificates aren't made by the way."""
    task = {"name": "Renew", "ansible.builtin.import_role": {"name": "control_plane", "tasks_from": "renew_certificates"}}
    result = playbook(role_tasks.on_this_machine(tmp_path, "k8s-master", tasks=[task]), "--check")
    assert result.returncode != 0
    assert "k8s-master has no control plane whose certificates could be renewed" in sentence(result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("role", "tasks_from"),
    [
        ("worker", "main"),
        ("worker", "remove"),
        ("kubelet", "main"),
        ("pod_network", "main"),
        ("pod_network", "wait"),
        ("network_policy", "main"),
        ("metrics_server", "main"),
    ],
)
def test_check_mode_without_a_cluster(playbook: Playbook, tmp_path: Path, role: str, tasks_from: str) -> None:
    """On machines that have nothing yet, there is nothing to ask and nobody to wait for."""
    task = {"name": "Apply the role", "ansible.builtin.import_role": {"name": role, "tasks_from": tasks_from}}
    path = role_tasks.on_this_machine(tmp_path, "k8s-node1", tasks=[task])
    result = playbook(
        path, "--check", "-e", json.dumps({"lab_state": str(tmp_path / "state"), "__kubelet_configuration": f"{tmp_path}/none"})
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("role", "variable"), [("kubelet", "kubelet_kubeconfig"), ("worker", "worker_api_endpoint")])
def test_what_a_role_was_not_told(tmp_path: Path, playbook: Playbook, role: str, variable: str) -> None:
    """A role that is used without what it needs says which variable."""
    path = role_tasks.on_this_machine(tmp_path, "k8s-node1", roles=[role], vars={variable: "{{ omit }}"})
    result = playbook(path, "--check")
    assert result.returncode != 0
    assert f"missing required arguments: {variable}" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("role", "check", "variables", "sentence"),
    [
        (
            "metrics_server",
            ("Wait until it knows what every node uses", "Check that it does"),
            {"metrics_server_nodes": ["n1", "n2"], "metrics_server_timeout": 1},
            "metrics-server doesn't know within metrics_server_timeout (1 s) what all nodes use, not of n1, n2 (",
        ),
        (
            "network_policy",
            ("Wait until it runs on every node", "Check that it does"),
            {"network_policy_timeout": 1},
            "kube-network-policies doesn't run on every node within network_policy_timeout (1 s): ",
        ),
    ],
)
def test_what_never_comes_is_named(
    playbook: Playbook, tmp_path: Path, role: str, check: tuple[str, str], variables: dict[str, Any], sentence: str
) -> None:
    """With what was seen last, here that nobody answers, and where to look."""
    tasks = role_tasks.read(role, "apply")
    told = {**variables, f"{role}_kubeconfig": str(tmp_path / "none")}
    result = role_tasks.run(playbook, tmp_path, role, [role_tasks.task_of(tasks, name) for name in check], told)
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert sentence in said
    assert "then run this again." in said
