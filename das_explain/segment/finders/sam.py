"""Masks for boxes: SAM and SAM 2 by transformers. The photo is encoded once, its boxes are decoded one after another.

R is the single mask that the decoder gives for a box, as the authors advise for boxes (``multimask_output=False``), not
the best of its three guesses at whole, part and subpart: those tell how uncertain R is, and are kept beside it, and so is
what R would be with other boxes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from das_explain.segment.finders.detect import autocast, load_processor, load_strictly
from das_explain.segment.finders.weights import Weights

TYPES = {"sam": ("sam",), "sam2": ("sam2", "sam2_video")}  # SAM 2's folders on the hub call themselves by the latter


@dataclass(frozen=True)
class Segmented:
    """The object in each box of one photo.

    ``mask`` is bool (H, W), the union over the boxes used; ``iou`` SAM's own estimate for each box's mask;
    ``alternatives`` for each box the three masks of the ambiguity-aware decoder: their estimate and their IoU with the
    mask used. ``others``: what R might be instead, name -> bool (H, W): ``sam 1`` to ``sam 3``, the union of each of the
    three; ``first box``, where several boxes are used; ``all boxes``, where more were found than are used.
    """

    mask: np.ndarray
    iou: list[float]
    alternatives: list[list[dict[str, float]]]
    seconds: dict[str, float] = field(default_factory=dict)
    others: dict[str, np.ndarray] = field(default_factory=dict)


Coded = tuple[Any, Any]
"""One photo's code, as the encoder gives it, and what else its decoding wants: boxes in the network's frame, sizes."""


class Masker:
    """Finds the objects in boxes. The two kinds, of transformers and of the original package, bring the three steps."""

    device: torch.device
    precision: str

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image.Image], boxes: Sequence[np.ndarray], used: Sequence[int] | None = None
    ) -> list[Segmented]:
        """``images`` are RGB, ``boxes`` of each (N, 4) xyxy in its pixels, N at least 1; the first ``used`` make R.

        The photos go through the encoder together, all in frames of one size. Their boxes are decoded one at a time: a
        full-size mask of a large photo is large. The alternatives are compared at the decoder's own resolution.
        """
        start = time.perf_counter()
        with autocast(self.device, self.precision):
            codes = self.encode(images, boxes)
        if self.device.type == "cuda":  # which has only been told what to do by now
            torch.cuda.synchronize(self.device)
        seconds = (time.perf_counter() - start) / len(images)
        counts = list(map(len, boxes))
        return [self._decode(*each, seconds) for each in zip(codes, counts, used or counts, strict=True)]

    def _decode(self, coded: Coded, count: int, used: int, encode_seconds: float) -> Segmented:
        start = time.perf_counter()
        union: Any = None
        others: dict[str, np.ndarray] = {}
        iou, alternatives = [], []
        for i in range(used):
            with autocast(self.device, self.precision):
                logits, estimate = self.decode(coded, i, False)
                guesses, estimates = self.decode(coded, i, True)
            mask = self.enlarge(coded, logits.float())[0]
            if i == 0 and used > 1:
                others["first box"] = mask
            union = mask if union is None else union | mask
            for number in range(guesses.shape[1]):  # one after the other, for the memory
                guess = self.enlarge(coded, guesses[:, number : number + 1].float())[0]
                name = f"sam {number + 1}"
                others[name] = others[name] | guess if name in others else guess
            iou.append(float(estimate[0]))
            alternatives.append(
                [
                    {"iou": float(guess), "agreement": _iou(other > 0, logits[0, 0] > 0)}
                    for other, guess in zip(guesses[0], estimates)
                ]
            )
        if count > used:
            others["all boxes"] = union
            for i in range(used, count):
                with autocast(self.device, self.precision):
                    logits, _ = self.decode(coded, i, False)
                others["all boxes"] = others["all boxes"] | self.enlarge(coded, logits.float())[0]
        seconds = {"encode": encode_seconds, "decode": time.perf_counter() - start}
        return Segmented(union, iou, alternatives, seconds, others)

    def encode(self, images: Sequence[Image.Image], boxes: Sequence[np.ndarray]) -> list[Coded]:
        """The photos' codes, from one pass of the encoder."""
        raise NotImplementedError

    def decode(self, coded: Coded, i: int, multimask: bool) -> tuple[Tensor, Tensor]:
        """Logits (1, M, h, w) and estimates (M,) for the photo's box ``i``; M = 3 for ``multimask``, else 1."""
        raise NotImplementedError

    def enlarge(self, coded: Coded, logits: Tensor) -> np.ndarray:
        """Logits (1, M, h, w) in 32 bits -> bool masks (M, H, W) of the photo's size."""
        raise NotImplementedError


class HubSam(Masker):
    """SAM (``generation`` 1) or SAM 2 (2) as transformers has it, from a folder with its processor."""

    def __init__(self, weights: Weights, device: torch.device, *, generation: int = 1, precision: str = "fp32") -> None:
        import transformers

        name = "Sam" if generation == 1 else "Sam2"  # by name: the folders' own type may be that of the video model
        self.device, self.precision, self.generation = device, precision, generation
        types = TYPES["sam" if generation == 1 else "sam2"]
        self.network = load_strictly(getattr(transformers, f"{name}Model"), weights, types).to(device)
        self.processor = load_processor(getattr(transformers, f"{name}Processor"), weights)

    def encode(self, images: Sequence[Image.Image], boxes: Sequence[np.ndarray]) -> list[Coded]:
        """See ``Masker``."""
        frames = [
            self.processor(images=image, input_boxes=[each.tolist()], return_tensors="pt")
            for image, each in zip(images, boxes)
        ]
        pixels = torch.cat([frame["pixel_values"] for frame in frames]).to(self.device)
        codes = self.network.get_image_embeddings(pixels)
        if self.generation == 1:  # SAM 2's are of several resolutions
            codes = [codes]
        each = [[level[i : i + 1] for level in codes] for i in range(len(frames))]
        return list(zip(each, frames))

    def decode(self, coded: Coded, i: int, multimask: bool) -> tuple[Tensor, Tensor]:
        """See ``Masker``."""
        code, frame = coded
        out = self.network(
            image_embeddings=code[0] if self.generation == 1 else code,
            input_boxes=frame["input_boxes"][:, i : i + 1].to(self.device, torch.float32),
            multimask_output=multimask,
        )
        return out.pred_masks[0], out.iou_scores[0, 0]

    def enlarge(self, coded: Coded, logits: Tensor) -> np.ndarray:
        """See ``Masker``."""
        frame = coded[1]
        sizes = [frame["original_sizes"].tolist()]
        if self.generation == 1:  # SAM 2 stretches the photo to a square, SAM pads it
            sizes.append(frame["reshaped_input_sizes"].tolist())
        return self.processor.post_process_masks([logits.cpu()], *sizes)[0][0].numpy()


def _iou(first: Tensor, second: Tensor) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0
