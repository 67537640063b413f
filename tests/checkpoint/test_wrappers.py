"""What training loops leave, by hand: whose weights are taken, what is completed, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from das_explain.checkpoint.averages import complete_averages
from das_explain.checkpoint.contents import read_for
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.options import peeled_notes
from das_explain.checkpoint.wrappers import best_reading, candidates
from das_explain.errors import DasExplainError
from das_explain.nn import create_model
from tests.checkpoint.refusals import refused

State = dict[str, Tensor]


class Net(nn.Module):
    """A convolution, a batch norm and a head called ``fc``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 4)


torch.manual_seed(0)
NET = Net()
STATE = {key: torch.rand_like(value.float()) for key, value in NET.state_dict().items() if "num_batches" not in key}
MEAN = {key: tensor + 1 for key, tensor in STATE.items()}
PARAMETERS = [name for name, _ in NET.named_parameters()]


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def read(content: Any, entry: str | None = None) -> State:
    return read_for(NET, candidates(content, "x", entry), "x").state


def same(given: State, expected: State) -> bool:
    return all(torch.equal(given[key], tensor) for key, tensor in expected.items())


@pytest.mark.parametrize(
    "prefix", ["net.", "model.", "backbone.", "encoder.net.", "module.student.model.", "a.b.c.d.e."]
)
def test_any_prefix_that_the_network_s_keys_share_comes_off_and_is_said(prefix: str) -> None:
    content = {"state_dict": {**prefixed(prefix, STATE), "criterion.weight": torch.ones(2)}, "epoch": 1}
    reading = read_for(NET, candidates(content, "x"), "x")
    assert same(reading.state, STATE)
    assert reading.left_out[-1] == "criterion.weight"
    assert prefix.endswith(reading.peeled[-1].removeprefix("prefix "))


