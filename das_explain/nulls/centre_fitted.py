"""The blind Gaussian that fits the data set's masks: what is to be had by knowing where its objects usually are."""

from __future__ import annotations

import torch
from torch import Tensor

from das_explain.nulls.base import Null
from das_explain.nulls.centre import centre_map


def fitted_map(mean_mask: Tensor) -> Tensor:
    """The Gaussian with the mean and covariance of where objects' pixels lie: float (H, W) >= 0 -> float32 (1, H, W).

    Of all Gaussians it gives the objects' pixels the highest likelihood; its peak, 1, may lie between pixels. A pixel is
    taken as a unit square (1/12 px^2 of variance), so that one pixel alone has a width, too. Without any object it is
    ``centre_map``.

    >>> mask = torch.zeros(5, 7)
    >>> mask[1:4, 2] = 1
    >>> fitted_map(mask)[0].argmax().item() == 2 * 7 + 2
    True
    """
    height, width = mean_mask.shape
    mass = mean_mask.double()
    if not mass.sum() > 0:
        return centre_map(height, width, device=mean_mask.device)
    y, x = (torch.arange(length, dtype=torch.float64, device=mass.device) for length in (height, width))
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).view(-1, 2)
    shares = (mass / mass.sum()).view(-1, 1)
    mean = (shares * places).sum(0)
    apart = places - mean
    covariance = apart.T @ (shares * apart) + torch.eye(2, dtype=torch.float64, device=mass.device) / 12
    distance = (apart @ torch.linalg.inv(covariance) * apart).sum(1)  # Mahalanobis, squared
    return torch.exp(-distance / 2).view(1, height, width).float()


def make(maps: Tensor, masks: Tensor, partner: Tensor, *, mean_mask: Tensor) -> Tensor:
    """The same ``fitted_map`` for every image, float32 (N, H, W), on the masks' device: one, expanded."""
    return fitted_map(mean_mask.to(masks.device)).expand(len(masks), -1, -1)


NULL = Null("centre-fitted", make, blind=True, needs=("mean_mask",), title="fitted Gaussian")
