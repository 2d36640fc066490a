"""Filters of the role control_plane: what the manifests of a control plane say of it."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

Manifests = Mapping[str, str]
"""Text of each file in the folder of manifests by its name, as the module control_plane_programs gives it."""


def health(manifests: Manifests, programs: Iterable[str]) -> dict[str, str]:
    """Return where each program says that it is well, as its probe asks it; an empty string where no probe asks by HTTP."""
    return {program: _probe(_container(_pod(manifests.get(f"{program}.yaml", "")))) for program in programs}


def duplicates(manifests: Manifests, programs: Iterable[str]) -> list[str]:
    """Return the files that make a program's pod a second time: the kubelet reads every file, whatever its name ends with."""
    return sorted(
        name
        for name, text in manifests.items()
        if any(name != f"{program}.yaml" and (_name(text) == program or name.startswith(f"{program}.")) for program in programs)
    )


def unreadable(manifests: Manifests, programs: Iterable[str]) -> list[str]:
    """Return the programs that no manifest starts: it isn't there, is empty, or is no pod."""
    return [program for program in programs if not _list(_container(_pod(manifests.get(f"{program}.yaml", ""))).get("command"))]


def checksum(manifests: Manifests, programs: Iterable[str]) -> str:
    """Return a checksum of what the kubelet reads in the programs' manifests: another one where somebody else has changed that."""
    pods = [_pod(manifests.get(f"{program}.yaml", "")) for program in programs]
    return hashlib.sha256(json.dumps(pods, sort_keys=True, default=str).encode()).hexdigest()


def version(manifests: Manifests) -> str:
    """Return the API server's version; nothing where there is no API server."""
    image = str(_container(_pod(manifests.get("kube-apiserver.yaml", ""))).get("image", ""))
    return image.rpartition(":v")[2] if ":v" in image else ""


def differences(manifests: Manifests, wanted: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what of a cluster isn't as the settings say, among that which never changes once it was made.

    Args:
        manifests: The control plane's manifests.
        wanted: For each setting its name and value, and the program and its flag by which it is known. A flag of the inventory's own (``given``) isn't
            the setting's.
    """
    found = []
    for each in wanted:
        is_now = flags(manifests, each["program"]).get(each["flag"], "")
        if is_now and is_now != str(each["value"]) and each["flag"] not in each.get("given", {}):
            found.append(f"{each['setting']} is {each['value']}, and the cluster was made with {is_now}")
    return found


def flags(manifests: Manifests, program: str) -> dict[str, str]:
    """Return the flags of a program by their names."""
    command = _list(_container(_pod(manifests.get(f"{program}.yaml", ""))).get("command"))
    return {name: value for name, _, value in (str(each).removeprefix("--").partition("=") for each in command[1:])}


def certificate_names(names: Iterable[str], node: str, address: str, services: str) -> list[str]:
    """Return the names and addresses that kubeadm gives the API server's certificate: the settings', and its own."""
    service = str(ipaddress.ip_network(services, strict=False)[1])
    own = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    return plain_names([*names, node, address, service, *own])


def plain_names(names: Iterable[str]) -> list[str]:
    """Return the names and addresses of a certificate, each once and without their kind, such as DNS:, before it."""
    return sorted({_plain(name) for name in names})


def _plain(name: str) -> str:
    kind, colon, rest = name.partition(":")
    text = rest if colon and kind in ("DNS", "IP", "IP Address") else name
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.lower()


def _pod(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(text: str) -> str:
    return str(_mapping(_pod(text).get("metadata")).get("name", ""))


def _container(pod: Mapping[str, Any]) -> dict[str, Any]:
    containers = _list(_mapping(pod.get("spec")).get("containers"))
    return _mapping(containers[0]) if containers else {}


def _probe(container: Mapping[str, Any]) -> str:
    asked = _mapping(_mapping(container.get("readinessProbe") or container.get("livenessProbe")).get("httpGet"))
    if not asked:
        return ""
    ports = {each.get("name"): each.get("containerPort") for each in map(_mapping, _list(container.get("ports")))}
    host = str(asked.get("host", "127.0.0.1"))
    where = f"[{host}]" if ":" in host else host
    port = asked.get("port", "")
    return f"{asked.get('scheme', 'HTTP').lower()}://{where}:{ports.get(port, port)}{asked.get('path', '/')}"


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "control_plane_certificate_names": certificate_names,
            "control_plane_checksum": checksum,
            "control_plane_differences": differences,
            "control_plane_duplicates": duplicates,
            "control_plane_health": health,
            "control_plane_plain_names": plain_names,
            "control_plane_unreadable": unreadable,
            "control_plane_version": version,
        }
