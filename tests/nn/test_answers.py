"""What networks answer with: each kind gives the maps of the plain network, or is said; values by hand."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain import grad_cam, load_model
from das_explain.cam.methods import explain_with
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.values import keep_logits
from das_explain.nn.answers import Answers, look_at_answer
from das_explain.nn.running import check_logits

Pair = namedtuple("Pair", "logits features")
PHOTOS = list(np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8))
BLOCKS = ["stem", "body"]


@dataclass
class Output:
    """As transformers' outputs, but for their base class."""

    logits: Tensor
    hidden_states: Any = None


class Net(nn.Module):
    """Two stages and a head; ``answer`` makes something else of its logits."""

    def __init__(self, answer: Callable[[Tensor], Any] = lambda z: z, classes: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.body, self.fc = nn.Conv2d(8, 8, 3, stride=2), nn.Linear(8, classes)
        self.answer = answer
        with torch.no_grad():
            self.fc.weight.mul_(20)

    def forward(self, images: Tensor) -> Any:
        return self.answer(self.fc(self.body(self.stem(images)).mean((2, 3))))


WRAPPED: dict[str, Callable[[Tensor], Any]] = {
    "a tensor": lambda z: z,
    "a tuple": lambda z: (z, torch.zeros(len(z), 9)),
    "a list in a tuple": lambda z: ([z, z], None),
    "a named tuple": lambda z: Pair(z, torch.zeros(len(z), 9)),
    "a dictionary": lambda z: {"features": torch.zeros(len(z), 8, 2, 2), "logits": z},
    "a dictionary of one": lambda z: {"whatever": z, "loss": torch.zeros(())},
    "torchvision's dictionary": lambda z: {"out": z, "aux": z},
    "a dataclass": Output,
    "maps of a pixel": lambda z: z[:, :, None, None],
    "one token": lambda z: z[:, None],
}


def explained(network: nn.Module, target: list[int], **options: Any):
    model = load_model(network, size=40, **options)
    return model, model.explain(PHOTOS, target=target, blocks=BLOCKS)


@pytest.mark.parametrize("kind", WRAPPED)
def test_logits_are_found_in(kind: str) -> None:
    _, expected = explained(Net(), [1, 2])
    network = Net(WRAPPED[kind])
    model, given = explained(network, [1, 2])
    assert torch.equal(given.logits, expected.logits)
    for block in BLOCKS:
        assert torch.allclose(given.cams[block].map, expected.cams[block].map, atol=1e-6)
    assert model.config["num_classes"] == 4
    assert bool(model.assumptions) == (kind in ("a tuple", "a named tuple"))
    images = torch.randn(2, 3, 40, 40)
    for block in BLOCKS:
        alone = grad_cam(network, images, torch.tensor([1, 2]), [block])[block].map
        assert torch.equal(alone, grad_cam(Net(), images, torch.tensor([1, 2]), [block])[block].map)
    other, plain = (
        explain_with("layercam", each, images, None, ["body"]).cams["body"].map for each in (network, Net())
    )
    assert torch.allclose(other, plain, atol=1e-6)


def test_a_tuple_s_choice_is_said() -> None:
    model = load_model(Net(WRAPPED["a tuple"]), size=40)
    assert model.assumptions[-1].endswith(
        "it returns a tuple of a tensor (2, 4), a tensor (2, 9); the first is taken for the logits, --logits MODULE takes the "
        "output of one"
    )


def test_what_holds_no_logits_is_refused_with_what_it_is() -> None:
    several = Net(lambda z: {"a": z, "b": z})
    with pytest.raises(
        DasExplainError, match=r"it returned a dictionary of a: a tensor \(2, 4\), b: a tensor \(2, 4\)"
    ):
        load_model(several, size=40)
    assert load_model(several, size=40, logits="fc").config["num_classes"] == 4


@pytest.mark.parametrize("shape", [lambda z: z, lambda z: z.squeeze(1)])
def test_one_logit_is_two_classes(shape: Callable[[Tensor], Tensor]) -> None:
    network = Net(shape, classes=1)
    model, given = explained(network, [1, 0])
    frames = torch.from_numpy(given.frames).permute(0, 3, 1, 2)
    with torch.no_grad():
        z = network.eval()(model.preprocess.normalize(frames)).flatten()
    assert torch.allclose(given.logits, torch.stack([-z, z], 1), atol=1e-5)
    assert torch.allclose(given.confidence, z.abs().sigmoid(), atol=1e-6)
    assert (model.config["num_classes"], model.activation) == (2, "sigmoid")
    assert "taken for the logit z of class 1 against class 0" in model.assumptions[-1]
    assert load_model(network, size=40, labels=["cat", "dog"]).labels == ["cat", "dog"]
    # The map of class 0 is the map of -z, computed by hand.
    images = model.preprocess.normalize(frames)
    taps: list[Tensor] = []
    handle = network.body.register_forward_hook(lambda module, args, output: taps.append(output))
    for sign, target in ((1, 1), (-1, 0)):
        z = network(images).flatten().sum() * sign
        weights = torch.autograd.grad(z, taps[-1])[0].mean((2, 3), keepdim=True)
        by_hand = (weights * taps[-1]).sum(1).relu().detach()
        cam = grad_cam(network, images, torch.full((2,), target), ["body"])["body"]
        assert torch.allclose(cam.raw_max, by_hand.amax((1, 2)), atol=1e-6)
    handle.remove()


ENDINGS: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "softmax": (lambda z: F.softmax(z, 1), "none", "probabilities (a softmax"),
    "log-softmax": (lambda z: F.log_softmax(z, 1), "softmax", "the logarithms of probabilities (a log-softmax"),
    "a softmax by hand": (lambda z: z.exp() / z.exp().sum(1, keepdim=True), "none", "probabilities (a softmax"),
    "sigmoid": (torch.sigmoid, "none", "probabilities (a sigmoid"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_probabilities_are_said_and_the_layer_before_them_is_named(ending: str) -> None:
    function, activation, told = ENDINGS[ending]
    model, given = explained(Net(function), [1, 2])
    assert model.activation == activation
    assert f"it answers with {told} at its end), whose gradients vanish" in model.assumptions[-1]
    assert model.assumptions[-1].endswith("--logits fc explains the logits before it")
    plain, expected = explained(Net(), [1, 2])
    assert plain.assumptions == model.assumptions[:-1]
    if ending != "sigmoid":
        assert torch.allclose(given.confidence, expected.confidence, atol=1e-6)  # not a softmax of a softmax
    behind, mended = explained(Net(function), [1, 2], logits="fc")
    assert behind.activation == ("sigmoid" if ending == "sigmoid" else "softmax")
    assert torch.equal(mended.logits, expected.logits)
    for block in BLOCKS:
        assert torch.allclose(mended.cams[block].map, expected.cams[block].map, atol=1e-6)
        assert torch.allclose(mended.cams[block].raw_max, expected.cams[block].raw_max, atol=1e-6)
    assert behind.assumptions == plain.assumptions


def test_a_sure_softmax_has_no_gradient_where_its_logits_have_one() -> None:
    network = Net(lambda z: F.softmax(50 * z, 1))
    _, faint = explained(network, [1, 2])
    _, mended = explained(network, [1, 2], logits="fc")
    assert float(faint.cams["body"].raw_max.min()) < 1e-6 < float(mended.cams["body"].raw_max.min())


def test_one_probability_is_two_classes() -> None:
    _, given = explained(Net(lambda z: torch.sigmoid(z).squeeze(1), classes=1), [0, 1])
    assert torch.allclose(given.logits.sum(1), torch.ones(2))
    assert torch.allclose(given.confidence, given.logits.amax(1))
    behind, mended = explained(Net(lambda z: torch.sigmoid(z).squeeze(1), classes=1), [0, 1], logits="fc")
    assert behind.activation == "sigmoid"
    assert torch.allclose(mended.confidence, given.confidence, atol=1e-6)


MADE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], str]] = {
    "clamped": (lambda z: z.sigmoid().clamp(1e-6, 1 - 1e-6), torch.sigmoid, "probabilities (a sigmoid at its end)"),
    "heads joined": (
        lambda z: torch.cat([z[:, :2].sigmoid(), z[:, 2:].sigmoid()], 1),
        torch.sigmoid,
        "probabilities (a sigmoid at its end)",
    ),
    "heads stacked": (
        lambda z: torch.stack([each.sigmoid() for each in z.unbind(1)], 1),
        torch.sigmoid,
        "probabilities (a sigmoid at its end)",
    ),
    "in place": (lambda z: z.clone().sigmoid_(), torch.sigmoid, "probabilities (a sigmoid at its end)"),
    "by hand": (lambda z: 1 / (1 + (-z).exp()), torch.sigmoid, "probabilities (an exponential at its end)"),
    "a tanh": (lambda z: ((z / 2).tanh() + 1) / 2, torch.sigmoid, "probabilities (a tanh at its end)"),
    "hard": (F.hardsigmoid, F.hardsigmoid, "probabilities (a hard sigmoid at its end)"),
    "per cent": (
        lambda z: 100 * z.softmax(1),
        lambda z: z.softmax(1),
        "100 times probabilities, divided by that here (a softmax at its end)",
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_probabilities_are_said_where_something_follows_what_made_them(kind: str) -> None:
    function, by_hand, told = MADE[kind]
    model, given = explained(Net(function), [1, 2])
    _, expected = explained(Net(), [1, 2])
    assert f"it answers with {told}, whose gradients vanish" in model.assumptions[-1]
    assert model.assumptions[-1].endswith("--logits fc explains the logits before it")
    assert torch.allclose(given.confidence, by_hand(expected.logits).amax(1), atol=1e-5)
    behind, mended = explained(Net(function), [1, 2], logits="fc")
    assert torch.equal(mended.logits, expected.logits)
    assert behind.activation == ("softmax" if kind == "per cent" else "sigmoid")


def test_an_average_of_probabilities_has_no_module_with_its_logits() -> None:
    model, given = explained(Net(lambda z: (z.sigmoid() + (2 * z).sigmoid()) / 2), [1, 2])
    _, expected = explained(Net(), [1, 2])
    assert "it answers with probabilities (a sigmoid at its end)" in model.assumptions[-1]
    assert model.assumptions[-1].endswith(
        "--logits MODULE explains the output of a module before it, if one gives the logits"
    )
    by_hand = (expected.logits.sigmoid() + (2 * expected.logits).sigmoid()) / 2
    assert torch.allclose(given.confidence, by_hand.amax(1), atol=1e-6)


def test_one_clamped_probability_is_two_classes() -> None:
    model, given = explained(Net(lambda z: z.sigmoid().clamp(1e-6, 1 - 1e-6), classes=1), [0, 1])
    _, expected = explained(Net(classes=1), [0, 1])
    assert torch.allclose(given.logits, expected.logits.sigmoid(), atol=1e-5)  # 1 - p and p
    assert not any("taken for the logit z" in sentence for sentence in model.assumptions)


@pytest.mark.parametrize(
    "answer",
    [
        lambda z: z.abs() * z.sigmoid(),  # a gate
        lambda z: torch.cat([z[:, :2].abs(), z[:, 2:].sigmoid()], 1),  # half of them
        lambda z: 1.5 + 0.1 * z.tanh(),
        lambda z: z.relu(),
    ],
)
def test_what_is_not_made_of_probabilities_alone_is_logits(answer: Callable[[Tensor], Tensor]) -> None:
    assert look_at_answer(Net(answer), (40, 40)).ending is None


def test_logits_that_sum_to_one_by_chance_or_lie_below_it_are_logits() -> None:
    assert look_at_answer(Net(lambda z: z.abs() / 100), (40, 40)).ending is None
    assert look_at_answer(Net(lambda z: z.clamp(0, 1), classes=1), (40, 40)).ending is None


def test_a_module_that_gives_no_logits_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"there is no module 'head' whose output .*; its last are stem.1, stem.2, body, fc"
    ):
        load_model(Net(), size=40, logits="head")
    with pytest.raises(DasExplainError, match=r"it returned a tensor \(2, 8, 4, 4\)"):
        load_model(Net(), size=40, logits="body")

    class Ended(nn.Sequential):
        pass

    ended = Ended(Net(), nn.Softmax(1))
    with pytest.raises(UsageError, match="what 1 gives are probabilities already; name the module before it"):
        load_model(ended, size=40, logits="1")
    with pytest.raises(UsageError, match="what 1 gives are probabilities already; name the module before it"):
        load_model(nn.Sequential(Net(), nn.Sigmoid(), nn.Hardtanh(0, 1)), size=40, logits="1")
    with pytest.raises(UsageError, match="activation=relu is unknown; it may be softmax, sigmoid, none"):
        load_model(Net(), size=40, activation="relu")


def test_several_classes_at_once() -> None:
    model, given = explained(Net(), [1, 2], activation="sigmoid")
    assert torch.allclose(given.confidence, given.logits.amax(1).sigmoid())
    kept = keep_logits(given.logits.numpy(), np.array([1, 2]), model.activation)
    assert kept.confidence == pytest.approx(given.confidence.numpy(), abs=1e-6)
    probabilities = given.logits.softmax(1).numpy()
    assert keep_logits(probabilities, np.array([0, 0]), "none").confidence == pytest.approx(probabilities.max(1))


def test_a_view_of_a_network_is_the_network_under_its_own_names() -> None:
    network = Net(WRAPPED["a dictionary"])
    view = Answers(network)
    assert [name for name, _ in view.named_modules()] == [name for name, _ in network.named_modules()]
    assert view.state_dict().keys() == network.state_dict().keys()
    view.eval()
    assert not network.training and not network.stem[1].training
    network.train()
    assert view.training
    assert view.answer is network.answer
    assert next(view.double().parameters()).dtype == next(network.parameters()).dtype == torch.float64


def test_logits_of_another_length_than_the_batch_are_refused() -> None:
    with pytest.raises(DasExplainError, match=r"it returned a tensor \(3, 4\)"):
        check_logits(torch.zeros(3, 4), 2)
