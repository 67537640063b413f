"""From a recipe to a model directory: fit, test, write. A run that was stopped goes on after its last whole epoch."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from rich.console import Console

from das_explain.checkpoint.config import CONFIG
from das_explain.errors import DasExplainError, UsageError, missing_package, one_line
from das_explain.folders import lock_folder, remove_parts
from das_explain.signals import Stopped, exit_status
from das_explain.text import cut_middle
from das_explain.train.data import without_traceback
from das_explain.train.folder import check_out, check_same_run, clear, identity_of, record_versions
from das_explain.train.machine import on_gpu, resolve_precision
from das_explain.train.schema import Recipe
from das_explain.train.task import CHECKPOINT, MODEL, Task, create_task, tell

try:
    import lightning
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.strategies import DDPStrategy
except ImportError:
    raise missing_package("lightning", "train", "training") from None

from das_explain.train.callbacks import Average, LastCheckpoint, Plateau
from das_explain.train.log import EpochLog

LONGEST_REASON = 200  # characters of what others say of a checkpoint
PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = True,
    console: Console | None = None,
    command: str | None = None,
    patience: float = 0,
) -> Path:
    """Trains as the recipe says and returns the model directory, ``out/model``.

    The weights are those after the last epoch; no epoch is picked by a test. ``out`` also gets ``log.csv`` (a row per
    epoch), ``tensorboard/`` (the same), what the task's test gives, ``last.ckpt`` and ``run.json``.

    With several processes (``loop.devices``, ``loop.nodes``) each runs this function. Of a script on one machine
    Lightning starts the others, by the same command line; else torchrun, srun or the user does.

    Args:
        recipe: from ``load_recipe``.
        out: the run's folder.
        resume: go on where ``out`` stands, if it is the same recipe on the same data; else start anew.
        console: where progress goes; default: nowhere.
        command: what the user typed, for the model card.
        patience: seconds to wait for another process that trains into ``out``, as one that has just been killed may.

    Raises:
        DasExplainError: ``out`` holds another run, or another process is training into it; the data or the model cannot
            be used; the loss is no number.
    """
    out = Path(out)
    check_out(out)
    task = create_task(recipe)
    with _quiet_lightning():
        trainer = _trainer(recipe, out)
    console = console if console and trainer.is_global_zero else Console(quiet=True)
    with lock_folder(out, patience) if trainer.is_global_zero else nullcontext():
        return _train(recipe, out, task, trainer, console, command, resume=resume)


def _train(
    recipe: Recipe, out: Path, task: Task, trainer, console: Console, command: str | None, *, resume: bool
) -> Path:
    leader = trainer.is_global_zero
    if leader:  # the others find the folder as it is, so that none sees it half changed
        identity = identity_of(recipe, task)
        if resume:
            check_same_run(out, identity)
        else:
            clear(out)
    if (leader or resume) and is_finished(out):
        tell(console, f"{out} is finished already (--no-resume trains anew)")
        return out / MODEL
    torch.manual_seed(recipe.seed)
    network = task.build(console)
    if leader:
        for folder in (out, out / MODEL):
            remove_parts(folder)
        for line in record_versions(out, identity):
            tell(console, line)
    processes = f"{trainer.world_size} processes, " if trainer.world_size > 1 else ""
    threads = f"{processes}{torch.get_num_threads()} threads"
    tell(console, f"{recipe.name}: {task.summary}, {resolve_precision(recipe)}, {threads}")
    _fit(trainer, task, network, recipe, out, console, resume)
    if leader:
        task.finish(network, out, console, command)
    return out / MODEL


def _trainer(recipe: Recipe, out: Path) -> lightning.Trainer:
    loop, processes = recipe.loop, recipe.loop.devices * recipe.loop.nodes
    if loop.sync_batchnorm and not on_gpu(recipe):
        raise UsageError("loop.sync_batchnorm needs GPUs: torch has no such layer for the CPU")
    try:
        return lightning.Trainer(
            accelerator={"auto": "gpu" if on_gpu(recipe) else "cpu"}.get(loop.device, loop.device),
            devices=loop.devices,
            num_nodes=loop.nodes,
            strategy=DDPStrategy() if processes > 1 else "auto",
            sync_batchnorm=loop.sync_batchnorm and processes > 1,
            precision=PRECISION[resolve_precision(recipe)],
            max_epochs=recipe.schedule.epochs,
            accumulate_grad_batches=loop.accumulate,
            gradient_clip_val=recipe.optimizer.clip_norm,
            limit_val_batches=None if loop.validate else 0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=out,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except MisconfigurationException as error:  # no GPU, or fewer than asked for
        asked = f"loop.device={loop.device}, loop.devices={loop.devices}"
        raise UsageError(f"{asked}: {one_line(error)}") from None


def _fit(trainer, task: Task, network, recipe: Recipe, out: Path, console: Console, resume: bool) -> None:
    checkpoint = out / CHECKPOINT
    log = EpochLog(out, console, task.measures, recipe.loop.validate)
    average = [Average(recipe.loop.ema)] if recipe.loop.ema else []
    plateau = [Plateau(log, recipe.schedule)] if recipe.schedule.name == "plateau" else []
    last = LastCheckpoint(checkpoint)
    trainer.callbacks += [*average, *plateau, log, last]
    known = checkpoint if resume and checkpoint.is_file() else None
    with _quiet_lightning():
        try:
            trainer.fit(task.module(network), ckpt_path=known, weights_only=True)
        except (SystemExit, KeyboardInterrupt, Stopped):  # Lightning makes the first of the second
            done = f"epoch {last.epochs} of {recipe.schedule.epochs}"
            error = DasExplainError(f"stopped; what is done is kept: the same command goes on after {done}")
            error.exit_code = exit_status()
            raise error from None
        except DasExplainError as error:
            raise without_traceback(error) from None
        except Exception as error:
            if isinstance(error.__context__, DasExplainError):  # Lightning stumbled over what it had not set up yet
                raise error.__context__ from None
            if known is None or last.begun:
                raise
            raise DasExplainError(
                f"cannot go on from {known}: --no-resume trains anew ({cut_middle(one_line(error), LONGEST_REASON)})"
            ) from None


def is_finished(out: Path) -> bool:
    """Whether the run in ``out`` has been trained, tested and written, whichever run that is."""
    return (out / MODEL / CONFIG).is_file()


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
