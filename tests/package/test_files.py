"""NOTICE, CITATION.cff and the pages about installing say what is so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from das_explain.data.collage.cutouts import DRAWING, check_photographs

ROOT = Path(__file__).parents[2]
tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_notice_names_every_photograph_of_the_embedded_photo_set() -> None:
    check_photographs()
    items = [*DRAWING["distractors"], *(item for items in DRAWING["objects"].values() for item in items)]
    photos = {each["photo"] for each in (*items, *DRAWING["surfaces"].values())}
    notice = (ROOT / "NOTICE").read_text("utf-8")
    assert len(photos) == 17
    assert [photo for photo in sorted(photos) if photo not in notice] == []


def test_the_citation_names_both_papers_with_all_their_authors_and_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    papers = {each["title"]: [author["family-names"] for author in each["authors"]] for each in citation["references"]}
    assert papers == {
        "DAS: A Deformable Attention to Capture Salient Information in CNNs": [
            "Salajegheh",
            "Asadi",
            "Saryazdi",
            "Mudur",
        ],
        "DEFCON 1: Deformable Convolution in 1D for Channel Attention": ["Agarwal", "Kumar", "Paliyam", "Qian"],
    }
    das, defcon = citation["references"]
    assert (das["year"], das["identifiers"][0]["value"], das["url"]) == (
        2023,
        "arXiv:2311.12091",
        "https://arxiv.org/abs/2311.12091",
    )
    assert not {"year", "url", "identifiers"} & set(defcon), "the copy at hand names none, and none is invented"
    assert PROJECT["urls"] == {"DAS paper": das["url"]}
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"


def test_every_extra_stands_on_the_page_about_installing() -> None:
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    assert [extra for extra in PROJECT["optional-dependencies"] if f"`{extra}`" not in page] == []


def test_everything_but_groundingdino_is_in_all() -> None:
    extras = PROJECT["optional-dependencies"]
    (all_of_them,) = extras["all"]
    named = set(all_of_them.partition("[")[2].rstrip("]").split(","))
    assert named == set(extras) - {"all", "groundingdino", "docs", "benchmark", "test"}


@pytest.mark.parametrize(
    "path", [".github/workflows/ci.yml", ".pre-commit-config.yaml", ".github/ISSUE_TEMPLATE/bug.yml"]
)
def test_the_files_for_others_programs_are_yaml(path: str) -> None:
    assert isinstance(yaml.safe_load((ROOT / path).read_text("utf-8")), dict)


def test_ci_runs_every_python_that_is_promised_on_every_system() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]["test"]["strategy"][
        "matrix"
    ]
    promised = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if ":: 3." in each]
    assert matrix["python"] == promised
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
