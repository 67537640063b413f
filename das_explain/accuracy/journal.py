"""What an evaluation has measured so far, image by image, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from das_explain.evidence.provenance import Maker, count_makers
from das_explain.files import is_regular, json_line, naming
from das_explain.folders import inside

JOURNAL = "unfinished.jsonl"  # its first line says what is evaluated


class Journal:
    """A context manager: lines are appended and flushed; a line that a kill cut off is forgotten.

    ``identity`` must be the same for what was there to be kept. ``done`` are the lines of before: a multiple of a
    ``batch``, so that batches are composed as in a run that was never stopped. ``now``: the versions and the device that
    measure from here on.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], now: Maker, batch: int = 1) -> None:
        self.path = inside(folder, JOURNAL)
        self.identity = json.loads(json.dumps(identity))
        head, *lines = (list(self._lines()) if is_regular(self.path) else []) or [None]
        known = isinstance(head, dict) and head.get("identity") == self.identity and _are_turns(head.get("turns"))
        self.done = lines[: len(lines) - len(lines) % batch] if known else []
        self._turns = [*(head["turns"] if known else []), {**now, "from": len(self.done)}]

    def __enter__(self) -> Journal:
        self.path.unlink(missing_ok=True)
        self._file = self.path.open("xb")
        self._write({"identity": self.identity, "turns": self._turns}, *self.done)
        return self

    def made_by(self, images: int) -> list[dict[str, Any]]:
        """Who measured which of so many images, as ``evidence.provenance.count_makers`` puts it."""
        starts = [turn["from"] for turn in self._turns]
        ends = [min([*starts[place:], images]) for place in range(1, len(starts) + 1)]
        makers = [{key: value for key, value in turn.items() if key != "from"} for turn in self._turns]
        return count_makers((maker, max(0, end - start)) for maker, start, end in zip(makers, starts, ends))

    def add(self, line: Any) -> None:
        """Appends what was measured on one image."""
        self._write(line)

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a full disk, which was told
            self._file.close()

    def _write(self, *lines: Any) -> None:
        try:
            self._file.write(b"".join(map(json_line, lines)))
            self._file.flush()
        except OSError as error:
            raise naming(error, self.path) from None

    def remove(self) -> None:
        """The evaluation is finished."""
        self.path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[Any]:
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                yield json.loads(line.decode("utf-8", "surrogateescape"))
            except (ValueError, RecursionError):
                return


def _are_turns(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and type(each.get("from")) is int for each in value)
