"""Faster R-CNN with an FPN on any of the ResNets, plain or gated: torchvision's detector around our backbones.

DAS Sec. 4.2 and Table 2. The FPN takes the output of each stage, that is, the map behind its gate. A state dict of
torchvision's ``fasterrcnn_resnet50_fpn`` fits the plain detector as it is, and the gated one except for the gates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.misc import FrozenBatchNorm2d

from das_explain.errors import UsageError
from das_explain.nn.backbones.resnet import DEPTHS, STAGES
from das_explain.nn.registry import create_model

FPN_CHANNELS = 256
LAYERS = ("conv1", *STAGES)
"""The parts of the backbone that ``trainable_layers`` counts, from the last."""
DETECTOR_ARGUMENTS = ("trainable_layers", "min_size", "max_size", "norm_eps", "box_batch_size_per_image")
MAX_SIDE = 4096


def create_detector(
    backbone: str = "resnet50", attention: str = "none", num_classes: int = 91, **kwargs: Any
) -> FasterRCNN:
    """Builds a detector with random weights.

    Args:
        backbone: a ResNet of ``BACKBONES``.
        attention: ``none`` or a key of ``ATTENTION``, but ``abn``, whose branch learns from a class for each image.
        num_classes: number of classes with the background, which is class 0 (torchvision's COCO models: 91).
        **kwargs: ``detector_from``'s, and those of ``create_model``.

    Returns:
        In eval mode: list of images, float32 (3, H, W) in [0, 1] and of any size -> for each a dict of ``boxes`` (M, 4)
        xyxy in its pixels, ``labels`` int64 (M,), ``scores`` (M,). In training mode: images and targets (dicts of
        ``boxes`` and ``labels``) -> a dict of losses.

    Raises:
        UsageError: an unknown name or argument, or a value out of range.
    """
    own = {name: kwargs.pop(name) for name in DETECTOR_ARGUMENTS if name in kwargs}
    check_backbone(backbone, attention)
    return detector_from(create_model(backbone, attention, 1, **kwargs), num_classes, **own)


def check_backbone(backbone: str, attention: str) -> None:
    """Raises ``UsageError`` where no detector can be made of the pair."""
    if backbone not in DEPTHS:
        raise UsageError(f"a detector stands on one of {', '.join(DEPTHS)}, not on {backbone!r}")
    if attention == "abn":
        raise UsageError("abn has no place in a detector: its branch learns from the class of the whole image")


def detector_from(
    classifier: nn.Module,
    num_classes: int = 91,
    *,
    trainable_layers: int = 3,
    min_size: int = 800,
    max_size: int = 1333,
    norm_eps: float = 1e-5,
    box_batch_size_per_image: int = 512,
) -> FasterRCNN:
    """Makes a detector of a ResNet of ``create_model``, which becomes its backbone; its classifying head is left out.

    Args:
        classifier: with the weights that the detector starts from. Its batch norms are frozen, in the gates too:
            statistics and affine parameters become constants, as batches of a few images would spoil them.
        trainable_layers: of ``LAYERS``, from the last, 0 to 5; earlier ones are frozen. 3, the default of torchvision
            and of MMDetection, freezes the stem and ``layer1``. Gates are always trained.
        min_size: an image is enlarged or reduced until its short side has as many pixels ...
        max_size: ... unless its long side would be longer than this.
        norm_eps: of the frozen batch norms; 0 for the weights ``FasterRCNN_ResNet50_FPN_Weights.COCO_V1``.
        box_batch_size_per_image: proposals of an image that the second stage learns from.

    Raises:
        UsageError: a value is of another kind or out of range.
    """
    counts = {
        "trainable_layers": trainable_layers,
        "min_size": min_size,
        "max_size": max_size,
        "box_batch_size_per_image": box_batch_size_per_image,
    }
    for name, value in counts.items():
        if type(value) is not int:
            raise UsageError(f"{name} must be a whole number, not {value!r}")
    if not (isinstance(norm_eps, (int, float)) and 0 <= norm_eps < 1) or box_batch_size_per_image < 1:
        raise UsageError(f"norm_eps={norm_eps!r}, box_batch_size_per_image={box_batch_size_per_image} is out of range")
    if not 0 <= trainable_layers <= len(LAYERS):
        raise UsageError(f"trainable_layers must lie in 0..{len(LAYERS)}, not {trainable_layers}")
    if not 1 <= min_size <= max_size <= MAX_SIDE:
        raise UsageError(f"min_size and max_size must lie in 1..{MAX_SIDE}, in this order: {min_size}, {max_size}")
    channels = classifier.fc.in_features  # of the last stage; each earlier one has half of them
    _freeze_norms(classifier, norm_eps)
    frozen = LAYERS[: len(LAYERS) - trainable_layers]
    for name, parameter in classifier.named_parameters():
        if name.partition(".")[0] in frozen and not _in_gate(name):
            parameter.requires_grad_(False)
    body = BackboneWithFPN(
        classifier,
        return_layers={stage: str(i) for i, stage in enumerate(STAGES)},
        in_channels_list=[channels // 8, channels // 4, channels // 2, channels],
        out_channels=FPN_CHANNELS,
    )
    sizes = ((32,), (64,), (128,), (256,), (512,))  # torchvision's anchors: one size for each of the FPN's five maps
    with torch.device("cpu"):  # they are no parameters: a detector on the meta device must have them all the same
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    return FasterRCNN(
        body,
        num_classes,
        min_size,
        max_size,
        rpn_anchor_generator=anchors,
        box_batch_size_per_image=box_batch_size_per_image,
    )


def _in_gate(name: str) -> bool:
    """``layer1.gate.weight``, ``layer1.0.gate.fc.bias``, ``layer1.gate0.weight``: a parameter of a gate."""
    return any(part.startswith("gate") for part in name.split("."))


def _freeze_norms(module: nn.Module, eps: float) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps)
            for buffer in ("weight", "bias", "running_mean", "running_var"):
                setattr(frozen, buffer, getattr(child, buffer).detach().clone())
            setattr(module, name, frozen)
        else:
            _freeze_norms(child, eps)
