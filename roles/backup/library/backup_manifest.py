#!/usr/bin/python
"""Ansible module that closes a backup's folder with checksums, and refuses one that isn't whole or is of another lab."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = r"""
module: backup_manifest
short_description: Close a backup's folder, or check it
description:
  - C(backup.json) in the folder holds what the backup is of, and the SHA-256 of each file. It is written last, so a folder without it is no backup.
author: The outlive developers
options:
  folder:
    description: The backup's folder.
    type: str
    required: true
  about:
    description: What the backup is of, by name. With V(verified), what it has to be of; names that stand in only one of both aren't compared.
    type: dict
    required: true
  state:
    description: V(written) gives each file the mode 0600 and writes C(backup.json); V(verified) changes nothing.
    type: str
    choices: [written, verified]
    required: true
"""

EXAMPLES = r"""
- name: Check a backup
  backup_manifest:
    folder: .lab/backups/20260131T120000Z
    about:
      kubernetes: 1.2.3
    state: verified
"""

RETURN = r"""
about:
  description: What the backup is of.
  type: dict
  returned: success
"""

MANIFEST = "backup.json"
PIECE = 1 << 20
"""Bytes that are read at a time."""


class RefusedError(Exception):
    """The backup can't be used; the message is one sentence."""


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def write(folder: Path, about: dict[str, Any]) -> None:
    """Write the manifest of the files in `folder`."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    for path in files:
        path.chmod(0o600)
    content = {"about": about, "files": {path.name: checksum(path) for path in files}}
    beside = folder / f".{MANIFEST}"
    beside.touch(mode=0o600)
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    beside.replace(folder / MANIFEST)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the backup in `folder` is of, and the checksums of its files by their names.

    Raises:
        RefusedError: there is no manifest, or it is damaged.
    """
    if not (folder / MANIFEST).is_file():
        raise RefusedError(
            f"backup is '{folder}', which is no folder of a complete backup ({MANIFEST} isn't there): give one that playbooks/backup.yml made."
        )
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        about, files = content["about"], content["files"]
        if not (isinstance(about, dict) and isinstance(files, dict) and files):
            raise TypeError("it names no file")
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"The backup {folder} is damaged ({MANIFEST} can't be read: {error}): take another one.") from error
    return about, files


def verify(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return what the backup in `folder` is of, where all its files are whole and it is of the lab that is `wanted`.

    Raises:
        RefusedError: it isn't.
    """
    about, files = read(folder)
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise RefusedError(f"The backup {folder} is damaged ({name} isn't there): take another one.")
        if checksum(folder / name) != expected:
            raise RefusedError(f"The backup {folder} is damaged ({name} isn't what {MANIFEST} has the checksum of): take another one.")
    for name in sorted(set(about) & set(wanted)):
        if about[name] != wanted[name]:
            raise RefusedError(
                f"The backup {folder} is of another lab ({name}: {shown(about[name])} there, {shown(wanted[name])} here): "
                "take one of this lab, or change the inventory back to what it was."
            )
    return about


def shown(value: object) -> str:
    """Return a value as a sentence has it."""
    return ", ".join(f"{name} {each}" for name, each in sorted(value.items())) if isinstance(value, dict) else str(value)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "str", "required": True},
            "about": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["written", "verified"], "required": True},
        },
        supports_check_mode=True,
    )
    folder, about = Path(module.params["folder"]), module.params["about"]
    written = module.params["state"] == "written"
    try:
        if not module.params["folder"]:
            raise RefusedError("No backup is named: give its folder, as in -e backup=.lab/backups/20260131T120000Z.")
        if not written:
            about = verify(folder, about)
        elif not module.check_mode:
            write(folder, about)
    except RefusedError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=written, about=about)


if __name__ == "__main__":
    main()
