"""What a recovery profile sets, and what of it a lab has: a profile that was applied by half is found, and taken for none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outlive.base.errors import LabError, UnreachableError
from outlive.base.wait import persist
from outlive.lab import mysql, nfs, objects
from outlive.lab.inventory import Inventory
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

Settings = Mapping[str, object]
"""Values by what they are the values of, as lab or inventory write them: durations as Go does, other times in seconds."""

PLAYBOOKS = ("playbooks/site.yml", "playbooks/tutorial.yml")
"""What sets them; site.yml for the machines, tutorial.yml for MySQL."""
GRACE_FLAG = "--node-monitor-grace-period"
GRACE_PERIOD = "50s"
"""What kube-controller-manager takes where it isn't told: Kubernetes' own since 1.32."""
FOR_EVER = "for ever"
ANSWER_WITHIN = 300.0
"""Seconds for machines and API server to answer: a playbook may just have restarted what is asked."""
KEYS = ("node_monitor_grace_period", "toleration_seconds", "nfs_lease_time", "nfs_grace_time", "kubelet_configuration", "mysql_standby")
"""What each of the inventory's profiles has."""
STANDBY = "standby"
"""The profile under which a second pod of MySQL waits."""
WATCHED = frozenset({"fenced", STANDBY})
"""The profiles beside which the fencing watcher runs."""
WAITING = "MySQL's waiting pods"
GRACE_PERIOD_KEY = "shutdownGracePeriod"
"""What a kubelet calls the time for which it holds up its node's shutdown."""
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
"""Units of a duration as Go writes it, in seconds."""
DURATION = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(UNITS)})")


@dataclass(frozen=True)
class Difference:
    """A setting that the lab has otherwise than a profile."""

    setting: str
    found: object
    wanted: object

    def __str__(self) -> str:
        """Say what it is on the lab, and what in the profile."""
        return f"{self.setting} is {_told(self.found)} (in the profile {_told(self.wanted)})"


def options(profile: str) -> tuple[str, ...]:
    """Return what ``ansible-playbook`` is given, after the playbooks, to apply a profile."""
    return ("--tags", "recovery_profile", "-e", f"recovery_profile={profile}")


def command(profile: str) -> str:
    """Return the command line that applies a profile."""
    return " ".join(("ansible-playbook", *PLAYBOOKS, *options(profile)))


def differences(found: Settings, wanted: Settings) -> tuple[Difference, ...]:
    """Return what a lab has otherwise than a profile.

    Raises:
        LabError: a setting of the profile wasn't read on the lab.
    """
    unread = [each for each in wanted if each not in found]
    if unread:
        raise LabError(f"The lab's {', '.join(unread)} wasn't read, so whether the lab has the recovery profile isn't known.")
    return tuple(Difference(each, found[each], value) for each, value in wanted.items() if _meaning(found[each]) != _meaning(value))


def names(found: Settings, profiles: Mapping[str, Settings]) -> tuple[str, ...]:
    """Return the profiles all of whose settings a lab has: several may set the same."""
    return tuple(name for name, wanted in profiles.items() if not differences(found, wanted))


def matching(lab: Lab) -> tuple[str, ...]:
    """Return the inventory's profiles all of whose settings the lab has; none where they are mixed.

    Raises:
        LabError: the lab doesn't answer, MySQL isn't deployed, or the inventory doesn't say what a profile sets.
    """
    return names(of_lab(lab), of_profiles(lab.inventory))


def check(lab: Lab, profile: str, when: str = "") -> None:
    """Refuse a lab that hasn't all settings of a profile; ``when`` ends the words that say so.

    Raises:
        LabError: it hasn't, or that isn't known; nothing was touched.
    """
    profiles = of_profiles(lab.inventory)
    if profile not in profiles:
        raise LabError(f"The recovery profile {profile!r} isn't in recovery_profiles of the inventory: it has {', '.join(profiles)}.")
    found = of_lab(lab)
    wrong = differences(found, profiles[profile])
    if not wrong:
        return
    has = names(found, profiles)
    raise LabError(
        f"The lab doesn't have the recovery profile {profile!r}{when}, {'but ' + ' and '.join(map(repr, has)) if has else 'nor another as a whole'} "
        f"({'; '.join(map(str, wrong))}): apply it with `{command(profile)}`{', or take one that the lab has' if has else ''}."
    )


def chosen(inventory: Inventory) -> str:
    """Return the inventory's own profile: what `outlive provision` applies.

    Raises:
        LabError: it names none.
    """
    name = inventory.setting("recovery_profile")
    if name is None:
        raise LabError(f"The inventory {inventory.source} has no literal recovery_profile: give it the name of one of recovery_profiles.")
    return name


