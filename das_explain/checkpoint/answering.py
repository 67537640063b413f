"""A loaded network made to answer with logits (N, K), and what is said about it where it does not by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.answers import ACTIVATIONS, Answer, Answers, check_module, look_at_answer


@dataclass(frozen=True)
class Answering:
    """``network`` answers with logits (N, ``classes``), of which ``activation`` (of ``ACTIVATIONS``) makes confidences."""

    network: nn.Module
    classes: int
    activation: str
    notes: list[str] = field(default_factory=list)


def let_answer(
    network: nn.Module,
    size: tuple[int, int],
    text: str,
    *,
    logits: str | None = None,
    activation: str | None = None,
) -> Answering:
    """Looks at what ``network`` answers to images of ``size`` (height, width).

    Args:
        text: the spec, for messages.
        logits: the module whose output the logits are; ``None``: the network's own output.
        activation: of ``ACTIVATIONS``; ``None``: what the look tells, else softmax.

    Returns:
        The network itself, where it answers with logits; else ``Answers`` of it, and sentences on what is assumed.

    Raises:
        UsageError: no such module or activation.
        DasExplainError: it refuses an image of that size, or returns no logits.
    """
    if activation is not None and activation not in ACTIVATIONS:
        raise UsageError(f"{text}: activation={activation} is unknown; it may be {', '.join(ACTIVATIONS)}")
    answer = look_at_answer(network, size) if logits is None else _look_behind(network, size, text, logits)
    probability = answer.single and answer.ending == "sigmoid" and logits is None
    if not answer.plain or logits is not None or answer.scale != 1:
        network = Answers(network, logits, probability=probability, scale=answer.scale)
    notes = [] if logits else list(_sentences(answer, text))
    return Answering(network, answer.classes, activation or _activation(answer, logits), notes)


def _look_behind(network: nn.Module, size: tuple[int, int], text: str, logits: str) -> Answer:
    """The look at a module's output; ``ending`` is what the network itself ends in."""
    try:
        check_module(network, logits)
    except UsageError as error:
        raise UsageError(f"{text}: {error}") from None
    answer = look_at_answer(Answers(network, logits), size)
    if answer.ending in ("softmax", "sigmoid"):
        raise UsageError(f"{text}: what {logits} gives are probabilities already; name the module before it")
    try:
        whole = look_at_answer(network, size)
    except DasExplainError:  # what the whole returns need not be logits
        return answer
    single = answer.single or (whole.single and answer.classes == 2)
    return Answer(answer.classes, False, single=single, ending=whole.ending)


def _activation(answer: Answer, logits: str | None) -> str:
    if logits is None and answer.ending in ("softmax", "sigmoid"):
        return "none"
    return "sigmoid" if answer.single or answer.ending == "sigmoid" else "softmax"


def _sentences(answer: Answer, text: str) -> list[str]:
    told = []
    if answer.several:
        told.append(
            f"{text}: it returns {answer.several}; the first is taken for the logits, --logits MODULE takes the output of one"
        )
    if answer.single and not answer.ending:
        told.append(
            f"{text}: it gives one number per image, taken for the logit z of class 1 against class 0: two classes, -z and z, "
            "and a sigmoid for the confidence"
        )
    if answer.ending:
        of = "the logarithms of probabilities" if answer.ending == "log-softmax" else "probabilities"
        if answer.scale != 1:
            of = f"{answer.scale:g} times {of}, divided by that here"
        article = "an" if answer.by[0] in "aeiou" else "a"
        told.append(
            f"{text}: it answers with {of} ({article} {answer.by} at its end), whose gradients vanish where it is sure: maps "
            "become faint or others; "
            + (
                f"--logits {answer.before} explains the logits before it"
                if answer.before
                else "--logits MODULE explains the output of a module before it, if one gives the logits"
            )
        )
    return told
