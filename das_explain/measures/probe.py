"""The network at hand: what measures of faithfulness ask of it, and how photos are changed for the asking.

Photos are changed as the network's frame in [0, 1], before its normalisation, and everything that is not the map's (the
blurred photo, the order of tied pixels, the noise) comes from the photo and its seed: all models and blocks are asked
about the same photos, changed in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from das_explain.errors import UsageError
from das_explain.nn.answers import confidences


@dataclass
class Probe:
    """N photos and a network that can be asked about changed copies of them.

    ``images``: float32 (N, 3, H, W) in [0, 1], the frames that the network saw, at the maps' size, not normalised.
    ``probability(photos, rows)``: photos float32 (M, 3, H, W), rows int64 (M,), of which of the N photos each is a
    changed copy -> float (M,) in [0, 1], the probability of the class that was explained for that photo.
    ``seeds``: int64 (N,), one per photo; default: 0 to N - 1. ``batch``: photos given to the network at once.

    Of a network that is the surer the brighter the first pixel is, and a map that says so:

    >>> from das_explain.measures import MEASURES, MeasureOptions, Probe
    >>> images = torch.tensor([0.75, 0.5, 0.25, 0.0]).expand(1, 3, 1, 4)
    >>> probe = Probe(images, probability=lambda photos, rows: photos[:, 0, 0, 0])
    >>> maps, masks = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), torch.ones(1, 1, 4, dtype=torch.bool)
    >>> float(probe.before()), float(probe.on_map(1 - maps))
    (0.75, 0.0)
    >>> options = MeasureOptions(probe=probe, baseline="mean", steps=4)
    >>> float(MEASURES["deletion"].compute(maps, masks, options).values)
    0.421875
    """

    images: Tensor
    probability: Callable[[Tensor, Tensor], Tensor]
    seeds: Tensor | None = None
    batch: int = 32
    _on_map: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    _before: Tensor | None = field(default=None, repr=False)

    @staticmethod
    def of(
        network: Callable[[Tensor], Tensor],
        normalize: Callable[[Tensor], Tensor],
        images: Tensor,
        targets: Tensor,
        activation: str = "softmax",
        **options: Any,
    ) -> Probe:
        """A probe of a classifier: ``normalize`` makes of frames what it takes, ``targets`` int64 (N,) are its logits,
        of which ``activation`` makes probabilities."""

        most = int(targets.max()) if len(targets) else 0

        def probability(photos: Tensor, rows: Tensor) -> Tensor:
            with torch.no_grad():
                logits = network(normalize(photos)).float()
            if most >= logits.shape[1]:  # evidence may come from a stranger
                raise UsageError(f"class {most} is to be asked about, and the network has {logits.shape[1]}")
            return confidences(logits, activation).gather(1, targets[rows].view(-1, 1))[:, 0]

        return Probe(images, probability, **options)

    def generator(self, row: int) -> torch.Generator:
        """The source of chance for photo ``row``: the same at every call."""
        return torch.Generator().manual_seed(row if self.seeds is None else int(self.seeds[row]))

    def ask(self, rows: Tensor, photos: Callable[[slice], Tensor]) -> Tensor:
        """The network's answers about J changed copies, float64 (J,): of photos ``rows`` (J,), made part by part."""
        answers = [
            self.probability(photos(part), rows[part]).double()
            for part in (slice(start, start + self.batch) for start in range(0, len(rows), self.batch))
        ]
        return torch.cat(answers) if answers else torch.zeros(0, dtype=torch.float64, device=self.images.device)

    def before(self) -> Tensor:
        """The network's answers about the photos as they are, float64 (N,); asked once."""
        if self._before is None:
            every = torch.arange(len(self.images), device=self.images.device)
            self._before = self.ask(every, lambda part: self.images[part])
        return self._before

    def on_map(self, maps: Tensor) -> Tensor:
        """The answers about photos times their maps (N, H, W), float64 (N,); asked once for the same maps."""
        if self._on_map is None or self._on_map[0] is not maps:
            every = torch.arange(len(self.images), device=self.images.device)
            answers = self.ask(every, lambda part: self.images[part] * maps[part, None].to(self.images))
            self._on_map = (maps, answers)
        return self._on_map[1]

    def places(self, maps: Tensor) -> Tensor:
        """Each pixel's place in its map's order, int64 (N, H, W): 0 the highest; ties in an order drawn from the seed."""
        places = torch.empty(len(maps), maps[0].numel() if len(maps) else 0, dtype=torch.int64)
        for row, weights in enumerate(maps.detach().cpu().flatten(1)):
            drawn = torch.randperm(len(weights), generator=self.generator(row))
            places[row, drawn[weights[drawn].argsort(descending=True, stable=True)]] = torch.arange(len(weights))
        return places.view(maps.shape).to(self.images.device)


def blur(images: Tensor) -> Tensor:
    """Photos (N, 3, H, W) without detail: RISE's Gaussian, sigma 5 px in a window of 11 px at 224 px, scaled with H."""
    from torchvision.transforms.functional import gaussian_blur

    sigma = 5 * images.shape[-2] / 224
    reach = min(max(1, round(sigma)), min(images.shape[-2:]) - 1)
    return gaussian_blur(images, [2 * reach + 1] * 2, [sigma] * 2)


def mean(images: Tensor) -> Tensor:
    """Photos (N, 3, H, W) of one colour, the mean of each."""
    return images.mean((2, 3), keepdim=True).expand_as(images)


BASELINES = {"blur": blur, "mean": mean}
"""What stands where a pixel of the photo is hidden."""


def hide(images: Tensor, baseline: str) -> Tensor:
    """Photos (N, 3, H, W) with every pixel hidden; UsageError for a name that is not in ``BASELINES``."""
    if baseline not in BASELINES:
        raise UsageError(f"baseline {baseline!r} is unknown; choose among {', '.join(BASELINES)}")
    with torch.autocast(images.device.type, enabled=False):  # a photo, however the network is run
        return BASELINES[baseline](images)


def probe_of(maps: Tensor, probe: Probe | None, name: str) -> Probe:
    """The probe, if there is one and it fits the maps (N, H, W); UsageError otherwise. ``name``: the measure's."""
    if probe is None:
        raise UsageError(f"{name} runs the network on changed photos: give it a Probe in options.probe")
    size = (len(probe.images), *probe.images.shape[2:])
    if size != tuple(maps.shape):
        raise UsageError(f"{name}: maps {tuple(maps.shape)} and the probe's photos {size} differ in number or size")
    return probe


def along_path(probe: Probe, maps: Tensor, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Answers while photos turn from ``start`` into ``end`` (N, 3, H, W), the map's highest pixels first.

    float64 (N, steps + 1): after k / steps of the pixels, k = 0 to ``steps``.
    """
    if steps < 1:
        raise UsageError(f"steps must be 1 or more, not {steps}")
    count, pixels = len(maps), maps[0].numel() if len(maps) else 0
    places = probe.places(maps)
    turned = torch.tensor([round(k * pixels / steps) for k in range(steps + 1)], device=places.device)
    rows = torch.arange(count, device=places.device).repeat_interleave(steps + 1)

    def photos(part: slice) -> Tensor:
        of = rows[part]
        is_turned = places[of] < turned.repeat(count)[part].view(-1, 1, 1)
        return torch.where(is_turned[:, None], end[of], start[of])

    return probe.ask(rows, photos).view(count, steps + 1)
