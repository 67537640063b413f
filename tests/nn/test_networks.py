"""Networks with attention as they run: training, inference, maps.

All pairs of ResNet-18, ResNet-50 and MobileNetV2; the other ResNets consist of the same layers (``test_pairs.py``) in
longer stages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from das_explain.cam.engine import grad_cam
from das_explain.nn import attentions_of, create_model
from das_explain.nn.fast.fold import folded
from das_explain.nn.registry import BLOCKS, default_gates

PAIRS = [(name, attention) for name in ("resnet18", "resnet50", "mobilenet_v2") for attention in attentions_of(name)]


def images(n: int = 2, height: int = 48, width: int = 40) -> Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("backbone", "attention"), PAIRS)
def test_pair(backbone: str, attention: str) -> None:
    torch.manual_seed(0)
    network = create_model(backbone, attention, num_classes=5).train()
    learns(network)
    network.eval()
    infers(network, backbone, attention)
    has_the_maps_of_pytorch_grad_cam(network, BLOCKS[backbone][-2:])


def learns(network: nn.Module) -> None:
    """Every parameter gets a gradient."""
    output = network(images())
    sum(logits.square().sum() for logits in (output if isinstance(output, tuple) else (output,))).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def infers(network: nn.Module, backbone: str, attention: str) -> None:
    """Deterministic; the same from its state dict, folded, and in channels_last."""
    with torch.device("meta"):
        again = create_model(backbone, attention, num_classes=5).eval()
    again = again.to_empty(device="cpu")
    again.load_state_dict(network.state_dict(), strict=True)
    with torch.no_grad():
        out = network(images())
        assert torch.equal(network(images()), out)
        assert torch.equal(again(images()), out)
        torch.testing.assert_close(folded(network)(images()), out, rtol=1e-3, atol=1e-4)
        columns = again.to(memory_format=torch.channels_last)(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(columns, out, rtol=1e-3, atol=1e-4)


def has_the_maps_of_pytorch_grad_cam(network: nn.Module, blocks: Sequence[str]) -> None:
    targets = torch.tensor([1, 3])
    ours = grad_cam(network, images(), targets, blocks)
    for block in blocks:
        with GradCAM(network, [network.get_submodule(block)]) as reference:
            theirs = reference(images(), [ClassifierOutputTarget(int(target)) for target in targets])
        np.testing.assert_allclose(ours[block].map.numpy(), theirs, atol=2e-4)


@pytest.mark.parametrize("attention", ["se", "triplet"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenet_v2"])
def test_inside_is_before_the_addition(backbone: str, attention: str) -> None:
    network = create_model(backbone, attention, num_classes=5).eval()
    theirs = getattr(torchvision.models, backbone)(weights=None, num_classes=5).eval()
    theirs.load_state_dict(network.state_dict(), strict=False)
    places = default_gates(backbone, attention)
    block = network.get_submodule(places[1])
    for place in places:
        network.get_submodule(place).gate = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(network(images(1, 64, 64)), theirs(images(1, 64, 64)))
        x = torch.rand(1, _input_channels(block), 8, 8)
        block.gate = Nothing()
        skip = x if _adds(block) else torch.zeros_like(block(x))
    assert torch.equal(block(x), skip)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


def _input_channels(block: nn.Module) -> int:
    return next(module for module in block.modules() if isinstance(module, nn.Conv2d)).in_channels


def _adds(block: nn.Module) -> bool:
    return getattr(block, "use_res_connect", True)
