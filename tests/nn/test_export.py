"""``torch.export`` takes the network with every attention, and the program gives the network's output; so does ONNX.

No operator stands in the way of any: the deformable convolution of a network on a CPU is made of PyTorch's own
operators, and torchvision's, which a network on a GPU has, can be exported as well. Of MobileNetV2 the pair with the
most operators is tried; its others have the modules of ResNet-18's.
"""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from das_explain.nn import DASGate, attentions_of, create_model
from tests.nn.lively import lively, maps
from tests.nn.modules import Together

PAIRS = [
    *(("resnet18", attention) for attention in ("none", *attentions_of("resnet18"))),
    ("mobilenet_v2", "das"),
]


def run_onnx(module: nn.Module, x: Tensor) -> list[Tensor]:
    """The outputs of the module's ONNX program in onnxruntime, in order."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    file = io.BytesIO()
    torch.onnx.export(module, (x,), dynamo=True, verbose=False).save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(out) for out in session.run(None, {session.get_inputs()[0].name: x.numpy()})]


def images(n: int) -> Tensor:
    return torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("backbone", "attention"), PAIRS)
def test_the_program_gives_the_networks_output(backbone: str, attention: str) -> None:
    torch.manual_seed(0)
    network = create_model(backbone, attention, num_classes=3).eval()
    program = torch.export.export(network, (images(2),)).module()
    torch.testing.assert_close(program(images(2)), network(images(2)), rtol=1e-4, atol=1e-5)


def test_every_module_as_an_onnx_program() -> None:
    together, x = Together().eval(), maps(2, 32, 6, 5).float()
    with torch.no_grad():
        expected = together(x)
        for (name, wanted), got in zip(expected.items(), run_onnx(together, x), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_scales_travel_through_an_onnx_program() -> None:
    torch.manual_seed(0)
    network, x = create_model("resnet18", "emca", num_classes=3, stem="small").eval(), maps(1, 3, 8, 8).float()
    with torch.no_grad():
        torch.testing.assert_close(run_onnx(network, x)[0], network(x), rtol=1e-4, atol=1e-5)


def test_a_batch_of_any_size() -> None:
    gate, batch = lively(DASGate(16)).float(), torch.export.Dim("batch", min=1)
    x = maps(5, 16, 6, 7).float()
    program = torch.export.export(gate, (x[:2],), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(program(x), gate(x), rtol=1e-4, atol=1e-5)


def test_torchvisions_operator_can_be_exported() -> None:
    class Deformable(nn.Module):
        def forward(self, x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
            return deform_conv2d(x, offset, weight, padding=1)

    inputs = torch.randn(2, 4, 5, 6), torch.randn(2, 18, 5, 6), torch.randn(3, 4, 3, 3)
    program = torch.export.export(Deformable(), inputs).module()
    torch.testing.assert_close(program(*inputs), Deformable()(*inputs))
