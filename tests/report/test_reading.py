"""The page's own sfd, in any reading of threshold and scaling, against the library's, to the three digits shown."""

import numpy as np
import pytest
import torch

from das_explain.cam.maps import upsample
from das_explain.data.dataset import open_dataset
from das_explain.evidence.run import Run
from das_explain.measures import MeasureOptions
from das_explain.measures.sfd import SCALINGS, compute
from das_explain.report import build_report
from das_explain.scoring.options import ScoreOptions
from das_explain.segment import create_segmenter
from tests.report.browser import needs_chromium, open_page, probe
from tests.report.synthetic_run import Item, make_run
from tests.runs import score_dataset

pytestmark = needs_chromium
THRESHOLDS = (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 0.95)

READ = """
  const result = {};
  for (const scaling of SCALINGS) for (const t of THRESHOLDS) {
    await go(`#t=${t}&scaling=${scaling}`);
    const own = t === OWN[0] && scaling === OWN[1], key = `${t} ${scaling}`;
    for (let i = 0; i < 3000 && !own && all('.card').some((card) => card.dataset.reading !== key); i++) await wait(20);
    result[key] = all('.card').map((card) => [...card.querySelectorAll('.tile')].map((tile) =>
      [tile.querySelector('.score').textContent, tile.querySelector('.flag')?.textContent || 'ok',
       tile.querySelector('.boxes .b-line')?.getAttribute('d') || '']));
  }
  return result;
"""


def ragged(index, height, width):
    """A disc with holes, islands and single pixels, now and then at the frame's edge."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:height, :width]
    centre, radius = rng.uniform(0.2, 0.8, 2), rng.uniform(0.15, 0.35)
    mask = ((y / height - centre[0]) ** 2 + (x / width - centre[1]) ** 2) < radius**2
    mask ^= rng.random((height, width)) < 0.03
    return rng.integers(0, 255, (height, width, 3), dtype=np.uint8), mask


def library(run: Run, threshold: float, scaling: str, box: str) -> list[list[list[str]]]:
    """What the page should show: per image and (model, block) the score, the status and the box's path."""
    words = {"ok": "ok", "no_background": "no background in B", "zero_cam": "empty map"}
    shown = []
    for evidence in run.evidence():
        columns = []
        large = {
            key: upsample(torch.from_numpy(maps.native.copy()), evidence.sizes[evidence.geometries[key.model]])
            for key, maps in evidence.maps.items()
        }
        for key, maps in large.items():
            geometry = evidence.geometries[key.model]
            alike = [m for k, m in large.items() if k.block == key.block and evidence.geometries[k.model] == geometry]
            shared = torch.stack([each >= threshold for each in alike]).any(0) if box == "shared" else None
            options = MeasureOptions(threshold=threshold, scaling=scaling, box=box, shared=shared)
            measured = compute(maps, torch.from_numpy(evidence.masks[geometry]), options)
            x0, y0, x1, y1 = (2 * measured.extras[f"b_{edge}"] for edge in ("x0", "y0", "x1", "y1"))
            columns.append(
                [
                    [f"{value:.3f}", words[status], f"M{x0[i]} {y0[i]}H{x1[i]}V{y1[i]}H{x0[i]}Z"]
                    for i, (value, status) in enumerate(zip(measured.values.tolist(), measured.status))
                ]
            )
        shown += [list(cells) for cells in zip(*columns)]
    return shown


@pytest.mark.parametrize(
    ("box", "options"),
    [
        ("rect", {"size": (160, 160), "sides": {"layer3": 10, "layer4": 5}}),
        ("rect", {"size": (50, 66), "second_size": (45, 40), "sides": {"layer3": 40, "layer4": 7}}),
        ("region", {"size": (64, 64)}),
        ("shared", {"size": (64, 64)}),
    ],
)
def test_scores_and_boxes_are_the_library_s(tmp_path, box, options):
    items = [Item(f"{i}.jpg", ("cat", "dog")[i % 2]) for i in range(20)]
    scoring = ScoreOptions(measures=(), box=box, nulls=())
    check_every_reading(make_run(tmp_path / "run", items, photo=ragged, options=scoring, **options), tmp_path, box)


def test_scores_and_boxes_of_the_demo_s_networks_are_the_library_s(tmp_path):
    photos = open_dataset("collage:12")
    models = ("plain=collage-resnet18", "das=collage-das-resnet18")
    scoring = ScoreOptions(measures=(), nulls=(), readings=False)
    run = score_dataset(photos, create_segmenter("masks", photos), models=models, out=tmp_path / "run", scoring=scoring)
    check_every_reading(run.folder, tmp_path, "rect")


def check_every_reading(folder, tmp_path, box):
    """The page's numbers, at every threshold and in every scaling, beside the library's."""
    build_report(folder)
    script = READ.replace("of SCALINGS", f"of {list(SCALINGS)}").replace("of THRESHOLDS", f"of {list(THRESHOLDS)}")
    probe(folder / "report", script.replace("OWN[0]", "0.3").replace("OWN[1]", "'antilog'"))
    page = open_page(f"file://{folder}/report/index.html", tmp_path / "profile", "--virtual-time-budget=600000")
    assert page.console == []
    seen = page.result()
    run = Run.open(folder)
    for scaling in SCALINGS:
        for threshold in THRESHOLDS:
            expected = library(run, threshold, scaling, box)
            if (threshold, scaling) == (0.3, "antilog"):  # as the run was scored: the numbers of scores.csv, six digits
                rows = iter(run.table("scores")["sfd"])
                expected = [[[f"{next(rows):.3f}", *rest] for _, *rest in cells] for cells in expected]
            assert seen[f"{threshold} {scaling}"] == expected, (threshold, scaling)
