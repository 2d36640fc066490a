"""The command line `outlive`: every command, with what it takes, and the one table of exit statuses."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from outlive import __version__
from outlive.base.errors import EXIT_FAIL, EXIT_INTERRUPTED, EXIT_PASS, EXIT_UNKNOWN, LabError, StepFailedError
from outlive.base.paths import ROOT, cache
from outlive.base.process import OUTLIVE, missing, shown
from outlive.base.program import CALLED, ended

STATUSES = (
    (EXIT_PASS, "pass: done, or found to be so"),
    (EXIT_FAIL, "fail: a check failed, an exercise isn't solved"),
    (EXIT_UNKNOWN, "not known, or wrong use: the sentence names the cure"),
    (EXIT_INTERRUPTED, "interrupted: what was broken on purpose is healed"),
)
Function = TypeVar("Function", bound=Callable[..., Any])


class Named(click.ParamType[str]):
    """A name out of a list that is looked up only when it is needed: other commands stay fast."""

    def __init__(self, name: str, names: Callable[[], Iterable[str]]) -> None:
        """Take what the names are called and the function that gives them; a mapping says of each what it is."""
        self.name = name
        self._names = names

    def describe(self, formatter: click.HelpFormatter) -> None:
        """Write which names there are."""
        names = self._names()
        with formatter.section(self.name.upper()):
            if isinstance(names, Mapping):
                formatter.write_dl(list(names.items()))
            else:
                formatter.write_text(", ".join(names))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - click's own signature
        """Return the name; a wrong one is refused with all that there are."""
        names = list(self._names())
        if value not in names:
            self.fail(f"{value!r} isn't known: choose one of {', '.join(names)}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so."""
        del ctx, param
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]


class Described(click.Command):
    """A command whose help says which names its arguments may be."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the names behind them."""
        super().format_options(ctx, formatter)
        for param in self.get_params(ctx):
            if isinstance(param.type, Named):
                param.type.describe(formatter)


def _faults() -> Iterable[str]:
    from outlive.drill.faults import KINDS

    return {kind.name: kind.title for kind in KINDS.values()}


def _profiles() -> Iterable[str]:
    from outlive.drill.profiles import PROFILES

    return PROFILES


def _exercises() -> Iterable[str]:
    from outlive.course.exercises import EXERCISES

    return {str(each.number): each.title.partition(". ")[2] for each in EXERCISES}


def _roles() -> Iterable[str]:
    from outlive.host import molecule

    return molecule.roles()


def _chapters() -> Iterable[str]:
    from outlive.course import pages

    return ["all", *pages.chapters()]


def _pages() -> Iterable[str]:
    from outlive.course import pages

    return pages.names()


def _ways() -> Iterable[str]:
    from outlive.host.rehearsals import WAYS

    return WAYS


def _extras() -> Iterable[str]:
    from outlive.mirror import lock

    return sorted([*lock.EXTRAS, *lock.load_addons(), lock.EARLIER])


def _storages() -> Iterable[str]:
    from outlive.host.storage import KINDS

    return {name: f"{kind.title}; takes {kind.needs}" for name, kind in KINDS.items()}


def _archives() -> Iterable[str]:
    from outlive.mirror import lock

    return sorted([*lock.EXTRAS, *lock.BOXES])


