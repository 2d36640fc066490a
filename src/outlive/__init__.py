"""A Kubernetes storage lab that proves that data outlives its node.

The parts, each of which knows those before it and none behind it: ``base`` (errors, waiting, programs), ``lab`` (what a lab is), then ``drill``,
``fence`` and ``course``, and ``report`` on top. ``host`` and ``mirror`` stand beside them: this host's side, and where packages and images come from.
"""

import sys

__version__ = "0.1.0"

OLDEST_PYTHON = (3, 11)
"""ansible-core 2.19, the newest that Debian 12's Python can run, wants Python 3.11 on the controller."""

# Before anything else is imported: an older Python can't read the other modules, and would say so in its own words.
if sys.version_info[:2] < OLDEST_PYTHON:
    sys.exit(
        "error: {} is Python {}.{}, the lab needs {}.{} or newer: use Debian 12 or newer, or put a newer python3 on PATH".format(
            sys.executable, *sys.version_info[:2], *OLDEST_PYTHON
        )
    )
