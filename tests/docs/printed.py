"""Whether a program printed what a page shows: the same words, and numbers that differ by no more than machines do."""

from __future__ import annotations

import re
from itertools import zip_longest

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def assert_same(printed: str, shown: str, *, tolerance: float = 0.03) -> None:
    """Spaces and the lines of tables count for nothing; a number may be off by ``tolerance``, or by so much of itself."""
    for ours, theirs in zip_longest(_words(printed), _words(shown)):
        assert ours == theirs, f"{ours!r} in place of {theirs!r}:\n{printed}"
    for ours, theirs in zip(_numbers(printed), _numbers(shown), strict=True):
        assert abs(ours - theirs) <= tolerance * max(1.0, abs(theirs)), f"{ours} in place of {theirs}:\n{printed}"


def _words(text: str) -> list[str]:
    return re.sub(r"[\s─━═│┃┏┓┗┛┡┩└┘├┤┬┴┼╇╈┳┻]+", " ", _NUMBER.sub("#", text)).split()


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]
