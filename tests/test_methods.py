"""Other methods: pytorch-grad-cam's own numbers, without its side effects."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from das_explain.errors import UsageError
from das_explain.methods import METHODS, explain_with
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
    from das_explain.cam import normalize

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
