"""Every attention module against its equations or another implementation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from das_explain.nn import BranchedLogits, create_model
from das_explain.nn.attention.a2 import DoubleAttention
from das_explain.nn.attention.asr import ASR, fused
from das_explain.nn.attention.bam import BAM
from das_explain.nn.attention.cbam import CBAM
from das_explain.nn.attention.eca import ECA, PUBLISHED_KERNELS, rename_published
from das_explain.nn.attention.gala import GALA
from das_explain.nn.attention.gc import GlobalContext
from das_explain.nn.attention.gsop import GSoP
from das_explain.nn.attention.se import SE
from das_explain.nn.attention.srm import SRM
from das_explain.nn.attention.triplet import TripletAttention
from das_explain.nn.counts.tables import on_meta
from das_explain.nn.kernel_size import choose_kernel_size
from tests.nn.lively import lively, maps
from tests.nn.modules import MODULES

timm_layers = pytest.importorskip("timm.layers")


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
            style = plane.mean(), np.sqrt(plane.var(ddof=1) + 1e-5)
            z = np.dot(module.weight[c].detach().numpy(), style)
            np.testing.assert_allclose(out[image, c], plane * sigmoid(norm_of(module.norm, z, c)))


def test_a_new_srm_halves_every_map() -> None:
    x = maps(2, 6, 3, 4).float()
    torch.testing.assert_close(SRM(6).train()(x), x / 2)
    assert torch.equal(SRM(6).weight, torch.zeros(6, 2))


@pytest.mark.parametrize("k", [3, 7])
def test_triplet(k: int) -> None:
    module, x = lively(TripletAttention(4, k)), maps(2, 4, 9, 7)
    total = 0
    for branch, axis in ((module.over_channels, 1), (module.over_rows, 2), (module.over_columns, 3)):
        pooled = np.stack((x.numpy().max(axis), x.numpy().mean(axis)), axis=1)
        if axis == 3:  # X with W in the place of C is (N, W, H, C): the pooled plane is (H, C)
            pooled = pooled.transpose(0, 1, 3, 2)
        plane = (
            nn.functional.conv2d(torch.from_numpy(pooled), branch.conv.weight, padding=k // 2)[:, 0].detach().numpy()
        )
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
    expected = evidence.mean((2, 3)) @ module.conv2.weight[:, :, 0, 0].T
    torch.testing.assert_close(module.branch(x)[1], expected)


def test_a_network_with_a_branch_returns_both_logits_while_it_trains() -> None:
    network, images = create_model("resnet18", "abn", num_classes=3).train(), maps(2, 3, 40, 40).float()
    twin = copy.deepcopy(network)  # its norms have seen nothing yet
    output = network(images)
    assert isinstance(output, BranchedLogits)
    assert output.logits.shape == output.branch.shape == (2, 3)
    x = twin.maxpool(twin.relu(twin.bn1(twin.conv1(images))))
    x = twin.layer2(twin.layer1(x))
    for block in twin.layer3[:2]:
        x = block(x)
    attention, branch = twin.layer3.gate.branch(x)
    x = twin.layer4(x * (1 + attention))
    torch.testing.assert_close(output.branch, branch)
    torch.testing.assert_close(output.logits, twin.fc(x.mean((2, 3))))
    output.branch.sum().backward()
    assert network.conv1.weight.grad.count_nonzero()
    assert network.fc.weight.grad is None
    assert isinstance(network.eval()(images), Tensor)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_asr_is_multiplied_into_the_norms(backbone: str) -> None:
    network = create_model(backbone, "asr", num_classes=4).eval()
    plain, x = fused(network), maps(2, 3, 40, 33).float()
    with torch.no_grad():
        torch.testing.assert_close(plain(x), network(x), rtol=1e-4, atol=1e-5)
    assert list(plain.state_dict()) == list(create_model(backbone, num_classes=4).state_dict())


def test_asr_is_se_with_biases_of_a_vector() -> None:
    module, x = lively(ASR(32)), maps(2, 32, 3, 3)
    v = module.vector.flatten()
    hidden = (module.fc1.weight[:, :, 0, 0] @ v + module.fc1.bias).relu()
    weight = (module.fc2.weight[:, :, 0, 0] @ hidden + module.fc2.bias).sigmoid()
    torch.testing.assert_close(module(x), x * weight[:, None, None])
    assert torch.equal(ASR(32).vector, torch.full((1, 32, 1, 1), 0.1))


@pytest.mark.usefixtures("no_start")
def test_counts_of_the_authors_choices() -> None:
    def count(backbone: str, attention: str, **arguments) -> int:
        return sum(parameter.numel() for parameter in on_meta(backbone, attention, **arguments).parameters())

    assert count("resnet50", "asr") == 28_103_128  # while it trains
    assert count("mobilenet_v2", "triplet") == 3_504_872 + 17 * 3 * (2 * 9 + 2) == 3_505_892
    assert count("mobilenet_v2", "triplet", kernel_size=7) == 3_504_872 + 17 * 300
    assert count("resnet50", "triplet") == 25_557_032 + 16 * 300
    published = {name: count(name, "eca", kernel_size="published") - count(name, "none") for name in PUBLISHED_KERNELS}
    assert published == {
        "resnet18": 2 * (3 + 5 + 7 + 7),
        "resnet34": 3 * 3 + 4 * 3 + 6 * 5 + 3 * 7,
        "resnet50": 80,
        "resnet101": 3 * 3 + 4 * 3 + 23 * 5 + 3 * 7,
        "resnet152": 3 * 3 + 8 * 3 + 36 * 5 + 3 * 7,
        "mobilenet_v2": 13 * 1 + 4 * 3,
    }


def test_batch_norms_of_cbam_and_triplet_move_slowly() -> None:
    for module in (CBAM(32), TripletAttention(32)):
        momenta = {norm.momentum for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)}
        assert momenta == {0.01}


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_published_checkpoints_of_eca_load(backbone: str) -> None:
    """With the authors' keys: ``eca`` in ResNets, the last of a block's sequence in MobileNetV2."""
    network = create_model(backbone, "eca", num_classes=4, kernel_size="published")
    theirs = {}
    for key, value in network.state_dict().items():
        if ".gate." in key:
            block = key.partition(".gate.")[0]
            last = len(network.get_submodule(block).conv) if backbone == "mobilenet_v2" else None
            key = key.replace("gate.", "eca." if last is None else f"conv.{last}.")
        theirs[key] = value + 1 if value.is_floating_point() else value
    assert not any("gate" in key for key in theirs)
    network.load_state_dict(rename_published(theirs), strict=True)
    assert torch.equal(
        network.state_dict()["fc.bias" if backbone == "resnet18" else "classifier.1.bias"], list(theirs.values())[-1]
    )
    with pytest.raises(RuntimeError, match="size mismatch"):
        create_model(backbone, "eca", num_classes=4).load_state_dict(rename_published(theirs))


def test_kernel_sizes() -> None:
    assert [choose_kernel_size(c) for c in (64, 128, 256, 512, 1024, 2048)] == [3, 5, 5, 5, 5, 7]
    assert choose_kernel_size(256, {256: 3}) == 3
    assert choose_kernel_size(256, {"256": 3}) == 3  # as JSON gives it
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
