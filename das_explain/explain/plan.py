"""What a run is to do, as plain values that pickle: an engine's worker builds its explainer from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from das_explain.data.sources import Source
from das_explain.explain.contestants import ExplainOptions, load_contest
from das_explain.explain.explainer import Explainer
from das_explain.segment import Segmenter
from das_explain.types import Sample


@dataclass(frozen=True)
class Plan:
    """The evidence that is wanted, and how to go about it.

    ``models`` are specs; ``samples`` were drawn once; ``labels`` are the data's class names;
    ``label_files`` the models', where theirs do not tell, and ``label_map`` what the models call the data's classes;
    ``layouts`` how blocks are read. ``nulls`` are the maps that networks are asked about beside their own, by measures that
    ask them. ``batch``, ``workers``, ``device`` (or
    several, as ``cuda:0,cuda:1``) and ``compiled`` (``torch.compile``) move no number beyond rounding.
    """

    models: tuple[str, ...]
    samples: tuple[Sample, ...]
    source: Source
    segmenter: Segmenter | None
    labels: tuple[str, ...] | None = None
    label_files: tuple[Path | None, ...] = ()
    label_map: Mapping[str, str] | None = None
    options: ExplainOptions = field(default_factory=ExplainOptions)
    blocks: tuple[str, ...] = ()
    layouts: Mapping[str, str] | None = None
    nulls: tuple[str, ...] = ()
    batch: int = 16
    workers: int | None = None
    device: str | None = None
    compiled: bool = False

    @property
    def devices(self) -> tuple[str | None, ...]:
        """One or several; ``None`` for the best there is."""
        return tuple(self.device.split(",")) if self.device else (None,)

    def explainer(self) -> Explainer:
        """Loads the models, onto the first device."""
        contest = load_contest(
            self.models,
            self.labels,
            self.options,
            blocks=self.blocks,
            layouts=self.layouts,
            device=self.devices[0],
            label_files=self.label_files,
            label_map=self.label_map,
            compiled=self.compiled,
        )
        return Explainer(contest, self.options)
