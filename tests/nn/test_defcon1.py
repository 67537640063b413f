"""DEFCON-1 and its variants: the deformable convolution along the channels, what decides its offsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import deform_conv2d

from das_explain.nn.attention.defcon1 import Defcon1, deform_conv1d, shuffle
from das_explain.nn.attention.eca import ECA
from das_explain.nn.counts.tables import DEFCON1, on_meta
from tests.nn.lively import lively, maps


def test_deformable_1d_is_torchvisions_2d_on_one_row() -> None:
    y, offset, weight = maps(2, 11), 4 * maps(2, 5, 11, seed=2), maps(5, seed=3)
    shifts = torch.zeros(2, 5, 2, 1, 11, dtype=torch.float64)
    shifts[:, :, 1, 0] = offset
    theirs = deform_conv2d(y[:, None, None], shifts.flatten(1, 2), weight.view(1, 1, 1, 5), padding=(0, 2))
    torch.testing.assert_close(deform_conv1d(y, offset, weight), theirs[:, 0, 0])


def test_defcon1_begins_as_eca() -> None:
    module, eca, x = Defcon1(32).double(), ECA(32).double(), maps(2, 32, 3, 3)
    eca.conv.weight.data.copy_(module.weight.view(1, 1, -1))
    torch.testing.assert_close(module(x), eca(x))


def test_channel_shuffle() -> None:
    assert shuffle(torch.arange(12)[None], 4).tolist() == [[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]]
    assert shuffle(torch.arange(6)[None], 4).tolist() == [[0, 1, 2, 3, 4, 5]]
    module, y = lively(Defcon1(16, kernel_size=3, offsets="shuffle")), maps(2, 16)
    assert torch.equal(module.make_offsets(y), module.offset(shuffle(y, 4)[:, None]))  # 2^ceil(log2 3) groups


def test_correlated_channels_decide_the_offsets() -> None:
    module, y = lively(Defcon1(8, kernel_size=3, offsets="correlation")), maps(1, 8)
    weight, values = module.offset.weight[:, 0].detach().numpy(), y[0].numpy()
    for p in range(8):
        strongest = sorted(range(8), key=lambda j: -values[p] * values[j])[:3]
        np.testing.assert_allclose(module.make_offsets(y)[0, :, p].detach().numpy(), weight @ values[strongest])


def test_local_and_non_local_parts_are_weighted() -> None:
    module, x = lively(Defcon1(16, weighted=True)), maps(2, 16, 2, 2)
    y, share = x.mean((2, 3)), module.mix.sigmoid()
    far = deform_conv1d(y, module.make_offsets(y), module.weight)
    near = deform_conv1d(y, torch.zeros(2, 5, 16).double()[:, : len(module.weight)], module.weight)
    expected = (share * far + (1 - share) * near).sigmoid()
    torch.testing.assert_close(module.attention(x)[:, :, 0, 0], expected)


@pytest.mark.parametrize(("offsets", "weighted"), [("local", True), ("shuffle", False), ("correlation", False)])
def test_variants_of_defcon1_are_networks(offsets: str, weighted: bool) -> None:
    network = on_meta("resnet50", "defcon1", 100, stem="small", offsets=offsets, weighted=weighted)
    assert sum(p.numel() for p in network.parameters()) == DEFCON1["defcon1"] + 16 * weighted
