"""The papers' own packages: groundingdino-py (extra ``groundingdino``) and segment-anything, from checkpoint files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from das_explain.checkpoint.differences import describe, differences
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.wrappers import Candidate, best_reading
from das_explain.errors import DasExplainError, first_line
from das_explain.segment.finders.build import State, build_detector, build_sam, hush
from das_explain.segment.finders.detect import IDLE, SIDE, Detector, input_size
from das_explain.segment.finders.sam import Coded, Masker
from das_explain.segment.finders.weights import Weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRAINING = ("label_enc.weight",)  # in the published detectors' files, for their training only


class OriginalDetector(Detector):
    """Grounding DINO of groundingdino-py, from its checkpoint and a folder with BERT's tokenizer."""

    def __init__(
        self,
        weights: Weights,
        tokenizer: Weights,
        device: torch.device,
        *,
        side: int = SIDE,
        precision: str = "fp32",
    ) -> None:
        self.device, self.side, self.precision = device, side, precision
        reading = _reading(weights, "feat_map.weight", "a Grounding DINO checkpoint")
        try:
            with hush():
                network = build_detector(reading.state, _tokenizer(tokenizer))
        except (KeyError, IndexError, ValueError) as error:
            raise DasExplainError(f"{weights.spec} is no Grounding DINO checkpoint ({first_line(error)})") from None
        self.network = _load(network, reading.state, weights, "Grounding DINO").to(device)
        self.queries = self.network.num_queries

    def frame(self, image: Image.Image) -> Tensor:
        """See ``Detector``. Resized as the package's ``load_image`` does."""
        from groundingdino.datasets import transforms

        size = input_size(self.side)
        steps = [
            transforms.RandomResize([size["shortest_edge"]], max_size=size["longest_edge"]),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
        return transforms.Compose(steps)(image, None)[0]

    def look(self, pixels: Tensor, mask: Tensor, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """See ``Detector``."""
        from groundingdino.util.misc import NestedTensor

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what torch is about to remove
            out = self.network(NestedTensor(pixels, mask == 0), captions=prompts)
        return out["pred_logits"], out["pred_boxes"]

    def pieces(self, prompt: str) -> list[int]:
        """See ``Detector``."""
        return self.network.tokenizer(prompt)["input_ids"]

    def words(self, pieces: list[int]) -> str:
        """See ``Detector``."""
        return self.network.tokenizer.decode(pieces)


class OriginalSam(Masker):
    """SAM of segment-anything, from its checkpoint."""

    def __init__(self, weights: Weights, device: torch.device, *, precision: str = "fp32") -> None:
        from segment_anything import SamPredictor

        self.device, self.precision = device, precision
        reading = _reading(weights, "image_encoder.pos_embed", "a SAM checkpoint")
        try:
            network = build_sam(reading.state)
        except (KeyError, IndexError, ValueError) as error:
            raise DasExplainError(f"{weights.spec} is no SAM checkpoint ({first_line(error)})") from None
        self.predictor = SamPredictor(_load(network, reading.state, weights, "SAM").to(device))

    def encode(self, images: Sequence[Image.Image], boxes: Sequence[np.ndarray]) -> list[Coded]:
        """See ``Masker``."""
        predictor = self.predictor
        frames = [predictor.transform.apply_image(np.array(image)) for image in images]
        pixels = [torch.as_tensor(frame, device=self.device).permute(2, 0, 1) for frame in frames]
        codes = predictor.model.image_encoder(torch.stack([predictor.model.preprocess(each) for each in pixels]))
        coded = []
        for i, (image, each) in enumerate(zip(images, boxes)):
            size = (image.height, image.width)
            scaled = torch.as_tensor(predictor.transform.apply_boxes(each, size), dtype=torch.float32)
            coded.append((codes[i : i + 1], (scaled.to(self.device), pixels[i].shape[1:], size)))
        return coded

    def decode(self, coded: Coded, i: int, multimask: bool) -> tuple[Tensor, Tensor]:
        """See ``Masker``."""
        code, (boxes, _, _) = coded
        model = self.predictor.model
        words, dense = model.prompt_encoder(None, boxes[i : i + 1], None)
        logits, estimates = model.mask_decoder(code, model.prompt_encoder.get_dense_pe(), words, dense, multimask)
        return logits, estimates[0]

    def enlarge(self, coded: Coded, logits: Tensor) -> np.ndarray:
        """See ``Masker``."""
        _, frame, size = coded[1]
        masks = self.predictor.model.postprocess_masks(logits, frame, size)
        return (masks[0] > self.predictor.model.mask_threshold).cpu().numpy()


def _tokenizer(folder: Weights) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder.path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers have no common error
        raise DasExplainError(f"{folder.spec} holds no tokenizer that can be read ({first_line(error)})") from None


def _reading(weights: Weights, key: str, wanted: str) -> Candidate:
    reading = best_reading(read_weights(Path(weights.path)), {key: None})
    if key not in reading.state:
        raise DasExplainError(f"{weights.spec} is not {wanted}: it has no {key}")
    return reading


def _load(network: nn.Module, state: State, weights: Weights, wanted: str) -> nn.Module:
    """All weights, none left over."""
    expected = {key: tensor for key, tensor in network.state_dict().items() if not IDLE.search(key)}
    state = {key: tensor for key, tensor in state.items() if key not in TRAINING and not IDLE.search(key)}
    if found := differences(expected, state):
        raise DasExplainError(f"{weights.spec} does not fit {wanted}: {describe(found, expected, state)}")
    network.load_state_dict(state, strict=False)
    return network.float().eval()
