"""Small random model directories for tests of what uses models."""

from __future__ import annotations

from pathlib import Path

import torch

from das_explain.checkpoint.load import save_model
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.nn import create_model


def model_directory(
    folder: Path, labels: list[str], *, attention: str = "none", size: int = 32, seed: int = 0, scale: float = 20.0
) -> Path:
    """A ResNet-18 with the small stem; ``scale`` spreads its logits, so that maps are not all zero."""
    torch.manual_seed(seed)
    network = create_model("resnet18", attention, num_classes=len(labels), stem="small")
    with torch.no_grad():
        network.fc.weight.mul_(scale)
    save_model(
        folder,
        network,
        architecture="resnet18",
        attention=attention,
        arguments={"stem": "small"},
        labels=labels,
        preprocess=Preprocess(Geometry(size=(size, size), resize=size)),
    )
    return folder
