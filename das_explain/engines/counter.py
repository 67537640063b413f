"""The actor that counts, in a module that imports nothing: its process is small and there at once."""

from __future__ import annotations


class Counter:
    """An actor that knows how many images of each piece are done; of one that is made again, the most. It also knows
    how many died at what, since who begins is dead until it says otherwise."""

    def __init__(self) -> None:
        self.done: dict[str, dict[int, int]] = {"progress": {}, "finding": {}}
        self.dead: dict[int, int] = {}

    def die(self, what: int) -> int:
        self.dead[what] = self.dead.get(what, 0) + 1
        return self.dead[what] - 1

    def live(self, what: int) -> None:
        self.dead[what] -= 1

    def tell(self, kind: str, number: int, done: int) -> None:
        self.done[kind][number] = max(done, self.done[kind].get(number, 0))

    def sums(self) -> dict[str, int]:
        return {kind: sum(done.values()) for kind, done in self.done.items()}
