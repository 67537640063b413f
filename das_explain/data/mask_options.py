"""``--mask-value``, ``--instances``, ``--crowd``: which of the objects in a photo's mask are R."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from das_explain.data.images import printable
from das_explain.data.rows import one_spelling, read_rows, resolve
from das_explain.data.sources import Files, Listing
from das_explain.errors import UsageError
from das_explain.files import expanded, read_regular
from das_explain.text import loose
from das_explain.types import Sample

INSTANCES = ("all", "largest")


@dataclass(frozen=True)
class MaskOptions:
    """``value``: what stands for the object, values with commas between them or a file of them for each class or photo.

    A value is a number (``15``), a colour (``#c08080``) or, of a COCO file, a category. A file is a CSV with the columns
    ``label,value`` or ``image,value``, or CVAT's ``labelmap.txt``. ``instances``: ``all`` of these, or the ``largest``
    only. ``crowd``: with COCO's crowd regions.
    """

    value: str | None = None
    instances: str = "all"
    crowd: bool = False

    def __post_init__(self) -> None:
        if self.instances not in INSTANCES:
            raise UsageError(f"--instances is {' or '.join(INSTANCES)}, not {self.instances!r}")

    @property
    def largest(self) -> bool:
        """Whether one object is wanted where there are several."""
        return self.instances == "largest"

    def given(self) -> str:
        """The options as they stand on a command line, none of the defaults."""
        flags = [f"--mask-value {self.value}"] * (self.value is not None)
        flags += [f"--instances {self.instances}"] * self.largest
        return " ".join(flags + ["--crowd"] * self.crowd)

    def attach(self, samples: Sequence[Sample]) -> tuple[Sample, ...]:
        """The samples with their ``mask_values``. Raises ``UsageError`` if a file of values has none for any of them."""
        if self.value is None:
            return tuple(samples)
        values = _read_values(self.value)
        found = tuple(replace(sample, mask_values=values.of(sample)) for sample in samples)
        if not any(sample.mask_values for sample in found):
            named = ", ".join([*values.by_label, *values.by_image][:3])
            raise UsageError(
                f"{printable(self.value)} has values for {named}, and none for the data's {samples[0].label or samples[0].name}"
            )
        return found


def with_options(listing: Listing, options: MaskOptions) -> Listing:
    """A listing whose masks are read by the options. Raises ``UsageError`` where they do not go with it."""
    given = options.given()
    if not given:
        return listing
    if options.crowd:
        raise UsageError("--crowd goes with --masks FILE.json, a COCO file")
    if not isinstance(listing.source, Files) or not listing.has_masks:
        raise UsageError(f"{given} goes with masks in files: --masks, or a column mask in the CSV")
    samples = options.attach(listing.samples)
    contents = (f"{told} {each.mask_values} {options.instances}" for told, each in zip(listing.contents, samples))
    source = replace(listing.source, largest=options.largest)
    return replace(listing, source=source, samples=samples, contents=tuple(contents))


@dataclass(frozen=True)
class _Values:
    """Values for all samples, or by the spelling of their labels, or by their names or the places of their files."""

    for_all: tuple[str, ...] = ()
    by_label: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_image: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, sample: Sample) -> tuple[str, ...]:
        mine = self.by_image.get(one_spelling(sample.name), ())
        if not mine and self.by_image and sample.path is not None:
            mine = self.by_image.get(os.path.realpath(sample.path), ())
        return self.for_all or mine or self.by_label.get(loose(sample.label or ""), ())


def _read_values(given: str) -> _Values:
    path = expanded(given)
    if path.suffix.lower() == ".csv":
        return _of_table(path)
    if path.suffix.lower() == ".txt":
        return _of_label_map(path)
    return _Values(for_all=_split(given, "--mask-value"))


def _of_table(path: Path) -> _Values:
    """A CSV with the columns label,value or image,value; several rows of one class or photo are several values."""
    by_label: dict[str, tuple[str, ...]] = {}
    by_image: dict[str, tuple[str, ...]] = {}
    for line, row in read_rows(path, ("image", "label")):
        values = _split(row.get("value", ""), f"{printable(path)}, line {line}")
        if row.get("image", "").strip():
            name, file = resolve(path.parent, row["image"])
            for key in {one_spelling(name), os.path.realpath(file)}:
                by_image[key] = by_image.get(key, ()) + values
        else:
            name = loose(row["label"])
            by_label[name] = by_label.get(name, ()) + values
    return _Values(by_label=by_label, by_image=by_image)


def _of_label_map(path: Path) -> _Values:
    """CVAT's ``labelmap.txt``: a class, its colour and more on each line, ``cat:128,0,0::``."""
    lines = read_regular(path, "label map").decode("utf-8-sig", "replace").splitlines()
    by_label: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        label, _, rest = line.strip().partition(":")
        colour = rest.partition(":")[0]
        if not colour:  # a class that no pixel was given to
            continue
        if not re.fullmatch(r"\d{1,3},\d{1,3},\d{1,3}", colour) or max(map(int, colour.split(","))) > 255:
            raise UsageError(f"{printable(path)}, line {number}: a label map has lines like cat:128,0,0::")
        by_label[loose(label)] = ("#" + bytes(map(int, colour.split(","))).hex(),)
    if not by_label:
        raise UsageError(f"{printable(path)} names no colours: a label map has lines like cat:128,0,0::")
    return _Values(by_label=by_label)


def _split(text: str, where: str) -> tuple[str, ...]:
    values = tuple(each.strip() for each in re.split(r"[,;]", text) if each.strip())
    if not values:
        raise UsageError(f"{where}: no value; it is a number, a colour (#c08080) or a category of a COCO file")
    return tuple(each.lower() if each.startswith("#") else each for each in values)
