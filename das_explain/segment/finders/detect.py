"""Boxes for a phrase: Grounding DINO by transformers, and the rules by which some of them are used."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from das_explain.checkpoint.quiet import quiet_transformers
from das_explain.errors import DasExplainError, first_line
from das_explain.segment.finders.weights import Weights

SIDE, LONGEST = 800, 1333  # of the authors' input: the shorter side, and what the longer may have at most
SLIMMEST = 40  # of length to width, beyond which a photo is widened
IDLE = re.compile(r"(relative_position_index|position_ids|\.swin\.layernorm\.(weight|bias))$")
"""Tables that are computed, and a norm that is not applied: stored beside the weights by some versions only."""
TWIN = ("prompt_encoder.shared_embedding.positional_embedding", "shared_image_embedding.positional_embedding")
"""One matrix in SAM and SAM 2, two in transformers, where some versions store only the second."""


@dataclass(frozen=True)
class Detections:
    """What a detector saw in one photo, best first.

    ``boxes`` (N, 4) float xyxy in pixels, within the photo; ``scores`` (N,) in 0..1; ``tokens`` (N, T) the score of
    each word piece of the caption, ``pieces`` the T word pieces' ids.
    """

    boxes: np.ndarray
    scores: np.ndarray
    tokens: np.ndarray
    pieces: tuple[int, ...]

    def above(self, threshold: float) -> Detections:
        """Those that score more than ``threshold``."""
        return self.first(int((self.scores > threshold).sum()))

    def first(self, count: int) -> Detections:
        """The ``count`` best."""
        return Detections(self.boxes[:count], self.scores[:count], self.tokens[:count], self.pieces)


class Detector:
    """Finds boxes for phrases. The two kinds, of transformers and of the original package, say how they look."""

    device: torch.device
    precision: str
    queries: int
    """How many boxes the network gives, and so the cells that it needs to look at."""

    @torch.inference_mode()
    def detect(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Detections]:
        """All boxes of each photo, however low they score; images are RGB, prompts end with a full stop.

        Photos go through the network together where their inputs have the same size and their prompts the same length,
        so that nothing is padded and a photo's boxes are those that it gets alone: the backbone looks at padding, and
        groundingdino mixes up the masks of captions of unequal length.
        """
        frames = [self.frame(searchable(image)) for image in images]
        pieces = [self.pieces(prompt) for prompt in prompts]
        alike: dict[Any, list[int]] = {}
        for i, (frame, ids) in enumerate(zip(frames, pieces)):
            alike.setdefault((frame.shape, len(ids)), []).append(i)
        found: dict[int, Detections] = {}
        for group in alike.values():
            pixels, mask = pad(torch.stack([frames[i] for i in group]), self.queries)
            with autocast(self.device, self.precision):
                logits, boxes = self.look(pixels.to(self.device), mask.to(self.device), [prompts[i] for i in group])
            for i, scores, places in zip(group, logits, boxes):
                found[i] = detections(scores, places, pieces[i], images[i].size)
        return [found[i] for i in range(len(frames))]

    def frame(self, image: Image.Image) -> Tensor:
        """The network's input for one photo: resized, normalised, (3, H, W)."""
        raise NotImplementedError

    def look(self, pixels: Tensor, mask: Tensor, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """pixels (B, 3, H, W), mask int64 (B, H, W), 1 on the photo -> logits (B, Q, T) and boxes (B, Q, 4)."""
        raise NotImplementedError

    def pieces(self, prompt: str) -> list[int]:
        """Text -> word pieces' ids, with those that mark its ends."""
        raise NotImplementedError

    def words(self, pieces: list[int]) -> str:
        """Word pieces' ids -> text."""
        raise NotImplementedError


class HubDetector(Detector):
    """Grounding DINO as transformers has it, from a folder with its processor."""

    def __init__(self, weights: Weights, device: torch.device, *, side: int = SIDE, precision: str = "fp32") -> None:
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

        self.device, self.side, self.precision = device, side, precision
        self.network = load_strictly(GroundingDinoForObjectDetection, weights, ("grounding-dino",)).to(device)
        self.processor = load_processor(GroundingDinoProcessor, weights)
        self.queries = self.network.config.num_queries

    def frame(self, image: Image.Image) -> Tensor:
        """See ``Detector``."""
        return self.processor.image_processor(image, size=input_size(self.side), return_tensors="pt")["pixel_values"][0]

    def look(self, pixels: Tensor, mask: Tensor, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """See ``Detector``."""
        words = self.processor.tokenizer(prompts, return_tensors="pt", return_token_type_ids=True).to(self.device)
        out = self.network(pixel_values=pixels, pixel_mask=mask, **words)
        return out.logits, out.pred_boxes

    def pieces(self, prompt: str) -> list[int]:
        """See ``Detector``."""
        return self.processor.tokenizer(prompt)["input_ids"]

    def words(self, pieces: list[int]) -> str:
        """See ``Detector``."""
        return self.processor.tokenizer.decode(pieces)


def input_size(side: int) -> dict[str, int]:
    """The authors' resize rule, scaled to a shorter side of ``side``: as transformers' image processors take it."""
    return {"shortest_edge": side, "longest_edge": round(side * LONGEST / SIDE)}


def searchable(image: Image.Image) -> Image.Image:
    """Widened if it is tiny or over ``SLIMMEST`` times as long as wide and would shrink to nothing: boxes are
    fractions of it."""
    width, height = image.size
    least = max(4, math.ceil(max(width, height) / SLIMMEST))  # 1 or 3 might pass for channels
    return image if min(width, height) >= least else image.resize((max(width, least), max(height, least)))


def pad(pixels: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) -> the same with zeros at the right or below, and its mask (B, H', W') int64, 1 on the photo.

    The detector picks its ``queries`` from the cells of its feature maps (strides 8 to 64) and fails if they are fewer,
    as in a photo of 3000 x 50 pixels.
    """
    height, width = tall, wide = pixels.shape[-2:]
    while sum(math.ceil(tall / stride) * math.ceil(wide / stride) for stride in (8, 16, 32, 64)) < queries:
        tall, wide = (tall + 8, wide) if tall <= wide else (tall, wide + 8)
    mask = torch.zeros((len(pixels), tall, wide), dtype=torch.int64)
    mask[:, :height, :width] = 1
    return nn.functional.pad(pixels, (0, wide - width, 0, tall - height)), mask


def detections(logits: Tensor, boxes: Tensor, pieces: list[int], size: tuple[int, int]) -> Detections:
    """A network's output for one photo, in the photo's pixels.

    Args:
        logits: (Q, T) of every query for every place of the caption; -inf where the caption has ended.
        boxes: (Q, 4) centre x, centre y, width, height, as fractions of the photo.
        pieces: ids of the caption's word pieces.
        size: (width, height) of the photo.
    """
    tokens = logits.float().sigmoid().cpu().numpy()
    centre, extent = np.split(boxes.float().cpu().numpy().astype(np.float64), 2, axis=1)
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1) * np.tile(size, 2)
    corners = corners.clip(0, np.tile(size, 2))
    scores = tokens.max(axis=1)
    sound = np.isfinite(scores) & np.isfinite(corners).all(1) & (corners[:, 2:] > corners[:, :2]).all(1)
    order = [i for i in np.argsort(-scores, kind="stable") if sound[i]]
    return Detections(corners[order], scores[order], tokens[order][:, : len(pieces)], tuple(pieces))


def find_words(detected: Detections, threshold: float, detector: Detector) -> list[str]:
    """The words of the caption that each box stands for: its word pieces above ``threshold`` between the first and the
    last, which only mark the ends. As in both packages."""
    labels = []
    for scores in detected.tokens:
        inner = range(1, len(detected.pieces) - 1)
        words = detector.words([detected.pieces[i] for i in inner if scores[i] > threshold])
        labels.append(words.replace(".", "").strip())
    return labels


def choose(boxes: np.ndarray, choice: str, minimum_area: float, size: tuple[int, int]) -> list[int]:
    """Indices of the boxes (N, 4), best first, that are used: the best or all, of those that cover at least
    ``minimum_area`` of the photo of ``size`` (width, height)."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (size[0] * size[1])
    large = [int(i) for i in np.flatnonzero(areas >= minimum_area)]
    return large[:1] if choice == "best" else large


@contextmanager
def autocast(device: torch.device, precision: str):
    """bf16 where asked for. The weights stay in 32 bits: in several versions the detector fails on others."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def load_strictly(kind: Any, weights: Weights, types: tuple[str, ...]) -> Any:
    """A network of transformers in 32 bits, in eval mode, from a folder. No code of the folder is run.

    Raises ``DasExplainError`` if the folder holds another kind of network or a weight is missing, foreign or misshapen.
    """
    found = weights.config().get("model_type")
    if found not in types:
        raise DasExplainError(f"{weights.spec} holds a network of type {found!r}, where {' or '.join(types)} is needed")
    safe = any(weights.path.glob("model*.safetensors"))
    try:
        with quiet_transformers():
            network, told = kind.from_pretrained(
                str(weights.path),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=safe,
                weights_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers, safetensors and torch have no common error
        raise DasExplainError(f"{weights.spec} does not fit {kind.__name__}: {first_line(error)}") from None
    problems = {name: sorted(map(str, told.get(key) or ())) for key, name in _LOADING.items()}
    problems = {name: [k for k in keys if not IDLE.search(k)] for name, keys in problems.items()}
    if problems["missing weights"] == [TWIN[0]]:
        state = network.state_dict()
        state[TWIN[0]].copy_(state[TWIN[1]])
        problems["missing weights"] = []
    if any(problems.values()):
        words = "; ".join(
            f"{len(keys)} {name} ({', '.join(keys[:3])}{' ...' * (len(keys) > 3)})"
            for name, keys in problems.items()
            if keys
        )
        raise DasExplainError(f"{weights.spec} does not fit {kind.__name__}: {words}")
    return network.float().eval()


def load_processor(kind: Any, weights: Weights) -> Any:
    """A processor of transformers from a folder. Raises ``DasExplainError``."""
    try:
        with quiet_transformers():
            return kind.from_pretrained(str(weights.path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as above
        raise DasExplainError(
            f"{weights.spec} holds no {kind.__name__} that can be read: {first_line(error)}"
        ) from None


_LOADING = {
    "missing_keys": "missing weights",
    "unexpected_keys": "foreign weights",
    "mismatched_keys": "weights of another shape",
    "error_msgs": "errors",
}
