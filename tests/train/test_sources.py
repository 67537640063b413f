"""CIFAR's binary files and Stanford Dogs' lists, as published; torchvision reads the same images."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
import torchvision
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100

from das_explain.data.dataset import open_dataset
from das_explain.errors import DasExplainError, UsageError
from das_explain.train import load_recipe
from das_explain.train.data import open_split


def _python_version(folder, kind, train, test, names):
    """torchvision's class for files of our making, with their checksums in place of the published ones."""
    base = folder / kind.base_folder
    base.mkdir(exist_ok=True)
    entries = {}
    for file, content in (("train", train), ("test", test), ("meta", names)):
        (base / file).write_bytes(pickle.dumps(content))
        entries[file] = [file, hashlib.md5((base / file).read_bytes()).hexdigest()]

    class Ours(kind):
        train_list, test_list = [entries["train"]], [entries["test"]]
        meta = {"filename": "meta", "key": next(iter(names)), "md5": entries["meta"][1]}

    return Ours


@pytest.mark.parametrize(("kind", "header"), [(CIFAR100, 2), (CIFAR10, 1)])
def test_cifar_binary_is_what_torchvision_reads_from_the_python_version(tmp_path, kind, header):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (10, 3072), dtype=np.uint8)
    labels = rng.permutation(10)
    names = [f"name {i}" for i in range(10)]
    key, name_key = ("fine_labels", "fine_label_names") if kind is CIFAR100 else ("labels", "label_names")
    batch = {"data": pixels, key: labels.tolist()}
    theirs = _python_version(tmp_path, kind, {}, batch, {name_key: names})(str(tmp_path), train=False)
    heads = np.stack([np.full(10, 3), labels], 1)[:, -header:].astype(np.uint8)
    records = np.concatenate([heads, pixels], 1).tobytes()
    file, list_file = ("test.bin", "fine_label_names.txt") if header == 2 else ("test_batch.bin", "batches.meta.txt")
    (tmp_path / file).write_bytes(records)
    (tmp_path / list_file).write_text("\n".join(names) + "\n\n")
    ours = open_dataset(f"cifar:{tmp_path}")
    assert len(ours) == len(theirs) == 10
    for sample, (image, target) in zip(ours.samples, theirs):
        assert np.array_equal(np.asarray(ours.read(sample)), np.asarray(image))
        assert sample.label == theirs.classes[target]


def test_the_recipe_s_own_data_are_torchvision_s_two_splits(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3072), dtype=np.uint8)
    train = {"data": pixels[:5], "fine_labels": [0, 1, 2, 0, 1]}
    test = {"data": pixels[5:], "fine_labels": [2, 0]}
    ours = _python_version(tmp_path, CIFAR100, train, test, {"fine_label_names": ["ape", "bee", "cow"]})
    monkeypatch.setattr(torchvision.datasets, "CIFAR100", ours)
    monkeypatch.setenv("DAS_EXPLAIN_DATA", str(tmp_path))
    recipe = load_recipe("cifar100-das-resnet")
    splits = [open_split(recipe, split) for split in ("train", "test")]
    assert [[sample.label for sample in split.samples] for split in splits] == [
        ["ape", "bee", "cow", "ape", "bee"],
        ["cow", "ape"],
    ]
    image = splits[1].read(splits[1].samples[1])
    assert np.array_equal(np.asarray(image), pixels[6].reshape(3, 32, 32).transpose(1, 2, 0))


def test_cifar_10_goes_through_its_five_files(tmp_path):
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(bytes([i % 2]) + bytes([i]) * 3072 + bytes([0]) + bytes(3072))
    data = open_dataset(f"cifar:{tmp_path}:train")
    assert [sample.label for sample in data.samples[::2]] == ["b", "a", "b", "a", "b"]
    assert [int(np.asarray(data.read(sample))[0, 0, 0]) for sample in data.samples] == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]
    assert data.samples[6].name == "data_batch_4/00000"


def test_cifar_fingerprint_sees_a_single_byte(cifar100, tmp_path):
    for name in ("fine_label_names.txt", "test.bin"):
        (tmp_path / name).write_bytes((cifar100 / name).read_bytes())
    before = open_dataset(f"cifar:{tmp_path}").fingerprint
    assert before == open_dataset(f"cifar:{cifar100}:test").fingerprint
    changed = bytearray((tmp_path / "test.bin").read_bytes())
    changed[4000] ^= 1
    other = tmp_path / "other"
    other.mkdir()
    (other / "fine_label_names.txt").write_bytes((tmp_path / "fine_label_names.txt").read_bytes())
    (other / "test.bin").write_bytes(changed)
    assert open_dataset(f"cifar:{other}").fingerprint != before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no test.bin or test_batch.bin"),
        ({"test.bin": bytes(3074)}, "fine_label_names.txt"),
        ({"test.bin": bytes(3000), "fine_label_names.txt": b"a\n"}, "no whole number of 3074-byte records"),
        ({"test.bin": b"", "fine_label_names.txt": b"a\n"}, "cannot be read"),
        ({"test.bin": bytes([0, 9]) + bytes(3072), "fine_label_names.txt": b"a\nb\n"}, "class 9, but .* names 2"),
        ({"test.bin": bytes(3074), "fine_label_names.txt": b"a\na\n"}, "all different"),
    ],
)
def test_broken_cifar_is_one_line(tmp_path, files, words):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DasExplainError, match=words) as caught:
        open_dataset(f"cifar:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_dogs_have_the_official_split_and_names(dogs):
    train, test = open_dataset(f"stanford-dogs:{dogs}:train"), open_dataset(f"stanford-dogs:{dogs}", split="test")
    assert (len(train), len(test)) == (16, 8)
    assert train.labels == test.labels == ("Border_collie", "Chihuahua", "collie", "golden_retriever")
    assert {s.name for s in train.samples}.isdisjoint(s.name for s in test.samples)
    assert test.samples[0].name == "n02085620-Chihuahua/n02085620_27.jpg"
    assert test.samples[0].label == "Chihuahua"
    assert test.read(test.samples[0]).size == (40, 48)


def test_dogs_lists_may_lie_in_a_folder_of_their_own(dogs, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "test_list.mat").write_bytes((dogs / "test_list.mat").read_bytes())
    (tmp_path / "Images").symlink_to(dogs / "Images")
    assert len(open_dataset(f"stanford-dogs:{tmp_path}")) == 8


def test_broken_dogs_are_one_line(dogs, tmp_path):
    with pytest.raises(UsageError, match=r"no test_list\.mat in .*unpack images\.tar and lists\.tar"):
        open_dataset(f"stanford-dogs:{tmp_path}")
    (tmp_path / "Images").mkdir()
    (tmp_path / "test_list.mat").write_bytes(b"nothing of MATLAB's")
    with pytest.raises(DasExplainError, match=r"test_list\.mat is no list"):
        open_dataset(f"stanford-dogs:{tmp_path}")
    for name, words in (("../../x.jpg", "no photo of Stanford Dogs"), ("n02085620-x/n02085620_1.jpg", "is not in")):
        savemat(tmp_path / "test_list.mat", {"file_list": np.array([[name]], dtype=object)})
        with pytest.raises(DasExplainError, match=words):
            open_dataset(f"stanford-dogs:{tmp_path}")
    with pytest.raises(UsageError, match="no such folder"):
        open_dataset("stanford-dogs:nowhere:train")
    with pytest.raises(UsageError, match="no such data"):
        open_dataset(f"stanford-dogs:{tmp_path}", split="val")
