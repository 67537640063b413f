"""Which modules are a network's stages: a table of 200 networks, and the rules one by one on small ones made for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from das_explain.nn.answers import Answers
from das_explain.nn.stages import ends_in_front, find_stages
from tests.nn.stages.table import default_stages, read

TABLE = read()
QUICK = (
    "timm:test_vit", "timm:test_mambaout", "timm:levit_128", "timm:pit_ti_224", "timm:mobilenetv3_small_050",
    "timm:mvitv2_tiny", "timm:hiera_tiny_224", "torchvision:swin_t", "torchvision:vit_b_16", "torchvision:convnext_tiny",
    "torchvision:densenet121", "torchvision:vgg11",
)  # fmt: skip


def test_the_table_is_of_200_networks_with_two_stages_each() -> None:
    assert len(TABLE) >= 200
    assert [name for name, stages in TABLE.items() if len(stages) != 2] == []


@pytest.mark.parametrize("name", QUICK)
def test_default_stages(name: str) -> None:
    assert default_stages(name) == TABLE[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TABLE if name not in QUICK])
def test_default_stages_of_the_whole_table(name: str) -> None:
    assert default_stages(name) == TABLE[name]


class Attention(nn.Module):
    """A block of a vision transformer: the norm before the attention, then the one before the layers."""

    def __init__(self, width: int, *, norm_last: bool = False) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.ln_mlp = nn.LayerNorm(width)
        self.mlp = nn.Linear(width, width)
        self.norm_last = norm_last

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_last:
            x = self.ln(x + self.attention(x, x, x)[0])
            return self.ln_mlp(x + self.mlp(x))
        y = self.ln(x)
        x = x + self.attention(y, y, y)[0]
        return x + self.mlp(self.ln_mlp(x))


class Vit(nn.Module):
    """Somebody's own vision transformer; ``pooled``: by the mean of its patches, else by its class token."""

    def __init__(self, depth: int = 6, *, pooled: bool = False, norm_last: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.first = nn.Parameter(torch.randn(1, 0 if pooled else 1, 12))
        self.layers = nn.ModuleList(Attention(12, norm_last=norm_last) for _ in range(depth))
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return self.head(x[:, 0] if self.first.shape[1] else x.mean(1))


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_a_vision_transformer_is_explained_before_its_attention(size: tuple[int, int]) -> None:
    for pooled in (False, True):
        network = Vit(pooled=pooled)
        assert list(find_stages(network, size)) == ["layers.3.ln", "layers.5.ln"]
    assert list(find_stages(Vit(norm_last=True), size)) == ["layers.2", "layers.4"], "what comes in is the block before"


def test_of_a_short_one_with_a_class_token_the_last_norm_that_the_logits_depend_on() -> None:
    assert list(find_stages(Vit(2), (32, 32)))[-1] == "layers.1.ln", "behind the last attention the patches go nowhere"


class Encoder(nn.Module):
    """Blocks, and what each of them gave beside the last: no map of its own."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Attention(12) for _ in range(depth))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for layer in self.layers:
            x = layer(x)
        return {"last": x}


class Bare(nn.Module):
    """A small vision transformer with a norm behind its embedding, which has most parameters, and none at the end."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.patches, self.pre = nn.Conv2d(3, 12, 32, 32), nn.LayerNorm(12)
        self.encoder, self.head = Encoder(depth), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(self.patches(x).flatten(2).transpose(1, 2))
        return self.head(self.encoder(x)["last"].mean(1))


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(6, (3, 5)), (3, (1, 2)), (2, (1,))],
)
def test_a_large_patch_embedding_is_no_stage_before_the_blocks(depth: int, blocks: tuple[int, ...]) -> None:
    network = Bare(depth)
    embedding = sum(each.numel() for each in network.patches.parameters())
    assert embedding > 0.5 * sum(each.numel() for each in network.parameters())
    assert list(find_stages(network, (128, 128))) == [f"encoder.layers.{block}.ln" for block in blocks]
    assert ends_in_front(network, ["pre"])
    assert not ends_in_front(network, ["encoder.layers.0.ln"])
    assert not ends_in_front(network, ["encoder.layers.1"])


class Padded(nn.Sequential):
    """Pads as TensorFlow does, in a layer of its own."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.ZeroPad2d(1), nn.Conv2d(width, 2 * width, 3, 2))


class Odd(nn.Module):
    """A convolutional network with things that look like stages and are none."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.blocks = nn.ModuleList([Padded(4), Padded(8)])
        self.position = nn.Identity()
        self.encoding = Constant()
        self.pool = Windows()
        self.grow = nn.Upsample(scale_factor=2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = x + self.encoding(x)
        x = x + self.pool(x).mean()
        return self.head(self.grow(x).mean((2, 3)))


class Constant(nn.Module):
    """A positional encoding: the same for every photo."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linspace(0, 1, x.numel() // len(x)).view(1, *x.shape[1:]).expand_as(x)


class Windows(nn.Module):
    """Four maps for each photo."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[2] // 2
        return torch.cat([x[:, :, i : i + half, j : j + half] for i in (0, half) for j in (0, half)])


def test_paddings_encodings_windows_and_larger_maps_are_no_stages() -> None:
    assert list(find_stages(Odd(), (64, 64))) == ["stem", "blocks.0", "blocks.1"]
    assert list(find_stages(Odd(), (64, 96))) == ["stem", "blocks.0", "blocks.1"]


def test_a_patch_embedding_alone_is_in_front_of_what_was_learned() -> None:
    class Opaque(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 8, 8)
            self.rest = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 256), nn.ReLU(), nn.Linear(256, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.rest(self.patches(x))

    network = Opaque()
    assert list(find_stages(network, (32, 32))) == ["patches"]
    assert ends_in_front(network, ["patches"])
    assert not ends_in_front(network, ["rest"])


def test_a_network_within_somebody_s_module_keeps_its_library_s_stages() -> None:
    from torchvision.models import swin_t

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = swin_t()

        def forward(self, x: Tensor) -> Tensor:
            return self.backbone(x)

    with torch.device("meta"):
        network = Mine()
    assert list(find_stages(network, (64, 64))) == [f"backbone.features.{stage}" for stage in (1, 3, 5, 7)]


def test_a_network_whose_output_is_read_otherwise_keeps_its_library_s_stages() -> None:
    from torchvision.models import swin_t

    with torch.device("meta"):
        network = swin_t()
    assert list(find_stages(Answers(network), (64, 64))) == [f"features.{stage}" for stage in (1, 3, 5, 7)]


def test_where_photos_fade_away_stages_are_told_by_what_they_are_made_of() -> None:
    network = Odd()
    for block in network.blocks:
        nn.init.constant_(block[1].weight, 1e-30)
        nn.init.zeros_(block[1].bias)
    with torch.no_grad():
        first, second = network(torch.randn(2, 3, 64, 64))
    assert torch.equal(first, second)
    assert list(find_stages(network, (64, 64))) == ["stem", "blocks.0", "blocks.1"]
