"""What stands in the pages of the docs: fenced blocks, and the commands between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if page != DOCS / "reference" / "cli.md")]
_FENCED = re.compile(
    r"^```(?P<kind>\w+)?(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """``kind``: python, console ...; ``title``: the file that it is; ``printed``: the text block right after it."""

    kind: str
    text: str
    title: str | None
    printed: str | None


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order; a ``text`` block right after another one is what that one prints."""
    text = page.read_text(encoding="utf-8")
    found = list(_FENCED.finditer(text))
    blocks = []
    for match, following in zip_longest(found, found[1:]):
        printed = None
        if following and following["kind"] == "text" and not text[match.end() : following.start()].strip():
            printed = following["text"]
        blocks.append(Block(match["kind"] or "text", match["text"], match["title"], printed))
    return [block for block in blocks if block.kind != "text"]


def commands_of(page: Path) -> Iterator[str]:
    """Every ``das-explain ...`` that stands indented, in a console block or between backticks; continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for match in re.finditer(r"^(?:    |      |\$ )(?:[A-Z_]+=\S+ )?(das-explain .*)$", text, re.MULTILINE):
        yield match[1].partition("  #")[0].strip()
    for match in re.finditer(r"`(das-explain [^`]+)`", text):
        yield " ".join(match[1].split())
