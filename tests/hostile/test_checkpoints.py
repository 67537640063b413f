"""Weight files of a stranger: tensors that are none, dictionaries without an end, names that no one can read."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from das_explain.checkpoint.entries import DEEPEST
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.options import peeled_notes
from das_explain.errors import DasExplainError

STATE = {"conv.weight": torch.ones(2, 3, 1, 1), "conv.bias": torch.zeros(2), "fc.weight": torch.ones(3, 2)}
LETTERS, ESCAPE = "a" * 1_000_000, "\x1b]0;owned\x07\x1b[31m"


class Rebuilt:
    """A pickle of this makes a tensor of a shape and strides that its storage of one number does not have."""

    def __init__(self, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.shape, self.stride = shape, stride

    def __reduce__(self) -> tuple[Any, ...]:
        storage = torch.storage.TypedStorage(
            wrap_storage=torch.zeros(1).untyped_storage(), dtype=torch.float32, _internal=True
        )
        return torch._utils._rebuild_tensor_v2, (storage, 0, self.shape, self.stride, False, {})


def holding(tensor: Tensor | Rebuilt | Callable[[], Tensor]) -> Callable[[Path], object]:
    """A state dict with such a tensor in it."""
    made = (lambda: tensor) if isinstance(tensor, (Tensor, Rebuilt)) else tensor
    return lambda path: torch.save({**STATE, "fc.weight": made()}, path)


def legacy(tensor: Rebuilt) -> Callable[[Path], object]:
    """As ``holding``, in the format of before 1.6, of which nothing is mapped into memory."""
    return lambda path: torch.save({**STATE, "fc.weight": tensor}, path, _use_new_zipfile_serialization=False)


def saved(content: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def pickled(program: bytes) -> Callable[[Path], object]:
    """A checkpoint whose pickle is this program."""

    def write(path: Path) -> None:
        torch.save({}, path)
        with zipfile.ZipFile(path) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w") as new:
            for name, content in parts.items():
                new.writestr(name, program if name.endswith("data.pkl") else content)

    return write


def shortened(content: Any, last: bool = False) -> Callable[[Path], object]:
    """A checkpoint of which one record has lost all but its first bytes, in a zip that is whole."""

    def write(path: Path) -> None:
        torch.save(content, path)
        with zipfile.ZipFile(path) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        records = sorted(name for name in parts if "/data/" in name)
        with zipfile.ZipFile(path, "w") as new:
            for name, value in parts.items():
                new.writestr(name, value[:8] if name == records[-1 if last else 0] else value)

    return write


def within_itself(**more: Any) -> dict[str, Any]:
    content: dict[str, Any] = dict(more)
    content["model"] = content
    return content


def within_each_other() -> dict[str, Any]:
    one: dict[str, Any] = {}
    one["state_dict"] = {"model": one}
    return one


def nested(depth: int) -> dict[str, Any]:
    content: dict[str, Any] = dict(STATE)
    for _ in range(depth):
        content = {"model": content}
    return content


HUGE = 2**40
TENSORS: dict[str, tuple[Callable[[Path], object], str]] = {
    "sparse": (holding(torch.ones(3, 2).to_sparse()), "holds fc.weight as a sparse tensor"),
    "sparse, by rows": (holding(lambda: torch.ones(3, 2).to_sparse_csr()), "holds fc.weight as a sparse tensor"),
    "without values": (holding(torch.ones(3, 2, device="meta")), "holds fc.weight as a meta tensor"),
    "of different lengths": (
        holding(lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])), "holds fc.weight as a nested tensor",
    ),
    "one number 4 TB long": (holding(torch.zeros(1, 1).expand(HUGE, 1)), "holds fc.weight as a repeated tensor"),
    "one number 10**12 times": (holding(torch.zeros(1, 1).expand(10**6, 10**6)), "holds fc.weight as a repeated tensor"),
    **{
        f"a storage of one number for {shape} by {stride}{how}": (make(Rebuilt(shape, stride)), "cannot be read as weights")
        for shape, stride in (((3, 2), (2, 1)), ((10**5, 10**5), (10**5, 1)), ((HUGE, HUGE), (HUGE, 1)), ((3, 2), (-1, 1)))
        for how, make in (("", holding), (", legacy", legacy))
    },
}  # fmt: skip
CONTENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a record that is shorter than its tensor": (
        shortened(STATE), "it is damaged or cut short: its record data/0 has 8 of ",
    ),
    "the last record is shorter": (shortened(STATE, last=True), "it is damaged or cut short: its record data/"),
    "a record is shorter, beside an optimizer": (
        shortened({"model": STATE, "optimizer": {"state": {0: {"step": torch.ones(9), "p": Path("x")}}}}),
        "it is damaged or cut short: its record data/0 has 8 of ",
    ),
    "a network that was pickled whole, and is cut": (
        shortened(torch.nn.Linear(9, 9)), "it is damaged or cut short: its record data/0 has 8 of 324 bytes",
    ),
    "itself": (saved(within_itself()), "holds no state dict"),
    "itself beside weights": (saved(within_itself(**STATE)), "an entry of it contains itself"),
    "two that hold each other": (saved(within_each_other()), "holds no state dict"),
    "a hundred dictionaries in one another": (saved(nested(100)), "holds no state dict"),
    "lists in lists": (pickled(b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b"."), "holds a list where a state dict"),
    "dictionaries in dictionaries": (
        pickled(b"\x80\x02" + b"}X\x05\x00\x00\x00model" * 20_000 + b"}" + b"s" * 20_000 + b"."), "holds no state dict",
    ),
    "tuples in tuples": (pickled(b"\x80\x02)" + b"\x85" * 100_000 + b"."), "holds a tuple where a state dict"),
    "an empty stack": (pickled(b"\x80\x02."), ""),
    "a stack that is popped too often": (pickled(b"\x80\x02]00."), ""),
    "a mark that there is not": (pickled(b"\x80\x02t."), ""),
    "a memo that there is not": (pickled(b"\x80\x02h\x07."), ""),
    "a text without its end": (pickled(b"\x80\x02X\xff\xff\xff\x7fabc"), ""),
    "a number of a million digits": (pickled(b"\x80\x02L" + b"9" * 1_000_000 + b"L\n."), ""),
    "a class of a million letters": (pickled(b"\x80\x02cm\n" + b"c," * 500_000 + b"\n."), ""),
    "a class in a module of a million letters": (pickled(b"\x80\x02c" + b"c," * 500_000 + b"\nn\n)R."), ""),
    "legacy, a class of a million letters": (lambda path: path.write_bytes(b"c" + b"c," * 500_000 + b"\nn\n."), ""),
    "a list filled as a dictionary": (pickled(b"\x80\x02]K\x01K\x02s."), ""),
    "entries of a million letters": (saved({LETTERS: {"a": 1}, "b" * 1_000_000: {"b": 2}}), "holds no state dict"),
    "entries with escape sequences": (saved({ESCAPE: {"a": 1}, f"{ESCAPE}2": {"b": 2}}), "holds no state dict"),
    "entries that are numbers": (saved({3: STATE, 4: STATE}), "holds no state dict"),
    "a sparse tensor of escape sequences": (
        saved({**STATE, ESCAPE: torch.ones(3, 2).to_sparse()}), "as a sparse tensor",
    ),
    "a sparse tensor of a million letters": (saved({**STATE, LETTERS: torch.ones(2).to_sparse()}), "as a sparse tensor"),
    "a text": (saved("weights"), "holds a str where a state dict"),
    "nothing": (saved(None), "holds a NoneType where a state dict"),
    "a number": (saved(3), "holds a int where a state dict"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of torch, on how sparse and nested tensors will be one day
@pytest.mark.parametrize("what", [*TENSORS, *CONTENTS])
def test_a_checkpoint_without_weights_is_refused_in_one_line(tmp_path: Path, what: str):
    write, message = {**TENSORS, **CONTENTS}[what]
    path = tmp_path / "w.pth"
    write(path)
    with pytest.raises(DasExplainError) as refused:
        read_weights(path)
    told = str(refused.value)
    assert message in told
    assert str(path) in told
    assert told.isprintable() and len(told) < 2000


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "legacy"])
def test_a_checkpoint_that_is_cut_anywhere_is_refused_in_one_line(tmp_path: Path, packed: bool):
    torch.save({"model": STATE, "epoch": 3}, tmp_path / "whole.pth", _use_new_zipfile_serialization=packed)
    whole, path = (tmp_path / "whole.pth").read_bytes(), tmp_path / "cut.pth"
    for length in range(0, len(whole), max(1, len(whole) // 600)):
        path.write_bytes(whole[:length])
        with pytest.raises(DasExplainError, match=r"cut\.pth") as refused:
            read_weights(path)
        assert str(refused.value).isprintable()


TAKEN: dict[str, Any] = {
    "a tensor that is repeated a little": {**STATE, "scale": torch.ones(1).expand(64, 8)},
    "as deep as training loops go": nested(DEEPEST),
    "a key that is a number": {**STATE, 3: torch.ones(2)},
    "a key of escape sequences": {**STATE, f"{ESCAPE}.weight": torch.ones(2)},
    "a key of a million letters": {**STATE, LETTERS: torch.ones(2)},
    "an entry of a million letters": {LETTERS: STATE},
    "an entry of escape sequences": {ESCAPE: STATE, "epoch": 3},
}


@pytest.mark.parametrize("what", TAKEN)
def test_weights_beside_odd_names_are_read_and_what_is_said_of_them_is_short(tmp_path: Path, what: str):
    torch.save(TAKEN[what], tmp_path / "w.pth")
    readings = read_weights(tmp_path / "w.pth")
    assert readings[-1].state.keys() >= STATE.keys()
    assert all(len(note) < 2000 for reading in readings for note in peeled_notes(tmp_path / "w.pth", reading))
