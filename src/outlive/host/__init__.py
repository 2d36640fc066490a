"""The host's side of the lab: tools it needs, where its VMs run, and the one command that does it all.

Nothing in here knows Kubernetes: that is the business of `roles/` (make it so) and `verify/` (see that it is so).
"""

import sys

OLDEST_PYTHON = (3, 11)
"""ansible-core 2.19, the newest that Debian 12's Python can run, wants Python 3.11 on the controller."""

# Before anything else is imported: an older Python can't read the other modules, and would say so in its own words.
if sys.version_info[:2] < OLDEST_PYTHON:
    sys.exit(
        "error: {} is Python {}.{}, the lab needs {}.{} or newer: use Debian 12 or newer, or put a newer python3 on PATH".format(
            sys.executable, *sys.version_info[:2], *OLDEST_PYTHON
        )
    )
