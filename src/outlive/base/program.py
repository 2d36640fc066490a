"""How a command ends: the one place in which errors and signals become an exit status and a sentence on standard error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from outlive.base.errors import EXIT_FAIL, EXIT_INTERRUPTED, EXIT_PASS, EXIT_UNKNOWN, LabError
from outlive.base.process import ending_signals, interrupt_by

CALLED = "OUTLIVE_CALLED"
"""Set for a command that another one runs as a part of itself: of an interruption the other one tells."""


def ended(call: Callable[[], object]) -> int:
    """Run a command; return its exit status. What a user can cure is one sentence, never a traceback."""
    # Also where this process was started to ignore them, as a shell does with a job in the background.
    for number in ending_signals():
        signal.signal(number, interrupt_by)
    try:
        status = call()
        sys.stdout.flush()
    except LabError as error:
        return _said(f"error: {error}", error.exit_status)
    except AssertionError as error:  # a state that wasn't reached in time: a verdict about the lab
        return _said(f"error: {error}", EXIT_FAIL)
    except KeyboardInterrupt:
        sentence = "interrupted: nothing is lost; run the command again, it goes on from the last finished step"
        return _said("" if os.environ.get(CALLED) else sentence, EXIT_INTERRUPTED)
    except ModuleNotFoundError as error:
        return _said(
            f"error: Python's package {error.name} is missing in {sys.executable}: run `make setup`, then .venv/bin/outlive", EXIT_UNKNOWN
        )
    except BrokenPipeError:  # as of `outlive doctor | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNKNOWN
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _said(f"error: the system says '{error.strerror or error}'{where}: cure that, then run the command again", EXIT_UNKNOWN)
    return status if isinstance(status, int) else EXIT_PASS


def _said(sentence: str, status: int) -> int:
    if sentence:
        print(sentence, file=sys.stderr)
    return status
