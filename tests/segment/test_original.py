"""The papers' own packages: the same weights give the same boxes and masks as transformers, from checkpoint files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from das_explain.errors import DasExplainError, UsageError
from das_explain.segment.finders.build import TextEncoder, build_sam
from das_explain.segment.finders.options import FinderOptions
from das_explain.segment.finders.original import OriginalSam
from das_explain.segment.finders.sam import HubSam
from das_explain.segment.finders.weights import Weights
from das_explain.types import Sample
from tests.segment.networks import LONGEST, SIDE, scene
from tests.segment.test_batches import assert_batches_change_nothing

CPU = torch.device("cpu")
PHOTOS = {"portrait": (90, 150), "landscape": (200, 120), "tiny": (7, 5), "huge": (1500, 1100)}
SLIM = {"strip": (1200, 400), "long": (900, 20)}  # whose longer side the limit cuts
SAME = {"portrait": (96, 150), "landscape": (150, 96), "square": (96, 96)}  # that the detector need not resize
PROMPT = "golden retriever."


# ---- segment-anything


@pytest.mark.parametrize(("width", "height"), {**PHOTOS, **SLIM}.values())
def test_sam_masks_agree(nets, files, width, height):
    photo = scene(width, height)
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.55, 0.05, 0.95, 0.45]]) * [width, height, width, height]
    hub = HubSam(Weights("sam", nets.sam), CPU).segment([photo], [boxes])[0]
    own = OriginalSam(Weights("sam", files.sam), CPU).segment([photo], [boxes])[0]
    assert hub.mask.shape == own.mask.shape == (height, width)
    assert np.mean(hub.mask == own.mask) >= 0.999
    np.testing.assert_allclose(hub.iou, own.iou, atol=1e-3)
    for ours, theirs in zip(hub.alternatives, own.alternatives):
        np.testing.assert_allclose([x["iou"] for x in ours], [x["iou"] for x in theirs], atol=1e-3)


def test_sam_of_a_safetensors_file(files, tmp_path):
    save_file(torch.load(files.sam, weights_only=True), tmp_path / "sam.safetensors")
    one, other = (OriginalSam(Weights("sam", path), CPU) for path in (files.sam, tmp_path / "sam.safetensors"))
    photo, boxes = scene(60, 50), np.array([[5.0, 6, 40, 45]])
    (first,), (second,) = (each.segment([photo], [boxes]) for each in (one, other))
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.iou == second.iou


def test_sam_is_the_predictor_of_the_package(files):
    from segment_anything import SamPredictor

    photo, box = scene(200, 120), np.array([20.0, 30, 90, 100])
    masker = OriginalSam(Weights("sam", files.sam), CPU)
    predictor = SamPredictor(masker.predictor.model)
    predictor.set_image(np.asarray(photo).copy())
    masks, scores, _ = predictor.predict(box=box, multimask_output=False)
    found = masker.segment([photo], [box[None]])[0]
    np.testing.assert_array_equal(found.mask, masks[0])
    np.testing.assert_allclose(found.iou, scores, rtol=1e-6)


def test_sam_sizes_are_read_off_the_file():
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        known = dict(sam_model_registry["vit_b"]().state_dict())
        built = build_sam(known)
    assert {k: v.shape for k, v in built.state_dict().items()} == {k: v.shape for k, v in known.items()}
    heads = [block.attn.num_heads for block in built.image_encoder.blocks]
    windows = [block.window_size for block in built.image_encoder.blocks]
    assert heads == [12] * 12
    assert windows == [14, 14, 0] * 4


@pytest.mark.parametrize("kind", ["missing", "foreign", "misshapen", "other"])
def test_sam_checkpoint_that_does_not_fit(files, tmp_path, kind):
    state = torch.load(files.sam, weights_only=True)
    key = "mask_decoder.iou_token.weight"
    if kind == "missing":
        del state[key]
    elif kind == "foreign":
        state["mask_decoder.more.weight"] = torch.zeros(2)
    elif kind == "misshapen":
        state[key] = torch.zeros(1, 31)
    else:
        state = {"fc.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "sam.pth")
    expected = {
        "missing": f"1 key.* missing.*{key}",
        "foreign": "foreign.*mask_decoder.more.weight",
        "misshapen": key,
        "other": "is not a SAM checkpoint",
    }[kind]
    with pytest.raises(DasExplainError, match=expected):
        OriginalSam(Weights("sam.pth", tmp_path / "sam.pth"), CPU)


class Trap:
    def __reduce__(self):
        return (print, ("this ran",))


def test_checkpoint_that_holds_code_is_not_run(tmp_path, capsys):
    torch.save({"model": {"feat_map.weight": torch.zeros(2)}, "args": Trap()}, tmp_path / "bad.pth")
    with pytest.raises(DasExplainError, match="is not a SAM checkpoint"):
        OriginalSam(Weights("bad.pth", tmp_path / "bad.pth"), CPU)
    assert "this ran" not in capsys.readouterr().out


# ---- groundingdino


@pytest.fixture(scope="module")
def grounded(nets, files):
    pytest.importorskip("groundingdino", reason="the extra groundingdino is not installed")
    return FinderOptions(
        detector=str(files.detector),
        sam=str(files.sam),
        tokenizer=str(nets.detector),
        side=SIDE,
        device="cpu",
    ).create("grounded-sam-original")


@pytest.fixture(scope="module")
def hub(nets):
    return FinderOptions(detector=str(nets.detector), sam=str(nets.sam), side=SIDE, device="cpu").create("grounded-sam")


@pytest.fixture
def same_frames(hub, grounded, monkeypatch):
    """Photos are resized by one of the stacks for both: what differs then are the networks and what comes after."""
    from segment_anything.utils.transforms import ResizeLongestSide

    def apply_image(self, pixels):
        frame = hub.masker.processor.image_processor(
            Image.fromarray(pixels), do_normalize=False, do_rescale=False, do_pad=False, return_tensors="np"
        )
        height, width = frame["reshaped_input_sizes"][0]
        return frame["pixel_values"][0].transpose(1, 2, 0)[:height, :width]

    monkeypatch.setattr(grounded.detector, "frame", hub.detector.frame)
    monkeypatch.setattr(ResizeLongestSide, "apply_image", apply_image)


def both(hub, grounded, photo):
    """The regions of either stack, one box used."""
    return (finder.find([Sample("x", 0, "golden_retriever, dog")], [photo])[0] for finder in (hub, grounded))


def unlike(ours, theirs, photo):
    """For each of our boxes how far the nearest of theirs is, in boxes and scores; two that score alike may change
    places."""
    assert ours.pieces == theirs.pieces
    assert len(ours.scores) == len(theirs.scores) > 10
    boxes = np.abs(ours.boxes[:, None] - theirs.boxes[None]).max(2) / max(photo.size)
    return np.maximum(boxes, np.abs(ours.scores[:, None] - theirs.scores[None])).min(1)


@pytest.mark.parametrize("size", {**PHOTOS, **SLIM, **SAME}.values(), ids=str)
def test_networks_agree(hub, grounded, same_frames, size):
    """All boxes and R, on photos of all kinds, fed the same resized photo."""
    photo = scene(*size)
    seen = (finder.detector.detect([photo], [PROMPT])[0] for finder in (hub, grounded))
    assert unlike(*seen, photo).max() < 1e-3
    ours, theirs = both(hub, grounded, photo)
    assert np.mean(ours.mask == theirs.mask) >= 0.999
    np.testing.assert_allclose(ours.detail["iou"], theirs.detail["iou"], atol=1e-3)
    assert ours.detail["labels"] == theirs.detail["labels"]


@pytest.mark.parametrize("shape", PHOTOS)
def test_whole_path_agrees(hub, grounded, shape):
    """Each stack with its own resizing: the box that is used, and R."""
    photo = scene(*PHOTOS[shape])
    ours, theirs = both(hub, grounded, photo)
    assert (theirs.status, theirs.detail["prompt"]) == ("ok", PROMPT)
    distance = np.abs(np.subtract(ours.detail["boxes"][0], theirs.detail["boxes"][0]))
    assert distance.max() / max(photo.size) < 1e-3
    assert abs(ours.detail["scores"][0] - theirs.detail["scores"][0]) < 1e-3
    assert np.mean(ours.mask == theirs.mask) >= 0.999
    assert set(ours.detail) == set(theirs.detail)
    seen = (finder.detector.detect([photo], [PROMPT])[0] for finder in (hub, grounded))
    assert np.median(unlike(*seen, photo)) < 1e-3  # a query or two of the 20 are others if a tie falls otherwise


@pytest.mark.parametrize("size", {**PHOTOS, **SLIM}.values(), ids=str)
def test_where_the_resizing_differs(hub, grounded, size):
    """Pillow here, torchvision there: one grey level per direction in few pixels. And the original rounds the shorter
    side before it computes the longer one, which shows where that is cut to its limit."""
    photo = scene(*size)
    ours, theirs = hub.detector.frame(photo), grounded.detector.frame(photo)
    levels = torch.tensor([0.229, 0.224, 0.225])[:, None, None] * 255
    if max(size) / min(size) <= 5 / 3:
        difference = ((ours - theirs) * levels).abs()
        assert difference.max() < 2.01
        assert (difference > 0.5).float().mean() < 0.1
    else:
        short = round(LONGEST * min(size) / max(size))
        assert sorted(ours.shape[1:]) == [short, LONGEST]
        assert sorted(theirs.shape[1:]) == [short, int(short * max(size) / min(size))] != sorted(ours.shape[1:])


def test_bf16_stays_close(nets, files, grounded):
    finder = FinderOptions(
        detector=str(files.detector),
        sam=str(files.sam),
        tokenizer=str(nets.detector),
        side=SIDE,
        device="cpu",
        precision="bf16",
    ).create("grounded-sam-original")
    exact, close = (each.find([Sample("x", 0, "dog")], [scene(200, 120)])[0] for each in (grounded, finder))
    assert exact.detail["scores"] != close.detail["scores"]
    np.testing.assert_allclose(exact.detail["scores"][:5], close.detail["scores"][:5], atol=0.03)
    assert {weight.dtype for weight in finder.detector.network.parameters()} == {torch.float32}


def test_batches_change_nothing(grounded, monkeypatch):
    assert_batches_change_nothing(grounded, monkeypatch)


def test_nothing_on_stdout_and_nothing_fetched(nets, files, grounded, capsys, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("asked the network"))
    finder = FinderOptions(
        detector=str(files.detector),
        sam=str(files.sam),
        tokenizer=str(nets.detector),
        side=SIDE,
    ).create("grounded-sam-original")
    finder.find([Sample("x", 0, "dog")], [scene(60, 50)])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["missing", "foreign", "other"])
def test_detector_checkpoint_that_does_not_fit(nets, files, grounded, tmp_path, kind):
    state = dict(files.state)
    if kind == "missing":
        del state["transformer.level_embed"]
    elif kind == "foreign":
        state["transformer.more"] = torch.zeros(3)
    else:
        state = {"fc.weight": torch.zeros(2, 2)}
    torch.save({"model": state}, tmp_path / "dino.pth")
    finder = FinderOptions(
        detector=str(tmp_path / "dino.pth"), sam=str(files.sam), tokenizer=str(nets.detector)
    ).create("grounded-sam-original")
    expected = {
        "missing": "is no Grounding DINO.*level_embed",
        "foreign": "1 foreign key.*transformer.more",
        "other": "is not a Grounding DINO checkpoint",
    }[kind]
    with pytest.raises(DasExplainError, match=expected):
        finder.find([Sample("x", 0, "dog")], [scene(60, 50)])


def test_text_encoder_is_bert_under_a_mask_of_phrases():
    """The stand-in needs none of the methods that came and went; a full mask gives what BERT itself gives."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=64)
    ).eval()
    ids, kinds, places = torch.arange(6)[None], torch.zeros(1, 6, dtype=torch.long), torch.arange(6)[None]
    encoder = TextEncoder(bert)
    assert set(encoder.state_dict()) == set(bert.state_dict())
    with torch.no_grad():
        full = encoder(ids, torch.ones(1, 6, 6, dtype=torch.bool), kinds, places)["last_hidden_state"]
        theirs = bert(ids, token_type_ids=kinds, position_ids=places).last_hidden_state
        blocks = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)).bool()[None]
        halves = encoder(ids, blocks, kinds, places)["last_hidden_state"]
        alone = encoder(ids[:, :3], blocks[:, :3, :3], kinds[:, :3], places[:, :3])["last_hidden_state"]
    torch.testing.assert_close(full, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(halves[:, :3], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(halves, full, atol=1e-3)


# ---- by name


def test_package_that_is_not_installed(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "groundingdino", None)
    with pytest.raises(DasExplainError, match=r"pip install 'das-explain\[groundingdino\]'"):
        FinderOptions(detector=str(files.detector), sam=str(files.sam)).create("grounded-sam-original")


def test_checkpoints_and_folders_are_told_apart(nets, files, grounded):
    with pytest.raises(UsageError, match="grounded-sam-original takes checkpoint files"):
        FinderOptions(detector=str(files.detector), sam=str(nets.sam)).create("grounded-sam")
    with pytest.raises(UsageError, match="no such checkpoint file"):
        FinderOptions(detector=str(nets.detector), sam=str(files.sam)).create("grounded-sam-original")
    with pytest.raises(UsageError, match="--tokenizer goes with grounded-sam-original"):
        FinderOptions(detector=str(nets.detector), sam=str(nets.sam), tokenizer=str(nets.detector)).create(
            "grounded-sam"
        )
    mixed = FinderOptions(detector=str(nets.detector), sam=str(files.sam), side=SIDE).create("grounded-sam")
    assert mixed.identity()["sam"]["package"] == "segment-anything"
    assert mixed.find([Sample("x", 0, "dog")], [scene(60, 50)])[0].status == "ok"
