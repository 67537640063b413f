"""The sentence that says what a run can carry."""

from __future__ import annotations

import numpy as np

from das_explain.stats.claims import claim
from tests.stats.rows import matrix_table


def test_claims_in_words():
    scores = matrix_table("x", **{name: np.array([0.5]) for name in ("p1", "p2", "d1", "d2")})
    assert claim(scores).startswith("This run compares checkpoints, not designs")
    both = claim(scores, {"p1": "plain", "p2": "plain", "d1": "das", "d2": "das"})
    assert both.startswith("This run compares designs")
    assert "plain 2, das 2" in both
    assert "fewer than 5" in both
    half = claim(scores[scores["model"] != "d2"], {"p1": "plain", "p2": "plain"})
    assert "A comparison with d1 speaks of checkpoints, not of designs" in half
    assert "nothing is compared" in claim(scores[scores["model"] == "p1"])
    many = matrix_table("x", **{f"{design}{i}": np.array([0.5]) for design in "pd" for i in range(5)})
    assert "fewer" not in claim(many, {name: name[0] for name in many["model"]})
