"""Blocks: known ones by name, others by one look at a blank image, hand-checked on small networks."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import nn

from das_explain.checkpoint.blocks import find_blocks
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model
from das_explain.nn.stages import probe


class Net(nn.Module):
    """Stem (1/2), a stage of two at 1/4, one at 1/8, a ReLU that is used three times, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.relu = nn.ReLU()
        self.stage = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 1, 1))
        self.reduce = nn.Sequential(OrderedDict(narrow=nn.Conv2d(6, 4, 1), stride=nn.Conv2d(4, 8, 3, 2, 1)))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.squeeze = nn.Conv2d(8, 8, 2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.stage(self.relu(self.stem(x))))
        return self.head(self.squeeze(self.pool(self.relu(self.reduce(x)))).flatten(1))


def test_the_outermost_last_module_of_each_resolution() -> None:
    network = Net().train()
    network.stage.eval()
    assert list(find_blocks(network, "mine", (64, 64))) == ["stem", "stage", "reduce"]
    assert list(find_blocks(network, "mine", (40, 64))) == ["stem", "stage", "reduce"]
    assert probe(network, (64, 64)).num_classes == 5
    assert [network.training, network.stage.training] == [True, False]
    assert not any(module._forward_hooks for module in network.modules())


def test_maps_with_channels_last_are_blocks_too() -> None:
    class Swapped(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.permute(0, 2, 3, 1)

    head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 16 * 16, 2))
    network = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 6, 2, 2), swap=Swapped(), head=head))
    assert list(find_blocks(network, "mine", (32, 32))) == ["swap"], "the last at its resolution"


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnext50_32x4d", ["layer1", "layer2", "layer3", "layer4"]),
        ("shufflenet_v2_x0_5", ["conv1", "maxpool", "stage2", "stage3", "conv5"]),
        ("squeezenet1_1", ["features.1", "features.4", "features.7", "features"]),
        ("mobilenet_v3_small", ["features.0", "features.1", "features.3", "features.8", "features"]),
    ],
)
def test_torchvision_s_networks(name: str, blocks: list[str]) -> None:
    network = torchvision.models.get_model(name, weights=None)
    assert list(find_blocks(network, f"torchvision:{name}", (224, 224))) == blocks


def test_a_gated_stage_includes_its_gate() -> None:
    network = create_model("resnet18", "das", 3)
    blocks = find_blocks(network, "resnet18", (32, 32))
    assert list(blocks) == ["layer1", "layer2", "layer3", "layer4"]
    assert blocks["layer3"] is network.layer3
    assert list(dict(blocks["layer3"].named_children())) == ["0", "1", "gate"]


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_torchscript_inside_a_network_is_no_block() -> None:
    def part(channels: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU())

    scripted = torch.jit.trace(part(4).eval(), torch.zeros(1, 4, 16, 16))
    network = nn.Sequential(part(3), scripted, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert list(find_blocks(network, "mine", (32, 32))) == ["0"]
    with pytest.raises(DasExplainError, match="block 1 of mine is TorchScript, which cannot be watched at work; give"):
        find_blocks(network, "mine", (32, 32), ["1"])


def test_wanted_modules_come_in_forward_order() -> None:
    network = create_model("mobilenet_v2", "das", 3)
    wanted = ["features.17", "features.3.gate", "features.3.conv.0"]
    assert list(find_blocks(network, "mobilenet_v2", (32, 32), wanted)) == wanted[::-1]
    assert list(find_blocks(network, "mobilenet_v2", (32, 32), ["features", "features.18"])) == [
        "features.18",
        "features",
    ]


def test_an_unknown_block_lists_the_blocks_and_close_names() -> None:
    network = create_model("resnet18", "none", 3)
    with pytest.raises(UsageError) as error:
        find_blocks(network, "resnet18", (32, 32), ["layer4", "layer4.2"])
    assert str(error.value).startswith(
        "resnet18 has no block 'layer4.2'; its blocks are layer1, layer2, layer3, layer4; "
        "modules with a similar name: layer4."
    )
    with pytest.raises(UsageError, match="no block ''"):
        find_blocks(network, "resnet18", (32, 32), [""])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 9)), "the network does not take an image of 3x8x8: "),
        (
            nn.Conv2d(3, 2, 1),
            r"must return logits \(N, classes\)",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), "mine has no module with a map"),
    ],
)
def test_networks_that_cannot_be_explained(network: nn.Module, message: str) -> None:
    with pytest.raises(DasExplainError, match=message):
        find_blocks(network, "mine", (8, 8))
