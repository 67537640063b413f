"""Options that stand in a dataclass become the flags of a command."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from das_explain.commands.help import Command
from das_explain.commands.machines import Machines
from das_explain.commands.options import (
    Data,
    Given,
    Maps,
    Models,
    Running,
    Without,
    label_files,
    takes_options,
)
from das_explain.commands.regions import Regions
from das_explain.commands.scoring import Scoring
from das_explain.errors import UsageError

ALL = (Data, Models, Maps, Scoring, Running, Machines, Regions)


@dataclass(frozen=True)
class Colour:
    """Two flags, one of them needed, one that repeats."""

    hue: Annotated[str, typer.Option(metavar="NAME", help="Which colour.")]
    shade: Annotated[tuple[float, ...], typer.Option(min=0, metavar="X", help="How dark; repeats.")] = ()
    glossy: Annotated[bool, typer.Option("--glossy", help="Shines.")] = False


@dataclass(frozen=True)
class Green(Colour):
    hue: Annotated[str, typer.Option(metavar="NAME", help="Which green.")] = "moss"


def run(annotation: Any, *words: str) -> Any:
    """What a command with one such parameter is given."""
    seen = []

    def paint(colour: annotation, coats: int = 1) -> None:
        seen.append((colour, coats))

    paint.__annotations__["colour"] = annotation
    app = typer.Typer()
    app.command(cls=Command)(takes_options(paint))
    result = CliRunner().invoke(app, words)
    if result.exception is not None:
        raise result.exception
    return seen[0][0] if seen else result.output


def test_a_command_gets_an_instance_of_what_was_given() -> None:
    assert run(Colour, "--hue", "red", "--shade", "0.5", "--shade", "2") == Colour("red", (0.5, 2.0), False)
    assert run(Colour, "--hue", "red", "--glossy", "--coats", "3") == Colour("red", (), True)
    with pytest.raises(UsageError, match="Missing option .--hue.; see paint --help"):
        run(Colour)


def test_a_subclass_has_another_default() -> None:
    assert run(Green) == Green("moss")


def test_what_is_left_out_keeps_its_default() -> None:
    assert run(Annotated[Green, Without("hue", "shade")], "--glossy") == Green("moss", (), True)
    with pytest.raises(UsageError, match="No such option: --hue"):
        run(Annotated[Green, Without("hue")], "--hue", "red")


def test_only_what_was_given() -> None:
    assert run(Annotated[dict[str, Any], Given(Colour, "as before")], "--shade", "0") == {"shade": (0.0,)}
    assert run(Annotated[dict[str, Any], Given(Colour, "as before")]) == {}
    assert "Which colour. [default: as before]" in run(Annotated[dict[str, Any], Given(Colour, "as before")], "--help")
    assert "[default: as before]" not in run(Colour, "--help")  # its own option is left alone


def test_mistakes_in_a_signature_are_told_when_it_is_read() -> None:
    def twice(colour: Colour, green: Green) -> None: ...

    def lost(colour: Annotated[Colour, Without("hue")]) -> None: ...

    def misspelt(colour: Annotated[Colour, Without("hues")]) -> None: ...

    for command in (twice, lost, misspelt):
        command.__annotations__ = inspect.get_annotations(command, eval_str=True, locals=locals(), globals=globals())
    with pytest.raises(TypeError, match="two options are called glossy, hue, shade"):
        takes_options(twice)
    with pytest.raises(TypeError, match="Colour.hue has no default and cannot be left out"):
        takes_options(lost)
    with pytest.raises(TypeError, match="Colour has no hues"):
        takes_options(misspelt)


def test_all_option_classes_fit_into_one_command() -> None:
    names = [field.name for kind in ALL for field in fields(kind)]
    assert len(names) == len(set(names))
    assert [field.name for kind in ALL for field in fields(kind) if field.default is MISSING] == ["model"]


def test_label_files_of_a_name_and_of_all_others(tmp_path: Path) -> None:
    specs = ("a=x.pth@resnet18", "b=y.pth@resnet18", "a=z.pth@resnet18")
    assert label_files(specs, ()) == (None, None, None)
    assert label_files(specs, ("b=n.txt",)) == (None, Path("n.txt"), None)
    assert label_files(specs, ("a=n.txt", "rest.json")) == (Path("n.txt"), Path("rest.json"), Path("n.txt"))
    (tmp_path / "a=b.txt").touch()  # a file that is there is no name
    assert label_files(specs, (str(tmp_path / "a=b.txt"),)) == (tmp_path / "a=b.txt",) * 3
    with pytest.raises(UsageError, match=r"--labels c=n.txt: no model is called 'c'; there are a, b, a"):
        label_files(specs, ("c=n.txt",))
    with pytest.raises(UsageError, match="another file is given for all models already"):
        label_files(specs, ("n.txt", "m.txt"))


def test_defaults_are_those_of_the_rooms_below() -> None:
    from das_explain.explain.contestants import ExplainOptions
    from das_explain.scoring.options import ScoreOptions

    assert Scoring().options() == ScoreOptions().resolved()
    maps, below = Maps(), ExplainOptions()
    assert (maps.method, maps.target, Models(model=()).precision) == (below.method, below.target, below.precision)
