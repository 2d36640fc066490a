"""Shell blocks of the site: each command with a button that copies it, without its prompt and what it prints.

Zensical calls `formatted` for each block that is fenced as `console`, in a process of its own. What is a command and what an output is the grammar's
to say: `outlive.course.pages`. The theme's own script copies what a button has in `data-clipboard-text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from pymdownx.superfences import SuperFencesException

from outlive.course import pages


def accepts(language: str, given: Mapping[str, str], options: dict[str, object], attributes: dict[str, str], md: object) -> bool:
    """Take the grammar's words behind `console`, and no other."""
    del language, options, attributes, md
    return " ".join(["console", *given]) in pages.KINDS


def formatted(source: str, language: str, css_class: str, options: object, md: object, **more: object) -> str:
    """Return a block as HTML, as SuperFences asks for it.

    Raises:
        SuperFencesException: it isn't commands and what they print. Any other exception SuperFences would swallow.
    """
    del language, options, md, more
    try:
        # Whether its command fails, or has a terminal of its own, is the text's to say, beside the block.
        commands = pages.block("a block", 0, pages.KINDS[0], "", source.splitlines()).commands
    except pages.PageError as error:
        raise SuperFencesException(str(error)) from error
    return f'<div class="{escape(css_class)} highlight no-copy"><pre><code>{"".join(map(_command, commands))}</code></pre></div>'


def _command(command: pages.Command) -> str:
    """Return a command with its button, and what it prints below; in a dialogue each line that is typed has a button too."""
    shown = "".join(_shown(line, line in command.typed) for line in command.shown)
    return _typed(f"{command.place}$ ", command.text) + shown


def _shown(line: str, typed: bool) -> str:
    prompt = next((each for each in pages.DIALOGUES if typed and line.startswith(each)), "")
    return _typed(prompt, line.removeprefix(prompt)) if prompt else f'<span class="go">{escape(line)}\n</span>'


def _typed(prompt: str, text: str) -> str:
    """Return what is typed behind a prompt, with its button."""
    # The lines' ends are in the HTML too: whoever selects text by hand gets what the page shows.
    first, *rest = text.split("\n")
    lines = [
        f'<span class="gp">{escape(prompt)}</span>{escape(first)}\n',
        *(f'<span class="gp">&gt; </span>{escape(line)}\n' for line in rest),
    ]
    # An attribute's line ends have to be written so, or the Markdown around it would read them.
    button = f'<button type="button" class="copy" data-clipboard-text="{escape(text).replace(chr(10), "&#10;")}"></button>'
    return f'{button}<span class="typed">{"".join(lines)}</span>'
