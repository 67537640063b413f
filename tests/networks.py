"""Networks of a few microseconds, for tests that ask thousands of times: ``python:tests.networks:small``."""

from __future__ import annotations

import torch
from torch import nn


class Small(nn.Module):
    """Two stages of a convolution each and a linear head of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(8, 16, 2, 2), nn.ReLU())
        self.fc = nn.Linear(16, 3)
        for layer in (self.layer2[0], self.fc):  # no map is empty
            layer.weight.data.abs_()

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer2(self.layer1(photos)).mean((2, 3)))


def small(seed: int) -> Small:
    """With weights of their own."""
    torch.manual_seed(seed)
    return Small()
