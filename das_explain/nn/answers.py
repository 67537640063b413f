"""What a network answers with, where it is not simply logits (N, K): seen by a look at it, and read as logits.

A softmax or sigmoid at the end is the trap: where the network is sure, its gradients vanish, so that the maps are rounding
noise, or of another shape; the layer before it has the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.nn.probabilities import made_of_probabilities
from das_explain.nn.running import (
    as_found,
    channels_of,
    check_logits,
    describe_output,
    find_answer,
    first_convolution,
)

ACTIVATIONS = ("softmax", "sigmoid", "none")
"""What makes probabilities of the answers: ``softmax`` (one class of several), ``sigmoid`` (each class for itself), or
``none``, where they are probabilities already."""
_PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(1),
    "log-softmax": lambda logits: logits.log_softmax(1),
    "sigmoid": torch.sigmoid,
    "hard sigmoid": F.hardsigmoid,
}


@dataclass(frozen=True)
class Answer:
    """What a look at a network's output tells.

    ``classes``: K. ``plain``: it is a tensor (N, K) of two classes or more. ``single``: one number per image, the logit
    of a class against another. ``several``: what it returns, where that is more than one tensor and the first is taken,
    else nothing. ``ending``: what its answers are, if not logits: probabilities that sum to one (``softmax``), their
    logarithms (``log-softmax``) or one for each class (``sigmoid``); ``scale`` times so much, and ``by`` names what made
    them. ``before``: the module whose output is what they were before that, if there is one.
    """

    classes: int
    plain: bool
    single: bool = False
    several: str = ""
    ending: str | None = None
    scale: float = 1.0
    by: str = ""
    before: str | None = None


class Answers(nn.Module):
    """A network whose answer is read as logits (N, K), under its own names: modules, parameters and attributes are the
    network's, shared with it.

    ``logits``: the module whose output they are; ``None``: the network's own output, as ``check_logits`` reads it.
    ``probability``: one number per image is a probability p, and its two classes are 1 - p and p. ``scale``: they are
    divided by it.
    """

    def __init__(
        self, network: nn.Module, logits: str | None = None, *, probability: bool = False, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.__dict__.pop("training", None)
        self.__dict__["network"] = network  # no part of this module: its parts are
        for shared in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            self.__dict__[shared] = network.__dict__[shared]
        self.logits, self.probability, self.scale = logits, probability, scale

    @property
    def training(self) -> bool:
        """The network's mode."""
        network = self.__dict__.get("network")
        return network.training if network is not None else True

    @training.setter
    def training(self, mode: bool) -> None:
        if "network" in self.__dict__:
            self.__dict__["network"].training = mode

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["network"], name)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K)."""
        network = self.__dict__["network"]
        if self.logits is None:
            output = network(images)
        else:
            seen: list[Any] = []
            handle = network.get_submodule(self.logits).register_forward_hook(lambda *call: seen.append(_kept(call[2])))
            try:
                network(images)
            finally:
                handle.remove()
            if not seen:
                raise DasExplainError(f"the module {self.logits}, whose output was named as the logits, did not run")
            output = seen[-1]
        logits = check_logits(output, len(images))
        if self.scale != 1:
            logits = logits / self.scale
        if self.probability and logits.shape[1] == 2:
            return torch.cat([1 - logits[:, 1:], logits[:, 1:]], 1)
        return logits


def itself(network: nn.Module) -> nn.Module:
    """The network that ``Answers`` views, whose class tells its library; any other is itself."""
    return network.__dict__["network"] if isinstance(network, Answers) else network


def confidences(logits: Tensor, activation: str) -> Tensor:
    """Logits float (N, K) -> float (N, K) in [0, 1], by one of ``ACTIVATIONS``."""
    if activation == "none":
        return logits
    return logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)


def look_at_answer(network: nn.Module, size: tuple[int, int]) -> Answer:
    """Shows ``network`` two images of noise of ``size`` (height, width), in eval mode, and leaves it as it was; one,
    where it takes no two.

    Raises:
        DasExplainError: it refuses them, or its output holds no logits (N, classes).
    """
    like = next(network.parameters(), torch.empty(0))
    noise = torch.randn(2, channels_of(network), *size, generator=torch.Generator().manual_seed(0))
    images = noise.to(like.device, like.dtype).requires_grad_()
    try:
        try:
            output, outputs = _run(network, images)
        except DasExplainError:
            raise
        except Exception:  # some take one at a time
            images = images[:1]
            output, outputs = _run(network, images)
    except DasExplainError:  # what it answers with is none
        raise
    except Exception as error:  # somebody else's network: whatever it raises is the answer
        raise DasExplainError(refusal(network, size, error)) from error
    logits = check_logits(output, len(images))
    answer = find_answer(output)
    assert answer is not None  # it has logits
    several = isinstance(output, (tuple, list)) and sum(isinstance(each, Tensor) for each in output) > 1
    single = answer.numel() == len(images)
    ending, scale, by = _ending(answer, network, images)
    return Answer(
        classes=logits.shape[1],
        plain=output is answer and answer.dim() == 2 and not single,
        single=single,
        several=describe_output(output) if several else "",
        ending=ending,
        scale=scale,
        by=by,
        before=_before(by, answer, scale, outputs) if ending else None,
    )


def _run(network: nn.Module, images: Tensor) -> tuple[Any, dict[str, Any]]:
    """The network's output, and that of each of its modules that ran, in order of finishing."""
    outputs: dict[str, Any] = {}
    handles = [
        module.register_forward_hook(lambda *call, name=name: outputs.update({name: _kept(call[2])}))
        for name, module in network.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)  # takes no hook
    ]
    try:
        with as_found(network), torch.enable_grad():
            return network(images), outputs
    finally:
        for handle in handles:
            handle.remove()


