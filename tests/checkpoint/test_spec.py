"""The forms of a model spec, hand-written: text -> (name, kind, target, variant, file, options)."""

from __future__ import annotations

from pathlib import Path

import pytest

from das_explain.checkpoint.shipped import shipped_models
from das_explain.checkpoint.spec import parse_spec
from das_explain.errors import UsageError

FORMS = {
    "runs/w.pth@resnet50": ("w", "file", "resnet50", None, "runs/w.pth", {}),
    "gated=runs/w.safetensors@resnet18:das": ("gated", "file", "resnet18", "das", "runs/w.safetensors", {}),
    "w.pt@resnet18:das?alpha=0.1&stem=small&gates=layer3,layer4": (
        *("w", "file", "resnet18", "das", "w.pt"),
        {"alpha": 0.1, "stem": "small", "gates": ("layer3", "layer4")},
    ),
    "w.pth@mobilenet_v2?size=160&labels=1.txt": (
        *("w", "file", "mobilenet_v2", None, "w.pth"),
        {"size": "160", "labels": "1.txt"},
    ),
    "/data/lr=0.1/me@home/w.pth@resnet18": ("w", "file", "resnet18", None, "/data/lr=0.1/me@home/w.pth", {}),
    "best.pth.tar@resnet34": ("best.pth", "file", "resnet34", None, "best.pth.tar", {}),
    "w.ckpt": ("w", "file", "", None, "w.ckpt", {}),
    "w.pth@torchvision:vgg16_bn?size=96": ("w", "file", "torchvision:vgg16_bn", None, "w.pth", {"size": "96"}),
    "b=w.pth@timm:resnet10t.c3_in1k": ("b", "file", "timm:resnet10t.c3_in1k", None, "w.pth", {}),
    "w.pth@torchvision:resnet18:das": ("w", "file", "torchvision:resnet18", "das", "w.pth", {}),
    "torchvision:resnet50": ("resnet50", "torchvision", "resnet50", None, None, {}),
    "a b=torchvision:resnet50:IMAGENET1K_V2": ("a b", "torchvision", "resnet50", "IMAGENET1K_V2", None, {}),
    "torchvision:resnet50:none?num_classes=5": (
        *("resnet50-none", "torchvision", "resnet50", "none", None),
        {"num_classes": 5},
    ),
    "timm:resnet50.a1_in1k": ("resnet50.a1_in1k", "timm", "resnet50.a1_in1k", None, None, {}),
    "timm:resnet10t?pretrained=false": ("resnet10t", "timm", "resnet10t", None, None, {"pretrained": False}),
    "hf:someone/das-resnet18": ("das-resnet18", "hf", "someone/das-resnet18", None, None, {}),
    "x=hf:someone/net@v1.0": ("x", "hf", "someone/net", "v1.0", None, {}),
    "python:nets.mine:build": ("build", "python", "nets.mine", "build", None, {}),
    "python:nets:Net.tiny@w.pth?width=3": ("tiny", "python", "nets", "Net.tiny", "w.pth", {"width": 3}),
}


@pytest.mark.parametrize("text", FORMS)
def test_forms(text: str) -> None:
    name, kind, target, variant, file, options = FORMS[text]
    spec = parse_spec(text)
    assert (spec.name, spec.kind, spec.target, spec.variant) == (name, kind, target, variant)
    assert spec.file == (Path(file) if file else None)
    assert spec.options == options


def test_a_directory_is_found_by_being_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lr=0.1").mkdir()
    (tmp_path / "w.pth@resnet18").mkdir()
    monkeypatch.chdir(tmp_path)
    for text, name in (
        ("lr=0.1", "lr=0.1"),
        ("w.pth@resnet18", "w.pth@resnet18"),
        ("base=lr=0.1", "base"),
        (".", tmp_path.name),
    ):
        spec = parse_spec(text)
        assert (spec.kind, spec.name) == ("directory", name)
    assert parse_spec("base=lr=0.1").target == "lr=0.1"


