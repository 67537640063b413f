"""One scene of the embedded photo set: a cut-out of `cutouts` set before a background, with distractors and one camera.

The mask is exact because the image is made from the cut-out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

from das_explain.data.collage.cutouts import DRAWING, Cutout, cutouts, photograph


@dataclass(frozen=True)
class _Habit:
    """How a thing stands in a scene: home background, place, share of the frame's area, tilt in degrees, duotone."""

    home: str
    place: Literal["stand", "fly", "rise", "hang"]  # on the ground; anywhere; out of the lower border; from the upper
    share: tuple[float, float]
    tilt: float
    tone: str | None = None


HABITS = {  # the cut-outs that "rise" or "hang" end at the border of their photograph, so they must end at ours
    "astronaut": _Habit("space", "rise", (0.10, 0.40), 7),
    "cat": _Habit("brick", "hang", (0.09, 0.36), 7),
    "coin": _Habit("paper", "stand", (0.06, 0.18), 180, "coin"),
    "cup": _Habit("wood", "stand", (0.07, 0.36), 10),
    "flower": _Habit("foliage", "stand", (0.07, 0.38), 180),
    "motorcycle": _Habit("garage", "stand", (0.09, 0.38), 6),
    "photographer": _Habit("grass", "rise", (0.10, 0.38), 6, "photographer"),
    "rocket": _Habit("sky", "fly", (0.07, 0.22), 55),
    "temple": _Habit("gravel", "stand", (0.08, 0.36), 5),
}
CLASSES: tuple[str, ...] = tuple(sorted(HABITS))
KINDS: tuple[str, ...] = tuple(sorted(DRAWING["scenes"]))
_AIR = ("sky", "space")


@cache
def _grain() -> np.ndarray:
    """Film grain to cut from, float32 (600, 800), slightly soft, standard deviation about 1."""
    noise = np.random.default_rng(7).standard_normal((600, 800), dtype=np.float32)
    return cv2.GaussianBlur(noise, (3, 3), 0.6) * 1.7


def _tone(pixels: np.ndarray, tone: str | None, rng: np.random.Generator) -> np.ndarray:
    """Shift the colour balance a little; lay a random duotone of this name over a grey photograph. uint8 in, uint8 out.

    Each name has several duotones (colours at luminance 0, 1/3, 2/3, 1), so that a colour gives no class away.
    """
    balance = rng.uniform(0.95, 1.05, 3)
    knots = np.array([0, 85, 170, 255.0])
    colours = np.stack([knots] * 3, 1)
    if tone is not None:
        colours = np.array(DRAWING["tones"][tone][rng.integers(len(DRAWING["tones"][tone]))], float)
    ramp = np.stack([np.interp(np.arange(256), knots, colours[:, c]) * balance[c] for c in range(3)], 1)
    return cv2.LUT(pixels, np.clip(ramp, 0, 255).astype(np.uint8)[None])


def _fill(name: str, height: int, width: int, least: float, rng: np.random.Generator) -> np.ndarray:
    """A random crop, at least this part of the surface, toned and mirrored at random, uint8 (height, width, 3)."""
    surface = DRAWING["surfaces"][name]
    x0, y0, x1, y1 = surface["area"]
    piece = np.rot90(photograph(surface["photo"])[y0:y1, x0:x1], surface.get("turn", 0))
    aspect = width / height * rng.uniform(0.8, 1.25)
    h = min(piece.shape[0], piece.shape[1] / aspect) * rng.uniform(least, 1.0)
    w = min(h * aspect, piece.shape[1])
    top, left = int(rng.uniform(0, piece.shape[0] - h)), int(rng.uniform(0, piece.shape[1] - w))
    piece = piece[top : top + max(int(h), 2), left : left + max(int(w), 2)]
    piece = np.ascontiguousarray(piece[:, ::-1] if rng.random() < 0.5 else piece)
    shrinks = piece.shape[0] > height and piece.shape[1] > width
    piece = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return _tone(piece, surface.get("tone"), rng)


def _background(kind: str, stands: bool, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """A scene of this kind, uint8 (height, width, 3), and the row of its horizon (0 when it has no ground)."""
    needs_ground = stands and kind in _AIR
    scenes = [scene for scene in DRAWING["scenes"][kind] if scene[1] or not needs_ground]
    upper, ground = scenes[rng.integers(len(scenes))]
    if ground is None:
        return cv2.GaussianBlur(_fill(upper, height, width, 0.55, rng), (0, 0), rng.uniform(0.4, 1.1)), 0
    horizon = int(height * rng.uniform(0.3, 0.62))
    scene = np.empty((height, width, 3), np.uint8)
    # The upper part is far away, so it is out of focus; the ground recedes, and its far end is out of focus too.
    scene[:horizon] = cv2.GaussianBlur(_fill(upper, horizon, width, 0.7, rng), (0, 0), rng.uniform(0.7, 1.8))
    texture = _fill(ground, height, int(width * 1.6), 0.75, rng)
    right, depth, spread = texture.shape[1], height - horizon, rng.uniform(0.5, 1.1) * width
    corners = np.array([[0, 0], [right, 0], [right, height], [0, height]], np.float32)
    seen = np.array([[-0.05 * width, 0], [1.05 * width, 0], [width + spread, depth], [-spread, depth]], np.float32)
    view = cv2.getPerspectiveTransform(corners, seen)
    near = cv2.warpPerspective(texture, view, (width, depth), borderMode=cv2.BORDER_REFLECT)
    far = cv2.GaussianBlur(near, (5, 5), 1.4)
    farness = np.linspace(1, -0.6, depth, dtype=np.float32).clip(0)[:, None, None]
    scene[horizon:] = near + (far.astype(np.float32) - near) * farness
    seam = slice(max(horizon - 5, 0), horizon + 5)
    scene[seam] = cv2.GaussianBlur(scene[seam], (1, 7), 2)
    return scene, horizon


def _linear(scale: float, degrees: float, mirror: bool) -> np.ndarray:
    """Mirror, rotation and scale, float64 (2, 2)."""
    c, s = np.cos(np.deg2rad(degrees)) * scale, np.sin(np.deg2rad(degrees)) * scale
    return np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])


