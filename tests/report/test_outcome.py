"""The report's sentences: right numbers, no favour, cautions where blind maps do as well."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES, TEXT, write_table
from das_explain.evidence.values import Key
from das_explain.report import charts, outcome, results, settings, tables, words
from das_explain.report import tally as tally_room
from das_explain.report.results import Results
from das_explain.report.tally import Tally, histogram, read_tally
from das_explain.stats.tables import compare_groups, lift_over_nulls

NAN = float("nan")
MANIFEST = {"models": [], "sample": [], "groups": {}, "data": {}, "options": {}}


def make(
    scores=(), summary=(), manifest=None, models=("plain", "das"), designs=None, folder=None, **rows_of
) -> Results:
    """Results of rows; ``scores`` (image, model, block, label, target, correct, sfd, status) go through a file."""

    def table(rows, columns):
        frame = pd.DataFrame(rows, columns=list(columns))
        return frame.astype({name: float for name in frame.columns if name not in TEXT})

    manifest = MANIFEST | (manifest or {})
    names = list(dict.fromkeys(row[0] for row in scores))
    manifest |= {"sample": names or manifest["sample"]}
    run = Run(folder or Path("run"), manifest)
    if scores:
        order = {name: i for i, name in enumerate(names)}
        rows = pd.DataFrame(scores, columns=SCORES).sort_values("image", key=lambda c: c.map(order), kind="stable")
        write_table(run.folder / "scores.csv", rows)
        run.shards.path(0).parent.mkdir(exist_ok=True)
        run.shards.path(0).touch()  # what was scored was there
    tally = read_tally(run, models, ("layer3", "layer4")) if scores else Tally()
    return Results(
        run=run,
        models=models,
        blocks=("layer4",),
        summary=table(summary, TABLES["summary"]),
        tally=tally,
        **{name: table(rows_of.get(name, ()), TABLES[name]) for name in results.OPTIONAL if name != "designs"},
        designs=pd.DataFrame() if designs is None else designs,
    )


SCORES = ["image", "model", "block", "label", "target", "correct", "sfd", "status"]


def comparison(delta, p, n=100, low=None, high=None):
    low, high = (delta - 0.03 if low is None else low), (delta + 0.03 if high is None else high)
    return ["layer4", "plain", "das", n, 0.57, 0.57 + delta, delta, low, high, p, p, 0.64]


def test_a_clear_difference_is_named_with_its_direction_whichever_it_is():
    up, down = (outcome.findings(make(comparison=[comparison(delta, 0.003)]), {})[0].verdict for delta in (0.05, -0.05))
    assert up == "das scores higher than plain on these images"
    assert down == "plain scores higher than das on these images"


def test_the_numbers_of_a_finding():
    finding = outcome.findings(make(comparison=[comparison(0.05, 0.003)]), {})[0]
    assert finding.block == "layer4"
    assert finding.numbers == (
        "On 100 images scored for both: das 0.620, plain 0.570; difference (das − plain) +0.050 [+0.020, +0.080], "
        "adjusted p 0.003; das is higher on 64 %."
    )
    assert finding.caution == ""


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (comparison(0.05, 0.05), "No clear difference between plain and das on these images"),
        (comparison(0.05, NAN, n=1, low=NAN, high=NAN), "Too few images to tell a difference"),
        (["layer4", "plain", "das", 0, *[NAN] * 8], "Nothing to compare"),
    ],
)
def test_what_is_not_clear_is_not_claimed(row, verdict):
    assert outcome.findings(make(comparison=[row]), {})[0].verdict == verdict


def rows(model, values, status="ok"):
    return [[f"{i}.jpg", model, "layer4", "cat", "cat", "True", value, status] for i, value in enumerate(values)]


def test_a_blind_map_that_does_as_well_is_named_and_the_lift_is_paired():
    scores = pd.DataFrame(rows("plain", [0.5, 0.7]) + rows("das", [0.8, 0.9]), columns=SCORES)
    nulls = [
        [f"{i}.jpg", model, "layer4", null, "sfd", value, "ok"]
        for model in ("plain", "das")
        for null, values in (("shuffled", (0.4, 0.5)), ("centre", (0.6, 0.7)))
        for i, value in enumerate(values)
    ]
    lift = lift_over_nulls(scores, pd.DataFrame(nulls, columns=list(TABLES["nulls"])))
    summary = [["plain", "layer4", 2, 2, 0.6, 0.5, 0.7], ["das", "layer4", 2, 2, 0.85, 0.8, 0.9]]
    run = make(comparison=[comparison(0.05, 0.2)], summary=summary, lift=lift)
    blind = outcome.lifts(run)
    assert blind["plain", "layer4", "shuffled"].lift == pytest.approx(0.15)
    assert blind["das", "layer4", "centre"].lift == pytest.approx(0.2)
    finding = outcome.findings(run, blind)[0]
    assert finding.caution == (
        "Caution: plain (0.570) and das (0.620) do not exceed what a blind spot in the centre scores (0.650 and 0.650)."
    )
    assert "Lift over the model’s own maps of other photos: plain +0.150" in finding.numbers


def at(block, delta, p, a="plain", b="das"):
    return [block, a, b, *comparison(delta, p)[3:]]


@pytest.mark.parametrize(
    ("rows_of_comparison", "sentence"),
    [
        (
            [at("layer3", -0.01, 0.4), at("layer4", 0.05, 0.003)],
            "das scores higher than plain at layer4; no clear difference between plain and das at layer3: "
            "these checkpoints, these images.",
        ),
        (
            [at("layer3", 0.01, 0.4), at("layer4", 0.05, 0.4)],
            "No clear difference between plain and das at layer3 and layer4: these checkpoints, these images.",
        ),
        (
            [
                at("layer4", 0.05, p, a, b)
                for a, b, p in (("a", "b", 0.01), ("a", "c", 0.2), ("b", "c", 0.3), ("a", "d", 0.9))
            ],
            "1 of 4 comparisons show a clear difference: these checkpoints, these images.",
        ),
        ([["layer4", "plain", "das", 0, *[NAN] * 8]], "Nothing could be compared."),
        (
            [at("layer4", 0.05, NAN)],
            "No clear difference between plain and das at layer4: these checkpoints, these images.",
        ),
    ],
)
def test_the_verdict_is_one_sentence_that_the_numbers_support(rows_of_comparison, sentence):
    assert outcome.verdict(make(comparison=rows_of_comparison)) == sentence


def test_the_verdict_on_one_model_and_on_designs():
    alone = make(summary=[["plain", "layer4", 30, 28, 0.6, 0.55, 0.65]], models=("plain",))
    assert outcome.verdict(alone) == "plain scores 0.600 at layer4; nothing is compared."
    columns = ["block", "group_a", "group_b", "delta", "ci_low", "ci_high", "claim"]
    designs = pd.DataFrame([["layer4", "plain", "das", -0.05, -0.08, -0.02, "designs"]], columns=columns)
    assert (
        outcome.verdict(make(designs=designs)) == "plain scores higher than das at layer4: these designs, these images."
    )


def test_one_model_has_a_finding_and_no_comparison():
    run = make(summary=[["plain", "layer4", 30, 28, 0.6, 0.55, 0.65]], models=("plain",))
    finding = outcome.findings(run, {})[0]
    assert finding.verdict == "plain: 0.600"
    assert finding.numbers == "plain scores 0.600 [0.550, 0.650] on average over 28 images."
    assert outcome.claims(run)[0].startswith("One checkpoint was scored and nothing is compared.")


def test_two_checkpoints_claim_nothing_about_designs():
    assert "training the same network again" in outcome.claims(make())[0].lower()


def test_groups_of_copies_claim_what_their_interval_can_carry(tmp_path):
    models = ("plain#1", "plain#2", "das#1", "das#2")
    scores = [row for model, value in zip(models, (0.5, 0.54, 0.6, 0.64)) for row in rows(model, [value] * 3)]
    groups = {"plain": ["plain#1", "plain#2"], "das": ["das#1", "das#2"]}
    by_member = {member: name for name, members in groups.items() for member in members}
    designs = compare_groups(pd.DataFrame(scores, columns=SCORES), by_member)
    run = make(
        scores,
        comparison=[comparison(0.05, 0.01)],
        manifest={"groups": groups},
        models=models,
        designs=designs,
        folder=tmp_path,
    )
    assert outcome.claims(run)[0].startswith("This run compares designs")
    finding = outcome.findings(run, {})[0]
    assert "das 0.620 (2 trained copies), plain 0.520 (2 trained copies)" in finding.numbers
    assert "over copies and images together" in finding.numbers


def test_every_status_is_counted_and_ok_comes_first(tmp_path):
    scores = rows("plain", [0.5] * 3) + rows("das", [NAN] * 3, "zero_cam") + rows("das", [NAN], "new_status")
    run = make(scores, folder=tmp_path)
    counts = settings.status_counts(run)
    assert [(row.status, row.rows, row.images) for row in counts] == [
        ("ok", 3, 3),
        ("zero_cam", 3, 3),
        ("new_status", 1, 1),
    ]
    assert settings.status_counts(make()) == []


def test_accuracy_counts_an_image_once_per_model(tmp_path):
    scores = [*rows("plain", [0.5, 0.6]), ["0.jpg", "plain", "layer3", "cat", "cat", "True", 0.5, "ok"]]
    scores += [["2.jpg", "plain", "layer4", "cat", "cat", "False", 0.5, "ok"]]
    scores += [["3.jpg", "plain", "layer4", "", "dog", "", 0.5, "ok"]]
    run = make(scores, folder=tmp_path)
    assert settings.accuracy(run) == {"plain": (pytest.approx(2 / 3), 3)}
    assert run.tally.unlabelled == 1


def test_parts_of_a_table_count_as_the_whole(tmp_path, monkeypatch):
    """Where an image's rows would fall into two parts, they are kept together."""
    scores = rows("plain", [0.1, 0.9, 0.5]) + rows("das", [0.2, 0.8, 0.7], "no_background")
    whole = make(scores, folder=tmp_path).tally
    for size in (1, 2, 3, 5):
        monkeypatch.setattr(tally_room, "PART", size)
        part = make(scores, folder=tmp_path).tally
        assert (part.rows, part.images, part.right) == (whole.rows, whole.images, whole.right)
        assert all(np.array_equal(part.sfd[at], values) for at, values in whole.sfd.items())
    assert whole.sfd[Key("das", "layer4")].tolist() == pytest.approx([0.2, 0.8, 0.7])


