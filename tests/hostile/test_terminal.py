"""What reaches a terminal is text, whatever the names in checkpoints, photos and classes would have it do."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from das_explain import commands
from das_explain.commands.say import say
from das_explain.commands.tables import print_table
from das_explain.data.images import ImageError, decode_image
from das_explain.errors import LONGEST, DasExplainError, UsageError
from das_explain.nn import create_model
from das_explain.text import spelled

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b[31m\x1b]0;owned\x07"
NAMES = [ESCAPE, "\x9b31m", "a\rb", "a\nb", "\x08\x08", "\u2028", "\udcff", "\x7f", "\0"]


def main(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["das-explain", *words])
    try:
        commands.run_command()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_no_line_and_no_table_obeys_a_name(name: str, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    say(f"note        {name}")
    print_table(("model", name), [(name, "1")], title=name)
    told = capsys.readouterr().out
    assert not [sign for sign in told if sign != "\n" and spelled(sign, backslash=False) != sign], ascii(told)
    assert told.splitlines()[0] == f"note        {spelled(name, backslash=False)}"


@pytest.mark.parametrize("kind", [DasExplainError, UsageError, ImageError])
@pytest.mark.parametrize("name", [*NAMES, "x" * 1_000_000], ids=lambda name: ascii(name[:9]))
def test_an_error_is_one_line_of_text_whatever_names_are_in_it(kind: type[DasExplainError], name: str):
    told = str(kind(f"{name} is no file"))
    assert told.isprintable() and told.endswith(" is no file") and len(told) <= LONGEST


def test_a_path_that_no_file_can_have_is_one_short_line(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert main(monkeypatch, "report", "x" * 1_000_000) == 2
    told = capsys.readouterr().err
    assert told.startswith("das-explain: ") and told.endswith(": File name too long\n") and len(told) < 2000


def test_names_in_a_checkpoint_and_in_training_s_words_are_spelt_out(monkeypatch, capsys, tmp_path: Path):
    pytest.importorskip("lightning")
    from das_explain.train.task import tell

    state = create_model("resnet18", num_classes=2).state_dict()
    torch.save({f"{ESCAPE}.{key}": tensor for key, tensor in state.items()}, tmp_path / "w.pth")
    assert main(monkeypatch, "models", "show", f"{tmp_path / 'w.pth'}@resnet18?size=32") == 0
    said = io.StringIO()
    tell(Console(file=said, force_terminal=True, width=80), f"warning: {ESCAPE} [/] [red]")
    for told in (capsys.readouterr().out, said.getvalue()):
        assert "\\x1b[31m\\x1b]0;owned\\x07" in told and "\x1b" not in told
    assert "[/] [red]" in said.getvalue(), "names are no markup"


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="no such file names there")
def test_a_terminal_of_ascii_and_an_out_of_no_utf8_do_no_harm(tmp_path: Path):
    Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save(tmp_path / f"caf\u00e9{ESCAPE.replace('/', '')}.png")
    (tmp_path / "bro\udcffken.png").write_bytes(b"no photo")
    torch.save(create_model("resnet18", num_classes=2).state_dict(), tmp_path / "w.pth")
    out = os.fsencode(tmp_path) + b"/m\xffps"
    words = [
        "heatmap",
        str(tmp_path),
        "-m",
        f"caf\u00e9={tmp_path / 'w.pth'}@resnet18?size=32",
        "--workers",
        "0",
        "--out",
    ]
    usual = {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *words, out],
        env={**os.environ, **usual},
        capture_output=True,
        timeout=900,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert told.isascii() and b"\x1b" not in told and b"Traceback" not in told
    assert b"caf\\xe9" in told and b"m\\udcffps" in told and b"unreadable" in told
    assert len([name for name in os.listdir(out) if name.endswith(b".pdf")]) == 1


def test_what_libtiff_complains_of_does_not_reach_the_terminal(tmp_path: Path, capfd):
    rng, refused = np.random.default_rng(0), 0
    for kind in ("tiff_lzw", "tiff_adobe_deflate"):
        stored = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(stored, "TIFF", compression=kind)
        for _ in range(10):
            content = bytearray(stored.getvalue())
            for place in rng.integers(8, len(content), 4):
                content[place] ^= 0xFF
            (tmp_path / "x.tif").write_bytes(content)
            with suppress(ImageError):
                decode_image(tmp_path / "x.tif")
                continue
            refused += 1
    assert refused > 3
    assert capfd.readouterr().err == ""
