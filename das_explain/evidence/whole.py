"""What nulls take of a whole sample: who is whose partner, everybody's maps, the mean of all masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from das_explain.evidence.codec import SCORING_COLUMNS
from das_explain.evidence.partners import Partners
from das_explain.evidence.run import Run
from das_explain.evidence.values import Evidence
from das_explain.files import part_of
from das_explain.nulls import Null
from das_explain.nulls.pairing import image_seeds


class WholeSample:
    """One pass over a run's evidence, if any of these nulls needs it. To be closed; pickles, as ``Partners`` do.

    ``partners``: ``None`` where no pass was needed. ``mean_masks``: float32 (H, W) by geometry.
    """

    def __init__(self, run: Run, nulls: Sequence[Null]) -> None:
        self.seed = int(run.manifest["seed"])
        self.partners: Partners | None = None
        self.mean_masks: dict[str, np.ndarray] = {}
        if not any(null.needs or not null.blind for null in nulls):
            return
        sums: dict[str, Any] = {}
        counts: Counter[str] = Counter()
        wants_mean = any("mean_mask" in null.needs for null in nulls)
        columns = [name for name in SCORING_COLUMNS if name != "masks" or wants_mean]

        def passing() -> Iterator[Evidence]:
            for evidence in run.evidence(columns):
                for geometry, masks in evidence.masks.items() if wants_mean else ():
                    some = masks.any((1, 2))
                    sums[geometry] = sums.get(geometry, 0.0) + masks[some].sum(0, dtype=np.float64)
                    counts[geometry] += int(some.sum())
                yield evidence

        # Under a name that the next one to lock the folder removes, should this process be killed.
        self.partners = Partners(passing(), self.seed, part_of(run.path("partners")))
        self.mean_masks = {key: (total / max(1, counts[key])).astype(np.float32) for key, total in sums.items()}

    def usable(self, nulls: Sequence[Null]) -> list[Null]:
        """Those that can be made: one image has no partner."""
        return [null for null in nulls if self.partners or null.blind or null.needs]

    def first(self, place: int) -> int:
        """The rank among all shown images of the first one in the part of the evidence at ``place``; who has no partner
        is asked for by no rank."""
        return self.partners.firsts[place] if self.partners else 0

    def context(self, null: Null, native: Sequence[int], names: list[str], geometry: str) -> dict[str, Any]:
        """The keyword arguments of ``null.make`` for the images ``names`` and a block of the resolution ``native``."""
        context: dict[str, Any] = {}
        if "native" in null.needs:
            context["native"] = tuple(native)
        if "seeds" in null.needs:
            context["seeds"] = torch.from_numpy(image_seeds(names, self.seed))
        if "mean_mask" in null.needs:
            context["mean_mask"] = torch.from_numpy(self.mean_masks[geometry])
        return context

    def close(self) -> None:
        """Removes what the pass has left on the disk."""
        if self.partners is not None:
            self.partners.close()
