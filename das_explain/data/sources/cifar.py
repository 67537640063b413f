"""CIFAR-10 and CIFAR-100 in their *binary version*: ``cifar:FOLDER[:train|test]``. Nothing is unpickled.

As https://www.cs.toronto.edu/~kriz/cifar.html describes it: records of one class byte (CIFAR-100: two, coarse and fine;
the fine one counts) and 3 x 32 x 32 bytes, red, green, blue, row by row; class names in a text file beside.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from das_explain.data.images import ImageError, printable
from das_explain.data.sources import Listing, folder_and_split
from das_explain.errors import DasExplainError, UsageError
from das_explain.types import Region, Sample

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """Which files a data set has, and the bytes before the pixels of a record; the last of them is the class."""

    names: str
    files: dict[str, tuple[str, ...]]
    header: int


LAYOUTS = (
    Layout("fine_label_names.txt", {"train": ("train.bin",), "test": ("test.bin",)}, 2),
    Layout(
        "batches.meta.txt",
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        1,
    ),
)


@dataclass(frozen=True)
class Cifar:
    """Reads record ``sample.index`` of the files, counted through."""

    files: tuple[str, ...]
    header: int

    def read(self, sample: Sample) -> Image.Image:
        """32 x 32 pixels, RGB."""
        position = sample.index
        for file in self.files:
            records = _records(file, self.header)
            if position < len(records):
                return Image.fromarray(records[position, self.header :].reshape(3, 32, 32).transpose(1, 2, 0).copy())
            position -= len(records)
        raise ImageError(f"{sample.name}: the files have changed, it is no longer there")

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """There are no masks."""
        return Region(None, "no_mask")


def list_cifar(rest: str, *, split: str | None = None, root: object = None) -> Listing:
    """``rest`` is ``FOLDER[:train|test]``, the test images unless told otherwise. Raises ``UsageError``."""
    folder, split = folder_and_split("cifar", rest, split)
    layout = next((layout for layout in LAYOUTS if (folder / layout.files[split][0]).is_file()), None)
    if layout is None:
        wanted = " or ".join(layout.files[split][0] for layout in LAYOUTS)
        raise UsageError(f"no {wanted} in {printable(folder)}: cifar:FOLDER reads the binary version of CIFAR")
    names = _names(folder / layout.names)
    files = tuple(str(folder / name) for name in layout.files[split])
    samples: list[Sample] = []
    contents: list[str] = []
    for file in files:
        records, stem = _records(file, layout.header), Path(file).stem
        for i, (number, record) in enumerate(zip(records[:, layout.header - 1].tolist(), records)):
            if number >= len(names):
                where = f"{printable(file)}, record {i}"
                raise DasExplainError(f"{where}: class {number}, but {layout.names} names {len(names)}")
            samples.append(Sample(f"{stem}/{i:05d}", len(samples), names[number]))
            contents.append(str(zlib.crc32(record)))
    return Listing(Cifar(files, layout.header), tuple(samples), tuple(contents), has_masks=False)


@lru_cache(maxsize=12)
def _records(file: str, header: int) -> np.ndarray:
    """uint8 (N, header + pixels), of a file that stays on the disk."""
    try:
        flat = np.memmap(file, np.uint8, "r")
    except (OSError, ValueError) as error:  # absent; empty
        raise DasExplainError(f"{printable(file)} cannot be read: {error}") from None
    length = header + _PIXELS
    if len(flat) % length:
        raise DasExplainError(f"{printable(file)} is no whole number of {length}-byte records: was it cut off?")
    return flat.reshape(-1, length)


def _names(file: Path) -> list[str]:
    try:
        names = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DasExplainError(f"{printable(file)}, the names of the classes, cannot be read: {error}") from None
    if len(set(names)) < len(names) or not all(name.isprintable() for name in names):
        raise DasExplainError(f"{printable(file)}: the class names must be printable and all different")
    return names
