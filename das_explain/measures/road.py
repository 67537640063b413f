"""ROAD, remove and debias: does the network miss the highest pixels more than the lowest, if what is put in their place
gives away nothing (Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022,
arXiv 2202.00449).

    road = mean over shares of (p without the lowest - p without the highest) / 2

The shares removed are 90 %, 80 % ... 10 %. In place of the removed pixels stands the noisy linear imputation:
each is the mean of its eight neighbours, of which the direct ones weigh 1/6 and the diagonal ones 1/12, and a
little noise. As pytorch-grad-cam's ``ROADCombined``, which is the reference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, answered, check_maps
from das_explain.measures.probe import Probe, probe_of

if TYPE_CHECKING:
    from scipy import sparse

KEPT = (10, 20, 30, 40, 50, 60, 70, 80, 90)
"""Per cent of the pixels that are kept, pytorch-grad-cam's percentiles."""
NOISE = 0.01
"""Standard deviation of the noise, in units of the frame's [0, 1]."""


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
    kept = torch.tensor([max(1, -(-percent * (pixels - 1) // 100)) for percent in KEPT], device=places.device)
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


def impute(images: Tensor, known: Tensor) -> Tensor:
    """Fills in what is not known with the weighted mean of its neighbours, of which those off the frame do not count.

    One sparse symmetric system per photo, solved directly in float64, on the processor: about 0.1 s at 224 px.

    Args:
        images: float (N, C, H, W). known: bool (N, H, W), at least one pixel of each.

    Returns:
        float32 (N, C, H, W) on the images' device, equal to ``images`` where known.

    >>> impute(torch.tensor([[[[0.0, 9.0, 0.5]]]]), torch.tensor([[[True, False, True]]]))
    tensor([[[[0.0000, 0.2500, 0.5000]]]])
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    filled = np.array(images.detach().cpu(), dtype=np.float64).reshape(*images.shape[:2], -1)
    near = _neighbours(*images.shape[2:])
    weight = np.asarray(near.sum(axis=1)).ravel()  # less at the frame's edges
    for photo, is_known in zip(filled, known.cpu().numpy().reshape(len(known), -1), strict=True):
        missing, given = np.flatnonzero(~is_known), np.flatnonzero(is_known)
        if not len(missing):
            continue
        rows = near[missing]
        system = (sparse.diags_array(weight[missing]) - rows[:, missing]).tocsc()
        solver = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        photo[:, missing] = solver.solve(rows[:, given] @ photo[:, given].T).T
    return torch.from_numpy(filled).view(images.shape).float().to(images.device)


@lru_cache(maxsize=4)
def _neighbours(height: int, width: int) -> sparse.csr_array:
    """The weight of each pixel's neighbours, (H * W, H * W): 1/6 beside, above and below, 1/12 at the corners."""

    from scipy import sparse

    def line(length: int, beside: float, here: float) -> sparse.dia_array:
        return sparse.diags_array([beside, here, beside], offsets=[-1, 0, 1], shape=(length, length))

    other_rows = sparse.kron(line(height, 1.0, 0.0), line(width, 1 / 12, 1 / 6))
    return (other_rows + sparse.kron(sparse.diags_array(np.ones(height)), line(width, 1 / 6, 0.0))).tocsr()


MEASURE = Measure("road", True, (-0.5, 0.5), True, compute, title="ROAD", of_region=False)
