"""Makes the pictures of docs/the-score.md from the demo's data: ``python docs/make_pictures.py``.

With a run of ``das-explain demo`` (100 photos) in ``runs/demo``, the pictures of its scores and readings, too; and with chromium on the
path the README's picture of its report.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from das_explain import Run, load_model, open_dataset, sfd_score
from das_explain.figures.kinds import FigureOptions, draw
from das_explain.nulls import NULLS

DOCS = Path(__file__).parent
PICTURES = DOCS / "pictures"
OBJECT, SALIENT, BOX = "#ffffff", "#f0e442", "#00bfff"  # R's outline, the contour at tau, B
PHOTOS = (5, 7, 0, 11)  # of collage:12; the first is the one that is explained
TAU = 0.3


def main() -> None:
    """All pictures that can be made here."""
    PICTURES.mkdir(exist_ok=True)
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9, "savefig.dpi": 130})
    frames, masks, maps = explained()
    draw_parts(frames[0], masks[0], maps[0])
    draw_nulls(frames[0], masks, maps)
    run = Path("runs/demo")
    if (run / "run.json").is_file():
        draw_scores(Run.open(run))
        draw_readings(Run.open(run))
        photograph(run / "report" / "index.html")


def explained() -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Frames uint8 (N, H, W, 3), masks bool and block 3's maps float32 (N, H, W) of ``PHOTOS``, by the shipped DAS network."""
    model, data = load_model("collage-das-resnet18", device="cpu"), open_dataset("collage:12")
    samples = [data.samples[index] for index in PHOTOS]
    photos = [data.read(sample) for sample in samples]
    explanation = model.explain(photos, [sample.label for sample in samples], "layer3")
    geometry = model.preprocess.geometry
    masks = [
        geometry.frame_mask(data.read_mask(sample, photo.size).mask)
        for sample, photo in zip(samples, photos, strict=True)
    ]
    return explanation.frames, torch.from_numpy(np.stack(masks)), explanation.cams["layer3"].map


def draw_parts(frame: np.ndarray, mask: torch.Tensor, weights: torch.Tensor) -> None:
    """The photo, the map, and what the score makes of them."""
    score = sfd_score(weights[None], mask[None], threshold=TAU)
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.4), layout="constrained")
    axes[0].imshow(frame)
    axes[0].set_title("the frame; white: R, the object")
    show_map(axes[1], frame, weights)
    axes[1].contour(weights, [TAU], colors=[SALIENT], linewidths=1.6)
    axes[1].set_title(f"the map; yellow: tau, weight {TAU}")
    show_map(axes[2], frame, weights)
    draw_box(axes[2], score.box[0].tolist())
    axes[2].set_title(
        f"blue: B, around white and yellow\nW_r {score.w_r[0]:.2f}, W_n {score.w_n[0]:.2f}: sfd {score.sfd[0]:.2f}"
    )
    for axis in axes:
        axis.contour(mask, [0.5], colors=[OBJECT], linewidths=1.6)
        axis.axis("off")
    save(figure, "parts")


def draw_nulls(frame: np.ndarray, masks: torch.Tensor, maps: torch.Tensor) -> None:
    """The photo's own map beside maps that know nothing of it, each with its score."""
    partner = torch.arange(1, len(maps) + 1) % len(maps)
    shown = {"its own map": maps[0]}
    for name in ("shuffled", "centre", "uniform"):
        shown[NULLS[name].title] = NULLS[name].make(maps, masks, partner)[0]
    figure, axes = plt.subplots(1, len(shown), figsize=(8.4, 2.6), layout="constrained")
    for axis, (title, weights) in zip(axes, shown.items(), strict=True):
        score = sfd_score(weights[None], masks[:1], threshold=TAU)
        show_map(axis, frame, weights)
        axis.contour(masks[0], [0.5], colors=[OBJECT], linewidths=1.6)
        draw_box(axis, score.box[0].tolist())
        axis.set_title(f"{title}\nsfd {score.sfd[0]:.2f}")
        axis.axis("off")
    save(figure, "nulls")


def draw_scores(run: Run) -> None:
    """Each photo's score beside that of another photo's map on the same object."""
    scores = run.table("scores")
    nulls = run.table("nulls").query("null == 'shuffled' and measure == 'sfd'")
    keys = ["image", "model", "block"]
    both = scores.merge(nulls[[*keys, "value"]], on=keys).dropna(subset=["sfd", "value"])
    blocks = list(dict.fromkeys(both["block"]))
    figure, axes = plt.subplots(1, len(blocks), figsize=(8.4, 3.6), sharey=True, layout="constrained")
    for axis, block in zip(axes, blocks, strict=True):
        for model, colour, marker in zip(run.models, ("#0072b2", "#d55e00"), "o^", strict=True):
            part = both[(both["block"] == block) & (both["model"] == model)]
            lift = (part["sfd"] - part["value"]).mean()
            label = f"{model}: mean sfd {part['sfd'].mean():.2f}, lift {lift:+.2f}"
            axis.scatter(part["value"], part["sfd"], 14, colour, marker=marker, alpha=0.6, linewidths=0, label=label)
        axis.axline((0, 0), slope=1, color="0.5", linewidth=1)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=block, xlabel="sfd of another photo's map")
        axis.legend(loc="lower right", fontsize=8)
    axes[0].set_ylabel("sfd of the photo's own map")
    save(figure, "scores")


def draw_readings(run: Run) -> None:
    """The difference in every reading, as ``das-explain figure --kind readings`` draws it."""
    ((_, figure),) = draw(run, "readings", FigureOptions(width=6))
    save(figure, "readings")


def show_map(axis: Axes, frame: np.ndarray, weights: torch.Tensor) -> None:
    """A map over the frame."""
    axis.imshow(frame)
    axis.imshow(weights, cmap="jet", alpha=0.5, vmin=0, vmax=1)


def draw_box(axis: Axes, box: list[int]) -> None:
    """B, from its edges xyxy."""
    x0, y0, x1, y1 = box
    axis.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=BOX, linewidth=2.4))


def save(figure: plt.Figure, name: str) -> None:
    """One picture, written and closed."""
    figure.savefig(PICTURES / f"{name}.jpg", dpi=130, pil_kwargs={"quality": 85})
    plt.close(figure)


def photograph(page: Path) -> None:
    """The top of a report as docs/report.jpg."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or not page.is_file():
        return
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
        where = [f"--user-data-dir={folder}/profile", "--window-size=1200,1240", f"--screenshot={shot}"]
        subprocess.run([chromium, *flags, *where, page.resolve().as_uri()], check=True, capture_output=True)
        picture = Image.open(shot).convert("RGB")
    picture.thumbnail((1000, 1100), Image.Resampling.LANCZOS)
    picture.save(DOCS / "report.jpg", quality=80)


if __name__ == "__main__":
    main()
