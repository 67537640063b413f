"""A stranger's file, at every door: one clear line, at once, whatever it is."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from das_explain.errors import DasExplainError
from tests.hostile.openers import OPENERS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such files there")
SECONDS = 20  # on a busy machine; each takes milliseconds


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(20 << 30)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "endless noise": lambda path: path.symlink_to("/dev/urandom"),
    "no bytes at all": lambda path: path.symlink_to("/dev/null"),
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "20 GB of zeros": _sparse,
}
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "a line end": b"\n",
    "NUL": b"\0",
    "zeros": bytes(1000),
    "all bytes": bytes(range(256)) * 4,
    "no UTF-8": b"image,label\n\xff\xfe.png,x\n",
    "UTF-16": "image,label,mask\na.png,x,y\n".encode("utf-16"),
    "escape sequences": b"\x1b]0;owned\x07\x1b[31mred\x1b[0m\n\x1b[2J,b\n",
    "a quote that never ends": b'image,label\n"a.png,x\n' + b"x\n" * 50,
    "brackets within brackets": b"[" * 200_000,
    "braces within braces": b'{"a":' * 100_000,
    "XML within XML": b"<annotation>" * 50_000,
    "a laughing matter": b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>',
    "a name of a million letters": b"image,label\n" + b"a" * 1_000_000 + b".png,x\n",
    "a column of a million letters": b"b" * 1_000_000 + b"\n1\n",
    "a hundred thousand columns": b"c," * 100_000 + b"\n",
    "JSON: an empty list": b"[]",
    "JSON: an empty object": b"{}",
    "JSON: a number": b"3",
    "JSON: more than a float": b'{"format": 1, "num_classes": 1' + b"0" * 400 + b', "mean": [1e999]}',
    "JSON: NaN": b'{"format": NaN, "images": NaN, "annotations": NaN}',
    "JSON: lists of other things": b'{"images": [1, "a", null], "annotations": [[]], "categories": {"a": 1}}',
    "JSON: half of it": b'{"images": [{"id": 1, "file_name": "a.png"',
    "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
    "the head of a PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\x02\0\0\0",
    "the head of a JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "the head of a zip": b"PK\x03\x04" + bytes(30),
    "a pickle without an end": b"\x80\x02}q\0(X\x05\0\0\0model",
    "a pickle that pops nothing": b"\x80\x02000.",
    "a safetensors header of 2**60 bytes": (1 << 60).to_bytes(8, "little") + b"{}",
    "YAML: an anchor in itself": b"a: &a [*a]\nbase: *a\n",
    "YAML: a Python object": b"!!python/object/apply:os.system ['true']\n",
}


def opened(kind: str, path: Path) -> str | None:
    """The line with which a file is refused, ``None`` for one that is taken. Anything but that fails the test."""
    started = time.monotonic()
    try:
        OPENERS[kind][1](path)
    except DasExplainError as error:
        told = str(error)
        assert told.isprintable(), repr(told[:300])
        assert len(told) < 2000, "a line that people can read"
        return told
    finally:
        assert time.monotonic() - started < SECONDS
    return None


def place(kind: str, folder: Path) -> Path:
    ending = OPENERS[kind][0]
    return folder / (ending if not ending.startswith(".") else f"x{ending}")


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("what", NO_FILES)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str, what: str):
    path = place(kind, tmp_path)
    NO_FILES[what](path)
    told = opened(kind, path)
    assert told is not None
    assert path.name in told or str(tmp_path) in told, "it says which"


TAKEN = {  # contents that are what some door asks for
    ("labels", "a quote that never ends"),
    ("labels", "JSON: an empty list"), ("labels", "JSON: an empty object"), ("labels", "JSON: a number"),
    ("labels", "JSON: more than a float"), ("labels", "JSON: NaN"), ("labels", "JSON: lists of other things"),
    ("labels", "JSON: half of it"), ("labels", "a web page"), ("labels", "a Git LFS pointer"),
    ("labels", "brackets within brackets"), ("labels", "braces within braces"), ("labels", "XML within XML"),
    ("labels", "a laughing matter"), ("labels", "a name of a million letters"),
    ("labels", "a column of a million letters"), ("labels", "a hundred thousand columns"),
    ("labels", "YAML: an anchor in itself"), ("labels", "YAML: a Python object"), ("labels", "no UTF-8"),
    ("data CSV", "a name of a million letters"), ("table", "a name of a million letters"),
}  # fmt: skip


LONG = {what for what in CONTENTS if "million" in what or "hundred thousand" in what}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("what", [pytest.param(w, marks=[pytest.mark.stress] if w in LONG else []) for w in CONTENTS])
def test_a_file_of_other_bytes_is_refused_in_one_line(tmp_path: Path, kind: str, what: str):
    path = place(kind, tmp_path)
    path.write_bytes(CONTENTS[what])
    told = opened(kind, path)
    if (kind, what) not in TAKEN:
        assert told is not None, "it was taken for what it is not"
        named = any(name in told for name in ("x.", "recipe x", str(tmp_path)))
        assert named or kind == "recipe", "it says which; of a recipe it is the key"
