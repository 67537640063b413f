"""The backbones: torchvision's when plain, with gates where they are asked for, at any size of input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from das_explain.errors import UsageError
from das_explain.nn import create_model, das_mobilenet_v2, das_resnet18, das_resnet50, das_resnet101
from das_explain.nn.backbones.mobilenet import PAPER_GATES, mobilenet_v2
from das_explain.nn.backbones.resnet import resnet
from das_explain.nn.registry import BACKBONES, BLOCKS

SMALL = ("resnet18", "mobilenet_v2")
KINDS = (*SMALL, "resnet50")  # one of each kind of block


def torchvision_model(name: str, num_classes: int = 5) -> nn.Module:
    """Random weights, and running statistics as after some training."""
    torch.manual_seed(0)
    network = getattr(torchvision.models, name)(weights=None, num_classes=num_classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def images(n: int = 2, height: int = 33, width: int = 47) -> torch.Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


class Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0


@pytest.mark.parametrize("name", KINDS)
def test_plain_networks_are_torchvisions_to_the_bit(name: str) -> None:
    theirs = torchvision_model(name)
    ours = create_model(name, num_classes=5).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(ours(images()), theirs(images()))


@pytest.mark.parametrize("name", BACKBONES)
def test_plain_state_dicts_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = create_model(name), getattr(torchvision.models, name)(weights=None)
    assert [(key, value.shape) for key, value in ours.state_dict().items()] == [
        (key, value.shape) for key, value in theirs.state_dict().items()
    ]


@pytest.mark.parametrize("name", KINDS)
def test_a_torchvision_checkpoint_fills_all_but_the_gates(name: str) -> None:
    theirs = torchvision_model(name)
    ours = create_model(name, "das", num_classes=5).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert unexpected == []
    assert missing == [key for key in ours.state_dict() if ".gate." in key]
    assert {key.split(".gate.")[0] for key in missing} == set(BLOCKS[name])
    for place in BLOCKS[name]:  # with the gates open, nothing but torchvision's network is left
        ours.get_submodule(place).gate = nn.Identity()
    with torch.no_grad():
        assert torch.equal(ours(images()), theirs(images()))


@pytest.mark.parametrize("name", SMALL)
def test_identity_start_keeps_what_the_backbone_learned(name: str) -> None:
    theirs = torchvision_model(name)
    ours = create_model(name, "das", num_classes=5, init="identity").eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    with torch.no_grad():
        got, wanted = ours(images()), theirs(images())
    # every gate takes about 2 % of a map; the sum over channels moves by little more than 2 % a gate
    assert (got - wanted).abs().max() < 0.03 * len(BLOCKS[name]) * wanted.abs().max()


@pytest.mark.parametrize("name", SMALL)
def test_no_gates_is_the_plain_network(name: str) -> None:
    plain = create_model(name, num_classes=5).eval()
    gateless = create_model(name, "das", num_classes=5, gates=()).eval()
    gateless.load_state_dict(plain.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(gateless(images()), plain(images()))


def test_gates_stand_where_the_paper_puts_them() -> None:
    network = das_resnet18(num_classes=5)
    assert [list(getattr(network, f"layer{i}")._modules) for i in (1, 2, 3, 4)] == [["0", "1", "gate"]] * 4
    assert [getattr(network, f"layer{i}").gate.weight.shape[:2] for i in (1, 2, 3, 4)] == [
        (64, 12),
        (128, 25),
        (256, 51),
        (512, 102),
    ]
    with torch.device("meta"):
        network = das_mobilenet_v2()
    assert [network.get_submodule(place).gate.weight.shape[0] for place in PAPER_GATES] == [16, 24, 32, 96, 160, 320]


def test_gates_after_single_blocks() -> None:
    network = das_resnet18(num_classes=5, gates=("layer1.0", "layer3", "layer3.1"))
    assert list(network.layer1._modules) == ["0", "gate0", "1"]
    assert list(network.layer2._modules) == ["0", "1"]
    assert list(network.layer3._modules) == ["0", "1", "gate1", "gate"]
    assert network(images()).shape == (2, 5)


@pytest.mark.parametrize(
    ("build", "place"),
    [
        (lambda gate: resnet("resnet18", gate, gates=("layer2",)), "layer2"),
        (lambda gate: resnet("resnet50", gate, gates=("layer2.3",)), "layer2"),
        (lambda gate: mobilenet_v2(gate, gates=("features.3",)), "features.3"),
    ],
)
def test_a_gate_acts_after_the_skip_connection(build: Callable, place: str) -> None:
    network, seen = build(lambda channels: Zero()).eval(), {}
    network.get_submodule(place).register_forward_hook(lambda module, inputs, out: seen.update(out=out))
    network(images())
    assert seen["out"].count_nonzero() == 0


def test_alpha_reaches_the_gates() -> None:
    network = das_resnet18(alpha=0.5, gates=("layer4",))
    assert network.layer4.gate.weight.shape == (512, 256, 3, 3)


@pytest.mark.parametrize(
    ("name", "attention", "arguments", "message"),
    [
        ("resnet19", "das", {}, r"unknown backbone 'resnet19'; choose among resnet18, .*mobilenet_v2"),
        ("resnet18", "sad", {}, r"unknown attention 'sad'; choose among none, das"),
        ("resnet18", "das", {"gates": ("layer5",)}, r"no gate place 'layer5'; choose among layer1, layer1\.0"),
        ("resnet18", "das", {"gates": ("layer1", "layer1.2")}, r"no gate place 'layer1\.2'"),
        ("mobilenet_v2", "das", {"gates": ("features.0",)}, r"no gate place 'features\.0'; choose among features\.1"),
        ("resnet18", "none", {"stem": "tiny"}, r"stem 'tiny' is unknown; choose imagenet, small or padded"),
        ("resnet18", "das", {"alpha": 0}, r"alpha must lie in \(0, 1\], not 0"),
        ("resnet18", "das", {"alpha": "much"}, r"cannot build resnet18 with attention das"),
        ("resnet18", "das", {"init": "ones"}, "init must be default or identity, not 'ones'"),
        ("resnet18", "none", {"depth": 3}, r"cannot build resnet18.*'depth'"),
        ("mobilenet_v2", "none", {"stem": "small"}, r"cannot build mobilenet_v2.*'stem'"),
        ("resnet18", "none", {"num_classes": -1}, r"cannot build resnet18"),
    ],
)
def test_a_wrong_request_is_one_clear_line(name: str, attention: str, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        create_model(name, attention, **arguments)
    assert "\n" not in str(caught.value)


def test_the_small_stem_keeps_the_resolution() -> None:
    network, seen = create_model("resnet18", num_classes=7, stem="small").eval(), {}
    network.layer1.register_forward_hook(lambda module, inputs, out: seen.update(shape=out.shape))
    assert network(images(2, 32, 32)).shape == (2, 7)
    assert seen["shape"] == (2, 64, 32, 32)
    with torch.device("meta"):  # the ResNet-50 for 32x32 images and 100 classes that is common in the literature
        network = create_model("resnet50", num_classes=100, stem="small")
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_705_252


def test_the_padded_stem_is_that_of_defcon1s_authors() -> None:
    network, seen = create_model("resnet18", num_classes=7, stem="padded").eval(), {}
    network.layer1.register_forward_hook(lambda module, inputs, out: seen.update(shape=inputs[0].shape))
    assert network(images(2, 32, 32)).shape == (2, 7)
    assert seen["shape"] == (2, 64, 18, 18)  # 32 + 2 x 3 - 2 = 36 after the convolution, halved by the max pooling
    assert (network.conv1.kernel_size, network.conv1.stride, network.conv1.padding) == ((3, 3), (1, 1), (3, 3))
    assert type(network.maxpool) is nn.MaxPool2d
    with torch.device("meta"):
        network = create_model("resnet50", num_classes=100, stem="padded")
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_705_252


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, (33, 47)) for name in KINDS), *((name, (32, 32)) for name in SMALL)],  # 32: the last maps are one pixel
)
def test_every_parameter_learns(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = create_model(name, "das", num_classes=5).train()
    network(images(4, *size)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    first = network.get_submodule(BLOCKS[name][0]).gate
    # a constant before InstanceNorm changes nothing, so the biases there are idle; all else moves from the start
    idle = ("depthwise.bias", "pointwise.bias")
    still = [key for key, p in first.named_parameters() if key not in idle and p.grad.count_nonzero() == 0]
    assert still == []


@pytest.mark.parametrize("name", SMALL)
def test_odd_sizes_and_batches(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, "das", num_classes=5).eval()
    with torch.no_grad():
        logits = network(images())
        one_by_one = torch.cat([network(image[None]) for image in images()])
        mirrored = network(images().transpose(2, 3))
    assert logits.shape == mirrored.shape == (2, 5)
    assert mirrored.isfinite().all()
    torch.testing.assert_close(logits, one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, "das", num_classes=5).eval()
    with torch.no_grad():
        logits = network(images())
        network = network.to(memory_format=torch.channels_last)
        again = network(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-5)


def test_named_builders() -> None:
    with torch.device("meta"):
        built = das_resnet50(num_classes=3), das_resnet101(num_classes=3)
    assert [len(network.layer3) for network in built] == [7, 24]  # blocks and a gate
    assert [network.fc.out_features for network in built] == [3, 3]
    assert das_resnet50.__name__ == "das_resnet50"
