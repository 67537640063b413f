"""What must fit is cut in the middle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from das_explain.text import cut_middle


@pytest.mark.parametrize(
    ("text", "room", "cut"),
    [
        ("abcdefgh", 8, "abcdefgh"),
        ("abcdefgh", 7, "abc…fgh"),
        ("abcdefgh", 6, "abc…gh"),
        ("abcdefgh", 2, "a…"),
        ("abcdefgh", 1, "…"),
        ("", 1, ""),
        ("one two three", 9, "one…hree"),  # no space beside the cut
    ],
)
def test_beginning_and_end_are_kept(text: str, room: int, cut: str) -> None:
    assert cut_middle(text, room) == cut


@given(st.text(), st.integers(1, 30))
def test_it_fits_and_is_whole_if_it_can_be(text: str, room: int) -> None:
    cut = cut_middle(text, room)
    assert len(cut) <= room
    assert (cut == text) == (len(text) <= room)
    if room > 2 and len(text) > room:
        head, _, tail = cut.partition("…")
        assert text.startswith(head)
        assert text.endswith(tail.rpartition("…")[2])
