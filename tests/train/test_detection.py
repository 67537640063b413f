"""Faster R-CNN trains on COCO's format: what it is shown, how its two stages go, that it learns and resumes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from das_explain.accuracy.detectors import load_detector
from das_explain.checkpoint.load import save_model
from das_explain.data.coco.objects import open_objects
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model
from das_explain.train import load_recipe, train
from das_explain.train.callbacks import LastCheckpoint
from das_explain.train.coco import AspectBatches, DetectionData
from das_explain.train.detection import Detection, staged_factor
from das_explain.train.schedules import lr_factor
from das_explain.train.schema import Recipe, Schedule
from tests.objects import coco_folder


class _Killed(BaseException):
    """As sudden as a signal."""


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coco_folder(tmp_path_factory.mktemp("coco"))


@pytest.fixture
def tiny(coco: Path) -> Callable[..., Recipe]:
    """The package's recipe at toy size: ResNet-18 with one gate, 64 px, 3 epochs of 2 steps, the first of them initial."""
    arguments = "{gates: [layer4], trainable_layers: 2, min_size: 64, max_size: 96, box_batch_size_per_image: 16}"
    small = [
        "model.architecture=resnet18",
        "model.warm_start=null",
        f"model.arguments={arguments}",
        f"data.train={coco}",
        f"data.test={coco}",
        "optimizer.lr=0.01",
        "initial.epochs=1",
        "schedule.epochs=3",
        "schedule.milestones=[1]",
        "schedule.warmup_epochs=0.5",
        "loop.batch_size=2",
        "loop.workers=0",
        "loop.device=cpu",
    ]
    return lambda settings: load_recipe("coco-fasterrcnn-resnet50", [*small, *settings])


def _log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_trained_on(tiny, coco) -> None:
    data = DetectionData(tiny(["augment.flip=0"]))
    assert data.labels == ["__background__", "blue bar", "red square"], "in order of their ids, 3 and 7"
    assert len(data.train) == 5, "the image without an object is left out"
    assert len(data.test) == 6, "but tested"
    content = json.loads(coco.read_text())
    for index, sample in enumerate(data.train.samples):
        image, target = data.train.view(0, index)
        assert image.dtype == torch.uint8
        assert image.shape[1:] == (content["images"][sample.index]["height"], content["images"][sample.index]["width"])
        told = [a for a in content["annotations"] if a["image_id"] == 100 + sample.index and not a["iscrowd"]]
        assert target["boxes"].tolist() == [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in told)]
        assert target["labels"].tolist() == [{3: 1, 7: 2}[a["category_id"]] for a in told]


def test_a_mirrored_view_has_mirrored_boxes(tiny) -> None:
    plain, mirrored = (DetectionData(tiny([f"augment.flip={p}"])).train for p in (0, 1))
    image, target = plain.view(3, 0)
    flipped, its = mirrored.view(3, 0)
    assert torch.equal(flipped, image.flip(2))
    width = image.shape[2]
    expected = torch.stack(
        [width - target["boxes"][:, 2], target["boxes"][:, 1], width - target["boxes"][:, 0], target["boxes"][:, 3]], 1
    )
    assert torch.equal(its["boxes"], expected)
    x0, y0, x1, y1 = its["boxes"][0].int().tolist()
    assert (flipped[:, y0:y1, x0:x1] == torch.tensor([220, 40, 40])[:, None, None]).all(), (
        "the red square is in its box"
    )


