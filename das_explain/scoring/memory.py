"""``das_explain.score``: models, photos and masks in, the rows of scores.csv out; no folder, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch import nn

from das_explain.checkpoint.labels import read_label_map
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.model import LoadedModel
from das_explain.data.images import as_rgb, decode_image
from das_explain.data.mask_pixels import cut_soft, decode_mask
from das_explain.data.sources import region_from_mask
from das_explain.errors import UsageError
from das_explain.explain.contestants import ExplainOptions, load_contest
from das_explain.explain.explainer import Explainer
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.rows import score_rows
from das_explain.scoring.scorer import ModelFacts, Scorer
from das_explain.types import Region, Sample

Model = str | nn.Module | LoadedModel
Photo = Image.Image | np.ndarray | str | Path


def score(
    models: Model | Sequence[Model] | Mapping[str, Model],
    images: Sequence[Photo],
    masks: Sequence[Any],
    labels: Sequence[str] | None = None,
    *,
    label_map: Mapping[str, str] | str | Path | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Scores models on photos that are at hand.

    Args:
        models: specs, loaded models or networks; one, a list, or name -> model. Plain networks take
            ``load_model(network, labels=..., size=...)`` first.
        images: PIL images, arrays uint8 (H, W, 3) or paths.
        masks: region R of each, bool or 0/1 (H, W) of the photo's size, a path, or ``None`` where there is none. A soft
            one (fractions, many grey values) is cut at half its maximum.
        labels: the images' classes; none: each model's prediction is explained.
        label_map: class of the images -> class of the models, by its name or number, or a CSV file of the columns
            ``data`` and ``model``; by name unless given.
        options: ``threshold``, ``scaling``, ``box``; ``method``, ``target``, ``precision``; ``blocks``, ``device``,
            ``batch``.

    Returns:
        A row per image, model and block, with the columns of scores.csv; ``image`` is a path as given, else a number.

    Raises:
        UsageError: an unknown option, images, masks and labels of different number, or a label map that names no class of
            theirs.
        DasExplainError: a model that cannot be loaded, labels that are none of its classes.

    >>> from das_explain import open_dataset, score
    >>> data = open_dataset("collage:2")
    >>> photos = [data.read(sample) for sample in data.samples]
    >>> masks = [data.read_mask(sample, photo.size).mask for sample, photo in zip(data.samples, photos)]
    >>> table = score("collage-das-resnet18", photos, masks, [sample.label for sample in data.samples])
    >>> table[["image", "block", "target", "status"]]
      image   block target status
    0     0  layer3    cat     ok
    1     0  layer4    cat     ok
    2     1  layer3    cup     ok
    3     1  layer4    cup     ok
    """
    scoring = {name: options.pop(name) for name in ("threshold", "scaling", "box") if name in options}
    how = {each.name: options.pop(each.name) for each in fields(ExplainOptions) if each.name in options}
    blocks, device, batch = (
        options.pop(name, default) for name, default in (("blocks", ()), ("device", None), ("batch", 16))
    )
    if options:
        raise UsageError(f"score has no option {next(iter(options))!r}")
    if len(images) != len(masks) or (labels is not None and len(labels) != len(images)):
        raise UsageError(
            f"{len(images)} images, {len(masks)} masks" + ("" if labels is None else f" and {len(labels)} labels")
        )
    explaining, scoring_options = ExplainOptions(**how), ScoreOptions(**scoring, measures=(), nulls=()).resolved()
    explaining.check()
    contest = load_contest(
        _named(models),
        None if labels is None else tuple(sorted(set(labels))),
        explaining,
        blocks=tuple(blocks),
        device=device,
        label_map=read_label_map(Path(label_map)) if isinstance(label_map, (str, Path)) else label_map,
    )
    memory = _Memory(list(images), list(masks))
    samples = [
        Sample(str(each) if isinstance(each, (str, Path)) else str(i), i, None if labels is None else str(labels[i]))
        for i, each in enumerate(images)
    ]
    explainer = Explainer(contest, explaining)
    scorer = Scorer(model_facts(explainer), scoring_options)
    rows = []
    for loaded in explainer.batches(memory, samples, memory, batch=batch, workers=0):
        evidence = explainer.explain(loaded, frames=False)
        rows.append(score_rows(scorer.models, evidence, scorer.score(evidence)))
    return pd.concat(rows, ignore_index=True)


def model_facts(explainer: Explainer) -> list[ModelFacts]:
    """What scoring knows of the models that are explained."""
    needs_label = explainer.options.target == "label"
    return [
        ModelFacts(each.name, tuple(each.blocks), each.model.labels, each.logit, needs_label)
        for each in explainer.contest.contestants
    ]


def _named(models: Model | Sequence[Model] | Mapping[str, Model]) -> list[Model]:
    if isinstance(models, Mapping):
        loaded = {name: each if isinstance(each, LoadedModel) else load_model(each) for name, each in models.items()}
        return [replace(each, name=name) for name, each in loaded.items()]
    return [models] if isinstance(models, (str, nn.Module, LoadedModel)) else list(models)


@dataclass
class _Memory:
    """A source and a segmenter of photos that are at hand."""

    images: list[Any]
    masks: list[Any]
    name: str = "masks"
    needs_networks: bool = False
    identity: Any = field(default=dict, repr=False)

    def read(self, sample: Sample) -> Image.Image:
        """The photo, upright RGB."""
        image = self.images[sample.index]
        if isinstance(image, (str, Path)):
            return decode_image(image)
        return as_rgb(image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image)))

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """The mask as given."""
        mask = self.masks[sample.index]
        if mask is None:
            return Region(None, "no_mask")
        return region_from_mask(
            decode_mask(mask) if isinstance(mask, (str, Path)) else cut_soft(np.asarray(mask)).mask, size
        )

    def region(self, sample: Sample, image: Image.Image) -> Region:
        """The same, for a decoded photo."""
        return self.read_mask(sample, image.size)
