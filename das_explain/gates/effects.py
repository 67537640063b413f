"""What gates do causally: the same network with and without them on the same images, row by row and in sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from das_explain.cam.fast import fast_copy
from das_explain.errors import UsageError
from das_explain.evidence.values import Evidence, Logits
from das_explain.explain.contestants import Contest, Contestant, ExplainOptions
from das_explain.nn.interventions import INTERVENTIONS, gates_of, intervene
from das_explain.stats.intervals import mean_intervals, wilson
from das_explain.stats.significance import holm, mcnemar_p_value, sign_flip_p_value
from das_explain.statuses import SCORED

TRAINED = "trained"
VARIANTS = (TRAINED, *INTERVENTIONS)
EFFECT_COLUMNS = (
    "image", "model", "variant", "block", "label", "target", "logit", "logit_change", "probability",
    "probability_change", "predicted", "changed", "correct", "sfd", "sfd_change", "status",
)  # fmt: skip
SUMMARY_COLUMNS = (
    "model", "variant", "quantity", "block", "n", "mean", "ci_low", "ci_high", "change", "change_low", "change_high",
    "p_value", "p_adjusted",
)  # fmt: skip


def variants_of(contestant: Contestant, options: ExplainOptions) -> Contest:
    """The network as trained and with each intervention on its gates, named as in ``VARIANTS``, sharing weights.

    Raises:
        UsageError: it has no gate that multiplies, or a block to explain lies inside one.
    """
    if not gates_of(contestant.model.network):
        config = contestant.model.config
        what = f" ({config['architecture']} with attention {config['attention']})" if "architecture" in config else ""
        raise UsageError(
            f"{contestant.name}{what} has no gate that multiplies its features by an attention: nothing to show"
        )
    if contestant.model.config.get("gates"):
        raise UsageError(f"{contestant.model.spec}: the gates are replaced here anyway; leave +gates= out")
    variants = [replace(contestant, model=replace(contestant.model, name=TRAINED))]
    for kind in INTERVENTIONS:
        network = intervene(contestant.model.network, kind)
        modules = dict(network.named_modules())
        if inside := [block for block in contestant.blocks if block not in modules]:
            raise UsageError(f"block {inside[0]} is a part of a gate, which is replaced; choose one that is not")
        blocks = {block: modules[block] for block in contestant.blocks}
        size = contestant.model.preprocess.geometry.size
        network, blocks = fast_copy(network, blocks, size, method=options.method, precision=options.precision)
        variants.append(
            replace(variants[0], model=replace(contestant.model, name=kind), network=network, blocks=blocks)
        )
    return Contest(variants, {variant: [variant] for variant in VARIANTS})


def effect_rows(model: str, evidence: Evidence, scores: pd.DataFrame, activation: str = "softmax") -> pd.DataFrame:
    """The lines of ``gates.csv`` of some images: each variant's, block by block.

    ``evidence`` is that of the variants as models, all explaining the same logit, and ``scores`` its rows.
    ``probability`` is what ``activation`` (``nn.answers.ACTIVATIONS``) makes of that logit; ``.._change`` is the variant's
    minus the trained network's.
    """
    count, of_image = len(evidence), len(scores) // len(evidence)
    shape = (count, len(VARIANTS), of_image // len(VARIANTS))  # images, variants, blocks
    rows = scores.rename(columns={"model": "variant"}).assign(model=model)
    answers = np.full((2, *shape), np.nan)
    for place, variant in enumerate(VARIANTS):
        if variant in evidence.logits:
            answers[:, evidence.shown, place] = _of_target(evidence.logits[variant], activation)[..., None]
    rows["logit"], rows["probability"] = answers.reshape(2, -1)
    for name in ("logit", "probability", "sfd"):
        values = rows[name].to_numpy(dtype=float, na_value=np.nan).reshape(shape)
        rows[f"{name}_change"] = (values - values[:, :1]).ravel()
    predicted = rows["predicted"].to_numpy(dtype=object).reshape(shape)
    changed = (predicted != predicted[:, :1]).astype(object)
    changed[~np.isin(np.arange(count), evidence.shown)] = None
    return rows.assign(changed=changed.ravel())[list(EFFECT_COLUMNS)]


def _of_target(logits: Logits, activation: str) -> np.ndarray:
    """Logit and probability of the explained class, which the evidence always keeps, float64 (2, n).

    ``log_sum`` is of a softmax only: with another activation it stands for the highest class alone.
    """
    values = np.where(logits.classes == logits.target[:, None], logits.values, -np.inf).max(1).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        probability = np.exp(values - logits.log_sum) if activation == "softmax" else _alone(values, activation)
    return np.stack([np.where(np.isfinite(values), values, np.nan), probability])


def _alone(values: np.ndarray, activation: str) -> np.ndarray:
    return values if activation == "none" else 1 / (1 + np.exp(-values))


def summarize_effects(table: pd.DataFrame) -> pd.DataFrame:
    """The table of ``effect_rows`` -> one row per model, variant and quantity.

    ``top1``: the share of right predictions, over images with a label that the model knows; ``kept``: the share of
    predictions that are the trained network's; both with Wilson's 95 % interval. ``logit`` and ``probability`` of the
    target class, and ``sfd`` of a block, over images scored as trained and by the variant: means with BCa bootstrap
    intervals over images, as ``change`` has them, the paired difference to the trained network. ``p_value`` is McNemar's
    (exact) for ``top1``, else the paired sign-flip test's; ``p_adjusted`` is Holm's over all rows.
    """
    cells = list(_pairs(table))
    means = mean_intervals([values for *_, values, _ in cells])
    changes = mean_intervals([values - before for *_, values, before in cells])
    rows = []
    for (model, variant, quantity, block, values, before), mean, change in zip(cells, means, changes, strict=True):
        if quantity in ("top1", "kept") and len(values):
            mean = (mean[0], *wilson(int(values.sum()), len(values)))
        p_value = np.nan
        if variant == TRAINED or quantity == "kept":  # of itself; and the trained network keeps all
            change = (np.nan,) * 3
        else:
            p_value = _mcnemar(values, before) if quantity == "top1" else sign_flip_p_value(values - before)
        rows.append((model, variant, quantity, block, len(values), *mean, *change, p_value, np.nan))
    summary = pd.DataFrame(rows, columns=SUMMARY_COLUMNS)
    summary["p_adjusted"] = holm(summary["p_value"].to_numpy(dtype=float))
    return summary


def _mcnemar(values: np.ndarray, before: np.ndarray) -> float:
    if len(values) < 2:
        return np.nan
    return mcnemar_p_value(int((values > before).sum()), int((values < before).sum()))


def _pairs(table: pd.DataFrame) -> Iterator[tuple[str, str, str, str, np.ndarray, np.ndarray]]:
    """model, variant, quantity, block, and the values of the variant and of the trained network on the same images."""
    table = table.assign(top1=table["correct"], kept=1.0 - table["changed"].astype(float))
    for model, mine in table.groupby("model", sort=False):
        blocks = list(dict.fromkeys(mine["block"]))
        first = mine[mine["block"] == blocks[0]]  # what belongs to an image stands in the rows of every block
        for quantity, block, rows in (
            *((quantity, "", first) for quantity in ("top1", "kept", "logit", "probability")),
            *(("sfd", block, mine[(mine["block"] == block) & mine["status"].isin(SCORED)]) for block in blocks),
        ):
            wide = rows.assign(value=pd.to_numeric(rows[quantity], errors="coerce").astype(float))
            wide = wide.pivot(index="image", columns="variant", values="value").reindex(columns=list(VARIANTS))
            for variant in VARIANTS:
                pair = wide[variant].to_numpy(dtype=float), wide[TRAINED].to_numpy(dtype=float)
                known = ~np.isnan(pair).any(axis=0)
                yield str(model), variant, quantity, block, pair[0][known], pair[1][known]


def fixed_targets(wanted: Tensor, logits: Tensor) -> Tensor:
    """The logits to explain, int64 (N,): -1 becomes the trained network's prediction, for every variant."""
    return torch.where(wanted < 0, logits.argmax(1), wanted)
