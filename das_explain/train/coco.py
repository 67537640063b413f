"""Photos with boxes for training a detector: which ones an epoch takes, in which batches, how each is seen.

All of it follows from (seed, epoch, index), as in ``data``. What is trained on follows torchvision's reference scripts
for detection: crowds are no objects to learn, and images without a box of more than a pixel are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from das_explain.accuracy.detectors import BACKGROUND
from das_explain.data.coco.objects import ObjectDataset, corners, open_objects
from das_explain.errors import UsageError
from das_explain.train.data import EpochSampler, Loader, generator, prepare_worker, share, workers_of
from das_explain.train.schema import Recipe

_FLIP = 4  # what a random stream is for; 1 to 3 are those of ``data``
MIN_SIDE = 1  # of a box, in pixels; smaller ones are slips
View = tuple[torch.Tensor, dict[str, torch.Tensor]]


class ObjectViews(TorchDataset):
    """Asked for a list of ``(epoch, index)`` it gives the batch: of each photo the image, uint8 (3, H, W), and the
    target, ``boxes`` float32 (M, 4) xyxy in its pixels and ``labels`` int64 (M,), both mirrored with probability ``flip``.
    """

    def __init__(self, data: ObjectDataset, classes: Sequence[str], flip: float, seed: int) -> None:
        self.data, self.flip, self.seed = data, flip, seed
        number = {name: position for position, name in enumerate(classes)}
        self.number = {each: number[name] for each, name in data.categories.items()}
        self.samples = [sample for sample in data.samples if len(self._objects(sample)[0])]

    def __len__(self) -> int:
        return len(self.samples)

    def tall(self) -> np.ndarray:
        """Whether each photo is higher than wide, as far as the file tells: bool (N,)."""
        sizes = (self.data.reader.sizes.get(sample.index, (1, 1)) for sample in self.samples)
        return np.array([height > width for width, height in sizes], bool)

    def __getitem__(self, keys: Sequence[tuple[int, int]]) -> list[View]:
        return [self.view(*key) for key in keys]

    def view(self, epoch: int, index: int) -> View:
        """One photo as one epoch sees it."""
        sample = self.samples[index]
        image = F.pil_to_tensor(self.data.reader.read(sample))
        boxes, labels = self._objects(sample)
        frame = tv_tensors.BoundingBoxes(
            torch.from_numpy(boxes), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=image.shape[1:]
        )
        frame, good = F.sanitize_bounding_boxes(F.clamp_bounding_boxes(frame), min_size=MIN_SIDE)
        if generator(self.seed, _FLIP, epoch, index).random() < self.flip:
            image, frame = F.horizontal_flip(image), F.horizontal_flip(frame)
        return image, {"boxes": frame.as_subclass(torch.Tensor), "labels": torch.from_numpy(labels)[good]}

    def _objects(self, sample: Any) -> tuple[np.ndarray, np.ndarray]:
        real = [
            each for each in self.data.objects(sample) if not each.get("iscrowd") and min(each["bbox"][2:]) > MIN_SIDE
        ]
        return corners(real), np.array([self.number[each["category_id"]] for each in real], np.int64)


class AspectBatches(Sampler):
    """The batches of an epoch, lists of ``(epoch, index)``: wide photos with wide ones and tall with tall, so that little
    of a padded batch is padding (MMDetection's ``GroupSampler``); what is left of both is mixed. ``per_epoch`` images are
    drawn as ``EpochSampler`` draws them. A batch is shared by all processes: each gets every ``world``-th of its images.
    """

    def __init__(self, tall: np.ndarray, per_epoch: int, batch_size: int, seed: int) -> None:
        self.tall, self.batch_size, self.epoch = tall, batch_size, 0
        self.stream = EpochSampler(len(tall), per_epoch, seed)

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration draws."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.stream.per_epoch // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        (rank, world), size = share(), self.batch_size
        order = self.stream.order(self.epoch)
        groups = [order[self.tall[order]], order[~self.tall[order]]]
        whole = [group[: len(group) // size * size] for group in groups]
        left = np.concatenate([group[len(part) :] for group, part in zip(groups, whole)])
        batches = np.concatenate([*whole, left[: len(left) // size * size]]).reshape(-1, size)
        batches = generator(self.stream.seed, _FLIP, self.epoch).permutation(batches)  # else all tall ones come first
        return ([(self.epoch, int(index)) for index in batch[rank::world]] for batch in batches)


class DetectionData:
    """The data of a recipe: ``train``, ``test`` and ``labels``, which begin with the background."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        source, self.test = _open(recipe, "train"), _open(recipe, "test")
        self.labels = [BACKGROUND, *source.categories.values()]
        if unknown := [name for name in self.test.categories.values() if name not in self.labels]:
            raise UsageError(f"{recipe.data.test} has the category {unknown[0]!r}, which {recipe.data.train} has not")
        self.train = ObjectViews(source, self.labels, recipe.augment.flip, recipe.seed)
        self.per_epoch = recipe.data.per_epoch or len(self.train)
        self.batch_size = recipe.loop.batch_size
        if min(self.per_epoch, len(self.train)) < self.batch_size:
            raise UsageError(
                f"{recipe.data.train} gives {len(self.train)} images with boxes, {self.per_epoch} an epoch: too few for "
                f"loop.batch_size={self.batch_size}"
            )
        self.fingerprints = {"train": source.fingerprint, "test": self.test.fingerprint}

    @property
    def batches(self) -> int:
        """Whole batches of an epoch."""
        return self.per_epoch // self.batch_size

    def train_loader(self) -> DataLoader:
        """Batches as ``ObjectViews`` gives them, this process's share of each."""
        workers = workers_of(self.recipe)
        return Loader(
            self.train,
            batch_size=None,  # the sampler gives batches
            sampler=AspectBatches(self.train.tall(), self.per_epoch, self.batch_size, self.recipe.seed),
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_as_it_is,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=prepare_worker,
            generator=torch.Generator(),  # workers draw nothing from it, and the global stream stays as it is
        )


def _as_it_is(batch: list[View]) -> list[View]:
    return batch


def _open(recipe: Recipe, split: str) -> ObjectDataset:
    spec = getattr(recipe.data, split)
    try:
        return open_objects(spec)
    except UsageError as error:
        raise UsageError(f"data.{split}: {error}; --set data.{split}=FILE.json[@FOLDER] names other data") from None
