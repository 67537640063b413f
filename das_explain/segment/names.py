"""File names made from the names of samples, whatever those are: never outside of a folder, never two alike."""

from __future__ import annotations

import re

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_LONGEST = 100  # characters of one part; 255 bytes is what file systems take


class FileNames:
    """Gives each sample a relative path without ending: its own name where that is a safe one.

    ``cats/x.jpg`` is ``cats/x``; a second file of that name keeps its ending (``cats/x.png``), as the matching of
    ``--masks`` expects, and a third is numbered.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, name: str) -> str:
        """The path for the sample called ``name``, with forward slashes."""
        parts = [_safe(part) for part in re.split(r"[/\\]", name) if part not in ("", ".", "..")] or ["image"]
        # A folder called x.png would stand in the way of the file x.png.
        parts[:-1] = [re.sub(r"(?i)\.(png|jpg)$", r"\g<0>_", part) for part in parts[:-1]]
        whole = "/".join(parts)
        stem = "/".join([*parts[:-1], re.sub(r"(?<=.)\.[^.]*$", "", parts[-1])])
        candidate, number = stem, 1
        while candidate.lower() in self._taken:
            candidate = whole if number == 1 else f"{stem}-{number}"
            number += 1
        self._taken.add(candidate.lower())
        return candidate


def _safe(part: str) -> str:
    """One part of a path without what some file system takes amiss."""
    text = part.encode("utf-8", "backslashreplace").decode("utf-8")
    text = _UNSAFE.sub("_", text).strip(" ").rstrip(".") or "_"
    if len(text.encode()) > _LONGEST:
        ending = re.search(r"\.[A-Za-z0-9]{1,5}$", text)
        tail = ending[0] if ending else ""
        text = text.encode()[: _LONGEST - len(tail)].decode("utf-8", "ignore") + tail
    return f"_{text}" if _RESERVED.fullmatch(text) or text.startswith(".") else text
