"""Every command of the project that a page, a comment or an error names can be typed as it stands there."""

from __future__ import annotations

import ast
import io
import re
import shlex
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from outlive import cli
from outlive.base.paths import ROOT

HISTORY = {"CHANGELOG.md", "docs/results.md"}
"""They tell what was run then, by the names of then."""
EXAMPLES = {"CONTRIBUTING.md": {"kubelet-kill", "banner", "15-subpath", "10"}}
"""What a page shows how to add, and so isn't there yet."""
SHELL = {";", "&&", "||", "|", "&"}
BLOCK = re.compile(r"^ *(`{3,}).*?^ *\1$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`+)([^`]+)\1")
PROMPT = re.compile(r"^ *(?:[\w-]+)?\$ (.+)$", re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def texts() -> list[tuple[str, str]]:
    """Return the text files that git knows, but for those that tell history: name and text."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    ours = str(Path(__file__).relative_to(ROOT))
    return [
        (name, (ROOT / name).read_text(encoding="utf-8"))
        for name in names
        if name and name not in HISTORY | {ours} and (ROOT / name).is_file() and b"\0" not in (ROOT / name).read_bytes()
    ]


def of_python(text: str) -> Iterator[str]:
    """Yield comments and strings of a module; `{…}` stands for what an f-string fills in."""
    tree = ast.parse(text)
    inner = {id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "{…}" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def lines(name: str, text: str) -> Iterator[str]:
    """Yield the command lines that a file shows: between backticks, after a prompt, and a Python string that is nothing else."""
    if name.endswith(".py"):
        pieces = list(of_python(text))
        # A command that is told by way of a variable.
        yield from (piece for piece in pieces if re.fullmatch(r"outlive [a-z-]+( [\w./{…}=-]+)*", piece))
    elif name.endswith(".md"):
        yield from PROMPT.findall(text)
        pieces = BLOCK.sub("", text).split("\n\n")
    else:
        pieces = text.splitlines()
    yield from (" ".join(found.split()) for piece in pieces for _, found in SPAN.findall(piece))


def commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each call of the project's program, or of make, in a command line."""
    # What Ansible fills in, and Markdown's bar within a table.
    line = re.sub(r"\{\{.*?\}\}", "{…}", line).replace("\\|", "|")
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    try:
        words = [*lexer, ";"]
    except ValueError:  # a quote that is an apostrophe: prose
        words = [*line.split(), ";"]
    call: list[str] = []
    for word in words:
        if word not in SHELL:
            call.append(word)
            continue
        while call and re.match(r"[A-Z_]+=", call[0]):
            del call[0]
        if call and call[0].rpartition("/")[2] in ("outlive", "make"):
            yield [call[0].rpartition("/")[2], *call[1:]]
        call = []


def open_to_all(word: str) -> bool:
    """Say whether a word stands for whatever one likes: NUMBER, {…}, 名字."""
    return not word.isascii() or word.isupper() or "{" in word


def wrong_with(words: list[str]) -> str | None:
    """Say what is wrong with a call, by the commands that there are; None where nothing is."""
    if words[0] == "make":
        unknown = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word) and word not in TARGETS]
        return f"the Makefile has no {', '.join(unknown)}" if unknown else None
    command: click.Command = cli.outlive
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if open_to_all(rest[0]):
            return None
        if rest[0] not in command.commands:
            return f"{command.name} has no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    if not rest:
        return None  # it is only named
    above = click.Context(cli.outlive, info_name="outlive", **cli.outlive.context_settings)
    context = click.Context(command, info_name=command.name, parent=above, **command.context_settings)
    try:
        # In square brackets is what may be left out.
        values, left, _ = command.make_parser(context).parse_args([word.strip("[]") for word in rest if word != "…"])
        for parameter in command.get_params(context):
            value = values.get(parameter.name or "")
            given = list(value) if isinstance(value, list | tuple) else [value] if isinstance(value, str) else []
            for each in (alternative for whole in given for alternative in whole.split("|")):
                if not open_to_all(each):
                    parameter.type.convert(each, parameter, context)
            if parameter.required and not given and not values.get("help"):
                return f"{command.name} lacks {parameter.human_readable_name}"
    except click.ClickException as error:
        return error.format_message()
    if left and not isinstance(command, click.Group):
        return f"{command.name} doesn't take {' '.join(left)}"
    if command.name == "unit":
        return next((f"there is no {word}" for word in left_paths(rest) if not (ROOT / word).exists()), None)
    if command.name == "run" and rest[0] == "outlive":
        return wrong_with(rest)
    return None


