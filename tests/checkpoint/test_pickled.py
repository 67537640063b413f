"""Pickled things beside the weights: the tensors are read, and nothing that a pickle names is looked up or called."""

from __future__ import annotations

import argparse
import builtins
import collections
import datetime
import functools
import os
import pathlib
import pickle
import random
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import addict
import numpy as np
import pytest
import torch
from torch import nn

from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.pickled import StandIn, load_tensors, state_of_module
from das_explain.checkpoint.wrappers import best_reading
from das_explain.errors import DasExplainError
from das_explain.nn import create_model

NET = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
STATE = {key: tensor.clone() for key, tensor in NET.state_dict().items()}


class Calls:
    """A pickle of this calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Filled(dict):
    """What configurations are: a dictionary with attributes."""


class Listed(list):
    """A list that is not quite one."""


def filled() -> Filled:
    config = Filled(lr=0.1, model={"depth": 18})
    config.path = "here"
    return config


EXTRAS: dict[str, Any] = {
    "an array": np.arange(3.0),
    "an array of objects": np.array([1, None, "x"], dtype=object),
    "numpy's global state": np.random.get_state(),  # noqa: NPY002
    "a random state": np.random.RandomState(3),
    "a generator": np.random.default_rng(1),
    "Python's random state": random.getstate(),
    "a path": pathlib.Path("a") / "b",
    "arguments": argparse.Namespace(lr=0.1, data=Path("photos")),
    "a defaultdict": collections.defaultdict(list, {"loss": [1.0]}),
    "a dictionary of another kind": filled(),
    "a list of another kind": Listed([1, 2]),
    "a configuration": addict.Dict(model=dict(depth=18), lr=0.1),
    "a user dictionary": collections.UserDict(a=1),
    "a date": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    "a scalar": np.float64(0.9),
    "a partial": functools.partial(print, 3),
    "sets": [{1}, frozenset([2])],
    "a type and a function": (int, len, Path.cwd),
    "a loss": nn.CrossEntropyLoss(label_smoothing=0.1),
    "a deque": collections.deque([1.0, 2.0], maxlen=5),
}


@pytest.mark.parametrize("name", EXTRAS)
@pytest.mark.parametrize("legacy", [False, True])
def test_the_tensors_beside_anything_are_read(name: str, legacy: bool, tmp_path: Path) -> None:
    if legacy and name == "a loss":
        pytest.skip("the old format keeps the source of modules, in a way that PyTorch's unpickler does not read")
    content = {"epoch": 3, "extra": EXTRAS[name], "state_dict": STATE}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    reading = best_reading(read_weights(tmp_path / "w.pth"), STATE)
    assert reading.peeled == ("entry state_dict",)
    assert all(torch.equal(reading.state[key], tensor) for key, tensor in STATE.items())


def test_extras_among_the_weights_are_left_out(tmp_path: Path) -> None:
    torch.save({**STATE, "args": argparse.Namespace(lr=0.1), "root": Path("x")}, tmp_path / "w.pth")
    reading = best_reading(read_weights(tmp_path / "w.pth"), STATE)
    assert (reading.state.keys(), reading.left_out) == (STATE.keys(), ("args", "root"))


HARM: dict[str, Any] = {
    "subprocess": lambda harm: Calls(subprocess.Popen, ["touch", harm]),
    "eval": lambda harm: Calls(eval, f"open({harm!r}, 'w')"),
    "exec": lambda harm: Calls(exec, f"open({harm!r}, 'w')"),
    "open": lambda harm: Calls(open, harm, "w"),
    "mkdir": lambda harm: Calls(Path.mkdir, Path(harm)),
    "a partial": lambda harm: Calls(functools.partial(subprocess.call, ["touch", harm])),
    "getattr": lambda harm: Calls(getattr, subprocess.Popen, "__init__"),
    "an import": lambda harm: Calls(builtins.__import__, "antigravity"),
    "map": lambda harm: [Calls(map, eval, [f"open({harm!r}, 'w')"])],
    "setattr": lambda harm: Calls(setattr, nn.Conv2d, "forward", eval),
    "another load": lambda harm: Calls(torch.load, harm),
    "numpy's load": lambda harm: Calls(np.load, harm),
}


@pytest.mark.parametrize("name", HARM)
@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_it_is_executed(name: str, legacy: bool, tmp_path: Path) -> None:
    harm, forward = tmp_path / "harm", nn.Conv2d.forward
    content = {"state_dict": STATE, "extra": HARM[name](str(harm))}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    if name in ("a partial", "mkdir") or (legacy and name == "setattr"):  # a call of what a call gave
        with pytest.raises(DasExplainError, match="holds Python objects, not only .* so nothing was read"):
            read_weights(tmp_path / "w.pth")
    else:
        assert best_reading(read_weights(tmp_path / "w.pth"), STATE).state.keys() == STATE.keys()
    assert not harm.exists()
    assert nn.Conv2d.forward is forward


@pytest.mark.parametrize("function", [os.system, os.mkdir, os.remove])
def test_the_operating_system_s_functions_are_refused(function: Any, tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "extra": Calls(function, str(tmp_path / "harm"))}, tmp_path / "w.pth")
    with pytest.raises(DasExplainError, match=r"holds Python objects \(posix\.\w+\).* so nothing was read"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "harm").exists()


def test_the_weights_themselves_may_not_come_from_a_call(tmp_path: Path) -> None:
    torch.save({"state_dict": {"0.weight": Calls(eval, "__import__('torch').ones(2)")}}, tmp_path / "w.pth")
    with pytest.raises(DasExplainError, match="holds no state dict"):
        read_weights(tmp_path / "w.pth")


def test_a_pickle_of_endless_names_ends(tmp_path: Path) -> None:
    names = b"".join(b"cmodule%d\nname\n" % number for number in range(3000))
    (tmp_path / "data.pkl").write_bytes(b"\x80\x02" + b"(" + names + b"t.")
    torch.save({}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as old, zipfile.ZipFile(tmp_path / "bad.pth", "w") as new:
        for name in old.namelist():
            pickled = (tmp_path / "data.pkl").read_bytes() if name.endswith("data.pkl") else old.read(name)
            new.writestr(name, pickled)
    with pytest.raises(DasExplainError, match=r"holds Python objects \(module128.name\).* so nothing was read"):
        read_weights(tmp_path / "bad.pth")


def test_what_stands_in_keeps_no_class(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(lr=0.1), "path": Path("x")}, tmp_path / "w.pth")
    content = load_tensors(tmp_path / "w.pth", mmap=True)
    assert all(isinstance(each, StandIn) for each in content.values())
    assert content["args"].state == {"lr": 0.1}
    assert not isinstance(content["args"], argparse.Namespace)
    assert pickle.loads(pickle.dumps(NET.state_dict())).keys() == STATE.keys()  # the unpickler itself is as before


def test_a_network_that_was_pickled_whole_gives_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = create_model("resnet18", "das", 3)
    torch.save({"model": network, "epoch": 2}, tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@resnet18:das?size=32", device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(model.network.state_dict().values(), network.state_dict().values()))
    assert "taken from entry model, a network that was pickled whole" in model.assumptions[-1]
    assert state_of_module(StandIn()) == {}
