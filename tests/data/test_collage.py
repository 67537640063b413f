"""The embedded photo set: the same bytes everywhere, exact masks, and context that can be learned in train only."""

from __future__ import annotations

import hashlib
import inspect
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from das_explain.data.collage import cutouts
from das_explain.data.collage import scenes as collage
from das_explain.data.collage.images import Collage
from das_explain.data.collage.scenes import CLASSES, KINDS
from das_explain.data.collage.sheet import contact_sheet
from das_explain.errors import DasExplainError, UsageError

ROOT = Path(__file__).parents[2]
DRAWN = [(label, cutout) for label in (*CLASSES, None) for cutout in cutouts.cutouts(label)]


def digest(items: Collage) -> str:
    """A fingerprint of every byte of a set."""
    total = hashlib.sha256()
    for item in items:
        total.update(item.image.tobytes() + item.mask.tobytes() + item.label.encode() + item.background.encode())
    return total.hexdigest()


def fresh_process(program: str) -> str:
    """Run a program in an interpreter of its own and return what it printed."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_same_bytes_twice_pickled_and_in_a_fresh_process() -> None:
    items = Collage(12, "train", seed=5)
    first = digest(items)
    assert digest(pickle.loads(pickle.dumps(items))) == first
    program = (
        "import hashlib; from das_explain.data.collage.images import Collage\n"
        f"{inspect.getsource(digest)}\n"
        "print(digest(Collage(12, 'train', seed=5)))"
    )
    assert fresh_process(program).strip() == first


def test_an_image_does_not_depend_on_count_or_order() -> None:
    few, many = Collage(4), Collage(5000)
    many[4321]
    for index in (3, 0):
        assert np.array_equal(few[index].image, many[index].image)
        assert few.label(index) == many.label(index)
    assert np.array_equal(few[-1].image, few[3].image)
    with pytest.raises(IndexError):
        few[4]
    assert len(few) == len(list(few)) == 4


@pytest.mark.parametrize("size", [(240, 320), (224, 224), (48, 64), (700, 500)])
def test_shapes_types_and_names(size: tuple[int, int]) -> None:
    items = Collage(20, size=size)
    item = items[12]
    assert (item.image.shape, item.image.dtype) == ((*size, 3), np.uint8)
    assert (item.mask.shape, item.mask.dtype) == (size, np.bool_)
    assert (item.label, item.background) == (items.label(12), items.background(12))
    assert items.name(12) == "collage/test/00012.png"


def test_classes_are_many_and_balanced() -> None:
    assert min(len(CLASSES), len(KINDS)) >= 8
    assert list(CLASSES) == sorted(CLASSES)
    items = Collage(len(CLASSES) * 20)
    assert set(Counter(items.label(index) for index in range(len(items))).values()) == {20}
    labels = [items.label(index) for index in range(len(items))]
    assert len({tuple(labels[start : start + len(CLASSES)]) for start in range(0, len(items), len(CLASSES))}) > 10, (
        "the order of the classes must not repeat"
    )


def test_train_test_and_seeds_share_nothing() -> None:
    sets = [Collage(9, "train"), Collage(9, "test"), Collage(9, "train", seed=1), Collage(9, "test", seed=1)]
    images = [item.image.tobytes() for items in sets for item in items]
    assert len(set(images)) == len(images)


def share_at_home(items: Collage) -> float:
    return float(np.mean([items.background(i) == collage.HABITS[items.label(i)].home for i in range(len(items))]))


def test_context_is_learnable_in_train_only() -> None:
    count = 3600
    assert share_at_home(Collage(count, "train")) == pytest.approx(0.9 + 0.1 / len(KINDS), abs=0.02)
    assert share_at_home(Collage(count, "train", context=1.0)) == 1.0
    assert share_at_home(Collage(count, "train", context=0.0)) == pytest.approx(1 / len(KINDS), abs=0.02)
    assert share_at_home(Collage(count, "test")) == pytest.approx(1 / len(KINDS), abs=0.02)
    assert len({habit.home for habit in collage.HABITS.values()}) == len(CLASSES), "every class has a home of its own"


def test_test_backgrounds_are_independent_of_the_class() -> None:
    items = Collage(3600)
    counts = Counter((items.label(index), items.background(index)) for index in range(len(items)))
    table = np.array([[counts[label, kind] for kind in KINDS] for label in CLASSES], float)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    freedom = (len(CLASSES) - 1) * (len(KINDS) - 1)
    # The 0.999 quantile of chi-square by Wilson and Hilferty.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
    assert ((table - expected) ** 2 / expected).sum() < limit


def test_masks_are_of_sensible_size_and_the_object_is_visible() -> None:
    items = Collage(len(CLASSES) * 12, "test", seed=2)
    centres = []
    for index in range(len(items)):
        stream = items._stream(2, index)
        image, mask, visible = collage.compose(items.label(index), items.background(index), 240, 320, stream)
        assert 0.045 <= mask.mean() <= 0.42, items.name(index)
        assert 0.7 <= visible <= 1.02, items.name(index)
        assert image.std() > 5
        centres.append(np.argwhere(mask).mean(0))
    assert np.std(centres, axis=0).min() > 20, "objects must not always stand in the middle"


def test_mask_is_exactly_what_the_object_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Painted black and left out: away from soft edges the two images differ on the mask and nowhere else."""
    monkeypatch.setattr(collage, "_develop", lambda scene, rng: scene.clip(0, 255).astype(np.uint8))
    monkeypatch.setattr(collage, "_shade", lambda *_: None)
    monkeypatch.setattr(collage, "_distract", lambda *_: None)
    results = []
    for ours in (0, 255):

        def paint(scene: np.ndarray, layer: collage.Layer, rng: np.random.Generator, ours: int = ours) -> None:
            scene[layer[2]] += layer[1][..., None] * (ours - scene[layer[2]])

        monkeypatch.setattr(collage, "_paste", paint)
        items = Collage(len(CLASSES) * 2, seed=3)
        results.append([items[index] for index in range(len(items))])
    for black, white in zip(*results):
        assert np.array_equal(black.mask, white.mask)
        coverage = (white.image.astype(float) - black.image).mean(2) / 255
        assert np.array_equal(coverage[np.abs(coverage - 0.5) > 0.01] > 0.5, black.mask[np.abs(coverage - 0.5) > 0.01])


