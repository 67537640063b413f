"""Data sets of torchvision as a data source: ``torchvision:OxfordIIITPet`` and every other that gives (image, class).

They lie under ``root``, else ``$DAS_EXPLAIN_DATA``, else the user's cache folder, and are downloaded when missing.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from das_explain.data.images import ImageError, as_rgb, printable
from das_explain.data.sources import Files, Listing, file_listing
from das_explain.errors import DasExplainError, UsageError, one_line
from das_explain.files import expanded
from das_explain.types import Region, Sample

ROOT_VARIABLE = "DAS_EXPLAIN_DATA"
_PET_BACKGROUND = 2  # of the trimaps: 1 the animal, 3 its outline (part of R here), 2 everything else


@dataclass(frozen=True)
class Vision:
    """Reads item ``sample.index`` of a torchvision data set, which each process opens for itself."""

    name: str
    root: str
    split: str | None

    def read(self, sample: Sample) -> Image.Image:
        """The item's image as RGB."""
        try:
            return as_rgb(_open(self.name, self.root, self.split)[sample.index][0])
        except Exception as error:
            where = f"torchvision:{self.name}, item {sample.index}"
            raise ImageError(f"{where}: cannot be read ({one_line(error)})") from None

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """These data sets have no masks."""
        return Region(None, "no_mask")


def data_root(root: Path | None = None) -> Path:
    """Where downloaded data sets lie: ``root``, else ``$DAS_EXPLAIN_DATA``, else a folder in the user's cache."""
    if root is None and os.environ.get(ROOT_VARIABLE):
        root = Path(os.environ[ROOT_VARIABLE])
    if root is None:
        import platformdirs

        root = Path(platformdirs.user_cache_dir("das-explain", appauthor=False)) / "datasets"
    return Path(os.path.abspath(expanded(root)))


def list_torchvision(rest: str, *, split: str | None = None, root: Path | None = None) -> Listing:
    """``rest`` is the class name in ``torchvision.datasets``; ``split`` is ``test`` (or ``val``) unless given."""
    folder = str(data_root(root))
    dataset = _open(rest, folder, split)
    if rest == "OxfordIIITPet":
        return _list_pets(dataset)
    try:
        labels = _labels(dataset, rest)
    except DasExplainError:
        raise
    except Exception as error:  # VisionDataset itself, for one, has nothing
        raise UsageError(f"torchvision:{rest} cannot be explained ({one_line(error)})") from None
    samples = tuple(Sample(f"{i:06d}", i, label) for i, label in enumerate(labels))
    return Listing(Vision(rest, folder, split), samples, (f"{split}",) * len(samples), has_masks=False)


def _list_pets(dataset: Any) -> Listing:
    """The pets as plain files: photos in many sizes, trimaps as masks."""
    return file_listing(
        [
            Sample(image.name, i, dataset.classes[label], Path(image), Path(trimap))
            for i, (image, trimap, label) in enumerate(zip(dataset._images, dataset._segs, dataset._labels))
        ],
        Files(background=_PET_BACKGROUND),
    )


@lru_cache(maxsize=2)
def _open(name: str, root: str, split: str | None) -> Any:
    """The torchvision data set, downloaded if it is not there."""
    import torchvision
    from filelock import FileLock

    kinds = {
        each: kind
        for each, kind in vars(torchvision.datasets).items()
        if inspect.isclass(kind) and issubclass(kind, torchvision.datasets.VisionDataset)
    }
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, 3, 0.5) or ["OxfordIIITPet", "Flowers102", "CIFAR10"]
        raise UsageError(f"torchvision has no data set {name!r}; for instance {', '.join(close)}")
    kind, known = kinds[name], inspect.signature(kinds[name]).parameters
    arguments: dict[str, Any] = {"root": root} if "root" in known else {}
    if "train" in known:
        arguments["train"] = split == "train"
    splits = ([split, f"{split}val"] if split else ["test", "val"]) if "split" in known else [None]
    problem: Exception | None = None
    for each in splits:
        if each is not None:
            arguments["split"] = each
        attempts: Sequence[bool | None] = (False, True) if "download" in known else (None,)
        for download in attempts:
            if download is not None:
                arguments["download"] = download
            # The processes of one training may all find it missing at once: one fetches, the others wait and find it.
            lock = FileLock(os.path.join(root, ".download.lock")) if download else contextlib.nullcontext()
            try:
                with lock, contextlib.redirect_stdout(sys.stderr):
                    return kind(**arguments)
            except ValueError as error:  # no such split
                problem = problem or error
                break
            except Exception as error:
                problem = error
    assert problem is not None, "one of the tries has failed"
    reason = one_line(problem)
    if isinstance(problem, ValueError):
        raise UsageError(f"torchvision:{name}: {reason}")
    raise DasExplainError(
        f"torchvision:{name} is not in {printable(root)} and could not be fetched ({reason}); "
        f"download it on a connected machine and point --root or {ROOT_VARIABLE} to it"
    )


def _labels(dataset: Any, name: str) -> list[str]:
    """The class of every item, by name where the data set knows names, without decoding images if possible."""
    if not len(dataset):
        raise UsageError(f"torchvision:{name} is empty")
    first = dataset[0]
    if not (isinstance(first, tuple) and len(first) == 2 and isinstance(first[0], Image.Image) and _is_class(first[1])):
        raise UsageError(f"torchvision:{name} does not give (image, class) and cannot be explained")
    targets: Sequence[Any] | None = None
    for attribute in ("targets", "_labels", "labels", "y"):
        values = getattr(dataset, attribute, None)
        if values is not None and len(values) == len(dataset) and _is_class(values[0]) and values[0] == first[1]:
            targets = values
            break
    if targets is None:
        targets = [dataset[i][1] for i in range(len(dataset))]
    classes: Any = getattr(dataset, "classes", None)
    named = isinstance(classes, Sequence) and all(isinstance(each, str) for each in classes)
    names = list(classes) if named else []
    numbers = [int(target) for target in targets]
    return [names[number] if 0 <= number < len(names) else str(number) for number in numbers]


def _is_class(value: Any) -> bool:
    try:
        return int(value) == value and getattr(value, "ndim", 0) == 0
    except (TypeError, ValueError):
        return False
