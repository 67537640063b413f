"""Evidence as Arrow tables, one row per image, and back. The only place that knows how it is stored.

    index, image, label, status, message, width, height      the image
    region      JSON: how R was found (prompt, boxes, scores, seconds, area ...)
    frames      list of {geometry, height, width, jpeg}: what each geometry's networks saw
    masks       list of {geometry, height, width, bits}: R on that frame, one bit a pixel, rows first, packed as
                numpy.packbits does; no entry without a region
    maps        list of {model, block, height, width, raw_max, native}: the map at the block's own size, float32, rows
                first, in [0, 1]; raw_max is its maximum before normalisation
    logits      list of {model, target, log_sum, classes, values}
    measured    list of {model, block, measure, value, status}: measures that needed the network
    alternatives    list of {geometry, name, height, width, bits}: other masks that the segmenter offered for the object,
                as in masks. Of a segmenter that offers none the lists are empty; runs made before there were any lack
                the column
    nulls       list of {model, block, measure, null, value, status}: as measured, of maps that know nothing of the photo.
                They are added when all images have been explained; shards made before there were any lack the column

The lists are empty for an image that no model was shown.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from das_explain.errors import DasExplainError, first_line
from das_explain.evidence.values import BlockMaps, Evidence, Key, Logits, Photo

QUALITY = 88  # of the frames' JPEG
MOST_SIDE = 4096  # of a frame: a damaged number must not fill the memory
MOST_PIXELS = 2**31  # of a shard's masks
_TEXT, _WHOLE, _SINGLE, _DOUBLE = pa.string(), pa.int32(), pa.float32(), pa.float64()
_SIDES = [("height", _WHOLE), ("width", _WHOLE)]
_FRAME = pa.struct([("geometry", _TEXT), *_SIDES, ("jpeg", pa.binary())])
_MASK = pa.struct([("geometry", _TEXT), *_SIDES, ("bits", pa.binary())])
_ALTERNATIVE = pa.struct([("geometry", _TEXT), ("name", _TEXT), *_SIDES, ("bits", pa.binary())])
_MAP = pa.struct([("model", _TEXT), ("block", _TEXT), *_SIDES, ("raw_max", _SINGLE), ("native", pa.list_(_SINGLE))])
_CLASSES = [("classes", pa.list_(_WHOLE)), ("values", pa.list_(_SINGLE))]
_LOGITS = pa.struct([("model", _TEXT), ("target", _WHOLE), ("log_sum", _DOUBLE), *_CLASSES])
_MEASURED = pa.struct([("model", _TEXT), ("block", _TEXT), ("measure", _TEXT), ("value", _DOUBLE), ("status", _TEXT)])
_NULL = pa.struct(
    [*((name, _TEXT) for name in ("model", "block", "measure", "null")), ("value", _DOUBLE), ("status", _TEXT)]
)
_LISTS = {
    "frames": _FRAME, "masks": _MASK, "maps": _MAP, "logits": _LOGITS, "measured": _MEASURED, "alternatives": _ALTERNATIVE,
    "nulls": _NULL,
}  # fmt: skip
SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("image", pa.string()),
        ("label", pa.string()),
        ("status", pa.string()),
        ("message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("region", pa.string()),
        *((name, pa.list_(kind)) for name, kind in _LISTS.items()),
    ]
)
OPTIONAL = ("alternatives", "nulls")
"""Columns that a shard may lack: it was written by a version that did not know them, and there is nothing in them."""
SCORING_COLUMNS = [name for name in SCHEMA.names if name != "frames"]
"""What scoring reads: everything but the pictures."""


def jpeg(frame: np.ndarray) -> bytes:
    """A frame uint8 (H, W, 3) as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def encode(evidence: Evidence) -> pa.Table:
    """The table of ``SCHEMA`` for this evidence."""
    photos, shown = evidence.photos, evidence.shown
    columns: dict[str, Any] = {
        name: [getattr(photo, name) for photo in photos]
        for name in ("index", "image", "label", "status", "message", "width", "height")
    }
    columns["region"] = [json.dumps(photo.region, ensure_ascii=False, allow_nan=False) for photo in photos]
    for name in ("label", "message", "region"):  # Arrow's text is Unicode; odd bytes become their escapes
        columns[name] = [text and text.encode("utf-8", "backslashreplace").decode() for text in columns[name]]
    n, sides = len(shown), evidence.sizes

    def of(*same: Any) -> list[list[Any]]:
        """Fields that are the same for all images."""
        return [[value] * n for value in same]

    lists: dict[str, list[Part]] = {
        "frames": [
            Part(None, [*of(key, *sides[key]), files])  # the file of each image
            for key, files in evidence.frames.items()
        ],
        "masks": [
            Part([photos[i].status == "ok" for i in shown], [*of(key, *sides[key]), _bits(masks)])
            for key, masks in evidence.masks.items()
        ],
        "alternatives": [
            Part([bool(mask.any()) for mask in masks], [*of(key, name, *sides[key]), _bits(masks)])
            for (key, name), masks in evidence.alternatives.items()
        ],
        "maps": [
            Part(None, [*of(*key, *maps.native.shape[1:]), maps.raw_max, _rows(maps.native, pa.float32())])
            for key, maps in evidence.maps.items()
        ],
        "logits": [
            Part(
                None,
                [
                    *of(model),
                    each.target,
                    each.log_sum,
                    _rows(each.classes, pa.int32()),
                    _rows(each.values, pa.float32()),
                ],
            )
            for model, each in evidence.logits.items()
        ],
        "measured": [
            Part(None, [*of(*key, name), values, status]) for (key, name), (values, status) in evidence.measured.items()
        ],
        "nulls": [
            Part(None, [*of(*key, *names), values, status])
            for (key, *names), (values, status) in evidence.nulls.items()
        ],
    }
    for name, kind in _LISTS.items():
        columns[name] = _lists(len(photos), shown, kind, lists[name])
    arrays = [
        columns[field.name] if field.name in lists else pa.array(columns[field.name], field.type) for field in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


class Part(NamedTuple):
    """One struct for each of n images: whether an image has it (``None``: all have), and the fields, n values each."""

    has: Sequence[bool] | None
    fields: Sequence[Any]


def _bits(masks: np.ndarray) -> list[bytes]:
    """Masks bool (n, H, W), each as one bit a pixel."""
    return [row.tobytes() for row in np.packbits(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), axis=1)]


