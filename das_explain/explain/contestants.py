"""Models made ready to be explained together: loaded, named, their blocks chosen, the data's classes matched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from das_explain.cam.fast import fast_copy
from das_explain.cam.methods import METHODS
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.matching import LabelMatch, match_labels
from das_explain.checkpoint.model import LoadedModel
from das_explain.checkpoint.spec import parse_spec
from das_explain.errors import DasExplainError, UsageError
from das_explain.measures.probe import BASELINES
from das_explain.nn.running import OneByOne

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class ExplainOptions:
    """How maps are made: a part of a run's identity, since other maps are other evidence.

    ``target``: ``label`` explains the image's own class (its prediction, where the data has no labels), ``predicted``
    each model's highest logit, anything else is the name of one class. ``measures``: those that need the network, which
    is at hand only now; ``baseline`` is what hides a pixel from it (``None``: each measure's own).
    """

    method: str = "gradcam"
    target: str = "label"
    precision: str = "fp32"
    measures: tuple[str, ...] = ()
    baseline: str | None = None

    def check(self) -> None:
        """Raises UsageError for a value that does not exist, before anything is loaded."""
        for name, value, known in (("--method", self.method, METHODS), ("--precision", self.precision, PRECISIONS)):
            if value not in known:
                raise UsageError(f"{name} {value!r} is unknown; choose among {', '.join(known)}")
        if self.baseline is not None and self.baseline not in BASELINES:
            raise UsageError(f"--hide-with {self.baseline!r} is unknown; choose among {', '.join(BASELINES)}")
        if self.precision == "bf16" and self.method != "gradcam":
            raise UsageError("--precision bf16 works with --method gradcam only")


@dataclass
class Contestant:
    """A loaded model, ready to be explained: the network to run, the blocks to explain, class name -> logit.

    ``target``: the logit of the one class that the run explains, if it does; it need be no class of the data.
    ``other_logit``: another reading of the classes' names, where they allow two (``checkpoint.matching``).
    """

    model: LoadedModel
    network: nn.Module
    blocks: dict[str, nn.Module]
    logit: dict[str, int] = field(default_factory=dict)
    target: int | None = None
    assumptions: list[str] = field(default_factory=list)
    other_logit: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name in this run."""
        return self.model.name

    @property
    def answering(self) -> nn.Module:
        """The network for logits alone: batches are shown to it photo by photo, where its answer depends on the company."""
        return OneByOne(self.network) if self.model.alone else self.network

    @property
    def geometry(self) -> str:
        """The key of the geometry it sees photos in."""
        return self.model.preprocess.geometry.key

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.network.parameters()).device

    def class_name(self, index: int) -> str:
        """The name of a logit; its number, if the model knows no names."""
        return self.model.labels[index] if self.model.labels else str(index)

    def entry(self) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        return {
            "name": self.name,
            "spec": self.model.spec,
            "fingerprint": self.model.fingerprint,
            "blocks": list(self.blocks),
            "layouts": {block: str(each) for block, each in self.model.layouts.items() if str(each) != "nchw"},
            "preprocess": self.model.preprocess.to_config(),
            "labels": self.model.labels,
            "logit": self.logit,
        }


@dataclass(frozen=True)
class Contest:
    """Models that are explained together, and group name -> members' names: a name given twice makes one group of
    checkpoints, copies of one design."""

    contestants: list[Contestant]
    groups: dict[str, list[str]]

    @property
    def assumptions(self) -> list[str]:
        """Choices made on the user's behalf when the models were loaded and the labels matched, once each."""
        return list(dict.fromkeys(note for each in self.contestants for note in each.assumptions))

    @property
    def geometries(self) -> list:
        """How each sees a photo."""
        return [contestant.model.preprocess.geometry for contestant in self.contestants]


