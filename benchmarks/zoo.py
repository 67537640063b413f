"""Every classifier of torchvision's and one of each family of timm's: is each explained rightly, or refused in one line?

    python benchmarks/zoo.py                        # all of them; hours on two cores
    python benchmarks/zoo.py --only timm:swin       # those whose name begins so
    python benchmarks/zoo.py --out zoo.jsonl        # a line per network; what it has already is not run again, so that a
                                                    # run that was killed goes on with the same command

Networks are untrained, with batch norms calibrated on noise. Of each: the two default blocks and their layouts, the seconds
to load and to explain two photos, and the largest difference of a map

    peer     from pytorch-grad-cam with a ``reshape_transform`` written by hand below (at most 1e-4). pytorch-grad-cam reads
             a map after a later in-place operation has overwritten it: it is given a network that goes on with a copy.
    folded   of the copy that runs on a CPU from the same network in float64: at most 5e-3. In float32 a value beside a
             ReLU's kink may fall on its other side, as it may in the network as it is; where that takes the copy further
             off, a copy in float64 must agree with the network to 1e-6.

``sensible``: two blocks of one map per photo, behind a part of what was learned. The summary names every network that is
not. Exit status 1 where a map is wrong, or fewer than 95 % are sensible.
Needs: pip install 'das-explain[timm]'.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from das_explain import grad_cam, load_model
from das_explain.cam.fast import fast_copy
from das_explain.checkpoint.randomize import seeded
from das_explain.errors import DasExplainError

PEER, FOLDED, EXACT, SENSIBLE = 1e-4, 5e-3, 1e-6, 0.95
PHOTOS = 2
FAMILIES = (
    "cait_xxs24_224", "coat_tiny", "convit_tiny", "convmixer_768_32", "convnext_atto", "cpubone_nano",
    "crossvit_tiny_240", "csatv2", "cspnext_tiny", "darknet17", "davit_tiny", "deit_tiny_patch16_224",
    "densenet121", "dla34", "dpn68", "edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0",
    "efficientvim_m1", "efficientvit_b0", "efficientvit_m0", "eva02_tiny_patch14_336", "fasternet_t0", "fastvit_t8",
    "focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_050", "gmixer_12_224", "halonet_h1", "hardcorenas_b",
    "hgnetv2_b0", "hiera_tiny_224", "hieradet_small", "hrnet_w18_small", "iformer_s", "inception_next_atto",
    "inception_resnet_v2", "inception_v3", "inception_v4", "lcnetv2_small", "legacy_seresnet18", "legacy_xception",
    "levit_128", "lowformer_b0", "mobilenetv3_small_050", "mobilevit_xxs", "mvitv2_tiny", "nest_tiny",
    "nextvit_small", "pit_ti_224", "poolformerv2_s12", "pvt_v2_b0", "rdnet_tiny", "regnetx_002", "repghostnet_050",
    "repvit_m1", "res2next50", "resnest14d", "resnet18", "resnetv2_18", "rexnet_100", "selecsls42", "sequencer2d_s",
    "shvit_s1", "skresnet18", "starnet_s050", "swiftformer_xs", "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_224", "swinv2_tiny_window8_256", "test_byobnet", "test_coatnet", "test_mambaout", "test_nfnet",
    "test_vit", "test_vit_relpos", "tiny_vit_5m_224", "tinynet_d", "tnt_s_legacy_patch16_224", "tresnet_m",
    "twins_svt_small", "visformer_tiny", "vit_small_r26_s32_224", "vitamin_small_224", "volo_d1_224", "vovnet39a",
    "xception41p", "xcit_nano_12_p8_224", "vgg11", "beit_base_patch16_224", "samvit_base_patch16_224",
    "naflexvit_base_patch16_gap", "mobilenetv5_base", "nasnetalarge", "pnasnet5large", "qwen3_vit_88m",
    "gemma4_vit_167m", "deepseek_vit_412m",
)  # fmt: skip
"""A small one of each family of timm's; the large ones stand last."""


