"""Class names: where a model's come from, and which logit each class of a data set is."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from das_explain.errors import DasExplainError
from das_explain.types import LoadedModel

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


def match_labels(data_labels: Sequence[str], model: LoadedModel) -> dict[str, int]:
    """Which logit each class of a data set is.

    Name by name: the model's own label exactly; else the one label that is equal when upper and lower case, spaces,
    underscores and hyphens are not told apart. A name that fits several logits (two may be called ``crane``) fits
    none. For the whole data set, in this order, if not one name was found that way:

    1. ImageNet's synset ids (``n01440764``) for a model with ImageNet's 1000 classes, by timm's table, or, without
       timm, if the data has all 1000, by sorted order;
    2. whole numbers, each a valid index, are logit indices;
    3. sorted order (as torchvision's ``ImageFolder``), if the model has no labels and as many classes as the data.

    Returns:
        name -> index for the names that were found, in the order of ``data_labels``; others are left out.

    Raises:
        DasExplainError: not one name was found.
    """
    names = list(dict.fromkeys(data_labels))
    labels, count = model.labels, model.config.get("num_classes") or len(model.labels or ())
    found = _by_name(names, labels) if labels else {}
    imagenet = count == IMAGENET_CLASSES and (labels is None or labels == imagenet_labels())
    if not found and imagenet:
        found = _by_synset(names)
    if not found and names and all(re.fullmatch(r"[0-9]{1,9}", name) and int(name) < count for name in names):
        found = {name: int(name) for name in names}
    if not found and labels is None and len(names) == count:
        found = {name: index for index, name in enumerate(sorted(names))}
    if found or not names:
        return found
    hint = "; synset ids need timm: pip install 'das-explain[timm]'" if imagenet and any(map(_synset, names)) else ""
    known = f"{_some(labels)} ({count} classes)" if labels else f"{count} classes without names"
    raise DasExplainError(
        f"no class of the data is one of model {model.name}: the data has {_some(names)} "
        f"({len(names)} classes), the model {known}{hint}"
    )


def _by_name(names: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for spelling in (str, _loose):
        spelled = [spelling(label) for label in labels]
        times = Counter(spelled)
        index = {label: i for i, label in enumerate(spelled) if times[label] == 1}
        for name in names:
            ambiguous = spelling is _loose and name in labels  # exactly equal to two labels: stays unmatched
            if name not in found and not ambiguous and spelling(name) in index:
                found[name] = index[spelling(name)]
    return {name: found[name] for name in names if name in found}


def _loose(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _synset(name: str) -> bool:
    return SYNSET.fullmatch(name) is not None


def _by_synset(names: Sequence[str]) -> dict[str, int]:
    if not any(map(_synset, names)):
        return {}
    try:
        from timm.data import ImageNetInfo
    except ImportError:
        whole = len(names) == IMAGENET_CLASSES and all(map(_synset, names))
        return {name: index for index, name in enumerate(sorted(names))} if whole else {}
    index = {synset: i for i, synset in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    return {name: index[name] for name in names if name in index}


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (" ..." if len(names) > 3 else "")
