"""What a rehearsal stands on: an inventory that is written for it, a libvirt of the lab's own, and what is seen on the machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import KUBECONFIG, ROOT, STATE, machine_ids
from outlive.base.wait import wait_for
from outlive.host import private
from outlive.host.reach import Reached, log_of
from outlive.host.settings import Settings, decide, for_architecture
from outlive.host.steps import task_of, vagrant_line
from outlive.lab import mysql, objects
from outlive.lab.objects import Json
from outlive.lab.playbook import PLAIN, Played, parse

COMMON = ROOT / "inventories/common"
LAB = ROOT / "inventories/lab"
METAL = ROOT / "inventories/metal"
OFFLINE = ROOT / "inventories/offline"
EMULATED = ROOT / "inventories/emulated"

PLAY_SECONDS = 2400.0
"""The longest that a playbook may take: an emulated bare machine installs packages and unpacks images for many minutes."""


CLIENT = 'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec mysql --user=root'
"""Without the password on its command line, of which the client warns among what it prints."""

_PLAIN = ["env", *(f"{name}={value}" for name, value in PLAIN.items())]


@dataclass(frozen=True)
class Staged(Settings):
    """Settings with inventories of the rehearsal's own, and a cache that isn't the host's where one is named."""

    folders: tuple[Path, ...] = ()
    cache: Path | None = None

    @property
    def inventories(self) -> list[str]:
        """The inventory and its overlays, in the order in which they override each other."""
        folders = [str(folder) for folder in (*self.folders, *([EMULATED] if self.driver == "qemu" else []))]
        return for_architecture(folders, self.architecture)

    def environment(self) -> dict[str, str]:
        """Return the variables under which the usual commands work on these machines."""
        return super().environment() | ({"OUTLIVE_CACHE": str(self.cache)} if self.cache else {})


def require_no_lab() -> None:
    """Refuse a checkout whose place for machines is taken.

    Raises:
        LabError: it is.
    """
    if machine_ids() or private.current() or KUBECONFIG.exists():
        raise LabError(
            "this checkout has a lab, and a rehearsal makes machines of its own: run `outlive destroy`, or rehearse in another clone"
        )


def settings(**changes: Any) -> Staged:  # noqa: ANN401 - the fields of Staged
    """Return this host's settings for a libvirt of the lab's own, changed as asked."""
    found = decide()
    return Staged(**{field.name: getattr(found, field.name) for field in fields(found)} | changes)


def box() -> str:
    """Return the box of machines that have nothing yet: the bare one, or the one that OUTLIVE_BOX asks for; the full one would ask nobody for anything."""
    asked = decide().box
    return "bare" if asked == "full" else asked


def of_box(name: str) -> Path:
    """Return the inventory that makes the machines of a box."""
    return ROOT / "inventories" / name


def one_node(folder: Path) -> Path:
    """Write the lab's inventory with its control plane alone, as docs/lifecycle.md does, which exports the volumes too; its variables are the lab's."""
    hosts = yaml.safe_load((LAB / "hosts.yml").read_text(encoding="utf-8"))
    groups = hosts["all"]["children"]
    (name,) = groups["control_plane"]["hosts"]
    groups["workers"]["hosts"] = {}
    groups["nfs_servers"]["hosts"] = {name: None}
    hosts["all"]["vars"]["control_plane_takes_pods"] = True
    _link_variables(LAB, folder)
    _dump(folder / "hosts.yml", hosts)
    return folder


def metal(folder: Path, network: str, machines: Iterable[Mapping[str, str]], connection: Mapping[str, str]) -> Path:
    """Write inventories/metal as a user does: other addresses in hosts.yml and another way to log in, all else as it is.

    Args:
        folder: Where it goes.
        network: The network that the machines share.
        machines: What is said of each, its ansible_host above all, in the order of the example's names.
        connection: Variables by which Ansible logs in.
    """
    hosts = yaml.safe_load((METAL / "hosts.yml").read_text(encoding="utf-8"))
    hosts["all"]["vars"]["lab_network"] = network
    given = iter(machines)
    for group in ("control_plane", "workers"):
        members = hosts["all"]["children"][group]["hosts"]
        hosts["all"]["children"][group]["hosts"] = {name: dict(next(given)) for name in members}
    (folder / "group_vars/all").mkdir(parents=True)
    _dump(folder / "group_vars/all/connection.yml", connection)
    _dump(folder / "hosts.yml", hosts)
    return folder


