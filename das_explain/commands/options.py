"""The one dialect: options that several commands take, each with its text and its default once.

A frozen dataclass holds the options that belong together, a field per flag: ``Annotated[type, typer.Option(...)]`` and
the default. A command asks for them by annotating a parameter with the class, and gets an instance:

    @takes_options
    def compare(
        runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The runs' folders.")],
        data: Annotated[Data, Without("label_map")],
        running: Running,
        out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the tables.")] = Path("compared"),
    ) -> None:
        \"\"\"Set runs beside one another.

        Example: das-explain compare runs/a runs/b
        \"\"\"
        from das_explain.study import compare_runs     # heavy imports inside, so that --help answers at once

        print(compare_runs(runs, out=out, workers=running.workers))

and stands in ``COMMANDS`` of ``commands/__init__.py``. A command's own flags come into the panel "Common options" unless
they name another (``rich_help_panel=SCORING``); ``Without`` leaves flags out, which keep their defaults; ``Given`` makes
a dictionary of those given; a subclass of the dataclass may give a field another default or text.

Nothing here imports more than Typer. What the classes hold are plain values, handed to the lower rooms by keyword.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from das_explain.commands.expand import Given, Without, takes_options
from das_explain.commands.help import COMMON, DATA, MAPS, MODELS, RUNNING

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset
    from das_explain.explain.contestants import ExplainOptions
    from das_explain.types import Sample

__all__ = [
    "Data",
    "Given",
    "Maps",
    "Models",
    "Running",
    "Without",
    "comma_separated",
    "label_files",
    "takes_options",
]


@dataclass(frozen=True)
class Data:
    """Which photos of the data: the same for every command that takes data."""

    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=COMMON, help="Images to draw; all unless given."),
    ] = None
    seed: Annotated[int, typer.Option(min=0, metavar="N", rich_help_panel=DATA, help="Of all that is drawn.")] = 0
    stratified: Annotated[
        bool, typer.Option("--stratified", rich_help_panel=DATA, help="Draw equally from the classes.")
    ] = False
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=DATA,
            help="Of data sets that have one: train or test; test unless given.",
        ),
    ] = None
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=DATA,
            help="Where torchvision's data sets lie; the user's cache unless given.",
        ),
    ] = None
    label_map: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            rich_help_panel=DATA,
            help="What the models call the data's classes: columns data,model; by name unless given.",
        ),
    ] = None

    def read_label_map(self) -> dict[str, str] | None:
        """Class of the data -> class of the models, if ``--label-map`` is given."""
        from das_explain.checkpoint.labels import read_label_map

        return read_label_map(self.label_map) if self.label_map is not None else None

    def draw(self, dataset: Dataset) -> tuple[Sample, ...]:
        """The samples to use, in the data set's order."""
        from das_explain.data.draw import draw_sample

        return draw_sample(dataset, count=self.sample, seed=self.seed, stratified=self.stratified)


@dataclass(frozen=True)
class Models:
    """Which networks, and which of their blocks."""

    model: Annotated[
        tuple[str, ...],
        typer.Option(
            "--model",
            "-m",
            metavar="NAME=SPEC",
            rich_help_panel=COMMON,
            help="A model and its name (das-explain help models says what a SPEC is). Repeat it to compare; several "
            "with one NAME are copies of one design.",
        ),
    ]
    blocks: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            rich_help_panel=COMMON,
            help="Blocks to explain; the last two of each model unless given.",
        ),
    ] = ""
    layout: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="BLOCK=LAYOUT",
            rich_help_panel=MODELS,
            help="How the output of BLOCK is read as a map: nchw, nhwc, tokens or tokens:PREFIX (class tokens and the "
            "like before the patches); by what the network knows of itself, else by its shape, unless given.",
        ),
    ] = ()
    labels: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="[NAME=]FILE",
            rich_help_panel=MODELS,
            help="Class names in logit order, a line each or a JSON list, of the model NAME or of all; the "
            "checkpoint's own unless given.",
        ),
    ] = ()
    logits: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE",
            rich_help_panel=MODELS,
            help="The module whose output the logits are, where a network goes on to probabilities; its own output unless "
            "given.",
        ),
    ] = None
    precision: Annotated[
        str,
        typer.Option(metavar="fp32|bf16", rich_help_panel=MODELS, help="bf16 where the processor is quick at it."),
    ] = "fp32"

    def __post_init__(self) -> None:
        """``--logits`` is an option of every model's spec that does not say it itself."""
        if self.logits:
            from das_explain.checkpoint.spec import with_option

            object.__setattr__(self, "model", tuple(with_option(each, "logits", self.logits) for each in self.model))

    @property
    def block_names(self) -> tuple[str, ...]:
        """The blocks asked for; none: the last two of each model."""
        return comma_separated(self.blocks)

    def layouts(self) -> dict[str, str]:
        """``--layout`` as block -> layout. Raises ``UsageError``."""
        from das_explain.errors import UsageError

        pairs = [text.rpartition("=") for text in self.layout]
        if bad := [text for text, (block, _, how) in zip(self.layout, pairs) if not block or not how]:
            raise UsageError(f"--layout {bad[0]}: write BLOCK=nhwc, BLOCK=tokens or BLOCK=tokens:PREFIX")
        return {block: how for block, _, how in pairs}

    def label_files(self) -> tuple[Path | None, ...]:
        """Per model, in order, the file of its class names; ``None``: its own. Raises ``UsageError``."""
        return label_files(self.model, self.labels)


