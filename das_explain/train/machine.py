"""What the machine has: a GPU or not, bf16 or not, and which of the run's processes this one is."""

from __future__ import annotations

import platform

import torch

from das_explain.train.schema import Recipe


def on_gpu(recipe: Recipe) -> bool:
    """Whether the recipe is run on GPUs here."""
    return recipe.loop.device != "cpu" and torch.cuda.is_available()


def resolve_precision(recipe: Recipe) -> str:
    """``bf16``, ``16`` or ``32``: what ``loop.precision`` means on this machine."""
    if recipe.loop.precision != "auto":
        return recipe.loop.precision
    if on_gpu(recipe):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    return "bf16" if _cpu_has_bf16() else "32"


def is_leader() -> bool:
    """Whether this process is the first of the run's: the one that writes files and speaks."""
    from lightning.pytorch.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def _cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 by itself (AVX512-BF16, AMX, Arm BF16); emulated it is slower than fp32."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(test() for test in tests if test)
