"""ROAD, remove and debias: does the network miss the highest pixels more than the lowest, if what is put in their place
gives away nothing (Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022, Sec. 5).

    road = mean over shares of (p without the lowest - p without the highest) / 2

The shares removed are 90 %, 80 % ... 10 %. In place of the removed pixels stands the noisy linear imputation (Sec. 5.2,
Eq. 6): each is the mean of its eight neighbours, of which the direct ones weigh 1/6 and the diagonal ones 1/12, and a
little noise. As pytorch-grad-cam's ``ROADCombined``, which is the reference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, answered, check_maps
from das_explain.measures.probe import Probe, probe_of

KEPT = (10, 20, 30, 40, 50, 60, 70, 80, 90)
"""Per cent of the pixels that are kept, pytorch-grad-cam's percentiles."""
NOISE = 0.01
"""Standard deviation of the noise, in units of the frame's [0, 1]."""
_NEIGHBOURS = [[1 / 12, 1 / 6, 1 / 12], [1 / 6, 0.0, 1 / 6], [1 / 12, 1 / 6, 1 / 12]]


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """ROAD combined of each map, in [-0.5, 0.5], in units of the class's probability; high is faithful, 0 is chance.

    Removes exactly the share that is meant, ties in an order drawn from the photo's seed. pytorch-grad-cam removes every
    pixel at or above a percentile: where more pixels than it keeps share the lowest weight, as in maps with large empty
    parts, it removes the whole photo, and its linear system is singular. Masks play no part.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W), only for their shape.
        options: ``probe``; a photo's noise comes from its seed, and is the same for every map.

    Returns:
        Extras, float64 (N,): ``most_first`` and ``least_first``, the mean change of the probability (after - before)
        when the highest or the lowest pixels are removed. Statuses ``nonfinite_cam``, ``zero_cam``,
        ``nonfinite_output``.

    Raises:
        UsageError: without a probe, or with one of other photos.
    """
    check_maps(maps, masks)
    probe = probe_of(maps, options.probe, "road")
    count, pixels = len(maps), maps[0].numel() if len(maps) else 0
    places = probe.places(torch.nan_to_num(maps))
    noise = _noise(probe)
    kept = torch.tensor([-(-percent * (pixels - 1) // 100) for percent in KEPT], device=places.device)
    rows = torch.arange(count, device=places.device).repeat_interleave(len(KEPT))

    def answers(order: Tensor) -> Tensor:
        def photos(part: slice) -> Tensor:
            of = rows[part]
            known = order[of] >= pixels - kept.repeat(count)[part].view(-1, 1, 1)
            return torch.where(known[:, None], probe.images[of], impute(probe.images[of], known) + noise[of])

        return probe.ask(rows, photos).view(count, len(KEPT))

    most, least = answers(places), answers(pixels - 1 - places)
    value = (least - most).mean(1) / 2
    before = probe.before()
    measured = answered(maps, value, torch.cat((most, least, before.view(-1, 1)), 1))
    return measured._replace(extras={"most_first": most.mean(1) - before, "least_first": least.mean(1) - before})


def _noise(probe: Probe) -> Tensor:
    drawn = [torch.randn(probe.images.shape[1:], generator=probe.generator(row)) for row in range(len(probe.images))]
    return NOISE * torch.stack(drawn).to(probe.images) if drawn else torch.zeros_like(probe.images)


def impute(images: Tensor, known: Tensor, tolerance: float = 1e-6, most_steps: int = 2000) -> Tensor:
    """Fills in what is not known with the weighted mean of its neighbours, of which those off the frame do not count.

    The linear system is symmetric and positive: conjugate gradients, all photos and channels at once, from a guess made
    coarse to fine, until no pixel is off its neighbours' mean by more than ``tolerance``.

    Args:
        images: float (N, C, H, W). known: bool (N, H, W), at least one pixel of each.

    Returns:
        float32 (N, C, H, W), equal to ``images`` where known.

    >>> impute(torch.tensor([[[[0.0, 9.0, 0.5]]]]), torch.tensor([[[True, False, True]]]))
    tensor([[[[0.0000, 0.2500, 0.5000]]]])
    """
    size, channels = images.shape[2:], images.shape[1]
    unknown = (~known)[:, None].float()
    images = images.float() * (1 - unknown)
    kernel = torch.tensor(_NEIGHBOURS, device=images.device).expand(channels, 1, 3, 3)

    def from_neighbours(values: Tensor) -> Tensor:
        return F.conv2d(values, kernel, padding=1, groups=channels)

    on_frame = from_neighbours(torch.ones(1, channels, *size, device=images.device))  # their weights, less at the edges
    values = _guess(images, known[:, None].float()) * unknown
    residual = unknown * (from_neighbours(images + values) - on_frame * values)
    direction = residual
    power = residual.square().sum((2, 3), keepdim=True)
    for _ in range(most_steps):
        if not residual.numel() or residual.abs().max() <= tolerance:
            break
        along = unknown * (on_frame * direction - from_neighbours(direction))
        step = power / (direction * along).sum((2, 3), keepdim=True).clamp(min=1e-30)
        values = values + step * direction
        residual = residual - step * along
        before, power = power, residual.square().sum((2, 3), keepdim=True)
        direction = residual + power / before.clamp(min=1e-30) * direction
    return images + values


def _guess(images: Tensor, known: Tensor) -> Tensor:
    """``images`` (N, C, h, w), 0 where ``known`` (N, 1, h, w) is 0, filled in from their halves, these from theirs."""
    if min(images.shape) == 0 or max(images.shape[2:]) == 1 or bool(known.all()):
        return images
    share = F.avg_pool2d(known, 2, ceil_mode=True)
    coarse = F.avg_pool2d(images, 2, ceil_mode=True) / share.clamp(min=1e-6)
    filled = _guess(coarse, (share > 0).float())
    return torch.where(known > 0, images, F.interpolate(filled, images.shape[2:], mode="bilinear"))


MEASURE = Measure("road", True, (-0.5, 0.5), True, compute, title="ROAD")
