"""Maps that know nothing of the photo, against which any measure must be read: one file each, and one line in ``NULLS``.

Nulls make maps and never score; each is scored by every measure.

>>> import torch
>>> from das_explain.nulls import NULLS
>>> maps, masks = torch.rand(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
>>> torch.equal(NULLS["shuffled"].make(maps, masks, torch.tensor([1, 2, 0])), maps[[1, 2, 0]])
True
"""

from __future__ import annotations

from das_explain.nulls import centre, centre_fitted, random, shuffled, uniform
from das_explain.nulls.base import CONTEXT, Null

__all__ = ["CONTEXT", "NULLS", "Null", "register"]

NULLS: dict[str, Null] = {}


def register(null: Null) -> Null:
    """Adds a null under its name; returns it.

    >>> import torch
    >>> from das_explain.nulls import NULLS, Null, register
    >>> left = register(Null("left", lambda maps, masks, partner: torch.tensor([1.0, 0.0]).expand(masks.shape), blind=True))
    >>> NULLS["left"].make(torch.rand(1, 1, 2), torch.ones(1, 1, 2, dtype=torch.bool), torch.tensor([0]))
    tensor([[[1., 0.]]])
    >>> del NULLS["left"]
    """
    NULLS[null.name] = null
    return null


for each in (shuffled, centre, centre_fitted, uniform, random):
    register(each.NULL)