class Sections(click.Group):
    """A group whose help lists its commands by section, in the order in which they were added."""

    section = ""
    command_class = Described

    def add(self, section: str) -> None:
        """Begin a section: the commands that follow belong to it."""
        self.section = section

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command to the section that was begun last."""
        super().add_command(cmd, name)
        cmd.listed_under = self.section  # type: ignore[attr-defined]

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the command returns
        """Run the command; what click would end in its own way (an empty line first, status 1 for a reader who has gone) goes past it."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as error:
            raise click.Abort from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, and the exit statuses."""
        shown = [
            (getattr(cmd, "listed_under", ""), name, cmd) for name in self.list_commands(ctx) if not (cmd := self.commands[name]).hidden
        ]
        for section in dict.fromkeys(section for section, _, _ in shown):
            with formatter.section(section or "Commands"):
                formatter.write_dl([(name, cmd.get_short_help_str(150)) for each, name, cmd in shown if each == section])
        if ctx.parent is None:
            with formatter.section("Exit status"):
                formatter.write_dl([(str(status), text) for status, text in STATUSES])


def in_lab(function: Function) -> Function:
    """Run a command where the lab's machines can be reached: with its variables, and within its private libvirt where it has one."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the command takes
        from outlive.host import private

        if private.in_shell():
            return function(*arguments, **options)
        from outlive.host.reach import reach

        return _of_table(reach().run(["env", f"{CALLED}=1", *OUTLIVE, *sys.argv[1:]]))

    return run  # type: ignore[return-value]


def _of_table(status: int) -> int:
    """Return a status of the table for pytest's, which has more of them, and for that of a command that a signal ended."""
    return status if status in dict(STATUSES) else EXIT_UNKNOWN


def on_host(function: Function) -> Function:
    """Refuse a command that makes or removes a lab within the lab's own shell: there a second libvirt would be started over the first."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the command takes
        from outlive.host import private

        if private.inside():
            name = click.get_current_context().command_path.removeprefix("outlive ")
            raise LabError(f"this is the shell of a running lab, in which `{name}` can't be run: type `exit` first")
        if os.environ.get("OUTLIVE_CACHE"):
            os.environ["OUTLIVE_CACHE"] = str(cache())  # given as seen from here
        os.chdir(ROOT)  # playbooks are named as they lie in there
        return function(*arguments, **options)

    return run  # type: ignore[return-value]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, this process's where none is given; return the exit status."""
    return ended(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> object:
    try:
        return outlive.main(args=None if arguments is None else list(arguments), prog_name="outlive", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_UNKNOWN
    except click.Abort as error:
        raise error.__cause__ or KeyboardInterrupt from None


def _pytest(*arguments: str) -> int:
    """Run pytest in this process's place, in the checkout."""
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])


def _story(layer: str, *arguments: str, marker: str = "") -> int:
    """Run the tests of a folder of verify/; their plugin gives the exit statuses of the table, and tells moments as they are seen."""
    return _pytest("--capture=no", f"verify/{layer}".rstrip("/"), "-m", marker or layer, *arguments)


def _playbook(name: str, *options: str) -> None:
    """Run a playbook of the project in the checkout, and hold the lab meanwhile."""
    from outlive.base.locks import alone
    from outlive.lab.inventory import ansible_program

    argv = ["ansible-playbook", f"playbooks/{name}.yml", *options]
    with alone():
        _done(argv, shown([ansible_program(argv[0]), *argv[1:]], cwd=ROOT))


def _done(argv: Sequence[str], status: int) -> None:
    """Refuse the status of a step that failed: each program has a table of its own."""
    if status:
        raise StepFailedError(
            f"`{shlex.join(argv)}` ended with status {status}: see its words above, cure what they name, then run the command again", status
        )


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="outlive")
def outlive() -> None:
    """A Kubernetes storage lab that proves that data outlives its node.

    \b
    outlive lab                                  from a fresh machine to a lab in which MySQL's data outlived its node
    outlive shell                                kubectl, vagrant, virsh, ansible-playbook and pytest on the lab
    outlive drill power-cut --profile fenced     break one thing under load, account for every write

    `outlive COMMAND --help` says what each takes. Completion for bash (zsh, fish likewise):
    eval "$(_OUTLIVE_COMPLETE=bash_source outlive)"
    """


outlive.add("The lab")


@outlive.command()
@on_host
def lab() -> None:
    """Do everything: host, mirror, machines, cluster, MySQL, the power-off."""
    from outlive.host import steps

    steps.make()


@outlive.command()
@click.option("--all", "everything", is_flag=True, help="every page and exercise, a lab's life and all roles too, however long it takes")
@on_host
def test(everything: bool) -> None:
    """Lint, unit tests, all that `lab` does, pages and drills; a lab that it made is removed again."""
    from outlive.host import steps

    steps.test(everything=everything)


