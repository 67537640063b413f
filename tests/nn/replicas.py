"""Replicas of a network as ``torch.nn.parallel.replicate`` makes them for GPUs, on the CPU."""

from __future__ import annotations

from torch import nn


def replicate(network: nn.Module, count: int) -> list[nn.Module]:
    """Copies that share nothing but what is no module, parameter or buffer: as data parallelism copies ``__dict__``.

    Their parameters are no leaves, and no ``Parameter`` either: a gradient reaches the network's own.
    """
    return [_replica(network, {}) for _ in range(count)]


def _replica(module: nn.Module, made: dict[nn.Module, nn.Module]) -> nn.Module:
    if module in made:
        return made[module]
    replica = made[module] = module._replicate_for_data_parallel()
    for name, child in module._modules.items():
        replica._modules[name] = None if child is None else _replica(child, made)
    for name, parameter in module._parameters.items():
        if parameter is None:
            replica._parameters[name] = None
        else:
            setattr(replica, name, parameter * 1)
    for name, buffer in module._buffers.items():
        replica._buffers[name] = None if buffer is None else buffer.clone()
    return replica
