"""Modulated deformable convolution (DCNv2, Zhu et al. 2019, Eq. 1), stride 1, by the faster of two equal routes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d


def modulated_deform_conv2d(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor) -> Tensor:
    """``out(p) = sum_k weight_k * modulation_k(p) * x(p + p_k + offset_k(p))`` with zeros outside the map.

    Args:
        x: (N, C, H, W).
        offset: (N, 2 K, H, W) in pixels, (dy, dx) for each of the K = k * k taps, row by row.
        modulation: (N, K, H, W).
        weight: (O, C, k, k), k odd; the map keeps its size (padding k // 2).

    Returns:
        (N, O, H, W) in the dtype of ``x``. Sampling is done in float32 at least: torchvision's op has no
        bfloat16 kernel on CPU, and a position needs more than 8 bits.
    """
    dtype = x.dtype
    wide = torch.promote_types(dtype, torch.float32)
    x, offset, modulation, weight = (tensor.to(wide) for tensor in (x, offset, modulation, weight))
    if x.is_cuda:
        padding = weight.shape[-1] // 2
        out = deform_conv2d(x, offset, weight, padding=padding, mask=modulation)
    else:
        out = _by_grid_sample(x, offset, modulation, weight)
    return out.to(dtype)


def _by_grid_sample(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor) -> Tensor:
    """The same sum as K bilinear look-ups and one matrix product over all images; the result is channels_last.

    Measured on a CPU (``benchmarks/deform.py``): at the gates of ResNet-18, ResNet-50 and MobileNetV2 1.4 to 4 times
    as fast as torchvision's operator, 2 to 9 times with gradients. Only on maps of one or two positions a side and
    without gradients is the operator ahead, by up to a millisecond.
    """
    n, c, h, w = x.shape
    out_channels, _, k, _ = weight.shape
    taps = k * k
    tap = torch.arange(taps, device=x.device)
    rows = torch.arange(h, device=x.device).view(1, 1, h, 1) + (tap // k - k // 2).view(1, taps, 1, 1)
    columns = torch.arange(w, device=x.device).view(1, 1, 1, w) + (tap % k - k // 2).view(1, taps, 1, 1)
    offset = offset.reshape(n, taps, 2, h, w)
    y = (2 * (rows + offset[:, :, 0]) + 1) / h - 1  # grid_sample's half-pixel coordinates, also right for h = 1
    x_ = (2 * (columns + offset[:, :, 1]) + 1) / w - 1
    grid = torch.stack((x_, y), dim=-1).view(n, taps * h, w, 2)  # (N, K H, W, 2)
    sampled = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # (C, K, N, HW): the images become columns of one matrix; a product per image is slower, most of all on 7x7 maps
    sampled = sampled.reshape(n, c, taps, h * w).permute(1, 2, 0, 3)
    sampled = sampled * modulation.reshape(n, taps, h * w).permute(1, 0, 2)
    columns_of_all = sampled.reshape(c * taps, n * h * w)
    out = columns_of_all.t() @ weight.reshape(out_channels, c * taps).t()  # (N HW, O)
    return out.view(n, h, w, out_channels).permute(0, 3, 1, 2)
