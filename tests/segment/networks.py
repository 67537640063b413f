"""Small untrained networks of the true classes, saved to folders with their processors as the hub has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from das_explain.types import Sample

WORDS = ["cat", "dog", "golden", "retriever", "crane", "bird", "red", "a", "photo", "of"]
SIDE, LONGEST = 96, 160  # of the small detector's input; 96 * 1333 / 800 = 160
QUERIES = 20


def sample(label: str = "golden_retriever, dog") -> Sample:
    """A sample of a label; its photo is handed over beside it."""
    return Sample("x.jpg", 0, label)


def save_tokenizer(folder: Path) -> Path:
    """A BERT tokenizer of 30 words, its special ones where Grounding DINO expects them."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [f"[unused{i}]" for i in range(1100)]
    vocabulary[0], vocabulary[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary[1012], vocabulary[1029] = ".", "?"
    for i, word in enumerate(WORDS):
        vocabulary[1040 + i] = word
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512})
    )
    return folder


def save_detector(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Grounding DINO with 2 layers. ``options`` are of its configuration."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, GroundingDinoImageProcessor

    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "embed_dim": 12,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 3],
            "window_size": 4,
            "image_size": 64,
            "out_features": ["stage2", "stage3", "stage4"],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": 1100,
            "hidden_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "intermediate_size": 64,
            "max_position_embeddings": 512,
        },
        d_model=256,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=QUERIES,
        **options,
    )
    torch.manual_seed(seed)
    network = GroundingDinoForObjectDetection(config).eval()
    with torch.no_grad():  # untrained boxes lie on a grid, and untrained scores are all 0 or 1
        for name, weight in network.named_parameters():
            if "bbox_embed.0.layers.2" in name or "encoder_output_bbox_embed.layers.2" in name:
                weight.normal_(0, 0.1)
            if name.endswith("text_enhancer_layer.layer_norm_after.weight"):
                weight.fill_(0.12)
            if name.endswith(("vision_param", "text_param")):
                weight.fill_(0.5)
    network.save_pretrained(folder)
    GroundingDinoImageProcessor(size={"shortest_edge": SIDE, "longest_edge": LONGEST}).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_sam(folder: Path, seed: int = 0) -> Path:
    """SAM with 2 layers, one of them in windows, for inputs of 128 pixels."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 128,
        "patch_size": 16,
        "output_channels": 32,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_ratio": 2.0,
        "initializer_range": 0.02,
        "mlp_dim": 64,
    }
    prompt = {"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 8, "iou_head_hidden_dim": 32}
    torch.manual_seed(seed)
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    network = SamModel(config).eval()
    places = network.shared_image_embedding.positional_embedding.data.div_(16)  # N(0, 1), as the authors draw it
    network.prompt_encoder.shared_embedding.positional_embedding.data.copy_(places)  # one matrix in published weights
    _enliven(network)
    network.save_pretrained(folder)
    reader = SamImageProcessor(size={"longest_edge": 128}, pad_size={"height": 128, "width": 128})
    SamProcessor(reader).save_pretrained(folder)
    return folder


def save_sam2(folder: Path, seed: int = 0) -> Path:
    """SAM 2 with five blocks, for inputs of 128 pixels."""
    transformers = pytest.importorskip("transformers", "4.56")
    from transformers import Sam2Config, Sam2Model, Sam2Processor

    sizes = [[32, 32], [16, 16], [8, 8]]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "num_attention_heads": 1,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 8, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": sizes,
        "fpn_hidden_size": 32,
    }
    prompt = {"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 8, "iou_head_hidden_dim": 32}
    torch.manual_seed(seed)
    config = Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    network = Sam2Model(config).eval()
    _enliven(network)
    state = network.state_dict()  # one matrix in the published weights
    positions = "positional_embedding"
    state[f"prompt_encoder.shared_embedding.{positions}"].copy_(state[f"shared_image_embedding.{positions}"])
    network.save_pretrained(folder)
    reader = getattr(transformers, "Sam2ImageProcessor", None) or transformers.Sam2ImageProcessorFast  # 5, or 4
    Sam2Processor(reader(size={"height": 128, "width": 128}), target_size=128).save_pretrained(folder)
    return folder


def _enliven(network: torch.nn.Module) -> None:
    """Untrained SAMs give one flat mask whatever the box: larger weights in the decoder make its logits change sign."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith("mask_decoder") and weight.dim() > 1:
                weight.mul_(5)
            elif name.startswith("vision_encoder") and weight.dim() > 1:
                weight.mul_(3)


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB photo without symmetry of any kind: a slope of a colour per corner, shapes and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pixels = np.stack([220 * x * x, 200 * y + 30 * x, 180 * (1 - x) * y], axis=2)
    pixels[(x > 0.15) & (x < 0.4) & (y > 0.3) & (y < 0.9)] = (230, 60, 20)
    pixels[((x - 0.75) / 0.15) ** 2 + ((y - 0.25) / 0.2) ** 2 < 1] = (20, 90, 240)
    return Image.fromarray((pixels + random.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


# ---- the same weights under the keys of the papers' own packages

_DETECTOR = [  # of transformers -> of groundingdino; in this order
    (r"^model\.backbone\.conv_encoder\.model\.embeddings\.patch_embeddings\.projection", "backbone.0.patch_embed.proj"),
    (r"^model\.backbone\.conv_encoder\.model\.embeddings\.norm", "backbone.0.patch_embed.norm"),
    (r"^model\.backbone\.conv_encoder\.model\.encoder\.", "backbone.0."),
    (r"\.layernorm_before", ".norm1"),
    (r"\.layernorm_after", ".norm2"),
    (r"\.attention\.self\.relative", ".attn.relative"),
    (r"^(backbone\.0.*)\.attention\.output\.dense", r"\1.attn.proj"),
    (r"^(backbone\.0.*)\.intermediate\.dense", r"\1.mlp.fc1"),
    (r"^(backbone\.0.*)\.output\.dense", r"\1.mlp.fc2"),
    (r"^model\.text_backbone", "bert"),
    (r"^model\.input_proj_vision", "input_proj"),
    (r"^model\.text_projection", "feat_map"),
    (r"^model\.encoder_output_bbox_embed", "transformer.enc_out_bbox_embed"),
    (r"^model\.level_embed", "transformer.level_embed"),
    (r"^model\.query_position_embeddings", "transformer.tgt_embed"),
    (r"^model\.enc_output", "transformer.enc_output"),
    (r"^model\.decoder\.reference_points_head", "transformer.decoder.ref_point_head"),
    (r"^model\.decoder\.layer_norm", "transformer.decoder.norm"),
    (r"^model\.decoder\.bbox_embed", "transformer.decoder.bbox_embed"),
    (r"^model\.encoder\.layers\.(\d+)\.deformable_layer", r"transformer.encoder.layers.\1"),
    (r"^model\.encoder\.layers\.(\d+)\.text_enhancer_layer", r"transformer.encoder.text_layers.\1"),
    (r"^model\.encoder\.layers\.(\d+)\.fusion_layer", r"transformer.encoder.fusion_layers.\1"),
    (r"^model\.decoder\.layers", "transformer.decoder.layers"),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.encoder_attn_layer_norm", r"\1.norm1"),
    (r"(decoder\.layers\.\d+)\.encoder_attn_text_layer_norm", r"\1.catext_norm"),
    (r"(decoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm2"),
    (r"(decoder\.layers\.\d+)\.final_layer_norm", r"\1.norm3"),
    (r"(decoder\.layers\.\d+)\.encoder_attn_text", r"\1.ca_text"),
    (r"(decoder\.layers\.\d+)\.encoder_attn\b", r"\1.cross_attn"),
    (r"(text_layers\.\d+)\.layer_norm_before", r"\1.norm1"),
    (r"(text_layers\.\d+)\.layer_norm_after", r"\1.norm2"),
    (r"((?:text_layers|layers)\.\d+)\.fc(\d)", r"\1.linear\2"),
    (r"\.vision_param", ".gamma_v"),
    (r"\.text_param", ".gamma_l"),
    (r"\.layer_norm_vision", ".layer_norm_v"),
    (r"\.layer_norm_text", ".layer_norm_l"),
    (r"\.(values_|out_)?vision_proj", r".\1v_proj"),
    (r"\.(values_|out_)?text_proj\b", r".\1l_proj"),
]
_SAM = [
    (r"^vision_encoder\.pos_embed", "image_encoder.pos_embed"),
    (r"^vision_encoder\.patch_embed\.projection", "image_encoder.patch_embed.proj"),
    (r"^vision_encoder\.layers", "image_encoder.blocks"),
    (r"^(image_encoder\.blocks.*)\.layer_norm(\d)", r"\1.norm\2"),
    (r"^vision_encoder\.neck\.conv1", "image_encoder.neck.0"),
    (r"^vision_encoder\.neck\.layer_norm1", "image_encoder.neck.1"),
    (r"^vision_encoder\.neck\.conv2", "image_encoder.neck.2"),
    (r"^vision_encoder\.neck\.layer_norm2", "image_encoder.neck.3"),
    (
        r"^prompt_encoder\.shared_embedding\.positional_embedding",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"^prompt_encoder\.point_embed", "prompt_encoder.point_embeddings"),
    (r"^prompt_encoder\.mask_embed\.conv1", "prompt_encoder.mask_downscaling.0"),
    (r"^prompt_encoder\.mask_embed\.layer_norm1", "prompt_encoder.mask_downscaling.1"),
    (r"^prompt_encoder\.mask_embed\.conv2", "prompt_encoder.mask_downscaling.3"),
    (r"^prompt_encoder\.mask_embed\.layer_norm2", "prompt_encoder.mask_downscaling.4"),
    (r"^prompt_encoder\.mask_embed\.conv3", "prompt_encoder.mask_downscaling.6"),
    (r"^mask_decoder\.upscale_conv1", "mask_decoder.output_upscaling.0"),
    (r"^mask_decoder\.upscale_layer_norm", "mask_decoder.output_upscaling.1"),
    (r"^mask_decoder\.upscale_conv2", "mask_decoder.output_upscaling.3"),
    (r"^(mask_decoder\.transformer.*)\.layer_norm(\d)", r"\1.norm\2"),
    (r"^(mask_decoder\.transformer)\.layer_norm_final_attn", r"\1.norm_final_attn"),
    (r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d))\.layers\.0", r"\1.layers.1"),
    (r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d))\.proj_in", r"\1.layers.0"),
    (r"^(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d))\.proj_out", r"\1.layers.2"),
]


