"""The tutorial's pages: reads their shell blocks and compares what a page shows with what was seen. Pure functions.

A block is fenced with ```` ```console ````. A line of it that begins with a prompt is a command, the lines up to the next
prompt are what the page says it prints, but for those right after it that begin with ``> ``: these are the rest of the
command. ``$ `` is a shell on the host, ``name$ `` a root shell on that machine, ``@pod$ `` a root shell on the
node that this pod runs on. In what is shown ``…`` stands for any text, and a line ``…`` for any lines; runs of blanks within
a line count as one. In a block ```` ```console fails ```` the one command fails. That of ```` ```console beside ```` runs in a second terminal
until its section ends, where Ctrl-C ends it and what it printed is compared. A command below which a line begins with a prompt of ``DIALOGUES`` is a
dialogue: it has a terminal, and what stands behind that prompt is typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from outlive.base.errors import LabError
from outlive.base.paths import ROOT

FOLDER = ROOT / "docs/tutorial/en"
"""The pages that are run: English stands for both languages, whose blocks are the same."""
GAP = "…"
FENCE = "```"
KINDS = ("console", "console fails", "console beside")
DIALOGUES = ("mysql> ",)
"""Prompts of programs that a learner talks to."""
PROMPT = re.compile(r"(?P<place>@?[a-z0-9][a-z0-9.-]*)?\$ (?P<text>.+)")
TWO_WORKERS = re.compile(r"node2\b|kubectl cordon ")
"""What only a lab with two workers can show: the second one's name, alone or in a pod's, and a node that takes no pods for a while."""
INDEX = "README.md"
"""The page that comes first and says how to read the others."""


class PageError(LabError):
    """A page that can't be read as one."""


@dataclass(frozen=True)
class Command:
    """One command of a page and what the page says it prints; ``line`` is the prompt's."""

    line: int
    place: str
    """Where it runs: empty for the host, a machine's name, or ``@`` and a pod's name for that pod's node."""
    text: str
    shown: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """Return the command as the page has it."""
        return f"{self.place}$ {self.text}"

    @property
    def typed(self) -> tuple[str, ...]:
        """Return what is typed at the program's own prompts, with them; empty where the command is no dialogue."""
        return tuple(line for line in self.shown if line.startswith(DIALOGUES))


@dataclass(frozen=True)
class Block:
    """One shell block; ``line`` is its fence's, ``heading`` the nearest one above."""

    line: int
    heading: str
    commands: tuple[Command, ...]
    fails: bool = False
    """Whether its one command has to end with a status other than 0."""
    beside: bool = False
    """Whether its one command runs in a second terminal while the section goes on."""


@dataclass(frozen=True)
class Page:
    """One page, with its blocks in their order."""

    path: str
    blocks: tuple[Block, ...]

    @property
    def moves_between_nodes(self) -> bool:
        """Say whether it shows two workers: a pod on the second one, or one that has to leave its node."""
        blocks = (command for block in self.blocks for command in block.commands)
        return any(TWO_WORKERS.search("\n".join((each.place, each.text, *each.shown))) for each in blocks)

    @property
    def name(self) -> str:
        """Return the page's short name."""
        return Path(self.path).stem


@dataclass(frozen=True)
class Ran:
    """How a command ended, and the lines that it printed."""

    status: int
    lines: tuple[str, ...]


def load(folder: Path, root: Path) -> tuple[Page, ...]:
    """Read the pages of a folder, the index first and then by name; their paths are given as seen from ``root``."""
    paths = sorted(folder.glob("*.md"), key=lambda path: (path.name != INDEX, path.name))
    return tuple(parse(path.read_text(encoding="utf-8"), str(path.relative_to(root))) for path in paths)


