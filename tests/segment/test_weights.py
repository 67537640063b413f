"""Finding and loading weights: strict, safe, without the network where they are at hand, one clear line where not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from das_explain.errors import DasExplainError, UsageError
from das_explain.segment.finders import weights as room
from das_explain.segment.finders.detect import HubDetector
from das_explain.segment.finders.options import FinderOptions
from das_explain.segment.finders.sam import HubSam
from das_explain.segment.finders.weights import Weights, file_hash, find_file, find_folder
from das_explain.types import Sample
from tests.segment.networks import SIDE, scene

CPU = torch.device("cpu")


@pytest.fixture
def copy(nets, tmp_path):
    """A folder's copy, with its weights changed."""

    def copy(name, change=lambda state: None, **config):
        folder = tmp_path / name
        shutil.copytree(getattr(nets, name), folder)
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        told = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**told, **config}))
        return Weights(name, folder)

    return copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("model.level_embed"), r"1 missing weights \(model.level_embed\)"),
        (lambda s: s.update({"model.more": torch.zeros(2)}), r"1 foreign weights \(model.more\)"),
        (lambda s: s.update({"model.level_embed": torch.zeros(3, 256)}), "does not fit"),
    ],
)
def test_detector_folder_that_does_not_fit(copy, change, message):
    with pytest.raises(DasExplainError, match=message):
        HubDetector(copy("detector", change), CPU)


def test_sam_folder_that_does_not_fit(copy):
    with pytest.raises(DasExplainError, match=r"1 missing weights \(mask_decoder.iou_token.weight\)"):
        HubSam(copy("sam", lambda s: s.pop("mask_decoder.iou_token.weight")), CPU)


def test_another_network_is_named(nets):
    with pytest.raises(DasExplainError, match="holds a network of type 'sam', where grounding-dino is needed"):
        HubDetector(Weights("x", nets.sam), CPU)
    pairs = (("grounded-sam", nets.sam2, "grounded-sam2"), ("grounded-sam2", nets.sam, "grounded-sam"))
    for name, folder, other in pairs:
        with pytest.raises(UsageError, match=f"--segmenter {other}$"):
            FinderOptions(detector=str(nets.detector), sam=str(folder)).create(name)


def test_tables_that_other_versions_store_are_let_through(copy, nets):
    def change(state):
        state["model.text_backbone.embeddings.position_ids"] = torch.arange(512)[None]
        for key in [key for key in state if ".swin.layernorm." in key or key.endswith("relative_position_index")]:
            del state[key]

    detector = HubDetector(copy("detector", change), CPU, side=SIDE)
    plain = HubDetector(Weights("x", nets.detector), CPU, side=SIDE)
    ours, theirs = (each.detect([scene(60, 50)], ["dog."])[0] for each in (detector, plain))
    assert (ours.boxes == theirs.boxes).all()


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_positions_stored_once_are_used_twice(copy, nets, name):
    """As in the folders on the hub; a random matrix in the second place would give masks of nothing."""
    second = "prompt_encoder.shared_embedding.positional_embedding"
    generation = 2 if name == "sam2" else 1
    network = HubSam(copy(name, lambda s: s.pop(second, None)), CPU, generation=generation).network
    state = network.state_dict()
    assert torch.equal(state[second], state["shared_image_embedding.positional_embedding"])
    told = HubSam(Weights("x", getattr(nets, name)), CPU, generation=generation).network.state_dict()[second]
    assert torch.equal(state[second], told)


def test_folder_of_the_video_model_is_loaded_as_sam2(copy):
    """Its type on the hub is ``sam2_video``, and it holds the memory's weights as well."""
    memory = {"memory_attention.layer_norm.weight": torch.ones(8)}
    folder = copy("sam2", lambda state: state.update(memory), model_type="sam2_video")
    masker = HubSam(folder, CPU, generation=2)
    assert type(masker.network).__name__ == "Sam2Model"
    finder = FinderOptions(sam=str(folder.path), device="cpu").create("boxes+sam")
    assert finder.find([Sample("x", 0, boxes=((5, 5, 40, 40),))], [scene(60, 50)])[0].mask.shape == (50, 60)


class Trap:
    def __reduce__(self):
        return (print, ("this ran",))


def test_pickled_folder_with_code_is_not_run(copy, capsys):
    folder = copy("sam")
    state = load_file(folder.path / "model.safetensors")
    (folder.path / "model.safetensors").unlink()
    torch.save({**state, "trap": Trap()}, folder.path / "pytorch_model.bin")
    with pytest.raises(DasExplainError, match="does not fit SamModel"):
        HubSam(folder, CPU)
    assert "this ran" not in capsys.readouterr().out


def test_folder_that_lacks_a_file(copy):
    for name in ("config.json", "preprocessor_config.json", "model.safetensors", "vocab.txt"):
        folder = copy("detector").path
        (folder / name).unlink(missing_ok=True)
        if name == "preprocessor_config.json":
            (folder / "processor_config.json").unlink(missing_ok=True)
        wanted = "tokenizer.json" if name == "vocab.txt" else name
        with pytest.raises(DasExplainError, match=f"has no {wanted}: it needs config.json"):
            find_folder(str(folder), "--detector", tokenizer=True)
        shutil.rmtree(folder)


# ---- the hub


