"""Names and counts as people read them."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import category, normalize

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def cut_middle(text: str, room: int) -> str:
    """At most ``room`` (1 or more) characters of the text: beginning and end, which tell names apart, are kept.

    >>> cut_middle("resnet50-das-seed1", 11)
    'resne…seed1'
    """
    if len(text) <= room:
        return text
    head, tail = room // 2, (room - 1) // 2
    return text[:head].rstrip() + ELLIPSIS + text[len(text) - tail :].lstrip()


def shown(value: Any, room: int = 60) -> str:
    """A value in a message: as Python writes it, cut in the middle where it is long.

    >>> shown(0.5), shown([1] * 1000, 12)
    ('0.5', '[1, 1,…1, 1]')
    """
    try:
        return cut_middle(repr(value), room)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """How many of what.

    >>> plural(1, "image"), plural(1200, "image"), plural(2, "copy", "copies")
    ('1 image', '1,200 images', '2 copies')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def is_unicode(name: str) -> bool:
    """Whether a name can be written as UTF-8: those of files need not.

    >>> is_unicode("caf\\xe9"), is_unicode("\\udcff")
    (True, False)
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def spelled(name: str, *, backslash: bool = True) -> str:
    """A name as it stands in tables, shards and logs: printable, on one line, valid Unicode, and never that of another.

    Bytes that are no UTF-8 (which Python holds as lone surrogates) and control characters are escaped, and so is the
    backslash, which is why `unspelled` finds the way back; not with ``backslash=False``, for people on a terminal.

    >>> spelled("a\\udcff.png"), spelled("back\\\\slash")
    ('a\\\\udcff.png', 'back\\\\\\\\slash')
    """
    return "".join(
        c.encode("unicode_escape").decode()
        if (backslash and c == "\\") or category(c) in ("Cc", "Cs", "Zl", "Zp")
        else c
        for c in name
    )


def unspelled(name: str) -> str:
    """What `spelled` made this of.

    >>> unspelled(spelled("caf\u00e9 \U0001f600\\udcff\\n")) == "caf\u00e9 \U0001f600\\udcff\\n"
    True
    """
    return name.encode("latin-1", "backslashreplace").decode("unicode_escape")


def nfc(name: str) -> str:
    """A name in Unicode's composed form, in which names are compared, whatever system they were written on."""
    return normalize("NFC", name)


def loose(name: str) -> str:
    """A class's name without what its spellings differ in: case, spaces, underscores, hyphens, Unicode's form.

    >>> loose("Fire_Hydrant"), loose("fire  hydrant")
    ('fire hydrant', 'fire hydrant')
    """
    return re.sub(r"[\s_-]+", " ", normalize("NFKC", name)).strip().casefold()
