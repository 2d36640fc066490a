"""Exercises for learners: ``python -m verify.exercise set|check|reset N``; ``make exercise``, ``check`` and ``exercise-reset`` call it.

``check`` ends with status 0 where the exercise is solved, 1 where it isn't, and 2 where that isn't known.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from verify.lab import inventory, kube
from verify.lab.errors import INTERRUPTED, LabError, UnreachableError
from verify.lab.exercises import EXERCISES, WRITTEN, Exercise, Stage, numbered
from verify.lab.remote import Remote
from verify.lab.wait import WaitTimeoutError

SOLVED, UNSOLVED, UNKNOWN = 0, 1, 2
"""Exit statuses."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Set, check or take away; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m verify.exercise", description=__doc__)
    parser.add_argument("action", choices=("set", "check", "reset"))
    parser.add_argument("number", nargs="?", help=f"1 to {len(EXERCISES)}; only reset needs none, and then takes all away")
    options = parser.parse_args(arguments)
    everything = options.action == "reset" and options.number is None
    try:
        chosen = EXERCISES if everything else (numbered(options.number or ""),)
        with _stage() as stage:
            return _act(stage, options.action, chosen)
    except UnreachableError as error:
        print(f"error: Nothing is known of the exercise, as {error}: see `make doctor`, then run this again.", file=sys.stderr)
        return UNKNOWN
    except (LabError, WaitTimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNKNOWN
    except KeyboardInterrupt:
        print("interrupted: run the command again, it begins anew", file=sys.stderr)
        return INTERRUPTED


def _act(stage: Stage, action: str, chosen: Sequence[Exercise]) -> int:
    exercise = chosen[0]
    match action:
        case "set":
            print(f"setting exercise {exercise.title} ...", flush=True)
            stage.set(exercise)
            print(
                f"The stage is set, in the namespace {exercise.namespace}; its objects are written down in {WRITTEN}/{exercise.slug}.yml."
            )
            print(f"Read on in docs/exercises/en/{exercise.slug}.md (中文: docs/exercises/zh/{exercise.slug}.md).")
        case "check":
            wrong = stage.check(exercise)
            for finding in wrong:
                print(f"- {finding}")
            print(f"{'not solved yet' if wrong else 'solved'}: {exercise.title}")
            return UNSOLVED if wrong else SOLVED
        case _:
            stage.reset(chosen)
            print(f"taken away: {', '.join(each.namespace for each in chosen)}")
    return SOLVED


@contextmanager
def _stage() -> Iterator[Stage]:
    """Yield the lab that the inventory and KUBECONFIG lead to."""
    lab = inventory.load()
    cluster = kube.connect()
    remote = Remote(lab)
    try:
        yield Stage(lab, cluster, remote)
    finally:
        remote.close()


if __name__ == "__main__":
    sys.exit(main())
