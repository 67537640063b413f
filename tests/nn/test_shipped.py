"""The shipped networks answer as they did when they were shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from das_explain.checkpoint.load import load_model
from das_explain.nn import DASGate

MODELS = Path(__file__).parents[2] / "models"
LOGITS = {  # of the two waves below in float64, recorded before w_p became a sigmoid by default
    "collage-das-resnet18": [
        [
            0.282025943,
            -0.427253337,
            -0.611604421,
            -1.659707665,
            -0.198481461,
            6.15882678,
            -1.52748044,
            -0.955658062,
            -0.552479349,
        ],
        [
            -0.699970864,
            -0.444246213,
            -0.333927274,
            -1.62045313,
            0.153673766,
            5.104529642,
            -0.399944823,
            -0.671918148,
            -0.139068438,
        ],
    ],
    "collage-resnet18": [
        [
            0.114675732,
            1.295246646,
            0.899456864,
            -4.324687027,
            0.476697469,
            5.032388486,
            -2.641077688,
            -0.347346768,
            -0.376171097,
        ],
        [
            0.155144206,
            1.096895582,
            0.300098281,
            -4.077246032,
            0.468824191,
            5.561102813,
            -2.131848202,
            -0.347247567,
            -0.984255697,
        ],
    ],
}


def waves() -> torch.Tensor:
    """(2, 3, 160, 160)."""
    x = torch.arange(2 * 3 * 160 * 160, dtype=torch.float64).reshape(2, 3, 160, 160)
    return ((x * 0.37).sin() + (x * 0.0011).cos()).float().double()


@pytest.mark.parametrize("name", LOGITS)
def test_logits(name: str) -> None:
    network = load_model(str(MODELS / name), device="cpu").network.double()
    with torch.no_grad():
        torch.testing.assert_close(network(waves()), torch.tensor(LOGITS[name]).double(), rtol=0, atol=1e-6)


def test_logits_of_the_directory_as_it_was_first_shipped(tmp_path: Path) -> None:
    """Its ``config.json`` did not say how far w_p reaches."""
    name = "collage-das-resnet18"
    config = json.loads((MODELS / name / "config.json").read_text())
    del config["arguments"]["modulation_scale"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(MODELS / name / "model.safetensors")
    network = load_model(tmp_path, device="cpu").network.double()
    with torch.no_grad():
        torch.testing.assert_close(network(waves()), torch.tensor(LOGITS[name]).double(), rtol=0, atol=1e-6)


def test_the_gates_keep_what_they_were_trained_with() -> None:
    network = load_model(str(MODELS / "collage-das-resnet18"), device="cpu").network.double()
    gates = [module for module in network.modules() if isinstance(module, DASGate)]
    assert [gate.modulation_scale for gate in gates] == [2] * 4
    for gate in gates:
        gate.modulation_scale = 1.0
    with torch.no_grad():
        changed = (network(waves()) - torch.tensor(LOGITS["collage-das-resnet18"])).abs().max()
    assert 1e-5 < changed < 1e-2  # LayerNorm hides nearly all of it, not all
