"""What a command line, a config or a CSV may say that nobody can do: one clear line, before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from das_explain.checkpoint.config import check_preprocess
from das_explain.checkpoint.inputs import prepare
from das_explain.checkpoint.layouts import read_folder
from das_explain.checkpoint.spec import parse_spec
from das_explain.data.dataset import open_dataset
from das_explain.data.geometry import Preprocess
from das_explain.data.sources.collages import MOST
from das_explain.devices import find_device
from das_explain.errors import LONGEST, DasExplainError
from das_explain.folders import check_folder

DIGITS, LETTERS, ESCAPE = "9" * 5000, "a" * 1_000_000, "\x1b]0;owned\x07\x1b[31m"
FAR = "x/" * 3000


def refused(call: Callable[[], object], *, message: str = "") -> str:
    """The line of the refusal, which people can read and a terminal takes for text; paths too long for any file count."""
    with pytest.raises((DasExplainError, OSError)) as error:
        call()
    if isinstance(error.value, OSError):
        assert error.value.strerror == "File name too long"  # the command line makes one line of it
        return ""
    told = str(error.value)
    assert told.isprintable() and 0 < len(told) <= LONGEST
    assert message in told
    return told


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    return tmp_path


MODELS = [
    *("", " ", "=", "a=", "@", ":", "?", "+gates=", "a\0b", "~nosuch", "x@resnet18", "w.pth@", "w.pth@a:b:c", "w.pth@../x"),
    *("torchvision:", "torchvision:a:b:c", "timm:", "hf:", "hf:a", "hf:../..", "hf:a/b@c d", "hf:a/b/c", "hf:/etc/passwd"),
    *("python:", "python:os", "python:os:", "python::x", "python:os:a b", "python:../x:y", "python:os;x:y", "nosuch:x"),
    *("torchvision:x?size=1&size=2", "torchvision:x?a=b&c"),
    *("x+gates=none", "x+gates=ones+gates=ones", "x+weights=all", "x+attention=nobody", f"x+gates={LETTERS}"),
    *(ESCAPE, f"{ESCAPE}=torchvision:resnet18", f"hf:{ESCAPE}", f"w.pth@{ESCAPE}"),
    *(LETTERS, f"{LETTERS}.xyz", f"hf:{LETTERS}", f"w.pth@{LETTERS}/", f"python:{LETTERS}", FAR, "\udcff", "a\nb", "photos/a.png"),
]  # fmt: skip


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: ascii(spec[:30]))
def test_a_model_spec_of_no_known_form_is_refused_in_one_line(spec: str):
    refused(lambda: parse_spec(spec))


DATA = [
    *("nowhere", "a\0b", "~nosuch", "~nosuch/x", LETTERS, "b" * 300, FAR, "\udcff", ESCAPE, "/dev/full", "/dev/null", "/dev/zero"),
    *("collage:0", "collage:-1", "collage:1e9", "collage:1.5", "collage:x", "collage:1:2:x", "collage:+3", "collage:3+", "collage:a+3"),
    *(f"collage:{MOST + 1}", "collage:99999999999", f"collage:{DIGITS}", f"collage:train:{DIGITS}+1", f"collage:{MOST}+1", "collage:\u0663"),
    *("torchvision:", "torchvision:nosuch", "torchvision:VisionDataset", "torchvision:DatasetFolder"),
    *("torchvision:../x", f"torchvision:{LETTERS}", f"torchvision:{ESCAPE}", "torchvision:vision", "torchvision:__name__"),
    *("cifar:", "cifar:nowhere", "cifar:~nosuch", "cifar:a\0b", "cifar:photos", "cifar:photos:val", f"cifar:{LETTERS}", f"cifar:{ESCAPE}"),
    *("stanford-dogs:", "stanford-dogs:photos", "stanford-dogs:~nosuch", "stanford-dogs:a\0b", f"stanford-dogs:{ESCAPE}"),
]  # fmt: skip


@pytest.mark.parametrize("spec", DATA, ids=lambda spec: ascii(spec[:30]))
def test_a_data_spec_of_nothing_is_refused_in_one_line(spec: str, place: Path):
    refused(lambda: open_dataset(spec, root=place))


@pytest.mark.parametrize("option", ["masks", "boxes"])
@pytest.mark.parametrize(
    "path", ["nowhere", "~nosuch", "a\0b", "b" * 300, "\udcff", ESCAPE, "/dev/full", "photos/a.png"]
)
def test_masks_and_boxes_that_are_none_are_refused_in_one_line(option: str, path: str):
    refused(lambda: open_dataset("photos", **{option: Path(path)}))


@pytest.mark.parametrize(
    "path", ["a\0b", "b" * 300, FAR, "/dev/null", "/dev/null/x", "/proc/x", "photos/a.png", "photos/a.png/x", LETTERS]
)
def test_an_out_that_cannot_be_written_is_refused_in_one_line(path: str):
    refused(lambda: check_folder(Path(path)))


@pytest.mark.parametrize(
    "device", ["nosuch", "", ESCAPE, LETTERS, "cuda:-1", "cuda:x", "cpu:cpu", DIGITS, "a\0b"], ids=ascii
)
def test_a_device_that_there_is_not_is_refused_in_one_line(device: str):
    refused(lambda: find_device(device))


INPUTS = [
    *({"size": value} for value in ("0", "-1", "2049", DIGITS, "1x2x3", "x", "1e3", "9" * 400, "\u0663", 0, -1, 2049, 10**400, [1, 2, 3], [], 1.5, True)),
    *({"resize": value} for value in ("0", "4097", DIGITS, 0, 10**400)),
    *({"mean": value} for value in ("nan", "inf", "-inf", "1,2", "x", "1e999", DIGITS, [10**400], [float("nan")] * 3, [])),
    *({"std": value} for value in ("0", "-1", "nan", "1e999", DIGITS, [10**400] * 3, [0, 1, 1])),
    *({"interpolation": value} for value in (ESCAPE, LETTERS, "box")),
    *({"fit": value} for value in (ESCAPE, "stretch")),
]  # fmt: skip


@pytest.mark.parametrize("given", INPUTS, ids=lambda given: ascii(str(given)[:30]))
def test_an_input_that_no_network_has_is_refused_in_one_line(given: dict[str, Any]):
    refused(lambda: prepare(Preprocess(), given, "x"))


PREPROCESS = [
    *({"size": value} for value in (0, -1, 2049, 8192, 10**9, 10**400, [10**9, 10**9], [1, 2, 3], [], "224", None, True, 1.5, [True, 1], {})),
    *({"resize": value} for value in (0, 4097, 10**400, "1", None, [1])),
    *({"mean": value} for value in ([10**400] * 3, [1e300] * 3, [float("inf")] * 3, [1, 2], [], "1", None, [None] * 3, [True] * 3, [[1]])),
    *({"std": value} for value in ([0, 1, 1], [-1] * 3, [10**400] * 3, [1, 2], {}, [float("nan")] * 3)),
    {"mean": [0.5], "std": [1, 1, 1]}, {"interpolation": ["bilinear"]}, {"interpolation": ESCAPE}, {"fit": LETTERS}, {"fit": 3},
]  # fmt: skip


@pytest.mark.parametrize("values", PREPROCESS, ids=lambda values: ascii(str(values)[:30]))
def test_a_config_s_input_that_no_network_has_is_refused_in_one_line(values: dict[str, Any]):
    refused(lambda: check_preprocess(values, "config.json"), message="preprocess.")


GOOD: dict[str, Any] = {"format": 1, "architecture": "resnet18", "num_classes": 3}
CONFIGS: dict[str, Any] = {
    "another format": {"format": 2}, "a format that is true": {"format": True}, "a format of digits": {"format": 10**400},
    "no classes": {"num_classes": 0}, "classes without end": {"num_classes": 10**400}, "too many classes": {"num_classes": 10**7},
    "classes that are true": {"num_classes": True}, "classes in words": {"num_classes": "3"}, "half a class": {"num_classes": 2.5},
    "an unknown architecture": {"architecture": ESCAPE}, "an architecture of letters": {"architecture": LETTERS},
    "an architecture that is a list": {"architecture": []}, "a path for an architecture": {"architecture": "../../x"},
    "an unknown attention": {"attention": ESCAPE}, "an attention that is a number": {"attention": 3},
    "arguments that are a list": {"arguments": []}, "an unknown argument": {"arguments": {ESCAPE: 1}},
    "alpha that is true": {"attention": "das", "arguments": {"alpha": True}}, "alpha without end": {"attention": "das", "arguments": {"alpha": 1e300}},
    "alpha in words": {"attention": "das", "arguments": {"alpha": "1"}}, "a negative alpha": {"attention": "das", "arguments": {"alpha": -1}},
    "gates that are numbers": {"attention": "das", "arguments": {"gates": [1]}}, "gates nowhere": {"attention": "das", "arguments": {"gates": [ESCAPE]}},
    "a stem that is none": {"arguments": {"stem": ESCAPE}},
    "labels that are a text": {"labels": "abc"}, "too few labels": {"labels": ["a"]}, "labels of escape sequences": {"labels": [ESCAPE, "b", "c"]},
    "empty labels": {"labels": ["", "b", "c"]}, "labels that are numbers": {"labels": [1, 2, 3]}, "labels over lines": {"labels": ["a\nb", "b", "c"]},
    "an unknown task": {"task": ESCAPE}, "a training that is a list": {"training": [1]}, "an input that is a list": {"preprocess": []},
}  # fmt: skip


@pytest.mark.parametrize("what", CONFIGS)
def test_a_config_of_no_network_is_refused_in_one_line(place: Path, what: str):
    (place / "model").mkdir()
    (place / "model" / "config.json").write_text(json.dumps({**GOOD, **CONFIGS[what]}))
    (place / "model" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    refused(lambda: read_folder(place / "model"))


ROWS = [
    "image,mask\na\0b.png,m.png\n", "image\n~nosuch\n" , "image\n" + "../" * 2000 + "x.png\n", "image,label\na.png,\x1b[31m\n",
    "image,x0,y0,x1,y1\nphotos/a.png,nan,0,1,1\n", "image,x0,y0,x1,y1\nphotos/a.png,1e999,0,1,1\n", f"image,boxes\nphotos/a.png,{DIGITS} 0 1 1\n",
    "image,boxes\nphotos/a.png,1 2 3\n", "image,boxes\nphotos/a.png,\x1b 2 3 4\n", "image,boxes\nphotos/a.png,5 5 1 1\n", "image,image\na,b\n",
    f"image,{'b,' * 9}\n" + "x," * 50 + "\n", "mask,label\na,b\n", "image\n\n\n,\n", "\ufeff", "\r\r\r", "image;label\na.png;b;c\n",
]  # fmt: skip


@pytest.mark.parametrize("text", ROWS, ids=lambda text: ascii(text[:30]))
def test_rows_of_a_csv_are_refused_in_one_line_or_are_images_that_cannot_be_read(place: Path, text: str):
    (place / "data.csv").write_text(text)
    with pytest.raises(DasExplainError) as error:
        data = open_dataset("data.csv")
        assert data.samples and all(sample.name.isprintable() for sample in data.samples)
        for sample in data.samples:
            data.read(sample)
    assert str(error.value).isprintable()
