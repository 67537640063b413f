"""Runs docs/transcript.md in an empty folder and writes what its commands print into it: ``python docs/run_transcript.py``."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from PIL import Image

from das_explain.commands import run_command as das_explain

PAGE = Path(__file__).parent / "transcript.md"
PICTURE = PAGE.parent / "pictures" / "transcript.jpg"
_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ ((?:.|\\\n)*?(?<!\\))\n", re.MULTILINE)


def main() -> None:
    """Writes the page anew, and its picture."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            text = run_page(PAGE.read_text(encoding="utf-8"))
            with Image.open("heatmaps/04-heatmap.png") as figure:
                figure.thumbnail((900, 900))
                figure.convert("RGB").save(PICTURE, quality=85)
        finally:
            os.chdir(before)
    PAGE.write_text(text, encoding="utf-8")


def run_page(text: str) -> str:
    """The page with what its blocks print here, in the working directory."""
    names: dict = {"__name__": "__main__"}

    def run_block(block: re.Match) -> str:
        if block[1] == "python":
            exec(compile(block[2], PAGE.name, "exec"), names)
            return block[0]
        commands = _COMMAND.findall(block[2])
        return "```console\n" + "".join(f"$ {command}\n{run(command)}" for command in commands) + "```"

    return _BLOCK.sub(run_block, text)


def run(command: str) -> str:
    """What a command prints; progress is left out, a mistake's one line is not."""
    words = shlex.split(command.replace("\\\n", " "))
    if words[0] != "das-explain":
        return subprocess.run(
            words, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
        ).stdout
    out, err, arguments = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = words
    os.environ["COLUMNS"] = "100"
    try:
        with redirect_stdout(out), redirect_stderr(err):
            das_explain()
    except SystemExit:
        pass
    finally:
        sys.argv = arguments
    mistakes = [line for line in err.getvalue().splitlines() if line.startswith("das-explain:")]
    lines = [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]
    return "".join(f"{line}\n" for line in [*lines, *mistakes])


if __name__ == "__main__":
    main()