@outlive.command()
def setup() -> None:
    """Install what the host lacks (apt), and Python's packages; runs before all else."""
    from outlive.host import steps

    steps.setup()


@outlive.command()
def doctor() -> int:
    """Say what is wrong with this host, and how to cure it; installs nothing."""
    from outlive.host.doctor import checklist

    return checklist.report()


@outlive.command()
def status() -> int:
    """Say how this host runs the lab and whether it is there."""
    from outlive.host.doctor import checklist

    return checklist.status()


@outlive.command()
@on_host
def reset() -> None:
    """Put the machines back to the fresh cluster, as playbooks/site.yml left it."""
    from outlive.host import steps

    steps.reset()


@outlive.command()
@on_host
def destroy() -> None:
    """Remove the machines and all state of this checkout's lab; reports stay."""
    from outlive.host import steps

    steps.destroy()


outlive.add("Step by step")


@outlive.command()
@on_host
def up() -> None:
    """Look at the host and check the inventory (playbooks/check.yml), then make and start the machines (vagrant up)."""
    from outlive.base.locks import alone
    from outlive.host.doctor import checklist
    from outlive.host.reach import reach
    from outlive.host.settings import decide

    with alone():
        settings = decide()
        checklist.before_anything(settings)
        there = reach(settings)
        there.require_box()
        for argv in (["ansible-playbook", "playbooks/check.yml"], ["vagrant", "up", "--no-tty"]):
            _done(argv, there.run(argv))


@outlive.command()
@in_lab
def provision() -> None:
    """Make cluster and NFS server (playbooks/site.yml)."""
    _playbook("site")


@outlive.group(cls=Sections)
def tutorial() -> None:
    """Apply the tutorial's manifests, or take them away."""


@tutorial.command("apply")
@click.argument("chapters", nargs=-1, type=Named("chapter", _chapters))
@in_lab
def tutorial_apply(chapters: tuple[str, ...]) -> None:
    """Apply the chapter on MySQL, or the named ones, or all; write all manifests to .lab/tutorial (playbooks/tutorial.yml).

    \b
    outlive tutorial apply
    outlive tutorial apply emptydir nfs
    outlive tutorial apply all
    """
    import json

    _playbook("tutorial", *(["-e", json.dumps({"storage_tutorial_chapters": list(chapters)})] if chapters else []))


@tutorial.command("reset")
@in_lab
def tutorial_reset() -> None:
    """Take all objects of the tutorial away; the volumes' data stays (playbooks/tutorial-reset.yml)."""
    _playbook("tutorial-reset")


@outlive.group(cls=Sections)
def storage() -> None:
    """Storage that a lab may have beside NFS (docs/storage.md)."""


@storage.command("add")
@click.argument("name", type=Named("storage", _storages))
@on_host
def storage_add(name: str) -> None:
    """Give the lab a kind of storage; its chapter of the tutorial can be followed then."""
    from outlive.host import steps

    steps.add_storage(name)


@outlive.command()
@in_lab
def verify() -> int:
    """Check everything, then power off MySQL's node and look for its data."""
    return _story("", marker="static or storage or power_off")


@outlive.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@in_lab
def report(folder: Path | None) -> None:
    """Print what the newest report says, or the one in FOLDER, and where it lies."""
    from outlive.report import terminal

    terminal.show(folder)


@outlive.command()
@click.option("-c", "command", help="run one command line in it instead of opening it")
def shell(command: str | None) -> int:
    """Open a shell in which vagrant, virsh, ansible-playbook, kubectl and pytest work on the lab.

    \b
    outlive shell
    outlive shell -c 'kubectl get pods -o wide | grep mysql'
    """
    from outlive.host import private
    from outlive.host.reach import reach

    if private.inside():
        raise LabError("this is the lab's shell already: type the command itself")
    there = reach()
    if command:
        return there.run(["bash", "-c", command])
    print("vagrant, virsh, ansible-playbook, kubectl and pytest work on the lab in here; `exit` leaves.")
    return there.run([os.environ.get("SHELL", "/bin/bash")])


