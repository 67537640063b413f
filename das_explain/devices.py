"""Which device a network runs on, by name or by default, and how many of a processor's threads are taken."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from das_explain.errors import UsageError, first_line

if TYPE_CHECKING:
    import torch

KINDS = ("cpu", "cuda", "mps", "xpu")


def find_device(device: str | torch.device | None) -> torch.device:
    """The device of that name; ``None``: CUDA if there is one, else the CPU.

    Raises:
        UsageError: no such kind of device, or one that computes nothing (``meta``) or takes more than a name to be used.
    """
    import torch

    if device is None:  # Apple's mps only on request: its results have not been compared with the CPU's
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in KINDS:
        raise UsageError(f"unknown device {str(device)!r}; write cpu, cuda, cuda:1 or mps")
    return found


def check_device(device: str) -> None:
    """Raises UsageError unless maps can be scored there: the processor, or a CUDA device that is there."""
    import torch

    kind = find_device(device)
    if kind.type not in ("cpu", "cuda"):  # Apple's has no float64, of which scores are
        raise UsageError(f"maps are scored on cpu or cuda, not on {device}")
    try:
        float(torch.zeros((), device=kind))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"maps cannot be scored on {device}: {first_line(error)}") from None


def describe_device(device: torch.device) -> str:
    """What kind of device it is, with the name of a graphics card: what numbers may depend on beyond rounding.

    >>> import torch
    >>> describe_device(torch.device("cpu"))
    'cpu'
    """
    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def use_threads(count: int) -> None:
    """So many of the processor's threads for what torch and NumPy's BLAS do in this process from now on."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")


@contextmanager
def one_thread() -> Iterator[None]:
    """One of them in the block: of many small products a second one ends none earlier, and burns as much again waiting."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


def processor_name() -> str:
    """The processor, by its maker's name where the system tells (``AMD EPYC (x86_64)``): trained in bfloat16, the same seed
    ends elsewhere on another one."""
    machine = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model} ({machine})" if model else f"{machine} CPU"
