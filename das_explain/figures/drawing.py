"""What all figures share: sizes, colours, panels, and how a figure is written.

Every figure is a `matplotlib.figure.Figure` of one or two paper columns' width (3.5 or 7.16 inches, text 6 to 8 points)
that touches no pyplot state; `save` writes it as PNG (300 dpi) and PDF. Names from data (classes, models, files) are
shown as they are: no mathtext, control characters escaped, the middle of too long ones cut out. Lines and points use the
colour-blind-safe palette of Okabe and Ito; maps run from blue (0) to red (1).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from das_explain.cam import colours
from das_explain.errors import DasExplainError
from das_explain.figures.lettering import fit, inches, plain
from das_explain.measures import MEASURES

COLUMN, PAGE = 3.5, 7.16  # inches: one column, two columns
DPI = 300
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P")
HEAT = ListedColormap(colours.HEAT / 255, "heat")
SMALL, TEXT = 6.0, 7.0  # points
GREY = "#666666"
MANY = 1000  # points from which on they are drawn as pixels inside the vector file
HALO = [withStroke(linewidth=1.8, foreground="black")]
CLEAR = [withStroke(linewidth=1.5, foreground="white")]
DASHES = (
    ("black", 1.8, "-"),
    ("white", 0.9, (0, (3, 2))),
)  # a dashed line that shows on any ground: colour, points, style


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write ``stem.png`` (300 dpi) and ``stem.pdf`` (vectors, embedded fonts, no time stamp); returns both paths."""
    stem = Path(stem)
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".pdf")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box is drawn in its place
            figure.savefig(paths[0], dpi=DPI, pil_kwargs={"compress_level": 3})
            figure.savefig(paths[1], dpi=DPI, metadata={"CreationDate": None})
    except OSError as error:
        raise DasExplainError(
            f"cannot write the figure {stem}: {error.strerror or error}; choose another --out"
        ) from None
    return paths


def block_panels(
    blocks: list[str], models: list[str], row_inches: float, legend: bool = False
) -> tuple[Figure, list[Axes]]:
    """One panel per block, titled; models from top to bottom at y = 0, 1, ..., named at the left."""
    if not blocks:
        raise DasExplainError("there is nothing to draw: the table has no rows")
    lines, columns, page = grid(len(blocks))
    names = [fit(model, 0.3 * COLUMN, TEXT) for model in models]
    left = max(inches(name, TEXT) for name in names) + 0.1
    right, gap, above, below = 0.1, 0.14, 0.2, 0.34
    wide = (page - left - right - (columns - 1) * gap) / columns
    high = row_inches * len(models)
    total = lines * (high + above + below) + (0.2 if legend else 0)
    figure, panels = Figure(figsize=(page, total), dpi=DPI), []
    for index, block in enumerate(blocks):
        line, column = divmod(index, columns)
        x, y = left + column * (wide + gap), total - line * (high + above + below) - above - high
        panel = figure.add_axes((x / page, y / total, wide / page, high / total))
        panel.set_title(fit(block, wide, TEXT), size=TEXT, pad=3, **plain())
        panel.set_ylim(len(models) - 0.5, -0.55)
        tidy(panel)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(models)), names if column == 0 else [""] * len(names), size=TEXT, **plain())
        panels.append(panel)
    return figure, panels


def grid(panels: int) -> tuple[int, int, float]:
    """Lines and columns for so many panels, at most four a line, and the figure's width in inches."""
    lines = -(-panels // 4)
    columns = -(-panels // lines)
    return lines, columns, COLUMN if columns <= 2 else PAGE


def tidy(panel: Axes) -> None:
    panel.tick_params(labelsize=SMALL, length=2, width=0.5, pad=1.5)
    for side, spine in panel.spines.items():
        spine.set(linewidth=0.5, visible=side in ("left", "bottom"))


def title_of(measure: str) -> str:
    """What a measure is called on an axis."""
    return MEASURES[measure].title if measure in MEASURES else measure


def range_of(measure: str, values: np.ndarray) -> tuple[float, float]:
    """From where to where an axis of a measure runs: its bounds, where they are finite, else around the values."""
    low, high = MEASURES[measure].bounds if measure in MEASURES else (-np.inf, np.inf)
    values = values[np.isfinite(values)]
    least, most = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.05 * (most - least) or 0.5
    return low if np.isfinite(low) else least - margin, high if np.isfinite(high) else most + margin


def value_ticks(panel: Axes, low: float, high: float, *, across: bool = True, named: bool = True) -> None:
    """Few ticks along an axis from ``low`` to ``high``: its ends and its middle where it runs from 0 to 1."""
    axis = panel.xaxis if across else panel.yaxis
    if (low, high) == (0, 1):
        axis.set_ticks([0, 0.5, 1], ["0", "0.5", "1"] if named else [""] * 3)
    else:
        axis.set_major_locator(MaxNLocator(4, prune="both"))
        axis.set_tick_params(labelleft=named, labelbottom=named)


def show_photo(panel: Axes, pixels: np.ndarray, mask: np.ndarray | None) -> None:
    """A frame uint8 (H, W, 3) with the outline of a mask bool (H, W)."""
    height, width = pixels.shape[:2]
    panel.imshow(pixels, interpolation="lanczos" if max(height, width) < 400 else "antialiased")
    frame_panel(panel, height, width, mask)


def frame_panel(panel: Axes, height: int, width: int, mask: np.ndarray | None) -> None:
    """The axes of a frame of so many pixels, without ticks, and the outline of a mask bool (height, width) in it."""
    if mask is not None and mask.any():
        framed = np.pad(mask.astype(float), 1)  # so that an object at the frame's edge is outlined there, too
        lines = panel.contour(
            np.arange(-1, width + 1), np.arange(-1, height + 1), framed, levels=[0.5], colors="white", linewidths=0.9
        )
        lines.set_path_effects(HALO)
    panel.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[], anchor="NW")
    for spine in panel.spines.values():
        spine.set_visible(False)
