#!/usr/bin/python
"""Ansible module that reads in one run on the node everything that the roles decide by.

`setup`, `package_facts` and `service_facts` would be three runs, and look at much that nobody asks for. Under software emulation
each of them takes many seconds.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = r"""
module: node_facts
short_description: Read what the roles decide by
description:
  - Changes nothing. The facts are C(ansible_facts['node']).
author: The outlive developers
options: {}
"""

EXAMPLES = r"""
- name: Read the state of the machine
  node_facts:
  when: ansible_facts['node'] is not defined
"""

RETURN = r"""
ansible_facts:
  description:
    - C(node) with C(hostname), C(memory_mib), C(swap_mib), C(cpus), C(interfaces) (name by IPv4 address), C(packages) (version by name of what is
      installed), C(held) (packages held at their version), C(mounts) (what is mounted by its folder), C(disks) (lasting names of the disks), C(enabled) and C(active) (those of the services that the roles look after).
  type: dict
  returned: always
"""


SERVICES = ["containerd.service", "kubelet.service", "nfs-server.service"]


def memory(text: str) -> dict[str, int]:
    """Return the sizes in MiB that the text of /proc/meminfo gives, by their names."""
    pairs = (line.split(":") for line in text.splitlines())
    return {name: int(value.split()[0]) // 1024 for name, value in pairs}


def interfaces(text: str) -> dict[str, str]:
    """Return the interface of each IPv4 address in the JSON that `ip` prints."""
    return {address["local"]: link["ifname"] for link in json.loads(text) for address in link.get("addr_info", [])}


def packages(text: str) -> tuple[dict[str, str], list[str]]:
    """Return versions of installed packages by name, and the held ones, from lines of wanted state, status, name and version."""
    lines = [line.split() for line in text.splitlines()]
    found = [line for line in lines if len(line) == 4 and line[1] == "installed"]
    return {name: version for _, _, name, version in found}, [name for wanted, _, name, _ in found if wanted == "hold"]


def mounts(text: str) -> dict[str, str]:
    """Return what is mounted on each folder in the text of /proc/mounts."""
    return {line.split()[1]: line.split()[0] for line in text.splitlines()}


def services(text: str) -> list[dict[str, str]]:
    """Return the properties of each service in the text of `systemctl show`."""
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n") if block]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)

    def output(*command: str, check: bool = True) -> str:
        """Return what a command prints."""
        text: str = module.run_command(list(command), check_rc=check)[1]
        return text

    sizes = memory(Path("/proc/meminfo").read_text())
    versions, held = packages(
        output("dpkg-query", "--show", "--showformat", "${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\\n")
    )
    # Where systemd doesn't run, no service does.
    states = services(output("systemctl", "show", "--property", "Id,UnitFileState,ActiveState", *SERVICES, check=False))
    facts: dict[str, Any] = {
        "hostname": platform.node(),
        "memory_mib": sizes["MemTotal"],
        "swap_mib": sizes["SwapTotal"],
        "cpus": os.cpu_count(),
        "interfaces": interfaces(output("ip", "-json", "-4", "address")),
        "packages": versions,
        "held": held,
        "mounts": mounts(Path("/proc/mounts").read_text()),
        "disks": sorted(str(path) for path in Path("/dev/disk/by-id").glob("*")),
        "enabled": [state["Id"] for state in states if state["UnitFileState"] == "enabled"],
        "active": [state["Id"] for state in states if state["ActiveState"] == "active"],
    }
    module.exit_json(changed=False, ansible_facts={"node": facts})


if __name__ == "__main__":
    main()