def left_paths(words: list[str]) -> list[str]:
    """Return the words that are paths, without the name of a test."""
    return [word.partition("::")[0] for word in words if "/" in word]


def test_every_command_that_is_named_is_there() -> None:
    shown = [
        (name, ["NAME" if word in EXAMPLES.get(name, ()) else word for word in call])
        for name, text in texts()
        for line in lines(name, text)
        for call in commands(line)
    ]
    assert {"README.md", "CONTRIBUTING.md", "docs/drills.md", "src/outlive/host/steps.py"} <= {name for name, _ in shown}
    wrong = [f"{name}: `{' '.join(call)}`: {found}" for name, call in shown if (found := wrong_with(call))]
    assert wrong == [], "\n".join(["these can't be typed:", *wrong])


@pytest.mark.parametrize(
    "text",
    [
        "`outlive exercise start 3`, `outlive exercise check NUMBER`, `outlive drill`",
        "$ OUTLIVE_MIRROR=10.0.0.5 make lab",
        "teacher$ outlive mirror serve --address 10.0.0.5  # until Ctrl-C",
        "`. .venv/bin/activate && outlive shell`",
        "`outlive mirror build [--box full|bare|all]`",
        "`outlive shell -c 'kubectl get pods | grep mysql'`",
        "`outlive unit tests/docs -k commands --cov`",
        "`outlive run outlive fence watch --log FILE`",
        "to make up, and to make a lab: `make lab`",
    ],
)
def test_right_lines_pass(text: str) -> None:
    found = [call for line in lines("page.md", text) for call in commands(line)]
    assert found
    assert [wrong_with(call) for call in found] == [None] * len(found)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("`outlive drll power-cut`", "no command drll"),
        ("`outlive exercise begin 3`", "no command begin"),
        ("`outlive exercise start 33`", "33"),
        ("`outlive drill power-loss`", "power-loss"),
        ("$ outlive drill --profile fenced", "lacks FAULT"),
        ("$ outlive drills --fault power-cut TIMES=3", "doesn't take TIMES=3"),
        ("$ true && outlive drill power-cut --profiles fenced", "--profiles"),
        ("`.venv/bin/outlive run outlive fence wach`", "no command wach"),
        ("`outlive unit tests/nowhere`", "no tests/nowhere"),
        ("run `make exercise` first", "no exercise"),
        ("student$ OUTLIVE_MIRROR=10.0.0.5 make labs", "no labs"),
    ],
)
def test_wrong_lines_are_found(text: str, word: str) -> None:
    (found,) = [sentence for line in lines("page.md", text) for call in commands(line) if (sentence := wrong_with(call))]
    assert word in found


def helps(command: click.Command = cli.outlive, name: str = "outlive") -> Iterator[tuple[str, str]]:
    """Yield each command's name and its help as it is written."""
    yield name, command.help or ""
    if isinstance(command, click.Group):
        for word, each in command.commands.items():
            yield from helps(each, f"{name} {word}")


@pytest.mark.parametrize(("name", "text"), list(helps()), ids=[name for name, _ in helps()])
def test_help_is_for_people_and_its_examples_can_be_typed(name: str, text: str) -> None:
    assert text
    assert "\\b" not in text, "click keeps lines as they are after the character \\b, not after a backslash and a letter"
    examples = [re.split(r" {2,}", line.strip())[0] for line in text.splitlines() if line.strip().startswith("outlive ")]
    assert [found for line in examples for call in commands(line) if (found := wrong_with(call))] == []


def test_exit_statuses_of_the_readme_are_the_program_s() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [(int(status), text) for status, text in rows] == list(cli.STATUSES)


def test_what_python_says_is_read_whole() -> None:
    text = (
        '# see `outlive up`\nraise LabError(f"{n} gone: run `outlive exercise "\n    f"start {n}`")\nHINT = f"outlive drills FAULTS={n}"\n'
    )
    assert list(lines("x.py", text)) == ["outlive drills FAULTS={…}", "outlive exercise start {…}", "outlive up"]