def channels_last(output: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    return output.permute(0, 3, 1, 2)


def tokens(prefix: int) -> Callable[[Tensor], Tensor]:
    """pytorch-grad-cam's advice for vision transformers: without the tokens before the patches, as a square."""

    def reshape(output: Tensor) -> Tensor:
        side = math.isqrt(output.size(1) - prefix)
        patches = output[:, prefix:, :].reshape(output.size(0), side, side, output.size(2))
        return patches.transpose(2, 3).transpose(1, 2)

    return reshape


def rerolled(network: nn.Module, block: str) -> Callable[[Tensor], Tensor]:
    """Hiera's own way back from its order of patches."""
    return lambda output: channels_last(network.reroll(output, int(block.split(".")[1])))  # type: ignore[operator]


BY_HAND: dict[str, Callable[[Tensor], Tensor]] = {
    r"torchvision:swin|timm:(swin_|swinv2_(?!cr)|mambaout|test_mambaout|sequencer|volo|samvit|hieradet|sam2_)": channels_last,
    r"torchvision:vit": tokens(1),
    r"timm:(xcit|cait|twins|levit|gmixer|mixer_|gmlp|resmlp|vitamin|efficientformer_\S* stages\.3|efficientvim)": tokens(
        0
    ),
    r"timm:naflexvit\S*_gap": tokens(4),
    r"timm:qwen3_vit\S* encoder\.": tokens(0),
    r"timm:convit\S* blocks\.[0-9]\.": tokens(0),
    r"timm:\S*(reg4)": tokens(5),
    r"timm:deit\S*distilled": tokens(2),
    r"timm:(vit_srelpos|vit_relpos_(?!\S*cls)|test_vit_relpos|\S*siglip)": tokens(0),
    r"timm:(pit\S* transformers\.2\.blocks|coat_|crossvit|tnt|convit|vit_|test_vit|deit|beit|eva02_tiny|flexivit)": tokens(
        1
    ),
}
"""Network and block -> how a person who has read the network's source reads the block; (N, C, H, W) where none fits."""


def networks() -> list[str]:
    """``torchvision:NAME`` and ``timm:NAME``."""
    import torchvision

    theirs = torchvision.models.list_models(module=torchvision.models)
    return [f"torchvision:{name}" for name in theirs] + [f"timm:{name}" for name in FAMILIES]


def examine(name: str) -> dict[str, Any]:
    """What the head of this file says, of one network."""
    start = time.perf_counter()
    row: dict[str, Any] = {"network": name}
    spec = f"{name}:none" if name.startswith("torchvision:") else f"{name}?pretrained=false"
    try:
        model = load_model(spec, device="cpu")
        network = model.network
        _calibrate(network, model.preprocess.geometry.size)
        blocks = model.usual_blocks
        row |= {"blocks": list(blocks), "layouts": {each: str(model.layouts.get(each, "nchw")) for each in blocks}}
        row |= {"notes": [note for note in model.assumptions if "taken for ImageNet" not in note]}
        row["load_s"] = round(time.perf_counter() - start, 2)
        images = torch.randn(PHOTOS, 3, *model.preprocess.geometry.size, generator=torch.Generator().manual_seed(1))
        targets = torch.arange(PHOTOS)
        start = time.perf_counter()
        ours = grad_cam(network, images, targets, blocks, layouts=model.layouts)
        row["explain_s"] = round(time.perf_counter() - start, 2)
    except DasExplainError as error:
        return row | {"refused": str(error), "sensible": False}
    row["grids"] = {each: list(cam.native.shape[1:]) for each, cam in ours.items()}
    row["sensible"] = len(blocks) == 2 and not any("in front of nearly all" in note for note in row["notes"])
    row["peer"] = {each: _peer_difference(name, network, images, each, cam.map) for each, cam in ours.items()}
    row["folded"], row["exact"] = _folded_difference(network, images, targets, blocks, model)
    row["empty"] = [each for each, cam in ours.items() if not cam.raw_max.any()]  # nothing was compared
    wrong = [each for each, difference in row["peer"].items() if difference is not None and not difference <= PEER]
    if row["exact"] is not None and not row["exact"] <= EXACT:
        wrong.append("folded")
    return row | ({"wrong": wrong} if wrong else {})


def _calibrate(network: nn.Module, size: tuple[int, int]) -> None:
    """Batch norms that fit, and a classifier that is not zero: else there is nothing, or rounding, in the maps."""
    with seeded():
        for module in network.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.02)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = None
        norm.train()
    with torch.no_grad(), seeded():
        network(torch.randn(4, 3, *size))
    network.eval()


def _peer_difference(name: str, network: nn.Module, images: Tensor, block: str, ours: Tensor) -> float | None:
    """From pytorch-grad-cam; ``None`` for a block that gives a tuple, which it cannot take."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    reshape, module = by_hand(name, network, block), network.get_submodule(block)
    tuples: list[bool] = []
    look = module.register_forward_hook(lambda module, args, output: tuples.append(not isinstance(output, Tensor)))
    with torch.no_grad():
        network(images[:1])
    look.remove()
    if tuples[0]:
        return None
    with GradCAM(network, [module], reshape_transform=reshape) as peer:
        guard = module.register_forward_hook(lambda module, args, output: output.clone())
        theirs = torch.as_tensor(peer(images, [ClassifierOutputTarget(target) for target in range(len(images))]))
        guard.remove()
    return float((theirs - ours).abs().max())


def by_hand(name: str, network: nn.Module, block: str) -> Callable[[Tensor], Tensor] | None:
    """The ``reshape_transform`` of a default block, by what a person read in the network's source."""
    if name.startswith("timm:hiera_"):
        return rerolled(network, block)
    return next((how for pattern, how in BY_HAND.items() if re.match(pattern, f"{name} {block}")), None)


