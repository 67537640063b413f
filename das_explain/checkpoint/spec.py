"""The model spec: the one string by which a model is named everywhere.

    DIR                                   a folder in this project's, timm's or transformers' layout
    SHIPPED                               a network that comes with the project, by its short name (``shipped``)
    FILE.pth@ARCH[:ATTENTION]             a weight file (.pth .pt .safetensors .ckpt ...) and the network it belongs to:
                                          an architecture of the registry, ``torchvision:NAME`` or ``timm:NAME``
    torchvision:NAME[:WEIGHTS]            torchvision's weights, by name; ``none`` for random ones
    timm:NAME                             timm's pretrained weights
    hf:USER/REPO[@REVISION]               such a folder on the Hugging Face Hub
    python:MODULE:FACTORY[@FILE]          your own network, and a weight file for it

``NAME=`` before a spec names the model; ``?key=value&key=value`` after one sets options: those of ``SHARED`` with any,
``entry`` (which weights of a file) and arguments of the network with files, torchvision's, timm's and Python's.

Any spec may end in suffixes, in any order:

    +attention=NAME[@BLOCK,...]           puts untrained gates into a network that has none (``gating``): where the module's
                                          paper puts them, in others' networks after the stages, or after BLOCK
    +gates=ones|mean|shuffled             replaces the attention of the network's gates (``nn.interventions``)
    +weights=random[:BLOCK]               forgets what was learned: all weights, or those from the classifier down to and
                                          including BLOCK (``randomize``)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from das_explain.checkpoint.shipped import shipped_models
from das_explain.errors import UsageError
from das_explain.nn.interventions import INTERVENTIONS
from das_explain.nn.registry import ATTENTION
from das_explain.text import spelled

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".ckpt", ".bin", ".th", ".tar")
KINDS = ("torchvision", "timm", "hf", "python")
FORMS = (
    "a model directory, FILE.pth@ARCH[:ATTENTION], torchvision:NAME[:WEIGHTS], timm:NAME, hf:USER/REPO "
    "or python:MODULE:FACTORY[@FILE]"
)
SHARED = ("labels", "logits", "activation", "size", "resize", "interpolation", "fit", "mean", "std")
"""Options of any spec: what is known of a model besides its weights. Every other option is the source's."""
RAW = (*SHARED, "entry")  # options that keep their text
SUFFIXES = {
    "attention": (
        re.compile(rf"({'|'.join(ATTENTION)})(@[^\s+@]+)?"),
        "+attention=NAME or +attention=NAME@BLOCK,BLOCK, where NAME is one of " + ", ".join(ATTENTION),
    ),
    "gates": (re.compile("|".join(INTERVENTIONS)), " or ".join(f"+gates={each}" for each in INTERVENTIONS)),
    "weights": (re.compile(r"random(:[^\s+]+)?"), "+weights=random or +weights=random:BLOCK"),
}
"""Key -> what it may be, and how that is written, in the order in which suffixes stand in ``ModelSpec.text``."""


@dataclass(frozen=True)
class ModelSpec:
    """A model spec, taken apart. Nothing is opened yet.

    ``text`` is the spec without its name. ``target`` is the directory, architecture, published name, repository or
    Python module; ``variant`` the attention, weights, revision or factory; ``file`` the weight file. ``options`` are
    ``shared``, those of ``SHARED``, and ``arguments``, the source's. ``attention`` is ``NAME`` or ``NAME@BLOCK,...`` of the
    gates to be added, ``gates`` what the gates are replaced with, of ``INTERVENTIONS``, ``weights`` is ``random`` or
    ``random:BLOCK``; or ``None``, each.
    """

    text: str
    name: str
    kind: str
    target: str
    variant: str | None = None
    file: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    attention: str | None = None
    gates: str | None = None
    weights: str | None = None

    @property
    def shared(self) -> dict[str, str]:
        """The options that any spec may have, as they were written."""
        return {key: value for key, value in self.options.items() if key in SHARED}

    @property
    def arguments(self) -> dict[str, Any]:
        """The other options: what the source makes of them."""
        return {key: value for key, value in self.options.items() if key not in SHARED}

    @property
    def suffixes(self) -> str:
        """What the spec ends in: ``+gates=mean``, or nothing."""
        return _joined({"attention": self.attention, "gates": self.gates, "weights": self.weights})


