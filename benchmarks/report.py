"""The report of a large run: bytes on disk, seconds to build, milliseconds in a browser.

    python benchmarks/report.py                     # 1,000 images, 4 models, 4 blocks of a ResNet at 224 px
    python benchmarks/report.py --images 2500 --models 2 --keep /tmp/large

The run is made up: photos of scikit-image in random crops (as large as other photos in JPEG), maps that are smooth noise
below a ReLU (about half of their pixels are 0, as of a trained network's), random scores. Everything after that is what
a user gets: the report is built as ``das-explain report`` builds it, and opened from disk by a headless Chromium in real
time, in a window of 1280 x 900 pixels.

``first paint``: the browser's own first-contentful-paint. ``cards``: the first page of cards stands in the document.
``maps``: every map in the window is painted. ``sorting``: from the change of the control to the second frame after it.
``slider``: the same for a new threshold, until every card of the page has its new scores. ``frame``: median time between
two frames while the page scrolls by 30 pixels each. ``..., processor``: milliseconds of processor time of the page's
thread, up to the load event and for one sorting, which a busy machine changes least; the others are by the clock. The
page is opened three times; each time is the shortest of the three, since whatever else the machine does only adds to it.
Needs: pip install 'das-explain[test]' and Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data as photos

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from das_explain.report import build_report
from tests.report.browser import CHROMIUM
from tests.report.devtools import tab
from tests.report.synthetic_run import Item, make_run

SIDES = {"layer1": 56, "layer2": 28, "layer3": 14, "layer4": 7}
GOALS = {
    "on disk, MB": 40, "build, s": 10, "first paint, ms": 500, "cards, ms": 800, "sorting, ms": 200, "frame, ms": 17,
}  # fmt: skip
WATCH = """addEventListener("DOMContentLoaded", () => setTimeout(() => {
  if (document.querySelector(".card")) window.cardsAt = performance.now();
}))"""
HELP = """
  const frame = () => new Promise(requestAnimationFrame), rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const inside = (node) => { const { top, bottom } = node.getBoundingClientRect(); return bottom > 0 && top < innerHeight; };
  const gallery = document.getElementById("cards");
"""
MAPS = """
  gallery.scrollIntoView({ behavior: "instant" });
  const unpainted = () => [...document.querySelectorAll("#cards canvas")].filter((node) => inside(node) && !("painted" in node.dataset));
  do await frame(); while (unpainted().length);
  const maps = performance.now();
  await rest(1500);
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return { "first paint, ms": paint?.startTime ?? null, "cards, ms": window.cardsAt ?? null, "maps, ms": maps };
"""
SORT = """
  const control = document.querySelector("select[name=sort]"), start = performance.now();
  control.value = control.value === "abs" ? "name" : "abs";
  control.dispatchEvent(new Event("change", { bubbles: true }));
  await frame();
  await frame();
  return performance.now() - start;
"""
SLIDE = """
  const slider = document.querySelector("input[name=t]"), start = performance.now();
  slider.value = 0.5;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  do await frame(); while ([...gallery.children].some((card) => !(card.dataset.reading || "").startsWith("0.5 ")));
  return performance.now() - start;
"""
SCROLL = """
  const frames = [];
  scrollTo({ top: 0, behavior: "instant" });
  let last = await frame();
  while (scrollY + innerHeight < document.documentElement.scrollHeight - 40 && frames.length < 600) {
    scrollBy({ top: 30, behavior: "instant" });
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  frames.sort((a, b) => a - b);
  return { "frame, ms": frames[frames.length >> 1], "slowest frame in 20, ms": frames[Math.floor(frames.length * 0.95)] };
"""


def crop(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A part of a photo uint8 (H, W, 3) and a disc in it, bool (H, W)."""
    rng = np.random.default_rng(index)
    photo = (photos.astronaut, photos.chelsea, photos.coffee, photos.rocket)[index % 4]()
    side = int(rng.uniform(0.6, 1) * min(photo.shape[:2]))
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    part = Image.fromarray(photo[top : top + side, left : left + side]).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    y, x = np.mgrid[:height, :width]
    at, radius = rng.uniform(0.35, 0.65, 2), rng.uniform(0.15, 0.35)
    return np.asarray(part), (y / height - at[0]) ** 2 + (x / width - at[1]) ** 2 < radius**2


def field(h: int, w: int, y: float, x: float, sigma: float, noise: np.ndarray) -> np.ndarray:
    """Noise smoothed once and a hump at (y, x), less its median, below a ReLU: float (h, w) in [0, 1]."""
    smooth = sum(np.roll(noise, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    rows, columns = (np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w
    value = smooth / noise.max() + 0.4 * np.exp(-((rows[:, None] - y) ** 2 + (columns[None] - x) ** 2) / (2 * sigma**2))
    value = np.clip(value - np.median(value), 0, None)
    return value / max(value.max(), 1e-9)


def in_browser(report: Path, profile: Path) -> dict[str, float]:
    """The times that the page's own clock shows, and the processor's."""
    with tab(profile) as page:
        page.look(1280, 900)
        page.call("Performance.enable", timeDomain="threadTicks")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.open(f"file://{report / 'index.html'}")
        loaded = page.worked()
        found = {f"{name} up to load, processor, ms": loaded[name] for name in ("all", "scripts", "styles", "layout")}
        found |= page.run(HELP + MAPS)
        sorting, processor = [], []
        for _ in range(5):
            before = page.worked()["all"]
            sorting.append(page.run(HELP + SORT))
            processor.append(page.worked()["all"] - before)
            page.run(HELP + "await rest(1000);")
        found |= {"sorting, ms": sorted(sorting)[2], "sorting, processor, ms": sorted(processor)[2]}
        found |= {"slider, ms": page.run(HELP + SLIDE)} | page.run(HELP + SCROLL)
    return found


def main() -> None:
    """Makes the run, builds its report, opens it, prints a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="folder to keep the run in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "run"
        items = [
            Item(f"val/class_{i % 20:02d}/photo_{i:05d}.jpg", f"class_{i % 20:02d}") for i in range(options.images)
        ]
        models = [f"model{i}" for i in range(options.models)]
        if not (folder / "run.json").exists():
            make_run(
                folder,
                items,
                models=models,
                blocks=tuple(SIDES),
                sides=SIDES,
                size=(224, 224),
                photo=crop,
                map_of=field,
                quick=True,
            )
        start, worked = time.perf_counter(), time.process_time()
        report = build_report(folder).parent
        found = {"build, s": time.perf_counter() - start, "of which this process, s": time.process_time() - worked}
        sizes = {
            kind: sum(path.stat().st_size for path in report.rglob(f"*{kind}")) / 1e6 for kind in (".jpg", ".js", "")
        }
        found |= {"on disk, MB": sum(path.stat().st_size for path in report.rglob("*") if path.is_file()) / 1e6}
        found |= {"of which frames, MB": sizes[".jpg"], "of which scripts, MB": sizes[".js"]}
        found |= {"of which data.js, MB": (report / "data.js").stat().st_size / 1e6}
        if CHROMIUM is not None:
            seen = [in_browser(report, Path(temporary) / f"profile{i}") for i in range(3)]
            found |= {name: min(each[name] for each in seen) for name in seen[0]}
    print(f"{options.images} images, {options.models} models, {len(SIDES)} blocks")
    for name, value in found.items():
        goal = GOALS.get(name)
        print(
            f"{name:36}{value:10.1f}"
            + ("" if goal is None else f"   goal {goal}" + ("" if value <= goal else "  MISSED"))
        )


if __name__ == "__main__":
    main()
