"""Running a network that belongs to somebody else: it is left as it was found, its answer is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError


@contextmanager
def as_found(network: nn.Module) -> Iterator[None]:
    """Eval mode and frozen parameters inside, everything as before outside."""
    training = [module for module in network.modules() if module.training]
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True


class OneByOne(nn.Module):
    """A network that is shown a batch image by image, because it answers differently in company."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return torch.cat([check_logits(self.network(image[None]), 1) for image in images])


def check_logits(output: object, count: int) -> Tensor:
    """The logits (N, K) of whatever the network returned; the first of a tuple.

    Raises:
        DasExplainError: they are no tensor (``count``, K).
    """
    if isinstance(output, (tuple, list)):
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != count:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise DasExplainError(f"the network must return logits (N, classes); it returned {shape}")
    return output
