"""Which of torchvision's and timm's networks a weight file is of, told by the names and shapes of its tensors.

Building all fourteen hundred to compare would take minutes. ``architectures.txt`` has a line for each set of names and
shapes: its sketch, the ``SKETCH`` smallest of their hashes, whose overlap estimates the overlap of the sets (Broder 1997),
then the networks that have it. The nearest are built, without values, and compared in full; what this version of a library
does not have is passed over. ``python -m tests.checkpoint.architectures`` makes the file anew.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from torch import Tensor, nn

from das_explain.checkpoint.build import build_network
from das_explain.checkpoint.contents import (
    channel_arguments,
    channels_of_weights,
    class_count_like,
    make_grey,
    read_for,
)
from das_explain.checkpoint.differences import differences
from das_explain.checkpoint.sizes import size_arguments, size_like
from das_explain.checkpoint.wrappers import OPTIONAL, Candidate
from das_explain.errors import DasExplainError
from das_explain.nn.backbones.timm_networks import check_timm
from das_explain.nn.backbones.torchvision_networks import check_torchvision
from das_explain.nn.registry import BACKBONES
from das_explain.nn.valueless import without_values

SKETCH = 16
TABLE = Path(__file__).parent / "architectures.txt"
NEAREST = 4  # how many are built and compared in full
DEEPEST = 4  # parts of a prefix that keys may share


@dataclass(frozen=True)
class Recognised:
    """``names``: networks of one set of names and shapes. ``share``: how much of it and the file's is common, 0..1;
    1 is a network that the file loads into. ``sized``: into one for images of another size than usual. ``channels``: of the
    file's images, where they are all that keeps it from being loaded."""

    share: float
    names: tuple[str, ...]
    sized: bool = False
    channels: int = 3

    @property
    def asked(self) -> tuple[str, ...]:
        """How they are asked for, after a file and ``@``."""
        return tuple(f"{name}?size=HEIGHTxWIDTH" if self.sized else name for name in self.names)


def recognise(readings: Sequence[Candidate]) -> list[Recognised]:
    """The networks that a file resembles, the nearest first. Takes a second or two where none was built before."""
    nearest: dict[tuple[str, ...], float] = {}
    for state in _states(readings):
        given = sketch(state)
        for each, names in _table():
            nearest[names] = max(nearest.get(names, 0.0), _overlap(given, each))
    best = heapq.nlargest(NEAREST, nearest, key=nearest.__getitem__)
    found = []
    for names in best:
        compared = _compare(names, readings) if nearest[names] > 0 else None
        found += [compared] if compared else []
        if compared and compared.share == 1 and not compared.sized:
            break
    return sorted(found, key=lambda each: (-each.share, each.sized))


def choose(names: Iterable[str], file: Path) -> tuple[str, tuple[str, ...]]:
    """Of networks with the same tensors the one that is meant, and the others; with none that is meant the first is empty.

    torchvision's is (timm's of that name is the same network), or the only one, or the one whose name the file bears.
    """
    bare = {name.partition(":")[2]: name for name in reversed(list(names))}  # torchvision's before timm's
    known = list(reversed(bare.values()))
    meant = [name for name in known if name.startswith("torchvision:")] or (known if len(known) == 1 else [])
    if not meant:
        said = [name for name in known if name.partition(":")[2] in file.stem.replace("-", "_")]
        meant = sorted(said, key=len)[-1:]
    chosen = meant[0] if meant else ""
    return chosen, tuple(name for name in known if name != chosen)


