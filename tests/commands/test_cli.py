"""The command line as a user runs it: in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from das_explain import commands
from das_explain.commands.help import Command, Group
from tests.explain.test_pipeline import LABELS, write_photos
from tests.models import model_directory

ROOT = Path(__file__).parents[2]


def das_explain(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    usual = {"COLUMNS": "120", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::UserWarning"}
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **usual, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "photos").mkdir()
    return {
        "folder": folder,
        "csv": write_photos(folder / "photos", 6),
        "plain": model_directory(folder / "plain", LABELS),
        "das": model_directory(folder / "das", LABELS, attention="das", seed=1),
    }


def test_sfd_then_report(setting: dict, tmp_path: Path):
    done = das_explain(
        "sfd",
        setting["csv"],
        "--model",
        f"a={setting['plain']}",
        "--model",
        f"b={setting['das']}",
        "--out",
        tmp_path / "run",
        "--workers",
        0,
        "--blocks",
        "layer3,layer4",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "layer4" in done.stdout
    assert "b - a" in done.stdout
    assert "unreadable" in done.stdout
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    assert len(scores) == 11 * 2 * 2
    index = tmp_path / "run" / "report" / "index.html"
    assert index.exists()
    for figure in ("distribution", "nulls", "paired", "readings"):
        assert (tmp_path / "run" / "figures" / f"{figure}-a-b.png").exists()
    shutil.rmtree(index.parent)
    again = das_explain("report", tmp_path / "run")
    assert again.returncode == 0, again.stderr
    assert index.exists()
    words = ("--kind", "grid,strata", "--images", "2", "--width", "3.5", "--format", "svg,pdf")
    drawn = das_explain("figure", tmp_path / "run", *words, "--colormap", "viridis", "--out", tmp_path / "paper")
    assert drawn.returncode == 0, drawn.stderr
    assert "say so in the caption" in drawn.stdout
    assert {path.name for path in (tmp_path / "paper").iterdir() if path.name != ".das-explain.json"} == {
        f"{kind}-a-b.{suffix}" for kind in ("grid", "strata") for suffix in ("svg", "pdf")
    }
    refused = das_explain("figure", tmp_path / "run", "--kind", "pie")
    assert refused.returncode == 2
    assert refused.stderr.startswith("das-explain: --kind 'pie' is unknown; choose among grid, paired")


def test_a_baseline_that_is_no_model_is_told_before_anything_is_explained(setting: dict, tmp_path: Path):
    from typer.testing import CliRunner

    from das_explain.commands import app
    from das_explain.errors import UsageError

    words = ["sfd", str(setting["csv"]), "-m", f"a={setting['plain']}", "-m", f"a={setting['das']}", "--workers", "0"]
    done = CliRunner().invoke(app, [*words, "--baseline", "plain", "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == "--baseline plain: no model is called so; the run's models are a#1, a#2"
    assert not (tmp_path / "run").exists()


def test_sfd_again_does_nothing_again(setting: dict, tmp_path: Path):
    arguments = ("sfd", setting["csv"], "--model", setting["plain"], "--out", tmp_path / "run", "--no-report")
    assert das_explain(*arguments).returncode == 0
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "evidence").iterdir()}
    assert shards
    assert das_explain(*arguments).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "evidence").iterdir()} == shards


def test_score_reads_a_finished_run_again(setting: dict, tmp_path: Path):
    words = ("--model", f"a={setting['plain']}", "--no-report", "--workers", 0)
    for out, threshold in (("run", 0.3), ("half", 0.5)):
        done = das_explain("sfd", setting["csv"], *words, "--out", tmp_path / out, "--threshold", threshold)
        assert done.returncode == 0, done.stderr
    before = (tmp_path / "run" / "scores.csv").read_bytes()
    done = das_explain("score", tmp_path / "run", "--threshold", 0.5, "--out", tmp_path / "again", "--no-report")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "scores.csv").read_bytes() == (tmp_path / "half" / "scores.csv").read_bytes() != before
    assert (tmp_path / "run" / "scores.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("backend", "command"),
    [
        ("module://matplotlib_inline.backend_inline", ("sfd", "--out", "made", "--sample", "4")),
        ("TkAgg", ("heatmap", "--out", "made", "--sample", "1")),
        ("no such backend", ("gate", "--out", "made", "--sample", "1", "--precision", "bf16")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_notebooks_backend_and_a_missing_display_do_not_matter(
    setting: dict, tmp_path: Path, backend: str, command: tuple[str, ...]
):
    words = (command[0], setting["csv"], *command[1:], "--model", f"a={setting['das']}", "--workers", 0)
    done = das_explain(*words, cwd=tmp_path, MPLBACKEND=backend, DISPLAY="")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "made").rglob("*.pdf"))) >= 1


def test_names_of_classes_for_a_checkpoint_and_a_map_of_labels(setting: dict, tmp_path: Path):
    (tmp_path / "names.txt").write_text("dot\ntile\nline")
    words = ("evaluate", setting["csv"], "--workers", 0, "--model", f"a={setting['plain']}")
    words += ("--model", f"b={setting['das']}", "--out", tmp_path / "out")
    done = das_explain(*words, "--labels", f"b={tmp_path / 'names.txt'}")
    assert done.returncode == 0, done.stderr
    told = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert set(told[told["model"] == "b"]["predicted"].dropna()) <= {"dot", "tile", "line"}
    assert not set(told[told["model"] == "a"]["predicted"].dropna()) & {"tile", "line"}
    done = das_explain(*words, "--labels", "c=names.txt")
    assert done.returncode == 2
    assert done.stderr == "das-explain: --labels c=names.txt: no model is called 'c'; there are a, b\n"


def test_batch_has_another_name_in_evaluate_that_help_does_not_tell(setting: dict, tmp_path: Path):
    words = ("evaluate", setting["plain"], setting["csv"], "--workers", 0, "--out")
    for flag in ("--batch", "--batch-size"):
        done = das_explain(*words, tmp_path / flag, flag, 2)
        assert done.returncode == 0, done.stderr
    predictions = [(tmp_path / flag / "predictions.csv").read_bytes() for flag in ("--batch", "--batch-size")]
    assert predictions[0] == predictions[1]
    assert "--batch-size" not in das_explain("evaluate", "--help").stdout


def test_sfd_with_rectangles(setting: dict, tmp_path: Path):
    pd.DataFrame(
        [[str(setting["csv"].parent / "00.png"), "dot", 6, 4, 18, 18]],
        columns=["image", "label", "x0", "y0", "x1", "y1"],
    ).to_csv(tmp_path / "boxes.csv", index=False)
    done = das_explain(
        "sfd",
        tmp_path / "boxes.csv",
        "--model",
        f"a={setting['plain']}",
        "--out",
        tmp_path / "run",
        "--box-masks",
        "--no-report",
    )
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    # 12 x 14 of 52 x 40, seen through the centre crop of 40 x 40
    assert scores["r_area"].iloc[0] == pytest.approx(12 * 14 / (40 * 40), rel=0.15)


def test_heatmap_of_single_photos(setting: dict, tmp_path: Path):
    photos = [setting["csv"].parent / name for name in ("00.png", "broken.png", "01.png")]
    done = das_explain(
        "heatmap",
        *photos,
        "--model",
        f"a={setting['plain']}",
        "--model",
        f"b={setting['das']}",
        "--out",
        tmp_path / "maps",
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "maps" / "heatmaps.csv")
    assert len(table) == 3 * 2 * 2
    assert set(table["status"]) == {"no_mask", "unreadable"}
    figures = sorted(path.name for path in (tmp_path / "maps").glob("*.png"))
    assert len(figures) == 2
    assert min(Image.open(tmp_path / "maps" / figures[0]).size) > 200
    with np.load(tmp_path / "maps" / figures[0].replace(".png", ".npz")) as maps:
        assert maps["a/layer3"].shape == (8, 8)
        assert maps["b/layer4"].dtype == np.float32
        assert 0 <= maps["b/layer4"].min() <= maps["b/layer4"].max() <= 1
        assert maps["frame"].shape == (32, 32, 3)
        assert maps["a/layer3/cam_max"].shape == ()


def test_heatmap_of_a_csv_has_scores(setting: dict, tmp_path: Path):
    done = das_explain(
        "heatmap",
        setting["csv"],
        "--model",
        f"a={setting['plain']}",
        "--out",
        tmp_path / "maps",
        "--method",
        "layercam",
        "--blocks",
        "layer2",
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "maps" / "heatmaps.csv")
    assert set(table["block"]) == {"layer2"}
    assert table.loc[table["status"] == "ok", "sfd"].between(0, 1).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("sfd", "nowhere", "--model", "PLAIN", "--out", "OUT"), 2, "no such data: nowhere"),
        (("sfd", "CSV", "--model", "a=missing-model", "--out", "OUT"), None, "missing-model"),
        (("sfd", "CSV", "--model", "PLAIN", "--out", "OUT", "--scaling", "log"), 2, "--scaling 'log'"),
        (("sfd", "CSV", "--model", "PLAIN", "--out", "OUT", "--blocks", "layer8"), 2, "no block 'layer8'"),
        (("sfd", "CSV", "--model", "PLAIN", "--out", "CSV"), 2, "is a file; name a folder"),
        (("gate", "CSV", "--model", "PLAIN", "--out", "CSV"), 2, "is a file; name a folder"),
        (("report", "nowhere"), 2, "is no folder; name the --out of an sfd run"),
        (("heatmap", "CSV", "--model", "PLAIN", "--out", "OUT", "--method", "magic"), 2, "--method 'magic'"),
        (("sfd", "FLAT", "--model", "PLAIN", "--out", "OUT"), 2, "mask"),
        (("demo", "--models", "nowhere", "--out", "OUT"), None, "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(setting: dict, tmp_path: Path, arguments, code, message):
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "flat" / "x.png")
    places = {
        "CSV": setting["csv"],
        "PLAIN": f"a={setting['plain']}",
        "OUT": tmp_path / "out",
        "FLAT": tmp_path / "flat",
    }
    done = das_explain(*(places.get(argument, argument) for argument in arguments), cwd=tmp_path)
    assert done.returncode == code or (code is None and done.returncode in (1, 2))
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    def full() -> None:
        raise OSError(28, "No space left on device", "runs/scores.csv")

    monkeypatch.setattr(commands, "app", full)
    with pytest.raises(SystemExit) as stopped:
        commands.run_command()
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "das-explain: runs/scores.csv: No space left on device\n"


KEPT = "; what is done is kept: the same command goes on from there"
STOPPED = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(("number", "status"), STOPPED)
@pytest.mark.parametrize(
    ("command", "told"),
    [
        *((name, KEPT) for name in ("sfd", "segment", "train", "evaluate")),
        ("heatmap", "; the figures and tables so far are in --out: the same command makes all of them anew"),
        ("score", "; tables and report are as they were: the same command makes them anew"),
        ("models", ""),
    ],
)
def test_ctrl_c_and_sigterm_are_one_line(monkeypatch, capsys, command: str, told: str, number, status):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stopping = typer.Typer(cls=Group)

    @stopping.command(command, cls=Command)
    def stop() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except Exception:
            pytest.fail("who catches every error does not catch a signal")
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # of an impatient user: cleaning up is not cut off
            time.sleep(0.01)

    @stopping.command("other", cls=Command)
    def other() -> None: ...

    monkeypatch.setattr(commands, "app", stopping)
    monkeypatch.setattr(sys, "argv", ["das-explain", command])
    with pytest.raises(SystemExit) as stopped:
        commands.run_command()
    assert stopped.value.code == status
    assert capsys.readouterr().err == f"das-explain: stopped{told}\n"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_exit_statuses_are_one_table_in_help_and_documentation():
    page = (Path(__file__).parents[2] / "docs" / "run-files.md").read_text(encoding="utf-8")
    told = " ".join(CliRunner().invoke(commands.app, ["--help"]).output.split())
    assert list(commands.EXIT_STATUSES) == [0, 1, 2, 130, 143]
    for status, meaning in commands.EXIT_STATUSES.items():
        assert f"| {status} | {meaning} |" in page
        assert f"{status} {meaning}" in told


def test_a_command_ends_without_taking_apart_what_ends_with_it():
    script = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 1000)); "
        "from das_explain.commands import main; main()"
    )
    for words, status in ((["--version"], 0), (["sfd"], 2)):
        ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
        assert ended.returncode == status and ended.stdout.endswith("True\n")
