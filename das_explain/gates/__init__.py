"""Looking inside attention gates: what they show (``look``), where they look (``places``), what they do (``effects``).

``study`` is ``das-explain gate`` as one call, ``figure`` draws it. The interventions themselves are ``nn.interventions``.
"""

from das_explain.gates.look import GateView, look
from das_explain.gates.study import study_gates

__all__ = ["GateView", "look", "study_gates"]
