"""Other class activation maps, computed by pytorch-grad-cam, in the form and with the manners of ``cam``.

pytorch-grad-cam runs the network again for every block, leaves gradients in its parameters and, on a CPU, lets an
in-place operation overwrite the map it has tapped. All three are dealt with here, its numbers are left as they are.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from das_explain.cam import Cam, Explanation, as_found, check_logits, check_targets, explain, normalize, resolve_blocks
from das_explain.errors import UsageError

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


def explain_with(
    method: str,
    network: nn.Module,
    images: Tensor,
    targets: Tensor | None,
    blocks: Sequence[str | nn.Module] | Mapping[str, nn.Module],
    *,
    size: tuple[int, int] | None = None,
) -> Explanation:
    """``cam.explain`` for any method of ``METHODS``; arguments, result and errors as there.

    Raises:
        UsageError: an unknown method.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r} is unknown; choose among {', '.join(METHODS)}")
    if method == "gradcam":
        return explain(network, images, targets, blocks, size=size)
    modules = resolve_blocks(network, blocks)
    size = size or (images.shape[-2], images.shape[-1])
    with as_found(network):
        if targets is None or bool((targets < 0).any()):
            with torch.no_grad():
                targets = check_targets(targets, check_logits(network(images), len(images)))
        cams: dict[str, Cam] = {}
        for name, module in modules.items():
            raw, logits = _one_block(METHODS[method], network, images, targets, module)
            cams[name] = normalize(raw.to(images.device), size)
    return Explanation(logits, check_targets(targets, logits), cams)


def _one_block(
    class_name: str, network: nn.Module, images: Tensor, targets: Tensor, module: nn.Module
) -> tuple[Tensor, Tensor]:
    """The raw map float32 (N, h, w), not negative, and the logits float32 (N, K)."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    raw: list[Tensor] = []
    explainer = getattr(pytorch_grad_cam, class_name)(network, [module])
    explainer.compute_input_gradient = explainer.uses_gradients  # parameters are frozen: the graph starts at the images
    its_own = explainer.get_cam_image

    def keep_raw(*args, **kwargs):
        image = its_own(*args, **kwargs)
        raw.append(torch.as_tensor(image).float().clamp(min=0))
        return image

    explainer.get_cam_image = keep_raw
    # Runs after its hooks: what follows the block works on a copy, and the tapped map stays what it was.
    guard = module.register_forward_hook(lambda module, args, output: output.clone())
    try:
        with torch.enable_grad(), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            explainer(images.detach(), [ClassifierOutputTarget(int(target)) for target in targets])
        return raw[0], check_logits(explainer.outputs, len(images)).detach().float()
    finally:
        guard.remove()
        explainer.activations_and_grads.release()
