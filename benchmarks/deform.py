"""Modulated deformable convolution: torchvision's operator beside ours, at the gates of DAS networks.

    OMP_NUM_THREADS=1 python benchmarks/deform.py [--batch 8] [--rounds 7] [--channels-last] [--only resnet50]

The networks are those of the paper (ResNet-101's gates are ResNet-50's), at 224 pixels; ``tiny`` are the last maps of
32x32 images and smaller ones, where what a call costs by itself counts most.

Both run in one process, in turns, on the same tensors, after a check that their results agree; the medians of the
rounds are printed, and their ratio (above 1: ours is faster), which other work on the machine moves least.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from das_explain.nn.deform import modulated_deform_conv2d

GATES = {  # channels in, channels out, side
    "resnet50": ((51, 256, 56), (102, 512, 28), (204, 1024, 14), (409, 2048, 7)),
    "resnet18": ((12, 64, 56), (25, 128, 28), (51, 256, 14), (102, 512, 7)),
    "mobilenet_v2": ((3, 16, 112), (4, 24, 56), (6, 32, 28), (19, 96, 14), (32, 160, 7), (64, 320, 7)),
    "tiny": ((51, 256, 2), (102, 512, 1), (409, 2048, 1), (1, 3, 5)),
}


def theirs(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor) -> Tensor:
    return deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=modulation)


def tensors(channels: int, out_channels: int, side: int, batch: int, layout: torch.memory_format) -> list[Tensor]:
    """x, offset (a pixel or so), modulation in (0, 2), weight."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    x, offset = normal(batch, channels, side, side), normal(batch, 18, side, side)
    modulation = 2 * normal(batch, 9, side, side).sigmoid()
    weight = normal(out_channels, channels, 3, 3) / channels**0.5
    return [*(tensor.contiguous(memory_format=layout) for tensor in (x, offset, modulation)), weight]


def forward(operator: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        return [operator(*inputs)]


def forward_backward(operator: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    out = operator(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, torch.ones_like(out))]


def seconds(run: Callable, operator: Callable[..., Tensor], inputs: list[Tensor]) -> float:
    start = time.perf_counter()
    run(operator, inputs)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--only", choices=GATES, help="one network")
    arguments = parser.parse_args()
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {arguments.batch}, {layout}")
    print(f"{'gate':>18}  {'what':<16} {'torchvision':>12} {'ours':>10} {'ratio':>6}")
    for network in [arguments.only] if arguments.only else GATES:
        compare(network, arguments.batch, arguments.rounds, layout)


def compare(network: str, batch: int, rounds: int, layout: torch.memory_format) -> None:
    """Prints the medians of each gate and their sums."""
    totals = {forward: [0.0, 0.0], forward_backward: [0.0, 0.0]}
    for channels, out_channels, side in GATES[network]:
        inputs = tensors(channels, out_channels, side, batch, layout)
        for run, total in totals.items():
            for a, b in zip(run(theirs, inputs), run(modulated_deform_conv2d, inputs), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(a.abs().max()))  # also the warm-up
            pairs = [
                (seconds(run, theirs, inputs), seconds(run, modulated_deform_conv2d, inputs)) for _ in range(rounds)
            ]
            medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
            total[:] = [before + median for before, median in zip(total, medians, strict=True)]
            report(f"{channels}->{out_channels} @ {side}x{side}", run, medians)
    for run, total in totals.items():
        report(network, run, total)


def report(what: str, run: Callable, medians: list[float]) -> None:
    a, b = (1000 * value for value in medians)
    print(f"{what:>18}  {run.__name__:<16} {a:>9.1f} ms {b:>7.1f} ms {a / b:>6.2f}", flush=True)


if __name__ == "__main__":
    main()
