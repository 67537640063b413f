"""The networks: torchvision's backbones, plain and with attention."""

from das_explain.nn import torchvision_alone  # noqa: F401  before anything that imports torchvision
from das_explain.nn.attention.das import DASGate
from das_explain.nn.backbones.resnet import BranchedLogits
from das_explain.nn.gate import Gate
from das_explain.nn.registry import (
    ATTENTION,
    BACKBONES,
    attentions_of,
    create_model,
    das_mobilenet_v2,
    das_resnet18,
    das_resnet50,
    das_resnet101,
)

__all__ = [
    "ATTENTION",
    "BACKBONES",
    "BranchedLogits",
    "DASGate",
    "Gate",
    "attentions_of",
    "create_model",
    "das_mobilenet_v2",
    "das_resnet18",
    "das_resnet50",
    "das_resnet101",
]
