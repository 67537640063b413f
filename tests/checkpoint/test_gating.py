"""Gates in other people's networks as model specs: added to weights that are there, read from files, stored and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from das_explain.checkpoint.load import load_model, save_model, warm_start
from das_explain.checkpoint.spec import parse_spec
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model
from das_explain.nn.anywhere import places_of

CODE = """
import torch
from torch import nn

class Stage(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.fc = Stage(3, 8), Stage(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.second(self.first(x)).mean((2, 3)))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "nets_to_gate.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return "python:nets_to_gate:Net?size=32"


def logits(network: nn.Module, side: int = 32) -> Tensor:
    with torch.no_grad():
        return network(torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)))


def test_the_suffix_is_taken_apart() -> None:
    spec = parse_spec("a=torchvision:resnet18:none+gates=ones+attention=das@layer3,layer4")
    assert (spec.name, spec.attention, spec.gates) == ("a", "das@layer3,layer4", "ones")
    assert spec.text == "torchvision:resnet18:none+attention=das@layer3,layer4+gates=ones"
    assert parse_spec("torchvision:resnet18").attention is None
    with pytest.raises(UsageError, match=r"attention=sad is unknown; end the spec with \+attention=NAME"):
        parse_spec("torchvision:resnet18+attention=sad")


def test_anybodys_network_gets_gates(mine: str) -> None:
    plain, model = load_model(mine, device="cpu"), load_model(f"{mine}+attention=das", device="cpu")
    assert places_of(model.network) == ("first", "second")
    assert list(model.blocks) == list(plain.blocks) == ["first", "second"]
    assert model.config["attention"] == "das"
    assert tuple(model.config["arguments"]["gates"]) == ("first", "second")
    assert f"{mine}+attention=das: the gates are untrained and start near the identity" in model.assumptions
    assert model.fingerprint != plain.fingerprint
    assert load_model(f"{mine}+attention=das", device="cpu").fingerprint == model.fingerprint
    expected, got = logits(plain.network), logits(model.network)
    assert 0 < (got - expected).abs().max() < 0.06 * expected.abs().max()
    without = load_model(f"{mine}+attention=das+gates=ones", device="cpu")
    assert torch.equal(logits(without.network), expected)


def test_gates_after_a_block_that_is_named(mine: str) -> None:
    plain, model = load_model(mine, device="cpu"), load_model(f"{mine}+attention=se@second", device="cpu")
    assert places_of(model.network) == ("second",)
    assert f"{mine}+attention=se@second: the gates are untrained and change nothing yet" in model.assumptions
    assert torch.equal(logits(model.network), logits(plain.network))
    with pytest.raises(UsageError, match=r"Net\?size=32\+attention=das@third: .* has no module 'third'"):
        load_model(f"{mine}+attention=das@third", device="cpu")


def test_a_backbone_of_the_registry_has_its_gates_where_they_belong() -> None:
    model = load_model("torchvision:resnet18:none+attention=das", device="cpu")
    plain = load_model("torchvision:resnet18:none", device="cpu")
    assert list(model.network.state_dict()) == list(create_model("resnet18", "das").state_dict())
    own = plain.network.state_dict()
    assert all(torch.equal(model.network.state_dict()[key], value) for key, value in own.items())
    inside = load_model("torchvision:resnet18:none+attention=se", device="cpu")
    assert "layer1.0.gate.fc1.weight" in inside.network.state_dict()
    assert torch.equal(logits(inside.network), logits(plain.network))
    strided = load_model("torchvision:resnet18:none+attention=gsop", device="cpu")
    told = "change nothing yet, but gsop's paper changes the network, too (last_stride): it answers otherwise"
    assert any(told in note for note in strided.assumptions)
    assert not torch.allclose(logits(strided.network), logits(plain.network), rtol=0.01)
    with pytest.raises(UsageError, match="it has gates already, das; leave"):
        load_model("collage-das-resnet18+attention=se", device="cpu")


def gated(**arguments) -> nn.Module:
    torch.manual_seed(2)
    return create_model("timm:resnet10t", "das", 3, **arguments).eval()


def test_a_network_with_gates_is_stored_and_read_back(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    network = gated(alpha=0.1)
    directory = save_model(tmp_path, network, architecture="timm:resnet10t", attention="das", arguments={"alpha": 0.1})
    arguments = json.loads((directory / "config.json").read_text())["arguments"]
    gates = ["layer1", "layer2", "layer3", "layer4"]
    assert arguments == {"alpha": 0.1, "gates": gates, "modulation_scale": 1}
    model = load_model(directory, device="cpu")
    assert torch.equal(logits(model.network, 64), logits(network, 64))
    assert list(model.blocks) == gates


def test_a_weight_file_of_a_network_with_gates(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    network = gated(alpha=0.1, gates=("layer2", "layer4"))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@timm:resnet10t:das", device="cpu")
    assert model.config["arguments"] == {"gates": ("layer2", "layer4"), "alpha": 0.1}
    assert model.config["num_classes"] == 3
    assert torch.equal(logits(model.network, 64), logits(network, 64))
    with pytest.raises(DasExplainError, match=r"w\.pth does not fit timm:resnet10t with attention se"):
        load_model(f"{tmp_path / 'w.pth'}@timm:resnet10t:se", device="cpu")


@pytest.mark.parametrize("init", ["identity", "default"])
def test_how_gates_started_is_read_off_a_file_and_stored_in_a_directory(tmp_path: Path, init: str) -> None:
    pytest.importorskip("timm")
    torch.manual_seed(2)
    network = create_model("timm:resnet10t", "se", 3, init=init).eval()
    for place in places_of(network):
        gate = network.get_submodule(place).gate
        if init == "identity":
            nn.init.constant_(gate.strength, 0.5)
        assert (gate.strength is not None) == (init == "identity")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@timm:resnet10t:se", device="cpu")
    assert model.config["arguments"]["init"] == init
    assert torch.equal(logits(model.network, 64), logits(network, 64))
    save_model(
        tmp_path / "net",
        model.network,
        architecture="timm:resnet10t",
        attention="se",
        arguments=model.config["arguments"],
    )
    again = load_model(tmp_path / "net", device="cpu")
    assert again.config["arguments"]["init"] == init
    assert torch.equal(logits(again.network, 64), logits(network, 64))


def test_a_file_of_a_registrys_network_whose_gates_started_at_the_identity(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = create_model("resnet18", "eca", 3, init="identity").eval()
    nn.init.constant_(network.layer2[1].gate.strength, 0.5)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    for spec in (f"{tmp_path / 'w.pth'}@resnet18:eca", f"{tmp_path / 'w.pth'}"):
        model = load_model(spec, device="cpu")
        assert (model.config["attention"], model.config["arguments"]) == ("eca", {"init": "identity"})
        assert torch.equal(logits(model.network, 64), logits(network, 64))


def test_weights_of_the_backbone_are_a_warm_start() -> None:
    pytest.importorskip("timm")
    plain = create_model("timm:resnet10t", num_classes=3)
    taken = warm_start(network := gated(), plain.state_dict())
    assert taken.gates_kept == ("layer1.gate", "layer2.gate", "layer3.gate", "layer4.gate")
    assert torch.equal(network.layer3[0].conv1.weight, plain.layer3[0].conv1.weight)
    with pytest.raises(UsageError, match=r"a warm start takes weights as they are; leave \+attention=das out"):
        warm_start(network, "torchvision:resnet18:none+attention=das")