def of_profiles(inventory: Inventory) -> dict[str, Settings]:
    """Return what each of the inventory's profiles sets on its machines and in its cluster.

    What one of them sets in the kubelets' configuration isn't set by those that don't name it.

    Raises:
        LabError: the inventory has no profiles, or one that lacks something.
    """
    written = _written(inventory)
    server, workers = inventory.group("nfs_servers")[0].name, [host.name for host in inventory.workers]
    keys = _kubelet_keys(written)
    return {
        name: {
            f"{GRACE_FLAG} of kube-controller-manager": each["node_monitor_grace_period"] or GRACE_PERIOD,
            **{_toleration(condition): each["toleration_seconds"] for condition in ("not-ready", "unreachable")},
            f"the NFSv4 lease of {server} (s)": each["nfs_lease_time"],
            f"the NFSv4 grace period of {server} (s)": each["nfs_grace_time"],
            **{_kubelet(key, worker): each["kubelet_configuration"].get(key) for worker in workers for key in keys},
            WAITING: int(each["mysql_standby"]),
        }
        for name, each in written.items()
    }


def of_lab(lab: Lab) -> Settings:
    """Return what a lab has of the settings that its inventory's profiles set.

    Raises:
        LabError: the lab doesn't answer, MySQL isn't deployed, or the inventory doesn't say what a profile sets.
    """
    keys = _kubelet_keys(_written(lab.inventory))
    return persist("the lab's recovery settings", lambda: _read(lab, keys), within=ANSWER_WITHIN, clock=lab.clock)


def _read(lab: Lab, kubelet_keys: Sequence[str]) -> Settings:
    server = lab.inventory.group("nfs_servers")[0].name
    manager = lab.cluster.commands("kube-system", "component=kube-controller-manager")
    if not manager:
        raise UnreachableError("the API server knows no kube-controller-manager just now")
    deployment = lab.cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT)
    seconds = {each: deployment.tolerated_seconds(each) for each in ("not-ready", "unreachable")}
    kubelets = {worker: lab.cluster.kubelet_configuration(worker) for worker in lab.workers}
    for worker, each in kubelets.items():
        if _meaning(each.get(GRACE_PERIOD_KEY)) and not _holds_up_a_shutdown(lab.remote, worker):
            raise UnreachableError(
                f"{worker}'s kubelet has a {GRACE_PERIOD_KEY} of {each[GRACE_PERIOD_KEY]} and doesn't hold up a shutdown: its lock isn't in "
                f"`systemd-inhibit --list` there, and `journalctl -u kubelet` says why; where logind's InhibitDelayMaxSec is shorter, node_base sets it"
            )
    return {
        f"{GRACE_FLAG} of kube-controller-manager": objects.flag(manager, GRACE_FLAG) or GRACE_PERIOD,
        **{_toleration(condition): FOR_EVER if each is None else each for condition, each in seconds.items()},
        f"the NFSv4 lease of {server} (s)": nfs.lease_seconds(lab.remote, server),
        f"the NFSv4 grace period of {server} (s)": nfs.grace_seconds(lab.remote, server),
        **{_kubelet(key, worker): each.get(key) for worker, each in kubelets.items() for key in kubelet_keys},
        WAITING: deployment.wanted - 1 if deployment.standby else 0,
    }


def _holds_up_a_shutdown(remote: Remote, worker: str) -> bool:
    """Say whether logind waits for the kubelet: one that didn't get enough time of logind goes on without, and tells nobody but its log."""
    held = remote.check(worker, "systemd-inhibit --list --no-legend --no-pager").splitlines()
    return any(line.split()[:1] == ["kubelet"] and "shutdown" in line.split() for line in held)


def _toleration(condition: str) -> str:
    return f"the tolerationSeconds of MySQL's Deployment for {condition}"


def _kubelet(key: str, worker: str) -> str:
    return f"{key} of {worker}'s kubelet"


def _written(inventory: Inventory) -> dict[str, Mapping[str, Any]]:
    """Return the inventory's profiles as they are written, each whole."""
    written = inventory.group("control_plane")[0].variables.get("recovery_profiles")
    if not isinstance(written, dict) or not written:
        raise LabError(f"The inventory {inventory.source} has no recovery_profiles: it needs them as inventories/common has them.")
    for name, each in written.items():
        lacking = [key for key in KEYS if not isinstance(each, dict) or key not in each]
        if lacking:
            raise LabError(
                f"The recovery profile {name!r} of the inventory has no {', '.join(lacking)}: each profile needs {', '.join(KEYS)}."
            )
        if not isinstance(each["kubelet_configuration"], dict) or "{{" in json.dumps(each):
            raise LabError(
                f"The recovery profile {name!r} of the inventory isn't literal ({json.dumps(each)}): a drill compares the lab with its values, "
                "so it can have no templates, and its kubelet_configuration has to be a dictionary."
            )
    return written


def _kubelet_keys(written: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for each in written.values() for key in each["kubelet_configuration"]))


def _meaning(value: object) -> object:
    """Return what two ways to write the same have in common: a duration's seconds, and 0 for what is empty or not there."""
    if not value:
        return 0.0
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value)
        parts = DURATION.findall(value)
        if "".join(map("".join, parts)) == value:
            return round(sum(float(number) * UNITS[unit] for number, unit in parts), 9)
    return value


def _told(value: object) -> str:
    if value in (None, ""):
        return "not set"
    return value if isinstance(value, str) else json.dumps(value)
