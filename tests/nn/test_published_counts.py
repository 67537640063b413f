"""The gate's layers, biases and places reproduce every count that the paper prints; our counter gives the true ones."""

from __future__ import annotations

from functools import cache
from math import floor, prod

import pytest
import thop
import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import deform_conv2d
from typer.testing import CliRunner

from das_explain.checkpoint.load import save_model
from das_explain.commands import app
from das_explain.errors import DasExplainError
from das_explain.nn import DASGate, create_model
from das_explain.nn.counts.profile import Profile, profile
from das_explain.nn.deform import modulated_deform_conv2d

# the paper's Table 1: millions of parameters, and 10^9 of what it calls FLOPs
PRINTED = {
    "resnet18": ("11.82", "1.86"),
    "resnet50": ("26.90", "4.39"),
    "resnet101": ("45.89", "8.12"),
    "mobilenet_v2": ("3.57", "0.35"),
}
TRUE_PARAMETERS = {
    "resnet18": 12_439_980,
    "resnet50": 36_908_204,
    "resnet101": 55_900_332,
    "mobilenet_v2": 3_821_642,
}
GATED_CHANNELS = {
    "resnet18": ((64, 56), (128, 28), (256, 14), (512, 7)),
    "resnet50": ((256, 56), (512, 28), (1024, 14), (2048, 7)),
    "resnet101": ((256, 56), (512, 28), (1024, 14), (2048, 7)),
    "mobilenet_v2": ((16, 112), (24, 56), (32, 28), (96, 14), (160, 7), (320, 7)),
}


def on_meta(name: str, attention: str = "none", **arguments) -> nn.Module:
    """Shapes are all that counting needs."""
    with torch.device("meta"):
        return create_model(name, attention, **arguments)


def by_thop(network: nn.Module, size: tuple[int, int, int] = (3, 224, 224)) -> tuple[int, int]:
    """(parameters, MACs)."""
    device = next(network.parameters()).device
    macs, parameters = thop.profile(network, (torch.zeros(1, *size, device=device),), verbose=False)
    return int(parameters), int(macs)


@cache
def counts_of(name: str, attention: str) -> Profile:
    return profile(on_meta(name, attention))


def gate_parameters(c: int, h: int) -> int:
    bottleneck = 9 * c + c + c * h + h
    offset_and_modulation = (18 + 9) * (9 * h + 1)
    kernel, layer_norm = 9 * h * c, 2 * c
    return bottleneck + offset_and_modulation + kernel + layer_norm


def gate_macs(c: int, h: int, pixels: int) -> int:
    convolutions = 9 * c + c * h + 9 * h * (18 + 9)
    sampling, kernel = 4 * 9 * h, 9 * h * c
    return pixels * (convolutions + sampling + kernel)


@pytest.mark.parametrize("name", PRINTED)
def test_thop_prints_the_papers_digits(name: str) -> None:
    parameters, macs = by_thop(on_meta(name, "das"))
    assert (f"{parameters / 1e6:.2f}", f"{macs / 1e9:.2f}") == PRINTED[name]


def test_thop_prints_the_ablations_digits() -> None:
    parameters, macs = by_thop(on_meta("resnet18", "das"))
    assert f"{parameters / 1e6:.3f}" == "11.817"  # Table 4 (c)
    assert floor(macs / 1e6) == 1856  # printed 1.856 G: 1.8567 G, cut


@pytest.mark.parametrize("attention", ["none", "das"])
@pytest.mark.parametrize("name", PRINTED)
def test_as_published_is_what_thop_counts(name: str, attention: str) -> None:
    counts = counts_of(name, attention)
    assert (counts.parameters_published, counts.macs_published) == by_thop(on_meta(name, attention))


@pytest.mark.parametrize("name", ["alexnet", "densenet121"])
def test_as_published_on_foreign_networks(name: str) -> None:
    with torch.device("meta"):
        network = getattr(torchvision.models, name)(weights=None)
    counts = profile(network, (3, 193, 161))
    assert (counts.parameters_published, counts.macs_published) == by_thop(network, (3, 193, 161))
    assert counts.parameters == counts.parameters_published  # nothing in them hides from thop


@pytest.mark.parametrize("name", PRINTED)
def test_plain_counts_are_torchvisions_own(name: str) -> None:
    counts = counts_of(name, "none")
    own = torchvision.models.get_model_weights(name).DEFAULT.meta
    assert counts.parameters == own["num_params"]
    assert f"{counts.macs / 1e9:.3f}" == f"{own['_ops']:.3f}"


