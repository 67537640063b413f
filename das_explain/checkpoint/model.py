"""A network that is ready to be explained, with all that is known of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from das_explain.cam.explanation import Explanation, Photo, explain_images
from das_explain.cam.fast import FastCopies
from das_explain.checkpoint.blocks import find_blocks
from das_explain.checkpoint.matching import match_labels
from das_explain.data.geometry import Preprocess
from das_explain.errors import UsageError
from das_explain.nn.stages import Layout

SHOWN = 3  # class names in a repr


@dataclass(repr=False)
class LoadedModel:
    """A network that is ready to be explained; ``load_model`` makes it.

    ``network`` is in eval mode on its device (one that was handed over in memory is left in its own mode, and in eval
    mode while it is explained); ``blocks`` maps names (``layer1`` ...) to modules in forward order (a gated block
    includes its gate); ``labels`` holds the class names in logit order, or ``None`` when the checkpoint knows none;
    ``fingerprint`` is a SHA-256 over parameter names, shapes and values, and over what the gates are replaced with, if
    they are. ``blocks_chosen``: the blocks were asked for, and are not just those that the architecture has. ``layouts``:
    how the outputs of blocks are read as maps, where that was decided; ``alone``: photos are shown to it one at a time.

    >>> from das_explain import load_model
    >>> model = load_model("collage-resnet18")
    >>> model.preprocess(Image.new("RGB", (320, 240))).shape
    torch.Size([3, 160, 160])
    """

    name: str
    spec: str
    network: torch.nn.Module
    blocks: dict[str, torch.nn.Module]
    labels: list[str] | None
    preprocess: Preprocess
    fingerprint: str
    config: dict[str, Any] = field(default_factory=dict)
    blocks_chosen: bool = False
    layouts: dict[str, Layout] = field(default_factory=dict)
    alone: bool = False
    _fast: FastCopies | None = field(default=None, init=False, compare=False)

    @property
    def assumptions(self) -> list[str]:
        """Sentences on what was assumed where the checkpoint does not say it, and may change a number."""
        notes: list[str] = self.config.get("notes", [])
        return notes

    @property
    def activation(self) -> str:
        """What makes confidences of its logits: ``softmax``, ``sigmoid`` or ``none`` (they are probabilities already)."""
        return str(self.config.get("activation") or "softmax")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters(), torch.empty(0)).device

    @property
    def usual_blocks(self) -> dict[str, torch.nn.Module]:
        """What is explained where nobody says which: the blocks that were chosen, else the last two."""
        return self.blocks if self.blocks_chosen else dict(list(self.blocks.items())[-2:])

    def explain(
        self,
        images: Photo | Sequence[Photo],
        target: int | str | Sequence[int | str | None] | None = None,
        blocks: str | Sequence[str] | None = None,
    ) -> Explanation:
        """Grad-CAM maps of one or more images, by the same quick copy of the network that the command line runs.

        On a CPU that copy has its batch norms folded into its convolutions (``cam.fast``): up to rounding the same maps,
        in about two thirds of the time. It is made at the first call, and again when the network's weights have changed.

        Args:
            images: a Pillow image, a path, an array uint8 (H, W), (H, W, 3) or (H, W, 4), or a list of these. They are
                prepared as the model wants them (``preprocess``).
            target: the class to explain, by its name or its number; ``None``: of each image the one predicted. A list
                has one for each image.
            blocks: dotted names of modules; ``None``: those that ``load_model`` was asked for, else the last two of
                ``blocks``.

        Returns:
            Maps, logits and frames of all images, on the CPU; a notebook shows it.

        Raises:
            UsageError: no such class or block, or a list of targets of another length than the images.
            DasExplainError: an image cannot be read, or a block gives no map.

        >>> from das_explain import load_model
        >>> model = load_model("collage-das-resnet18", device="cpu")
        >>> explanation = model.explain(np.zeros((200, 300, 3), dtype=np.uint8), target="cat", blocks="layer4")
        >>> {block: cam.map.shape for block, cam in explanation.cams.items()}
        {'layer4': torch.Size([1, 160, 160])}
        """
        modules = self._modules(blocks)
        if self._fast is None or self._fast.network is not self.network:
            self._fast = FastCopies(self.network, self.preprocess.geometry.size)
        return explain_images(
            self._fast.of(modules),
            _as_list(images),
            self.preprocess,
            lambda count: self._targets(target, count),
            labels=self.labels,
            model=self.name,
            device=self.device,
            layouts=self.layouts,
            alone=self.alone,
            activation=self.activation,
        )

    def _modules(self, blocks: str | Sequence[str] | None) -> dict[str, torch.nn.Module]:
        if blocks is None:
            return self.usual_blocks
        wanted = [blocks] if isinstance(blocks, str) else list(blocks)
        if not wanted:
            raise UsageError("no block to explain: name at least one, or leave blocks out")
        architecture = self.config.get("architecture", self.name)
        found = find_blocks(self.network, architecture, self.preprocess.geometry.size, wanted)
        return {name: found[name] for name in wanted}

    def _targets(self, target: int | str | Sequence[int | str | None] | None, count: int) -> list[int]:
        """One logit for each image; -1 stands for the highest."""
        if isinstance(target, (torch.Tensor, np.ndarray)):
            target = target.tolist()
        each = list(target) if isinstance(target, (list, tuple)) else [target] * count
        if len(each) != count:
            raise UsageError(f"target has {len(each)} classes for {count} images; give one for each, or one for all")
        names = list(dict.fromkeys(value for value in each if isinstance(value, str)))
        logit = {name: self._logit(name) for name in names}
        numbers: list[Any] = [
            -1 if value is None else logit[value] if isinstance(value, str) else value for value in each
        ]
        if bad := [value for value in numbers if isinstance(value, bool) or not isinstance(value, (int, np.integer))]:
            raise UsageError(f"target must be a class name, its number, or None, not {bad[0]!r}")
        return [int(number) for number in numbers]

    def _logit(self, name: str) -> int:
        return match_labels([name], self)[name]

    def __repr__(self) -> str:
        height, width = self.preprocess.geometry.size
        attention = self.config.get("attention", "none")
        architecture = str(self.config.get("architecture", type(self.network).__name__))
        rows = {
            "spec": self.spec,
            "architecture": architecture + ("" if attention == "none" else f" with {attention} attention"),
            "blocks": _some(list(self.blocks)),
            "classes": self._classes(),
            "input": f"{width} x {height}",
            "device": str(self.device),
        }
        lines = [f"  {key:<13}{value if len(value) <= 100 else value[:97] + '...'}" for key, value in rows.items()]
        return "\n".join([f"LoadedModel {self.name!r}", *lines])

    def _classes(self) -> str:
        count = self.config.get("num_classes") or len(self.labels or ())
        return f"{count}: {_some(self.labels)}" if self.labels else f"{count}, without names"


def _as_list(images: Photo | Sequence[Photo]) -> list[Photo]:
    if isinstance(images, (str, os.PathLike, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [images]
    if isinstance(images, torch.Tensor):
        raise UsageError("images must be photos, not a tensor; das_explain.grad_cam takes tensors that are prepared")
    return list(images)


def _some(names: Sequence[str]) -> str:
    if len(names) <= 2 * SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} ... {', '.join(names[-SHOWN:])}"
