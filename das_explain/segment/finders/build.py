"""Untrained networks of the papers' own packages, of the sizes that a checkpoint has. Nothing is fetched.

groundingdino builds its networks from a configuration file and a hub download of BERT, and its wrapper of BERT calls
methods that transformers 5 no longer has. Here sizes are read off the checkpoint, which holds BERT's weights as well,
so that a file and a tokenizer's folder are enough; ``TextEncoder`` stands in for the wrapper, under the same keys.
"""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError, check_package, first_line

POINTS = 4  # that each head of the deformable attention samples in each level
State = dict[str, Tensor]


class TextEncoder(nn.Module):
    """BERT under the keys of groundingdino's ``BertModelWarper``, for any transformers from 4.35 to 5."""

    def __init__(self, bert_model: nn.Module) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder
        self.pooler = bert_model.pooler

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, position_ids: Tensor, **_: Any
    ) -> dict[str, Tensor]:
        """ids (B, T), mask bool (B, T, T), true where a word piece may look -> last_hidden_state (B, T, C)."""
        hidden = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        allowed = attention_mask.to(hidden.dtype)[:, None]  # (B, 1, T, T)
        blocked = (1.0 - allowed) * torch.finfo(hidden.dtype).min
        return {"last_hidden_state": self.encoder(hidden, attention_mask=blocked)[0]}


def build_detector(state: State, tokenizer: Any) -> nn.Module:
    """An untrained Grounding DINO of the sizes that a checkpoint has (Swin-T, Swin-B)."""
    package, swin, joiner, positions, transformer = _groundingdino()
    from transformers import BertConfig, BertModel

    backbone = {key.removeprefix("backbone.0."): value for key, value in state.items() if key.startswith("backbone.0.")}
    depths = [_count(backbone, rf"layers\.{i}\.blocks\.(\d+)\.") for i in range(_count(backbone, r"layers\.(\d+)\."))]
    tables = [backbone[f"layers.{i}.blocks.0.attn.relative_position_bias_table"].shape for i in range(len(depths))]
    outputs = tuple(i for i in range(len(depths)) if f"norm{i}.weight" in backbone)
    image = swin.SwinTransformer(
        embed_dim=backbone["patch_embed.proj.weight"].shape[0],
        depths=depths,
        num_heads=[heads for _, heads in tables],
        window_size=(round(tables[0][0] ** 0.5) + 1) // 2,
        out_indices=outputs,
    )
    channels = state["transformer.level_embed"].shape[1]
    levels = state["transformer.level_embed"].shape[0]
    eyes = joiner(image, positions(channels // 2, temperatureH=20, temperatureW=20, normalize=True))
    eyes.num_channels = [image.num_features[i] for i in outputs]
    heads = state["transformer.encoder.layers.0.self_attn.sampling_offsets.weight"].shape[0] // (levels * POINTS * 2)
    queries = state["transformer.tgt_embed.weight"].shape[0]
    trunk = transformer(
        d_model=channels,
        nhead=heads,
        num_queries=queries,
        num_encoder_layers=_count(state, r"transformer\.encoder\.layers\.(\d+)\."),
        num_decoder_layers=_count(state, r"transformer\.decoder\.layers\.(\d+)\."),
        dim_feedforward=state["transformer.encoder.layers.0.linear1.weight"].shape[0],
        return_intermediate_dec=True,
        query_dim=4,
        num_feature_levels=levels,
        enc_n_points=POINTS,
        dec_n_points=POINTS,
        learnable_tgt_init=True,
        two_stage_type="standard",
        embed_init_tgt=True,
        use_text_enhancer=True,
        use_fusion_layer=True,
        use_text_cross_attention=True,
        text_dropout=0.0,
        fusion_droppath=0.1,
    )
    vocabulary, width = state["bert.embeddings.word_embeddings.weight"].shape
    bert = BertModel(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=_count(state, r"bert\.encoder\.layer\.(\d+)\."),
            num_attention_heads=max(1, width // 64),  # as all published BERTs
            intermediate_size=state["bert.encoder.layer.0.intermediate.dense.weight"].shape[0],
            max_position_embeddings=state["bert.embeddings.position_embeddings.weight"].shape[0],
        )
    )
    local = SimpleNamespace(get_tokenlizer=lambda _: tokenizer, get_pretrained_language_model=lambda _: bert)
    with replace_names(package, get_tokenlizer=local, BertModelWarper=TextEncoder), hush():
        return package.GroundingDINO(
            eyes,
            trunk,
            num_queries=queries,
            aux_loss=True,
            iter_update=True,
            query_dim=4,
            num_feature_levels=levels,
            nheads=heads,
            two_stage_type="standard",
            two_stage_bbox_embed_share=False,
            two_stage_class_embed_share=False,
            dn_number=0,
            max_text_len=256,
        )


def build_sam(state: State) -> nn.Module:
    """An untrained SAM of the sizes that a checkpoint has (ViT-B, L, H), as ``segment_anything.build_sam`` does."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    _, grid, _, width = state["image_encoder.pos_embed"].shape
    patch = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    depth = _count(state, r"image_encoder\.blocks\.(\d+)\.")
    tables = [state[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape for i in range(depth)]  # (2 * window - 1, C)
    windows = [(rows + 1) // 2 for rows, _ in tables]
    channels = state["image_encoder.neck.0.weight"].shape[0]
    hidden = state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=grid * patch,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=width // tables[0][1],
            mlp_ratio=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / width,
            out_chans=channels,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=min(windows),
            global_attn_indexes=[i for i, window in enumerate(windows) if window == grid],
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(grid * patch, grid * patch),
            mask_in_chans=state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
            transformer=TwoWayTransformer(
                depth=_count(state, r"mask_decoder\.transformer\.layers\.(\d+)\."),
                embedding_dim=channels,
                mlp_dim=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
                num_heads=8,
            ),
            transformer_dim=channels,
            iou_head_depth=_count(state, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
            iou_head_hidden_dim=hidden,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )


def _groundingdino() -> tuple[Any, ...]:
    check_package("groundingdino", "groundingdino-py", "groundingdino", "grounded-sam-original")
    try:
        with hush():
            import groundingdino.models.GroundingDINO.groundingdino as package
            from groundingdino.models.GroundingDINO.backbone import swin_transformer
            from groundingdino.models.GroundingDINO.backbone.backbone import Joiner
            from groundingdino.models.GroundingDINO.backbone.position_encoding import PositionEmbeddingSineHW
            from groundingdino.models.GroundingDINO.transformer import Transformer
    except ImportError as error:  # a package that it needs, or libGL for the OpenCV that it brings along
        raise DasExplainError(
            f"groundingdino-py cannot be imported ({first_line(error)}): pip install 'das-explain[groundingdino]'"
        ) from None
    return package, swin_transformer, Joiner, PositionEmbeddingSineHW, Transformer


def _count(state: State, pattern: str) -> int:
    return 1 + max((int(match[1]) for key in state if (match := re.match(pattern, key))), default=-1)


@contextlib.contextmanager
def hush():
    """The package prints to stdout, where tables go, and uses what torch and timm are about to remove."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def replace_names(module: Any, **names: Any):
    before = {name: getattr(module, name) for name in names}
    vars(module).update(names)
    try:
        yield
    finally:
        vars(module).update(before)
