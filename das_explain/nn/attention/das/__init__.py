"""The DAS gate and its ablations."""

from das_explain.nn.attention.das.ablations import DEFORMABLE, NORMS, VARIANTS, das_gate
from das_explain.nn.attention.das.gate import DASGate

__all__ = ["DEFORMABLE", "NORMS", "VARIANTS", "DASGate", "das_gate"]
