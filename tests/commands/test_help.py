"""Help as it is shown: complete, short, and nothing taken for markup."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from das_explain.checkpoint.shipped import shipped_models
from das_explain.checkpoint.spec import KINDS, SUFFIXES, parse_spec
from das_explain.commands import app
from das_explain.commands.help import PANELS, Command, Group
from das_explain.commands.topics import DATA, MODELS, TOPICS
from das_explain.data.dataset import SOURCES
from das_explain.errors import UsageError
from das_explain.measures import MEASURES
from das_explain.nn.interventions import INTERVENTIONS
from das_explain.nulls import NULLS

ROOT = Path(__file__).parents[2]
TWO_SCREENS = 100  # lines
INSTALLED_BY_TYPER = ("install_completion", "show_completion")


def commands() -> list[tuple[str, ...]]:
    """Every command and sub-command."""
    top = get_command(app).commands.items()
    return [(name, *more) for name, each in top for more in [(), *((sub,) for sub in getattr(each, "commands", ()))]]


def shown(*words: str) -> str:
    """What is printed where there are a hundred columns."""
    result = CliRunner().invoke(app, words, prog_name="das-explain", terminal_width=98)
    assert result.exit_code == 0, result.output
    return result.output


def node(command: tuple[str, ...]):
    found = get_command(app)
    for name in command:
        found = found.commands[name]
    return found


@pytest.mark.parametrize("command", [(), *commands()], ids=" ".join)
def test_every_page_fits_two_screens_of_a_hundred_columns(command: tuple[str, ...]) -> None:
    lines = shown(*command, "--help").splitlines()
    assert len(lines) <= TWO_SCREENS
    assert max(len(line) for line in lines if not line.startswith("Example")) <= 100
    assert "<" not in "".join(lines)  # no type names
    assert shown(*command, "-h").splitlines() == lines


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_option_is_shown_whole_with_what_holds_if_it_is_not_given(command: tuple[str, ...]) -> None:
    page = " ".join(shown(*command, "--help").split())
    for each in node(command).params:
        if each.hidden or each.name in INSTALLED_BY_TYPER:
            continue
        assert " ".join((each.help or "").split()) in page, each.name  # brackets and all
        if each.param_type_name == "argument":
            continue
        name = max(each.opts, key=len)
        rest = page[page.index(f"{name} ") :]
        told = rest[: rest.index(each.help) + len(each.help) + 30]
        if each.required:
            assert "[required]" in told, name
        elif not each.is_flag or each.secondary_opts:
            assert "[default: " in told or "nless given" in told, name


@pytest.mark.parametrize("command", [(), *commands()], ids=" ".join)
def test_every_command_and_group_ends_with_an_example_that_is_one(command: tuple[str, ...]) -> None:
    last = shown(*command, "--help").splitlines()[-1]
    beginning = " ".join(("Example: das-explain", *command))
    assert f"{last} ".startswith(f"{beginning} ")
    words = re.findall(r"'[^']*'|\S+", last.removeprefix(beginning))
    called = node(command)
    while words and words[0] in getattr(called, "commands", {}):  # a group's example calls one of its own
        called = called.commands[words.pop(0)]
    assert getattr(called, "invoke_without_command", True), "a command that does something by itself"
    parameters = called.params
    required = [set(each.opts) for each in parameters if each.required and each.param_type_name == "option"]
    assert all(names & set(words) for names in required)
    known = {name for each in parameters for name in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known


def test_panels_come_in_one_order_the_common_options_first() -> None:
    for command in commands():
        titles = re.findall(r"^(\w.*):$", shown(*command, "--help"), re.MULTILINE)
        panels = [title for title in titles if title not in ("Arguments", "Options", "Commands")]
        assert panels == [title for title in PANELS if title in panels], command


def test_help_imports_nothing_heavy() -> None:
    program = textwrap.dedent("""
        import sys
        from das_explain.commands import app
        for words in ([], ["--help"], ["sfd", "-h"], ["segment", "--help"], ["help"], ["help", "models"],
                      ["help", "data"], ["help", "sfd"], ["sfd", "--nonsense"], ["models", "pack", "-h"]):
            try:
                app(words)
            except (SystemExit, Exception):
                pass
        heavy = {"torch", "torchvision", "pandas", "pyarrow", "matplotlib", "scipy", "numpy", "PIL", "cv2", "lightning"}
        print("HEAVY", sorted(heavy & set(sys.modules)))
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


def test_help_lists_its_topics_and_shows_commands() -> None:
    for topic in TOPICS:
        assert f"das-explain help {topic}" in shown("help")
    assert shown("help", "sfd") == shown("sfd", "--help")
    assert isinstance(CliRunner().invoke(app, ["help", "sdf"]).exception, UsageError)


@pytest.mark.parametrize("topic", TOPICS)
def test_topics_fit_two_screens(topic: str) -> None:
    lines = shown("help", topic).splitlines()
    assert len(lines) <= TWO_SCREENS
    assert max(map(len, lines)) <= 100


def test_the_grammar_is_complete() -> None:
    for kind in KINDS:
        assert f"\n  {kind}:" in MODELS
    for each in INTERVENTIONS:
        assert re.search(rf"\b{each}\b", MODELS)
    for source in SOURCES:
        assert f"\n  {source}" in DATA
    measures = shown("help", "measures")
    for name in (*MEASURES, *NULLS):
        assert f"\n  {name} " in measures


def test_the_models_on_the_page_are_models() -> None:
    examples = re.findall(r"--model '?([^\s']+)", MODELS)
    assert len(examples) == 8
    assert {parse_spec(each).kind for each in examples} == {"file", "torchvision", "directory"}
    assert {parse_spec(each).weights for each in examples} == {None, "random:layer4"}
    for name in re.findall(r"^  (collage-\S+)", MODELS, re.MULTILINE):
        assert name in shipped_models()
    for suffix in SUFFIXES:
        assert f"\n  +{suffix}=" in MODELS


def test_brackets_and_what_looks_like_markup_are_left_alone() -> None:
    def odd(
        name: Annotated[str, typer.Option(help="FILE[@FOLDER], [bold]not bold[/bold], \\[x].")] = "[red]",
        quiet: Annotated[bool, typer.Option(help="Say nothing.")] = False,
    ) -> None:
        """Takes [anything].

        Example: odd --name '[x]'
        """

    one = typer.Typer(cls=Group)
    one.command(cls=Command)(odd)
    page = " ".join(CliRunner().invoke(one, ["--help"]).output.split())
    assert "Takes [anything]." in page
    assert r"--name NAME FILE[@FOLDER], [bold]not bold[/bold], \[x]. [default: [red]]" in page
    assert "--quiet / --no-quiet Say nothing. [default: no]" in page
    assert page.endswith("Example: odd --name '[x]'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sdf"], "No such command 'sdf'"),
        (["sfd"], "Missing argument 'DATA'; see das-explain sfd --help"),
        (["sfd", "x", "--out", "y"], "Missing option '--model'"),
        (["sfd", "x", "--mask", "y"], "No such option: --mask"),
        (["sfd", "x", "--sample", "none"], "Invalid value for '--sample'"),
        (["models", "pack", "x"], "Missing argument 'DIR'; see das-explain models pack --help"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(words: list[str], message: str) -> None:
    error = CliRunner().invoke(app, words, prog_name="das-explain").exception
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    assert str(error).startswith(message)
    assert "\n" not in str(error)