def _rename(key: str, rules: list[tuple[str, str]]) -> str:
    for pattern, new in rules:
        key = re.sub(pattern, new, key)
    return key


def original_detector(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of transformers' Grounding DINO under groundingdino's keys."""
    out = {}
    joined: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.endswith("relative_position_index") or ".swin.layernorm" in key:
            continue
        if norm := re.search(r"hidden_states_norms\.stage(\d)\.(\w+)", key):
            out[f"backbone.0.norm{int(norm[1]) - 1}.{norm[2]}"] = value
        elif part := re.search(r"^(.*)\.(query|key|value)\.(weight|bias)$", key):
            if "text_backbone" in key:
                out[_rename(key, _DETECTOR)] = value
            else:
                joined.setdefault(f"{part[1]}|{part[3]}", {})[part[2]] = value
        else:
            out[_rename(key, _DETECTOR)] = value
    out["bert.pooler.dense.weight"], out["bert.pooler.dense.bias"] = torch.zeros(64, 64), torch.zeros(64)  # unused
    for where, parts in joined.items():
        place, kind = where.split("|")
        value = torch.cat([parts["query"], parts["key"], parts["value"]])
        if place.endswith(".attention.self"):  # of Swin
            out[_rename(place, _DETECTOR).removesuffix(".attention.self") + f".attn.qkv.{kind}"] = value
        else:
            out[_rename(place + ".", _DETECTOR) + f"in_proj_{kind}"] = value
    for key in [key for key in out if key.startswith("bbox_embed.0.")]:  # one network, stored for each layer, and twice
        for layer in range(2):
            each = key.replace(".0.", f".{layer}.", 1)
            out[each] = out[f"transformer.decoder.{each}"] = out[key]
    return out


def original_sam(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of transformers' SAM under segment-anything's keys."""
    positions = state["shared_image_embedding.positional_embedding"]
    kept = {key: value for key, value in state.items() if not key.startswith("shared_image_embedding")}
    kept["prompt_encoder.shared_embedding.positional_embedding"] = positions
    return {_rename(key, _SAM): value for key, value in kept.items()}
