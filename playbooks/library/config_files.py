#!/usr/bin/python
"""Ansible module that keeps a set of files, folders and links as described, in one run on the node.

A role has five to ten small files. `copy` or `template` would run two modules on the node for each of them;
under software emulation that is half a minute per role, for nothing.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: config_files
short_description: Keep a set of configuration files, folders and links as described
description:
  - Writes only what differs, atomically, and validates a file's new content before it takes the old one's place.
  - Folders above an entry are made.
  - Nothing at all is written where one of the validations fails.
author: The outlive developers
options:
  entries:
    description: What must be there. An entry with C(content) is a file, with C(link) a symbolic link, with C(state=absent) nothing, otherwise a folder.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path on the node.
        type: path
        required: true
      content:
        description: Content of the file, in UTF-8.
        type: str
      link:
        description: What the symbolic link points to.
        type: str
      mode:
        description: Permission bits in octal; 0644 for a file, 0755 for a folder where nothing is said.
        type: str
      overwrite:
        description: Whether a file that exists with other content is replaced.
        type: bool
        default: true
      state:
        description: V(absent) removes a file or a link.
        type: str
        choices: [present, absent]
        default: present
      validate:
        description: Command that must end with 0 for the new content; C(%s) stands for a temporary file that holds it.
        type: str
"""

EXAMPLES = r"""
- name: Configure containerd
  config_files:
    entries:
      - path: /etc/containerd/config.toml
        content: "{{ lookup('ansible.builtin.template', 'config.toml.j2') }}"
        validate: containerd --config %s config dump
"""

RETURN = r"""
changed_paths:
  description: Paths that differed.
  type: list
  elements: str
  returned: always
"""

ENTRY_OPTIONS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "link": {"type": "str"},
    "mode": {"type": "str"},
    "overwrite": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "validate": {"type": "str"},
}


def read(path: str) -> str | None:
    """Return the content of the regular file at `path`; None where there is none."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def mode_of(entry: dict[str, Any]) -> int:
    """Return the permission bits that `entry` asks for."""
    default = "0644" if entry["content"] is not None else "0755"
    return int(entry["mode"] or default, 8)


def attributes_differ(path: str, mode: int) -> bool:
    """Tell whether owner, group or permission bits of what lies at `path` aren't root, root and `mode`."""
    found = os.lstat(path)
    return (found.st_mode & 0o7777) != mode or (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid())


def differs(entry: dict[str, Any]) -> bool:
    """Tell whether the node isn't as `entry` describes it."""
    path = entry["path"]
    if entry["state"] == "absent":
        return os.path.lexists(path)
    if entry["link"] is not None:
        return not os.path.islink(path) or os.readlink(path) != entry["link"]
    if entry["content"] is None:
        return not os.path.isdir(path) or (entry["mode"] is not None and attributes_differ(path, mode_of(entry)))
    if not entry["overwrite"] and os.path.exists(path):
        return False
    return read(path) != entry["content"] or attributes_differ(path, mode_of(entry))


def temporary_file(module: AnsibleModule, entry: dict[str, Any]) -> str:
    """Write the content of `entry` to a temporary file and return its path."""
    descriptor, path = tempfile.mkstemp(dir=module.tmpdir, suffix=os.path.basename(entry["path"]))
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(entry["content"])
    return path


def validate(module: AnsibleModule, entry: dict[str, Any], candidate: str) -> None:
    """End the module with a sentence where the validation of `entry` refuses the file `candidate`."""
    # In check mode the program may not be installed yet.
    if not entry["validate"] or (module.check_mode and not module.get_bin_path(shlex.split(entry["validate"])[0])):
        return
    command = [candidate if word == "%s" else word for word in shlex.split(entry["validate"])]
    code, output, errors = module.run_command(command)
    if code != 0:
        reason = (errors or output).strip().replace(candidate, entry["path"])
        module.fail_json(
            msg=f"The new content of {entry['path']} is refused by `{entry['validate']}` ({reason}); nothing was changed: correct the variables it is made of.",
        )


def put(module: AnsibleModule, entry: dict[str, Any], candidate: str | None) -> None:
    """Make the node as `entry` describes it; `candidate` holds a file's new content."""
    path = entry["path"]
    if entry["state"] == "absent":
        os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if entry["link"] is not None:
        temporary = f"{path}.new"
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(entry["link"], temporary)
        os.replace(temporary, path)
    elif candidate is None:
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode_of(entry))
    else:
        os.chmod(candidate, mode_of(entry))
        os.chown(candidate, os.geteuid(), os.getegid())
        # atomic_move would write through a link to whatever it points to.
        if os.path.islink(path):
            os.unlink(path)
        module.atomic_move(candidate, path, keep_dest_attrs=False)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "entries": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": ENTRY_OPTIONS,
                "mutually_exclusive": [("content", "link")],
            },
        },
        supports_check_mode=True,
    )
    changes: list[tuple[dict[str, Any], str | None]] = []
    diffs: list[dict[str, str]] = []
    for entry in module.params["entries"]:
        if not differs(entry):
            continue
        candidate = None
        if entry["content"] is not None and entry["state"] == "present":
            candidate = temporary_file(module, entry)
            module.add_cleanup_file(candidate)
            validate(module, entry, candidate)
            # What only root may read isn't shown either.
            if mode_of(entry) & 0o077:
                diffs.append({"before_header": entry["path"], "after_header": entry["path"], "before": read(entry["path"]) or "", "after": entry["content"]})
        changes.append((entry, candidate))
    if not module.check_mode:
        for entry, candidate in changes:
            put(module, entry, candidate)
    module.exit_json(changed=bool(changes), changed_paths=[entry["path"] for entry, _ in changes], diff=diffs)


if __name__ == "__main__":
    main()
