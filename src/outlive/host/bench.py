"""Measure what the README promises on this host: set-up, second run, reset, memory. One run, one JSON file in reports/."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from outlive.base import architecture
from outlive.base.errors import LabError
from outlive.base.paths import LOGS, REPORTS, machine_ids
from outlive.base.process import OUTLIVE, logged, said
from outlive.base.wait import wait_for
from outlive.host import private, steps
from outlive.host.reach import build_mirror
from outlive.host.settings import decide

IDLE_CORES = 1.4
"""Cores that an idle lab's VMs stay below under emulation (measured: 0.9 to 1.2); with hardware virtualization a tenth of it."""
LOOK = 10.0
"""Seconds over which the use of cores is measured."""


def run(*, cold: bool) -> Path:
    """Make a lab in a checkout that has none, and measure; the lab is left running.

    Args:
        cold: Build mirror and boxes in an empty cache too, Go's caches included.

    Returns:
        The JSON file.

    Raises:
        LabError: the checkout has a lab, or a step failed.
    """
    if machine_ids():
        raise LabError(
            "this checkout has a lab, and what is measured is how a new one is made: run `outlive destroy`, or measure in another clone"
        )
    figures: dict[str, float] = {}
    settings = decide()
    steps.destroy()
    figures["this host's speed: ten million steps of Python, s"] = _speed()
    if cold:
        figures["mirror and box from cold, s"] = _cold_mirror()
    if settings.builds_mirror:
        build_mirror(settings.box)
        figures["mirror and box again, s"] = build_mirror(settings.box)
    took = steps.make()
    for name, seconds in took.items():
        figures[f"first make lab: {name}, s"] = seconds
    figures["from boxes to MySQL Ready, s"] = sum(took[name] for name in ("inventory", "up", "site", "tutorial"))
    figures["memory of all VMs, MiB"] = _memory()
    figures["idle after the fail-over, s"] = _timed(_idle)
    figures["make lab again, s"] = _timed(steps.make)
    figures["reset to Ready, s"] = _timed(steps.reset)
    record = {
        "format": 1,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": describe_host(),
        "provider": settings.provider,
        "driver": settings.driver,
        "figures": {name: round(value, 1) for name, value in figures.items()},
    }
    file = REPORTS / f"bench-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{value:>8.1f}  {name}")
    print(f"written to {file}")
    return file


def describe_host() -> dict[str, object]:
    """Return what a reader needs to compare figures: processor, cores, memory, system, QEMU."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), platform.processor())
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    memory = next(int(line.split()[1]) // 1024 for line in meminfo.splitlines() if line.startswith("MemTotal"))
    qemu = (said([architecture.chosen().emulator, "--version"]) or "").splitlines()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_mib": memory,
        "system": platform.freedesktop_os_release().get("PRETTY_NAME"),
        "kernel": platform.release(),
        "qemu": qemu[0] if qemu else None,
    }


def _speed() -> float:
    """Return the seconds that one core takes for a fixed piece of work: figures of two runs compare as these do."""
    began = time.process_time()
    total = 0
    for number in range(10_000_000):
        total += number * number
    return time.process_time() - began


def _timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _cold_mirror() -> float:
    """Build mirror and box with empty caches, ours and Go's; return the seconds."""
    scratch = Path(tempfile.mkdtemp(prefix="outlive-cold-", dir=REPORTS.parent))
    try:
        return logged(
            "mirror from cold",
            [*OUTLIVE, "mirror", "build", "--box", "full"],
            LOGS / "mirror-cold.log",
            env={**os.environ, "OUTLIVE_CACHE": str(scratch)},
            show=lambda line: line,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _idle() -> None:
    """Wait until the VMs do no more than idle ones do: what comes back with a node isn't the second run's cost."""
    wait_for(
        "VMs", f"below {IDLE_CORES} cores", _cores, lambda cores: cores < IDLE_CORES, within=600, describe=lambda cores: f"{cores:.1f}"
    )


def _cores() -> float:
    """Return how many cores this lab's VMs used, over some seconds."""
    before, started = _ticks(), time.monotonic()
    time.sleep(LOOK)
    return (_ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - started)


def _ticks() -> int:
    """Return the clock ticks that this lab's QEMU processes have used."""
    # After the name, which may hold spaces: state is field 3, user time 14, system time 15.
    return sum(sum(map(int, (each / "stat").read_text().rpartition(")")[2].split()[11:13])) for each in _machines())


def _memory() -> float:
    """Return the resident memory of this lab's QEMU processes in MiB."""
    return sum(int(_status(each)["VmRSS"].split()[0]) for each in _machines()) / 1024


def _machines() -> list[Path]:
    """Return the folders in /proc of this lab's QEMU processes."""
    init = private.current()
    inside = Path(f"/proc/{init.pid}/ns/pid").readlink() if init else None
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if _status(each)["Name"].strip().startswith("qemu-system") and (inside is None or (each / "ns/pid").readlink() == inside):
                found.append(each)
        except OSError:
            continue
    return found


def _status(process: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in (process / "status").read_text(encoding="utf-8").splitlines() if ":" in line)
