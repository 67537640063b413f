"""The stages of a network: by name where the architecture or its library tells, else by a look at it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch import nn

from das_explain.errors import DasExplainError
from das_explain.nn.backbones.resnet import STAGES
from das_explain.nn.registry import BLOCKS
from das_explain.nn.stages.known import Known, known_of
from das_explain.nn.stages.layout import Reading, Size, read_layout
from das_explain.nn.stages.probe import Call, Probe, probe
from das_explain.nn.stages.reached import reached_by_logits
from das_explain.nn.stages.reading import CHANNELS_FIRST, probe_narrow, which_moved
from das_explain.nn.stages.stage import Stage

NOT_STAGES = (nn.AdaptiveAvgPool2d, nn.Dropout, nn.Softmax)
FEWEST_REPEATED = 4  # blocks of one kind at one resolution make a vision transformer's trunk
FRONT = 0.1  # of the parameters: what ends before that has seen nothing of what was learned


def find_stages(network: nn.Module, size: Size, architecture: str = "") -> dict[str, nn.Module]:
    """The stages of a network that a person would name, in forward order: name -> module. The last two are the default.

    A backbone of the registry has its own (``nn.registry.BLOCKS``), a network of timm's or torchvision's those that its
    library names (``known``), a network with ``layer1`` .. ``layer4`` has those. Of any other, each resolution gives one:
    the outermost module with a map of that resolution, and of these the last to finish. In a trunk of blocks of one kind,
    a vision transformer's, they are the norm before the attention of the middle and of the last block.

    A stage gives one map for each photo, which differs between two photos; it neither pads nor enlarges the map; and the
    logits depend on the last one.

    Args:
        size: (height, width) of a photo that the network takes; two of noise are shown to it.
        architecture: its name in the registry, if it is one of those.

    Raises:
        DasExplainError: the network does not take a photo of that size, or returns no logits.

    >>> from torchvision.models import squeezenet1_1
    >>> list(find_stages(squeezenet1_1(), (64, 64)))
    ['features.1', 'features.4', 'features.7', 'features']
    """
    if architecture in BLOCKS:
        return {name: network.get_submodule(name) for name in BLOCKS[architecture]}
    return {name: network.get_submodule(name) for name in _Search(network, size).stages()}


def ends_in_front(network: nn.Module, stages: Sequence[str]) -> bool:
    """Whether the last stage is a patch embedding or the like: next to nothing that was learned comes before it.

    That is few of the parameters, or, in a small vision transformer whose embedding has many, none of its blocks.
    """
    order = list(dict(network.named_modules()))
    if not stages:
        return False
    last = order.index(stages[-1])
    inside = [name for name in order[last:] if name == stages[-1] or name.startswith(f"{stages[-1]}.")]
    before = {*order[:last], *inside} - {name for name in order if stages[-1].startswith(f"{name}.")} - {""}
    modules = dict(network.named_modules())
    size = sum(each.numel() for name in before for each in modules[name].parameters(recurse=False))
    learning = [name for name in order if any(True for _ in modules[name].parameters(recurse=False))]
    few = len(before.intersection(learning)) < len(learning) / 2  # a small trunk may stand before a large classifier
    blocks = _repeated_blocks(network)
    begun = any(block in before or stages[-1].startswith(f"{block}.") for block in blocks)
    little = size < FRONT * sum(each.numel() for each in network.parameters())
    return few and (little or (bool(blocks) and not begun))


def _repeated_blocks(network: nn.Module) -> list[str]:
    """The members of lists that are of one kind, and have learning parts; a ``ModuleList`` of one is a list, too."""
    found = []
    for name, module in network.named_modules():
        if isinstance(module, (nn.ModuleList, nn.Sequential)):
            blocks = {
                f"{name}.{child}".lstrip("."): type(block)
                for child, block in module.named_children()
                if any(True for _ in block.children()) and any(True for _ in block.parameters())
            }
            fewest = 1 if isinstance(module, nn.ModuleList) else 2  # sequences are made of what stands for itself
            if len(blocks) >= fewest and len(set(blocks.values())) == 1:
                found += blocks
    return found


class _Search:
    """What one look at a network tells of its stages."""

    def __init__(self, network: nn.Module, size: Size) -> None:
        self.network, self.size = network, size
        self.known: Known = known_of(network)
        self.probe: Probe = probe(network, size)
        self._narrow: list[Probe | None] = []  # of narrower photos, when it is asked for
        found = {name: self._stage(call) for name, call in self.probe.calls.items()}
        self.usable: dict[str, Stage] = {name: stage for name, stage in found.items() if stage is not None}

    def stages(self) -> list[str]:
        """The names, in order of finishing."""
        named = [name for name in self._named() if name in self.usable]
        if len(named) < 2 or named[-1] != self._named()[-1]:
            named = []
        outermost = named or self._outermost()
        if trunk := self._trunk(named, outermost):
            return self._of_trunk(trunk)
        return self._reached_by_class_token(self._without_last_norm(outermost))

    def _named(self) -> tuple[str, ...]:
        children = dict(self.network.named_children())
        return STAGES if all(stage in children for stage in STAGES) else self.known.stages

    def _stage(self, call: Call) -> Stage | None:
        if isinstance(call.module, NOT_STAGES) or not call.alone or len(call.given) not in (3, 4):
            return None
        if call.given[0] != self.probe.photos or not (call.depends or self.probe.photos == 1):
            return None
        reading = self._read(call.name, call.given, isinstance(call.module, CHANNELS_FIRST))
        if reading is None:
            return None
        stage = Stage(call, reading)
        before = self._read(call.name, call.taken, False)
        grows = before is not None and before.grid[0] * before.grid[1] < stage.cells
        return None if grows else stage

    def _read(self, name: str, shape: tuple[int, ...], channels_first: bool) -> Reading | None:
        try:
            return read_layout(
                name,
                shape,
                self.size,
                hints=self.known.hints,
                channels_first=channels_first,
                ask=lambda: self._ask(name, shape),
            )
        except DasExplainError:
            return None

    def _ask(self, name: str, shape: tuple[int, ...]) -> str | None:
        """What the calls of narrower photos tell of a shape that may be read in two ways."""
        call = self.probe.calls[name]
        if not self._narrow:
            self._narrow.append(probe_narrow(self.network, self.size))
        other = self._narrow[0].calls.get(name) if self._narrow[0] else None
        if other is None:
            return None
        return which_moved(shape, other.given if shape == call.given else other.taken)

    # -- a trunk of blocks of one kind

    def _trunk(self, named: Sequence[str], outermost: Sequence[str]) -> list[str]:
        """The blocks of a vision transformer, or nothing: it has stages of several resolutions."""
        if named:
            same = len({self.usable[name].cells for name in named}) == 1
            return list(named) if same and len(named) >= FEWEST_REPEATED else []
        lists = self._repeated()
        last = {self.usable[name].cells for name in outermost[-1:]}
        if not lists or {self.usable[names[0]].cells for names in lists} != last:
            return []
        blocks = [name for names in lists for name in names]
        began = min(self.usable[name].call.began for name in blocks)
        before = [name for name in outermost if self.usable[name].call.finished < began]
        larger = [name for name in before if self.usable[name].cells > self.usable[blocks[0]].cells]
        if larger and not ends_in_front(self.network, before):  # other stages
            return []
        return blocks if len(blocks) >= FEWEST_REPEATED or len(before) == len(outermost) else []

    def _repeated(self) -> list[list[str]]:
        """Sequences of two or more blocks of one kind and resolution that give tokens, or channels last."""
        found = []
        for name, module in self.network.named_modules():
            if isinstance(module, (nn.ModuleList, nn.Sequential)):
                names = [f"{name}.{child}" for child, _ in module.named_children()]
                names = [each for each in names if each in self.usable and self._is_block(each)]
                kinds = {(type(self.usable[each].call.module), self.usable[each].cells) for each in names}
                if len(names) > 1 and len(kinds) == 1:
                    found.append(names)
        return found

    def _is_block(self, name: str) -> bool:
        stage = self.usable[name]
        return stage.reading.layout.kind != "nchw" and stage.call.taken == stage.call.given

    def _of_trunk(self, blocks: list[str]) -> list[str]:
        if self.usable[blocks[-1]].reading.layout.kind == "nchw":  # convolutions: nothing stands before an attention
            return [blocks[(len(blocks) - 1) // 2], blocks[-1]]
        middle, last = len(blocks) // 2, len(blocks) - 1
        chosen = [self._before_attention(blocks[place]) or blocks[place - 1] for place in (middle, last)]
        return list(dict.fromkeys(chosen))

    def _before_attention(self, block: str) -> str | None:
        """The norm that is given what the block is given."""
        for name, stage in self.usable.items():
            if name.startswith(f"{block}.") and block in stage.call.begins and stage.is_norm:
                return name
        return None

    # -- the outermost modules of each resolution

    def _outermost(self) -> list[str]:
        chosen: dict[int, tuple[int, int, str]] = {}
        for depth, name in self._visited("", 0):
            stage = self.usable.get(name)
            if stage is None or stage.cells < 2 or isinstance(stage.call.module, nn.Identity):
                continue
            rank = (-depth, stage.call.finished, name)
            chosen[stage.cells] = max(rank, chosen.get(stage.cells, rank))
        kept: list[str] = []
        for _, _, name in sorted(chosen.values(), key=lambda rank: rank[1]):
            if not kept or self.usable[name].cells < self.usable[kept[-1]].cells:
                kept.append(name)
        return kept

    def _without_last_norm(self, stages: list[str]) -> list[str]:
        """The last stage itself in place of a transformer's final norm, where it is called as the stage before it is."""
        if len(stages) < 2 or not self.usable[stages[-1]].is_norm or stages[-1] in self.known.stages:
            return stages
        last = self.usable[stages[-1]]
        if last.reading.layout.kind == "nchw":
            return stages
        alike = [
            each
            for each in self.usable
            if _pattern(stages[-2]).fullmatch(each) and self.usable[each].cells == last.cells
        ]
        return [*stages[:-1], max(alike, key=lambda each: self.usable[each].call.finished, default=stages[-1])]

    def _visited(self, path: str, depth: int) -> Iterator[tuple[int, str]]:
        """Depth and name of the modules that run on the trunk: inner ones only where a module spans several stages."""
        for child, _ in self.network.get_submodule(path).named_children():
            name = f"{path}.{child}".lstrip(".")
            call = self.probe.calls.get(name)
            if call is None:  # a list, or it runs several times
                yield from self._visited(name, depth)
                continue
            yield depth, name
            if self._spans(name, call):
                yield from self._visited(name, depth + 1)

    def _spans(self, name: str, call: Call) -> bool:
        if name not in self.usable or call.taken[1:] == (3, *self.size):
            return True
        before = self._read(name, call.taken, False)
        return before is None or before.grid[0] * before.grid[1] > 5 * self.usable[name].cells

    # -- a class token

    def _reached_by_class_token(self, stages: list[str]) -> list[str]:
        """The stages, where logits that come of a class token depend on the patches of the last two; else norms instead.

        Behind the last attention the patches go nowhere: the last norm on which the logits depend stands before it.
        """
        if not stages or not any(self.known.hints.prefixes or (1,)):
            return stages
        chosen = list(stages)
        for place in {len(stages) - 1, max(0, len(stages) - 2)}:
            chosen[place] = self._last_reached(stages[place])
        alike = [name for name in self.usable if _pattern(chosen[-1]).fullmatch(name)]
        in_front = len(chosen) == 1 or ends_in_front(self.network, chosen[:-1])
        if chosen[-1] != stages[-1] and in_front and len(alike) > 1:  # a trunk of blocks that give more than a map
            alike = sorted(alike, key=lambda name: self.usable[name].call.began)
            chosen = [*chosen[:-1], alike[len(alike) // 2], chosen[-1]]
        return list(dict.fromkeys(chosen))

    def _last_reached(self, name: str) -> str:
        stage = self.usable[name]
        if stage.reading.layout.kind == "nchw" and isinstance(stage.call.module, (nn.Sequential, *CHANNELS_FIRST)):
            return name
        norms = [each for each, its in self.usable.items() if its.cells == stage.cells and its.is_norm]
        reached = reached_by_logits(self.network, self.size, {each: self.usable[each] for each in [*norms, name]})
        if name in reached:
            return name
        return max(
            (each for each in norms if each in reached), key=lambda each: self.usable[each].call.began, default=name
        )


def _pattern(name: str) -> re.Pattern[str]:
    """What names of its kind look like, other numbers in the places of its own."""
    return re.compile(re.sub(r"\d+", r"\\d+", re.escape(name)))


def parts_first(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Dotted name and module of all that a module holds, parts before their whole."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        yield from parts_first(child, path)
        yield path, child
