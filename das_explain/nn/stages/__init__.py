"""What a network is made of, for whoever wants to explain it or to put gates into it: the stages, and how they read.

``find_stages(network, size)`` gives the modules that a person would name; the last two are explained where nobody says
which, and gates stand after them.
"""

from das_explain.nn.stages.find import find_stages
from das_explain.nn.stages.probe import SCRIPTED, Probe, probe

__all__ = ["SCRIPTED", "Probe", "find_stages", "probe"]
