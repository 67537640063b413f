"""Classification: labelled images in, a network of ``create_model`` out, tested by top-1."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from das_explain.errors import DasExplainError
from das_explain.files import open_new
from das_explain.nn import create_model
from das_explain.train.card import describe, model_card, score
from das_explain.train.data import TrainingData, without_traceback
from das_explain.train.machine import on_gpu, resolve_precision
from das_explain.train.module import Classifier
from das_explain.train.schema import Recipe
from das_explain.train.task import MODEL, PREDICTIONS, log_columns, log_rows, tell


class Classification:
    """The task of most recipes; see ``task.Task``."""

    measures = ("top1",)

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.data = recipe, TrainingData(recipe)
        self.labels, self.fingerprints = self.data.labels, self.data.fingerprints
        self.summary = (
            f"{len(self.labels)} classes, {recipe.schedule.epochs} epochs of {self.data.per_epoch} images "
            f"(of {len(self.data.train)}), {self.data.workers} workers"
        )

    def build(self, console: Console) -> nn.Module:
        """The network, perhaps with weights of another; what was taken is said in one line, and so are warnings and notes."""
        for line in self.data.warnings:
            tell(console, f"warning: {line}")
        for line in self.data.notes:
            tell(console, f"note: {line}")
        options = self.recipe.model
        network = create_model(options.architecture, options.attention, len(self.labels), **options.arguments)
        if options.warm_start:
            from das_explain.checkpoint.load import warm_start

            tell(console, str(warm_start(network, options.warm_start)))
        return network

    def module(self, network: nn.Module) -> Classifier:
        """The training step."""
        if self.recipe.loop.channels_last:
            network.to(memory_format=torch.channels_last)
        return Classifier(network.train(), self.recipe, self.data)

    def finish(self, network: nn.Module, out: Path, console: Console, command: str | None) -> None:
        """Tests the weights that are shipped (rounded to half precision if so wished), writes the model directory."""
        from das_explain.checkpoint.load import save_model

        recipe, data = self.recipe, self.data
        log = log_rows(out, log_columns(self.measures, recipe.loop.validate))
        prepare_to_ship(network, recipe)
        outcomes = {}
        with open_new(out / PREDICTIONS) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("set", "image", "label", "predicted", "confidence"))
            for name, frames in data.tests.items():
                with console.status(f"testing on {name}: {len(frames)} images"):
                    rows = list(_predict(network.to("cuda" if on_gpu(recipe) else "cpu"), data, name))
                writer.writerows((name, *row) for row in rows)
                outcomes[name] = score([row[1] for row in rows], [row[2] for row in rows])
                tell(console, f"{name}: {describe(outcomes[name])}")
            text.detach()
        training, card = model_card(recipe, data, outcomes, log, precision=resolve_precision(recipe), command=command)
        save_model(
            out / MODEL,
            network,
            architecture=recipe.model.architecture,
            attention=recipe.model.attention,
            arguments=recipe.model.arguments,
            labels=self.labels,
            preprocess=data.preprocess,
            training=training,
            card=card,
            half=recipe.loop.half,
        )


@torch.no_grad()
def prepare_to_ship(network: nn.Module, recipe: Recipe) -> None:
    """In eval mode and fp32, its values rounded to half precision if they are stored so."""
    network.float().to(memory_format=torch.contiguous_format).eval()
    for tensor in network.state_dict().values() if recipe.loop.half else ():
        if tensor.is_floating_point() and tensor.half().isfinite().all():
            tensor.copy_(tensor.half())


@torch.no_grad()
def _predict(network: nn.Module, data: TrainingData, name: str) -> Iterator[tuple[str, str, str, str]]:
    """(image, label, predicted, confidence) of each image of a test set, in fp32."""
    frames, position = data.tests[name], 0
    device = next(network.parameters()).device
    try:
        for images, _ in data.test_loader(name):
            images = data.preprocess.normalize(images.to(device)).contiguous(memory_format=torch.channels_last)
            confidences, predicted = network(images).softmax(1).max(1)
            for confidence, number in zip(confidences.tolist(), predicted.tolist(), strict=True):
                sample = frames.samples[position]
                yield sample.name, sample.label, data.labels[number], f"{confidence:.4f}"
                position += 1
    except DasExplainError as error:
        raise without_traceback(error) from None
