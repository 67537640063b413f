"""The mask cache, killed at every one of its steps on the disk: a mask is there whole or not at all, and can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from das_explain.segment.cache import MaskCache, clear, export, shelves
from das_explain.types import Region
from tests.kills import every_kill

MASKS = {f"{number}{number}" * 32: np.random.default_rng(number).random((9, 14)) < 0.4 for number in range(3)}


def cache(root: Path) -> MaskCache:
    return MaskCache({"name": "bright", "weights": "a"}, root)


def fill(root: Path) -> None:
    mine = cache(root)
    mine.prepare()
    for key, mask in MASKS.items():
        mine.store(key, Region(mask, "ok", {"prompt": "dog."}))


def whole_or_absent(root: Path) -> list[str]:
    """The keys that are there."""
    found = {key: cache(root).load(key) for key in MASKS}
    for key, region in found.items():
        assert region is None or np.array_equal(region.mask, MASKS[key])
    return [key for key, region in found.items() if region is not None]


def check_filled(root: Path) -> None:
    fill(root)
    assert whole_or_absent(root) == list(MASKS)
    (shelf,) = shelves(root)
    assert shelf.identity == {"name": "bright", "weights": "a"}
    assert len(list(shelf.entries())) == len(MASKS)


def test_filling_that_was_killed_anywhere_goes_on_with_what_is_there(tmp_path: Path):
    root, seen = tmp_path / "masks", []
    for _ in every_kill(root, lambda: shutil.rmtree(root, ignore_errors=True), lambda: fill(root)):
        seen.append(len(whole_or_absent(root)))
        check_filled(root)
        clear(root=root)
        assert not list(root.rglob("*.p*")), "neither masks nor halves of them"
    assert seen == sorted(seen), "what was there stays there"
    assert {0, 1, 2, 3} == set(seen)


def test_clearing_and_copying_that_were_killed_anywhere_are_done_by_the_same_command(tmp_path: Path):
    root, out = tmp_path / "masks", tmp_path / "out"

    def prepare() -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        fill(root)

    for _ in every_kill(root, prepare, lambda: clear(root=root)):
        whole_or_absent(root)
        clear(root=root)
        assert not list(root.rglob("*"))
        check_filled(root)
    for _ in every_kill(out, prepare, lambda: export(out, root=root)):
        whole_or_absent(out / "masks")
        assert export(out, root=root) == len(MASKS)
        assert whole_or_absent(out / "masks") == list(MASKS)
