"""The papers' own packages: the same weights give the same boxes and masks as transformers, from checkpoint files."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from das_explain.errors import DasExplainError, UsageError
from das_explain.segment.detect import HubDetector
from das_explain.segment.finders import create_finder
from das_explain.segment.original import OriginalSam, TextEncoder, build_sam
from das_explain.segment.sam import HubSam
from das_explain.segment.weights import Weights
from das_explain.types import Sample
from tests.segment.networks import SIDE, original_detector, original_sam, scene

CPU = torch.device("cpu")
PHOTOS = {"portrait": (90, 150), "landscape": (200, 120), "tiny": (7, 5), "huge": (1500, 1100), "long": (900, 20)}


@pytest.fixture(scope="module")
def files(nets, tmp_path_factory) -> SimpleNamespace:
    """Checkpoints of the same weights, wrapped as the published ones are."""
    folder = tmp_path_factory.mktemp("checkpoints")
    sam = original_sam(load_file(nets.sam / "model.safetensors"))
    torch.save(sam, folder / "sam.pth")
    state = original_detector(load_file(nets.detector / "model.safetensors"))
    extra = {"label_enc.weight": torch.zeros(2, 256), "bert.embeddings.position_ids": torch.arange(512)[None]}
    torch.save({"model": {f"module.{key}": value for key, value in {**state, **extra}.items()}}, folder / "dino.pth")
    return SimpleNamespace(detector=folder / "dino.pth", sam=folder / "sam.pth", folder=folder, state=state)


# ---- segment-anything


@pytest.mark.parametrize("shape", PHOTOS)
def test_sam_masks_agree(nets, files, shape):
    width, height = PHOTOS[shape]
    photo = scene(width, height)
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.55, 0.05, 0.95, 0.45]]) * [width, height, width, height]
    hub = HubSam(Weights("sam", nets.sam), CPU).segment(photo, boxes)
    own = OriginalSam(Weights("sam", files.sam), CPU).segment(photo, boxes)
    assert hub.mask.shape == own.mask.shape == (height, width)
    assert np.mean(hub.mask == own.mask) >= 0.999
    np.testing.assert_allclose(hub.iou, own.iou, atol=1e-3)
    for ours, theirs in zip(hub.alternatives, own.alternatives):
        np.testing.assert_allclose([x["iou"] for x in ours], [x["iou"] for x in theirs], atol=1e-3)


def test_sam_is_the_predictor_of_the_package(files):
    from segment_anything import SamPredictor

    photo, box = scene(200, 120), np.array([20.0, 30, 90, 100])
    masker = OriginalSam(Weights("sam", files.sam), CPU)
    predictor = SamPredictor(masker.predictor.model)
    predictor.set_image(np.asarray(photo).copy())
    masks, scores, _ = predictor.predict(box=box, multimask_output=False)
    found = masker.segment(photo, box[None])
    np.testing.assert_array_equal(found.mask, masks[0])
    np.testing.assert_allclose(found.iou, scores, rtol=1e-6)


def test_sam_sizes_are_read_off_the_file():
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        known = {key: value for key, value in sam_model_registry["vit_b"]().state_dict().items()}
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
    expected = {"missing": f"1 key.* missing.*{key}", "foreign": "foreign.*mask_decoder.more.weight", "misshapen": key,
                "other": "is not a SAM checkpoint"}[kind]  # fmt: skip
    with pytest.raises(DasExplainError, match=expected):
        OriginalSam(Weights("sam.pth", tmp_path / "sam.pth"), CPU)


class Trap:
    def __reduce__(self):
        return (print, ("this ran",))


def test_checkpoint_that_holds_code_is_not_run(tmp_path, capsys):
    torch.save({"model": {"feat_map.weight": torch.zeros(2)}, "args": Trap()}, tmp_path / "bad.pth")
    with pytest.raises(DasExplainError, match="can run any code"):
        OriginalSam(Weights("bad.pth", tmp_path / "bad.pth"), CPU)
    assert "this ran" not in capsys.readouterr().out


# ---- groundingdino


@pytest.fixture(scope="module")
def grounded(nets, files):
    pytest.importorskip("groundingdino", reason="the extra groundingdino is not installed")
    return create_finder(
        "grounded-sam-original",
        detector=str(files.detector),
        sam=str(files.sam),
        tokenizer=str(nets.detector),
        side=SIDE,
        device="cpu",
    )


@pytest.fixture
def same_border(grounded, monkeypatch):
    """Both packages keep the inverse of the sigmoid from infinity; 1e-3 in the original, 1e-5 in transformers."""
    import groundingdino.models.GroundingDINO.groundingdino as package
    from groundingdino.util.misc import inverse_sigmoid

    monkeypatch.setattr(package, "inverse_sigmoid", lambda x: inverse_sigmoid(x, eps=1e-5))


@pytest.mark.parametrize("size", [(96, 150), (150, 96), (96, 96), (160, 16)])
def test_boxes_agree(nets, grounded, same_border, size):
    """Photos that need no resizing; the packages' resizing differs in the last bits, and that moves a query or two."""
    photo = scene(*size)
    hub = HubDetector(Weights("dino", nets.detector), CPU, side=SIDE)
    ours, theirs = hub.detect(photo, "golden retriever."), grounded.detector.detect(photo, "golden retriever.")
    assert ours.pieces == theirs.pieces
    assert len(ours.scores) == len(theirs.scores) > 10
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
    for box, score in zip(ours.boxes, ours.scores):  # two that score alike may change places
        near = np.maximum(np.abs(theirs.boxes - box).max(1) / max(size), np.abs(theirs.scores - score))
        assert near.min() < 1e-3


