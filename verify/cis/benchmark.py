"""What the benchmark's scanner said, held against the list of what doesn't pass here and why.

The list is expected.yml beside this file. A check that isn't in it has to pass; one that is in it has to end as the list says, no worse and no better.
docs/security.md shows the list: `python -m verify.cis.benchmark` writes it there.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from outlive.base.errors import LabError
from outlive.base.paths import ROOT

LIST = Path(__file__).with_name("expected.yml")
PAGE = ROOT / "docs/security.md"
BEGIN, END = "<!-- written by `python -m verify.cis.benchmark` -->\n", "<!-- end -->\n"
"""Between them the page has the list as a table."""
PASS = "PASS"
RESULTS = (PASS, "FAIL", "WARN", "INFO")
"""What kube-bench says of a check: WARN of one that it can't decide, or that the benchmark leaves to people."""
KINDS = (" (Automated)", " (Manual)")
CUT = 160
"""Characters of what was seen that a message shows: a whole process list belongs to the check's file in the report."""


@dataclass(frozen=True)
class Finding:
    """What the scanner said of one check on one machine."""

    machine: str
    number: str
    title: str
    result: str
    seen: str = ""
    """What its command printed, or why there was nothing to judge."""
    cure: str = ""
    """What the benchmark recommends."""


@dataclass(frozen=True)
class Entry:
    """A check that doesn't pass on a lab: how it ends instead, and why that stays."""

    number: str
    title: str
    results: tuple[str, ...]
    """More than one only where it depends on what a lab has done before."""
    reason: str


@dataclass(frozen=True)
class Expected:
    """The list, and the benchmark by whose numbers it goes."""

    benchmark: str
    entries: tuple[Entry, ...]


