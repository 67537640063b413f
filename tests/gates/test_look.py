"""What a gate is seen to do: the maps are those of the forward pass, the numbers are computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from das_explain.gates.look import describe, look
from das_explain.nn import create_model
from das_explain.nn.gate import Gate
from das_explain.nn.interventions import gates_of


class Given(Gate):
    """Multiplies by what it was given."""

    def __init__(self, attention: Tensor) -> None:
        super().__init__()
        self.given = attention

    def attention(self, x: Tensor) -> Tensor:
        return self.given


class Net(nn.Module):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x * self.scale).mean((2, 3))


def test_numbers_by_hand() -> None:
    x = torch.tensor([[[[1.0, -3.0]], [[1.0, 1.0]], [[2.0, 0.0]]]])  # three channels, one row of two positions
    attention = torch.tensor([[[[0.5, 0.2]], [[0.1, 0.6]], [[0.6, 1.0]]]])
    network = Net(Given(attention))
    logits, views = look(network, x)
    torch.testing.assert_close(logits, network(x).detach())
    view = views["gate"]
    # (1 x 0.5 + 1 x 0.1 + 2 x 0.6) / 4 and (3 x 0.2 + 1 x 0.6) / 4
    torch.testing.assert_close(view.passed, torch.tensor([[[0.45, 0.3]]]))
    assert view.offset is None
    numbers = describe(view, 0, torch.tensor([[True, False]]))
    assert numbers["channels"] == 3
    assert (numbers["height"], numbers["width"]) == (1, 2)
    assert numbers["a_mean"] == pytest.approx(0.5)
    assert (numbers["a_min"], numbers["a_max"]) == pytest.approx((0.1, 1.0))
    assert numbers["a_sd_positions"] == pytest.approx((0.15 + 0.25 + 0.2) / 3)
    assert (numbers["passed_object"], numbers["passed_background"]) == pytest.approx((0.45, 0.3))
    assert numbers["offset_mean"] is None
    # an object that covers three of four columns of the frame covers the second position by half
    wide = describe(view, 0, torch.tensor([[True, True, True, False]]))
    assert wide["passed_object"] == pytest.approx((0.45 + 0.3 * 0.5) / 1.5)
    assert describe(view, 0, None)["passed_object"] is None
    assert describe(view, 0, torch.tensor([[True, True]]))["passed_background"] is None


def test_where_nothing_passes_the_mean_stands() -> None:
    _, views = look(Net(Given(torch.tensor([[[[0.2]], [[0.6]]]]))), torch.zeros(1, 2, 1, 1))
    assert views["gate"].passed.item() == pytest.approx(0.4)


@pytest.mark.parametrize("attention", ["das", "se", "cbam", "emca", "abn", "asr", "triplet"])
def test_the_maps_are_those_of_the_pass(attention: str) -> None:
    torch.manual_seed(0)
    network = create_model("resnet18", attention, num_classes=3, stem="small").train()
    images = torch.randn(2, 3, 24, 32)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    logits, views = look(network, images)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    network.eval()
    outputs: dict[str, tuple[Tensor, Tensor]] = {}
    for name, gate in gates_of(network).items():
        gate.register_forward_hook(lambda gate, x, y, name=name: outputs.__setitem__(name, (x[0], y)))
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images), rtol=0, atol=0)
    assert list(views) == list(gates_of(network)) == list(outputs)
    for name, (x, y) in outputs.items():
        view = views[name]
        assert len(view.attention) == 2
        assert view.size == tuple(x.shape[2:])
        assert view.per_channel == (view.attention.shape[2:] == (1, 1))
        factor = 1 + view.attention if gates_of(network)[name].residual else view.attention
        torch.testing.assert_close(x * factor, y)
        if attention == "das":
            assert tuple(view.offset.shape) == (2, 9, 2, *x.shape[2:])
            assert tuple(view.modulation.shape) == (2, 9, *x.shape[2:])


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("variant", ["c", "d"])
def test_a_view_knows_how_far_modulation_reaches(variant: str, scale: int) -> None:
    network = create_model("resnet18", "das", num_classes=3, stem="small", variant=variant, modulation_scale=scale)
    _, views = look(network, torch.randn(1, 3, 16, 16))
    assert {view.modulation_scale for view in views.values()} == {scale}
    assert {view.modulation.max().item() for view in views.values()} == {scale / 2}  # where a gate starts


@pytest.mark.parametrize("variant", ["c", "d"])
def test_offsets_and_modulation_are_the_layers(variant: str) -> None:
    torch.manual_seed(0)
    network = create_model("resnet18", "das", num_classes=3, stem="small", variant=variant).eval()
    for gate in gates_of(network).values():
        holder = gate if variant == "c" else gate.deformable
        nn.init.zeros_(holder.offset.weight)
        holder.offset.bias.data = torch.arange(18.0)
        nn.init.constant_(holder.modulation.bias, 1.0)
    _, views = look(network, torch.randn(1, 3, 16, 16))
    view = views["layer2.gate"]
    assert view.offset[0, 3, :, 0, 0].tolist() == [6.0, 7.0]  # (dy, dx) of the fourth tap
    assert view.modulation.unique().tolist() == pytest.approx([1 / (1 + torch.e**-1)])
    length = sum((4.0 * i * i + (2 * i + 1) ** 2) ** 0.5 for i in range(9)) / 9
    assert describe(view, 0, None)["offset_mean"] == pytest.approx(length)
