"""Stanford Dogs as it is published: ``stanford-dogs:FOLDER[:train|test]``, with the official split.

FOLDER is where ``images.tar`` and ``lists.tar`` of http://vision.stanford.edu/aditya86/ImageNetDogs were unpacked:
``Images/n02085620-Chihuahua/n02085620_7.jpg`` ..., ``train_list.mat`` and ``test_list.mat`` (or both in ``lists/``).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from das_explain.data.images import printable
from das_explain.data.sources import Listing, file_listing, folder_and_split, path_of
from das_explain.errors import DasExplainError, UsageError, one_line
from das_explain.types import Sample

_FILE = re.compile(r"(n\d{8}-[\w-]+)/([\w-]+\.jpg)")


def list_dogs(rest: str, *, split: str | None = None, root: object = None) -> Listing:
    """Photos in the order of the split's list; a breed is named without its synset id, ``Border_collie``.

    Raises ``UsageError`` where the folder lacks something, ``DasExplainError`` where a list is broken.
    """
    folder, split = folder_and_split("stanford-dogs", rest, split)
    images, name = folder / "Images", f"{split}_list.mat"
    lists = next((path for path in (folder / name, folder / "lists" / name) if path.is_file()), None)
    if lists is None or not images.is_dir():
        missing = name if lists is None else "folder Images"
        raise UsageError(f"no {missing} in {printable(folder)}: unpack images.tar and lists.tar of Stanford Dogs there")
    samples = []
    for index, file in enumerate(_file_list(lists)):
        match = _FILE.fullmatch(file)  # also keeps paths inside of the folder
        if match is None:
            raise DasExplainError(f"{printable(lists)}: {printable(file)!r} is no photo of Stanford Dogs")
        samples.append(Sample(file, index, match[1].partition("-")[2], images / match[1] / match[2]))
    if absent := next((sample for sample in samples if not path_of(sample).is_file()), None):
        raise DasExplainError(f"{printable(lists)} lists {absent.name}, which is not in {printable(images)}")
    return file_listing(samples)


def _file_list(path: Path) -> list[str]:
    from scipy.io import loadmat

    try:
        cells = loadmat(path, variable_names=["file_list"])["file_list"]
        return [str(np.asarray(cell).item()) for cell in cells.ravel()]
    except Exception as error:  # loadmat has no exception of its own
        raise DasExplainError(f"{printable(path)} is no list of Stanford Dogs: {one_line(error)}") from None
