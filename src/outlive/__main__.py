"""The program `outlive`; `python3 -m outlive setup` and `doctor` run before there is an environment, all else in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from outlive.base.program import ended


def main() -> int:
    """Run the command line that this process was given; return the exit status."""
    return ended({"setup": _setup, "doctor": _doctor}.get(" ".join(sys.argv[1:]), _any))


def _setup() -> None:
    """Needs Python's own library alone, as `_doctor` does."""
    from outlive.host import steps

    steps.setup()


def _doctor() -> int:
    from outlive.host.doctor import checklist

    return checklist.report()


def _any() -> int:
    from outlive import cli

    # Its programs come first, Ansible's and the linters', whatever the folder of this environment is called.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
