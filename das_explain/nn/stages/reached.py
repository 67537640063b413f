"""On which maps the logits depend: behind the last attention of a class token the patches go nowhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from das_explain.nn.running import as_found, check_logits
from das_explain.nn.stages.layout import Size
from das_explain.nn.stages.probe import first_tensor, probe_images
from das_explain.nn.stages.stage import Stage


def reached_by_logits(network: nn.Module, size: Size, stages: Mapping[str, Stage]) -> set[str]:
    """Those of whose maps the logits depend on some part: of a class token's last block, they do on the token only.

    All of them where nothing can be told: without gradients, or where an operation in place is in the way.
    """
    taps: dict[str, Tensor] = {}

    def tap(name: str) -> Callable[[nn.Module, tuple, object], None]:
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and torch.is_grad_enabled():
                taps[name] = tensor if tensor.requires_grad else tensor.requires_grad_()

        return hook

    handles = [stage.call.module.register_forward_hook(tap(name)) for name, stage in stages.items()]
    try:
        with as_found(network), torch.inference_mode(False), torch.enable_grad():
            logits = check_logits(network(probe_images(network, size, 1)), 1)
            if not taps:
                return set(stages)  # the engine says so
            if not logits.requires_grad:
                return set()
            gradients = torch.autograd.grad(logits.square().sum(), list(taps.values()), allow_unused=True)
    except RuntimeError:  # an operation in place; the engine has a way around it
        return set(stages)
    finally:
        for handle in handles:
            handle.remove()
    return {
        name
        for name, gradient in zip(taps, gradients, strict=True)
        if gradient is not None and (gradient.is_meta or bool(stages[name].reading(gradient).abs().amax() > 0))
    }
