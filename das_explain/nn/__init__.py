"""The networks: torchvision's backbones, plain and with attention."""

from das_explain.nn.attention.abn import auxiliary_logits
from das_explain.nn.attention.das import DASGate
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
    "DASGate",
    "Gate",
    "attentions_of",
    "auxiliary_logits",
    "create_model",
    "das_mobilenet_v2",
    "das_resnet18",
    "das_resnet50",
    "das_resnet101",
]
