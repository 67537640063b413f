"""Measures that ask the network: by hand, by few-line references, and beside pytorch-grad-cam."""

from __future__ import annotations

import itertools

import pytest
import torch
from pytorch_grad_cam.metrics import cam_mult_image, road
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import nn

from das_explain.errors import UsageError
from das_explain.measures import MEASURES, MeasureOptions, Probe
from das_explain.measures.probe import BASELINES, blur
from das_explain.measures.road import impute

NAMES = [name for name, measure in MEASURES.items() if measure.needs_network]
SIDE, CLASSES = 12, 4


def distinct_maps(count: int, side: int = SIDE) -> torch.Tensor:
    """Weights k / 256, all distinct, exact in float32 as their difference from 1 is: float32 (count, side, side)."""
    generator = torch.Generator().manual_seed(1)
    orders = [torch.randperm(side * side, generator=generator) for _ in range(count)]
    return (torch.stack(orders).view(count, side, side) + 1) / 256


def a_network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES)]
    network = nn.Sequential(*layers).eval()
    network[-1].weight.data *= 20  # probabilities that differ
    return network


def masks_of(maps: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(maps, dtype=torch.bool)


def measure(name: str, maps: torch.Tensor, probe: Probe, **options):
    return MEASURES[name].compute(maps, masks_of(maps), MeasureOptions(probe=probe, **options))


def probe_and_targets(count: int, side: int = SIDE) -> tuple[Probe, torch.Tensor, nn.Module]:
    network = a_network()
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(count, 3, side, side, generator=generator)
    targets = torch.randint(CLASSES, (count,), generator=generator)
    return Probe.of(network, lambda photos: photos, images, targets), targets, network


def brightness(images: torch.Tensor, **options) -> Probe:
    """A network whose probability is the photo's mean brightness."""
    return Probe(images, lambda photos, rows: photos.mean((1, 2, 3)), **options)


# --- by hand


def test_deletion_and_insertion_by_hand():
    """Two of four pixels are bright; hidden by the mean, 0.5. The map has the bright ones first, then the dark ones."""
    images = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    maps = torch.tensor([[[0.9, 0.8], [0.4, 0.1]]])
    probe = brightness(images)
    # Brightness after 0 to 4 pixels are hidden: 0.5, 0.375, 0.25, 0.375, 0.5; trapezoids of 1/4.
    assert measure("deletion", maps, probe, steps=4).values.item() == pytest.approx(0.375)
    # And as they come back: 0.5, 0.625, 0.75, 0.625, 0.5.
    shown = measure("insertion", maps, probe, steps=4, baseline="mean")
    assert (shown.values.item(), shown.status) == (pytest.approx(0.625), ["ok"])
    assert measure("deletion", 1 - maps, probe, steps=4).values.item() == pytest.approx(0.625)
    assert measure("deletion", maps, probe, steps=2).values.item() == pytest.approx((0.5 / 2 + 0.25 + 0.5 / 2) / 2)


def test_average_drop_and_increase_by_hand():
    images = torch.full((3, 3, 1, 2), 0.8)
    maps = torch.tensor([[[1.0, 0.5]], [[1.0, 1.0]], [[1.0, 0.0]]])

    def probability(photos: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        mean = photos.mean((1, 2, 3))
        return torch.where(rows == 2, 1 - mean, mean)  # the third is surer of darker photos

    probe = Probe(images, probability)
    drop = measure("average_drop", maps, probe)
    assert drop.values.tolist() == pytest.approx([0.25, 0, 0])
    assert drop.extras["before"].tolist() == pytest.approx([0.8, 0.8, 0.2])
    assert drop.extras["on_map"].tolist() == pytest.approx([0.6, 0.8, 0.6])
    assert measure("increase_in_confidence", maps, probe).values.tolist() == [0, 0, 1]


def test_a_class_without_any_probability_cannot_drop():
    probe = Probe(torch.rand(1, 3, 2, 2), lambda photos, rows: torch.zeros(len(photos)))
    drop = measure("average_drop", torch.rand(1, 2, 2), probe)
    assert drop.status == ["no_confidence"] and drop.values.isnan().all()


def test_road_of_a_network_that_sees_one_half_only():
    """The left half decides, by how far it is from grey: hiding it (the map's highest) costs more than the right one."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 8, 8, generator=generator).round()
    probe = Probe(images, lambda photos, rows: (2 * photos[..., :4] - 1).abs().mean((1, 2, 3)).clamp(max=1))
    left = torch.linspace(1, 0.1, 8).repeat(2, 8, 1)
    right = measure("road", left.flip(2), probe)
    assert (measure("road", left, probe).values > 0.15).all() and (right.values < -0.15).all()
    assert (right.extras["most_first"] > right.extras["least_first"]).all()


# --- few-line references


@pytest.mark.parametrize("name", ["insertion", "deletion"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_the_way_equals_a_loop_over_photos_and_steps(name: str, baseline: str):
    probe, targets, network = probe_and_targets(5)
    maps, steps = distinct_maps(5), 7
    hidden = BASELINES[baseline](probe.images)
    expected = []
    for image, other, weights, target in zip(probe.images, hidden, maps, targets):
        order = weights.flatten().argsort(descending=True)
        curve = []
        for step in range(steps + 1):
            photo = (image if name == "deletion" else other).flatten(1).clone()
            turned = order[: round(step * SIDE * SIDE / steps)]
            photo[:, turned] = (other if name == "deletion" else image).flatten(1)[:, turned]
            with torch.no_grad():
                curve.append(float(network(photo.view(1, 3, SIDE, SIDE)).softmax(1)[0, target]))
        expected.append(sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / steps)
    assert measure(name, maps, probe, steps=steps, baseline=baseline).values.tolist() == pytest.approx(
        expected, abs=1e-6
    )


def test_each_has_its_own_baseline():
    probe, _, _ = probe_and_targets(3)
    maps = distinct_maps(3)
    for name, baseline in (("insertion", "blur"), ("deletion", "mean")):
        own, named = (measure(name, maps, probe, baseline=given).values for given in (None, baseline))
        assert torch.equal(own, named)


def test_blur_takes_detail_away_and_leaves_the_mean():
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    blurred = blur(images)
    assert blurred.std() < images.std() / 5
    assert blurred.mean().item() == pytest.approx(images.mean().item(), abs=1e-3)
    assert blur(torch.rand(1, 3, 2, 2)).shape == (1, 3, 2, 2)


# --- pytorch-grad-cam


def test_drop_and_increase_as_pytorch_grad_cam_on_200_maps():
    probe, targets, network = probe_and_targets(200)
    maps = distinct_maps(200)
    chosen = [ClassifierOutputSoftmaxTarget(int(target)) for target in targets]
    theirs = cam_mult_image.DropInConfidence()(probe.images, maps[:, None].numpy(), chosen, network)
    drop = measure("average_drop", maps, probe)
    assert (drop.values * drop.extras["before"]).numpy() == pytest.approx(theirs, abs=1e-6)
    rises = cam_mult_image.IncreaseInConfidence()(probe.images, maps[:, None].numpy(), chosen, network)
    ours = measure("increase_in_confidence", maps, probe).values.numpy()
    clear = (drop.extras["on_map"] - drop.extras["before"]).abs().numpy() > 1e-6
    assert clear.sum() > 190 and 0 < rises.mean() < 1
    assert (ours == rises)[clear].all()


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize(("count", "percentiles"), [(200, (20, 70)), (12, (10, 20, 30, 40, 50, 60, 70, 80, 90))])
def test_road_as_pytorch_grad_cam_without_noise(monkeypatch, count: int, percentiles: tuple[int, ...]):
    """Theirs draws its noise without a seed, and sets up its systems in Python: few percentiles for many maps."""
    monkeypatch.setattr(road.NoisyLinearImputer.__init__, "__defaults__", (0.0, road.neighbors_weights))
    monkeypatch.setattr("das_explain.measures.road.NOISE", 0.0)
    monkeypatch.setattr("das_explain.measures.road.KEPT", percentiles)
    probe, targets, network = probe_and_targets(count, side=6)
    maps = distinct_maps(count, side=6)
    chosen = [ClassifierOutputSoftmaxTarget(int(target)) for target in targets]
    theirs = road.ROADCombined(list(percentiles))
    most, least = (
        each(probe.images, maps.numpy(), chosen, network) for each in (theirs.morf_averager, theirs.lerf_averager)
    )
    ours = measure("road", maps, probe)
    assert ours.extras["most_first"].numpy() == pytest.approx(most, abs=2e-6)
    assert ours.extras["least_first"].numpy() == pytest.approx(least, abs=2e-6)
    assert ours.values.numpy() == pytest.approx((least - most) / 2, abs=2e-6)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("hole", ["blob", "scattered", "all but a corner"])
def test_imputation_solves_pytorch_grad_cams_system(hole: str):
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(3, 40, 30, generator=generator)
    known = torch.ones(40, 30, dtype=torch.bool)
    if hole == "blob":
        known[5:35, 4:26] = False
    elif hole == "scattered":
        known = torch.rand(40, 30, generator=generator) < 0.1
    else:
        known[:] = False
        known[:2, :2] = True
    theirs = road.NoisyLinearImputer(noise=0)(image, known.float())
    ours = impute(image[None], known[None])[0]
    assert torch.equal(ours[:, known], image[:, known])
    assert torch.allclose(ours, theirs, atol=1e-6)


# --- the seam


@pytest.mark.parametrize("name", NAMES)
def test_batches_do_not_matter_and_a_second_call_gives_the_same(name: str):
    probe, targets, network = probe_and_targets(5)
    maps = (distinct_maps(5) * 3).floor() / 3  # ties, too
    small = Probe.of(network, lambda photos: photos, probe.images, targets, batch=3)
    first, again, other = (measure(name, maps, each).values for each in (probe, probe, small))
    assert torch.equal(first, again)
    assert torch.allclose(first, other, atol=1e-6)
    low, high = MEASURES[name].bounds
    assert ((first >= low) & (first <= high)).all()


@pytest.mark.parametrize("name", ["insertion", "deletion", "road"])
def test_what_is_drawn_belongs_to_the_photo_and_not_to_its_place(name: str):
    probe, targets, network = probe_and_targets(4)
    maps = torch.ones(4, SIDE, SIDE)  # nothing but ties
    seeds, order = torch.tensor([5, 6, 7, 8]), torch.tensor([2, 0, 3, 1])
    here = Probe.of(network, lambda photos: photos, probe.images, targets, seeds=seeds)
    there = Probe.of(network, lambda photos: photos, probe.images[order], targets[order], seeds=seeds[order])
    assert torch.allclose(measure(name, maps, here).values[order], measure(name, maps, there).values, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_maps_and_answers_have_a_status(name: str):
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def probability(photos: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.where(rows == 2, torch.nan, torch.nan_to_num(photos).mean((1, 2, 3)).clamp(0, 1))

    maps = distinct_maps(4)
    maps[0], maps[1, 2, 3] = 0, torch.nan
    measured = measure(name, maps, Probe(images, probability))
    assert measured.status == ["zero_cam", "nonfinite_cam", "nonfinite_output", "ok"]
    assert measured.values.isnan().tolist() == [True, True, True, False]
    nothing = measure(name, maps[:0], Probe(images[:0], probability))
    assert nothing.values.shape == (0,) and nothing.status == []


@pytest.mark.parametrize("name", NAMES)
def test_without_a_fitting_probe_is_one_clear_line(name: str):
    maps = distinct_maps(2)
    with pytest.raises(UsageError, match=rf"{name} runs the network.*options\.probe"):
        MEASURES[name].compute(maps, masks_of(maps))
    with pytest.raises(UsageError, match="differ in number or size"):
        measure(name, maps, brightness(torch.rand(3, 3, SIDE, SIDE)))


def test_unknown_baselines_and_no_steps_are_usage_errors():
    maps, probe = distinct_maps(1), brightness(torch.rand(1, 3, SIDE, SIDE))
    with pytest.raises(UsageError, match="baseline 'black' is unknown; choose among blur, mean"):
        measure("insertion", maps, probe, baseline="black")
    with pytest.raises(UsageError, match="steps"):
        measure("deletion", maps, probe, steps=0)


def test_the_network_is_asked_once_for_both_confidence_measures():
    asked = []

    def probability(photos: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        asked.append(len(photos))
        return photos.mean((1, 2, 3))

    maps, probe = distinct_maps(2), Probe(torch.rand(2, 3, SIDE, SIDE), probability)
    measure("average_drop", maps, probe)
    measure("increase_in_confidence", maps, probe)
    assert asked == [2, 2]
