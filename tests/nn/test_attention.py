"""Every attention module against its equations or another implementation, and every reported network with one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation, deform_conv2d

from das_explain.cam import grad_cam
from das_explain.errors import UsageError
from das_explain.nn import create_model
from das_explain.nn.a2 import DoubleAttention
from das_explain.nn.abn import ABN
from das_explain.nn.asr import ASR, fused
from das_explain.nn.bam import BAM
from das_explain.nn.cbam import CBAM
from das_explain.nn.defcon1 import Defcon1, deform_conv1d, shuffle
from das_explain.nn.eca import ECA, choose_kernel_size
from das_explain.nn.emca import EMCA, Scale
from das_explain.nn.fold import folded
from das_explain.nn.gala import GALA
from das_explain.nn.gc import GlobalContext
from das_explain.nn.gsop import GSoP
from das_explain.nn.registry import attentions_of, default_gates
from das_explain.nn.se import SE
from das_explain.nn.srm import SRM
from das_explain.nn.tables import DEFCON1, TABLE1, on_meta
from das_explain.nn.triplet import TripletAttention

timm_layers = pytest.importorskip("timm.layers")

MODULES = {
    "se": SE, "bam": BAM, "cbam": CBAM, "gsop": GSoP, "a2": DoubleAttention, "gc": GlobalContext, "gala": GALA,
    "srm": SRM, "triplet": TripletAttention, "emca": EMCA, "asr": ASR, "eca": ECA, "defcon1": Defcon1,
    "abn": lambda channels: ABN(nn.Sequential(nn.Conv2d(channels, 40, 1), nn.ReLU()), 40, 5),
}  # fmt: skip
PAIRS = sorted({(row.backbone, row.attention) for row in TABLE1} | {("resnet50", name) for name in DEFCON1})

RUN = [pair for pair in PAIRS if pair[1] != "none" and pair[0] != "resnet101"]  # its blocks are those of resnet50


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """As after training: no parameter is zero or one, norms have statistics of their own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.2, generator=generator)
                norm.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.double().eval()