@outlive.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGUMENT]...")
def run(argv: tuple[str, ...]) -> int:
    """Run one command where the lab's machines can be reached.

    \b
    outlive run kubectl get nodes
    outlive run vagrant up k8s-node3
    """
    from outlive.host import private
    from outlive.host.reach import reach

    if private.inside():
        if shutil.which(argv[0]) is None:
            raise LabError(missing(argv[0]))
        os.execvp(argv[0], list(argv))
    there = reach()
    if argv[:2] == ("vagrant", "up"):
        there.require_libvirt()
        there.require_box()
    return there.run(list(argv))


outlive.add("Break and measure")


@outlive.command()
@click.argument("fault", type=Named("fault", _faults))
@click.option("--profile", type=Named("profile", _profiles), default="default", show_default=True, help="recovery profile, applied first")
@click.option("--node", help="node that has to run MySQL")
@in_lab
def drill(fault: str, profile: str, node: str | None) -> int:
    """Break one thing under load and account for every write that MySQL acknowledged.

    \b
    outlive drill power-cut
    outlive drill freeze --profile fenced
    """
    return _story("drills", "--fault", fault, "--profile", profile, *(["--node", node] if node else []))


@outlive.command()
@click.option("--fault", "faults", multiple=True, type=Named("fault", _faults), help="one of the faults; again for more (all)")
@click.option("--profile", "profiles", multiple=True, type=Named("profile", _profiles), help="one of the profiles; again for more (all)")
@click.option("--times", type=click.IntRange(min=1), default=1, show_default=True, help="how often, in rounds over the faults")
@in_lab
def drills(faults: tuple[str, ...], profiles: tuple[str, ...], times: int) -> int:
    """Run the matrix of faults and recovery profiles; reports/drills.html is one page over all that ever ran.

    \b
    outlive drills
    outlive drills --fault power-cut --fault mysqld-kill --profile fenced --times 3
    """
    chosen = [word for name in faults or _faults() for word in ("--fault", name)]
    chosen += [word for name in profiles or _profiles() for word in ("--profile", name)]
    return _story("drills", *chosen, "--times", str(times))


@outlive.command()
@in_lab
def proof() -> int:
    """Lose throw-away data on purpose, to show that the checks find it."""
    return _story("proof")


@outlive.command()
@in_lab
def lifecycle() -> int:
    """Let nodes leave and join, back up and restore, renew certificates, restart all; hold that the data is there."""
    return _story("lifecycle")


@outlive.command()
@in_lab
def cis() -> int:
    """Hold the lab against the CIS Kubernetes Benchmark; what doesn't pass is as verify/cis/expected.yml says, and why."""
    return _story("cis")


@outlive.group(cls=Sections)
def fence() -> None:
    """Prove that a lost node's VM is off, and only then take its storage and its pods away (docs/fencing.md)."""


_SECONDS = click.FloatRange(1, 3600)


@fence.command("watch")
@click.option("--suspect-after", type=_SECONDS, metavar="S", help="seconds without a renewed lease")
@click.option("--confirm-after", type=_SECONDS, metavar="S", help="seconds more, before a power cut")
@click.option("--log", type=click.Path(path_type=Path), metavar="FILE", help="append the JSON lines to FILE, not to standard output")
@in_lab
def fence_watch(suspect_after: float | None, confirm_after: float | None, log: Path | None) -> None:
    """Watch the workers until Ctrl-C, and fence those that are lost."""
    from outlive.fence import command

    command.watch(suspect_after, confirm_after, log)


@fence.command("status")
@in_lab
def fence_status() -> None:
    """Print what is fenced."""
    from outlive.fence import command

    command.print_status()


@fence.command("release")
@click.argument("node")
@in_lab
def fence_release(node: str) -> None:
    """Take the fence of NODE back by hand."""
    from outlive.fence import command

    command.release_by_hand(node)


