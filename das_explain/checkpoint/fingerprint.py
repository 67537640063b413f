"""What tells one network from another: a digest of its weights, and of what was done to it afterwards."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def fingerprint(network: nn.Module) -> str:
    """SHA-256, in hexadecimal, over the names, types, shapes and values of a network's state, in order of names."""
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode(errors="backslashreplace"))
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def intervened(mark: str, gates: str) -> str:
    """The fingerprint of a network with replaced gates: it has the weights, but not the results, of the original."""
    return hashlib.sha256(f"{mark}+gates={gates}".encode()).hexdigest()