def refusal(network: nn.Module, size: tuple[int, int], error: Exception) -> str:
    """What to say where a network does not take an image; more channels than photos have are named as the cause."""
    first = first_convolution(network)
    if first is not None and first.in_channels not in (1, 3) and "channel" in str(error):
        return f"its first convolution takes {first.in_channels} channels; only grey (1) and RGB (3) images can be explained"
    return f"the network does not take an image of {channels_of(network)}x{size[0]}x{size[1]}: {first_line(error)}"


def check_module(network: nn.Module, name: str) -> None:
    """Raises UsageError unless ``network`` has a module of that name."""
    known = [each for each, _ in network.named_modules() if each]
    if name not in known:
        raise UsageError(
            f"there is no module {name!r} whose output could be the logits; its last are {', '.join(known[-4:])}"
        )


def _kept(output: Any) -> Any:
    """A copy of a tensor, which a following operation in place does not reach."""
    tensor = find_answer(output)
    return output if tensor is None or tensor.dim() > 4 else tensor.clone()


def _ending(answer: Tensor, network: nn.Module, images: Tensor) -> tuple[str | None, float, str]:
    """``ending``, ``scale`` and ``by``: by what the values are, or, where they do not tell, by what they are made of."""
    values = answer.detach().float().reshape(len(answer), -1)
    if not torch.isfinite(values).all():
        return None, 1.0, ""
    if _sums_to_one(values):
        return "softmax", 1.0, "softmax"
    if values.shape[1] > 1 and (values <= 0).all() and _sums_to_one(values.exp()):
        return "log-softmax", 1.0, "log-softmax"
    made = made_of_probabilities(network, images) if (values >= 0).all() else None
    if made is None:
        return None, 1.0, ""
    if _sums_to_one(values / made.scale):
        return "softmax", made.scale, "softmax"
    return "sigmoid", made.scale, made.by


def _sums_to_one(values: Tensor) -> bool:
    """Whether each row (N, K) is of probabilities of which one class has all that others have not."""
    if values.shape[1] < 2 or not (values >= 0).all():
        return False
    return torch.allclose(values.sum(1), torch.ones(()).to(values), atol=1e-4)


def _before(by: str, answer: Tensor, scale: float, outputs: dict[str, Any]) -> str | None:
    """The last module whose output gives the answers by what made them, and is not the answers themselves."""
    answers = answer.detach().float().reshape(len(answer), -1) / scale
    for name, output in reversed(outputs.items()):
        if isinstance(output, Tensor) and output.numel() == answers.numel() and len(output) == len(answers):
            given = output.detach().float().reshape(len(answers), -1)
            make = _PROBABILITIES.get(by, torch.sigmoid)  # others are sigmoids by hand, or none
            if not torch.equal(given, answers) and torch.allclose(make(given), answers, atol=1e-5):
                return name
    return None
