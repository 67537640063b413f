"""Folding networks that somebody else wrote: done where it is right, left where it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as hooked_spectral_norm
from torch.nn.utils import weight_norm as hooked_weight_norm

from das_explain.cam.engine import grad_cam
from das_explain.cam.fast import fast_copy
from das_explain.nn.fast.fold import folded, same_logits

SIZE = (24, 32)


class Network(nn.Module):
    def __init__(self, first: Callable[[nn.Conv2d], nn.Module] = lambda conv: conv) -> None:
        super().__init__()
        self.stem = nn.Sequential(first(nn.Conv2d(3, 8, 3, padding=1)), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.block(self.stem(x)).mean((2, 3)))


class ReadsTheConvolution(Network):
    def forward(self, x: Tensor) -> Tensor:
        before = self.stem[0](x)
        return self.fc(self.block(self.stem[2](self.stem[1](before)) + before).mean((2, 3)))


class HoldsAResult(Network):
    """A tensor with a history cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(1, requires_grad=True) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


def alive(network: nn.Module) -> nn.Module:
    """With batch norms whose statistics matter."""
    with torch.no_grad():
        for _ in range(3):
            network.train()(3 * torch.randn(8, 3, *SIZE) + 1)
    return network.eval()


@pytest.mark.parametrize(
    ("build", "folds"),
    [
        (Network, True),
        (ReadsTheConvolution, False),
        (HoldsAResult, False),
        (lambda: Network(hooked_weight_norm), True),
        (lambda: Network(hooked_spectral_norm), True),
        (lambda: Network(parametrizations.weight_norm), True),
        (lambda: Network(parametrizations.spectral_norm), True),
    ],
    ids=("plain", "reads", "holds", "weight_norm, hooked", "spectral_norm, hooked", "weight_norm", "spectral_norm"),
)
@pytest.mark.parametrize("precision", ("fp32", "bf16"))
def test_whoever_wrote_the_network_its_maps_are_its_own(build: Callable[[], nn.Module], folds: bool, precision: str):
    torch.manual_seed(0)
    network, images, targets = alive(build()), torch.randn(2, 3, *SIZE), torch.tensor([0, 2])
    blocks = {"relu": network.stem[2], "block": network.block}
    run, modules = fast_copy(network, blocks, SIZE, precision=precision)
    assert (run is not network) == folds
    expected = grad_cam(network, images, targets, blocks)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        for name, cam in grad_cam(run, images, targets, modules).items():
            tolerance = 1e-5 if precision == "fp32" else 0.1
            torch.testing.assert_close(cam.map, expected[name].map, rtol=0, atol=tolerance)


def test_other_logits_are_noticed():
    torch.manual_seed(0)
    network = alive(Network()).requires_grad_(True)
    twin = folded(network)
    assert same_logits(network, twin, SIZE)
    twin.fc = nn.Linear(8, 3)
    assert not same_logits(network, twin, SIZE)
    assert not same_logits(alive(ReadsTheConvolution()), folded(alive(ReadsTheConvolution())), SIZE)
    assert all(parameter.requires_grad for parameter in network.parameters())
