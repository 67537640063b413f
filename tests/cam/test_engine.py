"""The engine against hand-computed maps, pytorch-grad-cam, and what its users complain of."""

from __future__ import annotations

import gc
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from das_explain.cam.engine import explain, grad_cam
from das_explain.cam.maps import normalize, upsample
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model
from das_explain.nn.fast.fold import folded
from das_explain.nn.registry import BLOCKS

NETWORKS = [(b, a) for b in ("resnet18", "resnet50", "mobilenet_v2") for a in ("none", "das")]


def network(backbone: str, attention: str, classes: int = 7) -> nn.Module:
    """Random, but alive: gates that deform, batch norms whose statistics fit, so that maps are more than rounding."""
    torch.manual_seed(5)
    built = create_model(backbone, attention, num_classes=classes)
    for module in built.modules():
        if type(module).__name__ == "DASGate":
            nn.init.normal_(module.offset.weight, std=0.02)
            nn.init.normal_(module.modulation.weight, std=0.02)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average of what it sees
    built.train()
    with torch.no_grad():
        for _ in range(2):
            built(torch.randn(8, 3, 64, 64))
    return built.eval()


def peer(model: nn.Module, module: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """pytorch-grad-cam, kept from aliasing the tapped map."""
    with GradCAM(model, [module]) as explainer:
        guard = module.register_forward_hook(lambda _, __, output: output.clone())
        maps = explainer(images, [ClassifierOutputTarget(int(target)) for target in targets])
        guard.remove()
    return maps


class Pooled(nn.Module):
    """conv -> ReLU -> global mean -> linear: the map is known in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[2.0, 1.0], [-1.0, 4.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.relu(self.conv(x)).mean((2, 3)))


def test_by_hand():
    images = torch.tensor([[[[1.0, -3.0], [2.0, 0.0]]]])
    cams = grad_cam(Pooled(), images, torch.tensor([0]), ["relu"])
    # relu: channel 0 (1, 0, 2, 0), channel 1 (0, 3, 0, 0). Gradients of logit 0: 2 / 4 and 1 / 4.
    # Weighted sum: 0.5, 0.75, 1, 0. Minimum 0, maximum 1.
    assert cams["relu"].raw_max.tolist() == [1.0]
    assert torch.allclose(cams["relu"].map, torch.tensor([[[0.5, 0.75], [1.0, 0.0]]]), atol=1e-6)
    other = grad_cam(Pooled(), images, torch.tensor([1]), ["relu"])["relu"]
    # -1/4 and 4/4: -0.25, 3, -0.5, 0 -> ReLU
    assert other.raw_max.tolist() == [3.0]
    assert torch.allclose(other.map, torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), atol=1e-6)


def test_the_two_min_max_steps_are_not_merged():
    raw = torch.tensor([[[0.0, 1e-6], [0.0, 0.0]]])
    first = 1e-6 / (1e-7 + 1e-6)
    cam = normalize(raw, (2, 2))
    assert cam.native.max().item() == pytest.approx(first, rel=1e-5)
    assert cam.map.max().item() == pytest.approx(first / (1e-7 + first), rel=1e-6)
    assert cam.raw_max.item() == pytest.approx(1e-6)


@pytest.mark.parametrize(("backbone", "attention"), NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (96, 65)])
def test_every_block_equals_pytorch_grad_cam(backbone: str, attention: str, size: tuple[int, int]):
    model = network(backbone, attention)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([3, 6])
    cams = grad_cam(model, images, targets, BLOCKS[backbone])
    assert list(cams) == list(BLOCKS[backbone])
    for name, cam in cams.items():
        expected = peer(model, model.get_submodule(name), images, targets)
        assert cam.map.shape == (2, *size)
        assert cam.map.dtype == torch.float32
        assert np.abs(cam.map.numpy() - expected).max() < 1e-5, name


@pytest.mark.parametrize("block", ["layer4.1.conv1", "layer4.1.bn1", "layer4.1.bn2", "layer4.0.downsample", "layer1.0"])
def test_inner_modules_survive_in_place_operations(block: str):
    model = network("resnet18", "none")
    images, targets = torch.randn(2, 3, 64, 64), torch.tensor([0, 1])
    ours = grad_cam(model, images, targets, [block])[block].map.numpy()
    assert np.abs(ours - peer(model, model.get_submodule(block), images, targets)).max() < 1e-5


def test_without_target_the_highest_logit_is_explained():
    model, images = network("resnet18", "none"), torch.randn(3, 3, 48, 48)
    highest = model(images).argmax(1)
    for targets in (None, torch.tensor([-1, -1, -1])):
        explanation = explain(model, images, targets, ["layer4"])
        assert torch.equal(explanation.target, highest)
    assert torch.equal(explanation.cams["layer4"].map, grad_cam(model, images, highest, ["layer4"])["layer4"].map)
    assert torch.allclose(explanation.logits, model(images), atol=1e-5)


def test_batch_equals_one_by_one():
    model, images = network("resnet18", "das"), torch.randn(3, 3, 64, 64)
    targets = torch.tensor([1, 2, 3])
    together = grad_cam(model, images, targets, ["layer3"])["layer3"].map
    for i in range(3):
        alone = grad_cam(model, images[i : i + 1], targets[i : i + 1], ["layer3"])["layer3"].map
        assert torch.allclose(together[i], alone[0], atol=1e-4)


def test_the_network_is_left_as_it_was_found():
    model = network("resnet18", "das").train()
    model.layer1.eval()
    model.conv1.weight.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    learning = [parameter.requires_grad for parameter in model.parameters()]
    grad_cam(model, torch.randn(1, 3, 64, 64), None, ["layer2", "layer4"])
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == learning
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(model.fc.weight.grad, torch.ones_like(model.fc.weight))
    assert model.layer2[0].conv1.weight.grad is None
    assert not any(module._forward_hooks for module in model.modules())


def test_it_is_left_so_after_a_failure_too():
    model = network("resnet18", "none").train()
    with pytest.raises(DasExplainError):
        grad_cam(model, torch.randn(1, 3, 64, 64), None, ["avgpool", "fc"])
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_works_on_frozen_networks_and_under_no_grad_and_inference_mode():
    model, images = network("resnet18", "none"), torch.randn(1, 3, 64, 64)
    expected = grad_cam(model, images, None, ["layer4"])["layer4"].map
    model.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(grad_cam(model, images, None, ["layer4"])["layer4"].map, expected)
    with torch.inference_mode():
        seen = grad_cam(model, images * 1.0, None, ["layer4"])["layer4"].map
    assert torch.allclose(seen, expected, atol=1e-6)


def test_memory_does_not_grow():
    model, images = network("resnet18", "none"), torch.randn(1, 3, 48, 48)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    grad_cam(model, images, None, ["layer3"])
    before = tensors()
    for _ in range(5):
        grad_cam(model, images, None, ["layer3"])
    assert tensors() == before


def test_parallel_branches_and_tuple_outputs():
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc((self.a(x) * self.b(x)).mean((2, 3))), "auxiliary"

    torch.manual_seed(0)
    model, images = Branches(), torch.randn(2, 3, 9, 9)
    both = grad_cam(model, images, torch.tensor([0, 1]), ["a", "b"])
    for name in ("a", "b"):
        alone = grad_cam(model, images, torch.tensor([0, 1]), [name])[name]
        assert torch.allclose(both[name].map, alone.map)
        assert alone.raw_max.max() > 0


def test_modules_and_mappings_name_blocks_too():
    model, images = network("resnet18", "none"), torch.randn(1, 3, 48, 48)
    by_name = grad_cam(model, images, None, ["layer3"])
    by_module = grad_cam(model, images, None, [model.layer3])
    by_mapping = grad_cam(model, images, None, {"third": model.layer3})
    assert list(by_module) == ["layer3"]
    assert torch.equal(by_mapping["third"].map, by_name["layer3"].map)


def test_size_is_free():
    cam = grad_cam(network("resnet18", "none"), torch.randn(1, 3, 64, 96), None, ["layer4"], size=(30, 50))["layer4"]
    assert cam.map.shape == (1, 30, 50)
    assert cam.native.shape == (1, 2, 3)


@pytest.mark.parametrize("attention", ["none", "das"])
def test_bf16_autocast_runs(attention: str):
    model, images = network("resnet18", attention), torch.randn(2, 3, 64, 64)
    exact = explain(model, images, torch.tensor([0, 0]), ["layer3"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = explain(model, images, torch.tensor([0, 0]), ["layer3"])
    assert rough.cams["layer3"].map.dtype == rough.logits.dtype == torch.float32
    assert rough.cams["layer3"].map.isfinite().all()
    assert (rough.logits - exact.logits).abs().max() < 0.1 * exact.logits.abs().max()
    assert not torch.equal(rough.logits, exact.logits)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"blocks": ["layer9"]}, UsageError, "no block 'layer9'"),
        ({"blocks": []}, UsageError, "name at least one"),
        ({"blocks": ["fc"]}, DasExplainError, "fc gives no"),
        ({"targets": torch.tensor([7])}, UsageError, r"0\.\.6"),
        ({"targets": torch.tensor([0, 1])}, UsageError, "one class per image"),
        ({"images": torch.randn(3, 48, 48)}, UsageError, r"\(N, C, H, W\)"),
        ({"images": torch.zeros(1, 3, 48, 48, dtype=torch.uint8)}, UsageError, "float"),
    ],
)
def test_wrong_requests(arguments: dict, error: type, message: str):
    given = {"images": torch.randn(1, 3, 48, 48), "targets": torch.tensor([0]), "blocks": ["layer4"], **arguments}
    with pytest.raises(error, match=message):
        grad_cam(network("resnet18", "none"), given["images"], given["targets"], given["blocks"])


def test_a_block_that_runs_twice_or_never_or_does_not_matter_is_refused():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.never, self.unused, self.last = (nn.Conv2d(3, 3, 1) for _ in range(4))
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            self.unused(x)
            return self.fc(self.last(self.twice(self.twice(x))).mean((2, 3)))

    for block, message in (("twice", "more than once"), ("never", "did not run"), ("unused", "do not depend")):
        with pytest.raises(DasExplainError, match=message):
            grad_cam(Odd(), torch.randn(1, 3, 5, 5), None, [block])
    with pytest.raises(DasExplainError, match="do not depend on block unused"):
        grad_cam(Odd(), torch.randn(1, 3, 5, 5), None, ["unused", "last"])


def test_a_block_may_return_its_map_first_of_several():
    class Two(nn.Module):
        def __init__(self, kind) -> None:
            super().__init__()
            self.conv, self.kind = nn.Conv2d(3, 4, 3), kind

        def forward(self, x):
            return self.kind([self.conv(x), 2])

    class Pair(NamedTuple):
        map: Tensor
        times: int

    class Network(nn.Module):
        def __init__(self, kind) -> None:
            super().__init__()
            self.two, self.fc = Two(kind), nn.Linear(4, 2)

        def forward(self, x):
            out = self.two(x)
            return self.fc(out[0].mean((2, 3)) * out[1])

    images, maps = torch.randn(1, 3, 8, 8), []
    for kind in (tuple, list, lambda items: Pair(*items)):
        torch.manual_seed(0)
        maps.append(grad_cam(Network(kind), images, torch.tensor([1]), ["two"])["two"].map)
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2])


@pytest.mark.parametrize(("backbone", "attention"), NETWORKS)
def test_folded_copies_give_the_same_maps(backbone: str, attention: str):
    model, images, targets = network(backbone, attention), torch.randn(2, 3, 64, 64), torch.tensor([0, 5])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    blocks = BLOCKS[backbone][-2:]
    twin = folded(model, keep=[model.get_submodule(name) for name in blocks])
    assert sum(isinstance(module, nn.BatchNorm2d) for module in twin.modules()) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    # float64, so that what is compared is the folding and not the rounding
    expected = grad_cam(model.double(), images.double(), targets, blocks)
    twin = folded(model, keep=[])
    for name, cam in grad_cam(twin, images.double(), targets, blocks).items():
        assert (cam.map - expected[name].map).abs().max() < 1e-5, name


def test_folding_keeps_the_output_of_a_wanted_convolution():
    model, images = network("resnet18", "none"), torch.randn(1, 3, 64, 64)
    wanted = model.layer4[1].conv2
    twin = folded(model, keep=[wanted])
    expected = grad_cam(model, images, torch.tensor([2]), ["layer4.1.conv2"])["layer4.1.conv2"]
    seen = grad_cam(twin, images, torch.tensor([2]), ["layer4.1.conv2"])["layer4.1.conv2"]
    assert isinstance(twin.layer4[1].bn2, nn.BatchNorm2d)
    assert torch.allclose(seen.map, expected.map, atol=1e-4)


@pytest.mark.parametrize(
    ("native", "size"),
    [((14, 14), (224, 224)), ((7, 9), (64, 48)), ((1, 1), (5, 6)), ((3, 1), (8, 8)), ((20, 16), (10, 8))],
)
def test_maps_are_resized_as_torch_resizes_them_whatever_the_precision_around(native, size):
    maps = torch.rand(5, *native, generator=torch.Generator().manual_seed(0))
    maps = maps - maps.amin((1, 2), keepdim=True)
    maps[1] = 0
    maps[2] *= 1e-6
    resized = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    shifted = resized - resized.amin((1, 2), keepdim=True)
    expected = shifted / (1e-7 + shifted.amax((1, 2), keepdim=True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = upsample(maps, size)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=0, atol=2e-6)
    assert found.min() == 0
    assert found.max() <= 1
    assert torch.equal(upsample(maps[3:4], size)[0], found[3]), "alone as among others"
    maps[4, 0, 0] = torch.nan
    assert upsample(maps, size).isnan().any((1, 2)).tolist() == [False] * 4 + [True]
