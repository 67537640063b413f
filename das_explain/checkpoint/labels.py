"""Class names: where a model's come from, and which logit each class of a data set is."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from das_explain.errors import DasExplainError, UsageError

if TYPE_CHECKING:
    from das_explain.checkpoint.model import LoadedModel

SYNSET = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000
MAX_BYTES = 64 * 2**20


def read_labels(path: Path) -> list[str]:
    """Class names in logit order from a text file, one per line, or a JSON list.

    Raises:
        DasExplainError: no such file, not text, not a list of names.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DasExplainError(f"{path} is too large for a list of class names")
        text = path.read_text(encoding="utf-8-sig")
        labels = json.loads(text) if path.suffix.lower() == ".json" else text.rstrip().splitlines()
    except FileNotFoundError:
        raise DasExplainError(f"no such file of class names: {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DasExplainError(f"{path} cannot be read as class names: {error}") from None
    if isinstance(labels, list):
        labels = [label.strip() if isinstance(label, str) else label for label in labels]
    return check_labels(labels, str(path))


def check_labels(labels: object, source: str, num_classes: int | None = None) -> list[str]:
    """``labels`` as a list of printable names, one for each class; ``source`` is for messages."""
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
        raise DasExplainError(f"{source}: class names must be a list of texts")
    if bad := [label for label in labels if not label or not label.isprintable()]:
        raise DasExplainError(f"{source}: {bad[0]!r} is no class name (empty, or with unprintable characters)")
    if num_classes is not None and len(labels) != num_classes:
        raise DasExplainError(f"{source} names {len(labels)} classes, but the model has {num_classes}")
    return list(labels)


def sidecar(weights: Path) -> list[str] | None:
    """The class names in ``WEIGHTS.labels.txt`` or ``.json`` beside ``WEIGHTS.pth``, if there are any."""
    for suffix in (".labels.txt", ".labels.json"):
        if (path := weights.with_suffix(suffix)).is_file():
            return read_labels(path)
    return None


def imagenet_labels() -> list[str]:
    """ImageNet-1k's 1000 class names in torchvision's words; no network needed."""
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


class LabelMatch(dict[str, int]):
    """Class of the data -> logit. ``assumptions``: sentences on how they were matched, where that was a guess."""

    def __init__(self, logits: Mapping[str, int] = MappingProxyType({}), assumptions: Sequence[str] = ()) -> None:
        super().__init__(logits)
        self.assumptions = list(assumptions)


def match_labels(
    data_labels: Sequence[str], model: LoadedModel, label_map: Mapping[str, str] | None = None
) -> LabelMatch:
    """Which logit each class of a data set is.

    First ``label_map``, class of the data -> class of the model, by its name or number (``read_label_map``). What it does
    not name, name by name: the model's own label exactly; else the one label that is equal when upper and lower case,
    spaces, underscores and hyphens are not told apart. A name that fits several logits (two may be called ``crane``)
    fits none. For the whole data set, in this order, if not one name was found that way:

    1. ImageNet's synset ids (``n01440764``) for a model with ImageNet's 1000 classes, by timm's table, or, without
       timm, if the data has all 1000, by sorted order;
    2. whole numbers, each a valid index, are logit indices;
    3. sorted order (as torchvision's ``ImageFolder``), if the model has no labels and as many classes as the data.

    Returns:
        name -> index for the names that were found, in the order of ``data_labels``; others are left out. Its
        ``assumptions`` say which of these rules was used, where it was a guess, and who was left out.

    Raises:
        UsageError: ``label_map`` names no class of the data, or one that the model does not have.
        DasExplainError: not one name was found; the message lists close ones.
    """
    names = list(dict.fromkeys(data_labels))
    labels, count = model.labels, model.config.get("num_classes") or len(model.labels or ())
    found = _by_map(names, model, label_map) if label_map else {}
    rest = [name for name in names if name not in found]
    by_name, loose = _by_name(rest, labels) if labels else ({}, [])
    found |= by_name
    told = []
    if loose:
        told.append(f"{_classes(len(loose))} matched without regard to case, spaces, _ and -, first {loose[0]!r}")
    imagenet = count == IMAGENET_CLASSES and (labels is None or labels == imagenet_labels())
    if not found and imagenet:
        found, rule = _by_synset(names)
        told += [rule] if rule else []
    if not found and names and all(re.fullmatch(r"[0-9]{1,9}", name) and int(name) < count for name in names):
        found = {name: int(name) for name in names}
        told.append("the names are numbers; taken for the numbers of the model's classes")
    if not found and labels is None and len(names) == count:
        found = {name: index for index, name in enumerate(sorted(names))}
        told.append("the model's classes have no names; matched in sorted order, as torchvision's ImageFolder would")
    if not found and names:
        raise DasExplainError(_nothing_fits(names, model, imagenet))
    if missing := [name for name in names if name not in found]:
        told.append(f"{_classes(len(missing))} not the model's, first {missing[0]!r}")
    about = f"{model.name}: of the data's {len(names)} classes"
    logits = {name: found[name] for name in names if name in found}
    return LabelMatch(logits, [f"{about}, {each}" if each[0].isdigit() else f"{about}: {each}" for each in told])


def read_label_map(path: Path) -> dict[str, str]:
    """Class of the data -> class of the model, from a CSV file with the columns ``data`` and ``model``.

    Raises:
        DasExplainError: no such file, not text, another header, a row without both, or one class of the data twice.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise DasExplainError(f"no such label map: {path}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise DasExplainError(f"{path} cannot be read as a label map: {error}") from None
    if not {"data", "model"} <= set(columns):
        raise DasExplainError(
            f"{path}: a label map has the columns data,model; this has {', '.join(columns) or 'none'}"
        )
    mapped: dict[str, str] = {}
    for line, row in rows:
        data, model = (row["data"] or "").strip(), (row["model"] or "").strip()
        if not data or not model:
            raise DasExplainError(f"{path}, line {line}: a row of a label map needs both, data and model")
        if data in mapped:
            raise DasExplainError(
                f"{path}, line {line}: {data!r} stands there twice; one class of the data is one logit"
            )
        mapped[data] = model
    if not mapped:
        raise DasExplainError(f"{path}: a label map without a row")
    return mapped


def _by_map(names: Sequence[str], model: LoadedModel, label_map: Mapping[str, str]) -> dict[str, int]:
    wanted = {name: label_map[name] for name in names if name in label_map}
    if names and not wanted:
        raise UsageError(
            f"the label map names no class of the data: it has {_some(list(label_map))}, the data {_some(names)}"
        )
    known, _ = _by_name(list(wanted.values()), model.labels) if model.labels else ({}, [])
    count = model.config.get("num_classes") or len(model.labels or ())
    found = {}
    for name, label in wanted.items():
        number = int(label) if re.fullmatch(r"[0-9]{1,9}", label) else count
        if label not in known and number >= count:
            raise UsageError(
                f"the label map gives {name!r} the class {label!r}, which model {model.name} does not have"
                f"{_close([label], model.labels or ()) or '; its classes are ' + _of(model)}"
            )
        found[name] = known.get(label, number)
    return found


def _nothing_fits(names: Sequence[str], model: LoadedModel, imagenet: bool) -> str:
    synsets = imagenet and any(map(_synset, names))
    hint = "; synset ids need timm: pip install 'das-explain[timm]'" if synsets else _close(names, model.labels or ())
    return (
        f"no class of the data is one of model {model.name}: the data has {_some(names)} ({len(names)} classes), "
        f"the model {_of(model)}{hint}" + ("" if synsets else "; --label-map FILE.csv (data,model) says which is which")
    )


def _of(model: LoadedModel) -> str:
    count = model.config.get("num_classes") or len(model.labels or ())
    return f"{_some(model.labels)} ({count} classes)" if model.labels else f"{count} classes without names"


def _close(names: Sequence[str], labels: Sequence[str]) -> str:
    """The first few names that resemble a label: for the end of a message."""
    spelled = {_loose(label): label for label in reversed(labels)}
    pairs = [
        f"{spelled[close[0]]!r} for {name!r}"
        for name in names[:200]
        if (close := get_close_matches(_loose(name), spelled, 1, 0.7))
    ]
    return f"; near matches: {', '.join(pairs[:3])}" if pairs else ""


def _classes(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _by_name(names: Sequence[str], labels: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """The logits of the names that are labels, and which of them only loosely."""
    found: dict[str, int] = {}
    loose = []
    for spelling in (str, _loose):
        spelled = [spelling(label) for label in labels]
        times = Counter(spelled)
        index = {label: i for i, label in enumerate(spelled) if times[label] == 1}
        for name in names:
            ambiguous = spelling is _loose and name in labels  # exactly equal to two labels: stays unmatched
            if name not in found and not ambiguous and spelling(name) in index:
                found[name] = index[spelling(name)]
                loose += [name] if spelling is _loose else []
    return {name: found[name] for name in names if name in found}, loose


def _loose(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _synset(name: str) -> bool:
    return SYNSET.fullmatch(name) is not None


def _by_synset(names: Sequence[str]) -> tuple[dict[str, int], str | None]:
    """The logits of ImageNet's ids, and what had to be assumed for it."""
    if not any(map(_synset, names)):
        return {}, None
    try:
        from timm.data import ImageNetInfo
    except ImportError:
        whole = len(names) == IMAGENET_CLASSES and all(map(_synset, names))
        told = "ImageNet's ids matched in sorted order, without timm's table"
        return ({name: index for index, name in enumerate(sorted(names))}, told) if whole else ({}, None)
    index = {synset: i for i, synset in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    return {name: index[name] for name in names if name in index}, None


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (" ..." if len(names) > 3 else "")
