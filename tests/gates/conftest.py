"""A gated network whose kernels look elsewhere, and photos that are not square."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from das_explain.checkpoint.load import load_model, save_model
from das_explain.nn.interventions import gates_of
from tests.explain.test_pipeline import LABELS, write_photos
from tests.models import model_directory


@pytest.fixture(scope="session")
def gated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nets") / "das"
    model = load_model(str(model_directory(folder, LABELS, attention="das", seed=1)), device="cpu")
    torch.manual_seed(2)
    for gate in gates_of(model.network).values():
        nn.init.normal_(gate.offset.weight, std=0.1)
        nn.init.normal_(gate.modulation.weight, std=0.1)
    about = {name: model.config[name] for name in ("architecture", "attention", "arguments")}
    return save_model(folder, model.network, labels=LABELS, preprocess=model.preprocess, **about)


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A CSV of eight photos of 52 x 40: four with label and mask, others broken, unmasked, of an unknown class."""
    return write_photos(tmp_path_factory.mktemp("photos"), 4)
