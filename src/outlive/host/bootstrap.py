"""`outlive setup` and `outlive doctor`, which run with Python's own library alone, before there is an environment."""

from __future__ import annotations

import signal
import sys

from outlive.base.errors import EXIT_INTERRUPTED, LabError
from outlive.base.process import interrupt_by


def main(command: str) -> int:
    """Run one of the two; return the exit status. What a user can cure is one sentence on standard error."""
    from outlive.host import steps
    from outlive.host.doctor import checklist

    # Also where this process was started to ignore them, as a shell does with a job in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt_by)
    try:
        if command == "doctor":
            return checklist.report()
        steps.setup()
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted: nothing is lost; run the command again, it goes on from the last finished step", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
