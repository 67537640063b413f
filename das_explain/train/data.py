"""Images for training: which ones an epoch takes, in which order, and how each is seen, all from (seed, epoch, index).

Nothing depends on what was drawn before, on the number of workers or on when the run was stopped, so a resumed run sees
what an uninterrupted one would have seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from das_explain.batches.workers import available_cpus, end_with_parent
from das_explain.data.dataset import SOURCES, Dataset, open_dataset
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.signals import leave_to_parent
from das_explain.train.augment import random_view
from das_explain.train.schema import Augment, Recipe
from das_explain.train.split import hold_out, warn_of_many
from das_explain.types import Sample

_ORDER, _VIEW, _TURN, _WITHIN = 1, 2, 4, 5  # what a random stream is for, so that no two share one


def generator(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """An independent stream for every (seed, purpose, numbers)."""
    return np.random.default_rng(np.random.SeedSequence([seed, purpose, *numbers]))


class Frames(TorchDataset):
    """Frames of some samples of a data set: uint8 (3, H, W) and the class number.

    Asked for an ``index`` it gives the network's plain view (``geometry``), asked for ``(epoch, index)`` a random one.
    """

    def __init__(self, dataset: Dataset, samples: Sequence[Sample], labels: Sequence[str], geometry: Geometry) -> None:
        self.dataset, self.samples, self.geometry = dataset, list(samples), geometry
        number = {label: position for position, label in enumerate(labels)}
        self.targets = [number.get(sample.label, -1) for sample in self.samples]
        if -1 in self.targets:
            sample = self.samples[self.targets.index(-1)]
            if sample.label is None:
                raise UsageError(f"{dataset.spec}: {sample.name} has no class; give it one or leave it out")
            raise UsageError(
                f"{dataset.spec}: {sample.name} has class {sample.label!r}; the training data has {', '.join(labels)}; "
                "--set data.test=... names other data, data.test=null tests on data.held_out alone"
            )
        self.augment, self.seed, self.view_size, self.resize = Augment(), 0, geometry.size[0], geometry.resize

    def randomize(self, augment: Augment, seed: int, size: int, resize: int) -> Frames:
        """Sets how random views are drawn, their side and that of the photo before a fixed crop; returns self."""
        self.augment, self.seed, self.view_size, self.resize = augment, seed, size, resize
        return self

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, index = key if isinstance(key, tuple) else (None, key)
        image = self.dataset.read(self.samples[index])
        if epoch is None:
            frame = self.geometry.frame(image).copy()
        else:
            rng = generator(self.seed, _VIEW, epoch, index)
            frame = random_view(image, self.view_size, self.augment, self.geometry.interpolation, rng, self.resize)
        return torch.from_numpy(frame).permute(2, 0, 1), self.targets[index]


class EpochSampler(Sampler):
    """``(epoch, index)`` of the images of an epoch, from one endless shuffled stream over the data.

    An epoch takes the next ``per_epoch`` images of the stream, so each image comes once before any comes again. Under
    DDP every process takes its share. Lightning calls ``set_epoch``.
    """

    def __init__(self, count: int, per_epoch: int, seed: int) -> None:
        self.count, self.per_epoch, self.seed, self.epoch = count, per_epoch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration draws."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch // share()[1]

    def order(self, epoch: int) -> np.ndarray:
        """The images of an epoch, for all processes: int64 (per_epoch,)."""
        start = epoch * self.per_epoch
        passes = range(start // self.count, -(-(start + self.per_epoch) // self.count))
        stream = np.concatenate([generator(self.seed, _ORDER, p).permutation(self.count) for p in passes])
        return stream[start - passes[0] * self.count :][: self.per_epoch]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        (rank, world), epoch = share(), self.epoch
        chosen = self.order(epoch)[: len(self) * world]
        return ((epoch, int(index)) for index in chosen[rank::world])


class BalancedSampler(EpochSampler):
    """``(epoch, index)`` from an endless stream in which the classes take turns: every class once, in an order drawn
    anew, then every class again. Within a class each image comes once before any comes again.
    """

    def __init__(self, targets: Sequence[int], per_epoch: int, seed: int) -> None:
        super().__init__(len(targets), per_epoch, seed)
        numbers = np.asarray(targets)
        self.classes = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]

    def order(self, epoch: int) -> np.ndarray:
        """The images of an epoch, for all processes: int64 (per_epoch,)."""
        start, width = epoch * self.per_epoch, len(self.classes)
        turns = np.arange(start // width, -(-(start + self.per_epoch) // width))
        columns = []  # of each class, its image at every turn
        for number, members in enumerate(self.classes):
            passes = np.arange(turns[0] // len(members), turns[-1] // len(members) + 1)
            stream = [generator(self.seed, _WITHIN, number, p).permutation(members) for p in passes]
            columns.append(np.concatenate(stream)[turns - passes[0] * len(members)])
        rows = np.stack(columns, 1)
        places = np.stack([generator(self.seed, _TURN, turn).permutation(width) for turn in turns])
        return np.take_along_axis(rows, places, 1).reshape(-1)[start - turns[0] * width :][: self.per_epoch]


def share() -> tuple[int, int]:
    """(number of this process, number of processes) among those that train together."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if ready else (0, 1)


class Loader(DataLoader):
    """A ``DataLoader`` that says in one line that the machine does not start as many workers."""

    def __iter__(self) -> Iterator:
        try:
            return super().__iter__()
        except OSError as error:  # of files, processes or memory
            why = f"cannot start loop.workers={self.num_workers} processes: {error.strerror or error}"
            raise DasExplainError(f"{why}; set fewer, such as loop.workers=2") from None


