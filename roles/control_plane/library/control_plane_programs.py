#!/usr/bin/python
"""Ansible module that reads what a control plane is on its own machine, and waits until its programs run, without asking the API.

The API is one of the programs: where it doesn't start, only the machine can say which of them doesn't, and why.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

DOCUMENTATION = r"""
module: control_plane_programs
short_description: Read what a control plane is on its machine, and wait until its programs run
description:
  - Reads the manifests that the kubelet reads, files, and the processes of the programs. Changes nothing.
  - With O(timeout) it waits until each program of O(programs) is well; one whose manifest isn't that with which O(before) has its process first, or
    that O(anew) names, must run in another process than then.
  - With O(settled) a program is well once one process of it has been so for as long; one that ran before, with the same manifest, is at once, unless
    O(before) has more than one: an earlier change wasn't seen to its end, and may be why it ends over and over again.
  - Fails with the first program that isn't, in their order, and what its log said last; at once where the program has refused the flags of its manifest.
author: The outlive developers
options:
  manifests:
    description: Folder of the manifests.
    type: path
    required: true
  read:
    description: Files whose text is wanted, as far as they are there.
    type: list
    elements: path
    default: []
  programs:
    description: Where each program says that it is well, by its name, each after those that it needs; where that is empty, its process is enough.
    type: dict
    default: {}
  before:
    description: What this module returned as RV(programs) before, each time that something was begun to be changed.
    type: list
    elements: dict
    default: []
  anew:
    description: Programs that must run in another process than before, whatever became of their manifests.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds until all programs must be well. Without it nothing is waited for.
    type: int
  settled:
    description: Seconds for which one process must be well, beside O(timeout): one that ends over and over again answers in between.
    type: int
    default: 0
  cure:
    description: What to do where a program doesn't run.
    type: str
    default: correct the setting of the inventory that it was started with, then run this again, which repairs it
  node:
    description: Name of this node in the cluster, by which the kubelet names the folders of logs. Without O(timeout) neither they nor it matter.
    type: str
    default: ""
  logs:
    description: Folder of the pods' logs.
    type: path
    default: /var/log/pods
  pods:
    description: Regular expression of the control groups of the pods that the kubelet makes of manifests.
    type: str
    required: true
  processes:
    description: Folder of the running processes.
    type: path
    default: /proc
  identity:
    description: Certificate and key, one file each, by which programs are asked that answer nobody without a name; not used while they aren't there.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Wait until etcd runs
  control_plane_programs:
    manifests: /etc/kubernetes/manifests
    pods: "{{ __control_plane_pods }}"
    programs:
      etcd: http://127.0.0.1:2381/readyz
    node: k8s-master
    timeout: 600
"""

RETURN = r"""
files:
  description: Text of the files that are there, those of O(read) by their paths.
  type: dict
  returned: always
manifests:
  description: Text of each file that the kubelet reads as a manifest, by its name.
  type: dict
  returned: always
programs:
  description: Checksum of the manifest, without comments and empty lines, and numbers of the processes of each program that has either.
  type: dict
  returned: always
"""

EVERY = 2.0
"""Seconds from one look to the next."""
ANSWER_SECONDS = 20.0
"""Seconds for one answer; an emulated program is slow, not dead."""
NOTICED_SECONDS = 60.0
"""Seconds after which the kubelet has surely noticed another manifest: what a program says from then on, the new one says."""
LAST_LINES = 200
LAST_BYTES = 65536
LOOKS_AT_LOG = 10
"""How many looks there are to one at the log, which costs more than the others."""
TELLS = "kube-apiserver"
"""The program that knows who asks by itself: it refuses everybody while it starts."""
RENEWAL = "playbooks/renew-certificates.yml"
WORDS = 300
"""Characters of a log's line that a sentence takes."""
CURE = "correct the setting of the inventory that it was started with, then run this again, which repairs it"
KUBELET = "kubelet"
REFUSED = re.compile(r"flag provided but not defined|invalid value .* for flag|Error: ")
"""How a program begins that refuses its flags; what follows may be all of its help."""
COMPLAINT = re.compile(r'"command failed"|"level":"(?:fatal|panic|error)"|^[EF]\d{4} |panic: |\b(?:error|failed|fatal)\b', re.IGNORECASE)

Seen = dict[str, Any]


