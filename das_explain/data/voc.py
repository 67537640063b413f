"""PASCAL VOC's palette, and the classes that it numbers: the one palette that tells which entry is which class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from das_explain.classnames import match_classes, synsets
from das_explain.text import loose

CLASSES = (  # of the entries from 1 on, Everingham et al. (IJCV 2010)
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)
_ALSO = {  # what else other data sets call them
    "aeroplane": ("airplane", "plane"),
    "bicycle": ("bike",),
    "car": ("automobile",),
    "cow": ("cattle",),
    "dining table": ("diningtable", "table", "kitchen & dining room table"),
    "motorbike": ("motorcycle", "motor bike"),
    "person": ("people", "human", "pedestrian"),
    "potted plant": ("pottedplant", "houseplant"),
    "sofa": ("couch",),
    "tv monitor": ("tvmonitor", "tv/monitor", "tv", "monitor", "television"),
}
_KINDS: dict[str, tuple[int, ...]] = {  # places among ImageNet's classes of those that are one of VOC's
    "aeroplane": (404, 895),
    "bicycle": (444, 671),
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "boat": (472, 484, 554, 576, 625, 780, 814, 871, 914),
    "bottle": (440, 720, 737, 898, 907),
    "bus": (654, 779, 874),
    "car": (407, 436, 468, 511, 609, 627, 656, 661, 751, 817),
    "cat": (*range(281, 286),),
    "chair": (423, 559, 765),
    "cow": (345,),
    "dining table": (532,),
    "dog": (*range(151, 269),),
    "horse": (339,),
    "motorbike": (665, 670),
    "potted plant": (738,),
    "sheep": (348,),
    "sofa": (831,),
    "train": (466, 547, 705, 820),
    "tv monitor": (664, 782, 851),
}


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


@lru_cache(maxsize=4096)  # many masks are of one label
def number_of(name: str) -> int | None:
    """The entry of a class, by the rules of ``match_classes``: VOC's name or another for it, however spelt, or the name or id
    of an ImageNet class that is a kind of it.

    >>> number_of("TV/monitor"), number_of("tabby"), number_of("n02123045"), number_of("zebra")
    (20, 8, 8, None)
    """
    labels = [", ".join((each, *_ALSO.get(each, ()))) for each in CLASSES]
    if (found := _match(name, labels)) is not None:
        return found + 1
    kind = _match(name, [", ".join(words) for words in synsets().values()], list(synsets()))
    return next((CLASSES.index(each) + 1 for each, places in _KINDS.items() if kind in places), None)


def is_name(name: str, number: int) -> bool:
    """Whether a name is VOC's own for an entry, but for case, spaces, _ and -.

    >>> is_name("TvMonitor", 20), is_name("television", 20)
    (True, False)
    """
    return loose(name).replace(" ", "") == CLASSES[number - 1].replace(" ", "")


def _match(name: str, labels: Sequence[str], ids: Sequence[str] = ()) -> int | None:
    return next((each[name] for each in match_classes([name], labels, ids).values() if name in each), None)