def load(path: Path = LIST) -> Expected:
    """Read the list.

    Raises:
        LabError: it can't be read, or an entry lacks something, is there twice, or has a result that the scanner doesn't know.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = tuple(_entry(each) for each in data["checks"])
        benchmark = str(data["benchmark"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise LabError(
            f"the list {path} can't be read ({type(error).__name__}: {' '.join(str(error).split())}): restore it with `git checkout` or mend it"
        ) from error
    numbers = [each.number for each in entries]
    for entry in entries:
        if numbers.count(entry.number) > 1:
            raise LabError(f"{path}: the check {entry.number} is there twice: leave one of them")
        wrong = [result for result in entry.results if result not in RESULTS]
        if wrong or entry.results in ((), (PASS,)):
            raise LabError(
                f"{path}: the result of {entry.number} is {' or '.join(entry.results) or 'empty'}, and what the list is for is {' or '.join(RESULTS[1:])}: "
                "give one of them, or take the entry out where it passes"
            )
        if not entry.reason:
            raise LabError(f"{path}: the check {entry.number} has no reason: say why it doesn't pass and stays so, or cure it")
    return Expected(benchmark, entries)


def _entry(data: dict[str, Any]) -> Entry:
    given = data["result"]
    results = tuple(given) if isinstance(given, list) else tuple(filter(None, [given]))
    return Entry(str(data["number"]), str(data["title"]), tuple(map(str, results)), " ".join(str(data["reason"] or "").split()))


def parse(text: str, machine: str, benchmark: str) -> list[Finding]:
    """Return what a run of kube-bench said, in the order of the benchmark.

    Args:
        text: Its JSON.
        machine: Where it ran.
        benchmark: The benchmark that the list goes by.

    Raises:
        LabError: that is no answer of kube-bench's, or it was another benchmark.
    """
    try:
        groups = [(part["version"], group) for part in json.loads(text)["Controls"] for group in part["tests"]]
        findings = [
            Finding(
                machine,
                each["test_number"],
                _title(each["test_desc"]),
                each["status"],
                " ".join((each["actual_value"] or each.get("reason", "")).split()),
                " ".join(each["remediation"].split()),
            )
            for _, group in groups
            for each in group["results"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(
            f"kube-bench on {machine} gave no list of checks ({' '.join(text.split())[:CUT] or 'nothing'}): run it again"
        ) from error
    others = {version for version, _ in groups} - {benchmark}
    if others:
        raise LabError(
            f"kube-bench takes {', '.join(sorted(others))} for the Kubernetes of {machine}, and {LIST.relative_to(ROOT)} goes by {benchmark}: "
            "give the lab a Kubernetes of that benchmark, or make the list anew"
        )
    if not findings:
        raise LabError(f"kube-bench on {machine} ran no check: run it again")
    return findings


def _title(text: str) -> str:
    text = " ".join(text.split())
    for kind in KINDS:
        text = text.removesuffix(kind)
    return text


def section(number: str) -> str:
    """Return the section of the benchmark that a check is in, such as 4 for 4.1.1."""
    return number.partition(".")[0]


def differences(entries: Iterable[Entry], findings: Sequence[Finding]) -> list[str]:
    """Return what isn't as the list says: each with number, title and what to do; empty where all is.

    Args:
        entries: The part of the list that is about these findings.
        findings: What the scanner said, of one machine or of several.
    """
    listed = {each.number: each for each in entries}
    wrong = [text for each in findings if (text := _difference(listed.get(each.number), each))]
    seen = {each.number for each in findings}
    wrong += [
        f"{each.number} {each.title}: the scanner has no such check; take it out of {LIST.name}"
        for each in listed.values()
        if each.number not in seen
    ]
    return list(dict.fromkeys(wrong))


def _difference(entry: Entry | None, found: Finding) -> str | None:
    what = f"{found.number} {found.title}, {found.machine}: {found.result}"
    shown = f"(seen: {found.seen[:CUT]}{'…' if len(found.seen) > CUT else ''})" if found.seen else "(nothing was seen)"
    if entry is None:
        if found.result == PASS:
            return None
        return f"{what} {shown}, and no entry of {LIST.name} says why; cure it ({found.cure}), or add\n{_yaml([_new(found)])}"
    if entry.title != found.title:
        return f"{what}, and {LIST.name} has this number for `{entry.title}`; look at the reason again, and correct the title"
    if found.result in entry.results:
        return None
    wanted = " or ".join(entry.results)
    if found.result == PASS:
        return f"{what}, and {LIST.name} says {wanted}; take the entry out ({entry.reason})"
    return f"{what} {shown}, and {LIST.name} says {wanted} ({entry.reason}); cure it ({found.cure}), or correct the entry"


def as_seen(expected: Expected, findings: Iterable[Finding]) -> str:
    """Return the list as it would have to be for these findings: reasons that are known stay, as do sections that nobody scanned."""
    listed = {each.number: each for each in expected.entries}
    results: dict[str, dict[str, Finding]] = {}
    for each in findings:
        results.setdefault(each.number, {}).setdefault(each.result, each)
    scanned = {section(number) for number in results}
    entries = [each for each in expected.entries if section(each.number) not in scanned]
    for number, found in results.items():
        before, first = listed.get(number), next(iter(found.values()))
        if before is not None and before.title == first.title and set(found) <= set(before.results):
            entries.append(before)
        elif set(found) != {PASS}:
            reason = before.reason if before is not None and before.title == first.title else ""
            entries.append(Entry(number, first.title, tuple(sorted(found)), reason))
    entries.sort(key=lambda each: [int(part) for part in each.number.split(".")])
    head = LIST.read_text(encoding="utf-8").partition("benchmark:")[0]
    return f"{head}benchmark: {expected.benchmark}\nchecks:\n{_yaml(entries)}"


def _new(found: Finding) -> Entry:
    return Entry(found.number, found.title, (found.result,), "")


def _yaml(entries: Iterable[Entry]) -> str:
    """Write entries as they stand in the list."""
    lines = []
    for each in entries:
        result = each.results[0] if len(each.results) == 1 else f"[{', '.join(each.results)}]"
        lines += [f"  - number: {json.dumps(each.number)}", f"    title: {json.dumps(each.title)}", f"    result: {result}"]
        reason = textwrap.wrap(each.reason, 150, break_long_words=False, break_on_hyphens=False)
        lines += ["    reason: >-", *(f"      {line}" for line in reason)] if reason else ["    reason:"]
    return "".join(f"{line}\n" for line in lines)


def table(entries: Iterable[Entry]) -> str:
    """Return the list as Markdown, as docs/security.md shows it."""
    return "".join(f"{line}\n" for line in _rows(entries))


def _rows(entries: Iterable[Entry]) -> Iterator[str]:
    yield "| check | kube-bench says | why |"
    yield "|---|---|---|"
    for each in entries:
        yield f"| {each.number} {_cell(each.title)} | {' or '.join(each.results)} | {_cell(each.reason)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def shown(page: str, entries: Iterable[Entry]) -> str:
    """Return the page with the list in its place.

    Raises:
        LabError: the page has no such place.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise LabError(f"{PAGE} has no place for the list: restore the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}\n{table(entries)}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(shown(PAGE.read_text(encoding="utf-8"), load().entries), encoding="utf-8")
