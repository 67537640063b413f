"""The size of images that a network is built for, and a network built for the size that its weights are of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from das_explain.checkpoint.config import MAX_SIDE


def built_for(network: nn.Module) -> tuple[int, int] | None:
    """The one (height, width) that a network is built for, where it tells: timm's patch embeddings, torchvision's vision
    transformers, transformers' configurations; ``None``: it takes any, or does not say."""
    for module in network.modules():
        embedding = getattr(module, "patch_embed", None)
        told = embedding.img_size if getattr(embedding, "strict_img_size", False) else None
        told = (
            told or getattr(module, "image_size", None) or getattr(getattr(module, "config", None), "image_size", None)
        )
        if size := _size(told):
            return size
    return None


def embedded_size(network: nn.Module) -> tuple[int, int] | None:
    """The (height, width) of the images that a patch embedding of timm's was made for, also where it takes others."""
    embeddings = (getattr(module, "patch_embed", None) for module in network.modules())
    sizes = (_size(getattr(embedding, "img_size", None)) for embedding in embeddings)
    return next(filter(None, sizes), None)


def made_for(network: nn.Module) -> tuple[int, int] | None:
    """The (height, width) that a network's positions are of, whether it takes other sizes or not, where it tells."""
    return built_for(network) or embedded_size(network)


def in_words(size: tuple[int, int]) -> str:
    """(height, width) as ``?size=`` takes it."""
    return f"{size[0]}x{size[1]}"


def size_arguments(architecture: str, size: tuple[int, int]) -> dict[str, Any]:
    """What a library is asked for so that it builds a network for images of (height, width); empty where it cannot be."""
    if architecture.startswith("timm:"):
        return {"img_size": list(size)}
    return {"image_size": size[0]} if size[0] == size[1] else {}


def size_like(network: nn.Module, state: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """A (height, width) of as many patches as a position table of trained weights has, where that of ``network`` has
    others; of several the one nearest to a square. ``None`` where the weights have none, or of a kind that is not known."""
    found = _patches(network)
    if found is None:
        return None
    (height, width), patches = found
    for key, ours in network.state_dict().items():
        theirs = state.get(key)
        if theirs is None or theirs.dim() != ours.dim():
            continue
        unlike = [(a, b) for a, b in zip(ours.shape, theirs.shape) if a != b]
        if len(unlike) != 1 or unlike[0][0] < patches:
            continue
        count = unlike[0][1] - (unlike[0][0] - patches)  # without class and register tokens
        rows = next((rows for rows in range(math.isqrt(max(count, 0)), 0, -1) if count % rows == 0), 0)
        if rows and max(rows * height, count // rows * width) <= MAX_SIDE:
            return rows * height, count // rows * width
    return None


def _patches(network: nn.Module) -> tuple[tuple[int, int], int] | None:
    """(height, width) of a patch, and how many there are in an image of the size that a network is made for."""
    size = made_for(network)
    for module in network.modules():
        patch = _size(getattr(getattr(module, "patch_embed", module), "patch_size", None))
        if size and patch:
            return patch, (size[0] // patch[0]) * (size[1] // patch[1])
    return None


def _size(told: Any) -> tuple[int, int] | None:
    """A side or two as (height, width); ``None`` of anything else."""
    sides = list(told) if isinstance(told, (tuple, list)) else [told, told]
    whole = [side for side in sides if type(side) is int and 0 < side <= MAX_SIDE]
    return (whole[0], whole[1]) if len(whole) == len(sides) == 2 else None
