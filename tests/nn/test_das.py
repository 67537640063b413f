"""The gate and its deformable convolution, against loops written from the equations and against torchvision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from das_explain.nn import DASGate
from das_explain.nn.attention.das import das_gate
from das_explain.nn.attention.das import gate as das_module
from das_explain.nn.deform import modulated_deform_conv2d

SIZES = [(5, 4), (3, 7), (2, 2), (1, 5), (4, 1), (1, 1)]


def lively_gate(channels: int, alpha: float = 0.3, *, seed: int = 0, **arguments: float) -> DASGate:
    """A gate as after training: nothing is zero or one, offsets are fractions of a pixel to several pixels."""
    torch.manual_seed(seed)
    gate = DASGate(channels, alpha, **arguments).double()
    with torch.no_grad():
        for name, parameter in gate.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (2.0 if name == "offset.bias" else 0.5))
    return gate


# --- the slow reference: Eq. 1 to 4, one pixel and one tap at a time


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, groups: int = 1) -> np.ndarray:
    out_channels, in_channels, k, _ = weight.shape
    height, width = x.shape[1:]
    out = np.zeros((out_channels, height, width))
    for o in range(out_channels):
        first = o * groups // out_channels * in_channels
        for row in range(height):
            for column in range(width):
                total = bias[o]
                for i in range(in_channels):
                    for dy in range(k):
                        for dx in range(k):
                            y, z = row + dy - k // 2, column + dx - k // 2
                            if 0 <= y < height and 0 <= z < width:
                                total += weight[o, i, dy, dx] * x[first + i, y, z]
                out[o, row, column] = total
    return out


def look_up(plane: np.ndarray, y: float, x: float) -> float:
    """Bilinear, zero outside."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column]
    return total


