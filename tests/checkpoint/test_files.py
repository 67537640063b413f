"""Weight files: nothing in them is run, and every usual wrapper comes off."""

from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.wrappers import best_reading, candidates
from das_explain.errors import DasExplainError

NET = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 2, 1), norm=nn.BatchNorm2d(2)))
STATE = {key: tensor.clone() for key, tensor in NET.state_dict().items()}
OTHER = {key: tensor + 1 for key, tensor in STATE.items()}  # what must not be taken


def prefixed(prefix: str, state: dict = STATE) -> dict:
    return {prefix + key: tensor for key, tensor in state.items()}


class Runs:
    """A pickle of this calls ``os.system``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


WRAPPED = {
    "plain": (STATE, ()),
    "state_dict": ({"state_dict": STATE, "epoch": 3}, ("entry state_dict",)),
    "model": ({"model": STATE, "optimizer": {"state": {}}}, ("entry model",)),
    "model_state_dict": ({"model_state_dict": STATE, "loss": 0.1}, ("entry model_state_dict",)),
    "network": ({"network": STATE}, ("entry network",)),
    "ema": ({"ema": STATE, "model": OTHER}, ("entry ema",)),
    "timm": ({"arch": "x", "state_dict": OTHER, "state_dict_ema": STATE}, ("entry state_dict_ema",)),
    "torchvision": (
        {"model": OTHER, "model_ema": {"n_averaged": torch.tensor(5), **prefixed("module.")}, "epoch": 1},
        ("entry model_ema", "prefix module."),
    ),
    "ema in a dict": ({"ema": {"module": STATE, "decay": 0.999}}, ("entry ema", "entry module")),
    "DDP": (prefixed("module."), ("prefix module.",)),
    "compile": (prefixed("_orig_mod."), ("prefix _orig_mod.",)),
    "DDP of compile": (prefixed("module._orig_mod."), ("prefix module.", "prefix _orig_mod.")),
    "parts compiled": (
        {key.replace("norm.", "norm._orig_mod."): tensor for key, tensor in STATE.items()},
        ("prefix _orig_mod.",),
    ),
    "lightning": (
        {"state_dict": prefixed("model."), "pytorch-lightning_version": "2.3", "epoch": 1},
        ("entry state_dict", "prefix model."),
    ),
    "lightning, network": (
        {"state_dict": prefixed("network."), "pytorch-lightning_version": "2.3"},
        ("entry state_dict", "prefix network."),
    ),
    "arguments and scores": (
        {"model": STATE, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.9), "steps": np.int64(3)},
        ("entry model",),
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_come_off(name: str, tmp_path: Path) -> None:
    content, peeled = WRAPPED[name]
    torch.save(content, tmp_path / "w.pth")
    reading = best_reading(read_weights(tmp_path / "w.pth"), STATE)
    assert reading.peeled == peeled
    assert reading.left_out == ()
    assert {key: tensor.tolist() for key, tensor in reading.state.items() if key != "n_averaged"} == {
        key: tensor.tolist() for key, tensor in STATE.items()
    }


def test_a_prefix_that_is_the_network_s_own_stays() -> None:
    own = prefixed("model.")
    assert best_reading(candidates(own, "x"), own).peeled == ()


def test_lightning_leaves_out_what_is_beside_the_network() -> None:
    content = {
        "state_dict": {**prefixed("model."), "criterion.weight": torch.ones(2)},
        "pytorch-lightning_version": "2.3",
    }
    reading = best_reading(candidates(content, "x"), STATE)
    assert reading.state.keys() == STATE.keys()
    assert reading.left_out == ("criterion.weight",)


def test_without_lightning_nothing_is_left_out() -> None:
    mixed = {**prefixed("model."), "criterion.weight": torch.ones(2)}
    assert [reading.state.keys() for reading in candidates(mixed, "x")] == [mixed.keys()]


@pytest.mark.parametrize("extra", [{"epoch": 3}, {"epoch": 3, "args": argparse.Namespace(lr=0.1), "optimizer": {}}])
def test_bookkeeping_among_the_weights_is_left_out(extra: dict, tmp_path: Path) -> None:
    torch.save({**extra, **prefixed("module.")}, tmp_path / "w.pth")
    reading = best_reading(read_weights(tmp_path / "w.pth"), STATE)
    assert reading.state.keys() == STATE.keys()
    assert reading.left_out == tuple(extra)


def test_a_tensor_among_other_things_is_no_state_dict() -> None:
    with pytest.raises(DasExplainError, match="x holds no state dict: its entries are epoch, loss$"):
        candidates({"epoch": 1, "loss": torch.tensor(2.0)}, "x")
    with pytest.raises(DasExplainError, match=r"x holds no state dict: its entries are lr, student, teacher; \?entry"):
        candidates({"lr": torch.tensor(2.0), "student": STATE, "teacher": OTHER}, "x")
    tensors = {"lr": torch.tensor(2.0), "loss": torch.tensor(1.0)}
    assert candidates({**tensors, "state_dict": STATE}, "x")[0].state.keys() == STATE.keys()


def test_an_entry_can_be_named() -> None:
    content = {"student": STATE, "teacher": OTHER}
    assert torch.equal(candidates(content, "x", "teacher")[0].state["conv.bias"], OTHER["conv.bias"])
    with pytest.raises(DasExplainError, match="x has no entry 'ema' with weights; it has student, teacher"):
        candidates(content, "x", "ema")
    with pytest.raises(DasExplainError, match=r"x holds no state dict: its entries are student, teacher; \?entry=NAME"):
        candidates(content, "x")


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "w.safetensors")[0].state.keys() == STATE.keys()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_runs_code_is_refused_before_it_runs(tmp_path: Path, legacy: bool) -> None:
    harm = tmp_path / "harm"
    torch.save(
        {"state_dict": STATE, "args": Runs(f"touch {harm}")},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(DasExplainError) as error:
        read_weights(tmp_path / "w.pth")
    assert not harm.exists()
    assert "w.pth holds Python objects (posix.system), not only tensors" in str(error.value)
    assert "so nothing was read" in str(error.value)
    assert "\n" not in str(error.value)
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert harm.exists()  # the file was indeed a harmful one


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Runs(f"touch {harm}")))
    with pytest.raises(DasExplainError, match=r"w\.pt"):
        read_weights(tmp_path / "w.pt")
    assert not harm.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"", "cannot be read as weights (the file is empty)"),
        ("w.pth", b"<!DOCTYPE html><p>404", "is not a PyTorch weight file (it begins like a web page or a text)"),
        ("w.pth", b"PK\x03\x04 and then nothing", "cannot be read as weights (it is damaged or cut short)"),
        ("w.safetensors", b"\xff" * 40, "w.safetensors cannot be read as weights ("),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer, not the weights"),
    ],
)
def test_what_is_no_weight_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DasExplainError) as error:
        read_weights(tmp_path / name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_no_state_dict_in_it(tmp_path: Path) -> None:
    with pytest.raises(DasExplainError, match="no such weight file"):
        read_weights(tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(DasExplainError, match="holds a list where a state dict is needed"):
        read_weights(tmp_path / "w.pth")
    torch.save({"epoch": 1, "loss": 2.0}, tmp_path / "w.pth")
    with pytest.raises(DasExplainError, match=r"holds no state dict: its entries are epoch, loss$"):
        read_weights(tmp_path / "w.pth")
    torch.jit.save(torch.jit.trace(NET.eval(), torch.zeros(1, 3, 2, 2)), tmp_path / "w.pth")
    with pytest.raises(DasExplainError, match=r"w\.pth is a TorchScript archive; save model\.state_dict"):
        read_weights(tmp_path / "w.pth")
    torch.save(nn.ReLU(), tmp_path / "w.pth")
    with pytest.raises(DasExplainError, match=r"holds a Python object \(torch.nn.modules.activation.ReLU\), which is"):
        read_weights(tmp_path / "w.pth")
    torch.save({"ema": {}, "state_dict": None}, tmp_path / "w.pth")
    with pytest.raises(DasExplainError, match=r"holds no state dict: its entries are ema, state_dict$"):
        read_weights(tmp_path / "w.pth")
