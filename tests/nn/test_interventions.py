"""Gates replaced by ones, by their mean and shuffled: against the plain backbone, by hand, and through folding."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from das_explain.cam.engine import grad_cam
from das_explain.errors import UsageError
from das_explain.nn import ATTENTION, create_model
from das_explain.nn.attention.bam import BAM
from das_explain.nn.attention.das import DASGate
from das_explain.nn.attention.emca import EMCA
from das_explain.nn.attention.se import SE
from das_explain.nn.backbones.resnet import resnet
from das_explain.nn.fast.fold import folded
from das_explain.nn.gate import Gate
from das_explain.nn.interventions import (
    INTERVENTIONS,
    Replaced,
    gates_of,
    intervene,
    mean,
    permutation,
    shuffled,
)

ADDING = ("a2", "gc")
MULTIPLYING = tuple(name for name in ATTENTION if name not in ADDING)
DAS_VARIANTS = {letter: {"variant": letter} for letter in "bdef"} | {"norms": {"norms": ("batch", "feature")}}


@cache
def network_with(attention: str, seed: int = 0, **arguments) -> nn.Module:
    """A small gated network whose batch norms have seen something, so that folding is no identity; made once."""
    torch.manual_seed(seed)
    network = create_model("resnet18", attention, num_classes=5, stem="small", **arguments).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.Conv2d) and module.out_channels in (9, 18):  # offsets and modulation start at zero
            nn.init.normal_(module.weight, std=0.05)
    return network


def images(count: int = 2, size: int = 24) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def plain_twin(network: nn.Module) -> nn.Module:
    last_stride = network.layer4[0].downsample[0].stride[0]
    plain = create_model("resnet18", num_classes=5, stem="small", last_stride=last_stride).eval()
    own = plain.state_dict()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if key in own})
    return plain


@pytest.mark.parametrize("attention", MULTIPLYING)
def test_ones_is_the_plain_backbone_with_the_same_weights(attention: str) -> None:
    network, x = network_with(attention), images()
    with torch.no_grad():
        ones, plain = intervene(network, "ones")(x), plain_twin(network)(x)
        assert torch.equal(ones, plain)
        assert not torch.allclose(ones, network(x), atol=1e-3), "the gates did something"


@pytest.mark.parametrize("arguments", DAS_VARIANTS.values(), ids=DAS_VARIANTS)
def test_the_ablations_of_das_that_gate_are_gates(arguments: dict) -> None:
    network, x = network_with("das", **arguments), images()
    with torch.no_grad():
        assert torch.equal(intervene(network, "ones")(x), plain_twin(network)(x))
        assert list(gates_of(network)) == [f"layer{i}.gate" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize("attention", MULTIPLYING)
@pytest.mark.parametrize("kind", ["mean", "shuffled"])
def test_no_attention_is_left_as_it_is(attention: str, kind: str) -> None:
    network, x = network_with(attention), images()
    with torch.no_grad():
        before = network(x)
        changed = intervene(network, kind)(x)
        assert torch.isfinite(changed).all()
        assert not torch.allclose(changed, before, atol=1e-5)
        torch.testing.assert_close(network(x), before, rtol=0, atol=0)  # the original works as before


@pytest.mark.parametrize(
    ("attention", "arguments"),
    [("none", {}), ("gc", {}), ("a2", {}), *(("das", {"variant": letter}) for letter in "agh")],
)
def test_what_does_not_multiply_is_refused(attention: str, arguments: dict) -> None:
    network = network_with(attention, **arguments)
    assert gates_of(network) == {}
    for kind in INTERVENTIONS:
        with pytest.raises(UsageError, match="no gate in it multiplies a map by an attention"):
            intervene(network, kind)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="gates=zeros is unknown; choose among ones, mean, shuffled"):
        intervene(network_with("das"), "zeros")


def test_mean_by_hand() -> None:
    attention = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 8.0]]]])
    assert mean(attention).tolist() == [[[[3.0]], [[2.0]]]]
    assert mean(torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1), per_channel=True).tolist() == [[[[3.0]]]]


def test_shuffled_moves_every_position_in_all_channels_alike() -> None:
    attention = torch.rand(3, 4, 5, 7)
    moved = shuffled(attention, number=2)
    assert torch.equal(moved.flatten(2).sort(2).values, attention.flatten(2).sort(2).values)
    assert (moved != attention).all()
    order = permutation(35, 2)
    for image in range(3):
        for channel in range(4):
            assert torch.equal(moved[image, channel].flatten(), attention[image, channel].flatten()[order])
    weights = torch.rand(2, 9, 1, 1)
    assert torch.equal(shuffled(weights, per_channel=True), weights[:, permutation(9, 0)])


def test_shuffled_does_not_depend_on_the_batch() -> None:
    attention = torch.rand(4, 2, 3, 3)
    assert torch.equal(shuffled(attention)[2:3], shuffled(attention[2:3]))


def test_a_permutation_is_one_cycle() -> None:
    for count in range(1, 40):
        order, seen, place = permutation(count, 0).tolist(), [], 0
        for _ in range(count):
            seen.append(place)
            place = order[place]
        assert place == 0
        assert sorted(seen) == list(range(count))
    assert not torch.equal(permutation(49, 0), permutation(49, 1))
    permutation.cache_clear()
    assert permutation(6, 3).tolist() == permutation(6, 3).tolist()


def test_a_constant_attention_has_the_same_effect_wherever_it_is() -> None:
    network, x = network_with("das", seed=1), images()  # one of its own: it is changed
    for gate in gates_of(network).values():
        nn.init.zeros_(gate.layer_norm.weight)
        nn.init.constant_(gate.layer_norm.bias, 0.7)
    with torch.no_grad():
        for kind in ("mean", "shuffled"):
            torch.testing.assert_close(intervene(network, kind)(x), network(x), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(intervene(network, "ones")(x), network(x), atol=1e-3)


@pytest.mark.parametrize(("kind", "change"), [(mean, mean), (shuffled, shuffled)])
def test_one_gate_by_hand(kind, change) -> None:
    x = torch.rand(2, 8, 4, 3)
    das, bam, se = DASGate(8).eval(), BAM(8, 2).eval(), SE(8, 2).eval()
    with torch.no_grad():
        torch.testing.assert_close(Replaced(das, kind, 1)(x), x * change(das.attention(x), number=1))
        torch.testing.assert_close(Replaced(bam, kind, 0)(x), x * (1 + change(bam.attention(x))))
        expected = x * change(se.attention(x), per_channel=True)
        torch.testing.assert_close(Replaced(se, kind, 0)(x), expected)


def test_a_single_position_can_be_shuffled() -> None:
    attention = torch.rand(2, 4, 1, 1)
    assert torch.equal(shuffled(attention), attention)
    assert torch.equal(mean(attention), attention)


def test_weights_are_shared_and_the_original_is_left_alone() -> None:
    network = network_with("das")
    keys, modes = list(network.state_dict()), [module.training for module in network.modules()]
    twin = intervene(network, "shuffled")
    own = {id(parameter) for parameter in network.parameters()}
    assert {id(parameter) for parameter in twin.parameters()} == own
    assert list(network.state_dict()) == keys
    assert [module.training for module in network.modules()] == modes
    assert not any(module.training for module in twin.modules())
    assert not any(isinstance(module, Replaced) for module in network.modules())


class Twice(Gate):
    """A gate that asks another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = SE(channels)

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.attention(x).square()