def load_contest(
    models: Sequence[str | nn.Module | LoadedModel],
    labels: Sequence[str] | None,
    options: ExplainOptions,
    *,
    blocks: Sequence[str] = (),
    device: str | None = None,
    label_files: Sequence[Path | None] = (),
    label_map: Mapping[str, str] | None = None,
    layouts: Mapping[str, str] | None = None,
    compiled: bool = False,
) -> Contest:
    """Loads the models and matches the data's labels to their logits.

    ``blocks``: any modules' dotted names, the same for every model; none: the usual ones of each.
    ``layouts``: block -> how its output is read, the same for every model (``load_model``).
    ``compiled``: run what lies between the blocks through ``torch.compile``.
    ``label_files``: per model a file of its class names, or ``None``; ``label_map``: class of the data -> of the models.

    Raises:
        UsageError: a model, a block or a target class that does not exist.
        DasExplainError: a model that cannot be loaded, labels that do not match.
    """
    name_copies(
        [each if isinstance(each, LoadedModel) else parse_spec(str(each)) for each in models if not _is_module(each)]
    )
    files = list(label_files) or [None] * len(models)
    loaded = [
        each
        if isinstance(each, LoadedModel)
        else load_model(each, device=device, blocks=blocks or None, labels=file, layout=layouts)
        for each, file in zip(models, files, strict=True)
    ]
    groups = name_copies(loaded)
    for group in groups:
        for changed in ("gates", "weights"):
            if len({model.config.get(changed) for model in loaded if model.name == group}) > 1:
                raise UsageError(
                    f"{group} names models with other +{changed}=: copies of one design they are not; name each"
                )
    names = {group: iter(members) for group, members in groups.items()}
    loaded = [replace(model, name=next(names[model.name])) for model in loaded]
    return Contest([_contestant(model, labels, options, label_map, compiled) for model in loaded], groups)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def name_copies(models: Sequence[_Named]) -> dict[str, list[str]]:
    """Name -> what its models are called in the run: itself, or ``NAME#1`` and so on where it was given several times.

    Raises UsageError where two models would be called the same.
    """
    counts = Counter(model.name for model in models)
    groups = {
        name: [name] if count == 1 else [f"{name}#{copy}" for copy in range(1, count + 1)]
        for name, count in counts.items()
    }
    for name, count in Counter(chain.from_iterable(groups.values())).items():
        if count > 1:
            raise UsageError(f"two models would be called {name}, a copy and one that was given that name: rename it")
    return groups


def _is_module(model: object) -> bool:
    return isinstance(model, nn.Module)


def _contestant(
    model: LoadedModel,
    labels: Sequence[str] | None,
    options: ExplainOptions,
    label_map: Mapping[str, str] | None,
    compiled: bool,
) -> Contestant:
    network, blocks = _network(model, options, compiled)
    logit = _matched(labels, model, label_map, options.target) if labels else LabelMatch()
    assumptions = [*model.assumptions, *logit.assumptions]
    return Contestant(model, network, blocks, dict(logit), _target(options, logit, model), assumptions, logit.other)


def _target(options: ExplainOptions, logit: LabelMatch, model: LoadedModel) -> int | None:
    """The logit of the class that ``--target`` names: the data's of that name, else the model's."""
    if options.target in ("label", "predicted"):
        return None
    if options.target in logit:
        return logit[options.target]
    try:
        return match_labels((options.target,), model)[options.target]
    except DasExplainError:
        raise UsageError(
            f"--target {options.target!r} is no class of {model.name}; it may also be label or predicted"
        ) from None


def _network(model: LoadedModel, options: ExplainOptions, compiled: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
    """What is run in the model's place, and its blocks."""
    size = model.preprocess.geometry.size
    if not compiled:
        return fast_copy(model.network, model.usual_blocks, size, method=options.method, precision=options.precision)
    if options.method != "gradcam":
        raise UsageError("--compile works with --method gradcam only")
    from das_explain.cam.compiled import compiled_copy

    return compiled_copy(model.network, model.usual_blocks, size, layouts=model.layouts)


def _matched(labels: Sequence[str], model: LoadedModel, label_map: Mapping[str, str] | None, target: str) -> LabelMatch:
    """The data's classes as logits. Only a target that is the label needs them."""
    try:
        return match_labels(labels, model, label_map)
    except UsageError:
        raise
    except DasExplainError as error:
        if target == "label":
            raise
        return LabelMatch(
            assumptions=[f"{error}; nothing is said about what is right (--target {target} needs no labels)"]
        )