def _link_variables(source: Path, folder: Path) -> None:
    target = folder / "group_vars/all"
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted((source / "group_vars/all").glob("*.yml")):
        (target / file.name).symlink_to(file.resolve())


def _dump(file: Path, values: object) -> None:
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def raise_lab(chosen: Staged, mirror: list[str]) -> Reached:
    """Start the private libvirt with a server's command line, not started yet; no machine is made."""
    with private.held():
        init = private.ensure(hide_kvm=chosen.driver == "qemu", mirror=mirror)
    return Reached(chosen, init)


def make_machines(lab: Reached) -> None:
    """Check the inventory and make its machines."""
    lab.step("rehearsal inventory", ["ansible-playbook", "playbooks/check.yml"], task_of)
    lab.step("rehearsal machines", ["vagrant", "up", "--no-tty"], vagrant_line)


def play(lab: Reached, what: str, playbook: str, *options: str, before: Iterable[str] = ()) -> Played:
    """Run a playbook, with some variables of its environment before; return what it did."""
    lab.step(what, [*_PLAIN, *before, "timeout", f"{PLAY_SECONDS:.0f}", "ansible-playbook", playbook, *options], task_of)
    return parse(log_of(what).read_text(encoding="utf-8"))


def on(lab: Reached, name: str, command: str) -> str:
    """Return what a shell command prints on a machine, run there as root."""
    said = lab.output([*_PLAIN, "ansible", name, "--become", "-m", "ansible.builtin.shell", "-a", command], timeout=300)
    return said.partition(">>\n")[2].strip()


def ready_nodes(lab: Reached) -> list[str]:
    """Return the names of the nodes that are Ready."""
    return sorted(node.name for node in map(objects.node, listing(lab, "nodes")) if node.ready == "True")


def listing(lab: Reached, kind: str, namespace: str = "default") -> list[Json]:
    """Return all objects of a kind, of one namespace where the kind has namespaces."""
    items: list[Json] = json.loads(kubectl(lab, "get", kind, "--namespace", namespace, "-o", "json"))["items"]
    return items


def run_pod(lab: Reached, image: str) -> None:
    """Run a pod, for which the image is looked up at its registry, whatever the node has; wait until it runs."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "rehearsal", "namespace": "default"},
        "spec": {
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "sleep", "image": image, "imagePullPolicy": "Always", "command": ["sleep", "3600"]}],
        },
    }
    file = STATE / "rehearsal-pod.json"
    file.write_text(json.dumps(pod), encoding="utf-8")
    # A namespace's service account comes a moment after the namespace.
    wait_for("pod rehearsal", "taken by the API server", lambda: kubectl(lab, "apply", "-f", str(file)), bool, within=120, every=5)
    wait_for(
        "pod rehearsal",
        "Running",
        lambda: kubectl(lab, "get", "pod", "rehearsal", "-o", "jsonpath={.status.phase} {.status.containerStatuses}"),
        lambda status: status.startswith("Running"),
        within=600,
        every=5,
    )


def kubectl(lab: Reached, *words: str) -> str:
    """Return what kubectl prints.

    Raises:
        UnreachableError: it failed, which the API server's answer or its silence may be the reason of.
    """
    try:
        return lab.output(["kubectl", "--request-timeout=60s", *words])
    except LabError as error:
        raise UnreachableError(str(error)) from error


def asking(before: str = "") -> str:
    """Return the shell command that asks MySQL for the rows of the tutorial's table, in its container; ``before`` are statements that it is given first."""
    return f"{CLIENT} --execute='{' '.join(mysql.question(before=before).split())}'"


def rows(lab: Reached, before: str = "") -> list[str]:
    """Return the rows of the tutorial's table, as soon as MySQL gives a whole answer; ``before`` are statements that it is given first."""
    return wait_for(
        "MySQL",
        "an answer",
        lambda: mysql.parse_rows(kubectl(lab, "exec", "deployment/mysql", "--", "sh", "-c", asking(before)).splitlines()),
        lambda _: True,
        within=300,
        every=5,
    )
