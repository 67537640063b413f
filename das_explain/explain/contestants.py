"""Models made ready to be explained together: loaded, named, their blocks chosen, the data's classes matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from das_explain.cam.methods import METHODS
from das_explain.checkpoint.load import load_model, match_labels
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.fast.fold import folded, same_logits
from das_explain.types import LoadedModel

PRECISIONS = ("fp32", "bf16")
LAST_BLOCKS = 2  # explained unless others are named


@dataclass(frozen=True)
class ExplainOptions:
    """How maps are made: a part of a run's identity, since other maps are other evidence.

    ``target``: ``label`` explains the image's own class (its prediction, where the data has no labels), ``predicted``
    each model's highest logit, anything else is the name of one class.
    """

    method: str = "gradcam"
    target: str = "label"
    precision: str = "fp32"

    def check(self) -> None:
        """Raises UsageError for a value that does not exist, before anything is loaded."""
        for name, value, known in (("--method", self.method, METHODS), ("--precision", self.precision, PRECISIONS)):
            if value not in known:
                raise UsageError(f"{name} {value!r} is unknown; choose among {', '.join(known)}")
        if self.precision == "bf16" and self.method != "gradcam":
            raise UsageError("--precision bf16 works with --method gradcam only")


@dataclass
class Contestant:
    """A loaded model, ready to be explained: the network to run, the blocks to explain, class name -> logit."""

    model: LoadedModel
    network: nn.Module
    blocks: dict[str, nn.Module]
    logit: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name in this run."""
        return self.model.name

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
        return list(dict.fromkeys(note for each in self.contestants for note in each.model.config.get("notes") or ()))

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
) -> Contest:
    """Loads the models and matches the data's labels to their logits.

    ``blocks``: any modules' dotted names, the same for every model; none: the last two blocks of each.
    ``label_files``: per model a file of its class names, or ``None``.

    Raises:
        UsageError: a model, a block or a target class that does not exist.
        DasExplainError: a model that cannot be loaded, labels that do not match.
    """
    files = list(label_files) or [None] * len(models)
    loaded = [
        each if isinstance(each, LoadedModel) else load_model(each, device=device, blocks=blocks or None, labels=file)
        for each, file in zip(models, files, strict=True)
    ]
    groups: dict[str, list[str]] = {}
    for model in loaded:
        groups.setdefault(model.name, []).append(model.name)
    for group, members in groups.items():
        if len({model.config.get("gates") for model in loaded if model.name == group}) > 1:
            raise UsageError(f"{group} names models with other +gates=: copies of one design they are not; name each")
        if len(members) > 1:
            members[:] = [f"{group}#{copy + 1}" for copy in range(len(members))]
    names = {group: iter(members) for group, members in groups.items()}
    loaded = [replace(model, name=next(names[model.name])) for model in loaded]
    return Contest([_contestant(model, labels, options, every_block=bool(blocks)) for model in loaded], groups)


def _contestant(
    model: LoadedModel, labels: Sequence[str] | None, options: ExplainOptions, *, every_block: bool
) -> Contestant:
    blocks = model.blocks if every_block else dict(list(model.blocks.items())[-LAST_BLOCKS:])
    network, blocks = quick(model.network, blocks, options, model.preprocess.geometry.size)
    logit = match_labels(labels, model) if labels else {}
    if options.target not in ("label", "predicted") and options.target not in logit:
        try:
            logit |= match_labels((options.target,), model)
        except DasExplainError:
            raise UsageError(
                f"--target {options.target!r} is no class of {model.name}; it may also be label or predicted"
            ) from None
    return Contestant(model, network, blocks, logit)


def quick(
    network: nn.Module, blocks: dict[str, nn.Module], options: ExplainOptions, size: tuple[int, int]
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """The network as it is run on images of ``size``, and its blocks: a folded copy where folding pays and is right."""
    if options.method != "gradcam" or next(network.parameters()).device.type != "cpu":
        return network, blocks
    keep = list(blocks.values())
    try:
        twin = folded(network, keep)
        right = same_logits(network, twin, size)
    except (RuntimeError, TypeError):  # somebody's network holds what cannot be copied
        right = False
    if not right:
        return network, blocks
    if options.precision == "bf16":
        twin = folded(network, keep, dtype=torch.bfloat16)
    modules = dict(twin.named_modules())
    names = {id(module): name for name, module in network.named_modules()}
    return twin, {name: modules[names[id(module)]] for name, module in blocks.items()}
