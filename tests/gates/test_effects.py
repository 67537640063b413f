"""What is said of the variants, by hand: rows of images, and the summary over them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from das_explain.checkpoint.model import LoadedModel
from das_explain.data.geometry import Preprocess
from das_explain.errors import UsageError
from das_explain.evidence.values import Evidence, Photo, keep_logits
from das_explain.explain.contestants import Contestant, ExplainOptions
from das_explain.gates.effects import (
    EFFECT_COLUMNS,
    VARIANTS,
    effect_rows,
    fixed_targets,
    summarize_effects,
    variants_of,
)
from das_explain.nn import create_model


def table(correct: dict[str, list], logit: dict[str, list], sfd: dict[str, list]) -> pd.DataFrame:
    """Images "0", "1" ..; a value per image and variant; predictions are right or "wrong"."""
    rows = []
    for variant in VARIANTS:
        for image in range(len(correct[variant])):
            right, score = correct[variant][image], sfd[variant][image]
            rows.append(
                dict.fromkeys(EFFECT_COLUMNS)
                | {
                    "image": str(image),
                    "model": "m",
                    "variant": variant,
                    "block": "layer4",
                    "correct": right,
                    "changed": None if right is None else right != correct["trained"][image],
                    "logit": logit[variant][image],
                    "probability": 0.5,
                    "sfd": score,
                    "status": "ok" if score is not None else "zero_cam",
                }
            )
    return pd.DataFrame(rows, columns=EFFECT_COLUMNS)


def test_the_summary_by_hand() -> None:
    correct = {"trained": [True] * 4 + [False], "ones": [False] * 4 + [True], "mean": [True] * 3 + [False] * 2}
    correct["shuffled"] = correct["trained"]
    logit = {variant: [1.0, 2.0, 3.0, 4.0, 5.0] for variant in VARIANTS} | {"mean": [0.0, 1.0, 2.0, 3.0, 4.0]}
    sfd = {variant: [0.5, 0.6, 0.7, 0.8, 0.9] for variant in VARIANTS} | {"ones": [0.4, None, 0.4, 0.8, 0.9]}
    got = summarize_effects(table(correct, logit, sfd)).set_index(["quantity", "variant"])
    top1 = got.loc["top1"]
    assert top1["n"].tolist() == [5] * 4
    assert top1["mean"].tolist() == pytest.approx([0.8, 0.2, 0.6, 0.8])
    assert top1["change"].tolist()[1:] == pytest.approx([-0.6, -0.2, 0.0])
    # Wilson's interval of 4 of 5, and McNemar's exact p: of 5 discordant pairs 1 is a gain, 2 x (1 + 5) / 2^5
    z = 1.959964
    middle, reach = (0.8 + z * z / 10) / (1 + z * z / 5), z * math.sqrt(0.8 * 0.2 / 5 + z * z / 100) / (1 + z * z / 5)
    assert top1.loc["trained", ["ci_low", "ci_high"]].tolist() == pytest.approx([middle - reach, middle + reach])
    assert top1.loc["ones", "p_value"] == pytest.approx(12 / 32)
    assert top1.loc["mean", "p_value"] == pytest.approx(1.0)
    assert top1.loc["shuffled", "p_value"] == 1.0
    assert got.loc["kept"]["mean"].tolist() == pytest.approx([1, 0, 0.8, 1])
    assert got.loc[("logit", "mean"), ["change", "change_low", "change_high"]].tolist() == [-1, -1, -1]
    assert got.loc[("logit", "mean"), "p_value"] == pytest.approx(2 / 2**5), "all five signs alike, or all turned"
    assert got.loc[("logit", "trained"), ["change", "p_value"]].isna().all()
    ones = got.loc[("sfd", "ones")]
    assert (ones["n"], ones["block"]) == (4, "layer4")
    assert ones["mean"] == pytest.approx((0.4 + 0.4 + 0.8 + 0.9) / 4)
    assert ones["change"] == pytest.approx(-0.4 / 4), "over the images scored for both"
    tested = got["p_value"].notna()
    assert tested.sum() == 12
    assert (got.loc[tested, "p_adjusted"] >= got.loc[tested, "p_value"]).all()


def test_without_labels_or_readable_images_nothing_is_made_up() -> None:
    nothing = {variant: [None, None] for variant in VARIANTS}
    got = summarize_effects(table(nothing, nothing, nothing)).set_index("quantity")
    assert got.loc[["top1", "kept", "logit", "sfd"], "n"].eq(0).all()
    assert got.loc[["top1", "kept", "logit", "sfd"], ["mean", "change", "p_value"]].isna().all(axis=None)


def test_the_trained_networks_prediction_is_explained_where_no_class_is_wanted() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0]])
    assert fixed_targets(torch.tensor([-1, 2]), logits).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("activation", "answers", "target", "probability"),
    [
        ("softmax", [2.0, -1.0, 0.5], 1, math.exp(-1) / (math.exp(2) + math.exp(-1) + math.exp(0.5))),
        ("sigmoid", [2.0, -1.0, 0.5], 1, 1 / (1 + math.e)),
        ("sigmoid", [2.0, -1.0, 0.5], 0, 1 / (1 + math.exp(-2))),
        ("none", [0.7, 0.2, 0.9], 1, 0.2),  # several classes may be likely at once
        ("softmax", [0.0] * 1199 + [-3.0], 1199, math.exp(-3) / (1199 + math.exp(-3))),
        ("sigmoid", [0.0] * 1199 + [-3.0], 1199, 1 / (1 + math.exp(3))),
    ],
)
def test_the_probability_of_any_class_that_is_explained(
    activation: str, answers: list[float], target: int, probability: float
) -> None:
    logits = np.array([answers], np.float32)
    kept = {variant: keep_logits(logits, np.array([target]), activation) for variant in VARIANTS}
    kept["ones"] = keep_logits(logits * 0, np.array([target]), activation)
    evidence = Evidence([Photo(0, "a.jpg", "ant", "ok")], np.array([0]), {}, {}, {}, {}, {}, kept)
    scores = pd.DataFrame({"model": VARIANTS, "image": "a.jpg", "block": "layer4", "predicted": "ant", "sfd": 0.5})
    scores[["label", "target", "correct", "status"]] = ["ant", "ant", True, "ok"]
    got = effect_rows("m", evidence, scores, activation).set_index("variant")
    assert got.loc["trained", "logit"] == pytest.approx(answers[target])
    assert got.loc["trained", "probability"] == pytest.approx(probability)
    without = {"softmax": 1 / len(answers), "sigmoid": 0.5, "none": 0.0}[activation]
    assert got.loc["ones", "probability_change"] == pytest.approx(without - probability)


def contestant(attention: str, block: str = "layer4", **config) -> Contestant:
    torch.manual_seed(0)
    network = create_model("resnet18", attention, num_classes=2, stem="small").eval()
    blocks = {block: network.get_submodule(block)}
    about = {"architecture": "resnet18", "attention": attention, **config}
    model = LoadedModel("net", "nets/net", network, blocks, None, Preprocess(), "", about)
    return Contestant(model, network, blocks)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("none", "layer4", {}), r"net \(resnet18 with attention none\) has no gate that multiplies its features"),
        (("gc", "layer4", {}), r"net \(resnet18 with attention gc\) has no gate"),
        (("das", "layer4.gate.offset", {}), "block layer4.gate.offset is a part of a gate, which is replaced"),
        (("das", "layer4", {"gates": "ones"}), r"nets/net: the gates are replaced here anyway; leave \+gates= out"),
    ],
)
def test_what_cannot_be_compared(given: tuple, message: str) -> None:
    attention, block, config = given
    with pytest.raises(UsageError, match=message):
        variants_of(contestant(attention, block, **config), ExplainOptions())


def test_a_gate_itself_may_be_the_block() -> None:
    variants = variants_of(contestant("das", "layer4.gate"), ExplainOptions()).contestants
    assert len(variants) == 4
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = []
    for variant in variants:
        handle = variant.blocks["layer4.gate"].register_forward_hook(lambda module, x, y: seen.append(y))
        with torch.no_grad():
            variant.network(images)
        handle.remove()
    assert len(seen) == 4
    assert not np.allclose(seen[0].numpy(), seen[1].numpy())