def parse(text: str, path: str) -> Page:
    """Read a page.

    Raises:
        PageError: a block isn't closed, is of another kind, or its lines aren't commands and what they print.
    """
    blocks: list[Block] = []
    heading = ""
    fence: tuple[int, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if fence is not None:
            if line.rstrip() == FENCE:
                blocks.append(block(path, *fence, heading, inside))
                fence, inside = None, []
            else:
                inside.append(line)
        elif line.lstrip().startswith(FENCE):
            kind = line.strip().removeprefix(FENCE).strip()
            if kind not in KINDS or line != line.lstrip():
                raise PageError(
                    f"{path}:{number}: a block begins with {line.strip()!r}, and nothing would run it: "
                    f"begin it with {' or '.join(FENCE + each for each in KINDS)}, at the line's start."
                )
            fence = (number, kind)
        elif found := re.match(r"#+\s+(.*\S)", line):
            heading = found[1]
    if fence is not None:
        raise PageError(f"{path}:{fence[0]}: the block that begins here isn't closed: end it with {FENCE}.")
    return Page(path, tuple(blocks))


def block(path: str, line: int, kind: str, heading: str, inside: Sequence[str]) -> Block:
    """Read the lines of one block.

    Args:
        path: The page, for sentences.
        line: The fence's, in the page.
        kind: One of KINDS.
        heading: The nearest one above.
        inside: The lines between the fences.

    Raises:
        PageError: they aren't commands and what they print.
    """
    commands: list[Command] = []
    for number, text in enumerate(inside, line + 1):
        last = commands[-1] if commands else None
        if last and not last.shown and text.startswith("> "):
            commands[-1] = Command(last.line, last.place, f"{last.text}\n{text[2:]}")
        elif last and not last.shown and last.text.endswith("\\"):
            raise PageError(f"{path}:{number}: the command above ends with \\ and goes on nowhere: begin its next line with '> '.")
        elif found := PROMPT.fullmatch(text):
            commands.append(Command(number, found["place"] or "", found["text"]))
        elif last:
            commands[-1] = Command(last.line, last.place, last.text, (*last.shown, text))
        else:
            raise PageError(f"{path}:{number}: {text!r} comes before any command: begin the block with a prompt such as '$ '.")
    if not commands:
        raise PageError(f"{path}:{line}: the block that begins here has no command: write one, or take the block out.")
    if kind != KINDS[0] and len(commands) > 1:
        raise PageError(f"{path}:{line}: a block of the kind {kind!r} has {len(commands)} commands: give each of them a block of its own.")
    fails, beside = (kind == each for each in KINDS[1:])
    for command in commands:
        if command.place and (beside or command.typed):
            raise PageError(f"{path}:{command.line}: a second terminal, and a dialogue, are the host's: begin the command with '$ '.")
    return Block(line, heading, tuple(commands), fails, beside)


def line_matches(shown: str, seen: str) -> bool:
    """Say whether a line that was seen is the one that a page shows."""
    pattern = ".*".join(map(re.escape, _plain(shown).split(GAP)))
    return re.fullmatch(pattern, _plain(seen)) is not None


def compare(shown: Sequence[str], seen: Sequence[str]) -> list[str]:
    """Lay the lines that a page shows beside those that were seen.

    Returns:
        Both as one text: lines that are the same after two blanks, ``- `` before a line that only the page has, ``+ ``
        before one that was only seen.
    """
    shown, seen = _without_end(shown), _without_end(seen)
    # points[i][j]: how well the rest of the page from i fits the rest of what was seen from j.
    points = [[0] * (len(seen) + 1) for _ in range(len(shown) + 1)]
    for i in range(len(shown) - 1, -1, -1):
        for j in range(len(seen), -1, -1):
            points[i][j] = max(value for value, _, _, _ in _moves(shown, seen, points, i, j))
    lines, i, j = [], 0, 0
    while i < len(shown):
        _, line, down, right = max(_moves(shown, seen, points, i, j), key=lambda move: move[0])
        lines += [] if line is None else [line]
        i, j = i + down, j + right
    return lines + [f"+ {line}" for line in seen[j:]]


def _moves(
    shown: Sequence[str], seen: Sequence[str], points: Sequence[Sequence[int]], i: int, j: int
) -> list[tuple[int, str | None, int, int]]:
    """Return the ways on from a place: what each is worth, the line that it adds, and the steps on the page and in what was seen."""
    gap = shown[i].strip() == GAP
    moves: list[tuple[int, str | None, int, int]] = []
    if j < len(seen):
        if gap:
            moves.append((points[i][j + 1] + 1, f"  {seen[j]}", 0, 1))
        elif line_matches(shown[i], seen[j]):
            moves.append((points[i + 1][j + 1] + 2, f"  {seen[j]}", 1, 1))
    moves.append((points[i + 1][j], None if gap else f"- {shown[i]}", 1, 0))
    if j < len(seen) and not gap:
        moves.append((points[i][j + 1], f"+ {seen[j]}", 0, 1))
    return moves


def objection(page: Page, block: Block, command: Command, ran: Ran) -> str | None:
    """Return what is wrong with a page after a command of it ran, or None where it told the truth."""
    faults: list[str] = []
    if block.fails and ran.status == 0:
        faults.append("The page says that it fails, and it ended with status 0.")
    if not block.fails and ran.status != 0:
        faults.append(f"It failed with status {ran.status}.")
    lines = compare(command.shown, ran.lines)
    if not all(line.startswith("  ") for line in lines):
        faults.append("What it printed (+) isn't what the page shows (-):")
    if not faults:
        return None
    return "\n".join([f"{page.path}:{command.line}: {command.prompt}", *faults, *lines])


def _plain(line: str) -> str:
    """Return a line with its indentation, and one blank for each run of blanks after it."""
    rest = line.lstrip(" ")
    return " " * (len(line) - len(rest)) + " ".join(rest.split())


def _without_end(lines: Sequence[str]) -> list[str]:
    """Return the lines without the empty ones at the end."""
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept


def names() -> list[str]:
    """Return the names of the tutorial's pages that have something to run, in their order."""
    return [page.name for page in load(FOLDER, ROOT) if page.blocks]


def chapters() -> list[str]:
    """Return the chapters whose objects can be applied at once, as the role storage_tutorial takes them (its ``all`` stands for each)."""
    specification = yaml.safe_load((ROOT / "roles/storage_tutorial/meta/argument_specs.yml").read_text(encoding="utf-8"))
    choices = specification["argument_specs"]["main"]["options"]["storage_tutorial_chapters"]["choices"]
    return [each for each in choices if each != "all"]