def parse_spec(text: str, name: str | None = None) -> ModelSpec:
    """Takes ``[NAME=]SPEC`` apart; ``name`` overrides the name, which otherwise is derived from the spec.

    Raises:
        UsageError: the spec has none of the known forms.
    """
    text, suffixes = _split_suffixes(text.strip())
    given, text = _split_name(text)
    name = given if name is None else name
    if not text:
        raise UsageError(f"a model spec is empty; write {FORMS}")
    if name is not None and not (name.strip() and name.isprintable()):
        raise UsageError(f"{name!r} cannot name a model: write NAME={text} with a printable name")
    body, options = split_options(text)
    kind, colon, rest = body.partition(":")
    if Path(text).is_dir():
        body, options = text, {}
    if Path(body).is_dir():
        fields: dict[str, Any] = {"kind": "directory", "target": body}
        default = Path(body).resolve().name or "model"
    elif shipped := shipped_models().get(body):
        fields, default = {"kind": "directory", "target": str(shipped)}, body
    elif colon and kind in KINDS:
        fields, default = _PARSERS[kind](rest, text)
    else:
        fields, default = _file(body, text)
    foreign = [key for key in options if key not in SHARED]
    if foreign and fields["kind"] in ("hf", "directory"):
        takes = f"it takes {', '.join(SHARED)}"
        raise UsageError(f"{text}: a model directory takes no option {foreign[0]!r}; {takes}")
    text, default = text + _joined(suffixes), default + _joined(suffixes)
    name = spelled(default) if name is None else name.strip()
    chosen: dict[str, Any] = {key: suffixes.get(key) for key in SUFFIXES}
    return ModelSpec(text=text, name=name, options=options, **chosen, **fields)


def with_option(text: str, key: str, value: str) -> str:
    """The spec with one of ``SHARED`` set, unless it sets it itself."""
    body, suffixes = _split_suffixes(text.strip())
    options = split_options(body)[1]
    if key in options:
        return text
    return f"{body}{'&' if options else '?'}{key}={value}{_joined(suffixes)}"


def _split_suffixes(text: str) -> tuple[str, dict[str, str]]:
    """The spec without what follows it, and that by key."""
    found: dict[str, str] = {}
    while match := re.fullmatch(rf"(.*)\+({'|'.join(SUFFIXES)})=(.*)", text, re.DOTALL):
        unnamed = text.partition("=")[2]
        if Path(text).exists() or (unnamed and Path(unnamed).exists()):  # a folder may be called so
            break
        body, key, value = match.groups()
        pattern, known = SUFFIXES[key]
        if not pattern.fullmatch(value):
            raise UsageError(f"{text}: {key}={value} is unknown; end the spec with {known}")
        if key in found:
            raise UsageError(f"{text}+{key}={found[key]} says {key}= twice; leave one")
        found[key], text = value, body.strip()
    return text, found


def _joined(suffixes: Mapping[str, str | None]) -> str:
    return "".join(f"+{key}={suffixes[key]}" for key in SUFFIXES if suffixes.get(key))


def _split_name(text: str) -> tuple[str | None, str]:
    """``NAME=`` and the rest. A file or folder may have ``=`` in its name: what is there is no model's name."""
    head, equals, tail = text.partition("=")
    if not equals or re.search(r"[/\\@:?]", head) or _begins_with_a_path(text):
        return None, text
    return head.strip(), tail.strip()


def _begins_with_a_path(text: str) -> bool:
    """Whether there is a file or folder of that name, or of what stands before an ``@`` or a ``?`` of it."""
    ends = [len(text), *(place for place, sign in enumerate(text) if sign in "@?")]
    return any(_exists(text[:end]) for end in ends)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for a name
        return False


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """``BODY?key=value&key=value`` -> BODY and the options, numbers and lists read as such."""
    match = re.fullmatch(r"(.*?)\?([A-Za-z_]\w*=.*)", text, re.DOTALL)
    if not match:
        return text, {}
    options: dict[str, Any] = {}
    for pair in match[2].split("&"):
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier() or key in options:
            raise UsageError(f"{text}: cannot read the option {pair!r}; write ?key=value&key=value, each key once")
        options[key] = value if key in RAW else _value(value)
    return match[1], options