def maps(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same_tensors(target: nn.Module, source: nn.Module) -> nn.Module:
    """Copies the tensors of ``source`` in order: two implementations with the same layers, named differently."""
    values = [v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")]
    keys = [k for k in target.state_dict() if not k.endswith("num_batches_tracked")]
    assert [target.state_dict()[k].numel() for k in keys] == [v.numel() for v in values]
    state = {key: value.view_as(target.state_dict()[key]) for key, value in zip(keys, values)}
    target.load_state_dict(state, strict=False)
    return target.double().eval()


def norm_of(norm: nn.BatchNorm2d, x: np.ndarray, channel: int) -> np.ndarray:
    mean, var = norm.running_mean[channel].item(), norm.running_var[channel].item()
    return (x - mean) / np.sqrt(var + norm.eps) * norm.weight[channel].item() + norm.bias[channel].item()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# --- against other implementations


def test_se_is_torchvisions_without_biases() -> None:
    ours, theirs = lively(SE(32)), SqueezeExcitation(32, 2).double()
    theirs.load_state_dict({**ours.state_dict(), "fc1.bias": torch.zeros(2), "fc2.bias": torch.zeros(32)})
    x = maps(2, 32, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("k", [3, 5, 7])
def test_eca_is_timms(k: int) -> None:
    ours = lively(ECA(16, k))
    theirs = same_tensors(timm_layers.EcaModule(kernel_size=k), ours)
    torch.testing.assert_close(ours(maps(2, 16, 5, 3)), theirs(maps(2, 16, 5, 3)))


def test_cbam_is_timms() -> None:
    ours = lively(CBAM(32))
    theirs = same_tensors(timm_layers.cbam.CbamModule(32, mlp_bias=True), ours)
    torch.testing.assert_close(ours(maps(2, 32, 9, 7)), theirs(maps(2, 32, 9, 7)))


def test_global_context_is_timms() -> None:
    ours = lively(GlobalContext(32))
    theirs = timm_layers.GlobalContext(32, fuse_add=True, fuse_scale=False, rd_ratio=1 / 16)
    same_tensors(theirs, ours).mlp_add.norm.eps = ours.norm.eps
    torch.testing.assert_close(ours(maps(2, 32, 5, 3)), theirs(maps(2, 32, 5, 3)))


def test_deformable_1d_is_torchvisions_2d_on_one_row() -> None:
    y, offset, weight = maps(2, 11), 4 * maps(2, 5, 11, seed=2), maps(5, seed=3)
    shifts = torch.zeros(2, 5, 2, 1, 11, dtype=torch.float64)
    shifts[:, :, 1, 0] = offset
    theirs = deform_conv2d(y[:, None, None], shifts.flatten(1, 2), weight.view(1, 1, 1, 5), padding=(0, 2))
    torch.testing.assert_close(deform_conv1d(y, offset, weight), theirs[:, 0, 0])


# --- against the equations, in numpy


def test_bam() -> None:
    module, x = lively(BAM(16, reduction=4, dilation=2)), maps(1, 16, 6, 5)
    _, fc1, _, fc2, norm = module.channel
    pooled = x[0].mean((1, 2)).numpy()
    hidden = np.maximum(fc1.weight[:, :, 0, 0].detach().numpy() @ pooled + fc1.bias.detach().numpy(), 0)
    what = fc2.weight[:, :, 0, 0].detach().numpy() @ hidden + fc2.bias.detach().numpy()
    what = np.array([norm_of(norm, what[c], c) for c in range(16)])
    where = x
    for i in (0, 2, 4, 6):
        conv, dilated = module.spatial[i], i in (2, 4)
        where = nn.functional.conv2d(where, conv.weight, conv.bias, padding=2 * dilated, dilation=1 + dilated)
        where = where.relu() if i < 6 else where
    where = norm_of(module.spatial[7], where[0, 0].detach().numpy(), 0)
    expected = x[0].numpy() * (1 + sigmoid(what[:, None, None] + where))
    np.testing.assert_allclose(module(x)[0].detach().numpy(), expected)


def test_srm() -> None:
    module, x = lively(SRM(6)), maps(2, 6, 3, 4)
    out = module(x).detach().numpy()
    for image in range(2):
        for c in range(6):
            plane = x[image, c].numpy()
            style = plane.mean(), np.sqrt(plane.var() + 1e-5)
            z = np.dot(module.weight[c].detach().numpy(), style)
            np.testing.assert_allclose(out[image, c], plane * sigmoid(norm_of(module.norm, z, c)))


def test_triplet() -> None:
    module, x = lively(TripletAttention(4)), maps(2, 4, 9, 7)
    total = 0
    for branch, axis in ((module.over_channels, 1), (module.over_rows, 2), (module.over_columns, 3)):
        pooled = np.stack((x.numpy().max(axis), x.numpy().mean(axis)), axis=1)
        if axis == 3:  # X with W in the place of C is (N, W, H, C): the pooled plane is (H, C)
            pooled = pooled.transpose(0, 1, 3, 2)
        plane = nn.functional.conv2d(torch.from_numpy(pooled), branch.conv.weight, padding=3)[:, 0].detach().numpy()
        gate = sigmoid(norm_of(branch.norm, plane, 0))
        gate = gate.transpose(0, 2, 1) if axis == 3 else gate
        total = total + x.numpy() * np.expand_dims(gate, axis)
    np.testing.assert_allclose(module(x).detach().numpy(), total / 3)


def test_double_attention_one_position_at_a_time() -> None:
    module, x = lively(DoubleAttention(8, reduction=2)), maps(1, 8, 3, 2)
    a, b, v = (conv(x)[0].flatten(1).detach().numpy() for conv in (module.phi, module.theta, module.rho))
    descriptors = [(a * (np.exp(row) / np.exp(row).sum())).sum(1) for row in b]  # one softmax over positions each
    out = np.zeros((4, 6))
    for position in range(6):
        share = np.exp(v[:, position]) / np.exp(v[:, position]).sum()
        out[:, position] = sum(s * d for s, d in zip(share, descriptors))
    expected = x + module.expand(torch.from_numpy(out).view(1, 4, 3, 2))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("channels", [256, 300])  # the first reduces every second position
def test_gsop_covariance_is_numpys(channels: int) -> None:
    module, x = lively(GSoP(channels, reduced=6)), maps(2, channels, 5, 4)
    assert module.reduce.stride == ((2, 2) if channels == 256 else (1, 1))
    features = module.reduce_norm(module.reduce(x.relu())).relu().flatten(2).detach().numpy()
    expected = np.stack([np.cov(image, bias=True) for image in features])
    np.testing.assert_allclose(module.covariance(x).detach().numpy(), expected, atol=1e-12)
    rows = module.row_norm(torch.from_numpy(expected)[..., None])[..., 0].detach().numpy()
    four = module.row.weight[:, 0, :, 0].detach().numpy().reshape(6, 4, 6)
    numbers = np.einsum("rkc,nrc->nrk", four, rows).reshape(2, 24) + module.row.bias.detach().numpy()
    weights = numbers @ module.expand.weight[:, :, 0, 0].detach().numpy().T + module.expand.bias.detach().numpy()
    np.testing.assert_allclose(module.attention(x)[:, :, 0, 0].detach().numpy(), sigmoid(weights))


def test_gala() -> None:
    module, x = lively(GALA(16, reduction=4)), maps(1, 16, 3, 4)
    p = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}

    def layer(name: str, vector: np.ndarray) -> np.ndarray:
        return p[f"{name}.weight"][:, :, 0, 0] @ vector + p[f"{name}.bias"]

    g = layer("what_expand", np.maximum(layer("what_shrink", x[0].mean((1, 2)).numpy()), 0))
    for row in range(3):
        for column in range(4):
            u = x[0, :, row, column].numpy()
            s = layer("where_collapse", np.maximum(layer("where_shrink", u), 0))
            h = p["additive"].ravel() * (g + s) + p["multiplicative"].ravel() * (g * s)
            np.testing.assert_allclose(module(x)[0, :, row, column].detach().numpy(), u * np.tanh(h))


def test_abn_weighs_by_its_own_evidence() -> None:
    module, x = lively(MODULES["abn"](8)), maps(2, 8, 5, 3)
    evidence = module.norm2(module.conv1(module.norm1(module.stage(x)))).relu()
    attention = sigmoid(norm_of(module.norm3, module.conv3(evidence)[:, 0].detach().numpy(), 0))
    np.testing.assert_allclose(module(x).detach().numpy(), x.numpy() * (1 + attention[:, None]))
    assert module.logits is None
    expected = evidence.mean((2, 3)) @ module.conv2.weight[:, :, 0, 0].T
    torch.testing.assert_close(module.branch(x)[1], expected)


def test_emca_joins_earlier_scales() -> None:
    early, x = Scale(), maps(2, 8, 3, 3)
    early(maps(2, 4, 5, 5, seed=5))
    module = lively(EMCA(8, (early,)))
    pooled, before = x.mean((2, 3)), early.squeezed.repeat(1, 2)
    a, (first, second) = module.fuse_scales.weight.flatten(), module.fuse.weight.flatten()
    scales = (a[0] * before + a[1] * pooled).relu()
    wide = module.wide(scales[:, None]).sigmoid()[:, 0]
    local = module.local(pooled[:, None]).sigmoid()[:, 0]
    weight = (first * local + second * wide).sigmoid()
    torch.testing.assert_close(module(x), x * (1 + weight[:, :, None, None]))


def test_emca_forgets_when_the_pass_is_over() -> None:
    network = create_model("resnet18", "emca", num_classes=3).train()
    network(maps(2, 3, 33, 33).float())
    assert all(module.squeezed is None for module in network.modules() if isinstance(module, Scale))
    copy.deepcopy(network)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_asr_is_multiplied_into_the_norms(backbone: str) -> None:
    network = create_model(backbone, "asr", num_classes=4).eval()
    plain, x = fused(network), maps(2, 3, 40, 33).float()
    with torch.no_grad():
        torch.testing.assert_close(plain(x), network(x), rtol=1e-4, atol=1e-5)
    assert list(plain.state_dict()) == list(create_model(backbone, num_classes=4).state_dict())


# --- DEFCON-1


def test_defcon1_begins_as_eca() -> None:
    module, eca, x = Defcon1(32).double(), ECA(32).double(), maps(2, 32, 3, 3)
    eca.conv.weight.data.copy_(module.weight.view(1, 1, -1))
    torch.testing.assert_close(module(x), eca(x))


def test_channel_shuffle() -> None:
    assert shuffle(torch.arange(12)[None], 4).tolist() == [[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]]
    assert shuffle(torch.arange(6)[None], 4).tolist() == [[0, 1, 2, 3, 4, 5]]
    module, y = lively(Defcon1(16, kernel_size=3, offsets="shuffle")), maps(2, 16)
    assert torch.equal(module.make_offsets(y), module.offset(shuffle(y, 4)[:, None]))  # 2^ceil(log2 3) groups


def test_correlated_channels_decide_the_offsets() -> None:
    module, y = lively(Defcon1(8, kernel_size=3, offsets="correlation")), maps(1, 8)
    weight, values = module.offset.weight[:, 0].detach().numpy(), y[0].numpy()
    for p in range(8):
        strongest = sorted(range(8), key=lambda j: -values[p] * values[j])[:3]
        np.testing.assert_allclose(module.make_offsets(y)[0, :, p].detach().numpy(), weight @ values[strongest])


def test_local_and_non_local_parts_are_weighted() -> None:
    module, x = lively(Defcon1(16, weighted=True)), maps(2, 16, 2, 2)
    y, share = x.mean((2, 3)), module.mix.sigmoid()
    far = deform_conv1d(y, module.make_offsets(y), module.weight)
    near = deform_conv1d(y, torch.zeros(2, 5, 16).double()[:, : len(module.weight)], module.weight)
    expected = (share * far + (1 - share) * near).sigmoid()
    torch.testing.assert_close(module.attention(x)[:, :, 0, 0], expected)


@pytest.mark.parametrize(("offsets", "weighted"), [("local", True), ("shuffle", False), ("correlation", False)])
def test_variants_of_defcon1_are_networks(offsets: str, weighted: bool) -> None:
    network = on_meta("resnet50", "defcon1", 100, stem="small", offsets=offsets, weighted=weighted)
    assert sum(p.numel() for p in network.parameters()) == DEFCON1["defcon1"] + 16 * weighted


def test_kernel_sizes() -> None:
    assert [choose_kernel_size(c) for c in (64, 128, 256, 512, 1024, 2048)] == [3, 5, 5, 5, 5, 7]
    assert choose_kernel_size(256, {256: 3}) == 3
    with pytest.raises(ValueError, match="odd"):
        choose_kernel_size(64, 4)


# --- every module


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("size", [(5, 3), (1, 1), (2, 7)])
def test_any_map(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = MODULES[name](32).train()
    x = maps(3, 32, *size).float().requires_grad_()
    module(x).square().sum().backward()
    assert x.grad.isfinite().all()
    module.eval()
    with torch.no_grad():
        out = module(x)
        assert out.shape == x.shape
        assert out.isfinite().all()
        assert torch.equal(module(x), out)
        alone = torch.cat([module(image[None]) for image in x])
        columns = module(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(alone, out, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(columns, out, rtol=1e-4, atol=1e-5)
    buffers = [name for name, _ in module.named_buffers()]
    assert set(buffers) <= set(module.state_dict())


# --- every reported network


@pytest.mark.parametrize(("backbone", "attention"), RUN)
def test_networks(backbone: str, attention: str) -> None:
    torch.manual_seed(0)
    network = create_model(backbone, attention, num_classes=5).train()
    images = maps(2, 3, 48, 40).float()
    loss = network(images).square().sum()
    if attention == "abn":
        loss = loss + network.layer3.gate.logits.square().sum()
    loss.backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key

    network.eval()
    again = create_model(backbone, attention, num_classes=5).eval()
    again.load_state_dict(network.state_dict(), strict=True)
    with torch.no_grad():
        out = network(images)
        assert torch.equal(network(images), out)
        assert torch.equal(again(images), out)
        torch.testing.assert_close(folded(network)(images), out, rtol=1e-3, atol=1e-4)
        columns = again.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(columns, out, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("attention", attentions_of("resnet18"))
def test_maps_are_pytorch_grad_cams(attention: str) -> None:
    torch.manual_seed(0)
    network = create_model("resnet18", attention, num_classes=5).eval()
    images, targets = maps(2, 3, 64, 64).float(), torch.tensor([1, 3])
    ours = grad_cam(network, images, targets, ("layer3", "layer4"))
    for block in ours:
        with GradCAM(network, [network.get_submodule(block)]) as reference:
            theirs = reference(images, [ClassifierOutputTarget(int(target)) for target in targets])
        np.testing.assert_allclose(ours[block].map.numpy(), theirs, atol=2e-4)


@pytest.mark.parametrize(
    "attention", ["das", "gsop", "abn", "emca", "defcon1"]
)  # those with unusual operators or state
def test_networks_can_be_exported(attention: str) -> None:
    torch.manual_seed(0)
    network, images = create_model("resnet18", attention, num_classes=3).eval(), maps(2, 3, 64, 64).float()
    program = torch.export.export(network, (images,))
    torch.testing.assert_close(program.module()(images), network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("backbone", "attention"), RUN)
def test_torchvisions_keys_stay(backbone: str, attention: str) -> None:
    theirs = {key: tensor.shape for key, tensor in on_meta(backbone, "none").state_dict().items()}
    ours = {key: tensor.shape for key, tensor in on_meta(backbone, attention).state_dict().items()}
    assert theirs.items() <= ours.items()
    assert all("gate" in key for key in ours.keys() - theirs.keys())


@pytest.mark.parametrize("attention", ["se", "triplet"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenet_v2"])
def test_inside_is_before_the_addition(backbone: str, attention: str) -> None:
    network = create_model(backbone, attention, num_classes=5).eval()
    theirs = getattr(torchvision.models, backbone)(weights=None, num_classes=5).eval()
    theirs.load_state_dict(network.state_dict(), strict=False)
    places, images = default_gates(backbone, attention), maps(1, 3, 64, 64).float()
    block = network.get_submodule(places[1])
    for place in places:
        network.get_submodule(place).gate = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(network(images), theirs(images))
        x = maps(1, _input_channels(block), 8, 8).float().relu()
        block.gate = Nothing()
        skip = x if _adds(block) else torch.zeros_like(block(x))
    assert torch.equal(block(x), skip)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


def _input_channels(block: nn.Module) -> int:
    return next(module for module in block.modules() if isinstance(module, nn.Conv2d)).in_channels


def _adds(block: nn.Module) -> bool:
    return getattr(block, "use_res_connect", True)


def test_a_pair_without_a_place_is_one_line() -> None:
    with pytest.raises(UsageError, match="gsop has no place in mobilenet_v2; it takes das, se, cbam"):
        create_model("mobilenet_v2", "gsop")
    with pytest.raises(UsageError, match="takes no 'alpha', but reduction, gates"):
        create_model("resnet18", "se", alpha=0.1)
    with pytest.raises(UsageError, match="offsets must be one of local, shuffle, correlation"):
        create_model("resnet18", "defcon1", offsets="far")
    with pytest.raises(UsageError, match="no gate place 'layer1'; choose among layer1.0, layer1.1"):
        create_model("resnet18", "se", gates=("layer1",))
    assert "bam" in attentions_of("resnet18")
    assert "bam" not in attentions_of("mobilenet_v2")