@dataclass(frozen=True)
class Maps:
    """How maps are made."""

    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=MAPS,
            help="gradcam, gradcam++, layercam, hirescam, xgradcam, eigencam, scorecam ... (das-explain help "
            "measures).",
        ),
    ] = "gradcam"
    target: Annotated[
        str,
        typer.Option(
            metavar="label|predicted|CLASS",
            rich_help_panel=MAPS,
            help="What is explained: the photo's class, each model's own prediction, or one class by name.",
        ),
    ] = "label"
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", rich_help_panel=MAPS, help="Compile what lies between the blocks: for many photos on a GPU."
        ),
    ] = False

    def options(self, precision: str, **measuring: Any) -> ExplainOptions:
        """The same for the explain room; ``measuring``: what is measured while the networks are at hand."""
        from das_explain.explain.contestants import ExplainOptions

        return ExplainOptions(method=self.method, target=self.target, precision=precision, **measuring)


@dataclass(frozen=True)
class Running:
    """Where and how fast: what moves no number."""

    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=RUNNING,
            help="cpu, cuda:1, mps, several (cuda:0,cuda:1); the best unless given.",
        ),
    ] = None
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=RUNNING,
            help="Photos per forward pass, at most; 16, or 64 on a GPU, unless given.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=RUNNING,
            help="Processes that decode photos; as many as help unless given.",
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", rich_help_panel=RUNNING, help="Replace other results that are in --out."),
    ] = False

    @property
    def photos_at_once(self) -> int:
        """``--batch``, or what suits the device."""
        from das_explain.devices import find_device

        return self.batch or (64 if find_device(self.first_device).type == "cuda" else 16)

    @property
    def first_device(self) -> str | None:
        """The device of what runs once, where there may be several."""
        return self.device and self.device.split(",")[0]


def comma_separated(text: str) -> tuple[str, ...]:
    """``"layer3, layer4"`` -> ``("layer3", "layer4")``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def label_files(specs: tuple[str, ...], given: tuple[str, ...]) -> tuple[Path | None, ...]:
    """``--labels`` -> a file per model spec, in order: ``NAME=FILE`` for the model (or copies) NAME, ``FILE`` for the
    others. Raises ``UsageError`` for a NAME that no model has, and for two files of one.
    """
    if not given:
        return (None,) * len(specs)
    from das_explain.checkpoint.spec import parse_spec
    from das_explain.errors import UsageError

    names = [parse_spec(spec).name for spec in specs]
    files: dict[str | None, Path] = {}
    for text in given:
        head, equals, tail = text.partition("=")
        name, file = (head, tail) if equals and not Path(text).exists() else (None, text)
        if name is not None and name not in names:
            raise UsageError(f"--labels {text}: no model is called {name!r}; there are {', '.join(names)}")
        if name in files:
            raise UsageError(f"--labels {text}: another file is given for {name or 'all models'} already")
        files[name] = Path(file)
    return tuple(files.get(name, files.get(None)) for name in names)