def text_of(path: Path) -> str | None:
    """Return a file's text; nothing where there is no file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def manifests(folder: Path) -> dict[str, str]:
    """Return the text of each file that the kubelet reads in its folder: all but those whose name begins with a dot, whatever comes after it."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return {}
    found = {path.name: text_of(path) for path in paths if path.is_file() and not path.name.startswith(".")}
    return {name: text for name, text in found.items() if text is not None}


def processes(proc: Path, pods: str) -> dict[str, list[str]]:
    """Return number and start of the running processes by the name of their program: the kubelet, and those whose control group ``pods`` matches."""
    found: dict[str, list[str]] = {}
    for folder in proc.glob("[0-9]*"):
        with suppress(OSError, IndexError):  # it may end meanwhile
            name = folder.joinpath("cmdline").read_bytes().split(b"\0")[0].decode(errors="replace").rpartition("/")[2]
            # The program's own name in parentheses may have spaces.
            fields = folder.joinpath("stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            groups = [line.split(":", 2)[2] for line in folder.joinpath("cgroup").read_text(encoding="utf-8").splitlines()]
            # Another cluster's programs may run on this machine too, in containers of their own or in pods of a user.
            ours = name == KUBELET or any(re.match(pods, group) for group in groups)
            if name and ours and fields[0] != "Z":
                found.setdefault(name, []).append(f"{folder.name} {fields[19]}")
    return {name: sorted(each) for name, each in found.items()}


def programs(found: Mapping[str, str], running: Mapping[str, Sequence[str]], names: Sequence[str]) -> Seen:
    """Return what each program is: the checksum of its manifest, and its processes."""
    texts = {name.rpartition(".")[0]: text for name, text in found.items() if name.endswith(".yaml")}
    return {
        name: {
            "manifest": hashlib.sha256(_told(texts[name]).encode()).hexdigest() if name in texts else "",
            "processes": list(running.get(name, [])),
        }
        for name in sorted({*texts, *names})
    }


def _told(text: str) -> str:
    # What nobody reads is no change to the kubelet, which restarts nothing for it. The machine may have no parser of YAML.
    return "".join(line for line in text.splitlines(keepends=True) if not re.match(r"\s*(#|$)", line))


def unwell(url: str, identity: Sequence[str], *, tells: bool = False) -> str:
    """Return why a program isn't well; nothing where it is. One that ``tells`` knows the identity once it has started."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # it is on this machine
    if url.startswith("https:"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # A program's certificate may be its own, and it is asked how it is, not told anything.
        context.verify_mode = ssl.CERT_NONE
        with suppress(OSError):  # also ssl's own errors: without a name it gets the answer for those who have none
            if identity:
                context.load_cert_chain(*identity)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=ANSWER_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        # Who refuses to tell is there.
        refused = not tells and error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        expired = f": where the certificates have expired, {RENEWAL} makes others" if error.code == HTTPStatus.UNAUTHORIZED else ""
        return "" if refused else f"{url} says {error.code} {error.reason}{expired}"
    except (OSError, ValueError) as error:
        return f"{url}: {getattr(error, 'reason', error)}"


def last_words(lines: Sequence[str]) -> str:
    """Return the line of a log that says best why a program ended: the last one, unless one before it says why."""
    # The runtime's stamp comes before each: 2026-11-29T22:33:12.123456789Z stderr F text.
    told = [text for text in (re.sub(r"^\S+ (?:stdout|stderr) [FP] ", "", line).strip() for line in lines) if text]
    refused = [text for text in told if REFUSED.match(text)]
    complaints = [text for text in told if COMPLAINT.search(text)]
    return " ".join((refused or complaints or told or [""])[-1].split())[:WORDS]


def end_of(path: Path) -> str:
    """Return the last lines of a file, which may be large; none where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return text if size <= LAST_BYTES else text.partition("\n")[2]


def last_log(logs: Path, program: str, node: str) -> tuple[list[str], float]:
    """Return the last lines of the newest log of a program that has any, and when it was written; the kubelet's are in the journal, without a time."""
    if program == KUBELET:
        command = ["journalctl", "--quiet", f"--lines={LAST_LINES}", "--output=cat", "_SYSTEMD_UNIT=kubelet.service"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return [], 0.0
        return done.stdout.splitlines(), 0.0
    newest: list[tuple[float, Path]] = []
    for path in logs.glob(f"kube-system_{program}-{node}_*/{program}/*.log"):
        with suppress(OSError):  # the kubelet may take it away meanwhile
            newest.append((path.stat().st_mtime, path))
    for written, path in sorted(newest, reverse=True):
        lines = [line for line in end_of(path).splitlines() if line.strip()]
        if lines:
            return lines[-LAST_LINES:], written
    return [], 0.0


def never_starts(manifest: Path, lines: Sequence[str], written: float) -> bool:
    """Return whether a program has refused the flags that its manifest gives it: it would do so again and again."""
    try:
        given = manifest.stat().st_mtime
    except OSError:
        return False
    return written > given + NOTICED_SECONDS and bool(REFUSED.match(last_words(lines)))


def wanting(name: str, now: Seen, before: Sequence[Seen], anew: Sequence[str], url: str, identity: Sequence[str]) -> str:
    """Return why a program isn't as it shall be; nothing where it is."""
    running = now["processes"]
    for process in running:
        # It runs as its manifest was when it was seen first: the kubelet may never have noticed those that came after. One that wasn't seen was started since.
        started = [each[name]["manifest"] for each in before if name in each and process in each[name]["processes"]][:1]
        if started and (name in anew or started != [now["manifest"]]):
            return "it still runs as before"
    if not running:
        return "no process of it runs"
    return unwell(url, identity, tells=name == TELLS) if url else ""


def settling(first: dict[str, tuple[list[str], float]], name: str, running: list[str], old: Sequence[str], settled: float) -> str:
    """Return why a program that is well may not stay so: its process is new. ``first`` keeps since when which process is."""
    now = time.monotonic()
    if first.get(name, ([], now))[0] != running:
        first[name] = (running, now)
    seconds = now - first[name][1]
    return "" if seconds >= settled or set(running) <= set(old) else f"it has run for {int(seconds)} s only, and ended before"


def complaint(name: str, why: str, node: str, seconds: int, lines: Sequence[str], cure: str) -> str:
    """Return the sentence about a program that doesn't run."""
    words = last_words(lines)
    said = f"the last that its log says is: {words}" if words else "it has no log"
    where = "`journalctl -u kubelet`" if name == KUBELET or not words else f"/var/log/pods/kube-system_{name}-{node}_*"
    return f"{name} doesn't run on {node} after {seconds} s ({why}); {said} -- {cure}. All of it: {where}."


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "manifests": {"type": "path", "required": True},
            "read": {"type": "list", "elements": "path", "default": []},
            "programs": {"type": "dict", "default": {}},
            "before": {"type": "list", "elements": "dict", "default": []},
            "anew": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int"},
            "settled": {"type": "int", "default": 0},
            "cure": {"type": "str", "default": CURE},
            "node": {"type": "str", "default": ""},
            "logs": {"type": "path", "default": "/var/log/pods"},
            "pods": {"type": "str", "required": True},
            "processes": {"type": "path", "default": "/proc"},
            "identity": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    told = module.params
    names = [*told["programs"], *(name for each in told["before"] for name in each)]
    begin = time.monotonic()
    end = begin + (told["timeout"] or 0) + told["settled"]
    logs = Path(told["logs"])
    # What was begun more than once wasn't seen to be well in between.
    old = told["before"][0] if len(told["before"]) == 1 else {}
    first: dict[str, tuple[list[str], float]] = {}
    for look in itertools.count():
        found = manifests(Path(told["manifests"]))
        running = processes(Path(told["processes"]), told["pods"])
        seen = programs(found, running, names)
        if told["timeout"] is None:
            break
        why = {}
        for name, url in told["programs"].items():
            why[name] = wanting(name, seen[name], told["before"], told["anew"], url, told["identity"])
            if why[name]:
                first.pop(name, None)
            else:
                why[name] = settling(first, name, seen[name]["processes"], old.get(name, {}).get("processes", []), told["settled"])
        wrong = [each for each in why if why[each]]
        if not wrong:
            break
        name = wrong[0]
        over = time.monotonic() > end
        # The journal is slow to read, and says nothing of when.
        lines, written = last_log(logs, name, told["node"]) if over or (name != KUBELET and look % LOOKS_AT_LOG == 0) else ([], 0.0)
        if over or never_starts(Path(told["manifests"]) / f"{name}.yaml", lines, written):
            module.fail_json(msg=complaint(name, why[name], told["node"], int(time.monotonic() - begin), lines, told["cure"]))
        time.sleep(EVERY)
    texts = {path: text_of(Path(path)) for path in told["read"]}
    module.exit_json(changed=False, files={path: text for path, text in texts.items() if text is not None}, manifests=found, programs=seen)


if __name__ == "__main__":
    main()
