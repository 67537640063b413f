"""The detector is torchvision's, on our backbones: same outputs, counts of DAS Table 2, what is frozen."""

from __future__ import annotations

from decimal import Decimal

import pytest
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops.misc import FrozenBatchNorm2d

from das_explain.checkpoint.build import build_network
from das_explain.errors import UsageError
from das_explain.nn import attentions_of, create_model
from das_explain.nn.backbones.detection import create_detector, detector_from
from das_explain.nn.counts.tables import TABLE2, agreement, detector

SMALL = {"min_size": 64, "max_size": 96, "box_batch_size_per_image": 8}


@pytest.mark.parametrize(("backbone", "attention"), TABLE2)
def test_table2_counted_on_the_network_itself(backbone: str, attention: str) -> None:
    """As printed: 80 classes and background, without the deformable kernels (``weight`` of a DAS gate)."""
    with torch.device("meta"):
        network = create_detector(backbone, attention, 81)
    kernels = [p for name, p in network.named_parameters() if attention == "das" and name.endswith(".gate.weight")]
    counted = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in kernels)
    assert agreement(Decimal(counted) / 10**6, TABLE2[backbone, attention]) == "rounded"
    # Counted by arithmetic it is the same, but for the norms in gates, which are frozen here and no parameters.
    classifier = create_model("resnet18", attention)
    in_gates = any("gate" in name and isinstance(m, torch.nn.BatchNorm2d) for name, m in classifier.named_modules())
    difference = detector(backbone, attention) - counted
    assert difference == {"cbam": 32, "triplet": 96}.get(attention, 0)
    assert (difference > 0) == in_gates


def test_exact_counts() -> None:
    with torch.device("meta"):
        counts = {a: sum(p.numel() for p in create_detector("resnet50", a, 81).parameters()) for a in ("none", "das")}
    assert counts == {"none": 41_704_036, "das": 53_055_208}, "43.05 M and 10.0 M of deformable kernels"


def test_torchvisions_weights_and_outputs() -> None:
    torch.manual_seed(0)
    theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=64, max_size=96).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1)
    ours = create_detector("resnet50", min_size=64, max_size=96).eval()
    ours.load_state_dict(theirs.state_dict())  # strictly
    for network in (ours, theirs):
        network.roi_heads.score_thresh = 0.0
    images = [torch.rand(3, 60, 90), torch.rand(3, 70, 50)]
    with torch.inference_mode():
        found, expected = ours(images), theirs(images)
    for mine, their in zip(found, expected):
        assert len(mine["boxes"]) > 20
        assert torch.equal(mine["labels"], their["labels"])
        assert torch.allclose(mine["boxes"], their["boxes"], atol=1e-3)
        assert torch.allclose(mine["scores"], their["scores"], atol=1e-5)


def test_the_fpn_sees_the_gated_maps() -> None:
    network = create_detector("resnet18", "das", 3, **SMALL).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network.backbone.body(image)
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            gate = network.backbone.body[stage].gate
            gate.layer_norm.weight.zero_()
            gate.layer_norm.bias.fill_(-200.0)  # the gate shuts
        after = network.backbone.body(image)
    assert list(before) == ["0", "1", "2", "3"]
    assert [tuple(map_.shape[1:]) for map_ in before.values()] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    assert all(map_.abs().sum() > 0 for map_ in before.values())
    assert all(map_.abs().sum() == 0 for map_ in after.values())


def test_what_is_frozen() -> None:
    torch.manual_seed(0)
    classifier = create_model("resnet18", "triplet")
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    means = {name: b.clone() for name, b in classifier.named_buffers() if name.endswith("running_mean")}
    network = detector_from(classifier, 3)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.backbone.body.modules())
    frozen = {n: m for n, m in network.backbone.body.named_modules() if isinstance(m, FrozenBatchNorm2d)}
    assert {f"{name}.running_mean" for name in frozen} == means.keys(), "those in the gates, too"
    assert all(torch.equal(module.running_mean, means[f"{name}.running_mean"]) for name, module in frozen.items())
    still = {n for n, p in network.backbone.body.named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in still} == {"conv1", "layer1"}
    assert not any("gate" in name for name in still), "gates are trained, also in layer1"
    assert all(p.requires_grad for p in network.rpn.parameters())
    assert all(p.requires_grad for p in create_detector("resnet18", trainable_layers=5).parameters())
    none = create_detector("resnet18", "das", trainable_layers=0).backbone.body
    assert {n.split(".")[1] for n, p in none.named_parameters() if p.requires_grad} == {"gate"}


@pytest.mark.parametrize("attention", [name for name in ("none", *attentions_of("resnet18")) if name != "abn"])
def test_every_attention_learns_in_a_detector(attention: str) -> None:
    torch.manual_seed(0)
    body = create_detector("resnet18", attention, 3, trainable_layers=5, **SMALL).train().backbone
    maps = body(torch.rand(1, 3, 64, 80))
    assert [tuple(map_.shape[1:2]) for map_ in maps.values()] == [(256,)] * 5
    sum(map_.square().mean() for map_ in maps.values()).backward()
    assert [name for name, p in body.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in body.parameters())


def test_losses_reach_all_that_is_trained() -> None:
    torch.manual_seed(0)
    network = create_detector("resnet18", "das", 3, **SMALL).train()
    target = {"boxes": torch.tensor([[5.0, 5, 40, 40]]), "labels": torch.tensor([1])}
    losses = network([torch.rand(3, 64, 80)], [target])
    sum(losses.values()).backward()
    assert [name for name, p in network.named_parameters() if (p.grad is None) == p.requires_grad] == []
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert all(torch.isfinite(loss) for loss in network([torch.rand(3, 64, 80)], [empty]).values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "mobilenet_v2"}, "stands on one of resnet18"),
        ({"attention": "abn"}, "abn has no place"),
        ({"attention": "nothing"}, "unknown attention"),
        ({"trainable_layers": 6}, r"trainable_layers must lie in 0\.\.5"),
        ({"min_size": "800"}, "min_size must be a whole number"),
        ({"min_size": 900, "max_size": 800}, "in this order"),
        ({"norm_eps": -1}, "norm_eps=-1"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_refused(arguments: dict, words: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=words):
        create_detector(**{"backbone": "resnet18", **arguments})


def test_on_meta_it_has_its_anchors() -> None:
    network = build_network("resnet18", "das", 3, SMALL, task="detection")
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert not any(cell.is_meta for cell in network.rpn.anchor_generator.cell_anchors)
