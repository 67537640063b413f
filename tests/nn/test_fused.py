"""oneDNN's fused operator against PyTorch's public ones, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from das_explain.cam.engine import grad_cam
from das_explain.nn import create_model
from das_explain.nn.carried import allow_mean_gradient
from das_explain.nn.fast.fold import folded
from das_explain.nn.fast.fused import FusedBlock, FusedConv2d, FusedStem, fusible

CONVS = {
    "3x3": {"kernel_size": 3, "padding": 1},
    "1x1": {"kernel_size": 1},
    "padded too far": {"kernel_size": 1, "padding": 1},
    "1x3": {"kernel_size": (1, 3), "padding": (0, 1)},
    "strided": {"kernel_size": 3, "padding": 1, "stride": 2},
    "strided 1x1": {"kernel_size": 1, "stride": 2},
    "strided, dilated": {"kernel_size": 3, "padding": 1, "stride": (2, 3), "dilation": 2},
    "dilated": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "grouped": {"kernel_size": 3, "padding": 1, "groups": 2},
    "unbiased": {"kernel_size": 3, "padding": 1, "bias": False},
}


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("relu", (True, False))
@pytest.mark.parametrize("with_shortcut", (True, False))
def test_values_and_gradients_are_those_of_the_separate_operators(name: str, relu: bool, with_shortcut: bool):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, **CONVS[name]).requires_grad_(False)
    fused = FusedConv2d(conv, relu=relu)
    for size in ((7, 10), (7, 10), (6, 6), (8, 11)):  # the weights are packed for the first size
        x = torch.randn(3, 4, *size, requires_grad=True)
        shortcut = torch.randn_like(conv(x), requires_grad=True) if with_shortcut else None
        expected = conv(x) if shortcut is None else conv(x) + shortcut
        expected = expected.relu() if relu else expected
        out, direction = fused(x, shortcut), torch.randn_like(expected)
        torch.testing.assert_close(out, expected)
        inputs = [x] if shortcut is None else [x, shortcut]
        wanted = torch.autograd.grad(expected, inputs, direction)
        for ours, theirs in zip(torch.autograd.grad(out, inputs, direction), wanted):
            torch.testing.assert_close(ours, theirs)
        allow_mean_gradient(x)
        averaged = torch.autograd.grad(fused(x, shortcut), inputs, direction)
        torch.testing.assert_close(averaged[0].mean((2, 3)), wanted[0].mean((2, 3)))
        torch.testing.assert_close(averaged[1:], wanted[1:])


@pytest.mark.parametrize("kernel", (1, 3))
def test_packed_kernels_serve_maps_of_any_size(kernel: int):
    """With channels in oneDNN's block sizes, where packing is no plain copy."""
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 96, kernel, stride=2, padding=kernel // 2).requires_grad_(False)
    fused = FusedConv2d(conv.to(memory_format=torch.channels_last), relu=False)
    for batch, *size in ((1, 7, 7), (8, 56, 56), (3, 14, 9)):
        x = torch.randn(batch, 64, *size, requires_grad=True)
        out, expected = fused(x), conv(x)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
        ours, theirs = (torch.autograd.grad(each.square().sum(), x)[0] for each in (out, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backbone", ("resnet18", "resnet50"))
def test_only_the_first_block_gets_a_gradient_that_is_right_in_its_mean_alone(backbone: str):
    torch.manual_seed(0)
    network, images = create_model(backbone, num_classes=5).eval(), torch.randn(2, 3, 64, 96)
    with torch.no_grad():  # no cancellation, so no rounding noise in the maps
        network.fc.weight.abs_()
    twin, targets = folded(network), torch.tensor([0, 3])
    for blocks in (["layer2", "layer3", "layer4"], ["layer4", "layer3"], ["layer3.0", "layer3", "layer1"]):
        theirs = grad_cam(network, images, targets, blocks)
        for name, ours in grad_cam(twin, images, targets, blocks).items():
            torch.testing.assert_close(ours.map, theirs[name].map, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "block"),
    [
        ({}, "layer3.0.bn2"),
        ({}, "layer3.1.bn2"),
        ({}, "layer3.1.conv1"),
        ({}, "layer3.0.downsample"),
        ({}, "layer3.0"),
        ({}, "bn1"),
        ({}, "maxpool"),
        ({"stem": "small"}, "bn1"),
        ({"stem": "small"}, "relu"),
    ],
)
def test_a_block_that_an_operation_in_place_follows_gets_its_whole_gradient(options: dict, block: str):
    torch.manual_seed(0)
    network, images = create_model("resnet18", num_classes=5, **options).eval(), torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        network.fc.weight.abs_()
    twin, targets = folded(network, keep=[network.get_submodule(block)]), torch.tensor([0, 3])
    theirs = grad_cam(network, images, targets, [block])[block]
    torch.testing.assert_close(grad_cam(twin, images, targets, [block])[block].map, theirs.map, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", ((5, 3, 224, 224), (1, 3, 65, 33), (2, 3, 600, 500)))
def test_a_stem_in_parts_gives_what_it_gives_at_once(shape: tuple[int, ...]):
    torch.manual_seed(0)
    network, images = create_model("resnet18", num_classes=5).eval(), torch.randn(shape)
    twin = folded(network)
    assert isinstance(twin.conv1, FusedStem) and isinstance(twin.maxpool, nn.Identity)
    with torch.no_grad():
        expected = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        torch.testing.assert_close(twin.conv1(images), expected, rtol=1e-4, atol=1e-4)


def test_neither_input_is_written_to():
    fused, x, shortcut = FusedConv2d(nn.Conv2d(4, 4, 1), relu=True), torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    before = x.clone(), shortcut.clone()
    with torch.no_grad():
        fused(x, shortcut)
    assert torch.equal(x, before[0]) and torch.equal(shortcut, before[1])


@pytest.mark.parametrize(
    ("backbone", "attention", "blocks"),
    [
        ("resnet18", "none", 8),
        ("resnet50", "none", 16),
        ("resnet18", "das", 8),
        ("resnet18", "se", 8),
    ],
)
def test_a_folded_resnet_runs_on_fused_blocks_and_gives_the_same_logits(backbone: str, attention: str, blocks: int):
    torch.manual_seed(0)
    network, images = create_model(backbone, attention, num_classes=5).eval(), torch.randn(2, 3, 64, 96)
    twin = folded(network)
    assert sum(isinstance(module, FusedBlock) for module in twin.modules()) == blocks
    assert isinstance(twin.conv1, FusedStem)
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(twin(images), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_a_fused_network_that_has_run_can_be_copied():
    twin, images = folded(create_model("resnet18", num_classes=5)), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(twin(images), copy.deepcopy(twin)(images))


def test_nothing_is_fused_around_a_wanted_or_watched_module():
    network = create_model("resnet18", num_classes=5).eval()
    twin = folded(network, keep=[network.layer3[0].conv1, network.layer4])
    assert not isinstance(twin.layer3[0], FusedBlock)
    assert type(folded(network, keep=[network.maxpool]).maxpool) is nn.MaxPool2d
    assert isinstance(twin.layer3[1], FusedBlock) and isinstance(twin.layer4[1], FusedBlock)
    seen = []
    network.layer2[1].relu.register_forward_hook(lambda *_: seen.append(1))
    network.relu.register_forward_hook(lambda *_: seen.append(0))
    with torch.no_grad():
        folded(network)(torch.randn(1, 3, 32, 32))
    assert seen == [0, 1, 1]


@pytest.mark.parametrize(
    "unfit",
    (
        nn.Conv2d(3, 3, 3, padding="same"),
        nn.Conv2d(3, 3, 3, padding_mode="reflect", padding=1),
        nn.Conv2d(3, 3, 3).double(),
        nn.ConvTranspose2d(3, 3, 3),
        nn.Conv2d(3, 3, 3, device="meta"),
    ),
    ids=("same", "reflect", "float64", "transposed", "elsewhere"),
)
def test_what_the_operator_cannot_do_is_left_alone(unfit: nn.Module):
    assert fusible(nn.Conv2d(3, 3, 3))
    assert not fusible(unfit)


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="the processor has no bfloat16")
def test_in_bfloat16_one_rounding_takes_the_place_of_three():
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, 3, padding=1).bfloat16()
    x, shortcut = torch.randn(2, 16, 9, 9), torch.randn(2, 16, 9, 9)  # float32, as before the first convolution
    with torch.no_grad():
        out = FusedConv2d(conv, relu=True)(x, shortcut)
        wide = copy.deepcopy(conv).float()
        exact = (wide(x.bfloat16().float()) + shortcut.bfloat16().float()).relu()
    assert out.dtype == torch.bfloat16
    assert bool(((out.float() - exact).abs() <= exact.abs() * 2**-8 + 1e-6).all())  # half a unit in the last place


def test_maps_under_bfloat16_autocast_keep_their_place():
    torch.manual_seed(0)
    network = create_model("resnet18", num_classes=5)
    network.train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        network(torch.randn(8, 3, 64, 64))
    images, targets = torch.randn(2, 3, 64, 64), torch.tensor([0, 3])
    exact = grad_cam(network, images, targets, ["layer4"])["layer4"].map
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = grad_cam(folded(network, dtype=torch.bfloat16), images, targets, ["layer4"])["layer4"].map
    assert rough.dtype == torch.float32
    assert F.cosine_similarity(rough.flatten(1), exact.flatten(1)).min() > 0.98


def test_only_what_nobody_needs_is_overwritten():
    """A block may write its output over a shortcut of its own or over the output of the block before it."""
    twin = folded(create_model("resnet50", num_classes=5))
    assert [block.follows for block in twin.layer2] == [False, True, True, True]
    x = torch.randn(2, 256, 8, 8)
    with torch.no_grad():
        kept, expected = x.clone(), twin.layer1[1](x.clone())
        twin.layer1[1].follows = False
        assert torch.equal(twin.layer1[1](x), expected)
        assert torch.equal(x, kept)  # a block that stands alone leaves its input as it was
        twin.layer2[0](x)
        assert torch.equal(x, kept)  # and so does one with a projected shortcut
    apart = folded(nn.ModuleList(create_model("resnet50", num_classes=5).layer1))
    assert not any(block.follows for block in apart)
