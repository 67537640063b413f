"""YAML as recipes and studies are written in: what JSON has, read as it stands in the file.

YAML has more than that: aliases, with which a page becomes a billion values or a value holds itself, dates, sets, bytes,
numbers without an end, keys that are no text. None of it has a place in a recipe, and all of it is refused by name.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import yaml

from das_explain.errors import UsageError, one_line
from das_explain.text import cut_middle

TAG = "tag:yaml.org,2002:"
FOREIGN = {TAG + name for name in ("timestamp", "merge", "value")}  # what plain text is not to be taken for
NUMBERS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
LONGEST_NUMBER = 400  # characters: the largest float has 309 digits, and long numbers take the square of their length
LONGEST_SHOWN = 60  # characters of what is refused
DEEPEST = 50  # levels of lists and keys within one another


class PlainLoader(yaml.SafeLoader):
    """``SafeLoader`` of JSON's types alone, with 5e-4 read as a number (YAML 1.1 wants 5.0e-4)."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - yaml's own name, which it changes by assignment
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in FOREIGN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        TAG + name: yaml.SafeLoader.yaml_constructors[TAG + name] for name in ("null", "str", "seq", "map")
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Every value comes through here, with those within it."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, f"the alias *{_shown(event.anchor)} is not taken: write out what it stands for")
        if self.depth == DEEPEST:
            self.refuse(event, f"more than {DEEPEST} levels of lists and keys within one another")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Keys are texts, as JSON's; one of digits is the text that it is written as."""
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                self.refuse(key, "a list or keys and values stand where a key is expected")
            if key.tag == f"{TAG}int":
                key.tag = f"{TAG}str"
            if key.tag != f"{TAG}str":
                self.refuse(key, f"YAML takes the key {_shown(key.value)} for no text; put it in quotes")
        return super().construct_mapping(node, deep)

    def number(self, node: Any) -> Any:
        """A finite number, true or false; an explicit tag may stand before anything."""
        kind = node.tag.removeprefix(TAG)
        text = self.construct_scalar(node)
        if len(text) > LONGEST_NUMBER:
            self.refuse(node, f"{_shown(text)} is a number of {len(text):,} characters")
        try:
            value = getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(self, node)
        except (LookupError, ValueError):
            self.refuse(node, f"{_shown(text)} is not {NUMBERS[kind]}")
        if not abs(value) <= sys.float_info.max:  # NaN neither
            self.refuse(node, f"{_shown(text)} is not a finite number, or too large for one")
        return value

    def foreign(self, node: Any) -> Any:
        """Any other tag."""
        tag = _shown(node.tag.replace(TAG, "!!"))
        self.refuse(
            node, f"{tag} is not taken: expected text, a number, true or false, null, a list or keys and values"
        )

    def refuse(self, place: Any, why: str) -> None:
        """Raises UsageError, with the line where there are several."""
        mark = place.start_mark
        raise UsageError(f"line {mark.line + 1}: {why}" if mark.line or mark.buffer.count("\n") > 1 else why)


for _kind in NUMBERS:
    PlainLoader.add_constructor(TAG + _kind, PlainLoader.number)
PlainLoader.add_constructor(None, PlainLoader.foreign)
PlainLoader.add_implicit_resolver(
    f"{TAG}float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_plain(text: str, where: str) -> Any:
    """The one value that ``text`` is; ``where`` names it in an error. Raises ``UsageError``."""
    try:
        return yaml.load(text, PlainLoader)  # a SafeLoader
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not YAML: {one_line(error)}") from None
    except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF", a directive %YAML of many digits
        raise UsageError(f"{where}: not YAML: an escaped character or a version is out of range") from None


def _shown(text: str) -> str:
    return cut_middle(text, LONGEST_SHOWN)
