"""Shards: a run's evidence in files of ``SIZE`` consecutive images each, every one whole or absent.

    RUN/evidence/part-00000.parquet, part-00001.parquet ...

A shard is the unit of work, of resuming and of distribution: whoever makes one, in whatever order and however often,
makes the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from das_explain.errors import DasExplainError
from das_explain.evidence.codec import OPTIONAL, SCHEMA
from das_explain.files import is_regular, opened_by_name, replace_file
from das_explain.folders import inside

MOST_BYTES = (
    4 << 30
)  # of a shard's columns in memory; 64 frames of 1000 x 1000 pixels and their maps take less than 1 GB
MAY_LACK = ("label", "message")  # columns in which an image may have nothing
SIZE = 64  # images of a shard; a smaller one costs more to open, a larger one more work when a run is killed


def shard_range(number: int, count: int) -> range:
    """Which of ``count`` images, in the drawn order, are in the shard."""
    return range(number * SIZE, min((number + 1) * SIZE, count))


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"part-{number:05d}.parquet"


def shard_count(count: int) -> int:
    """How many shards ``count`` images make."""
    return -(-count // SIZE)


class Shards:
    """The shards of a run of ``count`` images in a folder."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count

    def __len__(self) -> int:
        return shard_count(self.count)

    def images(self, number: int) -> int:
        """How many images are in a shard."""
        return len(shard_range(number, self.count))

    def number_of(self, place: int) -> int:
        """The shard of the image with this place in the drawn order."""
        return place // SIZE

    def path(self, number: int) -> Path:
        """Where a shard is, or will be. Raises DasExplainError where a link leads out of the run's folder."""
        return inside(self.folder.parent, f"{self.folder.name}/{shard_name(number)}")

    def present(self) -> list[int]:
        """The shards that are there, whole: right schema, right images."""
        return [number for number in range(len(self)) if self._whole(number)]

    def missing(self) -> list[int]:
        """The shards that are still to be made."""
        there = set(self.present())
        return [number for number in range(len(self)) if number not in there]

    def there(self) -> list[int]:
        """The shards of which there is a file, whole or damaged: what reading goes through."""
        return [number for number in range(len(self)) if self.path(number).exists()]

    def write(self, number: int, table: pa.Table) -> None:
        """Puts a shard under its final name, whole or not at all."""
        self.path(number).parent.mkdir(parents=True, exist_ok=True)
        # Maps and pictures hardly compress; the rest is small.
        how = {"compression": "zstd", "compression_level": 1, "use_dictionary": _DICTIONARY, "write_statistics": False}

        def write(part: Path) -> None:
            with opened_by_name(part, "wb") as name:
                pq.write_table(table, name, **how)

        replace_file(self.path(number), write)

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """A shard's table, or some of its columns. Raises DasExplainError if it is not there, or damaged."""
        path = self.path(number)
        if path.exists() and not is_regular(path):
            raise DasExplainError(f"{path} is no file: remove it and run the same sfd command again")
        try:
            with opened_by_name(path) as name, pq.ParquetFile(name) as file:
                there, groups = file.schema_arrow, range(file.metadata.num_row_groups)
                size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
                wanted = [each for each in columns or SCHEMA.names if each in there.names or each not in OPTIONAL]
                if odd := [each for each in wanted if there.names.count(each) != 1]:
                    raise pa.ArrowInvalid(f"{there.names.count(odd[0]) or 'no'} columns are called {odd[0]}")
                if other := [each for each in wanted if there.field(each).type != SCHEMA.field(each).type]:
                    raise pa.ArrowInvalid(f"{other[0]} is no {SCHEMA.field(other[0]).type}")
                if size > MOST_BYTES:
                    raise pa.ArrowInvalid(f"it unpacks to {size:,} bytes")
                table = file.read(columns=wanted)
            if empty := [name for name in wanted if name not in MAY_LACK and table[name].null_count]:
                raise pa.ArrowInvalid(f"{empty[0]} lacks values")
            return table
        except FileNotFoundError:
            raise DasExplainError(f"{path} is missing: run the same sfd command again to make it") from None
        except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: names of columns that are no UTF-8
            reason = (str(error).splitlines() or ["nothing in it"])[0]
            raise DasExplainError(
                f"{path} is damaged ({reason}): delete it and run the same sfd command again"
            ) from None

    def _whole(self, number: int) -> bool:
        path = self.path(number)
        if not is_regular(path):
            return False
        try:
            with opened_by_name(path) as name:
                metadata = pq.read_metadata(name)
            names = metadata.schema.to_arrow_schema().names
        except (OSError, ValueError, pa.ArrowException):
            return False
        wanted = shard_range(number, self.count)
        lacking = set(SCHEMA.names) ^ set(names)
        return metadata.num_rows == len(wanted) and lacking <= set(OPTIONAL)


_DICTIONARY = [
    "label",
    "status",
    "frames.list.element.geometry",
    "masks.list.element.geometry",
    "maps.list.element.model",
    "maps.list.element.block",
    "logits.list.element.model",
    "measured.list.element.model",
    "measured.list.element.block",
    "measured.list.element.measure",
    "measured.list.element.status",
    "nulls.list.element.model",
    "nulls.list.element.block",
    "nulls.list.element.measure",
    "nulls.list.element.null",
    "nulls.list.element.status",
    "alternatives.list.element.geometry",
    "alternatives.list.element.name",
]
