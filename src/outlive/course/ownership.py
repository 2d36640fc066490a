"""What is a page's own, among the things that appeared while it ran. Pure functions.

A thing is an object as ``kind/name``, a node that takes no pods as ``cordoned/name``, or a path on the NFS server. A page owns what its
commands and the manifests that they apply name, the files below a folder that these name, and what the cluster made for such an object:
pods of a Deployment, claims of a StatefulSet, volumes that were provisioned for a claim. A name is a pattern as the shell has them.
Namespaces aren't compared: a command may change a manifest's on its way to the cluster.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from outlive.lab.objects import Json

NAMESPACE = "default"
"""Where the pages' objects are."""
MANIFESTS = PurePosixPath(".lab/tutorial")
"""Where the role storage_tutorial writes the manifests, in the checkout."""
CORDONED = "cordoned/"
"""How a node that takes no new pods is listed among the things."""
MOUNTED = "mounted/"
"""How a machine on which a command of a page mounted the export stands among the page's names; no look lists it."""
CHANGED = "lab/"
"""How a change of the lab itself stands among the page's names; no look lists it."""
OFF = f"{CHANGED}off"
"""A machine is switched off."""
UNHEARD = f"{CHANGED}kubelet"
"""A machine's kubelet is stopped."""
PROFILE = f"{CHANGED}profile"
"""Another recovery profile is in force."""
OUT_OF_SERVICE = f"{CHANGED}out-of-service/"
"""The node of the name behind it has the taint that says that nothing runs there."""
WRITERS = {"mkdir", "rm", "tee", "touch"}
"""What makes or removes files: a path of the export that such a command is given is the page's. Whoever lists a folder doesn't own it."""
APPLIERS = {"apply", "create", "replace"}
VALUED = {
    *("-n", "--namespace", "-f", "--filename", "-l", "--selector", "-o", "--output", "-c", "--container"),
    *("--image", "--env", "--labels", "--port", "--restart", "--name", "--type", "--timeout"),
}
"""Options of kubectl whose value is the next word, where it doesn't stand behind a ``=``."""
SHORT = {
    "po": "pod",
    "pv": "persistentvolume",
    "pvc": "persistentvolumeclaim",
    "deploy": "deployment",
    "sts": "statefulset",
    "ds": "daemonset",
    "svc": "service",
    "cm": "configmap",
    "ns": "namespace",
    "sc": "storageclass",
}
"""Kinds as kubectl shortens them."""


def applied(text: str) -> list[str]:
    """Return the paths of the tutorial's manifests that a command gives to the cluster to keep: files, and folders of them.

    Raises:
        ValueError: its quotes don't match.
    """
    commands = list(_commands(text))
    if not any(_is_applier(words) for words in commands):
        return []
    # Also those that another command of the pipe reads: `sed ... FILE | kubectl apply -f -`.
    named = (word.removeprefix("--filename=").removeprefix("./") for words in commands for word in words)
    return [word for word in named if PurePosixPath(word).is_relative_to(MANIFESTS)]


def named_by_command(text: str, export: str) -> frozenset[str]:
    """Return the names of what a command makes by itself: objects, cordoned nodes, and files below the export of the NFS server.

    Raises:
        ValueError: its quotes don't match.
    """
    names: set[str] = set()
    writes = False
    commands = list(_commands(text))
    for words in commands:
        writes = writes or bool(WRITERS & set(words[:1])) or "-delete" in words
        if words[:1] == ["kubectl"]:
            names |= _made_by_kubectl(words[1:])
    if "systemctl poweroff" in text:
        names.add(OFF)
    if "systemctl stop kubelet" in text:
        names.add(UNHEARD)
    names |= {f"{OUT_OF_SERVICE}{node}" for node in re.findall(r"kubectl taint nodes? (\S+) node.kubernetes.io/out-of-service=", text)}
    if "recovery_profile=" in text:
        names.add(PROFILE)
    names |= {path for path in re.findall(r">\s*([^\s;|&()<>]+)", text) if _is_below(path, export)}
    if writes:
        names |= {word.rstrip("/") for words in commands for word in words if _is_below(word, export)}
    return frozenset(names)


def mounts(text: str) -> bool:
    """Say whether a command mounts something.

    Raises:
        ValueError: its quotes don't match.
    """
    return any(words[:1] == ["mount"] for words in _commands(text))


def named_by_object(data: Json, export: str) -> frozenset[str]:
    """Return the names that an object stands for, in a manifest or as the API gives it: itself, its folder, and what has no other owner."""
    kind, name, spec = str(data["kind"]).lower(), data["metadata"]["name"], data.get("spec") or {}
    names = {f"{kind}/{name}"}
    if kind == "persistentvolume":
        # The controller that empties a volume runs a pod of this name in the namespace default.
        names.add(f"pod/recycler-for-{name}")
        folder = next((spec[source]["path"] for source in ("nfs", "hostPath", "local") if source in spec), "")
        if _is_below(folder, export):
            names.add(folder.rstrip("/"))
    if kind == "statefulset":
        names.add(f"pod/{name}-[0-9]*")
        names |= {f"persistentvolumeclaim/{each['metadata']['name']}-{name}-[0-9]*" for each in spec.get("volumeClaimTemplates", [])}
    if kind == "pod":
        # The wish to attach such a volume names it as the driver does, and no pod.
        disks = (each["awsElasticBlockStore"]["volumeID"] for each in spec.get("volumes", []) if "awsElasticBlockStore" in each)
        names |= {f"disk/{disk.rpartition('/')[2]}" for disk in disks}
    return frozenset(names)


