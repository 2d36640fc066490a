"""Filters of the role containerd: what of an inventory's own configuration can't be, and the drop-in that is made of it and of the registries' credentials."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

CRI = "io.containerd.grpc.v1.cri"
"""The plug-in by which the kubelet speaks to containerd, as containerd 1.7 calls it."""
ROLES_OWN = ("version", "imports")
"""What the role itself says at the top of the configuration."""
DOCKER_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
"""The host that containerd asks for the images of a registry that goes by another name."""


def problems(extra: Mapping[str, Any], credentials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in sentences what is wrong with an inventory's own configuration and credentials; no password is in them."""
    found = [f"containerd_extra_config has '{key}', which is the role's: leave it out." for key in ROLES_OWN if key in extra]
    found += [f"containerd_extra_config has no value for {name}: give it one, or leave it out." for name in _empty(extra)]
    if "registry" in (_plugins(extra).get(CRI) or {}):
        found.append(
            f"containerd_extra_config has plugins.{CRI}.registry, which is the role's: "
            "name registries in containerd_registry_mirrors, and passwords in containerd_registry_credentials."
        )
    hosts = [str(each.get("registry", "")) for each in credentials]
    asked = [DOCKER_HUB.get(host, host) for host in hosts]
    for number, (host, each) in enumerate(zip(hosts, credentials, strict=True)):
        if not host or "/" in host:
            found.append(
                f"containerd_registry_credentials has the registry '{host}', and only a host is allowed: write it like registry.example:5000."
            )
        if asked[number] in asked[:number]:
            other = hosts[asked.index(asked[number])]
            again = "twice" if other == host else f"beside '{other}', which is the same"
            found.append(f"containerd_registry_credentials has the registry '{host}' {again}: leave one of them.")
        found += [
            f"containerd_registry_credentials has no {part} for the registry '{host}': give it one, from a vault or the environment."
            for part in ("username", "password")
            if not each.get(part)
        ]
    return found


def drop_in(base: str, extra: Mapping[str, Any], credentials: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the file that containerd imports after its own configuration.

    An import takes the place of the whole section of each plug-in that it names: so a plug-in's section here has all that the configuration says of it.

    Args:
        base: The text of the configuration that imports it.
        extra: An inventory's own configuration, in containerd's own structure.
        credentials: Registries, each with a username and a password.
    """
    wanted = _merged({}, {key: value for key, value in extra.items() if key != "plugins"})
    plugins = _merged({}, _plugins(extra))
    if credentials:
        given = {
            DOCKER_HUB.get(each["registry"], each["registry"]): {"auth": {"username": each["username"], "password": each["password"]}}
            for each in credentials
        }
        plugins = _merged(plugins, {CRI: {"registry": {"configs": given}}})
    known = tomllib.loads(base)["plugins"]
    sections = {name: _merged(known.get(name, {}), section) for name, section in plugins.items()}
    text = "\n".join(_tables({"version": 2, **wanted, **({"plugins": sections} if sections else {})}))
    return f"# Written by Ansible (role containerd).\n{text}\n"


def _empty(value: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the names of what has no value: a key in YAML of which all that belongs to it is commented out."""
    if value is None:
        yield ".".join(path)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _empty(each, (*path, str(key)))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, each in enumerate(value):
            yield from _empty(each, (*path, str(number)))


def _plugins(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    found = extra.get("plugins") or {}
    return found if isinstance(found, Mapping) else {}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, with what is above over what is below."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old if isinstance(old, Mapping) else {}, value) if isinstance(value, Mapping) else value
    return result


def _tables(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of a table in TOML: its values, then the tables in it."""
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (values or not table):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in values.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _tables(value, (*path, str(key)))


def _value(value: object) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())} }}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_value, value))}]"
    return _string(value)


def _key(text: object) -> str:
    return str(text) if re.fullmatch(r"[A-Za-z0-9_-]+", str(text)) else _string(text)


def _string(text: object) -> str:
    """Return a string of TOML, whose escapes are JSON's."""
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"containerd_problems": problems, "containerd_drop_in": drop_in}
