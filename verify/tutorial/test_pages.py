"""Each page of the tutorial is run: a test for each of its blocks, and one for what it leaves behind.

English stands for both languages: a unit test holds that they have the same blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass

import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.paths import ROOT
from outlive.course import pages
from outlive.course.pages import Block, Page
from outlive.course.walk import Walk
from outlive.lab import steady
from outlive.lab.inventory import Inventory

Spent = Callable[[Page, str, float], None]


@dataclass(frozen=True)
class Step:
    """A block of a page, or its end where there is none."""

    page: Page
    block: Block | None

    def __str__(self) -> str:
        """Return the step's name in reports."""
        return f"{self.page.name}: the end" if self.block is None else f"{self.page.name}:{self.block.line} {self.block.heading}"


STORAGE = {"11-iscsi": "iscsi"}
"""The storage that a page needs beside NFS: the group of the machines that serve it begins with its name."""
NEEDS = {"09-mysql-supported": "storage_tutorial_mysql_supported_image"}
"""The image that a page needs and that a mirror may not have, by the inventory's variable."""
SHOWS = {"08-mysql": "mysql:5.6", "09-mysql-supported": "mysql:5.6", "10-lose-the-node": "mysql:5.6"}
"""The image of `storage_tutorial_mysql_image` that a page shows: where the lab has another one, what it prints is otherwise."""
STEPS = [Step(page, block) for page in pages.load(pages.FOLDER, ROOT) if page.blocks for block in (*page.blocks, None)]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_page(
    walk: Walk, lab: Inventory, lacks: Callable[[str], bool], outcomes: Mapping[str, Future[None]], spent: Spent, step: Step
) -> None:
    """What the tutorial shows is what the lab does, and nothing is left of it."""
    few = steady.too_few([host.name for host in lab.workers]) if step.page.moves_between_nodes else None
    if few:
        pytest.skip(few)
    storage = STORAGE.get(step.page.name)
    if storage and not lab.groups.get(f"{storage}_servers"):
        pytest.skip(f"this lab has no {storage}: run `outlive storage add {storage}`, then this again")
    variable = NEEDS.get(step.page.name)
    image = lab.setting(variable) if variable else None
    if image and lacks(image):
        pytest.skip(f"the lab's mirror has no {image}: run `outlive mirror build --also {image.replace(':', '-')}`, then this again")
    shown = SHOWS.get(step.page.name)
    if shown and lab.setting("storage_tutorial_mysql_image") != shown:
        pytest.skip(f"the page shows {shown}, and this lab's MySQL is of another image (storage_tutorial_mysql_image)")
    if step.block and any(re.search("kubectl cordon|systemctl (poweroff|stop)", command.text) for command in step.block.commands):
        wait(outcomes.values())  # A node that takes no pods, is off, or isn't heard, would be wrong with each exercise.
    began = HOST_CLOCK.now()
    try:
        if step.block is None:
            walk.leave(step.page)
        else:
            walk.take(step.page, step.block)
        spent(step.page, str(step), HOST_CLOCK.now().since(began))
    except AssertionError as lie:
        # The sentence says it all: the way to it through this project's code helps nobody.
        pytest.fail(str(lie), pytrace=False)
