"""The variants of the DAS gate: Table 4's counts, Table 5's norms, the place and number of gates."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import thop
import torch
from torch import Tensor, nn

from das_explain.errors import UsageError
from das_explain.nn import DASGate, create_model
from das_explain.nn.attention.das import NORMS, VARIANTS, das_gate
from das_explain.nn.attention.das.ablations import FeatureNorm, GateLayers, NormedGate, sample
from das_explain.nn.backbones.resnet import block_places
from das_explain.nn.counts.tables import TABLE4, agreement, on_meta

COUNTS = {
    "a": 12_765_680, "b": 11_800_552, "c": 11_816_748, "d": 11_922_900,
    "e": 12_048_232, "f": 11_842_578, "g": 11_924_820, "h": 11_818_668,
}  # fmt: skip


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variant", VARIANTS)
def test_table4(variant: str) -> None:
    network = on_meta("resnet18", "das", variant=variant)
    macs, parameters = thop.profile(network, (torch.zeros(1, 3, 224, 224, device="meta"),), verbose=False)
    assert int(parameters) == COUNTS[variant]
    printed = TABLE4[variant]
    assert agreement(Decimal(int(parameters)) / 10**6, printed[0]) == "rounded"
    assert agreement(Decimal(int(macs)) / 10**9, printed[1]) == ("rounded" if variant in "adgh" else "cut")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(6, 5), (1, 1)])
def test_variants_run_and_learn(variant: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    gate, x = das_gate(20, variant=variant).train(), maps(3, 20, *size)
    gate(x).square().sum().backward()
    for name, parameter in gate.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    gate.eval()
    with torch.no_grad():
        out = gate(x)
        columns = gate(x.contiguous(memory_format=torch.channels_last))
    assert out.shape == x.shape
    torch.testing.assert_close(columns, out, rtol=1e-4, atol=1e-5)


def test_the_paper_norms_are_the_gate() -> None:
    torch.manual_seed(0)
    gate = das_gate(20)
    assert type(gate) is DASGate
    assert type(das_gate(20, norms=["instance", "layer"])) is DASGate  # as JSON gives it
    twin = NormedGate(20, 0.2, ("instance", "layer"))
    state = {key.replace("layer_norm.", "second_norm.norm."): value for key, value in gate.state_dict().items()}
    twin.load_state_dict(state)
    with torch.no_grad():
        for x in (maps(2, 20, 5, 4), maps(2, 20, 1, 1)):
            assert torch.equal(twin(x), gate(x))


@pytest.mark.parametrize("first", NORMS)
@pytest.mark.parametrize("second", NORMS)
def test_table5(first: str, second: str) -> None:
    torch.manual_seed(0)
    gate, plain = das_gate(20, norms=(first, second)), das_gate(20, norms=(None, "none"))
    affine = {"batch", "layer"}
    extra = 2 * 4 * (first in affine) + 2 * 20 * (second in affine)
    assert sum(p.numel() for p in gate.parameters()) - sum(p.numel() for p in plain.parameters()) == extra
    attention = gate.attention(maps(2, 20, 6, 5))
    assert ((attention > 0) & (attention < 1)).all()


def test_feature_norm_is_over_the_whole_image() -> None:
    x = maps(2, 3, 4, 5).double()
    out = FeatureNorm()(x).numpy()
    for image, normed in zip(x.numpy(), out):
        np.testing.assert_allclose(normed, (image - image.mean()) / np.sqrt(image.var() + 1e-5))


def test_sampling_by_whole_pixels_moves_the_map() -> None:
    x, shift = maps(1, 2, 4, 5), torch.zeros(1, 2, 4, 5)
    torch.testing.assert_close(sample(x, shift), x)
    shift[:, 0], shift[:, 1] = 1, -2  # one row down, two columns left
    expected = torch.zeros_like(x)
    expected[..., :3, 2:] = x[..., 1:, :3]
    torch.testing.assert_close(sample(x, shift), expected)


def test_sampling_keeps_its_precision_with_bfloat16_shifts() -> None:
    x, shift = maps(1, 2, 3, 300), torch.full((1, 2, 3, 300), 0.5)
    expected = sample(x, shift)
    torch.testing.assert_close(sample(x, shift.bfloat16()), expected)  # 0.5 is exact in bfloat16


def test_layers_without_a_gate_do_not_multiply() -> None:
    layer = GateLayers(10, 0.2).eval()
    with torch.no_grad():
        layer.norm.bias.fill_(5.0)
        assert layer(torch.zeros(1, 10, 3, 3)).max() > 0  # a gate would leave zeros


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5, 1.0])
def test_alpha_over_its_whole_range(alpha: float) -> None:
    network = on_meta("resnet18", "das", alpha=alpha)
    hidden = [network.get_submodule(f"layer{i}").gate.weight.shape[1] for i in (1, 2, 3, 4)]
    assert hidden == [max(1, int(alpha * c)) for c in (64, 128, 256, 512)]


def test_a_gate_after_every_skip_connection() -> None:
    places = block_places("resnet50")
    network = create_model("resnet18", "das", num_classes=3, gates=block_places("resnet18"))
    assert sum(isinstance(module, DASGate) for module in network.modules()) == 8
    assert len(places) == 16
    assert sum(isinstance(m, DASGate) for m in on_meta("resnet50", "das", gates=places).modules()) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "i"}, "variant must be one of a, b, c"),
        ({"norms": ("group", "layer")}, "norms must be two of batch, feature"),
        ({"norms": ("layer",)}, "norms must be two of"),
        ({"variant": "d", "norms": ("batch", "batch")}, "norms are chosen for variant c, not for d"),
        ({"variant": "d", "init": "identity"}, "has an identity start"),
        ({"variant": "f", "alpha": 2}, r"alpha must lie in \(0, 1\], not 2"),
        ({"variant": "h", "alpha": "much"}, r"alpha must lie in \(0, 1\], not 'much'"),
    ],
)
def test_a_wrong_variant_is_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("resnet18", "das", **arguments)


def test_variants_are_networks() -> None:
    network = create_model("resnet18", "das", num_classes=3, variant="f", gates=("layer2",)).eval()
    assert network(maps(1, 3, 40, 40)).shape == (1, 3)
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())
