"""Command line of the mirror: build, serve, stand in for the upstream, lock and check; what it is made of, and what is newer."""

import argparse
import sys
import time
from pathlib import Path

from mirror import boxes, build, debian, lock, outdated, same, sbom, serve, upstream
from mirror.errors import MirrorError
from mirror.paths import LOCK_FILE, REPORTS, cache_folder
from mirror.shell import ended_by_signals
from mirror.store import Store

INTERRUPTED = 130  # as shells report it


def main(arguments: list[str] | None = None) -> int:
    """Run one command; give the exit status."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {line}", flush=True)

    try:
        if options.command == "build":
            chosen = boxes.BOXES if options.box == "all" else (options.box,)
            store = Store(cache_folder(), report)
            with ended_by_signals(), store.locked():
                build.build(store, lock.load(), chosen, options.also)
        elif options.command == "check":
            store = Store(cache_folder(), report)
            same.check_whole(store)
            report(f"{store.cache}: every checksum is right")
            if options.against:
                report(same.check(store, Store(options.against, report)))
        elif options.command == "serve":
            serve.serve(Store(cache_folder(), report), options.address, options.apt_port, options.registry_port)
        elif options.command == "stand-in":
            upstream.serve(Store(cache_folder(), report), lock.load(), options.address, options.folder)
        elif options.command == "lock":
            for file, wanted in [(lock.EXTRAS[name], lock.load_extra(name).debian) for name in options.also] or [
                (LOCK_FILE, lock.load().debian)
            ]:
                timestamp, packages = debian.resolve(wanted)
                lock.write_debian(file, timestamp, packages)
                report(f"{file.name}: {len(packages)} Debian packages as of {timestamp}")
        elif options.command == "sbom":
            for file in sbom.write(Store(cache_folder(), report), lock.load(), options.to, options.artefact):
                report(str(file))
        elif options.command == "outdated":
            problems: list[str] = []
            print(outdated.table(outdated.ask(lock.load(), problems), problems), end="")
    except MirrorError as error:
        print(f"mirror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mirror: interrupted: run the command again, it goes on from the last finished step", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mirror", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="make packages, images and boxes; what is there and right is kept")
    make.add_argument("--box", choices=[*boxes.BOXES, "all"], default="full", help="which box to make (default: full)")
    make.add_argument(
        "--also",
        choices=sorted([*lock.EXTRAS, lock.EARLIER]),
        action="append",
        default=[],
        help="an extra image or the earlier Kubernetes, once made it is kept up to date",
    )
    offer = commands.add_parser("serve", help="serve packages and images until it is ended")
    offer.add_argument("--address", required=True, help="IPv4 address to listen on")
    offer.add_argument("--apt-port", type=int, default=8480, help="port of the packages (default: 8480)")
    offer.add_argument("--registry-port", type=int, default=8481, help="port of the images (default: 8481)")
    stand_in = commands.add_parser(
        "stand-in", help="answer under the upstream's own names, in a network of a test's own, until it is ended"
    )
    stand_in.add_argument("--address", required=True, help="IPv4 address to listen on")
    stand_in.add_argument("--folder", type=Path, required=True, help="where its keys, certificates and signatures go")
    whole = commands.add_parser("check", help="compare every file of the cache with its checksum")
    whole.add_argument("--against", type=Path, metavar="CACHE", help="and with another cache's, built from the same lock file")
    made_of = commands.add_parser("sbom", help="write down what images and boxes are made of: CycloneDX documents and a summary")
    made_of.add_argument("artefact", nargs="*", help="an image or box, such as image-etcd (default: all)")
    made_of.add_argument("--to", type=Path, default=REPORTS, metavar="FOLDER", help="folder to write to (default: reports/sbom)")
    commands.add_parser("outdated", help="ask the registries what is newer than the lock file")
    anew = commands.add_parser("lock", help="resolve the Debian packages anew and write them into the lock file")
    anew.add_argument("--also", choices=sorted(lock.EXTRAS), action="append", default=[], help="those of an extra image instead")
    return parser


if __name__ == "__main__":
    sys.exit(main())