def test_settings_say_which_were_used_in_words():
    manifest = {
        "seed": 3,
        "sample": ["a", "b"],
        "data": {"spec": "photos.csv", "count": 427},
        "options": {"target": "predicted", "method": "gradcam"},
        "scoring": {"scaling": "exp", "threshold": 0.4, "box": "rect"},
        "segmenter": {"name": "masks", "data": "photos.csv", "seconds": 3, "boxes": []},
    }
    found = dict(settings.settings(make(manifest=manifest)))
    assert found["Images"] == "photos.csv: 427 images, 2 drawn, seed 3"
    assert found["Scaling of w"].startswith("exp: e^w")
    assert "w ≥ 0.4" in found["Box B"]
    assert found["Class explained"].startswith("predicted: each model’s own")
    assert found["Region R"] == "masks: the masks that come with the data (seconds 3)"
    assert set(dict(settings.settings(make())).values()) >= {"not recorded"}


def test_numbers_are_printed_with_true_signs():
    assert words.signed(0.0123) == "+0.012"
    assert words.signed(-0.0123) == "−0.012"
    assert words.signed(-0.0001) == "0.000"
    assert words.signed(NAN) == "–"
    assert [words.p_text(value) for value in (0.0004, 0.0123, 0.31, NAN)] == ["< 0.001", "0.012", "0.31", "–"]
    assert words.moment("2025-07-03T14:05:00Z") == "3 July 2025, 14:05 UTC"
    assert words.moment("yesterday") == "yesterday"
    assert words.join(["a", "b", "c"]) == "a, b and c"


