"""The tables of both papers: every count agrees to the last printed digit, or is listed here as one that does not."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
import torch
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.commands.profile import TABLES
from das_explain.nn import create_model
from das_explain.nn.attention.gc import GlobalContext
from das_explain.nn.counts.comparison import COMPARISONS
from das_explain.nn.counts.cost import peak_activations, relative_time
from das_explain.nn.counts.profile import profile
from das_explain.nn.counts.ptflops import ptflops_macs
from das_explain.nn.counts.tables import DEFCON1, NOTES, TABLE1, TABLE2, agreement, detector, on_meta

PARAMETERS = {  # of the whole network, 1000 classes
    "resnet18": {
        "none": 11_689_512, "se": 11_776_552, "bam": 11_713_181, "cbam": 11_779_392, "triplet": 11_691_912,
        "emca": 11_733_043, "das": 12_439_980,
    },
    "resnet50": {
        "none": 25_557_032, "se": 28_071_976, "bam": 25_917_793, "cbam": 28_089_624, "gsop": 28_285_224,
        "a2": 32_907_304, "gc": 28_105_032, "gala": 29_377_608, "abn": 43_584_866, "srm": 25_617_448,
        "triplet": 25_561_832, "emca": 26_253_370, "asr": 28_103_128, "das": 36_908_204,
    },
    "resnet101": {
        "none": 44_549_160, "se": 49_292_328, "bam": 44_909_921, "cbam": 49_330_172, "srm": 44_679_208,
        "triplet": 44_559_060, "asr": 49_359_384, "das": 55_900_332,
    },
    "mobilenet_v2": {
        "none": 3_504_872, "se": 3_533_288, "cbam": 3_536_585, "triplet": 3_505_892, "das": 3_821_642,
    },
}  # fmt: skip


@pytest.mark.usefixtures("no_start")
@pytest.mark.parametrize("row", TABLE1, ids=lambda row: f"{row.backbone}-{row.attention}")
def test_parameters(row) -> None:
    network = on_meta(row.backbone, row.attention)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[row.backbone][row.attention]


@pytest.mark.usefixtures("no_start")
@pytest.mark.parametrize("attention", DEFCON1)
def test_defcon1_table1(attention: str) -> None:
    network = on_meta("resnet50", attention, 100, stem="small")
    assert sum(parameter.numel() for parameter in network.parameters()) == DEFCON1[attention]


@pytest.mark.usefixtures("no_start")
@pytest.mark.parametrize(("backbone", "attention"), TABLE2)
def test_detectors(backbone: str, attention: str) -> None:
    assert agreement(Decimal(detector(backbone, attention)) / 10**6, TABLE2[backbone, attention]) == "rounded"


def test_agreement_is_on_the_digits_printed() -> None:
    assert agreement(Decimal("28.0896"), "28.09") == "rounded"
    assert agreement(Decimal("28.1050"), "28.10") == "cut"
    assert agreement(Decimal("28.0949"), "28.10") == "none"
    assert agreement(Decimal(1), "-") == "-"


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


def printed_rows(output: str) -> dict[str, list[str]]:
    """Network -> its cells."""
    lines = [line.split() for line in output.splitlines()]
    return {line[0]: line[1:] for line in lines if line and line[0].startswith(("resnet", "mobilenet")) and "✓" in line}


@pytest.mark.usefixtures("no_start")
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
    assert rows["resnet18:emca"] == ["11.19", "11.190", "✓", "1.70", "1.697", "✓", "71.00", "90.00"]
    assert rows["resnet50:emca"] == ["25.04", "25.037", "✓", "3.83", "3.840", "✓↓", "77.33", "93.52"]
    assert rows["mobilenet_v2:triplet"] == ["3.51", "3.506", "✓", "0.32", "0.322", "✓", "72.62", "90.77"]
    assert [name for name, cells in rows.items() if "✓↓" in cells] == ["resnet50:gc", "resnet50:emca"]
    marks = [cell for cells in rows.values() for cell in cells]
    assert {mark: marks.count(mark) for mark in ("✓", "✓↓", "✗")} == {"✓": 55, "✓↓": 2, "✗": 8}  # 65 digits
    assert {name for name, cells in rows.items() if "✗" in cells or "✓↓" in cells} == {
        backbone if attention == "none" else f"{backbone}:{attention}" for backbone, attention in NOTES
    }
    said = " ".join(result.output.split())
    assert "57 of 65 printed counts agree to the last digit" in said
    assert all(sentence in said for sentence in NOTES.values())


def test_peak_of_activations_by_hand() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 2, 1), torch.nn.Conv2d(2, 1, 1))
    assert peak_activations(network, (3, 10, 10)) == 4 * 100 * (8 + 2)  # two maps at once, the widest pair
    with torch.device("meta"):
        network = create_model("resnet18")
    # the stem: the convolution's map and the norm's, 64 x 112 x 112
    stem = 2 * 4 * 64 * 112 * 112
    assert stem <= peak_activations(network) < 1.01 * stem


@pytest.mark.parametrize(
    "measure",
    [
        ptflops_macs,
        peak_activations,
        lambda network, size: relative_time(network, network, size, repeats=1),
        profile,
    ],
)
def test_a_counted_network_comes_back_as_it_was(measure) -> None:
    network = create_model("resnet18", num_classes=3, stem="small").train()
    network.layer1.eval()
    network.conv1.weight.requires_grad_(False)

    def look() -> tuple[list, list, list]:
        state = [(key, value.clone()) for key, value in network.state_dict().items()]
        return [m.training for m in network.modules()], [p.requires_grad for p in network.parameters()], state

    modes, learning, state = look()
    measure(network, (3, 16, 16))
    assert look()[:2] == (modes, learning)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in state)


def test_time_is_relative_to_the_other_network() -> None:
    small = torch.nn.Conv2d(3, 4, 3)
    large = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 7, padding=3) for _ in range(40)))
    seconds, ratio = relative_time(large, small, (3, 64, 64), repeats=3)
    assert seconds > 0
    assert ratio > 3


@pytest.mark.usefixtures("no_start")
def test_command_prints_the_other_tables() -> None:
    arguments = ["profile", "--table", "2", "--table", "4", "--table", "defcon1"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    rows = printed_rows(result.output)
    assert rows["resnet101"] == ["60.6", "60.644", "✓"]
    assert rows["resnet18:das?variant=a"] == ["12.766", "12.7657", "✓", "1.99", "1.99059", "✓", "65.00"]
    assert rows["resnet18:das?variant=h"][-1] == "61.375"
    assert rows["resnet50:eca"] == ["23705332", "23705332", "✓", "74.68", "92.65"]
    assert rows["resnet50:defcon1?offsets=shuffle"] == ["23705756", "23705756", "✓", "67.3900", "88.4800"]
    assert "✗" not in result.output
    said = " ".join(result.output.split())
    assert all(f"{n} of {n} printed counts agree" in said for n in (6, 16))


def test_tables_the_command_knows() -> None:
    assert tuple(COMPARISONS) == TABLES
    result = CliRunner().invoke(app, ["profile", "--table", "3"])
    assert "--table 3 is unknown; choose 1, 2, 4, defcon1" in str(result.exception)


def test_command_prints_memory_and_time() -> None:
    result = CliRunner().invoke(app, ["profile", "mobilenet_v2:das", "--size", "64"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    peak = peak_activations(on_meta("mobilenet_v2", "das"), (3, 64, 64))
    cells = next(line.split() for line in result.output.splitlines() if "64x64" in line)
    assert cells[-2] == f"{peak / 1e6:.3f}"
    assert float(cells[-1]) > 0
    assert re.search(r"\(\d+\.\d\d\)", result.output)  # beside the plain network


def test_command_takes_arguments_of_a_network() -> None:
    spec = "resnet18:das?alpha=0.5&gates=layer4&num_classes=7"
    result = CliRunner().invoke(app, ["profile", spec, "--no-time", "--no-memory"], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    counted = sum(p.numel() for p in on_meta("resnet18", "das", 7, alpha=0.5, gates=("layer4",)).parameters())
    assert f"{counted / 1e6:.3f}" in result.output
    result = CliRunner().invoke(app, ["profile", "resnet18?alpha=0.5"])
    assert "resnet18 with attention none takes no 'alpha'" in str(result.exception)


def test_command_needs_something_to_do() -> None:
    result = CliRunner().invoke(app, ["profile"])
    assert result.exit_code != 0
    assert "needs a MODEL" in str(result.exception) + result.output


def test_published_counts_of_das_are_unchanged_by_the_registry() -> None:
    assert profile(on_meta("resnet50", "das")).parameters_published == 26_901_932


@pytest.mark.usefixtures("no_start")
def test_what_the_sentences_say() -> None:
    """Each number of ``NOTES`` that is counted here."""

    def millions(backbone: str, attention: str, **arguments) -> str:
        return f"{sum(p.numel() for p in on_meta(backbone, attention, **arguments).parameters()) / 1e6:.2f} M"

    assert f"While it trains it has {millions('resnet50', 'asr')}." in NOTES["resnet50", "asr"]
    assert f"While it trains it has {millions('resnet101', 'asr')}." in NOTES["resnet101", "asr"]
    assert f"{millions('resnet50', 'a2')} " in NOTES["resnet50", "a2"]
    assert f"{millions('resnet50', 'gala')}:" in NOTES["resnet50", "gala"]
    network = on_meta("resnet50", "a2")
    counts, statistics = profile(network), [b for name, b in network.named_buffers() if "running" in name]
    whole = counts.parameters + sum(buffer.numel() for buffer in statistics)
    assert (f"{whole / 1e6:.2f}", f"{counts.macs / 1e9:.2f}") == ("32.96", "6.66")
    unbiased = [
        p for name, p in on_meta("resnet50", "gala").named_parameters() if ".gate." not in name or "bias" not in name
    ]
    assert f"{sum(p.numel() for p in unbiased) / 1e6:.2f}" == "29.36"
    network = on_meta("resnet50", "abn")
    convolutions = [getattr(network.layer3.gate, name) for name in ("conv1", "conv2", "conv3")]
    whole = sum(p.numel() for p in network.parameters())
    biased = whole + sum(convolution.out_channels for convolution in convolutions)
    assert (f"{whole / 1e6:.3f}", f"{biased / 1e6:.3f}") == ("43.585", "43.587")
    network = on_meta("resnet50", "gc")
    biases = sum(module.fc1.bias.numel() for module in network.modules() if isinstance(module, GlobalContext))
    whole = sum(p.numel() for p in network.parameters())
    assert (f"{whole / 1e6:.3f}", f"{(whole - biases) / 1e6:.3f}") == ("28.105", "28.104")
    assert whole - 33 == 28_104_999  # the most that is 28.10 when rounded
    units = [ptflops_macs(on_meta("resnet50", attention)) / 2**30 for attention in ("emca", "none")]
    assert [f"{value:.4f}" for value in units] == ["3.8395", "3.8388"]
    assert f"{ptflops_macs(on_meta('resnet18', 'emca')) / 2**30:.3f}" == "1.697"
