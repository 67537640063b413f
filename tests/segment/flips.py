"""Small networks made equivariant to a flip: they see a photo's mirror image as the mirror image of what they see.

Convolutions and tables of positions become symmetric. The detector knows places along the axis by its grid alone: it
neither samples nor refines along it. SAM's decoder must know left from right to tell boxes apart: its places are coded
by waves in pairs, (w, -w), along the axis, so that a flip swaps the channels of each pair, and all that follows is made
to commute with that swap. A box says nothing of its other two ends then: there is one network for each axis.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

HEADS = r"mask_decoder\.(iou_prediction_head|output_hypernetworks_mlps\.\d|pred_obj_score_head)\.proj_in\.weight"
VECTORS = r"mask_decoder\.\w+_tokens?\.weight|prompt_encoder\.(point|no_mask|not_a_point)_embed.*|no_memory_embedding"
CODE = r"vision_encoder\.neck\.(conv2\.weight|convs\.\d\.(weight|bias))|mask_decoder\.upscale_conv1\.weight"


def flippable(folder: Path, axis: int) -> Path:
    """Makes a folder's network equivariant to the flip along x (0) or y (1)."""
    path = folder / "model.safetensors"
    state = {name: change(name, tensor.clone(), axis).contiguous() for name, tensor in load_file(path).items()}
    for name in [name for name in state if name.endswith("point_embed.3.weight")]:  # the corners of a box: alike
        state[name] = state[name.replace("3.weight", "2.weight")].clone()
    if (name := "prompt_encoder.point_embed.weight") in state:
        state[name][3] = state[name][2]
    save_file(state, path, metadata={"format": "pt"})
    return folder


def change(name: str, tensor: Tensor, axis: int) -> Tensor:
    """One tensor."""
    detector = name.startswith(("model.", "bbox_embed"))
    return _of_detector(name, tensor, axis) if detector else _of_sam(name, tensor, axis)


def _of_detector(name: str, tensor: Tensor, axis: int) -> Tensor:
    if name.endswith("patch_embeddings.projection.weight"):
        return symmetric(tensor, (2, 3)[1 - axis])
    if name.endswith("relative_position_bias_table"):
        side = round(len(tensor) ** 0.5)
        return symmetric(tensor.view(side, side, -1), 1 - axis).reshape(tensor.shape)
    if name.endswith("downsample.reduction.weight"):  # of the cells (y, x): (0, 0), (1, 0), (0, 1), (1, 1)
        return symmetric(tensor.view(len(tensor), 2, 2, -1), 1 + axis).reshape(tensor.shape)
    if "sampling_offsets" in name:
        tensor.view(-1, 2, *tensor.shape[1:])[:, axis] = 0
    elif re.search(r"bbox_embed(\.\d)?\.layers\.2\.", name):
        tensor[axis] = 0  # of cx, cy, w, h
    elif name.endswith("reference_points_head.layers.0.weight"):
        tensor.view(len(tensor), 4, -1)[:, 1 - axis] = 0  # of y, x, w, h
    elif name.endswith(("row_embeddings.weight", "column_embeddings.weight")):
        tensor.zero_()
    return tensor


def _of_sam(name: str, tensor: Tensor, axis: int) -> Tensor:
    if name.endswith("positional_embedding"):
        tensor[1 - axis] = 0
        tensor[axis, 1::2] = -tensor[axis, ::2]
    elif name.endswith(("pos_embed", "pos_embed_window")):
        tensor = symmetric(tensor, (1 if tensor.shape[1] == tensor.shape[2] else 2) + 1 - axis)
    elif name.endswith(("rel_pos_w", "rel_pos_h")[axis]):
        tensor = symmetric(tensor, 0)
    elif name.endswith("patch_embed.projection.weight"):
        if tensor.shape[-1] == 7:  # at a stride of 4 with a border of 3: only the last 4 stand in the cell itself
            tensor[:, :, :3], tensor[..., :3] = 0, 0
            tensor[:, :, 3:, 3:] = symmetric(tensor[:, :, 3:, 3:], 3 - axis)
        else:
            tensor = symmetric(tensor, 3 - axis)
    elif re.search(r"upscale_conv\d\.weight|neck\.conv2\.weight", name):
        tensor = symmetric(tensor, 3 - axis)
    if name.startswith("mask_decoder.transformer."):
        stronger = (
            3 if re.search(r"[qk]_proj\.weight", name) else 2 if re.search(r"(v|o|out)_proj\.weight", name) else 1
        )
        return stronger * commuting(tensor, *range(tensor.dim()))  # else what commutes hardly looks at the box
    if re.fullmatch(CODE, name):
        return commuting(tensor, 0)
    return commuting(tensor, tensor.dim() - 1) if re.fullmatch(f"{HEADS}|{VECTORS}", name) else tensor


def symmetric(tensor: Tensor, dim: int) -> Tensor:
    """The mean of a tensor and its mirror image."""
    return (tensor + tensor.flip(dim)) / 2


def commuting(tensor: Tensor, *dims: int) -> Tensor:
    """The mean of a tensor and the same with its channels 1, 0, 3, 2, ... along each of ``dims``."""
    turned = tensor
    for dim in dims:
        pairs = torch.arange(tensor.shape[dim]).view(-1, 2).flip(1).flatten()
        turned = turned.index_select(dim, pairs)
    return (tensor + turned) / 2