@pytest.mark.parametrize("inner", ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."])
def test_what_wraps_parts_comes_off(inner: str) -> None:
    wrapped = {key.replace(".", f".{inner}", 1): tensor for key, tensor in STATE.items()}
    assert same(read(wrapped), STATE)
    assert same(read(prefixed(f"module.{inner}", STATE)), STATE)
    assert same(read({"model": prefixed(inner, wrapped)}), STATE)


def test_two_networks_of_one_kind_are_not_guessed_between() -> None:
    both = {**prefixed("student.", STATE), **prefixed("teacher.", MEAN)}
    with pytest.raises(DasExplainError, match=r"x holds 2 such networks, below student\., teacher\.: \?entry=student"):
        read(both)
    assert same(read(both, "teacher"), MEAN)
    assert same(read({"state_dict": both}, "student."), STATE)
    with pytest.raises(DasExplainError, match="x has no entry 'nobody' with weights"):
        read(both, "nobody")


def test_an_average_beside_the_weights_goes_first_and_both_are_named() -> None:
    reading = read_for(NET, candidates({**prefixed("model.", STATE), **prefixed("ema_model.", MEAN)}, "x"), "x")
    assert same(reading.state, MEAN)
    assert (reading.peeled, reading.others) == (("prefix ema_model.",), ("model.",))
    reading = read_for(NET, candidates({"model": STATE, "ema": MEAN, "optimizer": {"state": {}}}, "x"), "x")
    assert same(reading.state, MEAN)
    assert (reading.peeled, reading.others) == (("entry ema",), ("model",))


AVERAGED = {**prefixed("module.", MEAN), "n_averaged": torch.tensor(3)}
"""As ``torch.optim.swa_utils.AveragedModel`` leaves it."""


@pytest.mark.parametrize(
    ("average", "plain", "peeled"),
    [
        ({"swa_model": AVERAGED}, {"model": STATE}, ("entry swa_model", "prefix module.")),
        ({"swa_state_dict": AVERAGED}, {"state_dict": STATE}, ("entry swa_state_dict", "prefix module.")),
        ({"averaged_state_dict": prefixed("net.", MEAN)}, {"state_dict": prefixed("net.", STATE)}, ("entry averaged_state_dict", "prefix net.")),
        ({"AveragedModel": AVERAGED}, {"my_weights": STATE}, ("entry AveragedModel", "prefix module.")),
        ({"callbacks": {"MyAverage{'every': 1}": {"ema_weights": MEAN}, "Stop": {"best": torch.tensor(1.0)}}}, {"state_dict": STATE}, ("entry callbacks", "entry MyAverage{'every': 1}", "entry ema_weights")),
    ],
)  # fmt: skip
def test_averages_by_any_name_go_before_the_weights_and_are_named(
    average: dict, plain: dict, peeled: tuple[str, ...], tmp_path: Path
) -> None:
    content = {"epoch": 3, **plain, **average, "optimizer": {"state": {"ema.weight": {"exp_avg": torch.ones(2)}}}}
    reading = read_for(NET, candidates(content, "x"), "x")
    assert same(reading.state, MEAN)
    (name,) = plain
    assert reading.peeled[: len(peeled)] == peeled
    assert name in reading.others
    told = peeled_notes(tmp_path / "x.pth", reading)[0]
    assert f"taken from {', '.join(peeled)}; ?entry=NAME takes another of its weights ({name}" in told
    assert same(read(content, name), STATE)


def test_an_average_of_all_values_without_names_has_the_names_beside_it() -> None:
    lightning = {**prefixed("net.", STATE), "loss.weight": torch.ones(4)}
    listed = [*MEAN.values(), torch.ones(4)]
    content = {"state_dict": lightning, "callbacks": {"EMA": {"cur_step": 7, "ema_weights": listed}}}
    reading = read_for(NET, candidates(content, "x"), "x")
    assert same(reading.state, MEAN), "running statistics, too"
    assert reading.peeled == ("entry callbacks", "entry EMA", "entry ema_weights", "prefix net.")
    assert same(read(content, "callbacks"), MEAN)
    assert same(read(content, "state_dict"), STATE)
    parameters = {"EMA": {"ema_weights": [MEAN[name] for name in PARAMETERS]}}
    state = read({"state_dict": prefixed("net.", STATE), "callbacks": parameters})
    assert all(torch.equal(state[name], MEAN[name]) for name in PARAMETERS)
    assert torch.equal(state["norm.running_mean"], STATE["norm.running_mean"])
    with pytest.raises(
        DasExplainError, match=r"its average is 8 tensors without names.*\?entry=NAME takes .*state_dict"
    ):
        read(
            {
                **content,
                "callbacks": {"EMA": {"ema_weights": listed[1:]}},
                "state_dict": {**lightning, "x": torch.ones(1)},
            }
        )


def test_what_only_sounds_like_an_average_is_none() -> None:
    for name in ("swav", "ema_of_the_loss", "optimizer_ema", "schemas"):
        content = {"model": STATE, name: {"queue": torch.ones(3)}}
        assert same(read(content), STATE)
    assert same(read({"model": STATE, "swav_model": MEAN}), STATE)
    assert same(read({"state_dict": STATE, "optim": {"ema": MEAN}}), STATE)


def test_a_file_that_refers_to_a_thing_often_is_looked_at_once() -> None:
    inner: Any = torch.tensor(1.0)
    for _ in range(30):
        inner = [inner] * 1000
    assert same(read({"model": STATE, "net": {**STATE, "history": inner}}), STATE)


def test_mmengine_swaps_the_weights_and_their_average() -> None:
    meta = {"epoch": 3, "mmengine_version": "0.10.4"}
    content = {
        "meta": meta,
        "state_dict": MEAN,
        "ema_state_dict": {**prefixed("module.", STATE), "steps": torch.tensor(9)},
    }
    reading = read_for(NET, candidates(content, "x"), "x")
    assert same(reading.state, MEAN)
    assert (reading.peeled, reading.others) == (("entry state_dict, which is an average",), ("ema_state_dict",))
    assert same(read(content, "ema_state_dict"), STATE)
    assert same(read({**content, "meta": {}}), STATE), "others' is an average"


@pytest.mark.parametrize("empty", [{}, None, {"module": {}}, {"decay": 0.999}])
def test_an_empty_average_is_passed_over(empty: Any) -> None:
    assert same(read({"ema": empty, "state_dict_ema": empty, "model": STATE}), STATE)


def test_an_average_without_running_statistics_is_completed_from_the_weights() -> None:
    named = {name: MEAN[name] for name in PARAMETERS}
    for ema in (named, {"shadow": named, "decay": 0.99}, {"module": prefixed("module.", named)}):
        reading = read_for(NET, candidates({"state_dict": prefixed("net.", STATE), "ema": ema}, "x"), "x")
        assert all(torch.equal(reading.state[name], MEAN[name]) for name in PARAMETERS)
        assert torch.equal(reading.state["norm.running_mean"], STATE["norm.running_mean"])
        assert reading.peeled[-1] == "what averages do not have from entry state_dict"


def test_an_average_without_names_is_named_by_the_network() -> None:
    listed = {"decay": 0.99, "num_updates": 7, "shadow_params": [MEAN[name] for name in PARAMETERS]}
    for content in ({"model": STATE, "ema": listed}, {"state_dict": prefixed("net.", STATE), "ema_state": listed}):
        wanted = "ema" if "ema" in content else "ema_state"
        state = read(content, wanted)
        assert all(torch.equal(state[name], MEAN[name]) for name in PARAMETERS)
    assert torch.equal(read({"model": STATE, "ema": listed})["norm.running_var"], STATE["norm.running_var"])
    short = {**listed, "shadow_params": listed["shadow_params"][1:]}
    with pytest.raises(
        DasExplainError, match=r"x: its average is 5 tensors without names, where .* 6 parameters; \?entry"
    ):
        read({"model": STATE, "ema": short})
    assert same(read({"model": STATE, "ema": short}, "model"), STATE)
    alone = complete_averages(candidates(listed, "x"), NET, "x")[0].state
    assert alone.keys() == set(PARAMETERS)


def test_the_only_entry_with_weights_is_taken_whatever_it_is_called() -> None:
    content = {"hyper": {"lr": 0.1}, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "my_weights": STATE}
    assert best_reading(candidates(content, "x"), STATE).peeled == ("entry my_weights",)


def test_a_configuration_called_model_is_no_model() -> None:
    assert same(read({"model": {"name": "resnet50", "depth": 50}, "state_dict": STATE}), STATE)


def test_deepspeed_s_file() -> None:
    content = {
        "module": prefixed("model.", STATE),
        "buffer_names": ["norm.running_mean"],
        "optimizer": None,
        "param_shapes": [{"conv.weight": torch.Size([2, 3, 1, 1])}],
        "ds_version": "0.14",
    }
    assert same(read(content), STATE)


@pytest.mark.parametrize(("given", "told"), [("fc.1", "head fc.1"), ("fc.4", "head fc.4"), ("fc.head", "head fc.head")])
def test_a_head_in_a_sequence_is_the_head(given: str, told: str) -> None:
    state = {key.replace("fc.", f"{given}."): tensor for key, tensor in STATE.items()}
    reading = read_for(NET, candidates(state, "x"), "x")
    assert same(reading.state, STATE)
    assert reading.peeled == (told,)


def test_a_head_of_two_layers_is_another_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model("resnet18", num_classes=5)
    network.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 5))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    assert "does not fit resnet18: 2 keys missing (fc.weight, fc.bias)" in refused(f"{tmp_path / 'w.pth'}@resnet18")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_fine_tuned_head_in_another_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model("resnet18", num_classes=7)
    network.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 7))
    kept = {key: value.to(dtype) if value.is_floating_point() else value for key, value in network.state_dict().items()}
    path = tmp_path / "epoch=3-val_acc=0.91 best@home.ckpt"
    torch.save({"state_dict": prefixed("model.backbone.", kept), "pytorch-lightning_version": "2.4"}, path)
    model = load_model(f"{path}@resnet18?size=32", device="cpu")
    assert model.config["num_classes"] == 7
    assert torch.equal(model.network.fc.weight, network.fc[1].weight.to(dtype).float())
    assert model.name == "epoch=3-val_acc=0.91 best@home"
