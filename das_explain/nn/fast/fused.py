"""Residual blocks whose convolutions add the shortcut and apply the ReLU in the same oneDNN call.

PyTorch writes a convolution's output to memory, reads it for the addition, again for the ReLU. oneDNN does both while
the output is still in the cache. PyTorch ships that operator for its compiler (``torch.ops.mkldnn``), which needs a C++
compiler on the user's machine; it is called directly here. ``fusible`` says whether it is there: it is no public API.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from das_explain.nn.backbones.resnet import AttendedBasicBlock, AttendedBottleneck
from das_explain.nn.carried import mean_gradient_suffices

BLOCKS = (BasicBlock, Bottleneck, AttendedBasicBlock, AttendedBottleneck)


def fusible(conv: nn.Module) -> bool:
    """Whether a module is a convolution that can run on the fused operator as it is now."""
    return bool(
        type(conv) is nn.Conv2d
        and conv.weight.device.type == "cpu"
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_convolution_transpose_pointwise")
        and _has_kernel(conv.weight.dtype)
    )


def _has_kernel(dtype: torch.dtype) -> bool:
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class FusedConv2d(nn.Module):
    """``relu(conv(x) + shortcut)``, the addition and the ReLU as far as asked for; weights are constants.

    Kernels are brought into oneDNN's own layout once for each direction, when they are first used.

    An input of which ``allow_mean_gradient`` was said gets a gradient that is right in its mean over the map only, which
    is all that Grad-CAM takes from its first block: a small matrix product instead of a convolution.
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.relu = conv.weight, conv.bias, relu
        self.padding, self.stride, self.dilation, self.groups = conv.padding, conv.stride, conv.dilation, conv.groups
        self._packed: Tensor | None = None
        self._packed_transpose: Tensor | None = None

    def forward(self, x: Tensor, shortcut: Tensor | None = None, *, spent: bool = False) -> Tensor:
        """x: (N, C, H, W), shortcut: of the output's shape; both are brought to the weights' dtype, the output's.

        ``spent``: nobody needs the shortcut any more, so the output may take its place.
        """
        dtype, mean_only = self.weight.dtype, mean_gradient_suffices(x)
        x, shortcut = x.to(dtype), None if shortcut is None else shortcut.to(dtype)
        if x.requires_grad or (shortcut is not None and shortcut.requires_grad):
            return _FusedConv.apply(x, shortcut, self, mean_only)
        return self.convolve(x, shortcut, spent)

    def __getstate__(self) -> dict:
        """Without the packed kernels, which can be neither copied nor pickled."""
        return {**self.__dict__, "_packed": None, "_packed_transpose": None}

    def convolve(self, x: Tensor, shortcut: Tensor | None, spent: bool = False) -> Tensor:
        """The operator itself."""
        geometry = self.padding, self.stride, self.dilation, self.groups
        if self._packed is None:
            pack = torch.ops.mkldnn._reorder_convolution_weight
            self._packed = pack(self.weight.detach(), *geometry, x.shape)
        operators, relu = torch.ops.mkldnn, "relu" if self.relu else None
        if shortcut is None:
            return operators._convolution_pointwise(x, self._packed, self.bias, *geometry, relu or "none", [], "")
        rest = (self._packed, self.bias, *geometry, "add", 1.0, relu, [], "")
        if spent:
            return operators._convolution_pointwise_.binary(shortcut, x, *rest)
        return operators._convolution_pointwise.binary(x, shortcut, *rest)

    def transpose(self, gradient: Tensor, height: int, width: int) -> Tensor:
        """The gradient with respect to the input, (N, C, height, width), of the convolution alone."""
        beyond = [  # rows and columns at the end that a stride leaves unread
            size - ((n - 1) * stride + dilation * (k - 1) + 1 - 2 * padding)
            for size, n, k, stride, dilation, padding in zip(
                (height, width), gradient.shape[2:], self.weight.shape[2:], self.stride, self.dilation, self.padding
            )
        ]
        geometry = self.padding, beyond, self.stride, self.dilation, self.groups
        if self._packed_transpose is None:
            pack = torch.ops.mkldnn._reorder_convolution_transpose_weight
            self._packed_transpose = pack(self.weight.detach(), *geometry, gradient.shape)
        operator = torch.ops.mkldnn._convolution_transpose_pointwise
        return operator(gradient, self._packed_transpose, None, *geometry, "none", [], "")

    def transpose_mean(self, gradient: Tensor, height: int, width: int) -> Tensor:
        """The mean of ``transpose`` over the map, (N, C, 1, 1).

        A kernel's tap sees the input shifted: what it adds to the sum is its weight times the sum of the gradient over
        the outputs for which it lay inside the input.
        """
        rows, columns = (
            self._inside(axis, gradient.shape[2 + axis], size).to(gradient) for axis, size in enumerate((height, width))
        )
        sums = torch.kron(rows, columns) @ gradient.permute(0, 2, 3, 1).flatten(1, 2)  # (N, taps, outputs' channels)
        weight = self.weight.permute(2, 3, 0, 1).flatten(0, 2)
        return (sums.flatten(1) @ weight / (height * width))[..., None, None]

    def _inside(self, axis: int, outputs: int, inputs: int) -> Tensor:
        """bool (taps, outputs): the tap lies on the input, not on its padding."""
        taps, starts = torch.arange(self.weight.shape[2 + axis]), torch.arange(outputs)
        at = taps[:, None] * self.dilation[axis] + starts * self.stride[axis] - self.padding[axis]
        return (at >= 0) & (at < inputs)


class _FusedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, shortcut: Tensor | None, layer: FusedConv2d, mean_only: bool) -> Tensor:
        out = layer.convolve(x, shortcut)
        ctx.layer, ctx.shape, ctx.mean_only = layer, x.shape, mean_only and layer.groups == 1
        ctx.save_for_backward(*([out] if layer.relu else []))
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if ctx.layer.relu:
            gradient = torch.ops.aten.threshold_backward(gradient, *ctx.saved_tensors, 0)
        to_x = None
        if ctx.needs_input_grad[0] and ctx.mean_only:
            mean = ctx.layer.transpose_mean(gradient, *ctx.shape[2:])
            to_x = mean.expand(ctx.shape).contiguous(memory_format=torch.channels_last)
        elif ctx.needs_input_grad[0]:
            to_x = ctx.layer.transpose(gradient, *ctx.shape[2:])
        return to_x, gradient if ctx.needs_input_grad[1] else None, None, None


class FusedStem(nn.Module):
    """A ResNet's first convolution and its pooling, a few images at a time.

    What lies between them is the largest map of the network; that of two images of 224 px stays in the cache.
    """

    PIXELS = 2**17  # of the images, at a time

    def __init__(self, conv: FusedConv2d, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.conv, self.pool = conv, pool

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(max(1, self.PIXELS // (x.shape[-2] * x.shape[-1])))
        return torch.cat([self.pool(self.conv(part)) for part in parts])


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
            return last(residual, shortcut, spent=self.projects or (self.follows and shortcut is x))
        return (self.gate(last(residual)) + shortcut).relu_()
