"""What the command line says of itself: which names there are, examples, and nothing cut off."""

from __future__ import annotations

import click
import pytest

from outlive import cli
from outlive.course.exercises import EXERCISES
from outlive.drill.faults import KINDS
from outlive.drill.profiles import PROFILES


def help_of(*words: str) -> str:
    """Return the help of a command, its lines joined."""
    command: click.Command = cli.outlive
    context = click.Context(command, info_name="outlive")
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
        context = click.Context(command, info_name=word, parent=context)
    return " ".join(command.get_help(context).split())


def groups(command: click.Group, *path: str) -> list[tuple[str, ...]]:
    """Return the paths of all groups."""
    found = [path]
    for name, each in command.commands.items():
        if isinstance(each, click.Group):
            found += groups(each, *path, name)
    return found


def test_help_of_a_drill_says_which_faults_and_profiles_there_are() -> None:
    text = help_of("drill")
    assert all(f"{kind.name} {kind.title}" in text for kind in KINDS.values())
    assert all(f"{name} {what}" in text for name, what in PROFILES.items())
    assert "outlive drill freeze --profile fenced" in text


def test_help_of_an_exercise_says_which_there_are() -> None:
    assert all(f"{each.number} {each.title.partition('. ')[2]}" in help_of("exercise", "start") for each in EXERCISES)


@pytest.mark.parametrize("path", groups(cli.outlive), ids=" ".join)
def test_no_command_s_line_is_cut_off(path: tuple[str, ...]) -> None:
    assert "..." not in help_of(*path).replace("ARGS]...", "")


def test_statuses_stand_in_the_help() -> None:
    assert all(f"{status} {text}" in help_of() for status, text in cli.STATUSES)
