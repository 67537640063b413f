"""Openers for what lies on this machine: model directories, weight files, and the user's own Python."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from das_explain.checkpoint.blocks import SCRIPTED, probe
from das_explain.checkpoint.build import build_network, check_architecture, check_arguments
from das_explain.checkpoint.config import CONFIG, MAX_SIDE, WEIGHTS, read_config
from das_explain.checkpoint.files import Candidate, best_reading, read_weights
from das_explain.checkpoint.fit import advise, class_count, infer_arguments, load_strict
from das_explain.checkpoint.labels import read_labels, sidecar
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.spec import ModelSpec
from das_explain.data.geometry import Preprocess
from das_explain.errors import DasExplainError, UsageError


def open_directory(spec: ModelSpec) -> Opened:
    """``DIR`` with ``config.json`` and ``model.safetensors``."""
    return read_directory(Path(spec.target))


def read_directory(directory: Path) -> Opened:
    """A model directory; only its two fixed files are read.

    Raises:
        DasExplainError: a file is missing or broken, or the weights are not what the config says.
    """
    for name in (CONFIG, WEIGHTS):
        if not (directory / name).is_file():
            raise DasExplainError(f"{directory} is no model directory: it has no {name}")
    config = read_config(directory / CONFIG)
    weights = directory / WEIGHTS
    readings = [Candidate(reading.state) for reading in read_weights(weights)[:1]]
    rows = {tensor.shape[0] for tensor in readings[0].state.values() if tensor.dim()}
    if ":" in config.architecture and config.num_classes not in rows:  # before a network of that size is built
        raise DasExplainError(
            f"{directory / CONFIG} says {config.num_classes} classes, but no layer in {WEIGHTS} has as many"
        )
    try:
        network = build_network(
            config.architecture, config.attention, config.num_classes, config.arguments, config.task
        )
    except UsageError as error:  # the request was fine, the directory is not
        raise DasExplainError(f"{directory / CONFIG}: {error}") from None
    load_strict(network, readings, source=str(weights), wanted=_wanted(config.architecture, config.attention))
    return Opened(
        network=network,
        architecture=config.architecture,
        attention=config.attention,
        arguments=dict(config.arguments),
        num_classes=config.num_classes,
        labels=config.labels,
        preprocess=config.preprocess,
        training=config.training,
        task=config.task,
    )


def open_file(spec: ModelSpec) -> Opened:
    """``FILE.pth@ARCH[:ATTENTION]``: classes, stem, gate places and alpha are read off the weights unless given."""
    options = dict(spec.options)
    size, labels, entry = (options.pop(key, None) for key in ("size", "labels", "entry"))
    readings = read_weights(spec.file, entry)
    if not spec.target:
        advice = advise(readings, f"{spec.file}@{{}}")
        raise UsageError(f"{spec.file}: say which network it belongs to, {spec.file}@ARCH[:ATTENTION]{advice}")
    architecture, attention = spec.target, spec.variant or "none"
    check_architecture(architecture, attention)
    given = check_arguments(architecture, attention, options)
    reading = best_reading(readings, build_network(architecture, attention).state_dict())
    arguments = infer_arguments(architecture, attention, reading.state, given)
    num_classes = class_count(architecture, reading.state)
    try:
        network = build_network(architecture, attention, num_classes, arguments)
    except UsageError as error:
        if arguments == given:
            raise
        raise DasExplainError(f"{spec.file} does not fit {_wanted(architecture, attention)}: {error}") from None
    load_strict(
        network,
        readings,
        source=str(spec.file),
        wanted=_wanted(architecture, attention),
        ask=f"{spec.file}@{{}}",
    )
    return Opened(
        network=network,
        architecture=architecture,
        attention=attention,
        arguments=arguments,
        num_classes=num_classes,
        labels=read_labels(Path(labels)) if labels else sidecar(spec.file),
        preprocess=_preprocess(size, spec),
        notes=_notes(spec.file, reading),
    )


def open_python(spec: ModelSpec) -> Opened:
    """``python:MODULE:FACTORY[@FILE]``: FACTORY(**options) gives the network, FILE its weights."""
    options = dict(spec.options)
    size, labels, entry = (options.pop(key, None) for key in ("size", "labels", "entry"))
    preprocess = _preprocess(size, spec)
    network = _call(spec, options)
    notes: list[str] = []
    if spec.file:
        readings = read_weights(spec.file, entry)
        wanted = f"{spec.target}:{spec.variant}"
        notes = _notes(spec.file, load_strict(network, readings, source=str(spec.file), wanted=wanted))
    try:
        num_classes = probe(network.float(), preprocess.geometry.size).num_classes
    except DasExplainError as error:
        raise DasExplainError(f"{spec.text}: {error} (?size=160 after the spec sets another size)") from error
    if labels is None and spec.file:
        labels = sidecar(spec.file)
    return Opened(
        network=network,
        architecture=f"python:{spec.target}:{spec.variant}",
        arguments=options,
        num_classes=num_classes,
        labels=read_labels(Path(labels)) if isinstance(labels, str) else labels,
        preprocess=preprocess,
        notes=notes,
    )


def _call(spec: ModelSpec, options: Mapping[str, Any]) -> nn.Module:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        try:
            found: Any = importlib.import_module(spec.target)
            for part in spec.variant.split("."):
                found = getattr(found, part)
        except Exception as error:  # anything may happen in somebody's module
            raise DasExplainError(f"{spec.text}: cannot import {spec.target}:{spec.variant}: {_said(error)}") from error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a factory that draws its weights draws the same ones in each run
            try:
                network = found(**options)
            except Exception as error:
                raise DasExplainError(f"{spec.text}: {spec.variant} failed: {_said(error)}") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
    if isinstance(network, torch.jit.ScriptModule):
        raise DasExplainError(f"{spec.text}: {spec.variant} gave {SCRIPTED}")
    if not isinstance(network, nn.Module):
        raise DasExplainError(f"{spec.text}: {spec.variant} gave a {type(network).__name__}, not a torch.nn.Module")
    return network


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _preprocess(size: str | None, spec: ModelSpec) -> Preprocess:
    """ImageNet's, at another size if one is given: ``160``, or ``HEIGHTxWIDTH``."""
    if size is None:
        return Preprocess()
    sides = size.split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and 1 <= int(side) <= MAX_SIDE for side in sides):
        raise UsageError(f"{spec.text}: size={size} must be a side or HEIGHTxWIDTH, in pixels")
    return Preprocess.from_config({"size": [int(sides[0]), int(sides[-1])]})


def _wanted(architecture: str, attention: str) -> str:
    return architecture if attention == "none" else f"{architecture} with attention {attention}"


def _notes(file: Path, reading: Candidate) -> list[str]:
    notes = []
    if reading.peeled:
        notes.append(f"{file}: taken from {', '.join(reading.peeled)}")
    if reading.left_out:
        names = ", ".join(reading.left_out[:3]) + (" ..." if len(reading.left_out) > 3 else "")
        count = f"{len(reading.left_out)} " + ("key" if len(reading.left_out) == 1 else "keys")
        notes.append(f"{file}: left out, as no part of the network: {count} ({names})")
    return notes
