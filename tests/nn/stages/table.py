"""The default stages of some 200 networks: ``python -m tests.nn.stages.table`` writes the table that the tests hold.

Networks are built on the meta device, where they have shapes and no values. That is enough for all but those whose stages
depend on values (which patches a class token hears of): these are built for real.
"""

from __future__ import annotations

import csv
import logging
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

from das_explain.nn.stages import find_stages

TABLE = Path(__file__).with_name("default_stages.csv")
REAL = ("coat_", "crossvit", "pit_", "tnt_", "regnet_x_400mf", "regnet_y_400mf")
"""How the names of networks begin that are built with values."""
MORE = (
    "beit_base_patch16_224", "beitv2_large_patch16_224", "caformer_s18", "coatnet_0_rw_224", "convformer_s18",
    "convnextv2_atto", "cspdarknet53", "cspresnext50", "darknet53", "deit3_small_patch16_224",
    "deit_base_distilled_patch16_224", "dm_nfnet_f0", "eca_nfnet_l0", "efficientnet_lite0", "efficientnetv2_rw_s",
    "eva02_tiny_patch14_224", "flexivit_small", "gernet_s", "gmlp_s16_224", "inception_next_tiny",
    "maxvit_tiny_tf_224", "mnasnet_100", "mobilenet_edgetpu_v2_s", "mobilenetv4_conv_small", "mobilevitv2_050",
    "poolformer_s12", "repvgg_a0", "resmlp_12_224", "resnest14d", "resnetrs50", "resnetv2_50x1_bit", "seresnet50",
    "semnasnet_075", "spnasnet_100", "swin_s3_tiny_224", "tf_efficientnet_b0", "tinynet_e", "twins_svt_small",
    "vit_base_patch32_clip_224", "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2", "vit_so400m_patch14_siglip_gap_224",
    "vit_srelpos_small_patch16_224", "wide_resnet50_2", "xcit_tiny_12_p8_224",
)  # fmt: skip
"""Of timm's, beside one of each family."""


def build(name: str) -> tuple[nn.Module, tuple[int, int]]:
    """The network ``torchvision:NAME`` or ``timm:NAME``, untrained, and the size of its photos."""
    source, _, name = name.partition(":")
    device = "cpu" if name.startswith(REAL) else "meta"
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore")
        if source == "torchvision":
            from torchvision.models import get_model

            init = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            return get_model(name, weights=None, **init).eval(), (299, 299) if name == "inception_v3" else (224, 224)
        import timm

        network = timm.create_model(name, pretrained=False).eval()
        _, height, width = timm.data.resolve_data_config({}, model=network)["input_size"]
        return network, (height, width)


def default_stages(name: str) -> list[str]:
    """The two stages that are explained of a network where nobody says which."""
    network, size = build(name)
    return list(find_stages(network, size))[-2:]


def names() -> list[str]:
    """All of torchvision's, and of timm's one of each family (``benchmarks.zoo``) and some more."""
    import torchvision

    from benchmarks.zoo import FAMILIES

    theirs = torchvision.models.list_models(module=torchvision.models)
    timm = dict.fromkeys([*FAMILIES, *MORE])
    theirs = [name for name in theirs if not name.startswith("regnet") or name.endswith("400mf")]  # the rest are alike
    return [f"torchvision:{name}" for name in theirs] + [f"timm:{name}" for name in timm]


def read() -> dict[str, list[str]]:
    """Network -> its stages, as the table has them."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["network"]: [row[key] for key in ("earlier", "last") if row[key]] for row in csv.DictReader(file)}


def main() -> None:
    """Writes the table, network by network; those that it has are left as they are unless ``--all`` is given."""
    logging.disable(logging.CRITICAL)
    known = {} if "--all" in sys.argv or not TABLE.exists() else read()
    for name in names():
        if name not in known:
            try:
                known[name] = default_stages(name)
            except Exception as error:  # for the person who reads the table
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
        with TABLE.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["network", "earlier", "last"])
            writer.writerows([each, *([""] * (2 - len(stages))), *stages] for each, stages in sorted(known.items()))


if __name__ == "__main__":
    main()
