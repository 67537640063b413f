"""Names in the room that a figure has for them."""

from __future__ import annotations

import pytest

from das_explain.figures.lettering import fit, inches

NAME = "resnet50-with-attention-and-a-long-story-seed1"


@pytest.mark.parametrize("room", [0.3, 0.8, 1.5])
def test_a_long_name_keeps_its_ends_and_takes_what_room_there_is(room: float) -> None:
    fitted = fit(NAME, room, 8)
    head, _, tail = fitted.partition("…")
    assert inches(fitted, 8) <= room
    assert inches(fitted + "mm", 8) > room
    assert NAME.startswith(head)
    assert NAME.endswith(tail)
    assert 0 <= len(head) - len(tail) <= 1


def test_a_name_that_fits_is_left_alone_and_one_without_room_is_an_ellipsis() -> None:
    assert fit("das", 1, 8) == "das"
    assert fit(NAME, 0.01, 8) == "…"
    assert fit("a\nb", 1, 8) == "a\\nb"
