"""Turns the options dataclasses in a command's signature into flags; ``options`` says how it is used."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Without:
    """``Annotated[Data, Without("root")]``: the options but for these fields, which keep their defaults."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass(frozen=True)
class Given:
    """``Annotated[dict[str, Any], Given(Scoring, "as before")]``: only the flags that were given, by their names.

    For a command that changes what was settled before: no flag is required, help shows the text as each one's default.
    """

    kind: type
    default: str


@dataclass(frozen=True)
class _Group:
    """The flags that make up one parameter of a command."""

    kind: type
    without: tuple[str, ...] = ()
    given: str | None = None

    @classmethod
    def of(cls, annotation: Any) -> _Group | None:
        is_marked = get_origin(annotation) is Annotated
        kind: Any = get_args(annotation)[0] if is_marked else annotation
        marks: tuple[Any, ...] = get_args(annotation)[1:] if is_marked else ()
        for mark in marks:
            if isinstance(mark, Given):
                return cls(mark.kind, given=mark.default)
        if not (isinstance(kind, type) and is_dataclass(kind)):
            return None
        return cls(kind, tuple(name for mark in marks if isinstance(mark, Without) for name in mark.names))

    def flags(self) -> Iterator[inspect.Parameter]:
        hints = get_type_hints(self.kind, include_extras=True)
        known = {field.name: field for field in fields(self.kind)}
        if unknown := set(self.without) - set(known):
            raise TypeError(f"{self.kind.__name__} has no {', '.join(sorted(unknown))} to leave out")
        for name, field in known.items():
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            if name in self.without:
                if default is inspect.Parameter.empty:
                    raise TypeError(f"{self.kind.__name__}.{name} has no default and cannot be left out")
                continue
            kind, option = _for_typer(hints[name])
            if self.given is not None:
                kind, option, default = kind | None, copy.copy(option), None
                option.show_default = self.given
            hint: Any = Annotated[kind, option]
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)

    def value(self, values: dict[str, Any]) -> Any:
        if self.given is not None:
            return {name: value for name, value in values.items() if value is not None}
        return self.kind(**values)


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Puts flags in the place of each parameter that is annotated with an options dataclass.

    Typer reads them off the signature. Lists arrive as tuples. Raises ``TypeError``, when the module is imported, for
    two flags of one name and for a field left out that has no default.
    """
    own = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[_Group, list[str]]] = {}
    for parameter in own.parameters.values():
        if group := _Group.of(parameter.annotation):
            flags = list(group.flags())
            groups[parameter.name] = group, [flag.name for flag in flags]
            parameters += flags
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def expanded(**arguments: Any) -> None:
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
        for name, (group, names) in groups.items():
            values[name] = group.value({each: values.pop(each) for each in names})
        command(**values)

    names = [each.name for each in parameters]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"{command.__name__}: two options are called {', '.join(sorted(twice))}")
    expanded.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return expanded


def _for_typer(hint: Any) -> tuple[Any, Any]:
    """Type and option. ``tuple[X, ...]`` is what an instance holds; a flag that repeats is a list to Typer."""
    kind, option = get_args(hint)
    if get_origin(kind) is tuple:
        kind = list[get_args(kind)[0]]
    return kind, option