def test_a_histogram_has_every_value_once_and_its_steps_reach_the_peak():
    shares = histogram(np.array([0.0, 0.5, 0.99, 1.0, NAN])) / 4
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == 0.25
    assert shares[-1] == 0.5
    path = charts.steps(shares, 100, 80, closed=True)
    assert path.startswith("M12 100V80H")
    assert path.endswith("V60H308V100Z")


def test_a_distribution_marks_the_median_of_scored_rows_only(tmp_path):
    scores = rows("plain", [0.2, 0.4, 0.9]) + rows("das", [0.99], "no_background")
    scores += [["2.jpg", "das", "layer4", "cat", "cat", "True", 0.5, "zero_cam"]]
    run = make(scores, folder=tmp_path)
    chart = charts.distributions(run)[0]
    plain, das = chart.ridges
    assert (plain.count, plain.median) == (3, pytest.approx(0.4))
    assert plain.median_x == pytest.approx(12 + 0.4 * 296, abs=0.01)
    assert (das.count, das.median) == (1, pytest.approx(0.99))


def test_intervals_share_one_scale_around_zero():
    up, down, missing = tables.marks([(0.05, 0.02, 0.08), (-0.05, -0.08, -0.02), (NAN, NAN, NAN)])
    assert up.low + down.high == pytest.approx(100)
    assert up.middle + down.middle == pytest.approx(100)
    assert 50 < up.low < up.middle < up.high < 100
    assert missing is None


