"""Residual blocks whose convolutions add the shortcut and apply the ReLU in the same oneDNN call.

PyTorch writes a convolution's output to memory, reads it for the addition, again for the ReLU. oneDNN does both while
the output is still in the cache. PyTorch ships that operator for its compiler (``torch.ops.mkldnn``), which needs a C++
compiler on the user's machine; it is called directly here. ``fusible`` says whether it is there: it is no public API.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from das_explain.nn.resnet import AttendedBasicBlock, AttendedBottleneck

BLOCKS = (BasicBlock, Bottleneck, AttendedBasicBlock, AttendedBottleneck)


def fusible(conv: nn.Module) -> bool:
    """Whether a module is a convolution that can run on the fused operator as it is now."""
    return (
        type(conv) is nn.Conv2d
        and conv.weight.device.type == "cpu"
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and _has_kernel(conv.weight.dtype)
    )


def _has_kernel(dtype: torch.dtype) -> bool:
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class FusedConv2d(nn.Module):
    """``relu(conv(x) + shortcut)``, the addition and the ReLU as far as asked for; weights are constants.

    The backward pass of an unstrided convolution is a convolution too, by the mirrored kernel, and runs on the same
    operator. Kernels are brought into oneDNN's own layout once, when they are first used.
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.relu = conv.weight, conv.bias, relu
        self.padding, self.stride, self.dilation, self.groups = conv.padding, conv.stride, conv.dilation, conv.groups
        self._packed: Tensor | None = None
        self._mirrored: Tensor | None = None

    def forward(self, x: Tensor, shortcut: Tensor | None = None, *, spent: bool = False) -> Tensor:
        """x: (N, C, H, W), shortcut: of the output's shape; both are brought to the weights' dtype, the output's.

        ``spent``: nobody needs the shortcut any more, so the output may take its place.
        """
        dtype = self.weight.dtype
        x, shortcut = x.to(dtype), None if shortcut is None else shortcut.to(dtype)
        if x.requires_grad or (shortcut is not None and shortcut.requires_grad):
            return _FusedConv.apply(x, shortcut, self)
        return self.convolve(x, shortcut, spent)

    def __getstate__(self) -> dict:
        """Without the packed kernels, which can be neither copied nor pickled."""
        return {**self.__dict__, "_packed": None, "_mirrored": None}

    def convolve(self, x: Tensor, shortcut: Tensor | None, spent: bool = False) -> Tensor:
        """The operator itself."""
        geometry = self.padding, self.stride, self.dilation, self.groups
        if self._packed is None:
            self._packed = _pack(self.weight, *geometry, x.shape)
        operators, relu = torch.ops.mkldnn, "relu" if self.relu else None
        if shortcut is None:
            return operators._convolution_pointwise(x, self._packed, self.bias, *geometry, relu or "none", [], "")
        rest = (self._packed, self.bias, *geometry, "add", 1.0, relu, [], "")
        if spent:
            return operators._convolution_pointwise_.binary(shortcut, x, *rest)
        return operators._convolution_pointwise.binary(x, shortcut, *rest)

    def transpose(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient with respect to ``x`` of the convolution alone."""
        padding = [d * (k - 1) - p for d, k, p in zip(self.dilation, self.weight.shape[2:], self.padding)]
        if self.groups > 1 or self.stride != (1, 1) or min(padding) < 0:
            return torch.ops.aten.convolution_backward(
                gradient, x, self.weight, None, self.stride, self.padding, self.dilation, False, (0, 0), self.groups,
                (True, False, False),
            )[0]  # fmt: skip
        geometry = padding, self.stride, self.dilation, self.groups
        if self._mirrored is None:
            mirrored = self.weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
            self._mirrored = _pack(mirrored, *geometry, gradient.shape)
        return torch.ops.mkldnn._convolution_pointwise(gradient, self._mirrored, None, *geometry, "none", [], "")


def _pack(weight: Tensor, *geometry_and_shape) -> Tensor:
    return torch.ops.mkldnn._reorder_convolution_weight(weight.detach(), *geometry_and_shape)


class _FusedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, shortcut: Tensor | None, layer: FusedConv2d) -> Tensor:
        out = layer.convolve(x, shortcut)
        ctx.layer = layer
        ctx.save_for_backward(x, *([out] if layer.relu else []))
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, *out = ctx.saved_tensors
        if out:
            gradient = torch.ops.aten.threshold_backward(gradient, out[0], 0)
        to_x = ctx.layer.transpose(gradient, x) if ctx.needs_input_grad[0] else None
        return to_x, gradient if ctx.needs_input_grad[1] else None, None


class FusedBlock(nn.Module):
    """A basic block or bottleneck whose batch norms are folded; the children that are left keep their names.

    ``follows``: its input is the output of another such block and goes nowhere else.
    """

    def __init__(self, block: nn.Module, *, follows: bool = False) -> None:
        super().__init__()
        self.follows = follows
        names = [name for name in ("conv1", "conv2", "conv3") if hasattr(block, name)]
        self.gate = None if isinstance(gate := getattr(block, "gate", None), nn.Identity) else gate
        for name in names:
            last = name == names[-1]
            setattr(self, name, FusedConv2d(getattr(block, name), relu=not last or self.gate is None))
        self.last = names[-1]
        self.downsample = block.downsample
        self.projects = isinstance(block.downsample, nn.Sequential) and fusible(block.downsample[0])
        if self.projects:
            self.downsample[0] = FusedConv2d(block.downsample[0], relu=False)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = self.conv1(x)
        if self.last == "conv3":
            residual = self.conv2(residual)
        last = getattr(self, self.last)
        if self.gate is None:
            return last(residual, shortcut, spent=self.projects or self.follows and shortcut is x)
        return (self.gate(last(residual)) + shortcut).relu_()
