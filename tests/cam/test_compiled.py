"""What lies between the blocks, compiled: the same maps, of whole networks as a person has them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from das_explain.cam import compiled
from das_explain.cam.compiled import compiled_copy
from das_explain.cam.engine import explain
from das_explain.errors import DasExplainError
from das_explain.nn import create_model

SIZE = (64, 64)
CPP = pytest.param("inductor", marks=pytest.mark.slow)


@pytest.fixture(params=["aot_eager", CPP])
def compiler(request, monkeypatch) -> str:
    """As the command line compiles, or all of it but the making of C++, which takes a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=request.param))
    torch._dynamo.reset()
    return request.param


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "das":
        return create_model("resnet18", num_classes=5, attention="das").eval()
    return torchvision.models.get_model(kind, num_classes=5).eval()


@pytest.mark.parametrize(
    ("kind", "names"),
    [("resnet18", ("layer3", "layer4")), ("das", ("layer3", "layer4")), ("mobilenet_v3_small", ("features.8",))],
)
def test_the_copy_gives_the_same_maps_also_of_other_numbers_of_photos(compiler: str, kind: str, names: tuple[str, ...]):
    original = network(kind)
    blocks = {name: original.get_submodule(name) for name in names}
    twin, found = compiled_copy(original, blocks, SIZE)
    assert list(found) == list(names)
    assert not {id(module) for module in original.modules()} & {id(module) for module in twin.modules()}
    assert all(one is other for one, other in zip(original.parameters(), twin.parameters()))
    for count in (3, 1):
        images = torch.randn(count, 3, *SIZE)
        expected, got = explain(original, images, None, blocks), explain(twin, images, None, found)
        torch.testing.assert_close(got.logits, expected.logits, rtol=1e-4, atol=1e-5)
        for name in names:
            torch.testing.assert_close(got.cams[name].map, expected.cams[name].map, rtol=0, atol=1e-3)


def test_what_holds_a_block_is_left_and_what_does_not_is_compiled_by_itself(monkeypatch):
    original, asked = network("resnet18"), []
    monkeypatch.setattr(torch, "compile", lambda forward: asked.append(forward.__self__) or forward)
    twin, _ = compiled_copy(original, {"layer3.1": original.get_submodule("layer3.1")}, SIZE)
    names = {id(module): name for name, module in twin.named_modules()}
    assert [names[id(each)] for each in asked] == ["layer1", "layer2", "layer3.0", "layer3.1", "layer4"]


def test_a_compiler_that_fails_or_makes_something_else_is_one_line(monkeypatch):
    original = network("resnet18")
    blocks = {"layer4": original.layer4}

    def failing(forward):
        def run(*_):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand a page more")

        return run

    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(
        DasExplainError, match=r"--compile: torch\.compile fails at this network: .*No working C"
    ) as caught:
        compiled_copy(original, blocks, SIZE)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(torch, "compile", lambda forward: lambda x: 1 - forward(x))
    with pytest.raises(DasExplainError, match=r"the compiled network gives other maps \(by .*\): leave it out"):
        compiled_copy(original, blocks, SIZE)
    assert compiled.CLOSE < 0.1
