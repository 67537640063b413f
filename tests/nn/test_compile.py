"""``torch.compile``: every attention is one graph, and gives the outputs and gradients it gives without.

The compiler's first two stages, which capture and trace the graph, run in any test; the third, inductor, which makes
C++ of it, takes minutes for all modules: ``pytest -m slow tests/nn/test_compile.py``.
"""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import Tensor, nn

from das_explain.nn import create_model
from tests.nn.lively import maps
from tests.nn.modules import MODULES, Together

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
compiled = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")


@pytest.fixture(autouse=True)
def afresh() -> None:
    torch._dynamo.reset()


def outputs(result: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return result if isinstance(result, dict) else {"": result}


def compare(module: nn.Module, x: Tensor, backend: str) -> None:
    """In eval mode without gradients, then while it trains: outputs and all gradients."""
    twin, exact = copy.deepcopy(module), copy.deepcopy(module).double().train()
    run = torch.compile(twin, backend=backend, fullgraph=True)
    with torch.no_grad():
        close(outputs(run(x)), outputs(module.eval()(x)))
    module.train(), twin.train()
    got, expected = outputs(run(x)), outputs(module(x))
    close(got, expected)
    compiled, eager, true = (gradients(*pair) for pair in ((twin, got), (module, expected), (exact, exact(x.double()))))
    idle = {name for name, gradient in true.items() if gradient.abs().max() < 1e-12}  # a norm behind them undoes them
    assert all(each[name].abs().max() < 1e-5 for each in (compiled, eager) for name in idle)
    close(*({name: each[name] for name in each if name not in idle} for each in (compiled, eager)))


def gradients(module: nn.Module, result: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    sum(out.square().mean() for out in outputs(result).values()).backward()
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def close(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, wanted in expected.items():
        relative = 1e-9 if wanted.dtype == torch.float64 else 1e-4
        near = relative * max(float(wanted.detach().abs().max()), 1e-2)
        torch.testing.assert_close(
            got[name], wanted, rtol=10 * relative, atol=near, msg=lambda text, name=name: f"{name}: {text}"
        )


def two_stages() -> nn.Module:
    """With EMCA: the scales of the first stage travel to the second. In float64, where rounding hides nothing."""
    torch.manual_seed(0)
    network = create_model("resnet18", "emca", num_classes=3)
    return nn.Sequential(network.layer1, network.layer2).double().eval()


def test_every_module_is_one_graph() -> None:
    names = tuple(name for name in MODULES if not name.startswith("das-"))  # the ablations have the same operators
    compare(Together(names), maps(3, 32, 6, 5).float(), "aot_eager")


def test_stages_are_one_graph_through_which_scales_travel() -> None:
    compare(two_stages(), maps(3, 64, 8, 8), "aot_eager")


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_inductor_equals_eager(name: str) -> None:
    compare(Together((name,)), maps(3, 32, 6, 5).float(), "inductor")


@compiled
@pytest.mark.slow
def test_inductor_equals_eager_in_two_stages() -> None:
    compare(two_stages(), maps(3, 64, 8, 8), "inductor")
