"""What a network is made of, for whoever wants to explain it or to put gates into it: the stages, and how they read.

``find_stages(network, size)`` gives the modules that a person would name; the last two are explained where nobody says
which, and gates stand after them. ``readings_of`` decides how a block's output is read as a map.
"""

from das_explain.nn.stages.find import ends_in_front, find_stages
from das_explain.nn.stages.layout import Layout, Reading
from das_explain.nn.stages.probe import SCRIPTED, Probe, first_tensor, probe, probe_images, put_first
from das_explain.nn.stages.reading import readings_of

__all__ = [
    "SCRIPTED", "Layout", "Probe", "Reading", "ends_in_front", "find_stages", "first_tensor", "probe", "probe_images",
    "put_first", "readings_of",
]  # fmt: skip