@pytest.mark.parametrize("shape", PHOTOS)
def test_boxes_of_resized_photos_are_near(nets, grounded, same_border, shape):
    photo = scene(*PHOTOS[shape])
    hub = HubDetector(Weights("dino", nets.detector), CPU, side=SIDE)
    ours, theirs = hub.detect(photo, "golden retriever."), grounded.detector.detect(photo, "golden retriever.")
    distance = np.abs(ours.boxes[:, None] - theirs.boxes[None]).max(2) / max(photo.size)
    assert np.median(distance.min(1)) < 0.05


def test_whole_path_agrees(nets, grounded, same_border):
    photo = scene(200, 120)
    hub = create_finder("grounded-sam", detector=str(nets.detector), sam=str(nets.sam), side=SIDE, device="cpu")
    sample = Sample("x", 0, "golden_retriever, dog")
    ours, theirs = (finder.find([sample], [photo])[0] for finder in (hub, grounded))
    assert (theirs.status, theirs.detail["prompt"]) == ("ok", "golden retriever.")
    np.testing.assert_allclose(ours.detail["boxes"][0], theirs.detail["boxes"][0], atol=0.05)
    assert ours.detail["labels"][:3] == theirs.detail["labels"][:3]
    assert np.mean(ours.mask == theirs.mask) >= 0.995  # their resizing differs in the last bits of a pixel
    assert set(ours.detail) == set(theirs.detail)


def test_nothing_on_stdout_and_nothing_fetched(nets, files, grounded, capsys, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("asked the network"))
    finder = create_finder("grounded-sam-original", detector=str(files.detector), sam=str(files.sam),
                           tokenizer=str(nets.detector), side=SIDE)  # fmt: skip
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
    finder = create_finder("grounded-sam-original", detector=str(tmp_path / "dino.pth"), sam=str(files.sam),
                           tokenizer=str(nets.detector))  # fmt: skip
    expected = {"missing": "is no Grounding DINO.*level_embed", "foreign": "1 foreign key.*transformer.more",
                "other": "is not a Grounding DINO checkpoint"}[kind]  # fmt: skip
    with pytest.raises(DasExplainError, match=expected):
        finder.find([Sample("x", 0, "dog")], [scene(60, 50)])


def test_text_encoder_is_bert_under_a_mask_of_phrases():
    """The stand-in needs none of the methods that came and went; a full mask gives what BERT itself gives."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    bert = BertModel(BertConfig(vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=1,
                                intermediate_size=64)).eval()  # fmt: skip
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
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "groundingdino" else real(name))
    with pytest.raises(DasExplainError, match=r"pip install 'das-explain\[groundingdino\]'"):
        create_finder("grounded-sam-original", detector=str(files.detector), sam=str(files.sam))


def test_checkpoints_and_folders_are_told_apart(nets, files, grounded):
    with pytest.raises(UsageError, match="grounded-sam-original takes checkpoint files"):
        create_finder("grounded-sam", detector=str(files.detector), sam=str(nets.sam))
    with pytest.raises(UsageError, match="no such checkpoint file"):
        create_finder("grounded-sam-original", detector=str(nets.detector), sam=str(files.sam))
    with pytest.raises(UsageError, match="--tokenizer goes with grounded-sam-original"):
        create_finder("grounded-sam", detector=str(nets.detector), sam=str(nets.sam), tokenizer=str(nets.detector))
    mixed = create_finder("grounded-sam", detector=str(nets.detector), sam=str(files.sam), side=SIDE)
    assert mixed.identity()["sam"]["package"] == "segment-anything"
    assert mixed.find([Sample("x", 0, "dog")], [scene(60, 50)])[0].status == "ok"