def _rows(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """(n, ...) -> one list per row, without copying a number."""
    flat = np.ascontiguousarray(values).reshape(len(values), int(np.prod(values.shape[1:])))
    offsets = np.arange(len(values) + 1, dtype=np.int32) * flat.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.ravel(), kind))


def _lists(count: int, shown: np.ndarray, kind: pa.StructType, parts: Sequence[Part]) -> pa.Array:
    """A list of structs for each of ``count`` images: of an image that was shown one struct per part that it has."""
    has = np.array([[True] * len(shown) if part.has is None else part.has for part in parts], bool)
    has = has.reshape(len(parts), len(shown))
    lengths = np.zeros(count, np.int32)
    lengths[shown] = has.sum(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    if not len(parts):
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array([], kind))
    fields = []
    for position, field in enumerate(kind):
        pieces = [part.fields[position] for part in parts]
        arrays = [piece if isinstance(piece, pa.Array) else pa.array(piece, field.type) for piece in pieces]
        fields.append(pa.concat_arrays(arrays))
    structs = pa.StructArray.from_arrays(fields, fields=list(kind))
    # Parts lie one behind the other; an image's structs have to stand together.
    order = np.arange(len(parts) * len(shown)).reshape(len(parts), len(shown)).T
    return pa.ListArray.from_arrays(pa.array(offsets), structs.take(pa.array(order[has.T])))


def decode(table: pa.Table, source: object = "the evidence") -> Evidence:
    """The evidence in a table of ``SCHEMA``; without ``frames`` or ``masks`` if the table has none, as one of
    ``SCORING_COLUMNS`` has no frames. ``source`` is the file, for messages.

    Raises:
        DasExplainError: the table is not what ``encode`` makes: images differ in models, blocks or sizes.
    """
    table = table.combine_chunks()
    names = ("index", "image", "label", "status", "message", "width", "height", "region")
    try:
        columns = [table[name].to_pylist() for name in names]
        photos = [Photo(*values) for values in zip(*columns[:-1], map(json.loads, columns[-1]))]
        counts = np.diff(_array(table, "logits").offsets.to_numpy())
        shown = np.flatnonzero(counts)
        masks, sizes = _masks(_array(table, "masks"), shown, ("geometry",))
        alternatives, _ = _masks(_array(table, "alternatives"), shown, ("geometry", "name"))
        frames, frame_sizes = _frames(_array(table, "frames"), shown)
        sizes |= frame_sizes
        return Evidence(
            photos,
            shown,
            {},
            sizes,
            frames,
            {key: each for (key,), each in masks.items()},
            _maps(_array(table, "maps"), len(shown)),
            _logits(_array(table, "logits"), len(shown)),
            _measured(_array(table, "measured"), len(shown), "measure"),
            {(key, name): each for (key, name), each in alternatives.items()},
            _measured(_array(table, "nulls"), len(shown), "measure", "null"),
        )
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, RecursionError, pa.ArrowException) as error:
        raise DasExplainError(f"{source} is damaged ({first_line(error)}); delete it and run sfd again") from None


def _array(table: pa.Table, name: str) -> pa.ListArray:
    if name not in table.column_names and name in ("frames", "masks", *OPTIONAL):
        return pa.array([[]] * len(table), SCHEMA.field(name).type)
    column = table[name]
    array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return array if array.offset == 0 else pa.concat_arrays([array])