def _value(text: str) -> Any:
    if "," in text:
        return tuple(_value(part) for part in text.split(",") if part)
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _torchvision(rest: str, text: str) -> tuple[dict[str, Any], str]:
    if file := _file_of("torchvision", rest):
        return file
    architecture, _, weights = rest.partition(":")
    if not architecture or ":" in weights:
        raise UsageError(f"{text}: write torchvision:NAME or torchvision:NAME:WEIGHTS")
    fields = {"kind": "torchvision", "target": architecture, "variant": weights or None}
    return fields, f"{architecture}-{weights}" if weights else architecture


def _timm(rest: str, text: str) -> tuple[dict[str, Any], str]:
    if not rest:
        raise UsageError(f"{text}: write timm:NAME")
    if file := _file_of("timm", rest):
        return file
    kind, colon, place = rest.partition(":")
    if colon and kind == "local-dir" and place:
        return {"kind": "directory", "target": place}, Path(place).resolve().name or "model"
    return {"kind": "timm", "target": rest}, rest


def _file_of(source: str, rest: str) -> tuple[dict[str, Any], str] | None:
    """``NAME@FILE``: the network of that name with a weight file."""
    name, at, file = rest.partition("@")
    if not at or not re.fullmatch(r"[\w.-]+", name) or not file:
        return None
    return {"kind": "file", "target": f"{source}:{name}", "file": Path(file)}, Path(file).stem


def _hub(rest: str, text: str) -> tuple[dict[str, Any], str]:
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", rest)
    if not match:
        raise UsageError(f"{text}: write hf:USER/REPO or hf:USER/REPO@REVISION")
    return {"kind": "hf", "target": match[1], "variant": match[2]}, match[1].split("/")[1]


def _python(rest: str, text: str) -> tuple[dict[str, Any], str]:
    body, _, file = rest.partition("@")
    module, _, factory = body.partition(":")
    if not all(re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", part) for part in (module, factory)):
        raise UsageError(f"{text}: write python:MODULE:FACTORY[@FILE], as in python:nets.my:build@weights.pth")
    fields = {"kind": "python", "target": module, "variant": factory, "file": Path(file) if file else None}
    return fields, factory.split(".")[-1]


def _file(body: str, text: str) -> tuple[dict[str, Any], str]:
    path, at, architecture = body.rpartition("@")
    if at and path.lower().endswith(WEIGHT_SUFFIXES):
        match = re.fullmatch(r"((?:torchvision|timm):[\w.-]+|[\w.-]+)(?::([\w.-]+))?", architecture)
        if not match:
            raise UsageError(f"{text}: after @ write ARCH or ARCH:ATTENTION, as in {path}@resnet50:das")
        return {"kind": "file", "target": match[1], "variant": match[2], "file": Path(path)}, Path(path).stem
    if body.lower().endswith(WEIGHT_SUFFIXES):  # no architecture: the opener reads the file and proposes one
        return {"kind": "file", "target": "", "file": Path(body)}, Path(body).stem
    if Path(body).is_file():
        raise UsageError(f"{text} is a file of unknown kind; weight files end in {', '.join(WEIGHT_SUFFIXES)}")
    if re.fullmatch(r"[A-Za-z]\w+:.*", body):
        raise UsageError(f"{text}: unknown kind of model {body.partition(':')[0]!r}; write {FORMS}")
    shipped = shipped_models()
    close = get_close_matches(text, shipped, 1)
    hint = f"; did you mean {close[0]}?" if close else f"; a model is {FORMS}"
    if shipped and not close:
        hint += f", or one that is shipped: {', '.join(shipped)}"
    raise UsageError(f"{text}: no such model directory{hint}")


_PARSERS = {"torchvision": _torchvision, "timm": _timm, "hf": _hub, "python": _python}
