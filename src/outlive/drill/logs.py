"""What the programs themselves said during a drill: mysqld, the kubelets and the kernels, beside the drill's report."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from outlive.base.clock import Instant
from outlive.base.errors import LabError
from outlive.lab.mysql import DEPLOYMENT, NAMESPACE
from outlive.lab.session import Lab

SLACK = timedelta(seconds=60)
"""Machines' clocks differ from the host's by less."""
LINES = 5000
"""Of each log, the last ones."""


def collect(stage: Lab, folder: Path, since: Instant) -> None:
    """Write the logs since a moment; of a program that can't be asked, the reason."""
    _write(folder / "mysqld.log", lambda: _mysqld(stage))
    began = f"@{(since.wall - SLACK).timestamp():.0f}"
    command = f"journalctl --no-pager --lines={LINES} --since={began} _TRANSPORT=kernel + _SYSTEMD_UNIT=kubelet.service"
    for host in stage.inventory.group("cluster"):
        _write(folder / f"{host.name}.log", partial(stage.remote.check, host.name, command))


def _mysqld(stage: Lab) -> str:
    """Return the logs of MySQL's pods that are there, of each the container before the present one too."""
    selector = stage.cluster.deployment(NAMESPACE, DEPLOYMENT).selector
    parts = []
    for pod in stage.cluster.pods(NAMESPACE, selector):
        for previous in (True, False):
            try:
                text = stage.cluster.log(NAMESPACE, pod.name, LINES, previous=previous)
            except LabError as error:
                text = f"no log: {error}\n" if not previous else ""
            if text:
                parts.append(f"== {pod.name} on {pod.node}{', the container before' if previous else ''}\n{text}")
    return "\n".join(parts)


def _write(file: Path, read: Callable[[], str]) -> None:
    try:
        text = read()
    except LabError as error:
        text = f"no log: {error}\n"
    file.write_text(text, encoding="utf-8")
