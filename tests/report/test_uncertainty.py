"""What the page says of other masks for R."""

from __future__ import annotations

from pathlib import Path

import pytest

from das_explain.evidence.codec import encode
from das_explain.evidence.run import ALL, Run
from das_explain.report import build_report
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.report.synthetic_run import Item, make_run

OPTIONS = ScoreOptions(nulls=("shuffled",), readings=False)


@pytest.mark.parametrize("offered", [False, True])
def test_other_masks_for_r_have_a_table_and_a_sentence_where_there_are_any(tmp_path: Path, offered: bool):
    run = Run.open(make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(6)], options=OPTIONS))
    if offered:
        evidence = next(run.evidence(ALL))
        for key, masks in evidence.masks.items():
            evidence.alternatives[key, "sam 1"] = masks[:, ::-1] | masks
        run.shards.write(0, encode(evidence))
        score_run(run)
    page = build_report(run.folder).read_text(encoding="utf-8")
    assert ("Does it hang on the choice of R?" in page) is offered
    assert ("On 6 images the segmenter offers other masks for R" in page) is offered
    if offered:
        for row in run.table("region_uncertainty").itertuples():
            assert f"{row.flips} ({row.share:.0%})" in page
            assert f"{row.delta_low:+.3f}".replace("-", "\N{MINUS SIGN}") in page.replace("&minus;", "\N{MINUS SIGN}")
