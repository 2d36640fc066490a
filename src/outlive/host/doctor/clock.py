"""The host's clock: the VMs start with its time."""

from __future__ import annotations

import ctypes
import email.utils
import re
import time
from collections.abc import Mapping

from outlive.base import architecture
from outlive.base.paths import ROOT, cache
from outlive.base.process import said
from outlive.host.doctor import Finding, fine, note, wrong

SLACK = 86400.0
"""Seconds that a clock may lie behind something that was written before: whoever made a commit may have had a clock that was ahead."""

UNSYNCHRONIZED = 5
"""What adjtimex(2) answers where nothing keeps the clock right (TIME_ERROR)."""


def plausible(now: float, written: Mapping[str, float]) -> Finding:
    """Compare the clock with when things were written that are there already.

    Args:
        now: The clock, in seconds since 1970.
        written: When each of these things was written, in seconds since 1970.
    """
    for what, when in sorted(written.items(), key=lambda item: -item[1]):
        if now < when - SLACK:
            return wrong(
                f"this host's clock says {_day(now)}, and {what} is of {_day(when)}: certificates and apt's Release files would count as not yet valid, so set the clock (`sudo timedatectl set-ntp true`, or `sudo date --set '...'`)"
            )
    return fine(f"clock: {_day(now)}")


def synchronized(state: int | None) -> Finding:
    """Say whether something keeps the clock right, by adjtimex's answer (None: the system has no such call)."""
    if state is None:
        return note("whether this host's clock is kept right is unknown, as the system has no adjtimex: the VMs take their time from it")
    if state == UNSYNCHRONIZED:
        return note(
            "the kernel says that nothing keeps this host's clock right, and the VMs take their time from it: run chrony or systemd-timesyncd (`sudo timedatectl set-ntp true`)"
        )
    return fine("clock: synchronized, says the kernel")


def release_date(text: str) -> float | None:
    """Return the Date of an apt Release file in seconds since 1970."""
    found = re.search(r"^Date: (.+)$", text, re.MULTILINE)
    try:
        return email.utils.parsedate_to_datetime(found[1]).timestamp() if found else None
    except ValueError:
        return None


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def read_written(*, mirror: bool) -> dict[str, float]:
    """Return when the checkout's newest commit and, if wanted, the mirror's packages were written."""
    written = {}
    commit = said(("git", "-C", str(ROOT), "log", "-1", "--format=%ct"))
    if commit and commit.isdigit():
        written["the checkout's newest commit"] = float(commit)
    for release in (cache() / architecture.chosen().store).glob("*/dists/*/Release") if mirror else ():
        try:
            date = release_date(release.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if date is not None:
            written["the mirror's newest package list"] = max(date, written.get("the mirror's newest package list", 0.0))
    return written


def read_synchronized() -> int | None:
    """Return what adjtimex(2) answers when asked to change nothing."""
    try:
        # struct timex is 208 bytes long on 64-bit Linux; its first field, modes, being 0 asks for the state only.
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return answer if answer >= 0 else None