def deform(x: np.ndarray, offset: np.ndarray, modulation: np.ndarray, weight: np.ndarray) -> np.ndarray:
    out_channels, in_channels, k, _ = weight.shape
    height, width = x.shape[1:]
    out = np.zeros((out_channels, height, width))
    for row in range(height):
        for column in range(width):
            for tap in range(k * k):
                y = row + tap // k - k // 2 + offset[2 * tap, row, column]
                z = column + tap % k - k // 2 + offset[2 * tap + 1, row, column]
                for i in range(in_channels):
                    value = modulation[tap, row, column] * look_up(x[i], y, z)
                    for o in range(out_channels):
                        out[o, row, column] += weight[o, i, tap // k, tap % k] * value
    return out


def slow_gate(gate: DASGate, image: np.ndarray) -> np.ndarray:
    p = {name: parameter.detach().numpy() for name, parameter in gate.named_parameters()}
    compressed = convolve(image, p["depthwise.weight"], p["depthwise.bias"], groups=len(image))
    compressed = convolve(compressed, p["pointwise.weight"], p["pointwise.bias"])
    context = np.zeros_like(compressed)
    for channel, plane in enumerate(compressed):
        normed = (plane - plane.mean()) / math.sqrt(plane.var() + 1e-5)
        context[channel] = [[v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in normed]
    offset = convolve(context, p["offset.weight"], p["offset.bias"])
    modulation = gate.modulation_scale / (1 + np.exp(-convolve(context, p["modulation.weight"], p["modulation.bias"])))
    deformed = deform(context, offset, modulation, p["weight"])
    out = np.zeros_like(image)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            pixel = deformed[:, row, column]
            normed = (pixel - pixel.mean()) / math.sqrt(pixel.var() + 1e-5)
            normed = normed * p["layer_norm.weight"] + p["layer_norm.bias"]
            out[:, row, column] = image[:, row, column] / (1 + np.exp(-normed))
    return out


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("size", SIZES)
def test_gate_equals_the_equations(size: tuple[int, int], scale: float) -> None:
    gate = lively_gate(7, modulation_scale=scale)
    x = torch.randn(2, 7, *size, dtype=torch.float64)
    expected = np.stack([slow_gate(gate, image) for image in x.numpy()])
    np.testing.assert_allclose(gate(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_the_equations_are_tried_on_positions_outside_the_map() -> None:
    gate, x = lively_gate(7), torch.randn(2, 7, 5, 4, dtype=torch.float64)
    seen = {}
    gate.offset.register_forward_hook(lambda module, inputs, out: seen.update(offset=out))
    gate(x)
    rows = torch.arange(5).view(1, 5, 1) + seen["offset"][:, 0::2]  # dy of each tap, the tap's own place aside
    outside = ((rows < -1) | (rows > 5)).double().mean()
    assert 0.1 < outside < 0.9


# --- the deformable convolution against torchvision's operator


def deform_inputs(size: tuple[int, int], dtype: torch.dtype, kernel: int = 3) -> list[torch.Tensor]:
    torch.manual_seed(1)
    n, c, o, taps = 3, 4, 5, kernel**2
    offset = 2 * torch.randn(n, 2 * taps, *size, dtype=dtype)
    offset[0, 0] = 1e4  # far outside
    modulation = torch.rand(n, taps, *size, dtype=dtype) * 2
    return [
        torch.randn(n, c, *size, dtype=dtype),
        offset,
        modulation,
        torch.randn(o, c, kernel, kernel, dtype=dtype),
    ]


def layouts(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "channels_last":
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":  # rows and columns swapped in memory
        return tensor.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "strided":  # every second row of a larger tensor
        return tensor.repeat_interleave(2, dim=2)[:, :, ::2]
    return tensor


def compare_with_torchvision(inputs: list[torch.Tensor], tolerance: float) -> None:
    ours = [tensor.detach().requires_grad_() for tensor in inputs]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = modulated_deform_conv2d(*ours)
    x, offset, modulation, weight = theirs
    expected = deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=modulation)
    upstream = torch.randn_like(expected)
    pairs = zip(
        (out, *torch.autograd.grad(out, ours, upstream)), (expected, *torch.autograd.grad(expected, theirs, upstream))
    )
    for got, wanted in pairs:
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("size", SIZES)
def test_deform_equals_torchvision(size: tuple[int, int], dtype: torch.dtype, tolerance: float) -> None:
    compare_with_torchvision(deform_inputs(size, dtype), tolerance)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided"])
def test_deform_in_other_memory_layouts(layout: str) -> None:
    *maps, weight = deform_inputs((5, 4), torch.float64)
    maps = [layouts(tensor, layout) for tensor in maps]
    assert not any(tensor.is_contiguous() for tensor in maps)
    compare_with_torchvision([*maps, weight], 1e-10)


@pytest.mark.parametrize("kernel", [1, 5])
def test_deform_with_other_kernel_sizes(kernel: int) -> None:
    compare_with_torchvision(deform_inputs((5, 4), torch.float64, kernel), 1e-10)


def test_deform_without_offsets_is_a_convolution() -> None:
    x, offset, modulation, weight = deform_inputs((5, 4), torch.float64)
    out = modulated_deform_conv2d(x, torch.zeros_like(offset), torch.ones_like(modulation), weight)
    torch.testing.assert_close(out, F.conv2d(x, weight, padding=1), rtol=1e-10, atol=1e-10)


def test_a_shift_by_whole_pixels_is_a_shift() -> None:
    x, offset, modulation, weight = deform_inputs((6, 8), torch.float64)
    offset = torch.zeros_like(offset)
    offset[:, 0::2], offset[:, 1::2] = 2, -1  # dy, dx: looks two rows below, one column to the left
    out = modulated_deform_conv2d(x, offset, torch.ones_like(modulation), weight)
    shifted = F.pad(x, (1, 0, 0, 2))[:, :, 2:, :8]
    inner = F.conv2d(shifted, weight, padding=1)[:, :, 1:-1, 1:-1]  # the border sees what the shift pushed out
    torch.testing.assert_close(out[:, :, 1:-1, 1:-1], inner, rtol=1e-10, atol=1e-10)


def test_positions_keep_their_precision_with_bfloat16_offsets() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, 3, 300), torch.randn(3, 2, 3, 3)
    offset, modulation = torch.full((1, 18, 3, 300), 0.5), torch.ones(1, 9, 3, 300)
    expected = modulated_deform_conv2d(x, offset, modulation, weight)
    out = modulated_deform_conv2d(x, offset.bfloat16(), modulation.bfloat16(), weight)  # 0.5 and 1 are exact in bf16
    torch.testing.assert_close(out, expected)


# --- the gate's parts


def test_gradients_of_the_whole_gate() -> None:
    gate = lively_gate(4, 0.5, seed=3)
    names, parameters = zip(*gate.named_parameters(), strict=True)
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(gate, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *parameters))


def test_attention_is_normalised_over_channels_pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    deformed = torch.tensor([[[[1.0, 10.0]], [[3.0, 50.0]]]])  # (1, 2 channels, 1, 2 pixels)
    monkeypatch.setattr(das_module, "modulated_deform_conv2d", lambda *_: deformed)
    attention = DASGate(2).attention(torch.randn(1, 2, 1, 2))
    # (1, 3) and (10, 50) both become (-1, 1); sigmoid(1) = 0.731059
    expected = torch.tensor([[[[0.268941, 0.268941]], [[0.731059, 0.731059]]]])
    torch.testing.assert_close(attention, expected, rtol=0, atol=2e-6)


def test_attention_does_not_depend_on_the_scale_of_the_kernel() -> None:
    gate, x = lively_gate(8), torch.randn(2, 8, 5, 4, dtype=torch.float64)
    before = gate.attention(x)
    with torch.no_grad():
        gate.weight.mul_(100)
    after = gate.attention(x)
    with torch.no_grad():
        gate.weight.mul_(-1)
    flipped = gate.attention(x)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)  # only eps = 1e-5 of LayerNorm differs
    assert (flipped - before).abs().max() > 0.1


def test_a_new_gate_is_a_plain_convolution() -> None:
    torch.manual_seed(0)
    gate, x = DASGate(10), torch.randn(2, 10, 6, 5)
    context = F.gelu(F.instance_norm(gate.pointwise(gate.depthwise(x))))
    assert gate.offset(context).count_nonzero() == 0
    assert torch.equal(gate.offsets(context)[1], torch.full((2, 9, 6, 5), 0.5))
    convolved = F.conv2d(context, gate.weight / 2, padding=1)
    normed = F.layer_norm(convolved.permute(0, 2, 3, 1), (10,)).permute(0, 3, 1, 2)
    torch.testing.assert_close(gate(x), x * normed.sigmoid(), rtol=1e-4, atol=1e-5)


def test_w_p_lies_between_0_and_1_as_the_paper_says() -> None:
    gate, x = lively_gate(7), torch.randn(2, 7, 5, 4, dtype=torch.float64)
    modulation = gate.sampling(x)[1]
    torch.testing.assert_close(modulation, gate.modulation(gate.context(x)).sigmoid())  # Sec. 3.2
    assert 0 < modulation.min() < 0.1 and 0.9 < modulation.max() < 1
    wide = lively_gate(7, modulation_scale=2)
    torch.testing.assert_close(wide.sampling(x)[1], 2 * modulation)


def test_layer_norm_hides_a_factor_of_w_p_and_no_norm_does_not() -> None:
    x = torch.randn(2, 7, 5, 4, dtype=torch.float64)

    def attentions(norms: tuple[str, str]) -> list[torch.Tensor]:
        gates = [das_gate(7, 0.3, norms=norms, modulation_scale=scale).double() for scale in (1.0, 2.0)]
        gates[1].load_state_dict(gates[0].state_dict())
        return [gate.attention(x).detach() for gate in gates]

    torch.manual_seed(0)
    hidden, seen = (
        float((a - b).abs().max()) for a, b in map(attentions, (("instance", "layer"), ("instance", "none")))
    )
    assert 0 < hidden < 2e-3 < 2e-2 < seen
    deformed = [logit(a) for a in attentions(("instance", "none"))]
    torch.testing.assert_close(deformed[1], 2 * deformed[0])


def logit(attention: torch.Tensor) -> torch.Tensor:
    return (attention / (1 - attention)).log()


@pytest.mark.parametrize("variant", ["c", "d", "g", "h"])
def test_every_variant_with_a_deformable_kernel_has_the_scale(variant: str) -> None:
    gate = das_gate(10, variant=variant, modulation_scale=2)
    assert {module.modulation_scale for module in gate.modules() if hasattr(module, "modulation_scale")} == {2}


@pytest.mark.parametrize("scale", [0, -1, math.inf, math.nan, True, "2"])
def test_a_scale_that_is_none(scale: object) -> None:
    with pytest.raises(ValueError, match="modulation_scale must be a positive number"):
        das_gate(8, modulation_scale=scale)
    with pytest.raises(ValueError, match="variant f has no deformable kernel, so no modulation_scale"):
        das_gate(8, variant="f", modulation_scale=2)


def test_identity_start_passes_the_map_nearly_unchanged() -> None:
    torch.manual_seed(0)
    gate, x = DASGate(64, init="identity"), torch.randn(2, 64, 9, 9)
    attention = gate.attention(x)
    assert attention.min() > 0.975
    assert attention.max() < 0.988
    torch.testing.assert_close(gate(x), x, rtol=0.025, atol=0)
    assert attention.std() > 0  # and is still a function of the map that can learn


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e6])
def test_attention_lies_strictly_between_0_and_1(scale: float) -> None:
    torch.manual_seed(0)
    gate = DASGate(64)
    torch.nn.init.normal_(gate.offset.weight)
    attention = gate.attention(scale * torch.randn(2, 64, 8, 7))
    assert attention.shape == (2, 64, 8, 7)
    # a value normalised over C channels is at most sqrt(C - 1) = 7.94
    assert attention.min() > 1 / (1 + math.exp(7.94))
    assert attention.max() < 1 / (1 + math.exp(-7.94))