def test_a_distractor_takes_what_it_hides_from_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[np.ndarray] = []
    monkeypatch.setattr(collage, "_paste", lambda scene, layer, rng: painted.append(layer))
    hidden = 0
    for seed in range(60):
        scene, mask = np.zeros((240, 320, 3), np.float32), np.zeros((240, 320), bool)
        mask[60:220, 80:240] = True
        collage._distract(scene, mask, 80, 1.0, np.random.default_rng(seed))
        lost = 160 * 160 - mask.sum()
        assert lost <= 0.1 * 160 * 160
        hidden += lost > 0
        if painted:
            _, alpha, window = painted.pop()
            assert not (mask[window] & (alpha >= 0.5)).any()
    assert hidden > 5


@pytest.mark.parametrize(("label", "cutout"), DRAWN, ids=[f"{label}-{cutout.photo}" for label, cutout in DRAWN])
def test_outlines_are_simple_polygons_inside_their_photograph(label: str | None, cutout: cutouts.Cutout) -> None:
    height, width = cutouts.photograph(cutout.photo).shape[:2]
    outer, *holes = cutout.rings
    for ring in cutout.rings:
        assert len(ring) >= 3
        assert ((ring >= 0) & (ring <= [width, height])).all()
        assert cv2.contourArea(ring) > 20
        assert not crossings(ring), "the outline crosses itself"
    for hole in holes:
        assert all(cv2.pointPolygonTest(outer, (float(x), float(y)), False) > 0 for x, y in hole)
    drawn = cv2.contourArea(outer) - sum(cv2.contourArea(hole) for hole in holes)
    # OpenCV fills the border's own pixels too: half a pixel of the four times finer drawing.
    assert cutout.area == pytest.approx(drawn, abs=0.15 * sum(cv2.arcLength(ring, True) for ring in cutout.rings) + 1)


