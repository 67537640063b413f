"""Checkpoints that the authors of a module publish load by a model spec, whatever they call the module's parts.

The files are written here with the authors' keys and shapes, as their code has them; the networks they belong to are run
by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.checkpoint.load import load_model, warm_start
from das_explain.nn import create_model

State = dict[str, Tensor]


def spread(backbone: str, make: Callable[[int], nn.Module], place: str) -> tuple[nn.Module, State]:
    """A plain network, and its state dict with that of ``make(channels)`` at ``place`` of every residual block."""
    torch.manual_seed(0)
    plain = create_model(backbone, num_classes=4).eval()
    state = dict(plain.state_dict())
    modules = nn.ModuleDict()
    for name, block in plain.named_modules():
        if channels := channels_of(block):
            modules[name.replace(".", "/")] = module = make(channels)
            last = len(block.conv) if hasattr(block, "conv") else None
            at = f"{name}.{place}" if last is None else f"{name}.conv.{last}"
            state |= {f"{at}.{key}": value for key, value in module.state_dict().items()}
    return nn.ModuleList([plain, modules.eval()]), state


def channels_of(block: nn.Module) -> int | None:
    """The channels of a residual block; of anything else none."""
    if hasattr(block, "bn2") and hasattr(block, "relu"):
        return (block.bn3 if hasattr(block, "bn3") else block.bn2).num_features
    return block.out_channels if type(block).__name__ == "GatedInvertedResidual" else None


def run(network: nn.Module, x: Tensor) -> Tensor:
    """The plain network with each module on the residual of its block, before the addition."""
    plain, modules = network
    handles = []
    for name, module in modules.items():
        block = plain.get_submodule(name.replace("/", "."))
        last = block.conv if hasattr(block, "conv") else block.bn3 if hasattr(block, "bn3") else block.bn2
        handles.append(last.register_forward_hook(lambda _, inputs, out, module=module: module(out)))
    with torch.no_grad():
        logits = plain(x)
    for handle in handles:
        handle.remove()
    return logits


class TheirECA(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(x.mean((2, 3))[:, None])[:, 0, :, None, None].sigmoid()


class ConvNorm(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 1, k, padding=k // 2, bias=False), nn.BatchNorm2d(1)
        nn.init.uniform_(self.bn.running_mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(torch.stack((x.amax(1), x.mean(1)), 1))).sigmoid()


class Named(nn.Module):
    """A module under one more name."""

    def __init__(self, **children: nn.Module) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


class TheirTriplet(nn.Module):
    def __init__(self, names: tuple[str, str, str], inner: str, k: int) -> None:
        super().__init__()
        self.names, self.inner = names, inner
        for name in names:
            self.add_module(name, Named(**{inner: ConvNorm(k)}))

    def forward(self, x: Tensor) -> Tensor:
        h, w, c = (getattr(getattr(self, name), self.inner) for name in self.names)
        over_h = x.permute(0, 2, 1, 3)
        over_w = x.permute(0, 3, 2, 1)
        return (x * c(x) + (over_h * h(over_h)).permute(0, 2, 1, 3) + (over_w * w(over_w)).permute(0, 3, 2, 1)) / 3


class TheirCBAM(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.ChannelGate, self.SpatialGate = Named(mlp=mlp), Named(spatial=ConvNorm(7))

    def forward(self, x: Tensor) -> Tensor:
        mlp = self.ChannelGate.mlp
        x = x * (mlp(F.adaptive_avg_pool2d(x, 1)) + mlp(F.adaptive_max_pool2d(x, 1))).sigmoid()[:, :, None, None]
        return x * self.SpatialGate.spatial(x)


def eca(kernels: dict[int, int]) -> Callable[[int], nn.Module]:
    return lambda channels: TheirECA(kernels[channels])


ECA18 = {64: 3, 128: 5, 256: 7, 512: 7}
ECA_MOBILE = {**dict.fromkeys((16, 24, 32, 64, 96), 1), 160: 3, 320: 3}
FIRST, SECOND = ("ChannelGateH", "ChannelGateW", "SpatialGate"), ("cw", "hc", "hw")
PUBLISHED = {
    "eca": ("resnet18", eca(ECA18), {"kernel_size": "published"}),
    "eca, the code's default": ("resnet18", eca(dict.fromkeys(ECA18, 3)), {"kernel_size": 3}),
    "eca, mobile": ("mobilenet_v2", eca(ECA_MOBILE), {"kernel_size": "published"}),
    "triplet, first code": ("resnet18", lambda channels: TheirTriplet(FIRST, "spatial", 7), {}),
    "triplet, k = 3": ("resnet18", lambda channels: TheirTriplet(SECOND, "conv", 3), {"kernel_size": 3}),
    "triplet, mobile": ("mobilenet_v2", lambda channels: TheirTriplet(SECOND, "conv", 3), {}),
    "triplet, mobile, k = 7": ("mobilenet_v2", lambda channels: TheirTriplet(SECOND, "conv", 7), {"kernel_size": 7}),
    "cbam": ("resnet18", TheirCBAM, {}),
}
PLACES = {"eca": "eca", "triplet": "triplet_attention", "cbam": "cbam"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_checkpoint_loads_by_its_spec(name: str, tmp_path: Path) -> None:
    attention = name.partition(",")[0]
    backbone, make, arguments = PUBLISHED[name]
    network, state = spread(backbone, make, PLACES[attention])
    file = tmp_path / "theirs.pth.tar"
    torch.save({"epoch": 100, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    model = load_model(f"{file}@{backbone}:{attention}", device="cpu")
    assert model.config["arguments"] == arguments
    assert model.config["num_classes"] == 4
    peeled = f"taken from entry state_dict, prefix module., keys of {attention}'s authors"
    assert f"{file}: {peeled}" in model.config["notes"]
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.network(x), run(network, x), rtol=1e-4, atol=1e-5)


def test_a_published_checkpoint_without_an_architecture_is_recognised(tmp_path: Path) -> None:
    _, state = spread("resnet18", eca(ECA18), "eca")
    torch.save(state, tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}?size=32", device="cpu")
    assert (model.config["architecture"], model.config["attention"]) == ("resnet18", "eca")
    assert f"{tmp_path / 'w.pth'}: recognised by its tensors as resnet18:eca" in model.assumptions


def test_a_published_checkpoint_is_a_warm_start() -> None:
    _, state = spread("resnet18", TheirCBAM, "cbam")
    network = create_model("resnet18", "cbam", num_classes=4)
    warm_start(network, state)
    assert torch.equal(
        network.layer1[0].gate.norm.running_mean, state["layer1.0.cbam.SpatialGate.spatial.bn.running_mean"]
    )
