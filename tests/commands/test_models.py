"""``das-explain models`` as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from das_explain.checkpoint.load import fingerprint, load_model
from das_explain.commands.models import app
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def output(*words: str | Path) -> str:
    result = run(*words)
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.output


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(8)
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save({"ema": create_model("mobilenet_v2", "das", 3, alpha=0.1).state_dict()}, path)
    path.with_suffix(".labels.txt").write_text("ant\nbee\ncat\n")
    return path


def test_the_known_networks_with_the_true_parameters() -> None:
    lines = [re.split("[┃│]", line)[1:-1] for line in output().splitlines() if line[0] in "┃│"]
    header, *rows = ([cell.strip() for cell in line] for line in lines)
    table = {row[0]: dict(zip(header, row)) for row in rows}
    for name, plain, gated in (("resnet18", "11.69", "12.44"), ("resnet50", "25.56", "36.91")):
        assert table[name]["none"] == plain  # as torchvision documents it
        assert table[name]["das"] == gated  # with the deformable kernel, which published counts leave out
        assert table[name]["blocks"] == "layer1, layer2, layer3, layer4"
    assert table["mobilenet_v2"]["none"] == "3.50"


def test_show(weights: Path) -> None:
    text = output("show", f"mine={weights}@mobilenet_v2:das?size=96")
    lines = {line[:14].strip(): line[14:] for line in text.splitlines()}
    assert lines["name"] == "mine"
    assert lines["spec"] == f"{weights}@mobilenet_v2:das?size=96"
    assert (lines["architecture"], lines["attention"], lines["arguments"]) == ("mobilenet_v2", "das", "alpha 0.1")
    assert lines["classes"] == "3: ant, bee, cat"
    assert lines["blocks"] == "features.1, features.3, features.6, features.13, features.16, features.17"
    assert lines["preprocess"].startswith("size 96, 96, resize 110, interpolation bilinear, fit crop")
    assert len(lines["fingerprint"]) == 64
    assert lines["note"] == f"{weights}: taken from entry ema"
    network = create_model("mobilenet_v2", "das", 3, alpha=0.1)
    assert lines["parameters"] == f"{sum(p.numel() for p in network.parameters()):,}"


def test_show_as_json(weights: Path) -> None:
    facts = json.loads(output("show", f"{weights}@mobilenet_v2:das", "--json"))
    assert facts["labels"] == ["ant", "bee", "cat"]
    assert facts["arguments"] == {"alpha": 0.1}
    assert facts["fingerprint"] == load_model(f"{weights}@mobilenet_v2:das", device="cpu").fingerprint


def test_show_without_class_names() -> None:
    assert "classes       5, without names\n" in output("show", "torchvision:mobilenet_v2:none?num_classes=5")


def test_pack(weights: Path, tmp_path: Path) -> None:
    spec = f"{weights}@mobilenet_v2:das?size=96"
    text = output("pack", spec, tmp_path / "m")
    packed, original = load_model(str(tmp_path / "m"), device="cpu"), load_model(spec, device="cpu")
    assert packed.fingerprint == original.fingerprint
    assert text == f"{tmp_path / 'm'}: {original.fingerprint}\n"
    assert (packed.labels, packed.preprocess) == (original.labels, original.preprocess)


def test_pack_half_with_names_and_card(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("# Trained on insects\n")
    (tmp_path / "names.json").write_text('["x", "y", "z"]')
    spec = f"{weights}@mobilenet_v2:das"
    output("pack", spec, tmp_path / "m", "--half", "--card", tmp_path / "card.md", "--labels", tmp_path / "names.json")
    assert (tmp_path / "m" / "README.md").read_text() == "# Trained on insects\n"
    assert (tmp_path / "m" / "model.safetensors").stat().st_size < weights.stat().st_size * 0.55
    packed, original = load_model(str(tmp_path / "m"), device="cpu"), load_model(spec, device="cpu")
    assert packed.labels == ["x", "y", "z"]
    for mine, its in zip(packed.network.parameters(), original.network.parameters()):
        assert torch.equal(mine, its.half().float())


@pytest.mark.parametrize("spec", ["torchvision:shufflenet_v2_x0_5:none", "timm:test_resnet?pretrained=false"])
def test_pack_networks_without_gates(spec: str, tmp_path: Path) -> None:
    if spec.startswith("timm"):
        pytest.importorskip("timm")
    output("pack", spec, tmp_path / "m")
    packed, original = load_model(str(tmp_path / "m"), device="cpu"), load_model(spec, device="cpu")
    assert packed.config["architecture"] == original.config["architecture"]
    assert packed.fingerprint == original.fingerprint
    assert list(packed.blocks) == list(original.blocks)


@pytest.mark.parametrize("name", ["googlenet", "squeezenet1_1"])
def test_pack_networks_with_a_twist(name: str, tmp_path: Path) -> None:
    """GoogLeNet's forward depends on an argument, SqueezeNet has no linear layer."""
    output("pack", f"torchvision:{name}:none?num_classes=4", tmp_path / "m", "--half")
    packed = load_model(str(tmp_path / "m"), device="cpu")
    assert packed.config["num_classes"] == 4
    if name == "googlenet":
        assert packed.config["arguments"] == {"aux_logits": True, "transform_input": False}


@pytest.mark.parametrize("mine", ["README.md", "config.json", "model.safetensors"])
def test_pack_replaces_no_file_of_somebody_s_own(weights: Path, tmp_path: Path, mine: str) -> None:
    (tmp_path / mine).write_text("mine")
    result = run("pack", f"{weights}@mobilenet_v2:das", tmp_path, "--force")
    assert isinstance(result.exception, UsageError)
    assert "holds no model of das-explain" in str(result.exception)
    assert (tmp_path / mine).read_text() == "mine"


def test_pack_does_not_replace_by_itself(weights: Path, tmp_path: Path) -> None:
    spec = f"{weights}@mobilenet_v2:das"
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "precious").write_text("")
    result = run("pack", spec, tmp_path / "m")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == f"{tmp_path / 'm'} is not empty; --force replaces the model in it"
    output("pack", spec, tmp_path / "m", "--force")
    assert (tmp_path / "m" / "precious").exists()
    assert isinstance(run("pack", spec, weights).exception, UsageError)


def test_pack_refuses_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_net_to_pack.py").write_text("import torchvision\ndef net(): return torchvision.models.alexnet()\n")
    monkeypatch.chdir(tmp_path)
    result = run("pack", "python:own_net_to_pack:net", tmp_path / "m")
    assert isinstance(result.exception, UsageError)
    assert "a model directory holds only networks that can be built by name" in str(result.exception)
    assert not (tmp_path / "m").exists()


def test_mistakes_are_this_project_s_errors(weights: Path, tmp_path: Path) -> None:
    assert isinstance(run("show", "nothing").exception, UsageError)
    assert isinstance(run("show", f"{weights}@resnet18").exception, DasExplainError)
    result = run("pack", f"{weights}@mobilenet_v2:das", tmp_path / "m", "--card", tmp_path / "none.md")
    assert str(result.exception).startswith("no such model card: ") and "none.md" in str(result.exception)


def test_the_command_line_loads_no_torch() -> None:
    code = "import sys, das_explain.commands.models; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_fingerprints_are_of_the_float32_weights(weights: Path) -> None:
    network = create_model("mobilenet_v2", "das", 3, alpha=0.1)
    network.load_state_dict(torch.load(weights)["ema"])
    assert fingerprint(network) in output("show", f"{weights}@mobilenet_v2:das")
