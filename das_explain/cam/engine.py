"""Grad-CAM (Selvaraju et al. 2017) for many blocks from one forward and one backward pass.

Equal to pytorch-grad-cam run once per block, at the cost of about one forward pass: parameters are frozen while it
runs, so autograd records nothing before the first wanted block and computes no parameter's gradient after it, and all
blocks' gradients come from a single ``torch.autograd.grad``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from das_explain.cam.maps import Cam, Maps, normalize
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.carried import allow_mean_gradient, carry_on
from das_explain.nn.running import as_found, check_logits
from das_explain.nn.stages import Layout, first_tensor, put_first, readings_of


def grad_cam(
    network: nn.Module,
    images: Tensor,
    targets: Tensor | None,
    blocks: Sequence[str | nn.Module] | Mapping[str, nn.Module],
    *,
    size: tuple[int, int] | None = None,
    layouts: Mapping[str, Layout | str] | None = None,
) -> dict[str, Cam]:
    """Class activation maps of several blocks (Grad-CAM, Eq. 1 and 2).

    The network is left as it was found: mode, parameters' ``requires_grad`` and ``grad``, hooks.

    It is also run as it was given. ``load_model(network).explain(photos)`` runs a copy with its batch norms folded, as the
    command line does: on a CPU up to rounding the same maps in about two thirds of the time. For tensors of one's own,
    ``cam.fast.fast_copy(network, blocks, size)`` gives that copy and its blocks, to be passed to this function.

    Args:
        network: any classifier (N, C, H, W) -> (N, K); run in eval mode.
        images: float (N, C, H, W), preprocessed, on the network's device.
        targets: int64 (N,), the logit to explain; -1, or ``None`` for all, explains an image's highest logit.
        blocks: dotted names or modules of ``network``, or name -> module.
        size: (height, width) of the maps; ``None``: the images'.
        layouts: block -> ``nchw``, ``nhwc``, ``tokens`` or ``tokens:PREFIX``, how its output is read; ``None``: by what
            the network knows of itself, else by its shape, where that admits one reading (``nn.stages.layout``).

    Returns:
        name -> ``Cam``, in the order of ``blocks``.

    Raises:
        UsageError: an unknown block or layout, a wrong target, an input that is no batch of images.
        DasExplainError: the network's output does not depend on a block, or a block gives no map, one that may be read in
            two ways, or more or fewer maps than there are images.

    >>> _ = torch.manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> cam = grad_cam(network, torch.rand(5, 3, 9, 9), torch.zeros(5, dtype=torch.int64), ["0"])["0"]
    >>> cam.map.shape, cam.native.shape, cam.raw_max.shape
    (torch.Size([5, 9, 9]), torch.Size([5, 4, 4]), torch.Size([5]))
    """
    return explain(network, images, targets, blocks, size=size, layouts=layouts).cams


def explain(
    network: nn.Module,
    images: Tensor,
    targets: Tensor | None,
    blocks: Sequence[str | nn.Module] | Mapping[str, nn.Module],
    *,
    size: tuple[int, int] | None = None,
    layouts: Mapping[str, Layout | str] | None = None,
) -> Maps:
    """``grad_cam``, with the logits and targets of the forward pass that made the maps."""
    if images.ndim != 4 or not images.is_floating_point():
        raise UsageError(f"images must be a float tensor (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
    modules = resolve_blocks(network, blocks)
    frame = (images.shape[-2], images.shape[-1])
    with as_found(network), torch.inference_mode(False), torch.enable_grad():
        images = images.detach().clone() if images.is_inference() else images.detach()
        with _tap(modules, len(images)) as taps:
            output = network(images)
        logits = check_logits(output, len(images))
        targets = check_targets(targets, logits)
        check_all_ran(modules, taps)
        score = logits.gather(1, targets.view(-1, 1)).sum()
        gradients = _gradients(score, taps)
    shapes = {name: tuple(tap.shape) for name, tap in taps.items()}
    readings = readings_of(network, modules, shapes, frame, parse_layouts(layouts, modules))
    cams = {
        name: _cam(read(taps[name].detach()), read(gradients[name]), size or frame) for name, read in readings.items()
    }
    return Maps(logits.detach().float(), targets, cams)


def parse_layouts(layouts: Mapping[str, Layout | str] | None, modules: Container[str]) -> dict[str, Layout]:
    """Layouts that a person gives, of blocks that are explained. Raises UsageError for an unknown one."""
    given = (layouts or {}).items()
    return {name: each if isinstance(each, Layout) else Layout.parse(each) for name, each in given if name in modules}


def resolve_blocks(
    network: nn.Module, blocks: Sequence[str | nn.Module] | Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    """Names or modules -> name -> module, in the given order."""
    if isinstance(blocks, Mapping):
        return dict(blocks)
    known = dict(network.named_modules())
    names = {id(module): name for name, module in known.items()}
    resolved = {}
    for block in blocks:
        name = names.get(id(block)) if isinstance(block, nn.Module) else block
        if not name or name not in known:
            raise UsageError(f"the network has no block {name or type(block).__name__!r}; see its named_modules()")
        resolved[name] = known[name]
    if not resolved:
        raise UsageError("no block to explain: name at least one")
    return resolved


@contextmanager
def _tap(modules: dict[str, nn.Module], count: int) -> Iterator[dict[str, Tensor]]:
    """Collects each block's output, and makes the first ones met the roots of the graph.

    The network goes on with a copy: an in-place operation that follows would otherwise overwrite the tapped map.
    """
    taps: dict[str, Tensor] = {}

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            tensor = first_tensor(output)
            tensor = check_map(name, tensor, count, taps)
            check_differentiable(name, tensor)
            is_root = not tensor.requires_grad
            taps[name] = tensor.detach().requires_grad_() if is_root else tensor
            following = carry_on(tensor, taps[name].clone())
            if is_root:  # no earlier block needs more than this one does
                allow_mean_gradient(following)
            return put_first(output, following)

        return hook

    handles = [module.register_forward_hook(hook_for(name)) for name, module in modules.items()]
    try:
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def check_map(name: str, output: object, count: int, seen: Container[str]) -> Tensor:
    """A block's output. Raises DasExplainError unless it may be maps of ``count`` images, and the first: not ``seen``."""
    if name in seen:
        raise DasExplainError(f"block {name} runs more than once in a forward pass; choose another block")
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        raise DasExplainError(f"block {name} gives no map of the image; choose another block")
    if len(output) != count:
        raise DasExplainError(
            f"block {name} gives {len(output)} maps for {_images(count)}: it works on windows or parts of them; choose a "
            "block around it"
        )
    return output


