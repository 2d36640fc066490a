"""Command line of the host's side: `python3 -m host COMMAND`. The Makefile lists what people call."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from host import rehearsals
from host.command import interrupt_by
from verify.lab.errors import INTERRUPTED, LabError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status. What a user can cure is one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python3 -m host", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install what the host lacks and make the virtual environment")
    commands.add_parser("doctor", help="say what is wrong with this host, and how to cure it")
    commands.add_parser("lab", help="everything: from a fresh machine to a verified fail-over")
    test = commands.add_parser("test", help="the lab as a test; removed again where it wasn't there before")
    test.add_argument("--all", action="store_true", help="with every page and exercise of the tutorial, however long it takes")
    molecule = commands.add_parser("molecule", help="run the roles' scenarios on machines of the bare box")
    molecule.add_argument("--role", default="", help="the roles, separated by commas (default: all)")
    molecule.add_argument(
        "--step", default="test", help="one step of its scenario, after which the machines stay (default: test, all of it)"
    )
    commands.add_parser("reset", help="put the VMs back to the fresh cluster")
    commands.add_parser("destroy", help="remove the VMs and this checkout's state")
    commands.add_parser("status", help="say how this host runs the lab and whether it is there")
    bench = commands.add_parser("bench", help="measure set-up, second run and reset; write reports/bench-*.json")
    bench.add_argument("--cold", action="store_true", help="measure the mirror with an empty cache too")
    rehearse = commands.add_parser("rehearse", help="go ways to a cluster that the lab itself doesn't go, on machines of their own")
    rehearse.add_argument("way", nargs="*", help=f"{', '.join(rehearsals.WAYS)} (all)")
    run = commands.add_parser("run", help="run one command where the lab's VMs can be reached")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    commands.add_parser("shell", help="open a shell where the lab's VMs can be reached")
    options = parser.parse_args(arguments)
    # Also where this process was started to ignore them, as a shell does with a job in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt_by)
    try:
        return _call(options)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is lost; run the command again, it goes on from the last finished step", file=sys.stderr)
        return INTERRUPTED


def _call(options: argparse.Namespace) -> int:
    from host import lab, private
    from host.access import reach

    if private.inside():
        # A second libvirt would be started on the first one's folder: its processes have other numbers in here.
        if options.command == "run":
            return subprocess.run(_argv(options), check=False).returncode
        if options.command not in ("setup", "doctor", "status"):
            raise LabError(f"this is the shell of a running lab, in which `{options.command}` can't be run: type `exit` first")
    match options.command:
        case "setup":
            lab.setup()
        case "lab":
            lab.make()
        case "test":
            lab.test(everything=options.all)
        case "molecule":
            lab.roles(options.role, options.step)
        case "reset":
            lab.reset()
        case "destroy":
            lab.destroy()
        case "doctor":
            from host import checks

            return checks.report()
        case "status":
            from host import checks

            return checks.status()
        case "bench":
            from host import bench

            bench.run(cold=options.cold)
        case "rehearse":
            return rehearsals.run(options.way)
        case "run":
            argv = _argv(options)
            there = reach()
            if argv[:2] == ["vagrant", "up"]:
                there.require_box()
            return there.run(argv)
        case "shell":
            there = reach()
            command = os.environ.get("CMD")
            if command:
                return there.run(["bash", "-c", command])
            print("vagrant, virsh, ansible-playbook, kubectl and pytest work on the lab in here; `exit` leaves.")
            return there.run([os.environ.get("SHELL", "/bin/bash")])
    return 0


def _argv(options: argparse.Namespace) -> list[str]:
    """Return the command line that stands behind `run --`."""
    argv: list[str] = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        raise LabError("no command was given: write it behind `run --`, for example `python3 -m host run -- kubectl get nodes`")
    return argv


if __name__ == "__main__":
    sys.exit(main())
