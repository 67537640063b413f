"""Other methods: pytorch-grad-cam's own numbers, without its side effects."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from das_explain.cam.methods import METHODS, explain_with
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(3)
    return create_model("resnet18", "das", num_classes=5, stem="small").eval()


IMAGES = torch.randn(2, 3, 32, 24, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([4, 1])


@pytest.mark.parametrize("method", METHODS)
def test_equals_pytorch_grad_cam(method: str, model: torch.nn.Module):
    block = "layer1" if method in ("scorecam", "ablationcam") else "layer3"  # these run the network once per channel
    explanation = explain_with(method, model, IMAGES, TARGETS, [block])
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    with contextlib.redirect_stderr(io.StringIO()):
        peer = getattr(pytorch_grad_cam, METHODS[method])(model, [model.get_submodule(block)])
        expected = peer(IMAGES, [ClassifierOutputTarget(int(target)) for target in TARGETS])
        peer.activations_and_grads.release()
        model.zero_grad()
    assert explanation.cams[block].map.shape == (2, 32, 24)
    assert np.abs(explanation.cams[block].map.numpy() - expected).max() < 1e-5
    assert torch.allclose(explanation.logits, model(IMAGES), atol=1e-5)


def test_an_in_place_operation_does_not_spoil_the_map(model: torch.nn.Module):
    """bn2 is followed by ``+=`` and an in-place ReLU; eigencam uses nothing but the tapped activations."""
    seen = explain_with("eigencam", model, IMAGES, TARGETS, ["layer4.1.bn2"]).cams["layer4.1.bn2"].map.numpy()
    kept = []
    handle = model.layer4[1].bn2.register_forward_hook(lambda _, __, output: kept.append(output.detach().clone()))
    model(IMAGES)
    handle.remove()
    from das_explain.cam.maps import normalize

    projected = pytorch_grad_cam.utils.svd_on_activations.get_2d_projection(kept[0].numpy())
    expected = normalize(torch.as_tensor(projected).float().clamp(min=0), (32, 24)).map.numpy()
    assert np.abs(seen - expected).max() < 1e-5


def test_predicted_class_and_several_blocks(model: torch.nn.Module):
    explanation = explain_with("hirescam", model, IMAGES, torch.tensor([-1, 2]), ["layer2", "layer4"])
    assert explanation.target.tolist() == [int(model(IMAGES)[0].argmax()), 2]
    assert list(explanation.cams) == ["layer2", "layer4"]


def test_unknown_method_lists_the_known(model: torch.nn.Module):
    with pytest.raises(UsageError, match=r"'gradcamm' is unknown; choose among gradcam, gradcam\+\+"):
        explain_with("gradcamm", model, IMAGES, TARGETS, ["layer3"])


OTHERS = [method for method in METHODS if method != "gradcam"]


def as_it_is(network: torch.nn.Module) -> list:
    """Everything that an explanation must leave alone."""
    modules = dict(network.named_modules())
    return [
        {name: id(module) for name, module in modules.items()},
        [list(module._forward_hooks) for module in modules.values()],
        [module.training for module in modules.values()],
        [(parameter.requires_grad, parameter.grad) for parameter in network.parameters()],
    ]


@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize(
    ("block", "images", "targets", "message"),
    [
        ("fc", IMAGES, TARGETS, "block fc gives no map of the image; choose another block"),
        ("layer1.0.relu", IMAGES, TARGETS, "block layer1.0.relu runs more than once in a forward pass"),
        ("layer4", IMAGES, torch.tensor([0, 5]), r"targets must lie in 0\.\.4; they run from 0 to 5"),
        ("layer4", IMAGES, torch.tensor([0]), r"targets must be \(2,\), one class per image; they are \(1,\)"),
        ("layer4", IMAGES[0], TARGETS, r"images must be a float tensor \(N, C, H, W\)"),
    ],
)
def test_a_mistake_is_one_clear_line_and_does_no_harm(method, block, images, targets, message, model: torch.nn.Module):
    before = as_it_is(model)
    with pytest.raises(DasExplainError, match=message) as caught:
        explain_with(method, model, images, targets, [block])
    assert "\n" not in str(caught.value)
    assert as_it_is(model) == before


class Fails(torch.nn.Module):
    """Works ``after`` times, then runs out of memory, say."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            raise MemoryError
        return x


@pytest.mark.parametrize("after", range(4))
def test_a_failure_at_any_point_leaves_the_network_as_it_was(after: int):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 40, 3),
        Fails(after),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(40, 5),
    )
    network[0].weight.grad = torch.ones_like(network[0].weight)
    before = as_it_is(network)[:3]
    with pytest.raises(MemoryError):
        explain_with("ablationcam", network, IMAGES, TARGETS, ["0"])
    assert as_it_is(network)[:3] == before
    assert type(network[0]) is torch.nn.Conv2d


def test_gradients_of_the_parameters_are_kept():
    network = create_model("resnet18", "none", num_classes=5, stem="small")
    network.conv1.weight.grad = torch.ones_like(network.conv1.weight)
    explain_with("layercam", network, IMAGES, TARGETS, ["layer3"])
    assert network.conv1.weight.grad.eq(1).all()
    assert network.fc.weight.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_batch_has_no_maps(method: str, model: torch.nn.Module):
    explanation = explain_with(method, model, IMAGES[:0], None, ["layer3"])
    assert explanation.cams["layer3"].map.shape == (0, 32, 24)
    assert explanation.logits.shape == (0, 5)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_stays_so(method: str, value: str):
    network = create_model("resnet18", "none", num_classes=5, stem="small").eval()
    images = IMAGES.clone()
    images[1, 0, 3, 3] = float(value)
    finite = explain_with(method, network, images, TARGETS, ["layer1"]).cams["layer1"].map.isfinite()
    assert finite[0].all()
    assert not finite[1].all()


def test_a_block_beside_the_path_to_the_logits_is_refused():
    class Beside(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = torch.nn.Conv2d(3, 5, 3), torch.nn.Conv2d(3, 5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.unused(x)
            return self.used(x).mean((2, 3))

    with pytest.raises(DasExplainError, match="the logits do not depend on block unused"):
        explain_with("layercam", Beside(), IMAGES, TARGETS, ["unused"])
