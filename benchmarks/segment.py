"""Seconds per photo, by stage, of every way to find R with networks: cold (made) and cached (read).

    python benchmarks/segment.py                      # full size, random weights: some GB of memory, minutes
    python benchmarks/segment.py --only grounded-sam2 --side 480 --precision bf16
    python benchmarks/segment.py --batch 4            # photos that go through a network together
    python benchmarks/segment.py --tiny               # few layers and small inputs: whether it runs, not how fast

The weights are random, of the published sizes, made here from configurations alone.
``load`` is reading the networks, ``detect`` the detector with its resizing, ``encode`` SAM's image encoder, ``decode``
its decoder for one box with the enlarging of the mask, ``total`` the whole call of the finder, ``cpu`` its seconds on
all cores, which say more than the others on a busy machine, ``cached`` recognising the photo and reading its mask from
the mask cache.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

WORDS = {100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?", 2000: "dog"}
STAGES = ("detect", "encode", "decode", "total", "cpu")
TINY_TEXT = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}


def save_detector(folder: Path, tiny: bool) -> None:
    """Grounding DINO, Swin-T, with an untrained tokenizer."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, GroundingDinoImageProcessor

    options: dict = {}
    if tiny:
        text = {"model_type": "bert", **TINY_TEXT}
        options = {"encoder_layers": 1, "decoder_layers": 2, "num_queries": 20, "text_config": text}
    GroundingDinoForObjectDetection(GroundingDinoConfig(**options)).save_pretrained(folder)
    GroundingDinoImageProcessor().save_pretrained(folder)  # its side is given to the finder
    vocabulary = [WORDS.get(i, f"[unused{i}]") for i in range(30522)]
    vocabulary[0] = "[PAD]"
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def save_sam(folder: Path, tiny: bool) -> None:
    """SAM ViT-B. Its own initial values are so small that the arithmetic slows down."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor, SamVisionConfig

    small = {"num_hidden_layers": 2, "global_attn_indexes": [1], "image_size": 256} if tiny else {}
    vision = SamVisionConfig(initializer_range=0.02, **small)
    size = {"image_size": vision.image_size, "image_embedding_size": vision.image_size // 16}
    SamModel(SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=size)).save_pretrained(folder)
    edge = vision.image_size
    reader = SamImageProcessor(size={"longest_edge": edge}, pad_size={"height": edge, "width": edge})
    SamProcessor(reader).save_pretrained(folder)


def save_sam2(folder: Path, tiny: bool) -> None:
    """SAM 2.1 tiny."""
    import transformers
    from transformers import Sam2Config, Sam2Model, Sam2Processor

    options: dict = {}
    edge = 256 if tiny else 1024
    if tiny:
        backbone = {
            "model_type": "sam2_hiera_det_model",
            "image_size": [256, 256],
            "blocks_per_stage": [1, 1, 2, 1],
            "global_attention_blocks": [3],
        }
        sizes = [[64, 64], [32, 32], [16, 16]]
        options = {
            "vision_config": {"backbone_config": backbone, "backbone_feature_sizes": sizes},
            "prompt_encoder_config": {"image_size": 256},
        }
    Sam2Model(Sam2Config(**options)).save_pretrained(folder)
    reader = getattr(transformers, "Sam2ImageProcessor", None) or transformers.Sam2ImageProcessorFast
    Sam2Processor(reader(size={"height": edge, "width": edge}), target_size=edge).save_pretrained(folder)


def save_originals(folder: Path, tiny: bool) -> None:
    """Checkpoints of the papers' own packages: Swin-T, ViT-B; the folder has a tokenizer by then."""
    from segment_anything.build_sam import _build_sam, build_sam_vit_b

    from das_explain.segment.finders.build import TextEncoder, hush, replace_names

    network = _build_sam(768, 2, 12, [1]) if tiny else build_sam_vit_b()
    torch.save(network.state_dict(), folder / "sam.pth")
    with hush():
        import groundingdino.models.GroundingDINO.groundingdino as package
        from groundingdino.util.slconfig import SLConfig
        from transformers import AutoTokenizer, BertConfig, BertModel

        config = SLConfig.fromfile(str(Path(package.__file__).parents[2] / "config" / "GroundingDINO_SwinT_OGC.py"))
        if tiny:
            config.enc_layers, config.dec_layers, config.num_queries = 1, 2, 20
        tokens, bert = AutoTokenizer.from_pretrained(folder / "detector"), BertModel(BertConfig())
        local = SimpleNamespace(get_tokenlizer=lambda _: tokens, get_pretrained_language_model=lambda _: bert)
        with replace_names(package, get_tokenlizer=local, BertModelWarper=TextEncoder):
            network = package.build_groundingdino(config)
    torch.save({"model": network.state_dict()}, folder / "dino.pth")


