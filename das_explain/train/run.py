"""From a recipe to a model directory: fit, test, write. A run that was stopped goes on after its last whole epoch."""

from __future__ import annotations

import csv
import json
import logging
import platform
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from das_explain.errors import DasExplainError, missing_package
from das_explain.nn import create_model
from das_explain.train.card import describe, model_card, score
from das_explain.train.data import TrainingData, one_line
from das_explain.train.recipe import Recipe

try:
    import lightning
except ImportError:
    raise missing_package("lightning", "train", "training") from None

from das_explain.train.callbacks import EpochLog, LastCheckpoint
from das_explain.train.module import Classifier

STATE, LOG, CHECKPOINT, PREDICTIONS, MODEL = "run.json", "log.csv", "last.ckpt", "predictions.csv", "model"
PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def train(
    recipe: Recipe, out: str | Path, *, resume: bool = True, console: Console | None = None, command: str | None = None
) -> Path:
    """Trains as the recipe says and returns the model directory, ``out/model``.

    The weights are those after the last epoch; no epoch is picked by a test. ``out`` also gets ``log.csv`` (a row per
    epoch), ``predictions.csv`` (a row per test image), ``last.ckpt`` and ``run.json``.

    Args:
        recipe: from ``load_recipe``.
        out: the run's folder.
        resume: go on where ``out`` stands, if it is the same recipe on the same data; else start anew.
        console: where progress goes; default: nowhere.
        command: what the user typed, for the model card.

    Raises:
        DasExplainError: ``out`` holds another run, the data or the model cannot be used, the loss is no number.
    """
    out, console = Path(out), console or Console(quiet=True)
    data = TrainingData(recipe)
    identity = _identity(recipe, data)
    if not resume:
        _clear(out)
    _check_same_run(out, identity)
    if (out / MODEL / "config.json").is_file():
        console.print(f"{out} is finished already (--no-resume trains anew)", highlight=False)
        return out / MODEL
    torch.manual_seed(recipe.seed)
    options = recipe.model
    network = create_model(options.architecture, options.attention, len(data.labels), **options.arguments)
    if options.warm_start:
        from das_explain.checkpoint import warm_start

        warm_start(network, options.warm_start)
    out.mkdir(parents=True, exist_ok=True)
    (out / STATE).write_text(json.dumps(identity, indent=1) + "\n", "utf-8")
    console.print(
        f"{recipe.name}: {len(data.labels)} classes, {recipe.schedule.epochs} epochs of {data.per_epoch} images (of "
        f"{len(data.train)}), {resolve_precision(recipe)}, {torch.get_num_threads()} threads, {data.workers} workers",
        highlight=False,
        soft_wrap=True,
    )
    _fit(network, recipe, data, out, console)
    _write(network, recipe, data, out, console, command)
    return out / MODEL


def resolve_precision(recipe: Recipe) -> str:
    """``bf16``, ``16`` or ``32``: what ``loop.precision`` means on this machine."""
    if recipe.loop.precision != "auto":
        return recipe.loop.precision
    if _on_gpu(recipe):
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    return "bf16" if _cpu_has_bf16() else "32"


def _cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 by itself (AVX512-BF16, AMX, Arm BF16); emulated it is slower than fp32."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(test() for test in tests if test)


def _on_gpu(recipe: Recipe) -> bool:
    return recipe.loop.device != "cpu" and torch.cuda.is_available()


def _fit(network: nn.Module, recipe: Recipe, data: TrainingData, out: Path, console: Console) -> None:
    if recipe.loop.channels_last:
        network.to(memory_format=torch.channels_last)
    module = Classifier(network.train(), recipe, data)
    log = EpochLog(out / LOG, console)
    checkpoint = out / CHECKPOINT
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator={"auto": "gpu" if _on_gpu(recipe) else "cpu"}.get(recipe.loop.device, recipe.loop.device),
            devices=1,
            precision=PRECISION[resolve_precision(recipe)],
            max_epochs=recipe.schedule.epochs,
            accumulate_grad_batches=recipe.loop.accumulate,
            gradient_clip_val=recipe.optimizer.clip_norm,
            callbacks=[log, LastCheckpoint(checkpoint)],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=out,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        try:
            trainer.fit(module, ckpt_path=checkpoint if checkpoint.is_file() else None)
        except (SystemExit, KeyboardInterrupt):
            done = f"epoch {len(log.rows)} of {recipe.schedule.epochs}"
            error = DasExplainError(f"stopped; the same command goes on after {done}")
            error.exit_code = 130
            raise error from None
        except DasExplainError as error:
            raise one_line(error) from None