def crossings(ring: np.ndarray) -> int:
    """How many pairs of edges cross properly, by the signs of the four triangles."""
    start, end = ring.astype(float), np.roll(ring, -1, axis=0).astype(float)

    def side(points: np.ndarray) -> np.ndarray:  # [edge, point]
        along, towards = (end - start)[:, None], points[None] - start[:, None]
        return np.sign(along[..., 0] * towards[..., 1] - along[..., 1] * towards[..., 0])

    straddles = side(start) * side(end) < 0
    return int((straddles & straddles.T).sum() // 2)


def test_crossings_counts() -> None:
    assert crossings(np.array([[0, 0], [4, 0], [4, 4], [0, 4]])) == 0
    assert crossings(np.array([[0, 0], [4, 4], [4, 0], [0, 4]])) == 1


def test_backgrounds_avoid_the_objects() -> None:
    outlines = {(cutout.photo, tuple(cutout.rings[0].ravel())): cutout for label, cutout in DRAWN if label}
    for name, surface in cutouts.DRAWING["surfaces"].items():
        x0, y0, x1, y1 = surface["area"]
        height, width = cutouts.photograph(surface["photo"]).shape[:2]
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        for cutout in outlines.values():
            if cutout.photo == surface["photo"]:
                ring = np.round(cutout.rings[0]).astype(np.int32)
                assert not cv2.fillPoly(np.zeros((height, width), np.uint8), [ring], 1)[y0:y1, x0:x1].any(), name


def test_every_scene_is_drawn() -> None:
    for scenes in cutouts.DRAWING["scenes"].values():
        assert {name for scene in scenes for name in scene if name} <= set(cutouts.DRAWING["surfaces"])
    assert {habit.home for habit in collage.HABITS.values()} <= set(KINDS)
    assert all(any(scene[1] for scene in cutouts.DRAWING["scenes"][kind]) for kind in collage._AIR)


def test_sources_ship_with_the_wheels_and_nothing_is_fetched() -> None:
    program = (
        "import socket, sys, das_explain\n"
        "socket.socket.connect = None  # a download would fail\n"
        "before = set(sys.modules)\n"
        "from das_explain.data.collage import cutouts, images\n"
        "images.Collage(2)[0], [cutouts.cutouts(label) for label in (*images.CLASSES, None)]\n"
        "assert not {'pooch', 'skimage', 'sklearn', 'torch'} & (set(sys.modules) - before)\n"
    )
    fresh_process(program)
    photos = {c.photo for _, c in DRAWN} | {surface["photo"] for surface in cutouts.DRAWING["surfaces"].values()}
    for photo in photos:
        path = cutouts.source_path(photo).as_posix()
        assert "/skimage/data/" in path or "/sklearn/datasets/images/" in path


def test_a_missing_package_is_named_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutouts, "find_spec", lambda name: None)
    for photo, package in (("coffee.png", "scikit-image"), ("china.jpg", "scikit-learn")):
        with pytest.raises(DasExplainError, match=f"pip install {package}$") as raised:
            cutouts.source_path(photo)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "arguments", [{"split": "validation"}, {"count": -1}, {"seed": -1}, {"size": (16, 320)}, {"context": 1.5}]
)
def test_wrong_requests_are_refused(arguments: dict) -> None:
    with pytest.raises(UsageError):
        Collage(**{"count": 3, **arguments})


def test_contact_sheet_shows_sources_and_samples() -> None:
    sheet = contact_sheet(columns=5, rows=1)
    photos = len({cutout.photo for _, cutout in DRAWN})
    assert sheet.dtype == np.uint8
    assert sheet.shape == (-(-(photos + 5) // 5) * 240, 5 * 320, 3)