outlive.add("Learn and teach")


@outlive.command()
@click.argument("names", nargs=-1, type=Named("page", _pages), metavar="[PAGE]...")
@in_lab
def pages(names: tuple[str, ...]) -> int:
    """Run every command of docs/tutorial and compare what it prints, solve every exercise; or only the named pages.

    \b
    outlive pages
    outlive pages 01-emptydir 04-nfs
    """
    return _story("tutorial", *(["-k", " or ".join(names)] if names else []))


@outlive.group(cls=Sections)
def exercise() -> None:
    """Something is broken as it is at work: start an exercise, check your solution, take it away (docs/exercises)."""


@exercise.command("start")
@click.argument("number", type=Named("number", _exercises))
@in_lab
def exercise_start(number: str) -> None:
    """Put exercise NUMBER to its beginning, in a namespace of its own."""
    from outlive.course import exercises

    exercises.start(number)


@exercise.command("check")
@click.argument("number", required=False, type=Named("number", _exercises))
@click.option("--watch", is_flag=True, help="look again every few seconds, until it is solved, or all that are started")
@in_lab
def exercise_check(number: str | None, watch: bool) -> int:
    """Say whether exercise NUMBER is solved, and what is seen where it isn't; without a number, how far all are.

    \b
    outlive exercise check 3
    outlive exercise check --watch
    """
    from outlive.course import exercises

    if watch:
        exercises.watch(number)
        return EXIT_PASS
    return EXIT_PASS if exercises.check(number) else EXIT_FAIL


@exercise.command("reset")
@click.argument("number", required=False, type=Named("number", _exercises))
@in_lab
def exercise_reset(number: str | None) -> None:
    """Take exercise NUMBER away with its files, or all of them."""
    from outlive.course import exercises

    exercises.take_away(number)


@outlive.group(cls=Sections)
def site() -> None:
    """The tutorial, the exercises and docs/ as one static site that needs no internet."""


@site.command("build")
@click.option("--to", type=click.Path(path_type=Path, resolve_path=True), metavar="FOLDER", help="where the site goes (reports/site)")
def site_build(to: Path | None) -> None:
    """Make the site; its index.html can be read without a server."""
    from outlive.site import build

    print(build.build(to or build.FOLDER) / "index.html")


@outlive.command("class")
@click.option("--address", default="127.0.0.1", show_default=True, help="IPv4 address to listen on; 0.0.0.0 is all of this host's")
@click.option("--port", type=click.IntRange(1, 65535), default=8482, show_default=True, help="TCP port to listen on")
@on_host
def class_room(address: str, port: int) -> None:
    """Serve the site to a class room, until Ctrl-C; it is built first where pages have changed."""
    from outlive.site import serve

    serve.serve(address, port)


outlive.add("The mirror and the project itself")


@outlive.group(cls=Sections)
def mirror() -> None:
    """Packages, images and boxes for labs without internet, built from one lock file (docs/mirror.md)."""


@mirror.command("build")
@click.option("--box", type=click.Choice(["full", "bare", "generic", "all"]), default="full", show_default=True, help="which box to make")
@click.option(
    "--also", multiple=True, type=Named("extra", _extras), help="an extra image or the earlier Kubernetes; kept up to date from then on"
)
def mirror_build(box: str, also: tuple[str, ...]) -> None:
    """Make packages, images and boxes; what is there and right is kept."""
    from outlive.mirror import command

    command.build(box, also)


@mirror.command("serve")
@click.option("--address", default="0.0.0.0", show_default=True, help="IPv4 address to listen on")
@click.option("--apt-port", type=click.IntRange(1, 65535), default=8480, show_default=True, help="port of packages and boxes")
@click.option("--registry-port", type=click.IntRange(1, 65535), default=8481, show_default=True, help="port of the images")
def mirror_serve(address: str, apt_port: int, registry_port: int) -> None:
    """Serve packages, images and boxes to all labs of a room, until Ctrl-C."""
    from outlive.mirror import command

    command.serve(address, apt_port, registry_port)