def test_offline_message_says_which_files_to_put_where(monkeypatch):
    def refuse(*_, **options):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("tries for 24 s offline"))
    with pytest.raises(DasExplainError) as caught:
        FinderOptions(sam="base").create("grounded-sam")
    message = str(caught.value)
    assert message.startswith("facebook/sam-vit-base is not in the Hugging Face cache (")
    assert "config.json, preprocessor_config.json and model.safetensors into a folder" in message
    assert message.endswith("--sam FOLDER")
    assert "\n" not in message
    with pytest.raises(DasExplainError, match=r"put sam_vit_b_01ec64.pth into a folder .* give --sam FOLDER/FILE"):
        find_file("ybelkada/segment-anything/checkpoints/sam_vit_b_01ec64.pth", "--sam")


def test_cache_is_asked_first_and_the_network_not_at_all(nets, monkeypatch):
    asked = []

    def download(repo_id, allow_patterns, local_files_only=False):
        asked.append((repo_id, local_files_only))
        assert local_files_only, "asked the network"
        return str(nets.sam if "sam" in repo_id else nets.detector)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    finder = FinderOptions(side=SIDE, device="cpu").create("grounded-sam")
    assert finder.find([Sample("x", 0, "dog")], [scene(60, 50)])[0].status == "ok"
    assert asked == [("facebook/sam-vit-base", True), ("IDEA-Research/grounding-dino-tiny", True)]


def test_one_file_of_a_repository(tmp_path, monkeypatch):
    asked = []

    def download(repo_id, allow_patterns, local_files_only=False):
        asked.append((repo_id, allow_patterns, local_files_only))
        if not local_files_only and len(asked) < 3:
            (tmp_path / "checkpoints").mkdir()
            (tmp_path / "checkpoints" / "sam.pth").write_bytes(b"x")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    spec = "user/repo/checkpoints/sam.pth"
    for _ in range(2):
        assert find_file(spec, "--sam") == Weights(spec, tmp_path / "checkpoints" / "sam.pth")
    pattern = ["checkpoints/sam.pth"]
    assert asked == [("user/repo", pattern, True), ("user/repo", pattern, False), ("user/repo", pattern, True)]
    with pytest.raises(DasExplainError, match="user/repo has no other.pth"):
        find_file("user/repo/other.pth", "--sam")


def test_download_takes_safetensors_and_no_second_copy(nets, monkeypatch):
    patterns = []

    def download(repo_id, allow_patterns, local_files_only=False):
        if local_files_only:
            raise FileNotFoundError(repo_id)
        patterns.append(allow_patterns)
        return str(nets.sam)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_folder("facebook/sam-vit-base", "--sam").path == nets.sam
    assert len(patterns) == 1
    assert "model*.safetensors" in patterns[0]
    assert not any(pattern.endswith((".bin", "*", ".py")) for pattern in patterns[0])


@pytest.mark.parametrize(
    ("name", "sam", "message"),
    [
        ("grounded-sam", "tiny", "it takes base, large, huge, a folder"),
        ("grounded-sam2", "huge", "it takes 2.1-tiny"),
        ("grounded-sam2", "sam_vit_b.pth", "is a checkpoint file; grounded-sam2 takes a folder"),
        ("grounded-sam", "no/such/folder", "no such folder: no/such/folder; --sam takes a folder"),
        ("grounded-sam", "nothing.pth", "no such checkpoint file: nothing.pth"),
        ("grounded-dino", None, "no finder is called"),
    ],
)
def test_names_that_do_not_go(nets, name, sam, message):
    with pytest.raises(UsageError, match=message):
        FinderOptions(detector=str(nets.detector), sam=sam).create(name)


def test_transformers_before_sam2(nets, monkeypatch):
    """4.51 to 4.55 have all but SAM 2."""
    monkeypatch.setattr("das_explain.segment.finders.create.version", lambda _: "4.51.3")
    message = r"^SAM 2 needs transformers >= 4.56 \(here is 4.51.3\): pip install -U transformers, or .* grounded-sam$"
    with pytest.raises(DasExplainError, match=message):
        FinderOptions(detector=str(nets.detector)).create("grounded-sam2")  # before anything is looked for on the hub
    assert FinderOptions(detector=str(nets.detector), sam=str(nets.sam)).create("grounded-sam").name == "grounded-sam"


# ---- hashes


def test_hash_is_of_the_bytes_and_remembered(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"a" * 1000)
    assert file_hash(path) == hashlib.sha256(b"a" * 1000).hexdigest() == Weights("x", path).sha256()
    monkeypatch.setattr(room, "sha256_of", lambda *_: pytest.fail("read again"))
    assert file_hash(path) == hashlib.sha256(b"a" * 1000).hexdigest()
    monkeypatch.undo()
    path.write_bytes(b"b" * 1000)
    os.utime(path, ns=(1, 1))
    assert file_hash(path) == hashlib.sha256(b"b" * 1000).hexdigest()


def test_folder_hash_follows_weights_and_settings_but_not_the_card(copy):
    folder = copy("sam")
    before = folder.sha256()
    (folder.path / "README.md").write_text("a card")
    assert folder.sha256() == before
    (folder.path / "preprocessor_config.json").write_text("{}")
    assert folder.sha256() != before


@pytest.mark.parametrize(("found", "right"), [("4.57.6", True), ("5.0.0", False), ("5.22.2", False), ("5.23.0", True)])
def test_a_transformers_that_finds_other_boxes_is_refused(nets, monkeypatch, found, right):
    """Boxes of 5.20.2 are not those of 5.24.0, 4.57.6 and the authors' code with the same weights."""
    monkeypatch.setattr("das_explain.segment.finders.create.version", lambda _: found)
    options = FinderOptions(detector=str(nets.detector), sam=str(nets.sam), device="cpu")
    if right:
        options.create("grounded-sam")
        return
    with pytest.raises(DasExplainError, match=rf"transformers {found} finds other boxes than Grounding-DINO's authors"):
        options.create("grounded-sam")