def _folded_difference(
    network: nn.Module, images: Tensor, targets: Tensor, blocks: dict[str, nn.Module], model: Any
) -> tuple[float | None, float | None]:
    """Of the folded copy from float64, and where that is much, in float64; nothing where no copy is made."""

    size = (images.shape[2], images.shape[3])
    twin, modules = fast_copy(network, blocks, size)
    if twin is network:
        return None, None

    def maps(of: nn.Module, which: Any, dtype: torch.dtype) -> Tensor:
        cams = grad_cam(of, images.to(dtype), targets, which, layouts=model.layouts)
        return torch.cat([cams[name].map.flatten() for name in blocks])

    found = maps(twin, modules, torch.float32)
    del twin, modules  # the largest networks and their copies in float64 take 8 GB
    wide = copy.deepcopy(network).double()
    try:
        right = maps(wide, list(blocks), torch.float64)
    except (RuntimeError, DasExplainError):  # it makes float32 tensors of its own
        return None, None
    difference = float((found - right).abs().max())
    if difference <= FOLDED:
        return difference, None
    twin, modules = fast_copy(wide, {name: wide.get_submodule(name) for name in blocks}, size)
    return difference, float((maps(twin, modules, torch.float64) - right).abs().max())


def examined(names: list[str], out: Path | None) -> Iterator[dict[str, Any]]:
    """A row per network; those of ``out`` are taken from there, new ones are added to it."""
    known = _read(out) if out and out.exists() else {}
    for name in names:
        row = known.get(name)
        if row is None:
            try:
                row = examine(name)
            except Exception as error:  # what should have been one line
                row = {"network": name, "crashed": f"{type(error).__name__}: {error}", "sensible": False}
            if out:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        yield row


def _read(out: Path) -> dict[str, dict[str, Any]]:
    """Network -> row; a last line that was cut short is taken off the file."""
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        out.write_text("".join(whole), encoding="utf-8")
    return {row["network"]: row for row in map(json.loads, whole)}


def summary(rows: list[dict[str, Any]]) -> tuple[str, bool]:
    """What a run found, a line for each kind of trouble with the networks that have it; whether the goals are met."""
    sensible = sum(row["sensible"] for row in rows)
    compared = [value for row in rows for value in row.get("peer", {}).values() if value is not None]
    lines = [
        f"{len(rows)} networks: {sensible} with sensible blocks ({sensible / max(1, len(rows)):.1%})",
        f"{len(compared)} maps compared with pytorch-grad-cam, {sum(not each <= PEER for each in compared)} further than {PEER:g}",
    ]
    named = {key: [row["network"] for row in rows if row.get(key)] for key in ("wrong", "crashed", "refused", "empty")}
    named["not sensible"] = [row["network"] for row in rows if not (row["sensible"] or "refused" in row)]
    lines += [f"{key}: {', '.join(names) or 'none'}" for key, names in named.items()]
    met = not named["wrong"] and not named["crashed"] and sensible >= SENSIBLE * len(rows)
    return "\n".join(lines), met


def _line(row: dict[str, Any]) -> str:
    for key in ("crashed", "refused"):
        if key in row:
            return f"{row['network']:45} {key.upper()}: {row[key]}"
    each = [
        f"{block} {row['layouts'][block]} {'x'.join(map(str, row['grids'][block]))} {_shown(row['peer'][block])}"
        for block in row["blocks"]
    ]
    verdict = "WRONG" if "wrong" in row else "" if row["sensible"] else "NOT SENSIBLE"
    verdict += f" EMPTY {', '.join(row['empty'])}" if row.get("empty") else ""
    times = f"{row['load_s']:.1f} + {row['explain_s']:.1f} s"
    return f"{row['network']:45} {'  |  '.join(each)}  |  folded {_shown(row['folded'])}  {times} {verdict}"


def _shown(difference: float | None) -> str:
    return "-" if difference is None else f"{difference:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    rows = []
    wanted = [name for name in networks() if name.startswith(arguments.only)]
    for number, row in enumerate(examined(wanted, arguments.out), 1):
        rows.append(row)
        print(f"{number}/{len(wanted)} {_line(row)}", flush=True)
    told, met = summary(rows)
    print(told)
    sys.exit(not met)


if __name__ == "__main__":
    main()
