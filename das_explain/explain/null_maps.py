"""Maps that know nothing of the photo, for networks to be asked about, when the whole sample has been explained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from das_explain.cam.maps import upsample
from das_explain.evidence.values import Evidence, Key
from das_explain.evidence.whole import WholeSample
from das_explain.explain.contestants import Contestant
from das_explain.nulls import Null


class NullMaps:
    """Those of the nulls, on the shown images of ``evidence``, which have masks, and of which the first has the rank ``first`` in the sample."""

    def __init__(self, whole: WholeSample, nulls: Sequence[Null], evidence: Evidence, first: int) -> None:
        self.whole, self.nulls, self.evidence, self.first = whole, whole.usable(nulls), evidence, first

    def of(self, contestant: Contestant, rows: np.ndarray) -> dict[tuple[str, str], Tensor]:
        """(block, null) -> float32 (n, H, W) on the model's device, for the images ``rows`` int64 (n,); a null that is blind
        has one for all blocks."""
        geometry, evidence = contestant.geometry, self.evidence
        size, names = evidence.sizes[geometry], [evidence.photos[i].image for i in evidence.shown[rows]]
        masks = torch.from_numpy(evidence.masks[geometry][rows])
        maps: dict[tuple[str, str], Tensor] = {}
        for block in contestant.blocks:
            key = Key(contestant.name, block)
            native = evidence.maps[key].native[rows]
            if self.whole.partners:
                native = np.concatenate([native, self.whole.partners.maps(key, self.first + rows)])
            both = upsample(torch.from_numpy(native), size)
            partner = torch.arange(len(rows)) + (len(native) - len(rows))
            for null in self.nulls:
                same = next((each for (_, name), each in maps.items() if null.blind and name == null.name), None)
                if same is None:
                    context = self.whole.context(null, native.shape[1:], names, geometry)
                    same = null.make(both, masks, partner, **context).to(contestant.device)
                maps[block, null.name] = same
        return maps
