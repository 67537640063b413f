"""Seconds per photo, by stage, of every way to find R with networks: cold (made) and cached (read).

    python benchmarks/segment.py                      # full size, random weights: some GB of memory, minutes
    python benchmarks/segment.py --only grounded-sam2 --side 480 --precision bf16
    python benchmarks/segment.py --tiny               # two layers and small inputs: whether it runs, not how fast

The weights are random, of the published sizes, made here from configurations alone.
``detect`` is the detector with its resizing, ``encode`` SAM's image encoder, ``decode`` its decoder for one box with
the enlarging of the mask, ``total`` the whole call of the finder, ``cached`` reading the mask back from the mask cache.
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
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

WORDS = {100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?", 2000: "dog"}
TINY_TEXT = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}


def save_detector(folder: Path, tiny: bool) -> None:
    """Grounding DINO, Swin-T, with an untrained tokenizer."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, GroundingDinoImageProcessor

    options: dict = {}
    if tiny:
        text = {"model_type": "bert", **TINY_TEXT}
        options = {"encoder_layers": 1, "decoder_layers": 2, "num_queries": 20, "text_config": text}
    GroundingDinoForObjectDetection(GroundingDinoConfig(**options)).save_pretrained(folder)
    GroundingDinoImageProcessor().save_pretrained(folder)
    vocabulary = [WORDS.get(i, f"[unused{i}]") for i in range(30522)]
    vocabulary[0] = "[PAD]"
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def save_sam(folder: Path, tiny: bool) -> None:
    """SAM ViT-B. Its own initial values are so small that the arithmetic slows down."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor, SamVisionConfig

    vision = {"initializer_range": 0.02, **({"num_hidden_layers": 2, "global_attn_indexes": [1]} if tiny else {})}
    SamModel(SamConfig(vision_config=SamVisionConfig(**vision).to_dict())).save_pretrained(folder)
    SamProcessor(SamImageProcessor()).save_pretrained(folder)


def save_sam2(folder: Path, tiny: bool) -> None:
    """SAM 2.1 tiny; there is nothing smaller."""
    import transformers
    from transformers import Sam2Config, Sam2Model, Sam2Processor

    Sam2Model(Sam2Config()).save_pretrained(folder)
    reader = getattr(transformers, "Sam2ImageProcessor", None) or transformers.Sam2ImageProcessorFast
    Sam2Processor(reader()).save_pretrained(folder)


def save_originals(folder: Path) -> None:
    """Checkpoints of the papers' own packages: Swin-T, ViT-B."""
    from segment_anything import sam_model_registry

    torch.save(sam_model_registry["vit_b"]().state_dict(), folder / "sam.pth")
    if importlib.util.find_spec("groundingdino"):
        from das_explain.segment.original import TextEncoder, _hushed, _replaced

        with _hushed():
            import groundingdino.models.GroundingDINO.groundingdino as package
            from groundingdino.util.slconfig import SLConfig
            from transformers import BertConfig, BertModel

            config = Path(package.__file__).parents[2] / "config" / "GroundingDINO_SwinT_OGC.py"
            bert = BertModel(BertConfig())
            local = SimpleNamespace(get_tokenlizer=lambda _: _Tokens(), get_pretrained_language_model=lambda _: bert)
            with _replaced(package, get_tokenlizer=local, BertModelWarper=TextEncoder):
                network = package.build_groundingdino(SLConfig.fromfile(str(config)))
        torch.save({"model": network.state_dict()}, folder / "dino.pth")


class _Tokens:
    def convert_tokens_to_ids(self, words: list[str]) -> list[int]:
        return [101] * len(words)


def photo(width: int, height: int) -> Image.Image:
    """Noise: the networks do not mind."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="grounded-sam, grounded-sam2, grounded-sam-original or boxes+sam")
    parser.add_argument("--size", default="640x480", help="of the photo")
    parser.add_argument("--side", type=int, default=800, help="the detector's shorter side")
    parser.add_argument("--precision", default="fp32")
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
        finders = list(_finders(root, arguments, side))
        print(f"photo {width} x {height}, detector's side {side}, {arguments.precision}, "
              f"{torch.get_num_threads()} threads, torch {torch.__version__}"
              f"{', TINY NETWORKS' if arguments.tiny else ''}; medians of {arguments.repeat}")  # fmt: skip
        print(f"{'seconds per photo':24}{'load':>8}{'detect':>8}{'encode':>8}{'decode':>8}{'total':>8}{'cached':>9}")
        for finder in finders:
            _measure(finder, image, arguments.repeat)


def _finders(root: Path, arguments: argparse.Namespace, side: int):
    from das_explain.segment.finders import NAMES, create_finder

    wanted = [arguments.only] if arguments.only else list(NAMES)
    common = {"device": "cpu", "precision": arguments.precision, "side": side, "box_threshold": 0.0}
    for name in wanted:
        if name == "grounded-sam-original" and (arguments.tiny or not importlib.util.find_spec("groundingdino")):
            reason = "it has no tiny networks here" if arguments.tiny else "not installed"
            print(f"{name}: left out ({reason})", file=sys.stderr)
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
            yield create_finder(name, sam=str(root / "sam"), **common)
        elif name == "grounded-sam-original":
            save_originals(root)
            yield create_finder(name, detector=str(root / "dino.pth"), sam=str(root / "sam.pth"),
                                tokenizer=str(root / "detector"), **common)  # fmt: skip
        else:
            sam = "sam2" if name == "grounded-sam2" else "sam"
            yield create_finder(name, detector=str(root / "detector"), sam=str(root / sam), **common)


def _measure(finder, image: Image.Image, repeat: int) -> None:
    from das_explain.segment.cache import MaskCache
    from das_explain.types import Region, Sample

    sample = Sample("x", 0, "dog", boxes=((50.0, 60.0, 300.0, 400.0),))
    start = time.perf_counter()
    finder.find([sample], [image])
    load = time.perf_counter() - start
    rows = []
    for _ in range(repeat):
        start = time.perf_counter()
        region = finder.find([sample], [image])[0]
        rows.append({**region.detail["seconds"], "total": time.perf_counter() - start})
    cache = MaskCache({"benchmark": finder.name})
    key = cache.key(image, finder.prompt(sample))
    cache.store(key, region if region.mask is not None else Region(np.ones((image.height, image.width), bool)))
    start = time.perf_counter()
    cache.load(key)
    cached = time.perf_counter() - start
    median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    stages = ("detect", "encode", "decode", "total")
    told = "".join(f"{median[stage]:8.2f}" if stage in median else f"{'-':>8}" for stage in stages)
    print(f"{finder.name:24}{load - median['total']:8.2f}{told}{cached:9.4f}")
    finder.__dict__.pop("masker", None)
    finder.__dict__.pop("detector", None)


if __name__ == "__main__":
    main()