@pytest.mark.parametrize("name", PRINTED)
def test_true_counts(name: str) -> None:
    plain, gated = counts_of(name, "none"), counts_of(name, "das")
    gates = [(c, int(0.2 * c), side * side) for c, side in GATED_CHANNELS[name]]
    assert gated.parameters == TRUE_PARAMETERS[name]
    assert gated.parameters - plain.parameters == sum(gate_parameters(c, h) for c, h, _ in gates)
    assert gated.macs - plain.macs == sum(gate_macs(*gate) for gate in gates)
    # what the published count leaves out is the deformable kernel, exactly
    assert gated.parameters - gated.parameters_published == sum(9 * h * c for c, h, _ in gates)


def test_a_gate_counted_by_hand() -> None:
    # c = 10, h = 2, 5 x 3 pixels: 9*10+10 + 10*2+2 + 27*(9*2+1) + 9*2*10 + 2*10
    # and 15 * (9*10 + 10*2 + 9*2*27 + 4*9*2 + 9*2*10)
    # thop: 15 * (9*10 + 10*2 + 9*2*27), 2 for each value through InstanceNorm (2 x 15), 4 through LayerNorm (10 x 15)
    expected = Profile(parameters=835, parameters_published=655, macs=12_720, macs_published=9_600)
    assert profile(DASGate(10), (10, 5, 3)) == expected


class Deformable(nn.Module):
    def __init__(self, ours: bool) -> None:
        super().__init__()
        self.ours, self.weight = ours, nn.Parameter(torch.ones(6, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        offset, modulation = x.new_zeros(1, 18, *x.shape[2:]), x.new_ones(1, 9, *x.shape[2:])
        if self.ours:
            return modulated_deform_conv2d(x, offset, modulation, self.weight)
        return deform_conv2d(x, offset, self.weight, padding=1, mask=modulation)


@pytest.mark.parametrize("ours", [True, False])
def test_both_routes_of_the_deformable_convolution_count_alike(ours: bool) -> None:
    counts = profile(Deformable(ours), (4, 7, 5))
    assert counts == Profile(216, 0, macs=35 * 9 * (4 * 4 + 4 * 6), macs_published=0)


def test_attention_by_matrix_products_is_counted() -> None:
    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:  # (1, 3, 8, 6)
            return (x @ x.transpose(2, 3)).softmax(-1) @ x

    assert profile(Attend(), (3, 8, 6)).macs == 2 * 3 * 8 * 8 * 6


def test_the_network_comes_back_as_it_was() -> None:
    network = create_model("resnet18", "das", num_classes=4).train()
    network.layer1.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    state = {key: value.clone() for key, value in network.state_dict().items()}
    counted = profile(network, (3, 40, 33))
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert counted == profile(on_meta("resnet18", "das", num_classes=4), (3, 40, 33))  # shapes alone decide
    with pytest.raises(DasExplainError, match="does not take an input of 1x40x33"):
        profile(network, (1, 40, 33))
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert not any(module._forward_hooks for module in network.modules())


# --- the command


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["profile", *arguments, "--no-memory", "--no-time"], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output


def rows(output: str) -> dict[str, list[str]]:
    """Model -> its cells: input and four numbers, then the four differences below them."""
    found, current = {}, None
    for line in output.rsplit("───", maxsplit=1)[-1].split("publ., as published", maxsplit=1)[0].splitlines()[1:]:
        words = line.split()
        if words and not words[0].startswith("+"):
            current = found.setdefault(words.pop(0), [])
        if words:
            current.extend(words)
    return found


def test_command_prints_both_countings_and_the_differences() -> None:
    table = rows(run("resnet50", "resnet50:das"))
    assert table["resnet50"] == ["224x224", "25.557", "25.557", "4.089", "4.134"]
    assert table["resnet50:das"] == [
        "224x224",
        "36.908",
        "26.902",
        "5.825",
        "4.391",
        "+11.351",
        "+1.345",
        "+1.736",
        "+0.257",
    ]


def test_command_takes_a_model_spec_and_a_size(tmp_path) -> None:
    arguments = {"stem": "small", "alpha": 0.1, "gates": ["layer4"]}
    network = create_model("resnet18", "das", num_classes=9, **arguments)
    save_model(tmp_path / "m", network, architecture="resnet18", attention="das", arguments=arguments, num_classes=9)
    counts = profile(network, (3, 64, 64))
    plain = profile(on_meta("resnet18", num_classes=9, stem="small"), (3, 64, 64))
    cells = rows(run(f"mine={tmp_path / 'm'}", "--size", "64"))["mine"]
    assert cells[:2] == ["64x64", f"{counts.parameters / 1e6:.3f}"]
    assert cells[3] == f"{counts.macs / 1e9:.3f}"
    assert cells[5] == f"+{gate_parameters(512, 51) / 1e6:.3f}"
    assert cells[7] == f"+{(counts.macs - plain.macs) / 1e9:.3f}"
    assert counts.macs - plain.macs == gate_macs(512, 51, prod((8, 8)))
