"""Evidence survives its way through Arrow and Parquet to the bit, whatever the images were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from das_explain.errors import DasExplainError
from das_explain.evidence.codec import SCORING_COLUMNS, decode, encode
from das_explain.evidence.shards import SIZE, Shards, shard_count, shard_range
from das_explain.evidence.values import (
    KEPT_CLASSES,
    BlockMaps,
    Evidence,
    Key,
    Photo,
    keep_logits,
)


def evidence_of(statuses: list[str], classes: int = 3, masks: bool = True, seed: int = 0) -> Evidence:
    """Two models that see frames of different sizes; images are as their statuses say."""
    rng = np.random.default_rng(seed)
    photos = [
        Photo(i, f"{i}.png", None if i % 3 == 2 else f"c{i % 3}", status, "", 60, 40, {"prompt": "ein Käfer", "n": [i]})
        for i, status in enumerate(statuses)
    ]
    shown = np.array([i for i, status in enumerate(statuses) if status != "unreadable"], dtype=np.int64)
    n = len(shown)
    sizes = {"small": (8, 9), "large": (16, 12)}
    known = np.array([statuses[i] == "ok" for i in shown], dtype=bool).reshape(n, 1, 1)
    maps, logits = {}, {}
    for model, blocks in (("a", {"l3": (4, 5), "l4": (2, 2)}), ("b", {"l4": (3, 3)})):
        logits[model] = keep_logits(rng.normal(size=(n, classes)).astype(np.float32), rng.integers(0, classes, n))
        for block, side in blocks.items():
            native = rng.random((n, *side), dtype=np.float32)
            if n:
                native[-1] = np.nan
            maps[Key(model, block)] = BlockMaps(native, rng.random(n, dtype=np.float32))
    measured = {(Key("a", "l4"), "insertion"): (rng.random(n), ["ok"] * n)}
    alternatives = {}
    if masks:
        for at, size in (((key, name), size) for key, size in sizes.items() for name in ("sam 1", "first box")):
            alternatives[at] = (rng.random((n, *size)) < 0.5) & known
            alternatives[at][: n // 2] = False  # not every image has it
    return Evidence(
        photos,
        shown,
        {},
        sizes,
        {key: [b"\xff\xd8\xff" + bytes([i, len(key)]) for i in range(n)] for key in sizes},
        {key: (rng.random((n, *size)) < 0.5) & known for key, size in sizes.items()} if masks else {},
        maps if n else {},
        logits if n else {},
        measured if n else {},
        alternatives,
    )


def assert_same(one: Evidence, other: Evidence, *, frames: bool = True) -> None:
    assert one.photos == other.photos
    np.testing.assert_array_equal(one.shown, other.shown)
    assert list(one.maps) == list(other.maps)
    for key, maps in one.maps.items():
        np.testing.assert_array_equal(maps.native, other.maps[key].native)
        np.testing.assert_array_equal(maps.raw_max, other.maps[key].raw_max)
    assert list(one.logits) == list(other.logits)
    for model, logits in one.logits.items():
        for name in ("values", "classes", "log_sum", "target"):
            np.testing.assert_array_equal(getattr(logits, name), getattr(other.logits[model], name))
    for key, masks in one.masks.items():
        if masks.any():
            np.testing.assert_array_equal(masks, other.masks[key])
        else:
            assert not other.masks.get(key, np.zeros(1, bool)).any()
    for at, masks in one.alternatives.items():
        np.testing.assert_array_equal(masks, other.alternatives.get(at, np.zeros_like(masks)))
    for at, (values, status) in one.measured.items():
        np.testing.assert_array_equal(values, other.measured[at][0])
        assert status == other.measured[at][1]
    if frames and len(one.shown):
        assert one.frames == other.frames


STATUSES = st.lists(st.sampled_from(["ok", "ok", "unreadable", "no_mask", "no_object"]), min_size=1, max_size=9)


@settings(max_examples=40, deadline=None)
@given(STATUSES, st.booleans(), st.integers(0, 5))
def test_there_and_back(statuses: list[str], masks: bool, seed: int):
    evidence = evidence_of(statuses, masks=masks, seed=seed)
    assert_same(evidence, decode(encode(evidence)))


@pytest.mark.parametrize("masks", [True, False])
def test_the_evidence_of_one_image_is_its_row(masks: bool):
    evidence = evidence_of(["ok", "unreadable", "no_object", "ok"], masks=masks)
    rows = encode(evidence)
    for row, position in enumerate(evidence.shown):
        # As strings: NaN is not equal to itself.
        assert str(encode(evidence.one(row)).to_pylist()) == str(rows.slice(position, 1).to_pylist())


def test_through_a_file_with_and_without_pictures(tmp_path: Path):
    evidence = evidence_of(["ok", "unreadable", "ok", "no_mask"])
    shards = Shards(tmp_path / "evidence", 4)
    assert shards.missing() == [0]
    shards.write(0, encode(evidence))
    assert shards.missing() == []
    assert_same(evidence, decode(shards.read(0)))
    without = decode(shards.read(0, SCORING_COLUMNS))
    assert without.frames == {}
    assert_same(evidence, without, frames=False)
    first = shards.path(0).read_bytes()
    shards.write(0, encode(evidence))
    assert shards.path(0).read_bytes() == first, "written again it is the same file"
    assert [path.name for path in shards.folder.iterdir()] == ["part-00000.parquet"]


def test_a_shard_from_before_there_were_alternatives_is_whole_and_has_none(tmp_path: Path):
    evidence = evidence_of(["ok", "unreadable", "ok"])
    shards = Shards(tmp_path, 3)
    shards.write(0, encode(evidence).drop_columns(["alternatives"]))
    assert shards.missing() == []
    for columns in (None, SCORING_COLUMNS):
        before = decode(shards.read(0, columns))
        assert before.alternatives == {}
        evidence.alternatives = {}
        assert_same(evidence, before, frames=columns is None)


def test_others_read_it(tmp_path: Path):
    evidence = evidence_of(["ok", "unreadable", "ok"])
    Shards(tmp_path, 3).write(0, encode(evidence))
    table = pd.read_parquet(tmp_path / "part-00000.parquet")
    first = table.loc[0, "maps"][0]
    assert (first["model"], first["block"], first["height"], first["width"]) == ("a", "l3", 4, 5)
    np.testing.assert_array_equal(first["native"], evidence.maps[Key("a", "l3")].native[0].ravel())
    assert len(table.loc[1, "maps"]) == 0
    bits = np.unpackbits(np.frombuffer(table.loc[2, "masks"][0]["bits"], np.uint8), count=8 * 9).reshape(8, 9)
    np.testing.assert_array_equal(bits.astype(bool), evidence.masks["small"][1])


@pytest.mark.parametrize("classes", [3, 1000, 1001, 5000])
def test_logits_of_many_classes(classes: int):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6, classes)).astype(np.float32)
    target = rng.integers(0, classes, 6)
    kept = keep_logits(logits, target)
    assert kept.values.shape[1] == (classes if classes <= 1000 else KEPT_CLASSES + 1)
    np.testing.assert_array_equal(kept.highest, logits.argmax(1))
    wide = logits.astype(np.float64)
    probabilities = np.exp(wide) / np.exp(wide).sum(1, keepdims=True)
    np.testing.assert_allclose(kept.confidence, probabilities.max(1), rtol=1e-9)
    for row in range(6):
        assert target[row] in kept.classes[row]
        assert len(set(kept.classes[row])) == kept.classes.shape[1]
        np.testing.assert_array_equal(kept.values[row], logits[row, kept.classes[row]])
        if classes > 1000:
            best = set(np.argsort(-logits[row])[:KEPT_CLASSES])
            assert best <= set(kept.classes[row])


def test_shards_cover_the_sample_once():
    for count in (0, 1, SIZE - 1, SIZE, SIZE + 1, 5 * SIZE + 3):
        images = [i for number in range(shard_count(count)) for i in shard_range(number, count)]
        assert images == list(range(count))


def test_damaged_files_are_one_line(tmp_path: Path):
    shards = Shards(tmp_path, 3)
    with pytest.raises(DasExplainError, match=r"part-00000\.parquet is missing: run the same sfd command again"):
        shards.read(0)
    table = encode(evidence_of(["ok", "ok", "ok"]))
    shards.write(0, table)
    whole = shards.path(0).read_bytes()
    shards.path(0).write_bytes(whole[: len(whole) // 2])
    assert shards.missing() == [0]
    with pytest.raises(DasExplainError, match="is damaged .*: delete it"):
        shards.read(0)
    shards.write(0, table.slice(0, 2))
    assert shards.missing() == [0], "another number of images"
    pq.write_table(table.drop_columns(["logits"]), shards.path(0))
    assert shards.missing() == [0], "other columns"


def test_a_mask_of_absurd_size_does_not_fill_the_memory():
    table = encode(evidence_of(["ok"]))
    masks = table["masks"].to_pylist()
    masks[0][0]["height"] = 2_000_000
    column = table.schema.field("masks")
    table = table.set_column(table.schema.get_field_index("masks"), column, pa.array(masks, column.type))
    with pytest.raises(DasExplainError, match="the evidence is damaged"):
        decode(table)
