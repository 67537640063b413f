"""``das-explain cache``: the masks that were found before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(help="The mask cache: what it holds, clear it, copy it.", no_args_is_help=True)
Name = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--segmenter", help="Only this one's masks; a name as info prints it."),
]


@app.command()
def info() -> None:
    """Say where the cache is and what it holds."""
    from rich.console import Console
    from rich.table import Table

    from das_explain.segment.cache import cache_folder, shelves

    print(f"cache       {cache_folder()}")
    table = Table("segmenter", "settings", "masks", "size")
    for shelf in shelves():
        sizes = [path.stat().st_size for path in shelf.entries()]
        table.add_row(shelf.name, shelf.folder.name, f"{len(sizes):,}", _size(sum(sizes)))
    if table.row_count:
        Console().print(table)
    else:
        print("it is empty")


@app.command()
def clear(
    segmenter: Name = None,
    older_than: Annotated[Optional[float], typer.Option(min=0, help="Only masks made that many days ago.")] = None,  # noqa: UP045
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete cached masks; they are found again when they are needed."""
    from das_explain.segment.cache import cache_folder
    from das_explain.segment.cache import clear as clear_cache

    if not yes:
        typer.confirm(f"Delete masks from {cache_folder()}?", abort=True)
    files, size = clear_cache(segmenter, older_than=older_than)
    print(f"deleted     {files:,} masks, {_size(size)}")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="A new folder; set DAS_EXPLAIN_CACHE to it on another machine.")],
    segmenter: Name = None,
) -> None:
    """Copy the cache to a folder that other machines can use."""
    from das_explain.segment.cache import export as export_cache

    print(f"copied      {export_cache(out, segmenter):,} masks to {out}")


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
