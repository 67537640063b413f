"""A small study from its file to its page: killed and gone on with, told again, refused, published; nothing done twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("lightning")

from das_explain.commands import app
from das_explain.devices import processor_name
from das_explain.errors import UsageError
from das_explain.evidence.tables import TABLES
from das_explain.folders import lock_folder
from das_explain.scoring.designs import OF_DESIGNS
from das_explain.study.publish import publish
from das_explain.study.run_units import Resources, run_units
from das_explain.study.schema import load_study
from das_explain.study.units import units_of
from tests.report.browser import needs_chromium, open_page, probe

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def study(small: Path, photos: Path, out: Path, *words: str):
    return CliRunner().invoke(app, ["study", str(small), "--set", f"photos={photos}", "--out", str(out), *words])


@pytest.fixture(scope="module")
def whole(small: Path, photos: Path, tmp_path_factory) -> Path:
    """A study that nobody stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = study(small, photos, out)
    assert done.exit_code == 0, done.output + str(done.exception)
    assert done.output.count("trained     ") == 4
    assert "page        " in done.output
    return out


def tables(out: Path) -> dict[str, bytes]:
    """Every table of a study and of its runs, but for the time that units took."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("**/*.csv"))}
    return {name: data for name, data in found.items() if not name.startswith("units") and name != "tables/units.csv"}


def times(out: Path, *patterns: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in sorted(out.glob(pattern))}


def test_a_unit_is_what_train_leaves_in_half_precision(whole: Path):
    assert sorted(path.name for path in (whole / "units").iterdir() if path.is_dir()) == [
        "das-0", "das-1", "none-0", "none-1",
    ]  # fmt: skip
    unit = whole / "units" / "das-1"
    assert not (unit / "last.ckpt").exists()
    training = json.loads((unit / "model" / "config.json").read_text())["training"]
    assert (training["seed"], training["recipe"]["loop"]["half"]) == (1, True)
    assert training["machine"].startswith(processor_name())
    assert training["command"].startswith("das-explain train ")
    assert "epoch 3/3" in (whole / "units" / "das-1.log").read_text()


def test_the_tables_hold_every_copy_and_design_on_every_set(whole: Path):
    copies = pd.read_csv(whole / "tables" / "copies.csv", keep_default_na=False)
    assert set(copies["data"]) == {"all", "few"}
    assert set(copies["model"]) == {"none#1", "none#2", "das#1", "das#2"}
    differences = pd.read_csv(whole / "tables" / "design_differences.csv", keep_default_na=False)
    assert set(zip(differences["group_a"], differences["group_b"])) == {("none", "das")}
    assert {"top1", "sfd", "pointing_game"} <= set(differences["measure"])
    units = pd.read_csv(whole / "tables" / "units.csv")
    assert units["unit"].tolist() == ["none-0", "none-1", "das-0", "das-1"]
    right = copies[(copies["measure"] == "top1") & (copies["data"] == "all")].set_index("model")["mean"].astype(float)
    assert right.tolist() == units["top1_test"].tolist()  # the same photos, by another way


def test_what_came_out_stands_in_summary_and_page_and_names_are_no_markup(whole: Path):
    summary, page = (whole / "summary.md").read_text(), (whole / "report" / "index.html").read_text()
    for text in ("das is right on", "sfd at layer2", "of 864 readings", "Copies to settle it", "Between copies"):
        assert text in summary
        assert text in page
    assert "<b>" not in page
    assert "&lt;b&gt;&amp; few&lt;/b&gt; steps" in page
    for name in ("copies-all", "accuracy-sfd-few", "lift-all", "readings-all-none-das"):
        for suffix in (".png", ".pdf"):
            assert (whole / "figures" / (name + suffix)).stat().st_size > 1000
    assert len(list((whole / "report" / "images").glob("set0-*.jpg"))) == 3 * (1 + 4 * 2)


def test_its_tables_come_from_the_evidence_byte_for_byte(whole: Path, tmp_path: Path):
    for name in ("all", "few"):
        copy = tmp_path / name
        words = ["score", str(whole / "runs" / name), "--out", str(copy), "--no-report"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        for table in set(TABLES) & {path.stem for path in copy.glob("*.csv")}:
            assert (copy / f"{table}.csv").read_bytes() == (whole / "runs" / name / f"{table}.csv").read_bytes()
        assert {f"{table}.csv" for table in OF_DESIGNS} <= {path.name for path in copy.glob("*.csv")}


def test_a_dry_run_prints_units_time_and_disk_and_makes_nothing(small: Path, photos: Path, tmp_path: Path):
    done = study(small, photos, tmp_path / "out", "--dry-run")
    assert done.exit_code == 0, done.output + str(done.exception)
    for text in ("train none", "train das", "score on few", "0 of 2", "time left", "disk"):
        assert text in done.output
    assert not (tmp_path / "out").exists()
    refused = study(small, photos, tmp_path / "out", "--dry-run", "--keep", "some")
    assert "--keep 'some' is unknown; choose among none, last, all" in str(refused.exception)


def test_a_finished_study_is_told_again_also_without_weights_and_published_without_paths(
    small: Path, photos: Path, whole: Path, tmp_path: Path
):
    out, folder = tmp_path / "out", tmp_path / "docs"
    shutil.copytree(whole, out)
    before = times(out, "units/*/model/*", "runs/*/*.csv", "runs/*/evidence/*")
    done = study(small, photos, out, "--keep", "none", "--publish", str(folder))
    assert done.exit_code == 0, done.output + str(done.exception)
    assert "trained" not in done.output
    assert not list(out.glob("units/*/model/*.safetensors"))
    assert {path: time for path, time in before.items() if path.exists()} == times(
        out, *("units/*/model/*", "runs/*/*.csv", "runs/*/evidence/*")
    )
    assert tables(out) == tables(whole)
    published = sorted(str(path.relative_to(folder)) for path in folder.glob("**/*") if path.is_file())
    assert {"README.md", "cards/das-1.md", "tables/copies.csv", "figures/copies-all.pdf"} <= set(published)
    assert not [name for name in published if name.endswith((".jpg", ".safetensors", ".ckpt", ".parquet"))]
    for name in published:
        if name.endswith((".md", ".csv")):
            assert str(tmp_path.parent) not in (folder / name).read_text().replace(str(small.parent), "")
            assert str(photos) not in (folder / name).read_text()
    assert "${photos}/photos.csv" in (folder / "README.md").read_text()
    loaded, given = load_study(small, [f"photos={photos}"])
    with pytest.raises(UsageError, match="holds something else"):
        publish(out, units_of(loaded, out), [], photos, given)
    publish(
        out, units_of(loaded, out), [out / "figures/lift-all.png"], folder, {"photos": "photos"}
    )  # a word, and no path: it stays a word
    assert "of 8 photos" in (folder / "README.md").read_text()
    foreign = study(small, photos, photos)
    assert "holds something else" in str(foreign.exception)
    other = study(small, photos, out, "--set", "schedule.epochs=4")
    assert other.exit_code != 0
    assert "holds another run (schedule.epochs is 3 there, 4 now)" in str(other.exception)
    changed = small.with_name("changed.yaml")
    changed.write_text(small.read_text().replace("- layer1\n", ""))
    refused = study(changed, photos, out)
    assert "the weights of none-0, das-0, none-1, das-1 were not kept" in str(refused.exception)


def test_what_a_killed_process_left_half_written_goes_and_a_second_process_waits_for_nobody(
    small: Path, photos: Path, whole: Path, tmp_path: Path
):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for name in ("", "tables/", "figures/"):
        (out / f"{name}.das-explain-99999999-x.csv").write_text("half")
    assert study(small, photos, out).exit_code == 0
    assert not list(out.glob("**/.das-explain-*"))
    with lock_folder(out) as held:
        refused = study(small, photos, out)
    assert "another process is writing to" in str(refused.exception)
    with lock_folder(out):
        assert held is not None  # the block's end has released it, not that nobody knows of it any more
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / ".das-explain-99999999-study.json").write_text("{")  # killed before it said what the folder is
    done = study(small, photos, fresh, "--dry-run")
    assert done.exit_code == 0, done.output + str(done.exception)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_killed_at_five_moments_it_ends_as_if_nothing_was(
    small: Path, photos: Path, whole: Path, tmp_path: Path, engine: str
):
    if engine == "ray":
        pytest.importorskip("ray")
    out = tmp_path / "out"
    moments = (
        "units/none-0/last.ckpt",
        "units/das-0/model/model.safetensors",
        "units/none-1/run.json",
        "runs/all/evidence/part-00000.parquet",
        "tables/copies.csv",
    )
    words = ["study", str(small), "--set", f"photos={photos}", "--out", str(out), "--engine", engine]
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), *(str(out / moment) for moment in moments)]
    done = subprocess.run([*command, "--", *words], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed at") == 5
    # Tasks of Ray go on while the command is killed: a unit may be finished when nobody is there to be told.
    assert done.stdout.count("trained     none-0") in ((1,) if engine == "local" else (0, 1))
    if engine == "local":
        assert tables(out) == tables(whole)
    else:  # an actor explains with another number of threads
        assert tables(out).keys() == tables(whole).keys()
        assert_same_but_for_threads(out, whole)
    for path in sorted(whole.glob("units/*/model/*.safetensors")):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no list of processes here")
@pytest.mark.parametrize(
    ("jobs", "number", "status"), [("1", signal.SIGTERM, 143), ("2", signal.SIGTERM, 143), ("2", signal.SIGINT, 130)]
)
def test_stopped_it_waits_for_no_unit_and_leaves_no_process(
    small: Path, photos: Path, tmp_path: Path, jobs, number, status
):
    out = tmp_path / "out"
    words = ["study", str(small), "--set", f"photos={photos}", "--set", "schedule.epochs=1000000", "--out", str(out)]
    command = [sys.executable, "-m", "das_explain", *words, "--jobs", jobs]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not (out / "units/none-0/last.ckpt").is_file():
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(number)
            told = process.communicate(timeout=300)[1]  # of a unit that would train for days
        finally:
            process.kill()
    assert process.returncode == status, told
    assert "the same command goes on" in told
    assert not (out / "units/none-1").exists()
    deadline = time.monotonic() + 60
    while any(Path("/proc", child).exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_units_side_by_side_are_those_one_after_the_other(small: Path, photos: Path, whole: Path, tmp_path: Path):
    loaded, _ = load_study(small, [f"photos={photos}"], copies=1)
    told = []
    units = units_of(loaded, tmp_path)
    run_units(units, Resources(jobs=2), "last", lambda unit, seconds: told.append(unit.name))
    assert sorted(told) == ["das-0", "none-0"]
    for unit in units:
        theirs = whole / "units" / unit.name / "model" / "model.safetensors"
        assert (unit.model / "model.safetensors").read_bytes() == theirs.read_bytes()


def test_units_as_tasks_of_ray_make_the_same_tables(small: Path, photos: Path, whole: Path, tmp_path: Path):
    pytest.importorskip("ray")
    out = tmp_path / "out"
    words = ["study", str(small), "--set", f"photos={photos}", "--out", str(out), "--engine", "ray", "--unit-cpus", "1"]
    script = f"""
