"""Networks that answer differently in company, or twice: told once, and shown one photo at a time where that helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.cam.engine import grad_cam
from das_explain.checkpoint.load import load_model

PHOTOS = list(np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8))


class Net(nn.Module):
    def __init__(self, *, running: bool = True, dropout: bool = False, one: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8, track_running_stats=running)
        self.head = nn.Linear(8, 3)
        self.dropout, self.one = dropout, one

    def forward(self, x: Tensor) -> Tensor:
        if self.one and len(x) > 1:
            raise ValueError("one at a time")
        x = self.norm(self.conv(x)).relu().mean((2, 3))
        return self.head(F.dropout(x) if self.dropout else x)


class OfItsBatch(nn.Module):
    """Begins with a mean and a spread over ``dim``; (0, 1, 2, 3): over all photos, (1, 2, 3): over its own."""

    def __init__(self, dim: tuple[int, ...], norm: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.dim, self.norm = Net(), dim, norm or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.norm((x - x.mean(self.dim, keepdim=True)) / x.std(self.dim, keepdim=True)))


@pytest.mark.parametrize(
    ("network", "alone", "note"),
    [
        (Net(), False, None),
        (Net(running=False), True, "answers a photo differently in company (batch norm without running statistics"),
        (Net(dropout=True), False, "answers the same photo differently each time (dropout that is on in eval mode"),
        (Net(one=True), True, "takes one photo at a time"),
        (OfItsBatch((0, 1, 2, 3)), True, "answers a photo differently in company"),
        (OfItsBatch((0, 2, 3)), True, "answers a photo differently in company"),
        (OfItsBatch((1, 2, 3)), False, None),
        (OfItsBatch((1, 2, 3), nn.GroupNorm(1, 3)), False, None),
        (OfItsBatch((1, 2, 3), nn.LayerNorm((3, 32, 32))), False, None),
        (OfItsBatch((1, 2, 3), nn.InstanceNorm2d(3)), False, None),
    ],
)
def test_how_a_network_answers_is_told(network: nn.Module, alone: bool, note: str | None) -> None:
    model = load_model(network, size=32)
    told = [sentence for sentence in model.assumptions if "answers" in sentence or "takes one" in sentence]
    assert model.alone == alone
    assert len(told) == (note is not None)
    assert note is None or note in told[0]


def test_a_dark_neighbour_does_not_change_a_photo_s_answer() -> None:
    network = OfItsBatch((0, 1, 2, 3))
    model = load_model(network, size=32)
    photo, dark = PHOTOS[0], PHOTOS[1] // 6
    with torch.no_grad():
        frames = model.preprocess.normalize(torch.from_numpy(model.explain([photo, dark]).frames).permute(0, 3, 1, 2))
        by_hand = network.eval()(frames[:1])
        assert (network(frames)[:1] - by_hand).abs().max() > 0.05, "what it would have been"
    torch.testing.assert_close(model.explain([photo, dark]).logits[:1], by_hand, rtol=0, atol=1e-6)


def test_a_batch_of_one_mends_it() -> None:
    network = Net(running=False)
    model = load_model(network, size=32)
    together = model.explain(PHOTOS, blocks="conv")
    for photo in range(3):
        alone = model.explain(PHOTOS[photo], blocks="conv")
        torch.testing.assert_close(together[photo].logits, alone.logits, rtol=0, atol=1e-6)
        torch.testing.assert_close(together[photo].cams["conv"].map, alone.cams["conv"].map, rtol=0, atol=1e-5)
    images = torch.randn(2, 3, 32, 32)
    company = grad_cam(network, images, torch.zeros(2, dtype=torch.int64), ["conv"])["conv"]
    single = grad_cam(network, images[:1], torch.zeros(1, dtype=torch.int64), ["conv"])["conv"]
    assert (company.map[0] - single.map[0]).abs().max() > 1e-3, "in company it would have been another map"
