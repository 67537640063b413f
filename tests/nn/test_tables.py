"""The tables of both papers: every count agrees to the last printed digit, or is listed here as one that does not."""

from __future__ import annotations

from decimal import Decimal

import pytest
import torch
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.nn import create_model
from das_explain.nn.cost import peak_activations, relative_time
from das_explain.nn.profile import profile
from das_explain.nn.ptflops import ptflops_macs
from das_explain.nn.tables import DEFCON1, NOTES, TABLE1, TABLE2, agreement, detector, on_meta

PARAMETERS = {  # of the whole network, 1000 classes
    "resnet18": {
        "none": 11_689_512, "se": 11_776_552, "bam": 11_713_181, "cbam": 11_779_392, "triplet": 11_691_912,
        "emca": 11_689_588, "das": 12_439_980,
    },
    "resnet50": {
        "none": 25_557_032, "se": 28_071_976, "bam": 25_917_793, "cbam": 28_089_624, "gsop": 28_285_224,
        "a2": 32_907_304, "gc": 28_105_032, "gala": 29_377_608, "abn": 43_584_866, "srm": 25_617_448,
        "triplet": 25_561_832, "emca": 25_557_249, "asr": 28_087_080, "das": 36_908_204,
    },
    "resnet101": {
        "none": 44_549_160, "se": 49_292_328, "bam": 44_909_921, "cbam": 49_330_172, "srm": 44_679_208,
        "triplet": 44_559_060, "asr": 49_324_840, "das": 55_900_332,
    },
    "mobilenet_v2": {
        "none": 3_504_872, "se": 3_533_288, "cbam": 3_536_585, "triplet": 3_509_972, "das": 3_821_642,
    },
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE1, ids=lambda row: f"{row.backbone}-{row.attention}")
def test_parameters(row) -> None:
    network = on_meta(row.backbone, row.attention)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[row.backbone][row.attention]


@pytest.mark.parametrize("attention", DEFCON1)
def test_defcon1_table1(attention: str) -> None:
    network = on_meta("resnet50", attention, 100, stem="small")
    assert sum(parameter.numel() for parameter in network.parameters()) == DEFCON1[attention]


@pytest.mark.parametrize(("backbone", "attention"), TABLE2)
def test_detectors(backbone: str, attention: str) -> None:
    assert agreement(Decimal(detector(backbone, attention)) / 10**6, TABLE2[backbone, attention]) == "rounded"


def test_agreement_is_on_the_digits_printed() -> None:
    assert agreement(Decimal("28.0896"), "28.09") == "rounded"
    assert agreement(Decimal("28.1050"), "28.10") == "cut"
    assert agreement(Decimal("28.0949"), "28.10") == "none"
    assert agreement(Decimal("1"), "-") == "-"


def test_ptflops_by_hand() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),  # 6x5 out: 30 * 4 * (27 + 1)
        torch.nn.BatchNorm2d(4),  # 2 * 120
        torch.nn.ReLU(),  # 120
        torch.nn.AdaptiveAvgPool2d(1),  # 120
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),  # 10
    )
    assert ptflops_macs(network, (3, 8, 7)) == 3360 + 240 + 120 + 120 + 10


def test_command_prints_all_of_table_1() -> None:
    result = CliRunner().invoke(app, ["profile", "--table1"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    names = {row.backbone if row.attention == "none" else f"{row.backbone}:{row.attention}" for row in TABLE1}
    rows = {line[0]: line[1:] for line in lines if line and line[0] in names}
    assert rows.keys() == names
    assert rows["resnet50:das"] == ["26.90", "26.902", "✓", "4.39", "4.391", "✓", "78.04", "94.00"]
    assert rows["resnet50:gc"] == ["28.10", "28.105", "✓↓", "4.13", "4.130", "✓", "77.70", "93.66"]
    assert rows["resnet50:asr"] == ["26.00", "25.557", "✗", "-", "4.122", "76.87", "-"]
    assert {name for name, cells in rows.items() if "✗" in cells} == {
        backbone if attention == "none" else f"{backbone}:{attention}" for backbone, attention in NOTES
    }
    said = " ".join(result.output.split())
    assert "53 of 65 printed counts agree to the last digit" in said
    assert all(sentence in said for sentence in NOTES.values())


def test_peak_of_activations_by_hand() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 2, 1), torch.nn.Conv2d(2, 1, 1))
    assert peak_activations(network, (3, 10, 10)) == 4 * 100 * (8 + 2)  # two maps at once, the widest pair
    with torch.device("meta"):
        network = create_model("resnet18")
    # the stem: the convolution's map and the norm's, 64 x 112 x 112
    stem = 2 * 4 * 64 * 112 * 112
    assert stem <= peak_activations(network) < 1.01 * stem


def test_time_is_relative_to_the_other_network() -> None:
    small = torch.nn.Conv2d(3, 4, 3)
    large = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 7, padding=3) for _ in range(40)))
    seconds, ratio = relative_time(large, small, (3, 64, 64), repeats=3)
    assert seconds > 0
    assert ratio > 3


def test_command_prints_memory_and_time() -> None:
    result = CliRunner().invoke(
        app, ["profile", "mobilenet_v2:das", "--size", "64", "--memory", "--time"], env={"COLUMNS": "140"}
    )
    assert result.exit_code == 0, result.output
    peak = peak_activations(on_meta("mobilenet_v2", "das"), (3, 64, 64))
    assert f"{peak / 1e6:.3f}" in result.output
    assert "x plain" in result.output


def test_command_needs_something_to_do() -> None:
    result = CliRunner().invoke(app, ["profile"])
    assert result.exit_code != 0
    assert "needs a MODEL" in str(result.exception) + result.output


def test_published_counts_of_das_are_unchanged_by_the_registry() -> None:
    assert profile(on_meta("resnet50", "das")).parameters_published == 26_901_932
