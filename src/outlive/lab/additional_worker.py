"""The lab with one worker more: an inventory beside the lab's own that differs in one entry, as a user's own change would."""

from __future__ import annotations

import copy
import ipaddress
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from outlive.base.errors import LabError


def with_worker(hosts: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the content of a hosts.yml with one more worker, and that one's name.

    It has the sizes of the last worker, the next free number in its name and the next free address.

    Raises:
        LabError: the lab's network has no free address left.
    """
    grown = copy.deepcopy(hosts)
    groups = grown["all"]["children"].values()
    workers = grown["all"]["children"]["workers"]["hosts"]
    known = {name: values for group in groups for name, values in (group.get("hosts") or {}).items() if values}
    last = list(workers)[-1]
    stem = last.rstrip("0123456789")
    name = next(each for each in (f"{stem}{number}" for number in itertools.count(1)) if each not in known)
    highest = max(ipaddress.IPv4Address(values["ansible_host"]) for values in known.values())
    network = ipaddress.IPv4Network(grown["all"]["vars"]["lab_network"])
    address = next((each for each in network.hosts() if each > highest), None)
    if address is None:
        raise LabError(f"lab_network {network} has no address above {highest} for another worker: give it a larger network.")
    workers[name] = workers[last] | {"ansible_host": str(address)}
    return grown, name


def with_machines(folders: Iterable[Path]) -> Path:
    """Return the inventory that names the machines, among those that only have settings.

    Raises:
        LabError: none of them does.
    """
    listed = list(folders)
    for folder in listed:
        if "children" in (_hosts(folder)["all"] or {}):
            return folder
    raise LabError(
        f"None of the inventories {', '.join(map(str, listed))} names a machine: one of them needs groups of hosts in its hosts.yml."
    )


def write(folder: Path, inventory: Path) -> str:
    """Make ``folder`` an inventory like ``inventory`` with one worker more; return that one's name."""
    hosts, name = with_worker(_hosts(inventory))
    folder.mkdir(parents=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False), encoding="utf-8")
    (folder / "group_vars").symlink_to(inventory / "group_vars")
    return name


def _hosts(inventory: Path) -> dict[str, Any]:
    """Return the content of an inventory's hosts.yml."""
    hosts: dict[str, Any] = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))
    return hosts
