"""What labels are needed for, and folders of numbers read in two ways, from the data to the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from das_explain.accuracy.evaluate import Request, measure_classifiers
from das_explain.errors import DasExplainError
from das_explain.explain.contestants import ExplainOptions, load_contest
from das_explain.nn import create_model


@pytest.fixture(scope="module")
def nameless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of twelve classes without names."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "net.pth"
    torch.save(create_model("resnet18", num_classes=12, stem="small").state_dict(), path)
    return f"net={path}@resnet18?size=32"


def test_only_the_label_as_a_target_needs_labels(nameless: str) -> None:
    with pytest.raises(DasExplainError, match="no class of the data is one of model net"):
        load_contest([nameless], ["cat", "dog"], ExplainOptions(), device="cpu")
    for target in ("predicted", "7"):
        contest = load_contest([nameless], ["cat", "dog"], ExplainOptions(target=target), device="cpu")
        assert contest.contestants[0].logit == ({"7": 7} if target == "7" else {})
        assert any(f"(--target {target} needs no labels)" in told for told in contest.assumptions)


def test_evaluate_tells_both_readings_of_folders_of_numbers(nameless: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            tmp_path / "data" / str(number) / "a.png"
        )
    measured = measure_classifiers(
        Request(models=(nameless,), data=str(tmp_path / "data"), out=tmp_path / "out", device="cpu", workers=0)
    )
    rows = measured.tables["predictions"]
    ordered = {name: place for place, name in enumerate(sorted(map(str, range(12))))}
    sorted_top1 = np.mean([int(row.predicted) == ordered[row.label] for row in rows.itertuples()])
    numbers_top1 = np.mean([row.predicted == row.label for row in rows.itertuples()])
    assert measured.tables["accuracy"]["top1"][0] == pytest.approx(sorted_top1)
    assert any("so that '10' is class 2; if it is class 10, say so" in note for note in measured.notes)
    told = f"top-1 {sorted_top1:.1%} as taken here, {numbers_top1:.1%} the other way (--label-map says which)"
    assert any(note.endswith(told) for note in measured.notes)
