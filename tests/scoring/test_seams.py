"""A measure and a null of one's own take part by registration alone, in every table, on the terminal and in the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from das_explain.commands.tables import print_tables
from das_explain.measures import MEASURES, Measure
from das_explain.measures import register as register_measure
from das_explain.nulls import NULLS, Null
from das_explain.nulls import register as register_null
from das_explain.report.publish import publish
from das_explain.scoring.options import ScoreOptions
from tests.explain.test_pipeline import run, setting  # noqa: F401 - a fixture


@pytest.fixture
def of_ones_own():
    def darkness(maps, masks, options=None):
        return 1 - maps.double().mean((1, 2)), ["ok"] * len(maps), {}

    def corner(maps, masks, partner):
        spot = torch.zeros(len(partner), *maps.shape[1:])
        spot[:, 0, 0] = 1.0
        return spot

    register_measure(Measure("darkness", False, (0.0, 1.0), False, darkness))
    register_null(Null("corner", corner))
    yield
    del MEASURES["darkness"], NULLS["corner"]


@pytest.mark.usefixtures("of_ones_own")
def test_a_measure_and_a_null_take_part_by_registration_alone(setting: dict, tmp_path: Path, capsys):  # noqa: F811
    scoring = ScoreOptions(measures=("sfd", "darkness"), nulls=("shuffled", "corner"))
    finished = run(setting, tmp_path / "run", scoring=scoring)
    measures, nulls, lift = (finished.table(name) for name in ("measures", "nulls", "lift"))
    own = measures[(measures["measure"] == "darkness") & (measures["status"] == "ok")]
    evidence = next(finished.evidence())
    assert len(own) == 4 * 11
    assert own["value"].between(0, 1).all()
    corner = nulls[(nulls["null"] == "corner") & (nulls["measure"] == "darkness")]
    side = next(iter(evidence.sizes.values()))
    assert np.allclose(corner["value"], 1 - 1 / (side[0] * side[1]), rtol=1e-5), "one pixel of the frame is bright"
    rows = lift[(lift["measure"] == "darkness") & (lift["null"] == "corner")]
    assert len(rows) == 4
    assert np.allclose(rows["lift"], rows["mean"] - rows["mean_null"], atol=1e-5)
    print_tables(finished)
    told = capsys.readouterr().out
    assert "darkness" in told
    assert "corner" in told
    page = publish(finished).read_text(encoding="utf-8")
    assert "darkness" in page
    assert "corner" in page
