"""The one family of exceptions that a user's mistake or a broken input can raise.

A message says what was wrong, where, and what to do about it, on one line. The command line prints it as it is,
without a traceback, and exits with ``exit_code``.
"""

from __future__ import annotations

from importlib.util import find_spec

from das_explain.text import cut_middle, spelled

LONGEST = 1500  # characters of a message: names in it come from files, and may have a million


class DasExplainError(Exception):
    """Something could not be done: a file is broken, a model does not fit, a package is missing.

    Whatever names stand in a message, it is one line that a terminal takes for text, and that people can read.

    >>> from das_explain import DasExplainError, Run
    >>> try:
    ...     Run.open("photos")
    ... except DasExplainError as error:
    ...     print(error)
    photos is no folder; name the --out of an sfd run
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        line = " ".join(cut_middle(str(message), LONGEST).splitlines())
        super().__init__(cut_middle(spelled(line, backslash=False), LONGEST))


class UsageError(DasExplainError):
    """The request itself is malformed: an unknown name, an impossible combination of options.

    >>> from das_explain import nn
    >>> try:
    ...     nn.create_model("mobilenet_v2", attention="bam")
    ... except UsageError as error:
    ...     print(str(error)[:33], error.exit_code)
    bam has no place in mobilenet_v2; 2
    """

    exit_code = 2


def one_line(error: BaseException) -> str:
    """Any exception's message on one line; ours as it is, others with their kind before it."""
    text = " ".join(str(error).split())
    return text if isinstance(error, DasExplainError) else f"{type(error).__name__}: {text}".rstrip(": ")


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; ours as it is, others with their kind before it."""
    line = (str(error).strip().splitlines() or [""])[0]
    return line if isinstance(error, DasExplainError) else f"{type(error).__name__}: {line}".rstrip(": ")


def missing_package(package: str, extra: str, purpose: str) -> DasExplainError:
    """The error for an optional package that is not installed; names the extra to install."""
    return DasExplainError(f"{purpose} needs the package {package}: pip install 'das-explain[{extra}]'")


def check_package(module: str, package: str, extra: str, purpose: str) -> None:
    """Raises ``missing_package`` unless ``module``, which ``package`` brings, can be found; imports nothing."""
    if find_spec(module) is None:
        raise missing_package(package, extra, purpose)
