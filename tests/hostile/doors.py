"""The doors of the house, and what is brought to them: everything begins with what is right, and is then bent: a few
leaves of a tree, bytes of a file, pieces of a text. ``test_fuzz`` and ``coverage_fuzz`` knock.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from das_explain.checkpoint.config import read_config
from das_explain.checkpoint.labels import read_label_map, read_labels
from das_explain.checkpoint.layouts import read_folder
from das_explain.checkpoint.spec import parse_spec
from das_explain.data.coco.objects import open_objects
from das_explain.data.dataset import open_dataset
from das_explain.errors import LONGEST, DasExplainError
from das_explain.evidence.tables import read_table
from das_explain.segment.finders.prompts import read_overrides
from das_explain.text import spelled

Door = Callable[[Any], object]
ODD = st.sampled_from(
    [None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", " ", "a", "\x1b[31m",
     "\udcff", "\0", "a" * 10_000, "../x", "~x", [], {}, [[]], [None], {"": {}}, "9" * 5000, "[" * 1000]
)  # fmt: skip
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=()), max_size=8)


def paths_of(tree: Any, above: tuple = ()) -> Iterator[tuple]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*above, key)
        yield from paths_of(value, (*above, key))


def bent(tree: Any) -> st.SearchStrategy[Any]:
    """The tree with a few leaves or branches exchanged, left out or renamed."""
    changes = st.lists(
        st.tuples(st.sampled_from(list(paths_of(tree))), ODD | TEXTS, st.sampled_from("crn")), min_size=1, max_size=4
    )

    def apply(wanted: list[tuple]) -> Any:
        made = copy.deepcopy(tree)
        for path, value, how in wanted:
            try:
                at = made
                for key in path[:-1]:
                    at = at[key]
                old = at.pop(path[-1]) if how != "c" else None
                if how == "c":
                    at[path[-1]] = copy.deepcopy(value)  # a later change may reach into it
                elif how == "n" and isinstance(at, dict):
                    at[str(value)] = old
            except (LookupError, TypeError, AttributeError):  # an earlier change has taken it away
                continue
        return made

    return changes.map(apply)


def cut(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some of them exchanged, and perhaps without their end."""
    places = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=6)

    def apply(drawn: tuple[list[tuple[int, int]], int]) -> bytes:
        made = bytearray(content)
        for place, byte in drawn[0]:
            made[place] = byte
        return bytes(made[: drawn[1]])

    return st.tuples(places, st.sampled_from([len(content)] * 3 + [len(content) // 2, 7])).map(apply)


def pieces(*known: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(known) | TEXTS, max_size=9).map("".join)


SPECS = pieces(
    *("torchvision:", "timm:", "hf:", "python:", "resnet18", ":das", "@", "?", "&", "=", "size=", "mean=", "1", ",", "/", "..", "photos"),
    *("w.pth", ".safetensors", "+gates=", "+weights=", "+attention=", "ones", "random", "layer4", "DEFAULT", " ", "~", "os", "\\"),
)  # fmt: skip
DATA = pieces(
    *("collage", ":", "train", "test", "1", "0", "+", "9999999999", "cifar:", "stanford-dogs:", "photos", "a.png", "/", "..", "~", ".csv"),
)  # fmt: skip
CSV = pieces(
    *("image", "label", "mask", "boxes", "x0", "y0", "x1", "y1", "data", "model", "class", "prompt", "value", ",", ";", "\t", "\n", "\r", '"'),
    *("photos/a.png", "a.png", "1 2 3 4", "1", "-1", "1e999", "nan", " ", "cat", "\ufeff", "#"),
)  # fmt: skip
CONFIG = {
    "format": 1, "architecture": "resnet18", "attention": "das", "num_classes": 2, "labels": ["cat", "dog"], "task": "classification",
    "arguments": {"alpha": 0.2, "gates": ["layer4"], "stem": "small"}, "training": {"seed": 0},
    "preprocess": {"size": [32, 32], "resize": 36, "interpolation": "bilinear", "fit": "crop", "mean": [0.5] * 3, "std": [0.2] * 3},
}  # fmt: skip
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
    "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0, "segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 8, 8], "iscrowd": 1, "segmentation": {"size": [8, 8], "counts": [3, 9, 52]}},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [0, 0, 8, 8], "iscrowd": 0, "segmentation": {"size": [8, 8], "counts": "0`1"}},
    ],
}  # fmt: skip
XML = b"""<?xml version="1.0"?><annotation><filename>a.png</filename><size><width>8</width><height>8</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>6</xmax><ymax>7</ymax></bndbox></object></annotation>"""
PIECES_OF_XML = pieces(
    *("<annotation>", "</annotation>", "<object>", "</object>", "<bndbox>", "</bndbox>", "<xmin>", "</xmin>", "<name>", "</name>", "1", "nan"),
    *("<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "&#0;", "<![CDATA[", "]]>", "<filename>a.png</filename>", "<?xml", "?>", "<size/>"),
)  # fmt: skip


def in_file(name: str, door: Callable[[Path], object]) -> Door:
    """Writes what is given, text, bytes or a tree, and opens it."""

    def write(content: Any) -> object:
        data = content if isinstance(content, (str, bytes)) else json.dumps(content)
        Path(name).write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
        return door(Path(name))

    return write


def read_all(data: Any) -> None:
    """Opens everything of a data set."""
    for sample in data.samples:
        try:
            photo = data.read(sample)
        except DasExplainError:
            continue
        region = data.read_mask(sample, photo.size)
        assert region.mask is None or region.mask.shape == photo.size[::-1]


def coco_masks(path: Path) -> None:
    read_all(open_dataset("photos", masks=path))


def coco_objects(path: Path) -> None:
    data = open_objects(f"{path}@photos")
    for sample in data.samples:
        data.objects(sample)


TARGETS: dict[str, tuple[st.SearchStrategy[Any], Door]] = {
    "model spec": (SPECS, parse_spec),
    "data spec": (DATA, lambda spec: open_dataset(spec, root=Path("root"))),
    "data CSV": (CSV, in_file("x.csv", lambda path: read_all(open_dataset(path)))),
    "mask CSV": (CSV, in_file("x.csv", lambda path: read_all(open_dataset("photos", masks=path)))),
    "box CSV": (CSV, in_file("x.csv", lambda path: open_dataset("photos", boxes=path))),
    "prompts": (CSV, in_file("x.csv", read_overrides)),
    "label map": (CSV, in_file("x.csv", read_label_map)),
    "labels": (CSV | st.binary(max_size=99), in_file("x.txt", read_labels)),
    "table": (CSV, in_file("x.csv", lambda path: read_table(path, ("image",)))),
    "config": (bent(CONFIG), in_file("model/config.json", read_config)),
    "model directory": (bent(CONFIG), in_file("model/config.json", lambda path: read_folder(path.parent))),
    "COCO masks": (bent(COCO), in_file("x.json", coco_masks)),
    "COCO objects": (bent(COCO), in_file("x.json", coco_objects)),
    "COCO as bytes": (cut(json.dumps(COCO).encode()), in_file("x.json", coco_masks)),
    "PASCAL XML": (cut(XML) | PIECES_OF_XML, in_file("a.xml", lambda path: open_dataset("photos", boxes=path))),
}  # fmt: skip


def furnish(folder: Path) -> None:
    """Makes what the doors look for beside what they are given, which is written there, too."""
    for name in ("photos", "model"):
        (folder / name).mkdir()
    Image.new("RGB", (8, 8)).save(folder / "photos" / "a.png")
    (folder / "model" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


def knock(door: Door, example: Any) -> None:
    """Raises unless the example is taken, or refused in one line for people."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            door(example)
    except DasExplainError as error:
        told = str(error)
        if not (told == spelled(told, backslash=False) and 0 < len(told) <= LONGEST):
            raise AssertionError(f"no line for people: {told!r}") from error
    except OSError as error:
        if error.strerror != "File name too long":
            raise