def _grouped(
    lists: pa.ListArray, n: int, names: Sequence[str]
) -> tuple[list[tuple[str, ...]], Callable[[str], pa.Array]]:
    """The keys (values of ``names``) that every shown image has, in order, and each field as one array of n * keys."""
    structs = lists.flatten()
    if n == 0:
        return [], structs.field
    each, rest = divmod(len(structs), n)
    if rest:
        raise ValueError("images differ in models or blocks")
    columns = [structs.field(name).dictionary_encode() for name in names]
    for column in columns:
        codes = column.indices.to_numpy().reshape(n, each)
        if (codes != codes[0]).any():
            raise ValueError("images differ in the order of models or blocks")
    return list(zip(*(column[:each].to_pylist() for column in columns))) if each else [], structs.field


def _same(values: np.ndarray) -> int:
    if (values != values[0]).any():
        raise ValueError("a block's maps differ in size")
    return int(values[0])


def _maps(lists: pa.ListArray, n: int) -> dict[Key, BlockMaps]:
    keys, field = _grouped(lists, n, ("model", "block"))
    if not keys:
        return {}
    heights, widths = (field(name).to_numpy().reshape(n, -1) for name in ("height", "width"))
    raw_max = field("raw_max").to_numpy().reshape(n, -1)
    values = field("native").flatten().to_numpy().reshape(n, -1)
    maps, start = {}, 0
    for k, (model, block) in enumerate(keys):
        h, w = _same(heights[:, k]), _same(widths[:, k])
        maps[Key(model, block)] = BlockMaps(values[:, start : start + h * w].reshape(n, h, w), raw_max[:, k])
        start += h * w
    return maps


def _logits(lists: pa.ListArray, n: int) -> dict[str, Logits]:
    keys, field = _grouped(lists, n, ("model",))
    if not keys:
        return {}
    lengths = np.diff(field("values").offsets.to_numpy()).reshape(n, -1)
    values, classes = (field(name).flatten().to_numpy().reshape(n, -1) for name in ("values", "classes"))
    target, log_sum = (field(name).to_numpy().reshape(n, -1) for name in ("target", "log_sum"))
    logits, start = {}, 0
    for k, (model,) in enumerate(keys):
        end = start + _same(lengths[:, k])
        logits[model] = Logits(values[:, start:end], classes[:, start:end], log_sum[:, k], target[:, k])
        start = end
    return logits


def _measured(lists: pa.ListArray, n: int, *names: str) -> dict[Any, tuple[np.ndarray, list[str]]]:
    """(key, value of each of ``names``) -> values and statuses of n images."""
    keys, field = _grouped(lists, n, ("model", "block", *names))
    values = field("value").to_numpy(zero_copy_only=False).reshape(n, -1) if keys else np.empty((n, 0))
    status = field("status").to_pylist() if keys else []
    return {
        (Key(model, block), *rest): (values[:, k], status[k :: len(keys)])
        for k, (model, block, *rest) in enumerate(keys)
    }


def _masks(
    lists: pa.ListArray, shown: np.ndarray, names: Sequence[str]
) -> tuple[dict[tuple[str, ...], np.ndarray], dict[str, tuple[int, int]]]:
    """Masks bool (n, H, W) by the fields ``names``, of which the first is the geometry, and the geometries' sizes."""
    rows = np.full(len(lists), -1)
    rows[shown] = np.arange(len(shown))
    structs, parents = lists.flatten(), lists.value_parent_indices().to_numpy()
    masks: dict[tuple[str, ...], np.ndarray] = {}
    sizes: dict[str, tuple[int, int]] = {}
    pixels_of_all = 0
    for *key_fields, height, width, bits, parent in zip(
        *(structs.field(name).to_pylist() for name in (*names, "height", "width", "bits")), parents
    ):
        key = tuple(key_fields)
        if key not in masks:
            if not (0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE):
                raise ValueError(f"a mask of {height} x {width} pixels")
            pixels_of_all += len(shown) * height * width
            if pixels_of_all > MOST_PIXELS or len(bits) != -(-height * width // 8):
                raise ValueError("masks of more pixels than bits")
            sizes[key[0]] = (height, width)
            masks[key] = np.zeros((len(shown), height, width), bool)
        pixels = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
        masks[key][rows[parent]] = pixels.reshape(height, width)
    return masks, sizes


def _frames(lists: pa.ListArray, shown: np.ndarray) -> tuple[dict[str, list[bytes]], dict[str, tuple[int, int]]]:
    structs = lists.flatten()
    frames: dict[str, list[bytes]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for key, height, width, file in zip(
        *(structs.field(name).to_pylist() for name in ("geometry", "height", "width", "jpeg"))
    ):
        frames.setdefault(key, []).append(file)
        sizes[key] = (height, width)
    return frames, sizes