@pytest.mark.parametrize("training", [True, False])
def test_a_single_pixel(training: bool) -> None:
    gate = lively_gate(6).train(training)
    x = torch.randn(2, 6, 1, 1, dtype=torch.float64, requires_grad=True)
    out = gate(x)
    # InstanceNorm of one pixel is 0, so the deformable convolution is 0 and LayerNorm leaves its bias
    torch.testing.assert_close(out, x * gate.layer_norm.bias.sigmoid().view(1, 6, 1, 1))
    out.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in gate.parameters())  # none is None


def test_a_gate_treats_images_of_a_batch_separately() -> None:
    gate, x = lively_gate(7), torch.randn(3, 7, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(gate(x), torch.cat([gate(image[None]) for image in x]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("channels", "alpha", "hidden"), [(64, 0.2, 12), (2048, 0.2, 409), (10, 1, 10), (3, 0.2, 1)])
def test_alpha_is_the_compression(channels: int, alpha: float, hidden: int) -> None:
    assert DASGate(channels, alpha).weight.shape == (channels, hidden, 3, 3)


@pytest.mark.parametrize("alpha", [0, -0.2, 1.01, math.nan])
def test_alpha_outside_its_range(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\]"):
        DASGate(8, alpha)


def test_unknown_start() -> None:
    with pytest.raises(ValueError, match="'default' or 'identity', not 'zero'"):
        DASGate(8, init="zero")


def test_bfloat16_autocast_stays_near_float32() -> None:
    torch.manual_seed(0)
    gate, x = DASGate(64), torch.randn(2, 64, 14, 13)
    torch.nn.init.normal_(gate.offset.weight, std=0.02)
    expected = gate.attention(x)
    with torch.autocast("cpu", torch.bfloat16):
        attention = gate.attention(x)
        out = gate(x.bfloat16())
    assert out.dtype == torch.bfloat16  # the backbone's type goes on
    assert out.isfinite().all()
    error = (attention.float() - expected).abs()
    assert error.mean() < 0.01  # bfloat16 has 8 bits
    assert error.max() < 0.1
    (out.float().sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in gate.parameters())
