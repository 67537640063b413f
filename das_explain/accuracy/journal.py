"""What an evaluation has measured so far, image by image, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from das_explain.files import is_regular, json_line, naming
from das_explain.folders import inside

JOURNAL = "unfinished.jsonl"  # its first line says what is evaluated


class Journal:
    """A context manager: lines are appended and flushed; a line that a kill cut off is forgotten.

    ``identity`` must be the same for what was there to be kept. ``done`` are the lines of before, ``keep`` of them at
    the most: a multiple of a batch, so that batches are composed as in a run that was never stopped.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], batch: int = 1) -> None:
        self.path = inside(folder, JOURNAL)
        self.identity = json.loads(json.dumps(identity))
        before = list(self._lines()) if is_regular(self.path) else []
        lines = before[1:] if before[:1] == [self.identity] else []
        self.done = lines[: len(lines) - len(lines) % batch]

    def __enter__(self) -> Journal:
        self.path.unlink(missing_ok=True)
        self._file = self.path.open("xb")
        self._write(self.identity, *self.done)
        return self

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
            except ValueError:
                return
