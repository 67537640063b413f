"""``das-explain cache``: the masks that were found before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.help import Command, Group
from das_explain.commands.say import say
from das_explain.errors import UsageError
from das_explain.text import plural

app = typer.Typer(
    cls=Group,
    help="The mask cache: what it holds, clear it, copy it.\n\nExample: das-explain cache info",
    no_args_is_help=True,
)
Name = Annotated[
    str | None,
    typer.Option("--segmenter", metavar="NAME", help="Only this one's masks, by its name in info; all unless given."),
]


@app.command(cls=Command)
def info() -> None:
    """Say where the cache is and what it holds.

    Example: das-explain cache info
    """
    from das_explain.commands.tables import print_table
    from das_explain.segment.cache import cache_folder, shelves

    say(f"cache       {cache_folder()}")
    rows = []
    for shelf in shelves():
        sizes = [path.stat().st_size for path in shelf.entries()]
        rows.append((shelf.name, shelf.folder.name, f"{len(sizes):,}", _size(sum(sizes))))
    print_table(("segmenter", "settings", "masks", "size"), rows)
    if not rows:
        say("it is empty")


@app.command(cls=Command)
def clear(
    segmenter: Name = None,
    older_than: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="Only masks made that many days ago; all unless given."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete cached masks; they are found again when they are needed.

    Example: das-explain cache clear --yes
    """
    from das_explain.segment.cache import cache_folder
    from das_explain.segment.cache import clear as clear_cache

    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("cache clear asks before it deletes, and nobody can answer here: give --yes")
        typer.confirm(f"Delete masks from {cache_folder()}?", abort=True)
    files, size = clear_cache(segmenter, older_than=older_than)
    say(f"deleted     {plural(files, 'mask')}, {_size(size)}")


@app.command(cls=Command)
def export(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="A new folder; set DAS_EXPLAIN_CACHE to it on another machine.")
    ],
    segmenter: Name = None,
) -> None:
    """Copy the cache to a folder that other machines can use.

    Example: das-explain cache export --out shared/masks
    """
    from das_explain.segment.cache import export as export_cache

    say(f"copied      {plural(export_cache(out, segmenter), 'mask')} to {out}")


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
