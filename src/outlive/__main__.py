"""The program `outlive`; `python3 -m outlive setup` and `doctor` run before there is an environment, all else in it."""

from __future__ import annotations

import sys

BARE = ("setup", "doctor")
"""What needs Python's own library alone."""


def main() -> int:
    """Run the command line that this process was given; return the exit status."""
    if sys.argv[1:2] and sys.argv[1] in BARE and len(sys.argv) == 2:
        from outlive.host import bootstrap

        return bootstrap.main(sys.argv[1])
    try:
        from outlive import cli
    except ModuleNotFoundError as error:
        print(
            f"error: Python's package {error.name} is missing in {sys.executable}: run `make setup`, then .venv/bin/outlive",
            file=sys.stderr,
        )
        return 2
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
