"""What the loop computes, against plain torch: accumulation, averages, several processes, a second loss."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from safetensors.torch import load_file

pytest.importorskip("lightning")

from das_explain.checkpoint.load import save_model
from das_explain.errors import UsageError
from das_explain.nn import create_model
from das_explain.train import Recipe, load_recipe, train
from das_explain.train.callbacks import LastCheckpoint
from das_explain.train.classification import Classification

ROOT = Path(__file__).parents[2]
PLAIN = [
    "model.attention=none",
    "model.arguments={}",
    "loop.half=false",
    "loop.channels_last=false",
    "schedule.name=constant",
    "schedule.warmup_epochs=0",
]


def _trained_by_hand(recipe: Recipe, micro: int, processes: int = 1) -> dict[str, torch.Tensor]:
    """The parameters after one epoch of SGD in plain torch, each step over the mean loss of its micro-batches.

    With several processes a batch is dealt out image by image, and each process's share is a micro-batch.
    """
    torch.manual_seed(recipe.seed)
    task = Classification(recipe)
    network = task.build(Console(quiet=True)).train()
    options = recipe.optimizer
    sgd = torch.optim.SGD(
        network.parameters(), options.lr, options.momentum, nesterov=options.nesterov, weight_decay=options.weight_decay
    )
    loader = task.data.train_loader()
    order = list(loader.sampler)[: task.data.batches * task.data.batch_size]
    size = task.data.batch_size
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    shares = [batch[rank::processes] for batch in batches for rank in range(processes)]
    for start in range(0, len(shares), micro):
        window = shares[start : start + micro]
        sgd.zero_grad()
        for share in window:
            frames, targets = zip(*(task.data.train[key] for key in share))
            logits = network(task.data.preprocess.normalize(torch.stack(frames)))
            (F.cross_entropy(logits, torch.tensor(targets)) / len(window)).backward()
        sgd.step()
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _assert_close(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, parameter in expected.items():
        assert torch.allclose(state[name], parameter, rtol=1e-3, atol=2e-5), name


def test_the_last_step_of_an_epoch_takes_the_mean_of_fewer_batches(tiny, tmp_path):
    settings = [*PLAIN, "schedule.epochs=1", "data.per_epoch=6", "loop.batch_size=2", "loop.accumulate=2"]
    recipe = load_recipe(tiny, settings)
    model = train(recipe, tmp_path / "out")
    _assert_close(load_file(model / "model.safetensors"), _trained_by_hand(recipe, micro=2))


def test_two_processes_train_as_one_with_the_whole_batch(tiny, tmp_path):
    """The real command; Lightning starts the second process by the same command line."""
    settings = [*PLAIN, "schedule.epochs=1", "loop.devices=2", "data.per_epoch=16", "loop.batch_size=8"]
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, str(ROOT / "cli.py"), "train", str(tiny), *words, "--out", "out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "out/model\n", "the second process says nothing"
    lines = [line for line in run.stderr.splitlines() if line.startswith(("tiny:", "epoch", "test:"))]
    assert [line.split()[0] for line in lines] == ["tiny:", "epoch", "test:"]
    assert "2 processes" in lines[0]
    with (tmp_path / "out" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["images"]) for row in rows] == [("1", "16")], "every image twice"
    expected = _trained_by_hand(load_recipe(tiny, settings), micro=2, processes=2)
    _assert_close(load_file(tmp_path / "out" / "model" / "model.safetensors"), expected)


def test_the_average_is_that_of_the_weights_after_every_step(tiny, tmp_path, monkeypatch):
    seen, save = [], LastCheckpoint.on_train_epoch_end

    def save_and_look(self, trainer, module):
        seen.append({key: tensor.detach().clone() for key, tensor in module.network.state_dict().items()})
        save(self, trainer, module)

    monkeypatch.setattr(LastCheckpoint, "on_train_epoch_end", save_and_look)
    settings = ["loop.ema=0.75", "loop.half=false", "schedule.epochs=3", "loop.batch_size=8", "optimizer.lr=0.1"]
    shipped = load_file(train(load_recipe(tiny, settings), tmp_path / "out") / "model.safetensors")
    for key in ("conv1.weight", "fc.bias", "bn1.running_var"):
        average = seen[0][key]
        for later in seen[1:]:
            average = 0.75 * average + 0.25 * later[key]
        assert torch.allclose(shipped[key], average, atol=1e-6), key
        assert not torch.allclose(shipped[key], seen[-1][key], atol=1e-6), key
    assert "moving average, decay 0.75" in (tmp_path / "out/model/README.md").read_text()


def test_the_loss_of_an_attention_branch_is_added(tiny):
    task = Classification(load_recipe(tiny, [*PLAIN, "model.attention=abn", "loop.label_smoothing=0.1"]))
    torch.manual_seed(0)
    network = task.build(Console(quiet=True))
    module = task.module(network)
    batch = next(iter(task.data.train_loader()))
    loss, sums, count = module.losses(batch)
    images = task.data.preprocess.normalize(batch[0])
    logits, branch = network(images)
    parts = [F.cross_entropy(each, batch[1], label_smoothing=0.1) for each in (logits, branch)]
    assert loss.item() == pytest.approx(sum(parts).item(), rel=1e-4)
    assert (int(sums["top1"]), count) == (int((logits.argmax(1) == batch[1]).sum()), 4)
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_what_a_warm_start_took_is_said_in_one_line(tiny, tmp_path):
    plain = create_model("resnet18", num_classes=5)
    save_model(tmp_path / "start", plain, architecture="resnet18")
    task = Classification(load_recipe(tiny, [f"model.warm_start={tmp_path / 'start'}"]))
    told = io.StringIO()
    network = task.build(Console(file=told, width=60))
    assert torch.equal(network.layer1[0].conv1.weight, plain.layer1[0].conv1.weight)
    (line,) = told.getvalue().splitlines()
    assert line.startswith("warm start: ")
    assert "1 gates start fresh" in line and "for 2 classes where the weights have 5" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without GPUs")
def test_a_gpu_that_is_not_there_is_one_line(tiny, tmp_path):
    with pytest.raises(UsageError, match=r"loop\.device=gpu, loop\.devices=2: .*gpu") as caught:
        train(load_recipe(tiny, ["loop.device=gpu", "loop.devices=2"]), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_synchronised_statistics_without_gpus_are_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(UsageError, match=r"loop\.sync_batchnorm needs GPUs"):
        train(load_recipe(tiny, ["loop.sync_batchnorm=true", "loop.devices=2"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
