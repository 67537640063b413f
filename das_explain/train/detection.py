"""Detection: photos with boxes in, a Faster R-CNN with an FPN out, tested by COCO's AP."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from das_explain.accuracy.average_precision import average_precision, coco_eval
from das_explain.errors import UsageError
from das_explain.files import write_text_whole
from das_explain.nn import create_model
from das_explain.nn.backbones.detection import DETECTOR_ARGUMENTS, check_backbone, detector_from
from das_explain.train.classification import prepare_to_ship
from das_explain.train.coco import DetectionData, View
from das_explain.train.data import workers_of
from das_explain.train.detection_card import detector_card
from das_explain.train.machine import on_gpu, resolve_precision
from das_explain.train.module import TrainingModule
from das_explain.train.schedules import create_optimizer, lr_factor
from das_explain.train.schema import Augment, Input, Recipe, Schedule
from das_explain.train.task import DETECTIONS, MODEL, log_columns, log_rows, tell

MEASURES = ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")


class Detection:
    """The task ``detection``; see ``task.Task``."""

    measures = MEASURES

    def __init__(self, recipe: Recipe) -> None:
        for foreign, why in (
            (
                recipe.data.held_out or recipe.loop.validate,
                "holds no images out: leave out data.held_out, loop.validate",
            ),
            (recipe.data.balanced, "draws images, not classes: leave out data.balanced"),
            (recipe.input != Input(), "knows model.arguments.min_size and max_size in place of input"),
            (replace(recipe.augment, flip=0.5) != Augment(), "mirrors photos and no more: of augment it knows flip"),
            (recipe.loop.label_smoothing, "has no label smoothing"),
        ):
            if foreign:
                raise UsageError(f"the task detection {why}")
        coco_eval()
        check_backbone(recipe.model.architecture, recipe.model.attention)
        self.recipe, self.data = recipe, DetectionData(recipe)
        self.labels, self.fingerprints = self.data.labels, self.data.fingerprints
        initial = f" ({recipe.initial.epochs} of them initial training)" if recipe.initial.epochs else ""
        self.summary = (
            f"{len(self.labels) - 1} categories, {recipe.schedule.epochs} epochs{initial} of {self.data.per_epoch} "
            f"images (of {len(self.data.train)} with boxes)"
        )

    def build(self, console: Console) -> nn.Module:
        """The detector; its backbone may begin with the weights of a classifier, whatever the classes of that."""
        model = self.recipe.model
        own = {name: value for name, value in model.arguments.items() if name in DETECTOR_ARGUMENTS}
        rest = {name: value for name, value in model.arguments.items() if name not in own}
        classifier = create_model(model.architecture, model.attention, **rest)
        if model.warm_start:
            from das_explain.checkpoint.load import warm_start

            tell(console, f"backbone: {warm_start(classifier, model.warm_start)}")
        return detector_from(classifier, len(self.labels), **own)

    def module(self, network: nn.Module) -> Detector:
        """The training step."""
        if self.recipe.loop.channels_last:
            network.to(memory_format=torch.channels_last)
        return Detector(network.train(), self.recipe, self.data)

    def finish(self, network: nn.Module, out: Path, console: Console, command: str | None) -> None:
        """Tests the weights that are shipped (``detections.json``, in COCO's format), writes the model directory."""
        from das_explain.accuracy.detectors import LoadedDetector, detect
        from das_explain.checkpoint.load import save_model

        recipe, test = self.recipe, self.data.test
        log = log_rows(out, log_columns(self.measures, recipe.loop.validate))
        prepare_to_ship(network, recipe)
        network.to("cuda" if on_gpu(recipe) else "cpu")
        detector = LoadedDetector(recipe.name, recipe.name, network, self.labels, fingerprint="")
        found: list[dict[str, Any]] = []
        tested, unread = [], {}
        with console.status(f"testing: {len(test)} images"):
            for sample, message, results in detect([detector], test, test.samples, workers=workers_of(recipe)):
                if message:
                    unread[sample.name] = message
                else:
                    tested.append(sample)
                    found += results[0]
            ap = average_precision(test, tested, found)
        write_text_whole(out / DETECTIONS, json.dumps(found))
        training, card = detector_card(
            recipe, self.data, ap, unread, log, precision=resolve_precision(recipe), command=command
        )
        save_model(
            out / MODEL,
            network,
            architecture=recipe.model.architecture,
            attention=recipe.model.attention,
            arguments=recipe.model.arguments,
            labels=self.labels,
            num_classes=len(self.labels),
            task="detection",
            training=training,
            card=card,
            half=recipe.loop.half,
        )


class Detector(TrainingModule):
    """The sum of Faster R-CNN's four losses. An initial training of ``initial.epochs`` comes first, at a constant rate
    after the warm-up; with its weights the optimiser and the schedule start anew.
    """

    def losses(self, batch: list[View]) -> tuple[Tensor, dict[str, Tensor], int]:
        """The losses one by one are the measures. ``batch``: (uint8 (3, H, W), dict of boxes and labels) per image."""
        images = [image.to(torch.float32) / 255 for image, _ in batch]
        losses = self.network(images, [target for _, target in batch])
        return sum(losses.values()), {name: losses[name].detach() * len(batch) for name in MEASURES}, len(batch)

    def on_train_epoch_start(self) -> None:
        """Forgets the momentum of the initial training when that is over."""
        super().on_train_epoch_start()
        if self.current_epoch == self.recipe.initial.epochs:
            self.optimizers(use_pl_optimizer=False).state.clear()

    def configure_optimizers(self) -> dict:
        """As for every task, in two groups, since the initial training may leave all but the backbone as it is."""
        optimizer, initial = create_optimizer(self.network, self.recipe.optimizer), self.recipe.initial
        backbone = {id(parameter) for parameter in self.network.backbone.body.parameters()}
        group = optimizer.param_groups[0]
        parts = [[p for p in group["params"] if (id(p) in backbone) == inside] for inside in (True, False)]
        group["params"] = parts[0]
        optimizer.add_param_group({**group, "params": parts[1]})
        steps = -(-self.data.batches // self.recipe.loop.accumulate)

        def factor(step: int) -> float:
            return staged_factor(self.recipe.schedule, initial.epochs, step, steps)

        def rest_factor(step: int) -> float:
            waits = initial.train == "backbone" and step < initial.epochs * steps
            return 0.0 if waits else factor(step)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [factor, rest_factor])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def staged_factor(schedule: Schedule, initial_epochs: int, step: int, steps_per_epoch: int) -> float:
    """Learning rate of an optimiser step (from 0) as a fraction of the peak; milestones count from the second stage."""
    if step < initial_epochs * steps_per_epoch:
        return lr_factor(replace(schedule, name="constant", epochs=initial_epochs), step, steps_per_epoch)
    main = replace(schedule, epochs=schedule.epochs - initial_epochs)
    return lr_factor(main, step - initial_epochs * steps_per_epoch, steps_per_epoch)