def test_batches_keep_tall_and_wide_apart_and_are_shared(monkeypatch) -> None:
    tall = np.arange(23) % 3 == 0  # 8 tall, 15 wide: two whole batches, three whole batches, three images are left
    sampler = AspectBatches(tall, 23, 4, seed=5)
    sampler.set_epoch(2)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5
    assert {epoch for batch in batches for epoch, _ in batch} == {2}
    chosen = [[index for _, index in batch] for batch in batches]
    assert len(set(sum(chosen, []))) == 20
    assert sorted(int(tall[batch].sum()) for batch in chosen) == [0, 0, 0, 4, 4]
    assert list(sampler) == batches
    sampler.set_epoch(3)
    assert list(sampler) != batches
    sampler.set_epoch(2)
    parts = []
    for rank in (0, 1):
        with monkeypatch.context() as patch:
            patch.setattr("das_explain.train.coco.share", lambda rank=rank: (rank, 2))
            parts.append(list(sampler))
    assert [sorted(a + b) for a, b in zip(*parts)] == [sorted(batch) for batch in batches]
    left = list(AspectBatches(np.arange(6) < 3, 6, 4, seed=0))  # 3 tall, 3 wide: one mixed batch
    assert [len(batch) for batch in left] == [4]


def test_the_initial_stage_is_flat_and_the_schedule_starts_anew() -> None:
    schedule = Schedule(name="step", epochs=5, milestones=(2,), warmup_epochs=0.5, gamma=0.1)
    factors = [staged_factor(schedule, 1, step, 4) for step in range(20)]
    assert factors[:4] == [0.5, 1, 1, 1]
    assert factors[4:8] == [0.5, 1, 1, 1], "warmed up again"
    assert factors[8:12] == [1] * 4
    assert factors[12:] == pytest.approx([0.1] * 8), "two epochs after the second start"
    assert [staged_factor(schedule, 0, s, 4) for s in range(20)] == [lr_factor(schedule, s, 4) for s in range(20)]


def test_loss_goes_down_resume_is_exact_and_the_directory_is_what_was_tested(tiny, coco, tmp_path, monkeypatch) -> None:
    few = coco_folder(tmp_path / "few", 2, seed=1)
    recipe = tiny(["schedule.epochs=2", f"data.test={few}"])
    model = train(recipe, tmp_path / "whole", command="das-explain train small")
    rows = _log(tmp_path / "whole")
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    parts = ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")
    assert float(rows[0]["loss"]) == pytest.approx(sum(float(rows[0][name]) for name in parts), abs=1e-3)

    save = LastCheckpoint.on_train_epoch_end

    def save_then_die(self, trainer, module):
        save(self, trainer, module)
        if trainer.current_epoch == 0:  # the initial stage is over, its momentum is in the checkpoint
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "on_train_epoch_end", save_then_die)
        with pytest.raises(_Killed):
            train(recipe, tmp_path / "parts")
    torch.rand(11)
    train(recipe, tmp_path / "parts")
    states = [torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("whole", "parts")]
    assert [key for key in states[0] if not torch.equal(states[0][key], states[1][key])] == []

    detector = load_detector(str(model))
    assert detector.labels == ["__background__", "blue bar", "red square"]
    assert detector.config["arguments"]["gates"] == ["layer4"]
    prefixed = {f"network.{key}": value for key, value in detector.network.state_dict().items()}
    assert all(torch.equal(states[0][key], value) for key, value in prefixed.items())
    training = json.loads((model / "config.json").read_text())["training"]
    assert set(training["ap"]) == {"AP", "AP50", "AP75", "APs", "APm", "APl"}
    assert training["tested"] == 2
    assert "das-explain train small" in (model / "README.md").read_text()
    known = {3, 7}
    assert {each["category_id"] for each in json.loads((tmp_path / "whole" / "detections.json").read_text())} <= known