def test_a_gate_inside_a_gate_is_a_part_of_it() -> None:
    network = resnet("resnet18", Twice, inside=True, num_classes=5, gates=("layer1.0", "layer4.1"))
    assert list(gates_of(network)) == ["layer1.0.gate", "layer4.1.gate"]
    assert any(isinstance(module, Gate) and name.endswith("gate.inner") for name, module in network.named_modules())


@pytest.mark.parametrize("kind", INTERVENTIONS)
def test_replaced_gates_still_have_the_scales_of_earlier_blocks(kind: str) -> None:
    network, seen = network_with("emca"), []
    twin = intervene(network, kind)
    for module in twin.modules():
        if isinstance(module, EMCA):  # with ones there is none
            module.wide.register_forward_hook(lambda module, args, out: seen.append(1))
    with torch.no_grad():
        assert torch.equal(twin(images()), twin(images()))
    assert len(seen) == (0 if kind == "ones" else 8)


@pytest.mark.parametrize("kind", INTERVENTIONS)
@pytest.mark.parametrize("attention", ["das", "cbam"])
def test_maps_through_the_folded_copy_are_the_same(kind: str, attention: str) -> None:
    network = intervene(network_with(attention), kind).double()
    blocks = {name: network.get_submodule(name) for name in ("layer3", "layer4")}
    quick = folded(network, keep=list(blocks.values()))
    x, targets = images().double(), torch.tensor([1, 3])
    expected = grad_cam(network, x, targets, blocks)
    got = grad_cam(quick, x, targets, {name: quick.get_submodule(name) for name in blocks})
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.layer2[0].children())
    for name in blocks:
        torch.testing.assert_close(got[name].map, expected[name].map, rtol=0, atol=1e-5)
        assert expected[name].raw_max.max() > 0
