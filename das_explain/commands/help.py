"""How help looks: options in panels, the common ones first, as plain text that nothing takes for markup.

A command's docstring is its help; the paragraph that begins with ``Example:`` ends it. An option stands in the panel
that its ``rich_help_panel`` names, else in the first one. Mistakes on the command line are one line, as all others.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from das_explain.errors import UsageError
from das_explain.signals import Stopped

COMMON, DATA, MODELS, MAPS = "Common options", "Data", "Models", "Maps"
SCORING, REGION, FINDERS, RUNNING = "Scoring", "Region R", "Finding R with networks", "Running"
PANELS = (COMMON, DATA, MODELS, MAPS, SCORING, REGION, FINDERS, RUNNING)
WIDTH = 100
COLUMN = 28  # where an option's text begins
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": WIDTH}
_BadCommandLine: Any = typer.BadParameter.__base__  # click's UsageError, wherever this Typer has its click from


_Base: Any = object  # TyperCommand or TyperGroup, in the classes below


class _OneDialect(_Base):
    """What a command and a group of commands have in common."""

    context_settings: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "rich_markup_mode": None})
        self.context_settings = {**SETTINGS, **self.context_settings}

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _one_line_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, context: Any) -> Any:
        with _one_line_errors():
            return super().invoke(context)

    def format_help(self, context: Any, formatter: Any) -> None:
        formatter.write("\n".join(_page(self, context, formatter.width)) + "\n")


class Command(_OneDialect, TyperCommand):
    """A command whose help has panels: ``app.command(cls=Command)``."""


class Group(_OneDialect, TyperGroup):
    """The same for a command of commands: ``typer.Typer(cls=Group)``."""


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except _BadCommandLine as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            raise typer.Exit(error.exit_code) from None
        where = error.ctx.command_path if error.ctx else "das-explain"
        message = error.format_message().rstrip(".")
        raise UsageError(f"{' '.join(message.split())}; see {where} --help") from None
    except KeyboardInterrupt:  # which Typer would take for itself
        raise Stopped from None


def _page(command: Any, context: Any, width: int) -> Iterator[str]:
    params = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    arguments = [each for each in params if each.param_type_name == "argument"]
    paragraphs = _paragraphs(command)
    examples = [each for each in paragraphs if each.startswith("Example")]
    words = [_argument(each) for each in arguments]
    usage = ["Usage:", context.command_path, *words, "[OPTIONS]", *(["COMMAND ..."] * isinstance(command, Group))]
    yield " ".join(usage)
    for paragraph in paragraphs:
        if paragraph not in examples:
            yield ""
            yield from wrapped(paragraph, width, "  ")
    if arguments:
        yield from _panel("Arguments", [(name, _told(each)) for name, each in zip(words, arguments)], width)
    panels: dict[str, list[tuple[str, str]]] = {title: [] for title in PANELS}
    for each in params:
        if each not in arguments:
            panel = getattr(each, "rich_help_panel", None) or COMMON
            panels.setdefault(panel, []).append((_names(each), _told(each)))
    panels = {title: rows for title, rows in panels.items() if rows}
    for title, rows in panels.items():
        yield from _panel(title if len(panels) > 1 else "Options", rows, width)
    commands = getattr(command, "commands", {})
    if rows := [(name, _paragraphs(each)[0]) for name, each in commands.items() if not each.hidden]:
        yield from _panel("Commands", rows, width)
    for example in examples:
        yield ""
        yield example


def _paragraphs(command: Any) -> list[str]:
    return [" ".join(each.split()) for each in (command.help or "").split("\n\n")]


def _panel(title: str, rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    for name, text in rows:
        yield from entry(name, text, width)


def entry(name: str, text: str, width: int) -> list[str]:
    """A name and what is said of it, as lines: side by side where the name leaves room."""
    lines, first = wrapped(text, width, " " * COLUMN), f"  {name}"
    if len(first) <= COLUMN - 2 and lines:
        return [first + lines[0][len(first) :], *lines[1:]]
    return [first, *lines]


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """The text as lines; words stay whole."""
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _argument(param: Any) -> str:
    name = param.metavar or param.name.upper()
    name = name if param.metavar or param.nargs == 1 else f"{name}..."
    return name if param.required or name.startswith("[") else f"[{name}]"


def _names(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names += f" / {option.secondary_opts[0]}"
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper()}"


def _told(param: Any) -> str:
    """The text, and what holds if nothing is given."""
    text = param.help or ""
    if isinstance(param.show_default, str):
        return f"{text} [default: {param.show_default}]"
    if param.param_type_name == "argument":
        return text if param.default is None else f"{text} [default: {param.default}]"
    if param.required:
        return f"{text} [required]"
    if param.secondary_opts:
        return f"{text} [default: {'yes' if param.default else 'no'}]"
    if param.is_flag or param.default in (None, (), [], ""):
        return text
    return f"{text} [default: {param.default}]"
