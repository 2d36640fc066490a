#!/usr/bin/python
"""Ansible module that keeps a set of files, folders and links as described, in one run on the node.

A role has five to ten small files. `copy` or `template` would run two modules on the node for each of them;
under software emulation that is half a minute per role, for nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = r"""
module: config_files
short_description: Keep a set of configuration files, folders and links as described
description:
  - Writes only what differs, atomically, and validates a file's new content before it takes the old one's place.
  - Folders come first, since a validation may look for them; then no file at all is written where one of the validations fails.
  - Folders above an entry are made.
  - With O(pending), what a handler makes of the changes isn't lost where the run ends before it.
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
      comment_out:
        description: Regular expression; the lines of the file that begin with what it matches become comments. A file that isn't there is right.
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
  pending:
    description:
      - Absolute path of a file on the node that names what was changed, from before the change until the handler that applies it removes the file.
      - As long as it is there, what it names counts as changed in every run.
    type: path
"""

EXAMPLES = r"""
- name: Configure containerd
  config_files:
    entries:
      - path: /etc/containerd/config.toml
        content: "{{ lookup('ansible.builtin.template', 'config.toml.j2') }}"
        validate: containerd --config %s config dump
    pending: /var/lib/outlive/containerd.pending
  notify: Restart containerd

# The last of the handlers.
- name: Note that the changes are applied
  ansible.builtin.file:
    path: /var/lib/outlive/containerd.pending
    state: absent
  listen: Restart containerd
"""

RETURN = r"""
changed_paths:
  description: Paths that differed, and those that C(pending) names.
  type: list
  elements: str
  returned: always
"""

ENTRY_OPTIONS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "comment_out": {"type": "str"},
    "link": {"type": "str"},
    "mode": {"type": "str"},
    "overwrite": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "validate": {"type": "str"},
}


def content_of(path: Path) -> str | None:
    """Return the content of the regular file at `path`; None where there is none."""
    if path.is_symlink() or not path.is_file():
        return None
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def with_comments(entry: dict[str, Any]) -> dict[str, Any]:
    """Return `entry` with the content that a file gets by `comment_out`; others as they are."""
    if entry["comment_out"] is None:
        return entry
    found = content_of(Path(entry["path"]))
    if found is None:
        return {**entry, "state": "absent"}
    return {**entry, "content": re.sub(rf"(?m)^(?=[ \t]*(?!#)(?:{entry['comment_out']}))", "# ", found)}


def is_folder(entry: dict[str, Any]) -> bool:
    """Tell whether `entry` describes a folder."""
    return entry["content"] is None and entry["link"] is None and entry["state"] == "present"


def mode_of(entry: dict[str, Any]) -> int:
    """Return the permission bits that `entry` asks for."""
    return int(entry["mode"] or ("0755" if is_folder(entry) else "0644"), 8)


def attributes_differ(path: Path, mode: int) -> bool:
    """Tell whether what lies at `path` is someone else's or has other permission bits than `mode`."""
    found = path.lstat()
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid) != (mode, os.geteuid(), os.getegid())


def differs(entry: dict[str, Any]) -> bool:
    """Tell whether the node isn't as `entry` describes it."""
    path = Path(entry["path"])
    if entry["state"] == "absent":
        return os.path.lexists(path)
    if entry["link"] is not None:
        return not path.is_symlink() or str(path.readlink()) != entry["link"]
    if is_folder(entry):
        # A folder's owner and mode matter only where a mode is asked for: what uses the folder may change them.
        return not path.is_dir() or (entry["mode"] is not None and attributes_differ(path, mode_of(entry)))
    if not entry["overwrite"] and path.exists():
        return False
    return content_of(path) != entry["content"] or attributes_differ(path, mode_of(entry))


def temporary_file(folder: Path, entry: dict[str, Any]) -> Path:
    """Write the content of `entry` to a new file in `folder`, readable by its owner only, and return its path."""
    descriptor, path = tempfile.mkstemp(dir=folder, prefix=f".{Path(entry['path']).name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(entry["content"])
    return Path(path)


def validate(module: AnsibleModule, entry: dict[str, Any]) -> None:
    """End the module with a sentence where the validation of `entry` refuses its content."""
    if not entry["validate"]:
        return
    candidate = str(temporary_file(Path(module.tmpdir), entry))
    module.add_cleanup_file(candidate)
    command = [candidate if word == "%s" else word for word in shlex.split(entry["validate"])]
    # In check mode the program may not be installed yet.
    if module.check_mode and not module.get_bin_path(command[0]):
        return
    code, output, errors = module.run_command(command)
    if code != 0:
        reason = " ".join((errors or output).replace(candidate, entry["path"]).split())
        module.fail_json(
            msg=f"The new content of {entry['path']} is refused ({reason}), and no file was changed: correct the variables of this role.",
        )


def put(entry: dict[str, Any]) -> None:
    """Make the node as `entry` describes it."""
    path = Path(entry["path"])
    if entry["state"] == "absent":
        path.unlink()
    elif is_folder(entry):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode_of(entry))
    elif entry["link"] is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(entry["link"])
        temporary.replace(path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        # AnsibleModule.atomic_move gives a new file the mode of the umask and writes through links: not for secrets.
        temporary = temporary_file(path.parent, entry)
        temporary.chmod(mode_of(entry))
        temporary.replace(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "entries": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": ENTRY_OPTIONS,
                "mutually_exclusive": [("content", "link", "comment_out")],
            },
            "pending": {"type": "path"},
        },
        supports_check_mode=True,
    )
    pending = Path(module.params["pending"]) if module.params["pending"] else None
    waiting = ((content_of(pending) if pending else None) or "").splitlines()
    wanted = [entry for entry in map(with_comments, module.params["entries"]) if differs(entry)]
    folders = [entry for entry in wanted if is_folder(entry)]
    files = [entry for entry in wanted if not is_folder(entry)]
    if not module.check_mode:
        for entry in folders:
            put(entry)
    diff: list[dict[str, str]] = []
    for entry in files:
        if entry["content"] is None:
            continue
        # In check mode the folders that a validation looks for weren't made.
        if not (module.check_mode and folders):
            validate(module, entry)
        # What only root may read isn't shown either.
        if mode_of(entry) & 0o077:
            path = entry["path"]
            diff.append({"before_header": path, "after_header": path, "before": content_of(Path(path)) or "", "after": entry["content"]})
    changed = [*waiting, *(entry["path"] for entry in wanted if entry["path"] not in waiting)]
    if not module.check_mode:
        if pending and wanted:
            put(
                {
                    "path": str(pending),
                    "content": "".join(f"{path}\n" for path in changed),
                    "link": None,
                    "mode": "0600",
                    "state": "present",
                }
            )
        for entry in files:
            put(entry)
    module.exit_json(changed=bool(changed), changed_paths=changed, diff=diff)


if __name__ == "__main__":
    main()