def sketch(state: Mapping[str, Tensor] | Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The smallest hashes of names and shapes, in ascending order."""
    texts = (f"{key} {'x'.join(map(str, getattr(each, 'shape', each)))}" for key, each in state.items())
    hashes = {
        int.from_bytes(hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=4).digest(), "big")
        for text in texts
        if OPTIONAL not in text
    }
    return tuple(sorted(hashes)[:SKETCH])


def write_table(shapes: Mapping[str, Mapping[str, tuple[int, ...]]], path: Path = TABLE) -> None:
    """``shapes``: ``torchvision:NAME`` or ``timm:NAME`` -> names and shapes of a network of 1000 classes."""
    alike: dict[tuple[tuple[str, tuple[int, ...]], ...], list[str]] = {}
    for name, each in shapes.items():
        known = tuple(sorted((key, tuple(shape)) for key, shape in each.items() if not key.endswith(OPTIONAL)))
        alike.setdefault(known, []).append(name)
    rows = (
        f"{''.join(f'{value:08x}' for value in sketch(dict(known)))} {' '.join(names)}"
        for known, names in alike.items()
    )
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


@cache
def _table() -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
    rows = (line.split() for line in TABLE.read_text(encoding="utf-8").splitlines())
    return [(tuple(int(text[i : i + 8], 16) for i in range(0, len(text), 8)), tuple(names)) for text, *names in rows]


def _overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    union = sorted({*a, *b})[:SKETCH]
    return len(set(a).intersection(b, union)) / len(union) if union else 0.0


def _states(readings: Sequence[Candidate]) -> Iterator[Mapping[str, Tensor]]:
    """What each reading holds, and what most of its keys hold below a prefix that they share."""
    for reading in readings:
        state = reading.state
        yield state
        for _ in range(DEEPEST):
            firsts = Counter(key.partition(".")[0] for key in state if "." in key)
            if not firsts or firsts.most_common(1)[0][1] <= len(state) / 2:
                break
            prefix = f"{firsts.most_common(1)[0][0]}."
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
            yield state


def _compare(names: tuple[str, ...], readings: Sequence[Candidate]) -> Recognised | None:
    """In full, with the first of the networks that can be built; ``None`` if none can."""
    for name in names:
        try:
            network = empty(name, 1000)
            reading = read_for(network, readings, name)
            classes = class_count_like(network.state_dict(), reading.state)
            channels = channels_of_weights(network, reading.state)
            network = network if (classes, channels) == (1000, 3) else empty(name, classes, channels)
            expected, state = network.state_dict(), read_for(network, readings, name).state
        except DasExplainError:
            continue
        sized = bool(differences(expected, state)) and _fits_at_another_size(network, state, name, classes, channels)
        if sized or not differences(expected, state):
            alike = tuple(each for each in names if each == name or has_network(*each.split(":")))
            return Recognised(1.0, alike, sized)
        ours, given = (
            {(key, each.shape) for key, each in of.items() if not key.endswith(OPTIONAL)} for of in (expected, state)
        )
        others = channels not in (1, 3) and len(ours - given) == len(given - ours) == 1  # the first convolution's
        return Recognised(len(ours & given) / len(ours | given), names, channels=channels if others else 3)
    return None


def _fits_at_another_size(
    network: nn.Module, state: Mapping[str, Tensor], name: str, classes: int, channels: int
) -> bool:
    size = size_like(network, state)
    try:
        return size is not None and not differences(empty(name, classes, channels, size).state_dict(), state)
    except DasExplainError:
        return False


def empty(name: str, classes: int, channels: int = 3, size: tuple[int, int] | None = None) -> nn.Module:
    """The network without values, where its library can make it so; for grey images with one of ``channels``, and for
    images of (height, width) other than usual."""
    arguments = {**channel_arguments(name, channels), **(size_arguments(name, size) if size else {})}
    try:
        with without_values():
            network = build_network(name, num_classes=classes, arguments=arguments)
    except NotImplementedError:  # some look at their values when they are made
        network = build_network(name, num_classes=classes, arguments=arguments)
    return make_grey(network) if channels == 1 else network


def has_network(source: str, name: str) -> bool:
    """Whether ``torchvision`` or ``timm`` has a classifier of that name; timm may be missing."""
    try:
        (check_torchvision if source == "torchvision" else check_timm)(name)
    except DasExplainError:
        return False
    return True


def close_names(name: str) -> list[str]:
    """Networks of the registry, torchvision and timm whose names resemble it, at most three."""
    known = dict.fromkeys(each.partition(":")[2] for _, names in _table() for each in names)
    return get_close_matches(name, dict.fromkeys([*BACKBONES, *known]), 3)
