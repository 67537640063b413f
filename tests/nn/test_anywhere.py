"""Gates in any network: where they stand, that nothing of the backbone changes, and where none can stand."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from das_explain.cam.engine import grad_cam
from das_explain.errors import UsageError
from das_explain.nn import ATTENTION, DASGate, create_model
from das_explain.nn.anywhere import add_gates, places_of
from das_explain.nn.gate import Gate
from das_explain.nn.interventions import gates_of, intervene
from tests.nn.replicas import replicate

SIZE = (24, 24)


class Stage(nn.Module):
    """With a forward of its own; its parts are not run in turn."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(outputs), nn.Conv2d(inputs, outputs, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class InTurn(nn.Module):
    """Runs whatever stands in it, as timm's RegNet does."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        for number, part in enumerate(parts):
            self.add_module(f"b{number}", part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class Dense(nn.ModuleDict):
    """Every part is given the list of all maps so far, as in DenseNet."""

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for part in self.values():
            maps.append(part(maps))
        return torch.cat(maps, 1)


class Joined(nn.Conv2d):
    def forward(self, maps: list[Tensor]) -> Tensor:
        return super().forward(torch.cat(maps, 1))


class Odd(nn.Module):
    """What a gate cannot stand after."""

    def __init__(self) -> None:
        super().__init__()
        self.several, self.last, self.tokens, self.idle = Several(), Last(), Tokens(), nn.ReLU()
        self.twice, self.named = nn.Conv2d(8, 8, 1), nn.Sequential(nn.ReLU())
        self.named.gate = nn.Conv2d(8, 8, 1)
        self.doubled = Doubled(nn.Conv2d(8, 8, 1))
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.several(x)[0]
        x = self.last(x).permute(0, 3, 1, 2) + self.tokens(x).mean(1)[:, :, None, None]
        return self.fc(self.named(self.doubled(self.twice(self.twice(x)))).mean((2, 3)))


class Several(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x), x


class Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class Doubled(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        for part in self:
            x = x + part(x)
        return x


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()),
        Stage(16, 32),
        InTurn(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU()),
        Dense({"a": Joined(32, 8, 1), "b": Joined(40, 8, 1)}),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 3),
    ).eval()


PLACES = ("0", "1", "2", "3")
OF_MAPS = [name for name in ATTENTION if not ATTENTION[name].per_network]


def gated(attention: str = "das", places: tuple[str, ...] = PLACES, **arguments) -> nn.Module:
    network = backbone()
    assert add_gates(network, attention, places, size=SIZE, name="it", **arguments) == places
    return network.eval()


def images(n: int = 2) -> Tensor:
    return torch.randn(n, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("place", PLACES)
def test_a_gate_is_what_the_output_of_its_module_goes_through(place: str) -> None:
    plain, network = backbone(), gated(places=(place,), init="default")
    seen: dict[str, Tensor] = {}
    plain.get_submodule(place).register_forward_hook(lambda module, inputs, out: seen.update(before=out))
    network.get_submodule(place).register_forward_hook(lambda module, inputs, out: seen.update(after=out))
    with torch.no_grad():
        plain(images()), network(images())
        gate = network.get_submodule(place).gate
        assert isinstance(gate, DASGate)
        torch.testing.assert_close(seen["after"], seen["before"] * gate.attention(seen["before"]))


@pytest.mark.parametrize("attention", OF_MAPS)
def test_the_backbones_keys_and_weights_stay_what_they_are(attention: str) -> None:
    plain, network = backbone(), gated(attention)
    own = {key: value for key, value in network.state_dict().items() if ".gate." not in key}
    assert own.keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in own.items())
    missing, unexpected = network.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".gate." in key for key in missing)
    assert places_of(network) == PLACES
    network.train()(images()).square().sum().backward()
    learned = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    assert {name.partition(".gate.")[0] for name in learned if ".gate." in name} == set(PLACES)


def test_das_gates_start_near_the_identity() -> None:
    with torch.no_grad():
        expected, got = backbone()(images()), gated()(images())
        far = gated(init="default")(images())
    # each gate takes about 2 % of a map, so four of them about 8 %
    assert (got - expected).abs().max() < 0.1 * expected.abs().max() < (far - expected).abs().max()
    assert gated(modulation_scale=2)[1].gate.modulation_scale == 2
    add_gates(backbone(), "das", PLACES, size=SIZE, name="it", variant="f")  # has no such start


@pytest.mark.parametrize("attention", [name for name in OF_MAPS if name != "das"])
def test_other_gates_start_at_the_identity_and_learn(attention: str) -> None:
    plain, network = backbone(), gated(attention)
    with torch.no_grad():
        assert torch.equal(network(images()), plain(images()))
        far = gated(attention, init="default")(images())
    assert (far - plain(images())).abs().max() > 0.01
    learning = dict(network.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in learning.items()}
    optimizer = torch.optim.SGD([learning[name] for name in learning if ".gate." in name], 0.1)
    for _ in range(2):  # the first step moves what lets the second reach the rest
        optimizer.zero_grad()
        network(images()).square().sum().backward()
        optimizer.step()
    moved = {name for name in learning if not torch.equal(learning[name], before[name])}
    first = ("strength",) if isinstance(network[0].gate, Gate) else ("fc2.weight", "fc2.bias", "expand.weight")
    for place in PLACES:
        assert any(f"{place}.gate.{name}" in moved for name in first)
    assert any(not name.endswith((*first, "expand.bias")) for name in moved)


def test_a_gate_of_strength_1_is_its_papers() -> None:
    network, own = gated("cbam"), gated("cbam", init="default")
    network.load_state_dict(own.state_dict(), strict=False)
    names = [name for name, _ in network.named_parameters() if name.endswith(".strength")]
    assert names == [f"{place}.gate.strength" for place in PLACES]
    for place in PLACES:
        nn.init.ones_(network.get_submodule(place).gate.strength)
    with torch.no_grad():
        torch.testing.assert_close(network(images()), own(images()))


def test_gates_are_seen_replaced_and_left_out() -> None:
    network = gated(init="default")
    assert list(gates_of(network)) == [f"{place}.gate" for place in PLACES]
    with torch.no_grad():
        assert torch.equal(intervene(network, "ones")(images()), backbone()(images()))
        assert not torch.allclose(intervene(network, "shuffled")(images()), network(images()))


def test_copies_replicas_and_threads_are_the_network() -> None:
    network, batches = gated(init="default"), images(4).split(1)
    twin, again = copy.deepcopy(network), replicate(network, 1)[0]
    with torch.no_grad():
        expected = [network(batch) for batch in batches]
        for other in (twin, again):
            assert torch.equal(other(images(4)), network(images(4)))
    with ThreadPoolExecutor(4) as threads:
        for got, wanted in zip(threads.map(lambda batch: network(batch).detach(), batches), expected):
            torch.testing.assert_close(got, wanted)
    nn.init.constant_(twin[1].gate.layer_norm.bias, 3.0)  # a copy runs its own gates
    with torch.no_grad():
        assert not torch.allclose(twin(images()), network(images()))
    pickle.loads(pickle.dumps(gated(places=("0", "1", "2"))))


def test_a_map_of_a_block_is_the_one_with_attention() -> None:
    network = gated(init="default")
    cams = grad_cam(network, images(), torch.tensor([0, 2]), ["1"])
    kept: dict[str, Tensor] = {}
    handle = network[1].gate.register_forward_hook(lambda module, inputs, out: kept.update(out=out))
    score = network(images()).gather(1, torch.tensor([[0], [2]])).sum()
    gradient = torch.autograd.grad(score, kept["out"])[0]
    handle.remove()
    raw = (gradient.mean((2, 3), keepdim=True) * kept["out"]).sum(1).relu().flatten(1).amax(1)
    torch.testing.assert_close(cams["1"].raw_max, raw.detach())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("several", "several of it gives a tuple; a gate takes a map"),
        ("last", r"last of it gives nhwc \(channels last: a map of 24 x 24\); a gate takes a map \(N, C, H, W\)"),
        ("tokens", "tokens of it gives tokens:0 .*; a gate takes a map"),
        ("fc", r"block fc gives \(N, 3\), no map"),
        ("idle", "idle of it runs 0 times in a pass, so no gate"),
        ("twice", "twice of it runs 2 times in a pass, so no gate can stand after it"),
        ("named", "named of it has a part called gate already"),
        ("doubled", "no gate can stand after doubled of it: it runs its parts in a way of its own"),
        ("layer7", "it has no module 'layer7' for a gate to stand after"),
        ("", "it has no module '' for a gate to stand after"),
    ],
)
def test_where_no_gate_can_stand(place: str, message: str) -> None:
    network = Odd().eval()
    before, expected = list(network.state_dict()), network(images())
    with pytest.raises(UsageError, match=message) as caught:
        add_gates(network, "das", (place,), size=SIZE, name="it")
    assert "\n" not in str(caught.value)
    assert list(network.state_dict()) == before
    assert torch.equal(network(images()), expected)
    assert not any(module._forward_hooks for module in network.modules())
    assert places_of(network) == ()


@pytest.mark.parametrize(
    ("attention", "arguments", "message"),
    [
        ("emca", {}, "emca is wired through a whole ResNet, so it cannot have it"),
        ("abn", {}, "abn is wired through a whole ResNet"),
        ("sad", {}, "unknown attention 'sad'; choose among none, das"),
        ("se", {"alpha": 0.1}, "cannot build it with attention se: it takes no 'alpha', but reduction, init, gates"),
        ("das", {"alpha": 0}, r"cannot build it with attention das: alpha must lie in \(0, 1\]"),
        ("eca", {"kernel_size": "published"}, "cannot build it with attention eca: kernel_size must be odd"),
        ("se", {"reduction": 0}, "reduction must be a whole number"),
        ("se", {"init": "zero"}, "init must be default or identity, not 'zero'"),
    ],
)
def test_a_wrong_request_is_one_line(attention: str, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        add_gates(backbone(), attention, PLACES, size=SIZE, name="it", **arguments)


# --- networks by name


@pytest.mark.parametrize(("attention", "places"), [("das", None), ("bam", ("layer1", "layer2", "layer3"))])
@pytest.mark.parametrize("init", ["default", "identity"])
def test_a_resnet_by_this_route_is_the_registrys(attention: str, places: tuple[str, ...] | None, init: str) -> None:
    ours = create_model("resnet18", attention, 4, init=init).eval()
    gates = {} if places is None else {"gates": places}
    theirs = create_model("torchvision:resnet18", attention, 4, init=init, **gates).eval()
    assert list(theirs.state_dict()) == list(ours.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(theirs(x), ours(x))


def test_networks_of_torchvision_and_timm() -> None:
    pytest.importorskip("timm")
    for name, gates in (("torchvision:densenet121", ("features.denseblock4",)), ("timm:regnety_002", ("s2", "s3"))):
        network = create_model(name, "das", 4, gates=gates).eval()
        assert places_of(network) == gates
        assert network(torch.randn(1, 3, 64, 64)).shape == (1, 4)
    plain = create_model("timm:convnext_atto", num_classes=4)
    network = create_model("timm:convnext_atto", attention="se", num_classes=4, reduction=8)
    assert {key for key in network.state_dict() if ".gate." not in key} == plain.state_dict().keys()
    assert len(places_of(network)) >= 2
    assert network.get_submodule(places_of(network)[-1]).gate.fc1.out_channels == 320 // 8


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("torchvision:resnet19", {}, "torchvision has no classifier 'resnet19'"),
        ("timm:resnet19", {}, "timm has no model 'resnet19'"),
        (
            "hf:someone/net",
            {},
            "unknown backbone 'hf:someone/net'; others' networks are torchvision:NAME and timm:NAME",
        ),
        ("torchvision:", {}, "unknown backbone 'torchvision:'"),
        ("torchvision:resnet18", {"gates": 7}, "gates must be names of places, not 7"),
        ("torchvision:resnet18", {"gates": ["layer9"]}, "torchvision:resnet18 has no module 'layer9'"),
        ("torchvision:resnet18", {"stem": "small"}, "torchvision:resnet18 takes no argument stem='small'"),
        ("torchvision:swin_t", {"gates": "features.7"}, "features.7 of torchvision:swin_t gives nhwc"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, arguments: dict, message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match=message):
        create_model(name, "das", 4, **arguments)
