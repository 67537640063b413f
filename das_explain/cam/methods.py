"""Other class activation maps, computed by pytorch-grad-cam, in the form and with the manners of ``cam``.

pytorch-grad-cam runs the network again for every block, leaves gradients in its parameters, on a CPU lets an in-place
operation overwrite the map it has tapped, and after an error leaves its own layer in the network. All of this is dealt
with here; its numbers are left as they are.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from das_explain.cam.engine import (
    check_all_ran,
    check_differentiable,
    check_map,
    check_targets,
    explain,
    parse_layouts,
    resolve_blocks,
)
from das_explain.cam.maps import Cam, Maps, join_maps, normalize
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.answers import Answers
from das_explain.nn.carried import carry_on
from das_explain.nn.running import as_found, check_logits
from das_explain.nn.stages import Layout, Reading, readings_of

METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "gradcam-elementwise": "GradCAMElementWise",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
}
"""Name on the command line -> class of pytorch-grad-cam. ``gradcam`` is this project's own engine."""
WITHOUT_GRADIENTS = ("eigencam", "scorecam", "ablationcam")


def explain_with(
    method: str,
    network: nn.Module,
    images: Tensor,
    targets: Tensor | None,
    blocks: Sequence[str | nn.Module] | Mapping[str, nn.Module],
    *,
    size: tuple[int, int] | None = None,
    layouts: Mapping[str, Layout | str] | None = None,
    alone: bool = False,
) -> Maps:
    """``cam.explain`` for any method of ``METHODS``; arguments, result and errors as there.

    ``alone``: the network is shown one image at a time, because it answers differently in company.

    Raises:
        UsageError: an unknown method.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r} is unknown; choose among {', '.join(METHODS)}")
    if alone and images.ndim == 4 and len(images) > 1:
        wanted = torch.full((len(images),), -1) if targets is None else targets
        parts = [
            explain_with(method, network, images[i : i + 1], wanted[i : i + 1], blocks, size=size, layouts=layouts)
            for i in range(len(images))
        ]
        return join_maps(parts)
    if method == "gradcam" or images.ndim != 4 or not len(images):  # its errors; no image has no map by any method
        return explain(network, images, targets, blocks, size=size, layouts=layouts)
    modules = resolve_blocks(network, blocks)
    size = size or (images.shape[-2], images.shape[-1])
    with as_found(network), _unspoilt(network):
        logits, shapes = _checked_logits(network, images, modules, gradients=method not in WITHOUT_GRADIENTS)
        targets = check_targets(targets, logits)
        given = parse_layouts(layouts, modules)
        readings = readings_of(network, modules, shapes, (images.shape[-2], images.shape[-1]), given)
        cams: dict[str, Cam] = {}
        answering = Answers(network)  # pytorch-grad-cam knows logits (N, K) only
        for name, module in modules.items():
            raw, logits = _one_block(METHODS[method], answering, images, targets, name, module, readings[name])
            cams[name] = normalize(raw.to(images.device), size)
    return Maps(logits, targets, cams)


@contextlib.contextmanager
def _unspoilt(network: nn.Module) -> Iterator[None]:
    """Submodules, forward hooks and parameters' gradients afterwards as before, whatever was raised inside."""
    modules = [module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule)]
    children = [dict(module._modules) for module in modules]
    hooks = [set(module._forward_hooks) for module in modules]
    gradients = [(parameter, parameter.grad) for parameter in network.parameters()]
    try:
        yield
    finally:
        for module, its_children, its_hooks in zip(modules, children, hooks, strict=True):
            module._modules.update(its_children)
            for added in module._forward_hooks.keys() - its_hooks:
                del module._forward_hooks[added]
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _checked_logits(
    network: nn.Module, images: Tensor, modules: Mapping[str, nn.Module], *, gradients: bool
) -> tuple[Tensor, dict[str, tuple[int, ...]]]:
    """The logits of a plain forward pass and the shapes of the blocks, each of which has to give one map for each image.

    pytorch-grad-cam does not look.
    """
    seen: dict[str, tuple[int, ...]] = {}

    def look_at(name: str) -> Callable[[nn.Module, tuple[Any, ...], object], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            if isinstance(output, (tuple, list)):
                raise DasExplainError(f"block {name} gives several outputs; the method gradcam takes the first of them")
            tensor = check_map(name, output, len(images), seen)
            if gradients:
                check_differentiable(name, tensor)
            seen[name] = tuple(tensor.shape)

        return hook

    handles = [module.register_forward_hook(look_at(name)) for name, module in modules.items()]
    try:
        with torch.enable_grad():  # so that a block that turns it off is seen; frozen parameters record nothing
            logits = check_logits(network(images.detach()), len(images))
    finally:
        for handle in handles:
            handle.remove()
    check_all_ran(modules, seen)
    return logits, seen


def _one_block(
    class_name: str,
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    name: str,
    module: nn.Module,
    read: Reading,
) -> tuple[Tensor, Tensor]:
    """The raw map float32 (N, h, w), not negative, and the logits float32 (N, K)."""
    import pytorch_grad_cam
    from pytorch_grad_cam.ablation_layer import AblationLayerVit
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if class_name == "AblationCAM" and read.layout.kind == "nhwc":
        raise DasExplainError(
            f"block {name} has its channels last, which ablationcam cannot ablate; choose another method"
        )
    raw: list[Tensor] = []
    own = {"ablation_layer": AblationLayerVit()} if class_name == "AblationCAM" and read.layout.kind == "tokens" else {}
    explainer = getattr(pytorch_grad_cam, class_name)(network, [module], reshape_transform=read, **own)
    explainer.compute_input_gradient = explainer.uses_gradients  # parameters are frozen: the graph starts at the images
    its_own = explainer.get_cam_image

    def keep_raw(images: Any, layer: Any, targets: Any, activations: Any, gradients: Any, *args: Any) -> Any:
        if explainer.uses_gradients and gradients is None:
            raise DasExplainError(f"the logits do not depend on block {name}; choose another block")
        broken = ~np.isfinite(activations).all((1, 2, 3))  # some methods take NaN for 0, and stop at infinity
        if gradients is not None:
            broken |= ~np.isfinite(gradients).all((1, 2, 3))
            gradients = np.where(broken[:, None, None, None], 0, gradients)
        activations = np.where(broken[:, None, None, None], 0, activations)
        image = its_own(images, layer, targets, activations, gradients, *args)
        raw.append(torch.as_tensor(image).float().clamp(min=0))
        raw[-1][torch.as_tensor(broken)] = torch.nan
        return image

    explainer.get_cam_image = keep_raw
    # Runs after its hooks: what follows the block works on a copy, and the tapped map stays what it was.
    guard = module.register_forward_hook(lambda module, args, output: carry_on(output, output.clone()))
    try:
        with torch.enable_grad(), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            explainer(images.detach(), [ClassifierOutputTarget(int(target)) for target in targets])
        return raw[0], check_logits(explainer.outputs, len(images)).detach().float()
    finally:
        guard.remove()
        explainer.activations_and_grads.release()