def photo(width: int, height: int) -> Image.Image:
    """Noise: the networks do not mind."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="grounded-sam, grounded-sam2, grounded-sam-original or boxes+sam")
    parser.add_argument("--size", default="640x480", help="of the photo")
    parser.add_argument("--side", type=int, default=800, help="the detector's shorter side")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    side = 200 if arguments.tiny else arguments.side
    image = photo(width, height)
    torch.manual_seed(0)

    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DAS_EXPLAIN_CACHE"] = scratch  # neither fill the user's cache nor profit from it
        root = Path(scratch)
        print(
            f"photo {width} x {height}, detector's side {side}, {arguments.precision}, batch {arguments.batch}, "
            f"{torch.get_num_threads()} threads, torch {torch.__version__}, transformers {version('transformers')}"
            f"{', TINY NETWORKS' if arguments.tiny else ''}; medians of {arguments.repeat}"
        )
        stages = "".join(f"{stage:>8}" for stage in STAGES)
        print(f"{'seconds per photo':24}{'load':>8}{stages}{'cached':>9}", flush=True)
        for finder in _finders(root, arguments, side):
            print(_measured(finder, image, arguments.repeat, arguments.batch), flush=True)


def _finders(root: Path, arguments: argparse.Namespace, side: int):
    from das_explain.segment.finders.create import NAMES
    from das_explain.segment.finders.options import FinderOptions

    wanted = [arguments.only] if arguments.only else list(NAMES)
    common = {
        "device": "cpu",
        "precision": arguments.precision,
        "side": side,
        "box_threshold": 0.0,
        "batch": arguments.batch,
    }
    for name in wanted:
        if name == "grounded-sam-original" and not importlib.util.find_spec("groundingdino"):
            print(f"{name}: left out (groundingdino-py is not installed)", file=sys.stderr)
            continue
        folders = {
            "detector": (name != "boxes+sam", save_detector),
            "sam": (name in ("grounded-sam", "boxes+sam"), save_sam),
            "sam2": (name == "grounded-sam2", save_sam2),
        }
        for folder, (needed, save) in folders.items():
            if needed and not (root / folder).exists():
                (root / folder).mkdir()
                save(root / folder, arguments.tiny)
        if name == "boxes+sam":
            yield FinderOptions(sam=str(root / "sam"), **common).create(name)
        elif name == "grounded-sam-original":
            save_originals(root, arguments.tiny)
            yield FinderOptions(
                detector=str(root / "dino.pth"),
                sam=str(root / "sam.pth"),
                tokenizer=str(root / "detector"),
                **common,
            ).create(name)
        else:
            sam = "sam2" if name == "grounded-sam2" else "sam"
            yield FinderOptions(detector=str(root / "detector"), sam=str(root / sam), **common).create(name)


def _measured(finder, image: Image.Image, repeat: int, batch: int) -> str:
    from das_explain.segment.cache import MaskCache
    from das_explain.types import Region, Sample

    samples = [Sample("x", 0, "dog", boxes=((50.0, 60.0, 300.0, 400.0),))] * batch
    images = [image] * batch
    start = time.perf_counter()
    for network in ("masker", "detector"):
        getattr(finder, network, None)
    load = time.perf_counter() - start
    finder.find(samples, images)
    rows = []
    for _ in range(repeat):
        start, cpu = time.perf_counter(), time.process_time()
        region = finder.find(samples, images)[0]
        total, cpu = time.perf_counter() - start, time.process_time() - cpu
        rows.append({**region.detail["seconds"], "total": total / batch, "cpu": cpu / batch})
    if region.mask is None and region.status != "no_object":
        raise SystemExit(f"{finder.name}: {region.detail['message']}")
    cache = MaskCache({"benchmark": finder.name})
    mask = region if region.mask is not None else Region(np.ones((image.height, image.width), bool))
    cache.store(cache.key(image, finder.prompt(samples[0])), mask)
    start = time.perf_counter()
    cache.load(cache.key(image, finder.prompt(samples[0])))
    cached = time.perf_counter() - start
    median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    told = "".join(f"{median[stage]:8.2f}" if stage in median else f"{'-':>8}" for stage in STAGES)
    for network in ("masker", "detector"):
        finder.__dict__.pop(network, None)
    return f"{finder.name:24}{load:8.2f}{told}{cached:9.4f}"


if __name__ == "__main__":
    main()
