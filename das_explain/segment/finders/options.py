"""What can be set of a finder, and which settings make sense together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from das_explain.errors import UsageError
from das_explain.segment.finders.prompts import FIELD

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset
    from das_explain.segment.finders.boxed import SamFinder

CHOICES = ("best", "union")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class FinderOptions:
    """The settings of a finder; plain values. What does not fit raises ``UsageError`` at once.

    Args:
        detector: Grounding DINO: a folder or hub id; for ``grounded-sam-original`` a checkpoint file.
        sam: a folder, hub id, checkpoint file of segment-anything, or a name: ``base``, ``large``, ``huge``;
            ``2.1-tiny`` and its like for SAM 2.
        tokenizer: folder or hub id of BERT's tokenizer, for ``grounded-sam-original``.
        device: where the networks run, as torch names it; the best there is unless given.
        template: the prompt, with ``{label}`` where the class label's first synonym belongs.
        overrides: CSV ``label,prompt``.
        box_threshold: what a box must score, in [0, 1).
        text_threshold: what a word must score to be named with the box, in [0, 1).
        retry_threshold: where no box does, what it must score at the second try; recorded.
        choice: ``best`` or ``union`` of the boxes above the threshold.
        minimum_area: share of the photo below which a box is passed over.
        precision: ``fp32``, or ``bf16`` (autocast).
        side: the detector's shorter side in pixels, 800 as its authors'.
        batch: photos that go through a network together, at most; unless given 4 on a GPU and 1 on a CPU.
    """

    detector: str | None = None
    sam: str | None = None
    tokenizer: str | None = None
    device: str | None = None
    template: str = FIELD
    overrides: Path | None = None
    box_threshold: float = 0.35
    text_threshold: float = 0.25
    retry_threshold: float | None = None
    choice: str = "best"
    minimum_area: float = 0.0
    precision: str = "fp32"
    side: int = 800
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise UsageError(f"the choice among boxes is best or union, not {self.choice!r}")
        if self.precision not in PRECISIONS:
            raise UsageError(f"the precision is fp32 or bf16, not {self.precision!r}")
        if not 0 <= self.minimum_area < 1:
            raise UsageError(f"the minimum area is a share of the photo, 0 to 1, not {self.minimum_area:g}")
        if self.side < 32:
            raise UsageError(f"the detector's side must be at least 32 pixels, not {self.side}")
        for threshold in (self.box_threshold, self.text_threshold, self.retry_threshold):
            if threshold is not None and not 0 <= threshold < 1:
                raise UsageError(f"a threshold lies between 0 and 1, not at {threshold:g}")
        if self.retry_threshold is not None and self.retry_threshold >= self.box_threshold:
            raise UsageError(
                f"the retry threshold ({self.retry_threshold:g}) must lie below the box threshold "
                f"({self.box_threshold:g})"
            )
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"a batch has at least one photo, not {self.batch}")

    def create(self, name: str, dataset: Dataset | None = None) -> SamFinder:
        """The finder called ``name`` with these settings, see ``create.create_finder``."""
        from das_explain.segment.finders.create import create_finder

        return create_finder(name, self, dataset)