class TrainingData:
    """The data of a recipe: ``train``, ``tests`` (``test`` and ``held_out``, those that there are), ``labels`` in logit
    order; ``warnings``, and ``notes`` on files of the data that were passed over: lines for whoever trains and for the card.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        size = (recipe.input.size, recipe.input.size)
        geometry = Geometry(size, recipe.input.resize, recipe.input.interpolation)
        self.preprocess = Preprocess(geometry, recipe.input.mean, recipe.input.std)
        source = open_split(recipe, "train")
        test = open_split(recipe, "test") if recipe.data.test is not None else None
        if not source.labels:
            raise UsageError(f"{recipe.data.train} has no classes: training needs labelled images")
        self.labels = list(source.labels)
        chosen = list(source.samples)
        self.tests = {"test": Frames(test, test.samples, self.labels, self.preprocess.geometry)} if test else {}
        self.warnings: list[str] = []
        if held_out := recipe.data.held_out:
            kept = hold_out(source, held_out, recipe.seed)
            if line := warn_of_many(held_out, len(kept), len(chosen)):
                self.warnings.append(line)
            names = {sample.name for sample in kept}
            chosen = [sample for sample in chosen if sample.name not in names]
            self.tests["held_out"] = Frames(source, kept, self.labels, self.preprocess.geometry)
        view = recipe.input.train_size or recipe.input.size
        self.train = Frames(source, chosen, self.labels, self.preprocess.geometry)
        self.train.randomize(recipe.augment, recipe.seed, view, recipe.input.resize)
        self.per_epoch = recipe.data.per_epoch or len(chosen)
        least = 2 * self._processes
        if len(chosen) < least:
            raise UsageError(f"{recipe.data.train} has {len(chosen)} images to train on; at least {least} are needed")
        self.fingerprints = {"train": source.fingerprint, **({"test": test.fingerprint} if test else {})}
        self.notes = list(dict.fromkeys([*source.notes, *(test.notes if test else ())]))

    @property
    def batch_size(self) -> int:
        """Images of a batch, shared by all processes: the recipe's, or all of an epoch where they are fewer."""
        return min(self.recipe.loop.batch_size, self.per_epoch // self._processes * self._processes)

    @property
    def batches(self) -> int:
        """Whole batches of an epoch."""
        return self.per_epoch // self.batch_size

    @property
    def workers(self) -> int:
        """Decoding processes, of each training process."""
        return workers_of(self.recipe)

    @property
    def _processes(self) -> int:
        return self.recipe.loop.devices * self.recipe.loop.nodes

    def train_loader(self) -> DataLoader:
        """Batches of random views, uint8 (N, 3, H, W) and int64 (N,); whole batches only, this process's share."""
        sampler = EpochSampler(len(self.train), self.per_epoch, self.recipe.seed)
        if self.recipe.data.balanced:
            sampler = BalancedSampler(self.train.targets, self.per_epoch, self.recipe.seed)
        own, keep = self.batch_size // self._processes, self.workers > 0
        return self._loader(self.train, own, sampler=sampler, drop_last=True, persistent_workers=keep)

    def held_out_loader(self) -> DataLoader:
        """Batches of plain views of the held-out images, this process's share: the same number in every process, so
        that up to one less than there are processes are left out."""
        frames, (rank, world) = self.tests["held_out"], share()
        sampler = range(rank, len(frames) // world * world, world)
        return self._loader(frames, self.batch_size // world, sampler=sampler)

    def test_loader(self, name: str) -> DataLoader:
        """Batches of plain views of ``tests[name]``, in order."""
        return self._loader(self.tests[name], self.batch_size)

    def _loader(self, frames: Frames, batch_size: int, **options) -> DataLoader:
        cv2.setNumThreads(1)  # forked workers inherit it; set in a worker, it may wait for threads that were not forked
        return Loader(
            frames,
            batch_size,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=prepare_worker,
            generator=torch.Generator(),  # workers draw nothing from it, and the global stream stays as it is
            **options,
        )


def workers_of(recipe: Recipe) -> int:
    """Decoding processes, of each training process."""
    if recipe.loop.workers != "auto":
        return recipe.loop.workers
    return max(1, available_cpus() // recipe.loop.devices)


def without_traceback(error: DasExplainError) -> DasExplainError:
    """The project's own line about a failure in a worker, without the worker's traceback."""
    return DasExplainError(re.split(r"\sdas_explain\.[\w.]+: ", str(error))[-1])


def open_split(recipe: Recipe, split: str) -> Dataset:
    """``data.train`` or ``data.test`` of a recipe; a source that has splits gives the one of that name."""
    spec = getattr(recipe.data, split)
    kind, *rest = spec.split(":")
    chooses = kind in SOURCES and not {"train", "test"} & set(rest)
    try:
        dataset = open_dataset(spec, split=split if chooses else None)
    except UsageError as error:
        raise UsageError(f"data.{split}: {error}; --set data.{split}=... names other data") from None
    if not dataset.samples:
        raise UsageError(f"data.{split}: {spec} has no images")
    return dataset


def prepare_worker(_: int) -> None:
    """Workers give way to the network: on a CPU both want the same cores, and one late network thread stalls all.

    And they end when it does.
    """
    leave_to_parent()
    end_with_parent()
    if hasattr(os, "nice"):
        os.nice(10)
