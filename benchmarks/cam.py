"""Maps of several blocks: pytorch-grad-cam, torch-cam, captum and this engine, side by side in one process.

    python benchmarks/cam.py                     # ResNet-50, blocks 3 and 4, batch 8, 224 px
    python benchmarks/cam.py --model resnet18 --attention das --repeat 5
    python benchmarks/cam.py --model collage-das-resnet18   # a trained network, on photos of the kind that it knows

All explain the same network, images and targets, in turn, round after round, each timed call after an untimed one;
the medians are compared. ``forward`` is one plain forward pass without gradients. ``this engine`` is
``das_explain.grad_cam`` on the network as it is; ``folded`` and ``bf16`` run on ``das_explain.nn.fast.fold.folded``, made
once, as ``das-explain sfd`` does on a CPU. The last column says how far the maps are from the same network's in
float64: a random network's maps are sums that nearly cancel, so that float32 itself is off by some per cent at block 3,
and bfloat16 says nothing about its maps; of a trained one it does.
Needs: pip install 'das-explain[benchmark]'.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchGradCAM

from das_explain.cam.engine import grad_cam
from das_explain.checkpoint.load import load_model
from das_explain.data.dataset import open_dataset
from das_explain.nn import BACKBONES, create_model
from das_explain.nn.fast.fold import folded

PEER = "pytorch-grad-cam"


def calls(
    network: nn.Module, images: Tensor, targets: Tensor, names: list[str]
) -> dict[str, Callable[[], list[Tensor]]]:
    """Name -> a function that returns one map (N, H, W) at the images' size per block."""
    size = tuple(images.shape[-2:])
    quick = folded(network)
    quick_bf16 = folded(network, dtype=torch.bfloat16)
    quick_images = images.contiguous(memory_format=torch.channels_last)

    def forward() -> list[Tensor]:
        with torch.no_grad():
            network(images)
        return []

    def pytorch_grad_cam() -> list[Tensor]:
        maps = []
        for name in names:
            with GradCAM(network, [network.get_submodule(name)]) as explainer:
                chosen = [ClassifierOutputTarget(int(target)) for target in targets]
                maps.append(torch.as_tensor(explainer(images, chosen)))
        return maps

    def captum() -> list[Tensor]:
        maps = []
        for name in names:
            explainer = LayerGradCam(network, network.get_submodule(name))
            raw = explainer.attribute(images, target=targets, relu_attributions=True)
            maps.append(nn.functional.interpolate(raw.detach(), size, mode="bilinear")[:, 0])
        return maps

    def torch_cam() -> list[Tensor]:
        with TorchGradCAM(network, names) as explainer:
            logits = network(images)
            raw = explainer([int(target) for target in targets], logits)
        return [nn.functional.interpolate(each[:, None].detach(), size, mode="bilinear")[:, 0] for each in raw]

    def ours() -> list[Tensor]:
        return [cam.map for cam in grad_cam(network, images, targets, names).values()]

    def ours_folded() -> list[Tensor]:
        return [cam.map for cam in grad_cam(quick, quick_images, targets, names).values()]

    def ours_bf16() -> list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return [cam.map for cam in grad_cam(quick_bf16, quick_images, targets, names).values()]

    return {
        "forward": forward,
        "this engine": ours,
        "this engine, folded": ours_folded,
        "this engine, bf16": ours_bf16,
        "torch-cam": torch_cam,
        "captum": captum,
        PEER: pytorch_grad_cam,
    }


def check(reference: list[Tensor], maps: list[Tensor]) -> str:
    """The largest difference after the same normalisation (captum and torch-cam leave that to their user), as text."""

    def unit(maps: Tensor) -> Tensor:
        maps = maps - maps.amin((1, 2), keepdim=True)
        return maps / (1e-7 + maps.amax((1, 2), keepdim=True))

    if not maps:
        return ""
    return f"{max(float((unit(a.float()) - unit(b.float())).abs().max()) for a, b in zip(reference, maps)):.1e}"


def random_network(arguments: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """An untrained network, noise and classes."""
    torch.manual_seed(0)
    network = create_model(arguments.model, arguments.attention)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():  # batch norms that fit: an uncalibrated random network has nothing but rounding in its maps
        network.train()(torch.randn(8, 3, arguments.size, arguments.size))
    images = torch.randn(arguments.batch, 3, arguments.size, arguments.size)
    return network.eval(), images, torch.arange(arguments.batch)


def trained_network(arguments: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """A trained network, collage photos as it sees them, and their classes."""
    model = load_model(arguments.model, device="cpu")
    dataset = open_dataset(f"collage:{arguments.batch}")
    images = torch.stack([model.preprocess(dataset.source.read(sample)) for sample in dataset.samples])
    return model.network, images, torch.tensor([model.labels.index(sample.label) for sample in dataset.samples])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="resnet50", help="a backbone, or the spec of a network of the collage's classes"
    )
    parser.add_argument("--attention", default="none")
    parser.add_argument("--blocks", default="layer3,layer4")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeat", type=int, default=11)
    arguments = parser.parse_args()

    make = random_network if arguments.model in BACKBONES else trained_network
    network, images, targets = make(arguments)
    names = arguments.blocks.split(",")
    todo = calls(network, images, targets, names)

    reference = todo[PEER]()
    exact = [cam.map for cam in grad_cam(copy.deepcopy(network).double(), images.double(), targets, names).values()]
    differences = {name: [check(each, call()) for each in (reference, exact)] for name, call in todo.items()}
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(arguments.repeat):
        for name, call in todo.items():
            gc.collect()  # what one engine leaves in reference cycles is not the next one's burden
            call()  # not timed: the heap and the caches are then as in a loop over this engine alone
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}

    attention = "" if arguments.attention == "none" else f", attention {arguments.attention}"
    print(
        f"{arguments.model}{attention}, {arguments.blocks}, batch {arguments.batch}, "
        f"{images.shape[-1]} px, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    beside = {
        "of ours": "this engine",
        "of folded": "this engine, folded",
        "of bf16": "this engine, bf16",
        "of forward": "forward",
    }
    print(f"{'':22}{'seconds':>9}{''.join(f'{title:>12}' for title in beside)}   difference to {PEER}, to float64")
    for name, median in medians.items():
        ratios = "".join(f"{median / medians[other]:12.2f}" for other in beside.values())
        print(f"{name:22}{median:9.3f}{ratios}   {differences[name][0]:27}{differences[name][1]}")


if __name__ == "__main__":
    main()
