"""Files that are whole or not there, digests, digits, versions; devices by name; first lines of errors."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from das_explain.devices import find_device, one_thread
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.files import package_versions, replace_file, sha256_of, six_digits, write_text_whole


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fails(part: Path) -> None:
        part.write_text("half")
        assert path.read_text() == "old"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, fails)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    replace_file(path, lambda part: part.write_text("new"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_keeps_the_suffix_and_fits(tmp_path: Path) -> None:
    seen: list[Path] = []
    path = tmp_path / ("a" * 240 + ".png")
    replace_file(path, lambda part: (seen.append(part), part.write_bytes(b"x")))
    assert seen[0].suffix == ".png"
    assert seen[0].parent == tmp_path
    assert path.read_bytes() == b"x"


def test_texts_are_utf8_and_keep_line_ends_and_foreign_bytes(tmp_path: Path) -> None:
    write_text_whole(tmp_path / "t", "é\r\n\udcff")
    assert (tmp_path / "t").read_bytes() == b"\xc3\xa9\r\n\xff"


def test_six_digits() -> None:
    assert six_digits(1 / 3) == 0.333333
    assert six_digits(123456789.0) == 123457000.0
    assert six_digits(float(torch.tensor(0.1))) == 0.1
    assert [six_digits(value) for value in (math.nan, math.inf, -math.inf)] == [None, None, None]


def test_digest_of_a_file(tmp_path: Path) -> None:
    content = b"das" * 500_000
    (tmp_path / "f").write_bytes(content)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_versions_name_what_results_depend_on() -> None:
    versions = package_versions()
    assert versions["torch"] == torch.__version__.split("+")[0]
    assert {"python", "platform", "numpy", "grad-cam"} <= versions.keys()


def test_devices_by_name() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device(torch.device("cuda:1")).index == 1
    assert find_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    "device", ["quantum", "", "cuda:-1", "cuda:99999999999", "meta", "hpu:0", "xla", "vulkan", "fpga"]
)
def test_a_device_that_is_none_or_computes_nothing_is_one_line(device: str) -> None:
    with pytest.raises(UsageError, match=f"unknown device '{device}'; write cpu, cuda, cuda:1 or mps"):
        find_device(device)


def test_one_thread_is_for_the_block_alone() -> None:
    before = torch.get_num_threads(), threads_of_blas()
    assert before[1], "NumPy has a BLAS"
    with one_thread():
        assert torch.get_num_threads() == 1
        assert set(threads_of_blas().values()) == {1}
    assert (torch.get_num_threads(), threads_of_blas()) == before


def threads_of_blas() -> dict[str, int]:
    return {each["filepath"]: each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert first_line(DasExplainError("one")) == "one"
    assert first_line(KeyError()) == "KeyError"
