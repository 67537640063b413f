"""Measures that ask the network about changed photos: taken while it is at hand, kept in the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from das_explain.batches.load import Batch
from das_explain.cam.maps import Maps
from das_explain.evidence.values import Key
from das_explain.explain.contestants import Contestant, ExplainOptions
from das_explain.explain.fitting import Fitting
from das_explain.measures import MEASURES, MeasureOptions, Probe
from das_explain.nn.running import as_found
from das_explain.nulls.pairing import image_seeds

Answers = tuple[np.ndarray, list[str]]
"""Values float64 (n,) and statuses of n photos."""


def measure_faithfulness(
    contestant: Contestant, seen: Batch, explanation: Maps, options: ExplainOptions, fitting: Fitting
) -> dict[tuple[Key, str], Answers]:
    """(key, measure) -> what ``options.measures`` say of the model's maps, for a batch of readable photos, of which the
    network is shown as many at once as fit.

    All models and blocks are asked about the same photos, hidden and drawn in the same way: chance comes from the
    image's name.
    """
    with _asking(contestant, seen, explanation.target, options, fitting) as ask:
        return {
            (Key(contestant.name, block), measure): answers
            for block, cam in explanation.cams.items()
            for measure, answers in ask(cam.map).items()
        }


def measure_nulls(
    contestant: Contestant,
    seen: Batch,
    target: Tensor,
    maps: Mapping[tuple[str, str], Tensor],
    options: ExplainOptions,
    fitting: Fitting,
) -> dict[tuple[Key, str, str], Answers]:
    """(key, measure, null) -> the same of maps (n, H, W) that know nothing of the photos, by block and null; one that
    stands for several blocks is asked about once. ``target`` int64 (n,): the logits that were explained."""
    measured = {}
    with _asking(contestant, seen, target, options, fitting) as ask:
        known = {id(each): ask(each) for each in {id(each): each for each in maps.values()}.values()}
    for (block, null), each in maps.items():
        for measure, answers in known[id(each)].items():
            measured[Key(contestant.name, block), measure, null] = answers
    return measured


@contextmanager
def _asking(
    contestant: Contestant, seen: Batch, target: Tensor, options: ExplainOptions, fitting: Fitting
) -> Iterator[Callable[[Tensor], dict[str, Answers]]]:
    """Gives what takes maps float (n, H, W) of these photos to the answers, by measure."""
    device = contestant.device
    frames = seen.frames[contestant.geometry].to(device).float() / 255
    seeds = torch.from_numpy(image_seeds([sample.name for sample in seen.samples], 0))
    with as_found(contestant.network), _precision(device, options):
        normalize, batch = _normalizer(contestant), fitting.most or len(seen)
        probe = Probe.of(
            _answering(contestant, fitting),
            normalize,
            frames,
            target,
            contestant.model.activation,
            seeds=seeds,
            batch=batch,
        )
        how = MeasureOptions(probe=probe, baseline=options.baseline)

        def ask(maps: Tensor) -> dict[str, Answers]:
            masks = torch.zeros_like(maps, dtype=torch.bool)  # they play no part
            results = {name: MEASURES[name].compute(maps, masks, how) for name in options.measures}
            return {name: (each.values.cpu().double().numpy(), each.status) for name, each in results.items()}

        yield ask


def _answering(contestant: Contestant, fitting: Fitting) -> Callable[[Tensor], Tensor]:
    """The network for logits, shown as many photos at once as fit."""

    def answer(photos: Tensor) -> Tensor:
        return torch.cat(fitting.in_parts(len(photos), lambda part: contestant.answering(photos[part])))

    return answer


def _normalizer(contestant: Contestant) -> Callable[[Tensor], Tensor]:
    """Photos in [0, 1] -> what the network takes."""
    preprocess = contestant.model.preprocess

    def normalize(photos: Tensor) -> Tensor:
        return preprocess.standardize(photos.clone()).contiguous(memory_format=torch.channels_last)

    return normalize


def _precision(device: torch.device, options: ExplainOptions) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16")
