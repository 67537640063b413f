"""``python:MODULE:FACTORY[@FILE]``: the user's own code gives the network, a file its weights."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.fit import load_strict
from das_explain.checkpoint.labels import sidecar
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.options import peeled_notes
from das_explain.checkpoint.randomize import seeded
from das_explain.checkpoint.spec import ModelSpec
from das_explain.errors import DasExplainError, first_line
from das_explain.nn.stages import SCRIPTED


def open_python(spec: ModelSpec) -> Opened:
    """FACTORY(**options) gives the network, FILE its weights.

    Raises:
        UsageError: an option that is none.
        DasExplainError: the code cannot be imported or fails, gives no network, or one that the weights do not fit.
    """
    options = spec.arguments
    entry = options.pop("entry", None)
    network = _call(spec, options)
    notes: list[str] = []
    if spec.file:
        readings = read_weights(spec.file, entry)
        wanted = f"{spec.target}:{spec.variant}"
        notes = peeled_notes(spec.file, load_strict(network, readings, source=str(spec.file), wanted=wanted))
    return Opened(
        network=network,
        architecture=f"python:{spec.target}:{spec.variant}",
        arguments=options,
        labels=sidecar(spec.file) if spec.file else None,
        notes=notes,
        preprocess_taken="as ImageNet's usually is",
    )


def _call(spec: ModelSpec, options: Mapping[str, Any]) -> nn.Module:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        try:
            found: Any = importlib.import_module(spec.target)
            for part in (spec.variant or "").split("."):
                found = getattr(found, part)
        except Exception as error:  # anything may happen in somebody's module
            what = f"{spec.target}:{spec.variant}"
            raise DasExplainError(f"{spec.text}: cannot import {what}: {first_line(error)}") from error
        with seeded():  # a factory that draws its weights draws the same ones in each run
            try:
                network = found(**options)
            except Exception as error:
                raise DasExplainError(f"{spec.text}: {spec.variant} failed: {first_line(error)}") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
    if isinstance(network, torch.jit.ScriptModule):
        raise DasExplainError(f"{spec.text}: {spec.variant} gave {SCRIPTED}")
    if not isinstance(network, nn.Module):
        raise DasExplainError(f"{spec.text}: {spec.variant} gave a {type(network).__name__}, not a torch.nn.Module")
    return network