def check_differentiable(name: str, output: Tensor) -> None:
    """Raises DasExplainError where a block runs under ``no_grad`` or ``inference_mode`` of the network's own."""
    if not torch.is_grad_enabled() or output.is_inference():
        mode = "inference_mode" if torch.is_inference_mode_enabled() or output.is_inference() else "no_grad"
        raise DasExplainError(
            f"block {name} runs under torch.{mode} in the network's own forward, so no gradient reaches it: take that out "
            "of the forward, or choose a later block"
        )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def check_all_ran(blocks: Iterable[str], seen: Container[str]) -> None:
    """Raises DasExplainError for the first block that is not in ``seen``."""
    for name in blocks:
        if name not in seen:
            raise DasExplainError(f"block {name} did not run in the forward pass; choose another block")


def check_targets(targets: Tensor | None, logits: Tensor) -> Tensor:
    """int64 (N,) in range, on the logits' device; ``None`` and -1 become the image's highest logit."""
    highest = logits.detach().argmax(1)
    if targets is None:
        return highest
    targets = torch.as_tensor(targets, device=logits.device).long()
    if targets.shape != highest.shape:
        raise UsageError(f"targets must be ({len(logits)},), one class per image; they are {tuple(targets.shape)}")
    if len(targets) and not -1 <= int(targets.min()) <= int(targets.max()) < logits.shape[1]:
        raise UsageError(
            f"targets must lie in 0..{logits.shape[1] - 1}; they run from {int(targets.min())} to {int(targets.max())}"
        )
    return torch.where(targets < 0, highest, targets)


def _gradients(score: Tensor, taps: dict[str, Tensor]) -> dict[str, Tensor]:
    if not score.requires_grad:
        raise DasExplainError(_independent(next(iter(taps))))
    gradients = torch.autograd.grad(score, list(taps.values()), allow_unused=True)
    for name, gradient in zip(taps, gradients, strict=True):
        if gradient is None:
            raise DasExplainError(_independent(name))
    return dict(zip(taps, gradients, strict=True))


def _independent(name: str) -> str:
    return (
        f"the logits do not depend on block {name}, or what follows it runs under torch.no_grad or detach; choose another "
        "block"
    )


def _cam(activation: Tensor, gradient: Tensor, size: tuple[int, int]) -> Cam:
    """Channel weights (Eq. 1), weighted sum and ReLU (Eq. 2), then pytorch-grad-cam's normalisation and resizing."""
    with torch.autocast(activation.device.type, enabled=False):
        # Positive and negative terms nearly cancel in the sum: float32 maps are added up in float64 (MPS has none).
        wide = activation.dtype == torch.float32 and activation.device.type != "mps"
        precise = torch.float64 if wide else torch.promote_types(activation.dtype, torch.float32)
        weights = gradient.mean((2, 3), dtype=precise)  # (N, C)
        raw = torch.einsum("nc,nchw->nhw", weights, activation.to(precise)).relu()
        return normalize(raw.float(), size)