def grown(names: frozenset[str], objects: Sequence[Json], export: str) -> frozenset[str]:
    """Return names together with those of the objects that the cluster made for what has one of them."""
    while True:
        own = (each for each in objects if any(is_own(names, owner) for owner in (_thing(each), *_owners(each))))
        more = names.union(*(named_by_object(each, export) for each in own))
        if more == names:
            return names
        names = more


def is_own(names: frozenset[str], thing: str) -> bool:
    """Say whether a thing has one of the names, or is a file below a folder that has one."""
    if thing.startswith("/"):
        path = PurePosixPath(thing)
        return any(each.match(name) for name in names if name.startswith("/") for each in (path, *path.parents))
    kind, _, name = thing.partition("/")
    return any(fnmatchcase(f"{kind.partition('.')[0]}/{name}", pattern) for pattern in names)


def things(objects: Sequence[Json]) -> frozenset[str]:
    """Return objects as things; of the nodes those that take no new pods, and not what is made anew for an object that is there, as a moved pod is."""
    listed = [each for each in objects if each["kind"] != "Node" or each["spec"].get("unschedulable")]
    there = {each["metadata"].get("uid") for each in listed}
    return frozenset(_thing(each) for each in listed if _controller(each) not in there)


def _controller(data: Json) -> str:
    """Return the uid of the object that makes another one for this one when it goes; empty where there is none."""
    return next((each["uid"] for each in data["metadata"].get("ownerReferences", []) if each.get("controller")), "")


def _thing(data: Json) -> str:
    """Return an object as ``kubectl get --output name`` lists it."""
    if data["kind"] == "Node":
        return f"{CORDONED}{data['metadata']['name']}"
    group = data["apiVersion"].rpartition("/")[0]
    return f"{data['kind'].lower()}{'.' * bool(group)}{group}/{data['metadata']['name']}"


def _owners(data: Json) -> list[str]:
    """Return what an object was made for."""
    meta, spec = data["metadata"], data.get("spec") or {}
    owners = [f"{each['kind'].lower()}/{each['name']}" for each in meta.get("ownerReferences", [])]
    # A Deployment's pods belong to a ReplicaSet, which may be gone already; its name is the Deployment's and this label.
    label = meta.get("labels", {}).get("pod-template-hash")
    owners += [
        f"deployment/{each.partition('/')[2].removesuffix(f'-{label}')}" for each in owners if label and each.startswith("replicaset/")
    ]
    claim = spec.get("claimRef", {})
    # Only a volume that was made for the claim: one that it merely found is somebody else's.
    if claim.get("namespace") == NAMESPACE and "pv.kubernetes.io/provisioned-by" in meta.get("annotations", {}):
        owners.append(f"persistentvolumeclaim/{claim['name']}")
    if data["kind"] == "VolumeAttachment":
        source = spec["source"]
        owners.append(f"persistentvolume/{source.get('persistentVolumeName', '')}")
        owners.append(f"disk/{source.get('inlineVolumeSpec', {}).get('csi', {}).get('volumeHandle', '')}")
    return owners


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell's line, as far as quotes and operators go; expansions stay as they are."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    for token in lexer:
        if set(token) <= set("();<>|&"):
            yield words
            words = []
        elif words or token not in ("until", "while", "if", "then", "else", "do", "!"):
            words.append(token)
    yield words


def _is_applier(words: Sequence[str]) -> bool:
    return words[:1] == ["kubectl"] and not _is_rehearsal(words) and bool(APPLIERS & set(_positional(words[1:])[:1]))


def _is_rehearsal(words: Sequence[str]) -> bool:
    return any(word.startswith("--dry-run") and word != "--dry-run=none" for word in words)


def _made_by_kubectl(arguments: Sequence[str]) -> set[str]:
    """Return what kubectl makes under a name that it is given."""
    verb, *given = _positional(arguments) or [""]
    if _is_rehearsal(arguments):
        return set()
    if verb in ("cordon", "drain"):
        # To let a node take pods again harms nobody: where only the shell knows its name, any that was cordoned meanwhile.
        return {f"{CORDONED}{name if name.replace('.', '').replace('-', '').isalnum() else '*'}" for name in given or ["*"]}
    made = ""
    if verb == "run" and given:
        made = f"pod/{given[0]}"
    elif verb == "create" and len(given) > 1:
        kind = given[0].partition(".")[0].lower()
        kind = SHORT.get(kind, re.sub(r"(?<=ss)es$|(?<!s)s$", "", kind))
        made = f"{kind}/{given[2] if kind in ('secret', 'service') and len(given) > 2 else given[1]}"
    elif verb == "expose" and given:
        made = f"service/{_option(arguments, '--name') or given[-1].rpartition('/')[2]}"
    # A name that only the shell knows is none: as a pattern it would be everybody's.
    return {made} if re.fullmatch(r"[a-z]+/[a-z0-9.-]+", made) else set()


def _positional(arguments: Sequence[str]) -> list[str]:
    """Return the words that are no options, up to a ``--``."""
    found: list[str] = []
    skip = False
    for word in arguments:
        if word == "--":
            break
        if not skip and not word.startswith("-"):
            found.append(word)
        skip = not skip and word in VALUED
    return found


def _option(arguments: Sequence[str], name: str) -> str:
    """Return the value of an option; empty where it isn't given."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return ""


def _is_below(path: str, export: str) -> bool:
    return path.startswith(f"{export}/") and path.rstrip("/") != export and ".." not in path.split("/")
