"""Class names: where a model's come from, and files of them. ``matching`` finds the data's classes among them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from das_explain.errors import DasExplainError, first_line
from das_explain.files import read_regular
from das_explain.text import cut_middle, spelled

IMAGENET_CLASSES = 1000
MAX_BYTES = 64 * 2**20


def read_labels(path: Path) -> list[str]:
    """Class names in logit order from a text file, one per line, or a JSON list.

    Raises:
        UsageError: no such file.
        DasExplainError: not text, not a list of names.
    """
    path = Path(path)
    try:
        text = read_regular(path, "file of class names", most=MAX_BYTES).decode("utf-8-sig")
        labels = json.loads(text) if path.suffix.lower() == ".json" else text.rstrip().splitlines()
    except (ValueError, RecursionError) as error:
        raise DasExplainError(f"{path} cannot be read as class names: {first_line(error)}") from None
    if isinstance(labels, list):
        labels = [label.strip() if isinstance(label, str) else label for label in labels]
    return check_labels(labels, str(path))


def check_labels(labels: object, source: str, num_classes: int | None = None) -> list[str]:
    """``labels`` as a list of printable names, one for each class; ``source`` is for messages."""
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
        raise DasExplainError(f"{source}: class names must be a list of texts")
    if not labels:
        raise DasExplainError(f"{source} names no class")
    if bad := [label for label in labels if not label or not label.isprintable()]:
        raise DasExplainError(f"{source}: {bad[0][:100]!r} is no class name (empty, or with unprintable characters)")
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


def read_label_map(path: Path) -> dict[str, str]:
    """Class of the data -> class of the model, from a CSV file with the columns ``data`` and ``model``.

    Raises:
        UsageError: no such file.
        DasExplainError: not text, another header, a row without both, or one class of the data twice.
    """
    path = Path(path)
    try:
        text = read_regular(path, "label map", most=MAX_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        columns = list(reader.fieldnames or [])
        rows = [(reader.line_num, row) for row in reader]
    except (ValueError, csv.Error) as error:
        raise DasExplainError(f"{path} cannot be read as a label map: {first_line(error)}") from None
    if not {"data", "model"} <= set(columns):
        raise DasExplainError(
            f"{path}: a label map has the columns data,model; this has {cut_middle(spelled(', '.join(columns)), 200) or 'none'}"
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
