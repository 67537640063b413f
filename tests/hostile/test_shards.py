"""A shard of a stranger's run: whatever it holds, scoring ends with tables or with one line, and soon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.errors import DasExplainError
from das_explain.evidence.codec import SCHEMA
from das_explain.evidence.run import Run
from das_explain.figures.kinds import draw
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.evidence.test_run import copy_of
from tests.report.synthetic_run import Item, make_run

OPTIONS = ScoreOptions(measures=("sfd",), nulls=("shuffled",), readings=False)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run of three images, one of them unreadable, and one model."""
    items = [Item("a.png"), Item("b.png", "dog"), Item("c.png", status="unreadable")]
    folder = tmp_path_factory.mktemp("made") / "run"
    return make_run(folder, items, models=("plain",), blocks=("layer4",), options=OPTIONS)


def columns(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def rows(change: Callable[[Rows], object]) -> Callable[[Path], object]:
    """Of the same schema, with other values: ``change`` is given the rows to alter."""

    def write(path: Path) -> None:
        content = pq.read_table(path).to_pylist()
        change(content)
        pq.write_table(pa.Table.from_pylist(content, schema=SCHEMA), path)

    return write


def within(column: str, **values: Any) -> Callable[[Path], object]:
    """Fields of the first image's first entry of a list."""
    return rows(lambda content: content[0][column][0].update(values))


def every(column: str, **values: Any) -> Callable[[Path], object]:
    """As ``within``, of all images that were shown."""
    return rows(lambda content: [each.update(values) for row in content for each in row[column]])


FILES: dict[str, Callable[[Path], object]] = {
    "no bytes": lambda path: path.write_bytes(b""),
    "a text": lambda path: path.write_text("image,label\n"),
    "only a magic number": lambda path: path.write_bytes(b"PAR1PAR1"),
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "without its end": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "its end alone": lambda path: path.write_bytes(path.read_bytes()[-2000:]),
    "zeros in its midst": lambda path: path.write_bytes(path.read_bytes()[:300] + bytes(400) + path.read_bytes()[700:]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "endless zeros": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "a link that leads nowhere": lambda path: (path.unlink(), path.symlink_to(path.with_name("nowhere"))),
}
COLUMNS: dict[str, Callable[[Path], object]] = {
    **{f"no {name}": columns(lambda table, name=name: table.drop_columns([name])) for name in ("image", "maps", "logits", "masks", "region", "status")},
    **{f"{name} twice": columns(lambda table, name=name: table.append_column(name, table[name])) for name in ("image", "maps", "label")},
    "no column": columns(lambda table: table.select([])),
    "no row": columns(lambda table: table.slice(0, 0)),
    "a row less": columns(lambda table: table.slice(0, 2)),
    "every row twice": columns(lambda table: pa.concat_tables([table, table])),
    "rows in another order": columns(lambda table: table.take([1, 0, 2])),
    **{
        f"{name} is numbers": columns(lambda table, name=name: table.set_column(table.column_names.index(name), name, pa.array([1, 2, 3])))
        for name in ("image", "status", "region", "maps", "logits", "masks", "message")
    },
    **{
        f"{name} is words": columns(lambda table, name=name: table.set_column(table.column_names.index(name), name, pa.array(["a", "b", "c"])))
        for name in ("index", "width", "maps", "logits")
    },
    **{
        f"{name} is nothing": columns(lambda table, name=name: table.set_column(table.column_names.index(name), name, pa.nulls(3, SCHEMA.field(name).type)))
        for name in ("image", "status", "region", "maps", "logits", "masks", "index", "width")
    },
}  # fmt: skip
VALUES: dict[str, Callable[[Path], object]] = {
    "a region that is no JSON": rows(lambda content: content[0].update(region="{")),
    "a region that is a list": rows(lambda content: content[0].update(region="[1]")),
    "a region of brackets": rows(lambda content: content[0].update(region="[" * 100_000)),
    "another image": rows(lambda content: content[0].update(image="other.png")),
    "an image of escape sequences": rows(lambda content: content[0].update(image="\x1b[31m")),
    "a status that there is not": rows(lambda content: content[0].update(status="\x1b[2J")),
    "a mask of no pixels": within("masks", height=0),
    "a mask of a negative side": within("masks", width=-5),
    "a mask of 2**31 - 1 pixels a side": within("masks", height=2**31 - 1, width=2**31 - 1),
    "a mask of more pixels than bits": within("masks", height=4096, width=4096),
    "a mask without bits": within("masks", bits=None),
    "a mask of no known side": within("masks", height=None),
    "a mask of another geometry": within("masks", geometry="x"),
    "masks of gigantic sides": every("masks", height=2**31 - 1, width=2**31 - 1),
    "a map without a side": within("maps", height=None),
    "a map of a negative side": every("maps", height=-7),
    "maps of gigantic sides": every("maps", height=2**31 - 1, width=2**31 - 1),
    "a map of another size": within("maps", height=1, width=1),
    "maps of no values": every("maps", native=[]),
    "a map without values": within("maps", native=None),
    "a map of nothing": within("maps", native=[None] * 49),
    "a map without a model": within("maps", model=None),
    "a map of an unknown model": every("maps", model="\x1b[31m"),
    "a map of an unknown block": every("maps", block="nowhere"),
    "no maximum": within("maps", raw_max=None),
    "no maps": rows(lambda content: [row.update(maps=[]) for row in content]),
    "maps of one image only": rows(lambda content: content[1].update(maps=[])),
    "no target": within("logits", target=None),
    "a target that no class has": every("logits", target=10**9),
    "a negative target": every("logits", target=-1),
    "no logits": every("logits", values=[], classes=[]),
    "fewer logits than classes": within("logits", values=[0.5]),
    "classes that no model has": every("logits", classes=[10**9, 10**9 + 1]),
    "logits of an unknown model": every("logits", model="nobody"),
    "logits of one image only": rows(lambda content: content[1].update(logits=[])),
    "logits of what could not be read": rows(lambda content: content[2].update(logits=content[0]["logits"])),
}


@pytest.mark.parametrize("what", [*FILES, *COLUMNS, *VALUES])
def test_a_shard_that_is_not_of_the_run_is_refused_in_one_line(made: Path, tmp_path: Path, what: str):
    run = copy_of(made, tmp_path / "run")
    shard = run.shards.path(0)
    {**FILES, **COLUMNS, **VALUES}[what](shard)
    with pytest.raises(DasExplainError) as refused:
        score_run(run, OPTIONS)
    told = str(refused.value)
    assert told.isprintable()
    assert (str(shard) in told) == (what != "a link that leads nowhere"), told


MODELS: list[tuple[str, Any]] = [
    ("name", 3), ("blocks", 3), ("blocks", [1]), ("preprocess", []), ("labels", 7), ("labels", [1, 2]), ("logit", [1]),
    ("logit", {"cat": "one"}), ("preprocess", {"size": []}), ("preprocess", {"size": [10**9, 10**9]}),
    ("preprocess", {"size": "large"}),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "value"), MODELS)
def test_a_model_of_the_manifest_that_is_of_another_type_is_refused_in_one_line(made, tmp_path, entry: str, value: Any):
    run = copy_of(made, tmp_path / "run")
    run.manifest["models"][0][entry] = value
    (run.folder / "run.json").write_text(json.dumps(run.manifest))
    with pytest.raises(DasExplainError, match="run.json") as refused:
        score_run(Run.open(run.folder), OPTIONS)
    assert str(refused.value).isprintable()


PARTS: list[tuple[str, Any]] = [
    *(("explaining_assumptions", value) for value in (1.5, "text", [1], {})),
    *(("groups", value) for value in ([], {"plain": None}, {"plain": [1]}, {"plain": "plain"})),
    *(("seed", value) for value in (-1, 1.5, "0", None)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), PARTS)
def test_a_part_of_the_manifest_that_is_of_another_type_is_refused_in_one_line(made, tmp_path, name: str, value: Any):
    run = copy_of(made, tmp_path / "run")
    run.manifest[name] = value
    (run.folder / "run.json").write_text(json.dumps(run.manifest))
    with pytest.raises(DasExplainError, match=rf"run\.json has no usable '{name}'"):
        Run.open(run.folder)


@pytest.mark.parametrize("name", ["assumptions", "verdicts", "region_uncertainty", "scoring"])
@pytest.mark.parametrize("value", [1.5, "text", [1], {"measures": 3}, None], ids=str)
def test_results_of_another_type_are_as_if_there_were_none(made: Path, tmp_path: Path, name: str, value: Any):
    run = copy_of(made, tmp_path / "run")
    run.manifest[name] = value
    (run.folder / "run.json").write_text(json.dumps(run.manifest))
    assert name not in Run.open(run.folder).manifest
    ended = CliRunner().invoke(app, ["report", str(run.folder)])
    assert ended.exit_code == 0, ended.exception


SCORINGS: list[Any] = [5, [], {}, {"threshold": "high"}, *({"threshold": each} for each in (["\0"], 10**400, None, {}))]


@pytest.mark.parametrize("value", SCORINGS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("command", ["report", "score", "compare", "figure"])
def test_a_run_that_does_not_say_how_it_was_scored_is_shown_or_refused_in_one_line(
    made: Path, tmp_path: Path, value: Any, command: str
):
    run = copy_of(made, tmp_path / "run")
    whole = run.manifest["scoring"]
    run.manifest["scoring"] = {**whole, **value} if isinstance(value, dict) and value else value
    (run.folder / "run.json").write_text(json.dumps(run.manifest))
    words = {"report": [], "score": [], "compare": ["--out", tmp_path / "out"], "figure": ["--kind", "distribution"]}
    ended = CliRunner().invoke(app, [command, str(run.folder), *map(str, words[command])])
    assert ended.exception is None or isinstance(ended.exception, (DasExplainError, SystemExit)), ended.exception


@pytest.mark.parametrize("seen", [{"resize": None}, {"resize": 200}, {"fit": {"a": 1}}, {"interpolation": "nearest"}])
def test_frames_that_are_not_those_of_the_models_are_refused_in_one_line(made: Path, tmp_path: Path, seen: dict):
    run = copy_of(made, tmp_path / "run")
    run.manifest["models"][0]["preprocess"].update(seen)
    (run.folder / "run.json").write_text(json.dumps(run.manifest))
    with pytest.raises(DasExplainError, match="not of this run|how its models see a photo"):
        list(draw(Run.open(run.folder), "grid"))


def test_evidence_as_it_was_written_is_taken(made: Path, tmp_path: Path):
    run = copy_of(made, tmp_path / "run")
    rows(lambda content: None)(run.shards.path(0))
    score_run(run, OPTIONS)
    assert len(run.table("scores")) == 3