def test_stages_momentum_and_the_backbone_alone(tiny, tmp_path, monkeypatch) -> None:
    """In the initial stage of ``train: backbone`` nothing else moves; the second stage begins without momentum."""
    task = Detection(tiny(["initial.train=backbone"]))
    network = task.build(_Quiet())
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    module = task.module(network)
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    inside = sum(p.numel() for p in network.backbone.body.parameters() if p.requires_grad)
    assert sizes == [inside, sum(p.numel() for p in network.parameters() if p.requires_grad) - inside]
    rates = []
    for step in range(6):
        rates.append([group["lr"] for group in optimizer.param_groups])
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.ones_like(p)
        optimizer.step()
        scheduler.step()
        if step == 1:  # the last of the initial stage
            moved = {
                name.startswith("backbone.body.")
                for name, p in network.named_parameters()
                if not torch.equal(p, before[name])
            }
            assert moved == {True}
    assert rates == [
        [pytest.approx(r), pytest.approx(q)]
        for r, q in [(0.01, 0), (0.01, 0), (0.01, 0.01), (0.01, 0.01), (0.001, 0.001), (0.001, 0.001)]
    ]
    assert len(optimizer.state) > 0
    monkeypatch.setattr(module, "optimizers", lambda use_pl_optimizer: optimizer)
    monkeypatch.setattr(type(module), "current_epoch", 0)
    monkeypatch.setattr(type(module), "global_rank", 0)
    module.on_train_epoch_start()
    assert len(optimizer.state) > 0
    monkeypatch.setattr(type(module), "current_epoch", 1)
    module.on_train_epoch_start()
    assert len(optimizer.state) == 0


def test_the_backbone_starts_from_a_classifier(tiny, tmp_path) -> None:
    torch.manual_seed(1)
    classifier = create_model("resnet18", "das", 5, gates=("layer4",))
    with torch.no_grad():
        for name, buffer in classifier.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
    save_model(tmp_path / "c", classifier, architecture="resnet18", attention="das", arguments={"gates": ["layer4"]})
    said = _Quiet()
    network = Detection(tiny([f"model.warm_start={tmp_path / 'c'}"])).build(said)
    body, state = network.backbone.body.state_dict(), classifier.state_dict()
    assert body.keys() == {key for key in state if not key.startswith("fc.") and "num_batches" not in key}
    assert all(torch.equal(body[key], state[key]) for key in body)
    assert "the head starts fresh" in said.text
    frozen = {name.split(".")[0] for name, p in network.backbone.body.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1", "layer2"}, "trainable_layers=2"


class _Quiet:
    text = ""

    def out(self, text: str, **_) -> None:
        self.text += text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.held_out=2", "holds no images out"),
        ("input.size=300", "min_size and max_size in place of input"),
        ("augment.brightness=0.1", "mirrors photos and no more"),
        ("loop.label_smoothing=0.1", "no label smoothing"),
        ("initial.epochs=3", r"initial\.epochs cannot be 3"),
        ("model.architecture=mobilenet_v2", "a detector stands on one of resnet18"),
        ("model.attention=abn", "abn has no place in a detector"),
        ("loop.batch_size=8", "gives 5 images with boxes, 5 an epoch: too few for loop.batch_size=8"),
        ("data.train=nowhere.json", r"cannot read nowhere\.json"),
        ("task=classification", r"initial\.epochs is for task=detection"),
    ],
)
def test_refused(tiny, tmp_path, setting, words) -> None:
    with pytest.raises(DasExplainError, match=words):
        train(tiny([setting]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_recipe_of_the_package_is_the_papers() -> None:
    recipe = load_recipe("coco-fasterrcnn-resnet50")
    assert (recipe.task, recipe.model.architecture, recipe.model.attention) == ("detection", "resnet50", "das")
    optimizer = recipe.optimizer
    assert (recipe.loop.batch_size, optimizer.lr, optimizer.weight_decay, optimizer.name) == (16, 0.02, 1e-4, "sgd")
    assert recipe.initial.train == "all", "both the backbone and the rest"
    steps = 117266 // 16  # images of train2017 with a box
    assert round(recipe.schedule.warmup_epochs * steps) == 500
    lr = [staged_factor(recipe.schedule, recipe.initial.epochs, e * steps + 600, steps) for e in range(15)]
    assert lr == pytest.approx([1] * 3 + [1] * 8 + [0.1] * 3 + [0.01])


def test_a_path_out_of_the_folder_is_refused(coco, tmp_path) -> None:
    content = json.loads(coco.read_text())
    content["images"][0]["file_name"] = "../secret.png"
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="no file name below the folder"):
        open_objects(f"{tmp_path / 'bad.json'}@{coco.parent}")
