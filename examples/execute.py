"""Runs the notebooks' cells in order and keeps what they show: ``python examples/execute.py [NOTEBOOK ...]``.

It needs no Jupyter. Of a cell are kept what it printed, and its last value: a picture as JPEG, a table as HTML, anything
else as text.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parent


def main(files: list[str]) -> None:
    """Runs each notebook in an empty folder and writes its outputs into it."""
    for file in [Path(each).resolve() for each in files] or sorted(HERE.glob("*.ipynb")):
        notebook = json.loads(file.read_text(encoding="utf-8"))
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                execute(notebook)
            finally:
                os.chdir(before)
        file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def execute(notebook: dict[str, Any]) -> None:
    """Replaces the outputs of a notebook (nbformat 4) by those that its cells give now."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(cells, 1):
        printed, value = run_cell("".join(cell["source"]), names)
        cell["execution_count"], cell["outputs"] = count, []
        if printed:
            cell["outputs"].append({"name": "stdout", "output_type": "stream", "text": printed.splitlines(True)})
        if value is not None:
            shown = {"data": shown_as(value), "execution_count": count, "metadata": {}, "output_type": "execute_result"}
            cell["outputs"].append(shown)


def run_cell(source: str, names: dict[str, Any]) -> tuple[str, Any]:
    """What a cell printed, and the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out, value = io.StringIO(), None
    with redirect_stdout(out):
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    return out.getvalue(), value


def shown_as(value: Any) -> dict[str, Any]:
    """A value by MIME type, as notebooks store it."""
    shown: dict[str, Any] = {"text/plain": repr(value).splitlines(True)}
    if isinstance(value, Image.Image):
        shown["text/plain"] = ["<a picture>"]
    if hasattr(value, "_repr_png_"):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(value._repr_png_())).convert("RGB").save(buffer, "JPEG", quality=85)
        shown["image/jpeg"] = base64.b64encode(buffer.getvalue()).decode()
    elif hasattr(value, "_repr_html_"):
        shown["text/html"] = value._repr_html_().splitlines(True)
    return shown


if __name__ == "__main__":
    main(sys.argv[1:])