def test_the_given_name_wins() -> None:
    spec = parse_spec("old=torchvision:resnet18", name="new")
    assert (spec.name, spec.text) == ("new", "torchvision:resnet18")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a model spec is empty; write a model directory, FILE.pth@ARCH"),
        ("a=", "a model spec is empty"),
        ("=torchvision:resnet18", "cannot name a model"),
        ("a\nb=torchvision:resnet18", "cannot name a model"),
        ("models/nothing", "models/nothing: no such model directory; a model is a model directory, FILE.pth@ARCH"),
        ("tensorflow:resnet50", "unknown kind of model 'tensorflow'; write a model directory"),
        ("w.pth@resnet18:das:more", "after @ write ARCH or ARCH:ATTENTION, as in w.pth@resnet50:das"),
        ("w.pth@", "after @ write ARCH"),
        ("torchvision:", "write torchvision:NAME"),
        ("torchvision:a:b:c", "write torchvision:NAME or torchvision:NAME:WEIGHTS"),
        ("timm:", "write timm:NAME"),
        ("hf:alone", "write hf:USER/REPO"),
        ("hf:../etc/passwd", "write hf:USER/REPO"),
        (
            "hf:user/repo?alpha=3",
            "a model directory takes no option 'alpha'; it takes labels, logits, activation, size",
        ),
        ("python:nets", "write python:MODULE:FACTORY[@FILE]"),
        ("python:nets:os.system('x')", "write python:MODULE:FACTORY[@FILE]"),
        ("w.pth@resnet18?alpha=1&alpha=2", "cannot read the option 'alpha=2'"),
        ("w.pth@resnet18?alpha=1&small", "cannot read the option 'small'"),
    ],
)
def test_malformed(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_spec(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_weight_file(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(UsageError, match=r"notes.md is a file of unknown kind; weight files end in .pth, .pt"):
        parse_spec(str(tmp_path / "notes.md"))


@pytest.mark.parametrize("text", FORMS)
@pytest.mark.parametrize("kind", ["ones", "mean", "shuffled"])
def test_gates_may_be_replaced_in_every_form(text: str, kind: str) -> None:
    plain, spec = parse_spec(text), parse_spec(f"{text}+gates={kind}")
    assert spec.gates == kind
    assert plain.gates is None
    named = text.split("=", maxsplit=1)[0] in ("gated", "a b", "x", "b")
    assert spec.name == (plain.name if named else f"{plain.name}+gates={kind}")
    assert spec.text == f"{plain.text}+gates={kind}", "it opens the same model again"
    same = ("kind", "target", "variant", "file", "options")
    assert [getattr(spec, name) for name in same] == [getattr(plain, name) for name in same]


@pytest.mark.parametrize("text", FORMS)
def test_weights_may_be_random_in_every_form(text: str) -> None:
    plain, spec = parse_spec(text), parse_spec(f"{text}+weights=random:layer3.0")
    assert (spec.weights, plain.weights) == ("random:layer3.0", None)
    assert spec.text == f"{plain.text}+weights=random:layer3.0"
    same = ("kind", "target", "variant", "file", "options", "gates")
    assert [getattr(spec, name) for name in same] == [getattr(plain, name) for name in same]


def test_suffixes_stand_in_any_order_and_once() -> None:
    texts = ("timm:resnet18+weights=random+gates=mean", "timm:resnet18+gates=mean+weights=random")
    specs = [parse_spec(text) for text in texts]
    assert specs[0] == specs[1]
    assert (specs[0].gates, specs[0].weights) == ("mean", "random")
    assert specs[0].text == "timm:resnet18+gates=mean+weights=random"
    assert specs[0].suffixes == "+gates=mean+weights=random"
    assert specs[0].name == "resnet18+gates=mean+weights=random"
    with pytest.raises(UsageError, match=r"timm:resnet18\+gates=mean\+gates=ones says gates= twice; leave one"):
        parse_spec("timm:resnet18+gates=mean+gates=ones")


@pytest.mark.parametrize("value", ["", "zeros", "random:", "random:a b", "Random"])
def test_weights_of_an_unknown_kind(value: str) -> None:
    with pytest.raises(UsageError, match=r"is unknown; end the spec with \+weights=random or \+weights=random:BLOCK"):
        parse_spec(f"w.pth@resnet18+weights={value}")


def test_a_shipped_model_has_a_short_name_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = shipped_models()["collage-das-resnet18"]
    spec = parse_spec("das=collage-das-resnet18+gates=ones")
    assert (spec.name, spec.kind, spec.text) == ("das", "directory", "collage-das-resnet18+gates=ones")
    assert Path(spec.target) == shipped
    (tmp_path / "collage-das-resnet18").mkdir()
    assert parse_spec("collage-das-resnet18").target == "collage-das-resnet18", "what lies here goes first"
    with pytest.raises(UsageError, match="collage-das-resnet: no such model directory; did you mean collage-"):
        parse_spec("collage-das-resnet")
    with pytest.raises(UsageError, match=r"or one that is shipped: collage-das-resnet18, collage-resnet18$"):
        parse_spec("nothing")


def test_gates_of_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "odd+gates=mean").mkdir()
    monkeypatch.chdir(tmp_path)
    for text, name, target, gates in (
        ("net+gates=ones", "net+gates=ones", "net", "ones"),
        ("base=net+gates=ones", "base", "net", "ones"),
        ("odd+gates=mean", "odd+gates=mean", "odd+gates=mean", None),
        ("base=odd+gates=mean", "base", "odd+gates=mean", None),
        ("odd+gates=mean+gates=ones", "odd+gates=mean+gates=ones", "odd+gates=mean", "ones"),
    ):
        spec = parse_spec(text)
        assert (spec.name, spec.target, spec.gates) == (name, target, gates)


@pytest.mark.parametrize(
    "text", ["w.pth@resnet18+gates=", "w.pth@resnet18+gates=zeros", "timm:resnet18+gates=mean?size=160"]
)
def test_gates_replaced_by_what_does_not_exist(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"is unknown; end the spec with \+gates=ones or \+gates=mean or \+gates=shuffled"
    ):
        parse_spec(text)
