"""Class labels as the detector wants them."""

from __future__ import annotations

import pytest

from das_explain.errors import UsageError
from das_explain.segment.finders.prompts import Prompts, phrase, read_overrides


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("cat", "cat."),
        ("Golden Retriever", "golden retriever."),
        ("tench, Tinca tinca", "tench."),  # the first synonym
        ("American_bulldog", "american bulldog."),
        ("n02123394 Persian cat", "persian cat."),
        ("n02123394_Persian_cat", "persian cat."),
        ("  spaced \t out ", "spaced out."),
        ("St. Bernard, Saint Bernard", "st bernard."),  # a full stop inside would begin another phrase
        ("what?", "what."),
        ("cat.", "cat."),
        ("Ärger", "ärger."),
    ],
)
def test_label_becomes_one_phrase(label, wanted):
    assert Prompts().of(label) == wanted
    assert Prompts().of(wanted) == wanted


def test_template():
    assert Prompts("A photo of a {label}.").of("Golden_Retriever, x") == "a photo of a golden retriever."
    assert Prompts("the bird").of(None) == "the bird."
    assert Prompts("the bird").of("crane") == "the bird."
    with pytest.raises(UsageError, match="is empty"):
        Prompts(" . ")
    with pytest.raises(UsageError, match="only {label}"):
        Prompts("a {name}")


def test_labels_that_cannot_be_asked_for():
    with pytest.raises(UsageError, match="--prompt 'a dog'"):
        Prompts().of(None)
    for label in ("n02123394", "", "...", ", cat"):
        with pytest.raises(UsageError, match="names nothing"):
            Prompts().of(label)


def table(folder, text: str):
    path = folder / "prompts.csv"
    path.write_text(text)
    return path


def test_overrides_replace_label_and_template(tmp_path):
    path = table(tmp_path, 'label,prompt\n"crane, bird",Crane Bird\nmouse,computer mouse.\nn02123394,persian_cat\n')
    prompts = Prompts("a {label}", read_overrides(path))
    asked = {label: prompts.of(label) for label in ("crane, bird", "Crane", "mouse", "Mouse, rat", "n02123394", "dog")}
    assert asked == {
        "crane, bird": "crane bird.",
        "Crane": "crane bird.",
        "mouse": "computer mouse.",
        "Mouse, rat": "computer mouse.",
        "n02123394": "persian cat.",
        "dog": "a dog.",
    }


def test_the_exact_label_wins_over_its_phrase(tmp_path):
    path = table(tmp_path, 'label,prompt\n"crane, bird",wading bird\n"crane, machine",tower crane\n')
    prompts = Prompts(overrides=read_overrides(path))
    assert prompts.of("crane, machine") == "tower crane."
    assert prompts.of("crane, bird") == "wading bird."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "label,prompt"),
        ("name,prompt\na,b\n", "columns label,prompt; its first line is name,prompt"),
        ("label,prompt\n", "no prompts"),
        ("label,prompt\ncrane,\n", "line 2: label and prompt"),
        ("label,prompt\ncrane, bird,wader\n", "line 2: more cells"),
        ("label,prompt\ncrane,a\ncrane,b\n", "line 3: 'crane' has another prompt"),
    ],
)
def test_broken_overrides(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_overrides(table(tmp_path, text))


def test_identity_follows_the_overrides():
    plain, first, second = Prompts(), Prompts(overrides={"a": "b"}), Prompts(overrides={"a": "c"})
    assert len({p.identity()["overrides"] for p in (plain, first, second)}) == 3
    assert Prompts("a {label}").identity() != plain.identity()
    assert phrase("Egyptian cat") == "egyptian cat"
