"""DEFCON-1 and its variants: the deformable convolution along the channels, what decides its offsets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from das_explain.nn.attention.defcon1 import (
    NON_LOCAL,
    OFFSETS,
    Defcon1,
    correlated_places,
    deform_conv1d,
    shuffled_order,
)
from das_explain.nn.attention.eca import ECA
from das_explain.nn.counts.tables import DEFCON1, on_meta
from tests.nn.lively import lively, maps


def test_deformable_1d_is_torchvisions_2d_on_one_row() -> None:
    y, offset, weight = maps(2, 11), 4 * maps(2, 5, 11, seed=2), maps(5, seed=3)
    shifts = torch.zeros(2, 5, 2, 1, 11, dtype=torch.float64)
    shifts[:, :, 1, 0] = offset
    theirs = deform_conv2d(y[:, None, None], shifts.flatten(1, 2), weight.view(1, 1, 1, 5), padding=(0, 2))
    torch.testing.assert_close(deform_conv1d(y, offset, weight), theirs[:, 0, 0])


def test_the_papers_example() -> None:
    """Sec. 3: on the first position the offsets 3, 5, 20 lead to the positions 3, 6, 22 instead of 0, 1, 2."""
    y, offset = torch.zeros(1, 30), torch.zeros(1, 3, 30)
    y[0, [3, 6, 22]] = torch.tensor([1.0, 10.0, 100.0])
    offset[0, :, 1] = torch.tensor([3.0, 5.0, 20.0])
    assert deform_conv1d(y, offset, torch.ones(3))[0, 1] == 111


def test_positions_keep_their_precision_in_bfloat16() -> None:
    """Of 2048 channels bfloat16 knows every eighth."""
    module, eca, x = Defcon1(2048), ECA(2048), maps(2, 2048, 2, 2).float()
    eca.conv.weight.data.copy_(module.weight.view(1, 1, -1))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module.attention(x).float(), eca.attention(x).float(), rtol=0, atol=0.01)
        places = correlated_places(x, 3) + torch.arange(2048) + torch.tensor([-1, 0, 1])[:, None]
    assert torch.equal(places[:, 0], torch.arange(2048).expand(2, 2048).float())


def test_defcon1_begins_as_eca() -> None:
    module, eca, x = Defcon1(32).double(), ECA(32).double(), maps(2, 32, 3, 3)
    eca.conv.weight.data.copy_(module.weight.view(1, 1, -1))
    torch.testing.assert_close(module(x), eca(x))


# --- one position at a time, from the docstring's sentences


def made_by_convolution(values: np.ndarray, weight: np.ndarray, p: int) -> np.ndarray:
    """The k offsets at position p of a 1-D convolution: (C,), (k, k) -> (k,)."""
    k = weight.shape[1]
    near = [values[q] if 0 <= q < len(values) else 0.0 for q in range(p - k // 2, p + k // 2 + 1)]
    return weight @ near


def look_up(y: np.ndarray, position: float) -> float:
    total = 0.0
    for q in (math.floor(position), math.floor(position) + 1):
        if 0 <= q < len(y):
            total += (1 - abs(position - q)) * y[q]
    return total


def one_part(x: np.ndarray, offsets: str, w: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """d for one image (C, H, W)."""
    y = x.mean((1, 2))
    channels, k = len(y), len(w)
    groups = 2 ** math.ceil(math.log2(k))
    order = [row * (channels // groups) + column for column in range(channels // groups) for row in range(groups)]
    shuffled = y[order]
    out = np.zeros(channels)
    for p in range(channels):
        places = np.arange(p - k // 2, p + k // 2 + 1).astype(float)
        if offsets == "local":
            places += made_by_convolution(y, weight, p)
        elif offsets == "shuffle-literal":
            places += made_by_convolution(shuffled, weight, p)
        elif offsets == "shuffle":
            places += made_by_convolution(shuffled, weight, order.index(p))
        elif offsets == "correlation":
            nearest = sorted(range(channels), key=lambda q: -y[p] * y[q])[:k]
            places += weight @ y[nearest]
        else:
            matrix = np.corrcoef(x.reshape(channels, -1))
            places = np.array(sorted(range(channels), key=lambda q: -matrix[p, q])[:k], dtype=float)
        out[p] = sum(w_n * look_up(y, place) for w_n, place in zip(w, places))
    return out


def reference(module: Defcon1, x: Tensor) -> np.ndarray:
    values = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    rows = []
    for image in x.numpy():
        if module.offsets == "gap":
            d = image.mean((1, 2))
        else:
            learned = values["offset.weight"][:, 0] if "offset.weight" in values else None
            d = one_part(image, module.offsets, values["weight"], learned)
            if module.weighted:
                a = 1 / (1 + np.exp(-values["mix"]))
                d = a * d + (1 - a) * one_part(image, "local", values["weight"], values["local_offset.weight"][:, 0])
        rows.append(image / (1 + np.exp(-d))[:, None, None])
    return np.stack(rows)


@pytest.mark.parametrize(
    ("offsets", "weighted"), [*((name, False) for name in OFFSETS), *((name, True) for name in NON_LOCAL)]
)
@pytest.mark.parametrize("k", [3, 5])
def test_each_variant_is_what_its_sentence_says(offsets: str, weighted: bool, k: int) -> None:
    module, x = lively(Defcon1(16, k, offsets, weighted)), maps(2, 16, 4, 3)
    np.testing.assert_allclose(module(x).detach().numpy(), reference(module, x), rtol=1e-9, atol=1e-12)


# --- shuffle


def test_channel_shuffle() -> None:
    assert shuffled_order(12, 4).tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    assert shuffled_order(6, 4).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("offsets", "channels"), [("local", [5, 6, 7]), ("shuffle", [2, 6, 10]), ("shuffle-literal", [5, 9, 13])]
)
def test_what_the_offsets_of_channel_6_depend_on(offsets: str, channels: list[int]) -> None:
    """4 groups of 4: the shuffled order is 0 4 8 12, 1 5 9 13, 2 6 10 14, ..; its place 6 has channel 9."""
    module, y = lively(Defcon1(16, 3, offsets)), maps(1, 16).requires_grad_()
    made = module.make_offsets(y[:, :, None, None], y)[0, :, 6]
    assert torch.autograd.grad(made.sum(), y)[0][0].nonzero().flatten().tolist() == channels


def test_the_literal_shuffle_gives_a_channel_the_offsets_of_another() -> None:
    literal, returned = (lively(Defcon1(16, 3, offsets)) for offsets in ("shuffle-literal", "shuffle"))
    y = maps(2, 16)
    order = shuffled_order(16, 4)
    theirs, ours = literal.make_offsets(None, y), returned.make_offsets(None, y)
    torch.testing.assert_close(ours[:, :, order], theirs)
    assert not torch.allclose(ours, theirs)


# --- correlation


def test_the_matrix_of_one_vector_gives_all_channels_the_same_neighbours() -> None:
    """The pooled reading: y y^T has rank one, so every row of it is y times a number."""
    module, y = lively(Defcon1(16, 3, "correlation")), maps(2, 16).abs()
    made = module.make_offsets(None, y)
    torch.testing.assert_close(made, made[:, :, :1].expand_as(made))
    signed = module.make_offsets(None, maps(2, 16))
    for image, row in zip(maps(2, 16), signed):  # two kinds of channels where y has both signs
        positive = image > 0
        assert len(row[:, positive].unique(dim=1).T) == len(row[:, ~positive].unique(dim=1).T) == 1


def test_the_matrix_of_the_maps_gives_each_channel_its_own() -> None:
    x = torch.zeros(1, 6, 2, 2)
    x[0, :, 0, 0] = torch.tensor([1.0, 0, 2, 0, 3, 0])  # 0, 2, 4 are the same map at other strengths; so are 1, 3, 5
    x[0, :, 1, 1] = torch.tensor([0, 5.0, 0, 4, 0, 3])
    places = correlated_places(x, 3) + torch.arange(6) + torch.tensor([-1, 0, 1])[:, None]
    assert [sorted(column) for column in places[0].T.tolist()] == [[0, 2, 4], [1, 3, 5]] * 3


def test_a_channel_correlates_most_with_itself() -> None:
    places = correlated_places(maps(3, 8, 4, 4), 3) + torch.arange(8) + torch.tensor([-1, 0, 1])[:, None]
    assert torch.equal(places[:, 0], torch.arange(8).expand(3, 8).double())


def test_a_kernel_wider_than_the_channels_is_refused() -> None:
    for offsets in ("correlation", "correlation-maps"):
        with pytest.raises(ValueError, match=f"{offsets} takes 7 channels of 4"):
            Defcon1(4, 7, offsets)


# --- gap


def test_gap_is_a_gate_without_parameters() -> None:
    x = maps(2, 16, 4, 3)
    module = Defcon1(16, offsets="gap")
    torch.testing.assert_close(module(x), x * x.mean((2, 3), keepdim=True).sigmoid())
    assert list(module.parameters()) == []


# --- counts

K = 3 * 3 + 4 * 5 + 6 * 5 + 3 * 7
"""The sum of k over the 16 blocks of ResNet-50: 80. That of k^2 is 424."""


@pytest.mark.usefixtures("no_start")
@pytest.mark.parametrize(
    ("offsets", "weighted", "added"),
    [
        ("local", False, 424 + K),
        ("shuffle", False, 424 + K),
        ("shuffle-literal", False, 424 + K),
        ("correlation", False, 424 + K),
        ("correlation-maps", False, K),
        ("gap", False, 0),
        ("shuffle", True, 2 * 424 + K + 16),
        ("correlation", True, 2 * 424 + K + 16),
        ("correlation-maps", True, 424 + K + 16),
    ],
)
def test_parameters(offsets: str, weighted: bool, added: int) -> None:
    network = on_meta("resnet50", "defcon1", 100, stem="padded", offsets=offsets, weighted=weighted)
    assert sum(p.numel() for p in network.parameters()) == DEFCON1["none"] + added
    assert DEFCON1["defcon1"] == DEFCON1["none"] + 424 + K


@pytest.mark.parametrize("offsets", NON_LOCAL)
def test_every_parameter_of_the_weighted_variants_learns(offsets: str) -> None:
    module = lively(Defcon1(16, 3, offsets, weighted=True))
    module(maps(2, 16, 4, 3)).square().sum().backward()
    assert all(parameter.grad.count_nonzero() for parameter in module.parameters())
