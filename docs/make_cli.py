"""Writes docs/reference/cli.md from the commands themselves: ``python docs/make_cli.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from das_explain.commands import app
from das_explain.commands.topics import TOPICS

PAGE = Path(__file__).parent / "reference" / "cli.md"
WIDTH = 100
NAME = "das-explain"


def main() -> None:
    """Writes the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(page()), encoding="utf-8")


def page() -> Iterator[str]:
    """What each command's --help says, then the pages of ``das-explain help``."""
    yield "# The command line\n"
    yield "Made from the code: what each command's `--help` says, then the pages of `das-explain help`.\n"
    yield from _entry(get_command(app), NAME, None)
    for name, (title, make) in TOPICS.items():
        yield f"## {NAME} help {name}\n\n{title[0].upper()}{title[1:]}.\n\n```text\n{make().rstrip()}\n```\n"


def _entry(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH)
    where = context.command_path
    yield f"{'##' if where.count(' ') < 2 else '###'} {where}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    for each, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _entry(below, each, context)


if __name__ == "__main__":
    main()