import ray, sys
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
sys.argv = ["das-explain", *{words!r}]
from das_explain.commands import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained     ") == 4
    assert_same_but_for_threads(out, whole)


def assert_same_but_for_threads(out: Path, whole: Path) -> None:
    """Means to 1e-5; ends of intervals over two copies are t of one degree of freedom, 12.7, times what these differ by."""
    for name in ("copies", "design_differences"):
        mine, theirs = (pd.read_csv(each / "tables" / f"{name}.csv") for each in (out, whole))
        ends = [column for column in mine.columns if "ci_" in column]
        for columns, tolerance in ((mine.columns.difference(ends), 1e-5), (ends, 2e-4)):
            pd.testing.assert_frame_equal(mine[columns], theirs[columns], check_exact=False, rtol=0, atol=tolerance)


@needs_chromium
def test_the_page_opens_from_disk_in_silence_and_fits_a_phone(whole: Path, tmp_path: Path):
    shutil.copytree(whole / "report", tmp_path / "report")
    probe(
        tmp_path / "report",
        "const over = all('main *, header *').filter((node) => !node.closest('svg, .scroll, .hidden')"
        " && node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.className || node.tagName);"
        "for (const image of all('img')) image.loading = 'eager'; await wait(300);"
        "return { scroll: document.documentElement.scrollWidth, over: [...new Set(over)],"
        " bold: all('main b').length, tables: all('main table').length, copies: all('.copies').length,"
        " alts: all('img').every((image) => image.alt), blank: all('img').filter((i) => !i.naturalWidth).length };",
    )
    (tmp_path / "phone.html").write_text(
        '<iframe src="report/index.html" style="border:0;width:375px;height:3000px"></iframe><script>'
        "addEventListener('message', ({ data }) => { const p = document.createElement('pre'); p.id = 'probe';"
        " p.textContent = JSON.stringify(data); document.body.append(p); });</script>"
    )
    page = open_page(f"file://{tmp_path}/phone.html", tmp_path / "profile", "--window-size=600,3100")
    assert page.console == []
    seen = page.result()
    assert seen.pop("tables") == seen.pop("copies") == 9
    assert seen == {"scroll": 375, "over": [], "bold": 0, "alts": True, "blank": 0}
