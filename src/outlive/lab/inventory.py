"""What the Ansible inventory says about the lab: names, addresses, groups and settings.

Ansible is asked once (``ansible-inventory --list``); no YAML is read here, so every overlay counts as Ansible counts it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.process import missing, run

ANSWER_SECONDS = 300.0
"""Seconds in which Ansible lists the inventory; it takes one or two on a host that isn't busy."""


@dataclass(frozen=True)
class Host:
    """One machine of the inventory."""

    name: str
    address: str
    """Its address in the nodes' network: node_ip, or else ansible_host."""
    variables: Mapping[str, Any]

    @property
    def login(self) -> str:
        """Where ssh reaches it: ansible_host, or else its name, as Ansible has it."""
        return self.literal("ansible_host") or self.name

    def literal(self, variable: str) -> str | None:
        """Return a variable's text, or None where it is unset, empty or a template that only Ansible can fill in."""
        value = self.variables.get(variable)
        if value is None or value == "" or "{{" in str(value):
            return None
        return str(value)


@dataclass(frozen=True)
class Inventory:
    """The lab as the inventory describes it."""

    source: str
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]

    def host(self, name: str) -> Host:
        """Return the host of that name."""
        if name not in self.hosts:
            known = ", ".join(self.hosts)
            raise LabError(f"The inventory {self.source} has no host {name!r}: it has {known}; choose one of them.")
        return self.hosts[name]

    def group(self, name: str) -> tuple[Host, ...]:
        """Return the hosts of a group, at least one."""
        members = self.groups.get(name, ())
        if not members:
            raise LabError(
                f"The inventory {self.source} has no host in group {name!r}: "
                f"at least one is needed, so put one under {name}: hosts: in hosts.yml."
            )
        return tuple(self.hosts[member] for member in members)

    @property
    def workers(self) -> tuple[Host, ...]:
        """The hosts that take the lab's pods: the workers, or where there is none the control plane, if it takes pods.

        Raises:
            LabError: nobody does.
        """
        alone = not self.groups.get("workers") and self.setting("control_plane_takes_pods") == str(True)
        return self.group("control_plane" if alone else "workers")

    def setting(self, name: str) -> str | None:
        """Return the literal value that the first host has for a variable of the whole lab, or None."""
        return next((host.literal(name) for host in self.hosts.values()), None)


def parse(listing: Mapping[str, Any], source: str) -> Inventory:
    """Turn the output of ``ansible-inventory --list`` into an inventory."""
    hostvars: Mapping[str, Mapping[str, Any]] = listing.get("_meta", {}).get("hostvars", {})
    groups = {name: _members(listing, name, ()) for name in listing if name != "_meta"}
    hosts: dict[str, Host] = {}
    for name in groups.get("all") or tuple(hostvars):
        variables = hostvars.get(name, {})
        host = Host(name, "", variables)
        address = host.literal("node_ip") or host.literal("ansible_host")
        if not address:
            raise LabError(
                f"Host {name} of the inventory {source} has no ansible_host: "
                "an address inside lab_network is needed there, so add ansible_host to it in hosts.yml."
            )
        hosts[name] = replace(host, address=address)
    if not hosts:
        raise LabError(
            f"The inventory {source} holds no host: ANSIBLE_INVENTORY has to be a comma-separated list of "
            "inventory folders of this checkout, so correct it or unset it."
        )
    return Inventory(source, hosts, groups)


def load() -> Inventory:
    """Ask Ansible for the inventory in use (``ANSIBLE_INVENTORY``, else what ``ansible.cfg`` names)."""
    source = os.environ.get("ANSIBLE_INVENTORY", "of ansible.cfg")
    output = run([ansible_program("ansible-inventory"), "--list"], timeout=ANSWER_SECONDS, cwd=ROOT)
    if output.returncode != 0:
        reason = (output.stderr.strip() or "no message").splitlines()[-1]
        raise LabError(f"The inventory {source} can't be read ({reason}): correct it, `ansible-inventory --list` shows it.")
    try:
        listing = json.loads(output.stdout)
    except json.JSONDecodeError as error:
        raise LabError(
            f"The inventory {source} gave no JSON ({error}): `ansible-inventory --list` has to print JSON, "
            "so unset ANSIBLE_* settings that change its output."
        ) from error
    return parse(listing, source)


def ansible_program(name: str) -> str:
    """Return the path of one of Ansible's programs: on PATH, else beside this Python."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None:
        raise LabError(missing(name))
    return found


def _members(listing: Mapping[str, Any], name: str, seen: tuple[str, ...]) -> tuple[str, ...]:
    """Return a group's hosts and those of its children, in order and without doubles."""
    group = listing.get(name, {})
    names = list(group.get("hosts", []))
    for child in group.get("children", []):
        if child not in seen:
            names.extend(_members(listing, child, (*seen, name)))
    return tuple(dict.fromkeys(names))
