"""The pages speak of what is there: links, commands, options, modules, statuses."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from das_explain.commands import app
from das_explain.commands.topics import TOPICS
from das_explain.evidence.tables import TABLES
from das_explain.nn import ATTENTION
from das_explain.statuses import STATUSES
from tests.docs.pages import DOCS, PAGES, ROOT, commands_of

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("name", [*NAMES, "CONTRIBUTING.md"])
def test_every_link_to_a_file_leads_somewhere(name: str):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", page.read_text(encoding="utf-8"))
    files = [page.parent / link for link, _ in links if link and "://" not in link]
    assert [str(file) for file in files if not file.exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_on_a_page_exists(name: str):
    for line in commands_of(ROOT / name):
        words = [word for word in shlex.split(line.split("|")[0])[1:] if word != "..."]
        command = get_command(app)
        while words and not words[0].startswith("-") and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if command.name == "help" and words:
            assert words[0] in {*TOPICS, *get_command(app).commands}, line
        assert not hasattr(command, "commands") or not words or words[0].startswith("-"), f"{line}: no {words[:1]}"
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        known |= {"--help", "-h"}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_the_readme_is_short_and_gives_the_test_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    assert "    make test " in readme
    sections = re.findall(r"^## (.+)$", readme, re.MULTILINE)
    linked = re.findall(r"\[([^\]]+)\]\(#", readme)
    assert linked == sections


def test_every_page_is_in_the_navigation():
    def entries(nav) -> list[str]:
        if isinstance(nav, str):
            return [nav]
        return [
            entry for each in nav for entry in entries(next(iter(each.values())) if isinstance(each, dict) else each)
        ]

    navigation = entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} | {"reference/cli.md"}
    pages = {page for page in pages if not page.startswith("studies/")}  # printed by `study --publish`
    assert sorted(navigation) == sorted(pages)


def test_every_attention_module_every_status_and_every_table_is_explained():
    modules, files = (DOCS / "modules.md").read_text("utf-8"), (DOCS / "run-files.md").read_text("utf-8")
    assert {name for name in TABLES if f"`{name}.csv`" not in files} == set()
    assert {name for name in ATTENTION if f"| `{name}` |" not in modules} == set()
    assert {word for word in STATUSES if f"`{word}`" not in files} == set()


def test_the_page_of_the_command_line_is_made_from_the_commands(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = (DOCS / "make_cli.py").read_text("utf-8")
    (tmp_path / "make_cli.py").write_text(script, "utf-8")
    done = subprocess.run([sys.executable, tmp_path / "make_cli.py"], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "reference" / "cli.md").read_text("utf-8")
    for name in get_command(app).commands:
        assert f"## das-explain {name}\n" in page
    assert "--threshold TAU" in page
