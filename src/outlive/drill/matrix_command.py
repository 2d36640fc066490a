"""Run the matrix of drills, every fault under every recovery profile: ``python -m outlive.drill.matrix_command``; ``outlive drills`` calls it.

The lab has the profile again that it had before, unless something went wrong. ``reports/drills.html`` is one page over all drills that were ever run here.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from outlive.base.errors import EXIT_INTERRUPTED as INTERRUPTED
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict
from outlive.base.wait import WaitTimeoutError
from outlive.drill import command
from outlive.drill.faults import KINDS, named
from outlive.report import matrix
from outlive.report.model import REPORTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; return the exit status: 0 only where all passed. A lab that isn't steady ends the row with its sentence."""
    parser = argparse.ArgumentParser(prog="python -m outlive.drill.matrix_command", description=__doc__)
    parser.add_argument("--faults", default=",".join(KINDS), help="names, separated by commas (all)")
    parser.add_argument("--profiles", default=",".join(command.PROFILES), help="names, separated by commas (all)")
    parser.add_argument("--times", default="1", help="how often each is run, in rounds over all faults (1)")
    options = parser.parse_args(arguments)
    command.end_on_signals()
    verdicts: list[Verdict] = []
    try:
        faults = [named(name).name for name in options.faults.split(",")]
        profiles = [command.known_profile(name) for name in options.profiles.split(",")]
        rounds = rounds_of(options.times)
        before = command.applied_profile()
        for profile in profiles:
            # In rounds: mysqld killed again at once would be found in the kubelet's back-off, and an hour's noise in one fault's figures.
            for _, fault in itertools.product(range(rounds), faults):
                verdicts.append(command.one(fault, profile, apply=True).verdict)
        command.apply_profile(before or command.PROFILES[0])
    except (LabError, WaitTimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        verdicts.append(Verdict.UNKNOWN)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        summary()
    return 0 if verdicts and set(verdicts) == {Verdict.PASS} else 1


def rounds_of(text: str) -> int:
    """Return how often each drill is asked for.

    Raises:
        LabError: it's no number above 0.
    """
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise LabError(f"TIMES is {text!r}, and a drill is run a whole number of times, once at least: leave it out for 1, or set it to 3")


def summary() -> None:
    """Write the page over all drills and print its table."""
    reports = Path(os.environ.get("OUTLIVE_REPORTS") or ROOT / REPORTS)
    page = matrix.write(reports)
    if page is not None:
        rows = matrix.table(matrix.results(reports))
        print(
            "\n".join(
                ["", "From the fault to the first committed write:", *matrix.lines(rows, command.PROFILES), "", f"all drills: {page}"]
            )
        )


if __name__ == "__main__":
    sys.exit(main())
