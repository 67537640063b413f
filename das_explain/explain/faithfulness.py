"""Measures that ask the network about changed photos: taken while it is at hand, kept in the evidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from das_explain.batches.load import Batch
from das_explain.cam.maps import Maps
from das_explain.evidence.values import Key
from das_explain.explain.contestants import Contestant, ExplainOptions
from das_explain.measures import MEASURES, MeasureOptions, Probe
from das_explain.nn.running import as_found
from das_explain.nulls.pairing import image_seeds


def measure_faithfulness(
    contestant: Contestant, seen: Batch, explanation: Maps, options: ExplainOptions, batch: int
) -> dict[tuple[Key, str], tuple[np.ndarray, list[str]]]:
    """(key, measure) -> values float64 (n,) and statuses, of ``options.measures``, for a batch of readable photos, of which
    the network is shown ``batch`` at once.

    All models and blocks are asked about the same photos, hidden and drawn in the same way: chance comes from the
    image's name.
    """
    geometry, device = contestant.geometry, contestant.device
    frames = seen.frames[geometry].to(device).float() / 255
    names = [sample.name for sample in seen.samples]
    seeds = torch.from_numpy(image_seeds(names, 0))
    measured = {}
    with as_found(contestant.network), _precision(device, options):
        normalize = _normalizer(contestant)
        probe = Probe.of(
            contestant.answering,
            normalize,
            frames,
            explanation.target,
            contestant.model.activation,
            seeds=seeds,
            batch=batch,
        )
        how = MeasureOptions(probe=probe, baseline=options.baseline)
        for block, cam in explanation.cams.items():
            masks = torch.zeros_like(cam.map, dtype=torch.bool)  # they play no part
            for name in options.measures:
                result = MEASURES[name].compute(cam.map, masks, how)
                measured[Key(contestant.name, block), name] = (result.values.cpu().double().numpy(), result.status)
    return measured


def _normalizer(contestant: Contestant) -> Callable[[torch.Tensor], torch.Tensor]:
    """Photos in [0, 1] -> what the network takes."""
    preprocess = contestant.model.preprocess

    def normalize(photos: torch.Tensor) -> torch.Tensor:
        return preprocess.standardize(photos.clone()).contiguous(memory_format=torch.channels_last)

    return normalize


def _precision(device: torch.device, options: ExplainOptions) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16")
