"""What labels are needed for, and folders of numbers read in two ways, from the data to the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from das_explain import score
from das_explain.accuracy.evaluate import Request, measure_classifiers
from das_explain.data.dataset import open_dataset
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.join import join_runs
from das_explain.evidence.run import Run
from das_explain.explain.contestants import ExplainOptions, load_contest
from das_explain.explain.explainer import Explainer
from das_explain.figures.heatmaps import write_heatmaps
from das_explain.gates import study_gates
from das_explain.nn import create_model
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.segment import create_segmenter
from tests.models import model_directory
from tests.photos import object_mask, photo, store, store_mask
from tests.runs import score_dataset

KNOWN = ["dot", "square", "stripe"]
NONE_KNOWN, SOME_KNOWN = ("ant", "bee", "fly"), ("ant", "square", "fly")
SFD_ONLY = ScoreOptions(measures=(), nulls=("shuffled",), readings=False)


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network with gates that knows three classes."""
    return f"das={model_directory(tmp_path_factory.mktemp('nets') / 'das', KNOWN, attention='das')}"


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
        assert (contest.contestants[0].logit, contest.contestants[0].target) == ({}, 7 if target == "7" else None)
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


def photos_of(folder: Path, labels: Sequence[str | None]) -> Path:
    """A CSV of three photos, each with its mask, and of these classes."""
    rows = []
    for number, label in enumerate(labels):
        upright = photo(60 + 8 * number)
        store(upright, folder / f"{number}.png")
        store_mask(object_mask(60 + 8 * number), folder / f"{number}-mask.png")
        rows.append((f"{number}.png", label, f"{number}-mask.png"))
    pd.DataFrame(rows, columns=["image", "label", "mask"]).to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


def run_of(csv: Path, model: str, target: str, out: Path) -> Run:
    dataset = open_dataset(str(csv))
    how = {"models": (model,), "options": ExplainOptions(target=target), "scoring": SFD_ONLY, "device": "cpu"}
    return score_dataset(dataset, create_segmenter("masks", dataset), out=out, **how)


def facts(table: pd.DataFrame) -> list[tuple]:
    """What has to be the same whatever the photos are called; numbers to the digits of a table."""
    return [
        (row.image, row.block, row.target, row.predicted, row.status, round(float(row.sfd or "nan"), 4))
        for row in table.itertuples()
    ]


@pytest.mark.parametrize("labels", [NONE_KNOWN, SOME_KNOWN], ids=["none known", "some known"])
@pytest.mark.parametrize("target", ["predicted", "square"])
def test_labels_that_are_not_needed_leave_no_photo_without_a_score(
    gated: str, tmp_path: Path, target: str, labels: tuple[str, ...]
) -> None:
    """By every way to a score: what the same photos without a label get."""
    bare = run_of(photos_of(tmp_path / "bare", [None] * 3), gated, target, tmp_path / "bare-run").table("scores")
    assert set(bare["status"]) == {"ok"}
    assert set(bare["target"]) == ({"square"} if target == "square" else set(bare["predicted"]))

    csv = photos_of(tmp_path / "named", labels)
    run = run_of(csv, gated, target, tmp_path / "run")
    assert facts(run.table("scores")) == facts(bare)
    known = run.table("scores").set_index("image")["correct"].dropna()
    assert set(known.index) == ({"1.png"} if "square" in labels else set()), "right or wrong: only what the model knows"

    other = run_of(csv, gated.replace("das=", "other="), target, tmp_path / "other")
    joined = join_runs([run, other], tmp_path / "joined")
    score_run(joined, SFD_ONLY)  # compare
    both = joined.table("scores")
    assert facts(both[both["model"] == "das"]) == facts(both[both["model"] == "other"]) == facts(bare)
    assert list(joined.table("comparison")["n"]) == [3, 3]

    dataset, options = open_dataset(str(csv)), ExplainOptions(target=target)
    segmenter = create_segmenter("masks", dataset)
    explainer = Explainer(load_contest([gated], dataset.labels, options, device="cpu"), options)
    drawn = write_heatmaps(dataset, segmenter, explainer, SFD_ONLY, tmp_path / "maps", workers=0)
    assert facts(pd.DataFrame(drawn)) == facts(bare)

    study_gates(dataset, segmenter, explainer, SFD_ONLY, tmp_path / "gates", drawn=0, batch=4, workers=0)
    gates = pd.read_csv(tmp_path / "gates" / "gates.csv")
    assert facts(gates[gates["variant"] == "trained"]) == facts(bare)

    paths = [csv.parent / f"{number}.png" for number in range(3)]
    masks = [csv.parent / f"{number}-mask.png" for number in range(3)]
    table = score(gated, paths, masks, list(labels), target=target, device="cpu")
    assert facts(table.assign(image=[Path(image).name for image in table["image"]])) == facts(bare)


def test_where_the_label_is_what_is_explained_an_unknown_one_has_no_score(gated: str, tmp_path: Path) -> None:
    csv = photos_of(tmp_path / "named", SOME_KNOWN)
    by_image = run_of(csv, gated, "label", tmp_path / "run").table("scores").groupby("image")["status"].agg(set)
    assert dict(by_image) == {"0.png": {"unknown_label"}, "1.png": {"ok"}, "2.png": {"unknown_label"}}
    request = Request(models=(gated,), data=str(csv), out=tmp_path / "accuracy", device="cpu", workers=0)
    assert measure_classifiers(request).counts == {"unknown_label": 2, "ok": 1}  # nothing else could be right


def test_score_takes_a_label_map_as_the_command_line_does(gated: str, tmp_path: Path) -> None:
    csv = photos_of(tmp_path / "named", NONE_KNOWN)
    photos, masks = ([csv.parent / f"{number}{end}.png" for number in range(3)] for end in ("", "-mask"))
    mapped = {"ant": "dot", "bee": "square", "fly": "2"}
    (tmp_path / "map.csv").write_text("data,model\n" + "".join(f"{each},{mapped[each]}\n" for each in mapped))
    with pytest.raises(DasExplainError, match="label_map in Python and in a study, says which is which"):
        score(gated, photos, masks, list(NONE_KNOWN), device="cpu")
    for given in (mapped, tmp_path / "map.csv", str(tmp_path / "map.csv")):
        table = score(gated, photos, masks, list(NONE_KNOWN), label_map=given, device="cpu")
        assert list(table["target"]) == ["dot", "dot", "square", "square", "stripe", "stripe"]
    with pytest.raises(UsageError, match="the label map names no class of the data"):
        score(gated, photos, masks, list(NONE_KNOWN), label_map={"cat": "dot"}, device="cpu")
