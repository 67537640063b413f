"""Masks for boxes: SAM and SAM 2 by transformers. The photo is encoded once, its boxes are decoded one after another.

R is the single mask that the decoder gives for a box, as the authors advise for boxes (``multimask_output=False``), not
the best of its three guesses at whole, part and subpart: those tell how uncertain R is, and are compared with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from das_explain.segment.detect import autocast, load_processor, load_strictly
from das_explain.segment.weights import Weights

TYPES = {"sam": ("sam",), "sam2": ("sam2", "sam2_video")}  # SAM 2's folders on the hub call themselves by the latter


@dataclass(frozen=True)
class Segmented:
    """The object in each box of one photo.

    ``mask`` is bool (H, W), the union over the boxes; ``iou`` SAM's own estimate for each box's mask; ``alternatives``
    for each box the three masks of the ambiguity-aware decoder: their estimate and their IoU with the mask used.
    """

    mask: np.ndarray
    iou: list[float]
    alternatives: list[list[dict[str, float]]]
    seconds: dict[str, float] = field(default_factory=dict)


class Masker(Protocol):
    """Finds the object in a box."""

    def segment(self, image: Image.Image, boxes: np.ndarray) -> Segmented:
        """``image`` is RGB, ``boxes`` (N, 4) xyxy in its pixels, N at least 1."""
        ...


class HubSam:
    """SAM (``generation`` 1) or SAM 2 (2) as transformers has it, from a folder with its processor."""

    def __init__(self, weights: Weights, device: torch.device, *, generation: int = 1, precision: str = "fp32") -> None:
        import transformers

        name = "Sam" if generation == 1 else "Sam2"  # by name: the folders' own type may be that of the video model
        self.device, self.precision, self.generation = device, precision, generation
        types = TYPES["sam" if generation == 1 else "sam2"]
        self.network = load_strictly(getattr(transformers, f"{name}Model"), weights, types).to(device)
        self.processor = load_processor(getattr(transformers, f"{name}Processor"), weights)

    @torch.inference_mode()
    def segment(self, image: Image.Image, boxes: np.ndarray) -> Segmented:
        """See ``Masker``."""
        inputs = self.processor(images=image, input_boxes=[boxes.tolist()], return_tensors="pt")
        sizes = [inputs["original_sizes"].tolist()]
        if self.generation == 1:  # SAM 2 stretches the photo to a square, SAM pads it
            sizes.append(inputs["reshaped_input_sizes"].tolist())
        with autocast(self.device, self.precision):
            start = time.perf_counter()
            code = self.network.get_image_embeddings(inputs["pixel_values"].to(self.device))
            encoded = time.perf_counter()

        def decode(i: int, multimask: bool) -> tuple[Tensor, Tensor]:
            with autocast(self.device, self.precision):
                out = self.network(
                    image_embeddings=code,
                    input_boxes=inputs["input_boxes"][:, i : i + 1].to(self.device, torch.float32),
                    multimask_output=multimask,
                )
            return out.pred_masks[0].float().cpu(), out.iou_scores[0, 0].float().cpu()

        def enlarge(masks: Tensor) -> np.ndarray:
            return self.processor.post_process_masks([masks], *sizes)[0][0].numpy()

        return segmented(len(boxes), decode, enlarge, encoded - start)


def segmented(
    count: int,
    decode: Callable[[int, bool], tuple[Tensor, Tensor]],
    enlarge: Callable[[Tensor], np.ndarray],
    encode_seconds: float,
) -> Segmented:
    """Decodes each box, one at a time (a full-size mask of a large photo is large), and joins the masks.

    ``decode(i, multimask)`` gives logits (1, M, h, w) and estimates (M,) of box i, M = 1 or 3; ``enlarge`` makes bool
    masks (M, H, W) of the logits. The alternatives are compared at the decoder's own resolution.
    """
    start = time.perf_counter()
    union: Any = None
    iou, alternatives = [], []
    for i in range(count):
        logits, estimate = decode(i, False)
        mask = enlarge(logits)[0]
        union = mask if union is None else union | mask
        iou.append(float(estimate[0]))
        three, estimates = decode(i, True)
        alternatives.append(
            [
                {"iou": float(guess), "agreement": _iou(other > 0, logits[0, 0] > 0)}
                for other, guess in zip(three[0], estimates)
            ]
        )
    seconds = {"encode": encode_seconds, "decode": time.perf_counter() - start}
    return Segmented(union, iou, alternatives, seconds)


def _iou(first: Tensor, second: Tensor) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0