def _place(
    cutout: Cutout, habit: _Habit, horizon: int, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """The affine map, float64 (2, 3), from the photograph to the frame, both in continuous coordinates."""
    scale = np.sqrt(np.exp(rng.uniform(*np.log(habit.share))) * height * width / cutout.area)
    turn, mirror = rng.uniform(-habit.tilt, habit.tilt), rng.random() < 0.5
    outline = cutout.rings[0].astype(np.float64)
    extent = np.ptp(outline @ _linear(1, turn, mirror).T, axis=0)
    cropped = habit.place in ("rise", "hang")
    scale = min(scale, 1.08 * width / extent[0], (1.2 if cropped else 1.02) * height / extent[1])
    linear = _linear(scale, turn, mirror)
    points = outline @ linear.T
    low = points.min(0)
    w, h = points.max(0) - low
    out = 0.12 * w  # how far it may leave the frame at either side
    x = rng.uniform(-out, width - w + out) if w < width + out else (width - w) / 2
    if cropped:  # the cut edge, wherever the tilt puts its ends, lies beyond the border
        y_photo, margin = outline[:, 1], np.ptp(outline[:, 1]) * 0.01
        bottom = habit.place == "rise"
        ends = points[y_photo > y_photo.max() - margin if bottom else y_photo < y_photo.min() + margin, 1]
        over = rng.uniform(0.5, 0.06 * h)
        y = height + over - (ends.min() - low[1]) if bottom else -over - (ends.max() - low[1])
    elif habit.place == "stand" and horizon:  # feet on the ground, below the horizon
        y = rng.uniform(min(horizon + 0.12 * height, height - 2), height + 0.02 * height) - h
    else:
        out = 0.1 * h
        y = rng.uniform(-out, height - h + out) if h < height else (height - h) / 2
    return np.column_stack([linear, np.array([x, y]) - low])


# Colour uint8 (h, w, 3), coverage float32 (h, w) in [0, 1], and the window (rows, columns) of the frame they fill.
Layer = tuple[np.ndarray, np.ndarray, tuple[slice, slice]]


def _warp(cutout: Cutout, matrix: np.ndarray, height: int, width: int) -> Layer:
    """The cut-out in the frame, as a layer over the window of the frame that it fills."""
    points = cutout.rings[0] @ matrix[:, :2].T + matrix[:, 2]
    x0, y0 = np.clip(np.floor(points.min(0)).astype(int) - 3, 0, [width - 2, height - 2])
    x1, y1 = np.clip(np.ceil(points.max(0)).astype(int) + 3, [x0 + 1, y0 + 1], [width, height])
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    halvings = int(np.clip(np.floor(-np.log2(scale) + 0.35), 0, len(cutout.levels) - 1))
    step = 2.0**halvings  # a level's pixel u is centred at (u + 0.5) * step + origin, a frame's pixel v at v + 0.5
    offset = matrix[:, :2] @ (np.array(cutout.origin) + 0.5 * step) + matrix[:, 2] - 0.5 - [x0, y0]
    affine = np.column_stack([matrix[:, :2] * step, offset])
    layer = cv2.warpAffine(cutout.levels[halvings], affine, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    alpha = cv2.GaussianBlur(layer[..., 3], (3, 3), 0.7).astype(np.float32) / 255
    return cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR), alpha, (slice(int(y0), int(y1)), slice(int(x0), int(x1)))


def _shade(scene: np.ndarray, layer: Layer, lies: bool, strength: float, sun: float) -> None:
    """Darken the float32 scene in place by the layer's shadow, computed at a quarter of the resolution."""
    height, width = scene.shape[:2]
    full = np.zeros((height, width), np.float32)
    full[layer[2]] = layer[1]
    small = cv2.resize(full, (width // 4, height // 4), interpolation=cv2.INTER_AREA)

    def move(x_of_y: float, x: float, y_of_y: float, y: float, blur: float) -> np.ndarray:
        affine = np.array([[1, x_of_y, x], [0, y_of_y, y]], np.float32)
        return cv2.GaussianBlur(cv2.warpAffine(small, affine, (width // 4, height // 4)), (0, 0), blur)

    if lies:  # on the ground: flattened towards the foot, sheared away from the light, darkest where they touch
        foot = layer[2][0].stop / 4 - 1
        cast = move(-0.45 * sun, 0.45 * sun * foot, 0.22, foot * 0.78, 1.6)
        shadow = np.maximum(cast * 0.8, move(0, 0, 0.08, foot * 0.92 + 0.7, 1.0))
    else:
        shadow = move(0, 1.6 * sun, 1, 1.4, 1.8)
    scene *= 1 - strength * cv2.resize(shadow, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]


def _paste(scene: np.ndarray, layer: Layer, rng: np.random.Generator) -> None:
    """Blend the layer, its light and colour drawn towards the scene's, into the float32 scene in place."""
    colour, alpha, window = layer
    ours = np.array(cv2.mean(colour, (alpha > 0.5).astype(np.uint8))[:3], np.float32) + 8
    around = np.array(cv2.mean(scene)[:3], np.float32) + 8
    cast = np.clip((around / around.mean()) ** 0.2, 0.85, 1.12)
    light = np.clip((around.mean() / ours.mean()) ** 0.25, 0.82, 1.2) * rng.uniform(0.9, 1.15)
    contrast = rng.uniform(0.88, 1.05)
    gain = (cast * light * contrast).astype(np.float32)
    lift = (ours * cast * light * (1 - contrast)).astype(np.float32)
    scene[window] += alpha[..., None] * (colour * gain + lift - scene[window])


def _distract(scene: np.ndarray, mask: np.ndarray, horizon: int, sun: float, rng: np.random.Generator) -> None:
    """Put a small thing of no class into the scene. The mask loses what it hides, at most a tenth."""
    height, width = mask.shape
    thing = cutouts(None)[rng.integers(len(cutouts(None)))]
    habit = _Habit("", "stand", (0.008, 0.03), 8 if horizon else 40)
    colour, alpha, window = _warp(thing, _place(thing, habit, horizon, height, width, rng), height, width)
    if thing.photo in ("page.png", "text.png"):
        colour = _tone(colour, "paper", rng)
    if ((alpha >= 0.5) & mask[window]).sum() > mask.sum() / 10:
        return
    _shade(scene, (colour, alpha, window), bool(horizon), 0.45, sun)
    _paste(scene, (colour, alpha, window), rng)
    mask[window] &= alpha < 0.5


def _develop(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One camera for all: uneven light, slight blur and grain over the float32 scene, to uint8."""
    height, width = scene.shape[:2]
    y, x = np.mgrid[-1:1:8j, -1:1:8j].astype(np.float32)
    light = rng.uniform(0.9, 1.12) + rng.uniform(-0.14, 0.14) * x + rng.uniform(-0.14, 0.14) * y
    light -= rng.uniform(0, 0.13) * (x * x + y * y)
    scene *= cv2.resize(light.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    if rng.random() < 0.6:
        scene = cv2.GaussianBlur(scene, (3, 3), rng.uniform(0.3, 0.7))
    grain = np.tile(_grain(), (-(-(height + 300) // 600), -(-(width + 400) // 800)))
    top, left = rng.integers(300), rng.integers(400)
    scene += (grain[top : top + height, left : left + width] * rng.uniform(1.0, 3.2))[..., None]
    return np.clip(scene, 0, 255).astype(np.uint8)


def compose(
    label: str, kind: str, height: int, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """One scene: image uint8 (H, W, 3), mask bool (H, W) of the object's visible pixels, its visible fraction."""
    habit, variants = HABITS[label], cutouts(label)
    background, horizon = _background(kind, habit.place == "stand", height, width, rng)
    scene, mask, sun = background.astype(np.float32), np.zeros((height, width), bool), rng.choice([-1.0, 1.0])
    behind, before = (rng.random(2) < (0.35, 0.45)) & (horizon > 0 or kind not in _AIR)
    if behind:
        _distract(scene, mask, horizon, sun, rng)
    cutout = variants[rng.integers(len(variants))]
    for _ in range(8):  # a place with four fifths inside the frame; nearly always the first
        matrix = _place(cutout, habit, horizon, height, width, rng)
        colour, alpha, window = _warp(cutout, matrix, height, width)
        whole = cutout.area * abs(np.linalg.det(matrix[:, :2]))
        if (alpha >= 0.5).sum() >= 0.8 * whole:
            break
    if not (habit.place == "fly" and kind in _AIR):
        # What leans into the frame does not touch the ground: its shadow falls faintly behind it.
        leans = habit.place in ("rise", "hang")
        lies = horizon > 0 and not leans
        _shade(scene, (colour, alpha, window), lies, rng.uniform(0.3, 0.6) * (0.5 if leans else 1), sun)
    if habit.tone:
        colour = _tone(colour, habit.tone, rng)
    _paste(scene, (colour, alpha, window), rng)
    mask[window] = alpha >= 0.5
    if before:
        _distract(scene, mask, horizon, sun, rng)
    return _develop(scene, rng), mask, float(mask.sum() / whole)
