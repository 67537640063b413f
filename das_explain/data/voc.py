"""PASCAL VOC's palette, and the classes that it numbers: the one palette that tells which entry is which class."""

from __future__ import annotations

from collections.abc import Sequence

CLASSES = (  # of the entries from 1 on, Everingham et al. (IJCV 2010)
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)
_SAME = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}


def colour(number: int) -> tuple[int, int, int]:
    """The colour of an entry: its bits, three at a time, go into red, green and blue from the highest down.

    >>> colour(15), colour(255)
    ((192, 128, 128), (224, 224, 192))
    """
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]


def is_palette(colours: Sequence[Sequence[int]]) -> bool:
    """Whether a palette has VOC's 21 colours at its beginning.

    >>> is_palette([colour(i) for i in range(256)]), is_palette([(0, 0, 0), (255, 255, 255)])
    (True, False)
    """
    return len(colours) > len(CLASSES) and all(
        tuple(colours[number]) == colour(number) for number in range(1 + len(CLASSES))
    )


def number_of(name: str) -> int | None:
    """The entry of a class, by its name as ``text.loose`` spells it.

    >>> number_of("person"), number_of("tvmonitor"), number_of("zebra")
    (15, 20, None)
    """
    name = _SAME.get(name, name)
    return CLASSES.index(name) + 1 if name in CLASSES else None