def _write(
    network: nn.Module, recipe: Recipe, data: TrainingData, out: Path, console: Console, command: str | None
) -> None:
    """Tests the weights that are shipped (rounded to half precision if so wished) and writes the model directory."""
    from das_explain.checkpoint import save_model

    network.float().to(memory_format=torch.contiguous_format).eval()
    if recipe.loop.half:
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point() and tensor.half().isfinite().all():
                    tensor.copy_(tensor.half())
    outcomes = {}
    with (out / PREDICTIONS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("set", "image", "label", "predicted", "confidence"))
        for name, frames in data.tests.items():
            rows = []
            with console.status(f"testing on {name}: {len(frames)} images"):
                for row in _predict(network, data, name):
                    rows.append(row)
            writer.writerows((name, *row) for row in rows)
            outcomes[name] = score([row[1] for row in rows], [row[2] for row in rows])
            console.print(f"{name}: {describe(outcomes[name])}", highlight=False)
    with (out / LOG).open(newline="", encoding="utf-8") as file:
        log = list(csv.DictReader(file))
    training, card = model_card(recipe, data, outcomes, log, precision=resolve_precision(recipe), command=command)
    save_model(
        out / MODEL,
        network,
        architecture=recipe.model.architecture,
        attention=recipe.model.attention,
        arguments=recipe.model.arguments,
        labels=data.labels,
        preprocess=data.preprocess,
        training=training,
        card=card,
        half=recipe.loop.half,
    )


@torch.no_grad()
def _predict(network: nn.Module, data: TrainingData, name: str) -> Iterator[tuple[str, str, str, str]]:
    """(image, label, predicted, confidence) of each image of a test set, in fp32."""
    frames, position = data.tests[name], 0
    device = next(network.parameters()).device
    try:
        for images, _ in data.test_loader(name):
            images = data.preprocess.normalize(images.to(device)).contiguous(memory_format=torch.channels_last)
            confidences, predicted = network(images).softmax(1).max(1)
            for confidence, number in zip(confidences.tolist(), predicted.tolist(), strict=True):
                sample = frames.samples[position]
                yield sample.name, sample.label, data.labels[number], f"{confidence:.4f}"
                position += 1
    except DasExplainError as error:
        raise one_line(error) from None


def _identity(recipe: Recipe, data: TrainingData) -> dict:
    """What must be equal for a run to go on: the recipe, but for settings that change no result, and the data."""
    tree = recipe.to_dict()
    del tree["description"], tree["loop"]["workers"]
    return {"recipe": tree, "data": data.fingerprints, "labels": data.labels}


def _check_same_run(out: Path, identity: dict) -> None:
    path = out / STATE
    if not path.is_file():
        return
    try:
        there = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise DasExplainError(f"{path} cannot be read: --no-resume starts anew in {out}") from None
    here, there = _flat(identity), _flat(there)
    for key in {**here, **there}:
        if here.get(key) != there.get(key):
            change = f"{key.removeprefix('recipe.')} is {there.get(key)!r} there, {here.get(key)!r} now"
            raise DasExplainError(
                f"{out} holds another run ({change}): another --out keeps it, --no-resume replaces it"
            )


def _flat(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _clear(out: Path) -> None:
    for name in (STATE, LOG, CHECKPOINT, PREDICTIONS):
        (out / name).unlink(missing_ok=True)
    if (out / MODEL).is_dir():
        shutil.rmtree(out / MODEL)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps Lightning's banners, tips and hints at options that are not ours from the screen."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    main = threading.current_thread() is threading.main_thread()
    on_interrupt = signal.getsignal(signal.SIGINT) if main else None
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", category=lightning.fabric.utilities.warnings.PossibleUserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if main:
            signal.signal(signal.SIGINT, on_interrupt)  # Lightning leaves Ctrl-C switched off after one