@mirror.command("check")
@click.option("--against", type=click.Path(path_type=Path), metavar="CACHE", help="another cache, built from the same lock file")
def mirror_check(against: Path | None) -> None:
    """Compare every file of the cache with its checksum."""
    from outlive.mirror import command

    command.check(against)


@mirror.command("sbom")
@click.option("--to", type=click.Path(path_type=Path), metavar="FOLDER", help="where the documents go (reports/sbom)")
def mirror_sbom(to: Path | None) -> None:
    """Write down what images and boxes are made of: a CycloneDX document each."""
    from outlive.base.paths import REPORTS
    from outlive.mirror import command

    command.write_sbom(to or REPORTS / "sbom")


@mirror.command("scanner")
def mirror_scanner() -> None:
    """Build kube-bench, by which `outlive cis` looks at a lab (with Go, from its published module)."""
    from outlive.mirror import command

    command.build_scanner()


@mirror.command("lock")
@click.option("--also", multiple=True, type=Named("archive", _archives), help="the packages of an extra image or a box instead")
def mirror_lock(also: tuple[str, ...]) -> None:
    """Resolve the Debian packages anew and write them into the lock file."""
    from outlive.mirror import command

    command.lock_anew(also)


@mirror.command("stand-in", hidden=True)
@click.option("--address", required=True, help="IPv4 address to listen on")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="where its keys, certificates and signatures go")
def mirror_stand_in(address: str, folder: Path) -> None:
    """Answer under the upstream's own names, in a network of a test's own, until it is ended."""
    from outlive.mirror import command

    command.stand_in(address, folder)


@outlive.command()
def lint() -> None:
    """Run ruff, mypy, yamllint and ansible-lint."""
    from outlive.host import steps

    steps.lint()


@outlive.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def unit(arguments: tuple[str, ...]) -> int:
    """Run the tests without machines, all of them or what pytest's ARGUMENTS choose.

    \b
    outlive unit
    outlive unit tests/drill -k checker
    """
    # Where this user is, not where pytest runs.
    paths = {each: str(Path(each).absolute()) for each in arguments if not each.startswith("-") and Path(each.partition("::")[0]).exists()}
    words = [*([] if paths else ["tests"]), *(paths.get(each, each) for each in arguments)]
    return _of_table(shown([sys.executable, "-m", "pytest", *words], cwd=ROOT))


@outlive.command()
@click.argument("roles", nargs=-1, type=Named("role", _roles), metavar="[ROLE]...")
@click.option("--step", type=click.Choice(["test", "converge", "idempotence", "verify", "side-effect"]), default="test", show_default=True)
@on_host
def molecule(roles: tuple[str, ...], step: str) -> None:
    """Run the roles' scenarios on machines that have nothing yet: installed, run again, checked, restarted, checked."""
    from outlive.host import steps

    steps.roles(roles, step)


@outlive.command()
@click.argument("ways", nargs=-1, type=Named("way", _ways), metavar="[WAY]...")
@click.option("--debian", type=click.Choice(["12", "13"]), default="12", show_default=True, help="the emulated host's release (kvm)")
@click.option("--workers", type=click.IntRange(1, 2), default=2, show_default=True, help="of the emulated host's lab (kvm)")
@on_host
def rehearse(ways: tuple[str, ...], debian: str, workers: int) -> int:
    """Go ways to a cluster that the lab itself doesn't go, on machines of their own; without a name all but kvm and virtualbox, which take hours."""
    from outlive.host import rehearsals

    return _of_table(rehearsals.run(ways, debian, workers))


@outlive.command()
@click.option("--cold", is_flag=True, help="measure the mirror with an empty cache too")
@on_host
def bench(cold: bool) -> None:
    """Measure this host: set-up, second run, reset, memory; reports/bench-*.json."""
    from outlive.host import bench as measure

    measure.run(cold=cold)