def readings_of(*pairs):
    """readings.csv of six thresholds: the default one and those whose differences are given."""
    return [
        [block, a, b, "antilog", threshold, "rect", "as is", "out", 1, 10, delta, delta - 0.01, delta + 0.01]
        for block, a, b, deltas in pairs
        for threshold, delta in zip((0.3, 0.1, 0.2, 0.4, 0.5, 0.7), deltas)
    ]


def test_the_verdict_counts_the_readings_in_which_it_holds():
    run = make(
        comparison=[comparison(0.02, 0.01)],
        readings=readings_of(("layer4", "plain", "das", (0.02, 0.005, 0.03, -0.005, -0.02, 0.04))),
        manifest={"scoring": {"threshold": 0.3, "scaling": "antilog", "box": "rect"}},
    )
    assert outcome.holds(run) == [
        "The sign of das − plain holds in 4 of 6 readings of sfd at layer4; the interval excludes zero on that side in 3."
    ]
    (finding,) = outcome.findings(run, {})
    assert finding.holds == (
        "The sign of das − plain at layer4 holds in 4 of 6 readings; the interval excludes zero in 3, and in 1 on the "
        "other side."
    )


def test_of_many_pairs_the_verdict_names_the_one_that_holds_least():
    deltas = {("plain", "das"): (0.02,) * 6, ("plain", "other"): (0.02, -0.02, -0.02, 0.02, 0.02, 0.02)}
    run = make(
        models=("plain", "das", "other"),
        readings=readings_of(*(("layer4", *pair, each) for pair, each in deltas.items())),
    )
    assert outcome.holds(run) == [
        "1 of 2 differences keep their sign in every reading of sfd. The one that keeps it in the fewest: The sign of "
        "other − plain at layer4 holds in 4 of 6 readings; the interval excludes zero in 4, and in 2 on the other side."
    ]


def test_a_part_of_a_run_is_never_told_as_the_whole():
    whole, part = (
        outcome.verdict(make(comparison=[comparison(0.05, 0.003)], manifest={"scored": {"images": done, "of": 128}}))
        for done in (128, 64)
    )
    assert whole == "das scores higher than plain at layer4: these checkpoints, these images."
    assert part == f"On 64 of 128 images, the run is unfinished: {whole}"
