"""Folders as Hugging Face transformers writes them: ``config.json`` with ``model_type``, weights, and
``preprocessor_config.json`` with what becomes of a photo. Code that a folder may bring is never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from das_explain.checkpoint.build import MAX_CLASSES
from das_explain.checkpoint.config import CONFIG, check_preprocess, read_json
from das_explain.checkpoint.layouts.weights import check_class_count, folder_weights, weights_file
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.quiet import quiet_transformers
from das_explain.checkpoint.sizes import built_for
from das_explain.checkpoint.transformers_networks import config_activation, config_labels
from das_explain.data.geometry import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from das_explain.errors import DasExplainError, first_line, missing_package
from das_explain.nn.bounded import no_larger_than, too_large
from das_explain.text import shown

PREPROCESSOR = "preprocessor_config.json"
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as they stand in ``resample``."""


class Classifier(nn.Module):
    """A classifier of transformers' that returns its logits and takes images as any other network does."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        return self.model(pixel_values=images).logits


def read(directory: Path, values: dict[str, Any]) -> Opened:
    """``values`` are those of ``config.json``. Errors as ``read_folder``'s."""
    try:
        from transformers import AutoConfig
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN
    except ImportError:
        raise missing_package("transformers", "segment", "a network of transformers'") from None
    path, kind = directory / CONFIG, values["model_type"]
    if not isinstance(kind, str) or kind not in KNOWN:
        raise DasExplainError(f"{path}: transformers has no image classifier of model_type {kind!r}")
    if isinstance(count := values.get("num_labels"), int) and count > MAX_CLASSES:
        raise DasExplainError(f"{path}: num_labels must lie in 1..{MAX_CLASSES}, not {shown(count)}")
    if number := too_large(values):
        raise DasExplainError(f"{path}: no network has a number as large as {number}")
    try:
        weights = folder_weights(directory)
        with quiet_transformers(), no_larger_than(weights[0].state):
            config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
            check_class_count(directory, weights, config.num_labels)
            model, told = _loaded(config, weights[0].state)
    except DasExplainError:
        raise
    except Exception as error:  # transformers raises whatever its networks do
        raise DasExplainError(f"{directory}: transformers cannot load it ({first_line(error)})") from error
    for what, phrase in (("missing_keys", "lacks"), ("unexpected_keys", "has the foreign"), ("mismatched_keys", "has")):
        if keys := sorted(map(str, told.get(what) or ())):
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise DasExplainError(f"{weights_file(directory)} does not fit {kind}: it {phrase} {keys[0]}{more}")
    preprocess, notes = _preprocess(directory, model)
    return Opened(
        network=Classifier(model),
        architecture=f"transformers:{kind}",
        num_classes=config.num_labels,
        labels=config_labels(config, str(path)),
        preprocess=preprocess,
        training={"source": f"a folder of transformers', {directory.name}"},
        activation=config_activation(config),
        notes=notes,
        preprocess_taken=None if (directory / PREPROCESSOR).is_file() else "as ImageNet's usually is",
    )


def _loaded(config: Any, state: dict[str, Tensor]) -> tuple[Any, dict[str, Any]]:
    """The classifier of a configuration with weights, which transformers knows by their older names, too; and what did
    not fit. No file is read: what is in one was read as tensors."""
    from transformers import AutoModelForImageClassification
    from transformers.models.auto.auto_factory import _get_model_class

    kind = _get_model_class(config, AutoModelForImageClassification._model_mapping)
    return kind.from_pretrained(None, config=config, state_dict=state, output_loading_info=True)


def _preprocess(directory: Path, model: nn.Module) -> tuple[Preprocess, list[str]]:
    """How photos are prepared, and what had to be assumed."""
    path = directory / PREPROCESSOR
    if not path.is_file():
        usual = Preprocess()
        return usual.resized(built_for(model) or usual.geometry.size), []
    values = read_json(path)
    if not isinstance(values, dict):
        raise DasExplainError(f"{path} describes no preprocessing")
    return processor_preprocess(values, path)


def processor_preprocess(values: Mapping[str, Any], path: Path | str) -> tuple[Preprocess, list[str]]:
    """What an image processor's configuration says, and what had to be assumed; ``path`` is for messages.

    Raises:
        DasExplainError: it is not as transformers writes it.
    """
    try:
        placed = _placing(values)
        factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1
        scale, shift = factor * 255, bool(values.get("rescale_offset", False))
        normal = values.get("do_normalize", True)
        mean = values.get("image_mean", IMAGENET_MEAN) if normal else (0.0,) * 3
        std = values.get("image_std", IMAGENET_STD) if normal else (1.0,) * 3
        # transformers: (x / 255 * scale - shift - mean) / std; here: (x / 255 - mean') / std'
        placed["mean"] = [(float(value) + shift) / scale for value in mean]
        placed["std"] = [float(value) / scale for value in std]
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DasExplainError(f"{path}: the preprocessing is not as transformers writes it ({error})") from None
    preprocess = check_preprocess(placed, path)
    if _squashed_and_cropped(values):
        return preprocess, [f"{path}: it squashes photos and crops them; here they are only squashed"]
    return preprocess, []


def _placing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Size, resize and fit, by the rules of transformers' image processors."""
    size, crop = values.get("size", 224), values.get("crop_size")
    filtered = {"interpolation": FILTERS.get(values.get("resample", 2), "bilinear")}
    edge = size.get("shortest_edge") if isinstance(size, dict) else None
    if edge is None and isinstance(size, int) and (values.get("crop_pct") or values.get("do_center_crop")):
        edge = size  # as older versions wrote it
    if edge is None:
        sides = [size["height"], size["width"]] if isinstance(size, dict) else [size, size]
        return {**filtered, "size": sides, "fit": "squash"}
    if values.get("crop_pct"):  # ConvNeXT's: large frames show the whole photo
        if edge >= 384:
            return {**filtered, "size": [edge, edge], "fit": "squash"}
        return {**filtered, "size": [edge, edge], "resize": int(edge / values["crop_pct"])}
    if crop is None or not values.get("do_center_crop", True):
        return {**filtered, "size": [edge, edge], "resize": edge}
    sides = [crop["height"], crop["width"]] if isinstance(crop, dict) else [crop, crop]
    return {**filtered, "size": sides, "resize": edge}


def _squashed_and_cropped(values: Mapping[str, Any]) -> bool:
    size, crop = values.get("size"), values.get("crop_size")
    return bool(isinstance(size, dict) and "height" in size and values.get("do_center_crop") and crop and crop != size)
