"""Class names to logits: each rule by hand, and what happens where two rules could apply."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from das_explain.checkpoint.labels import (
    check_labels,
    imagenet_labels,
    read_label_map,
    read_labels,
    sidecar,
)
from das_explain.checkpoint.matching import is_imagenet, match_labels
from das_explain.checkpoint.model import LoadedModel
from das_explain.classnames import synsets
from das_explain.data.geometry import Preprocess
from das_explain.errors import DasExplainError, UsageError


def model(labels: list[str] | None, num_classes: int | None = None) -> LoadedModel:
    count = len(labels) if num_classes is None else num_classes
    return LoadedModel("net", "net", nn.Identity(), {}, labels, Preprocess(), "", {"num_classes": count})


PETS = ["Abyssinian", "american_bulldog", "Saint Bernard", "wheaten-terrier", "7"]


def test_by_name_exactly_then_loosely() -> None:
    data = ["wheaten_terrier", "Abyssinian", "SAINT-BERNARD", "American  Bulldog", "poodle", "7"]
    found = {"wheaten_terrier": 3, "Abyssinian": 0, "SAINT-BERNARD": 2, "American  Bulldog": 1, "7": 4}
    assert match_labels(data, model(PETS)) == found
    assert list(match_labels(data, model(PETS))) == [name for name in data if name != "poodle"]


def test_an_exact_name_goes_before_a_loose_one() -> None:
    labels = ["Cardigan", "cardigan", "cup"]  # in ImageNet the first is a dog
    assert match_labels(["Cardigan", "cardigan", "CARDIGAN", "cup"], model(labels)) == {
        "Cardigan": 0,
        "cardigan": 1,
        "cup": 2,
    }


def test_a_name_of_two_logits_fits_none() -> None:
    labels = ["tench", "crane", "crane", "bow-tie", "bow tie"]
    assert match_labels(["crane", "Crane", "Bow Tie", "tench"], model(labels)) == {"tench": 0}
    assert match_labels(["bow-tie", "bow tie"], model(labels)) == {"bow-tie": 3, "bow tie": 4}


def test_numbers_are_indices_only_if_no_name_fits() -> None:
    assert match_labels(["0", "3", "04"], model(["a", "b", "c", "d", "e"])) == {"0": 0, "3": 3, "04": 4}
    assert match_labels(["1", "0"], model(["1", "0"])) == {"1": 0, "0": 1}
    assert match_labels(["7", "0"], model(PETS)) == {"7": 4}
    with pytest.raises(DasExplainError):
        match_labels(["0", "5"], model(["a", "b", "c", "d", "e"]))


def test_numbers_beyond_the_last_index_are_sorted_names() -> None:
    assert match_labels(["1", "10", "2"], model(None, 3)) == {"1": 0, "10": 1, "2": 2}


def test_sorted_order_needs_a_model_without_names_and_equal_counts() -> None:
    assert match_labels(["dog", "cat", "dog", "ant"], model(None, 3)) == {"dog": 2, "cat": 1, "ant": 0}
    with pytest.raises(
        DasExplainError, match="the data has 'dog', 'cat', 'ant' \\(3 classes\\), the model 'x', 'y', 'z'"
    ):
        match_labels(["dog", "cat", "ant"], model(["x", "y", "z"]))
    with pytest.raises(DasExplainError, match="the data has 'dog', 'cat' \\(2 classes\\), the model 3 classes without"):
        match_labels(["dog", "cat"], model(None, 3))


def test_nothing_to_match_is_no_error() -> None:
    assert match_labels([], model(PETS)) == {}


WORDS = [", ".join(words) for words in synsets().values()]


@pytest.mark.parametrize("labels", [None, imagenet_labels(), WORDS, list(synsets())])
def test_imagenet_s_ids_need_no_package(labels: list[str] | None) -> None:
    data = ["n03000684", "n01440764", "n02102040", "n99999999"]  # chain saw, tench, English springer
    found = match_labels(data, model(labels, 1000))
    assert found == {"n03000684": 491, "n01440764": 0, "n02102040": 217}
    assert [imagenet_labels()[index] for index in found.values()] == ["chain saw", "tench", "English springer"]
    assert match_labels(["n02085620-Chihuahua", "n02123045_tabby"], model(labels, 1000)) == {
        "n02085620-Chihuahua": 151,
        "n02123045_tabby": 281,
    }


def test_the_table_of_imagenet_is_timm_s_and_torchvision_s() -> None:
    assert list(synsets()) == sorted(synsets()) and len(synsets()) == 1000
    differing = [
        label
        for label, words in zip(imagenet_labels(), synsets().values())
        if label.casefold() not in [word.casefold() for word in words]
    ]
    assert differing == ["crane bird", "maillot tank suit"]
    timm = pytest.importorskip("timm.data")
    assert list(synsets()) == timm.ImageNetInfo("imagenet-1k").label_names()


def test_synonyms() -> None:
    listed = model(["tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "crane, bird"])
    found = match_labels(["Tinca_tinca", "goldfish", "crane"], listed)
    assert found == {"Tinca_tinca": 0, "goldfish": 1, "crane": 2}
    assert found.assumptions == [
        "net: of the data's 3 classes, 2 are matched by synonyms, first 'Tinca_tinca'",
        "net: of the data's 3 classes, 1 can be read in two ways, first 'crane': 'crane' (2), as taken here, or 'crane, bird' (3); "
        "--label-map FILE.csv (data,model), label_map in Python and in a study, says which is which",
    ]
    assert match_labels(["tench, Tinca tinca"], model(["tench", "goldfish"])) == {"tench, Tinca tinca": 0}
    imagenet = match_labels(["tabby_cat", "Egyptian cat", "crane", "rose hip"], model(imagenet_labels(), 1000))
    assert imagenet == {"tabby_cat": 281, "Egyptian cat": 285, "crane": 517, "rose hip": 989}
    assert match_labels(["tench", "crane"], model(WORDS, 1000)) == {
        "tench": 0
    }  # what two classes are called is neither


def test_a_name_that_two_of_imagenet_s_classes_have_is_told_with_both_readings() -> None:
    imagenet = model(imagenet_labels(), 1000)
    found = match_labels(["tench", "crane"], imagenet)
    assert (found, found.other) == ({"tench": 0, "crane": 517}, {"tench": 0, "crane": 134})
    assert found.assumptions == [
        "net: of the data's 2 classes, 1 can be read in two ways, first 'crane': 'crane' (517), as taken here, or "
        "'crane bird' (134); --label-map FILE.csv (data,model), label_map in Python and in a study, says which is which"
    ]
    for known in (match_labels(["crane"], imagenet, {"crane": "134"}), match_labels(["crane", "crane bird"], imagenet)):
        assert (known.assumptions, known.other) == ([], {})
    assert match_labels(["Cardigan", "cardigan"], imagenet).assumptions == []
    assert match_labels(["partridge", "n03126707-crane"], imagenet).other == {}  # of the grouse it is a second name
    unsure = match_labels(["tench", "panther", "zebu"], imagenet)
    assert unsure.assumptions == [
        "net: of the data's 3 classes, 1 is none of the model's for sure, first 'panther': 'cougar' (286) or 'jaguar' (290); "
        "--label-map FILE.csv (data,model), label_map in Python and in a study, says which is which",
        "net: of the data's 3 classes, 1 is not the model's, first 'zebu'; --label-map FILE.csv (data,model), label_map in "
        "Python and in a study, says which is which",
    ]


@pytest.mark.parametrize("labels", [None, imagenet_labels()])
def test_a_match_by_id_is_told_as_such(labels: list[str] | None) -> None:
    assert match_labels(["n02123045", "n02085620-Chihuahua"], model(labels, 1000)).assumptions == [
        "net: of the data's 2 classes, 2 are matched by ImageNet's ids, first 'n02123045'"
    ]
    assert match_labels(["n02123045"], model(list(synsets()), 1000)).assumptions == []  # the model's own names


def test_composed_and_decomposed_letters_are_the_same() -> None:
    assert match_labels(["caf\u00e9", "Noe\u0308l"], model(["cafe\u0301", "no\u00ebl"])) == {
        "caf\u00e9": 0,
        "Noe\u0308l": 1,
    }
    assert match_labels(["caf\u00e9"], model(["cafe\u0301", "x"])).assumptions == []


def test_a_thousand_other_classes_are_not_imagenet_s() -> None:
    assert is_imagenet([word.upper() for word in WORDS])
    assert not is_imagenet(list(reversed(WORDS)))
    assert not is_imagenet([f"c{i}" for i in range(1000)])


def test_synsets_of_another_model_are_not_guessed() -> None:
    with pytest.raises(DasExplainError, match="no class of the data is one of model net"):
        match_labels(["n01440764"], model([f"c{i}" for i in range(1000)]))


def test_imagenet_s_names() -> None:
    labels = imagenet_labels()
    assert (len(labels), labels[0], labels[281], labels[999]) == (1000, "tench", "tabby", "toilet tissue")


@pytest.mark.parametrize(
    ("name", "content"),
    [("l.txt", "\ufeffcat\r\n dog \r\nzebra crossing\r\n\r\n"), ("l.json", '["cat", " dog ", "zebra crossing"]')],
)
def test_files_of_names(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read_labels(tmp_path / name) == ["cat", "dog", "zebra crossing"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", b"cat\n\ndog\n", "l.txt: '' is no class name"),
        ("l.txt", b"cat\n\x1b[31mdog\n", "is no class name (empty, or with unprintable characters)"),
        ("l.txt", b"\xff\xfe\x00", "cannot be read as class names"),
        ("l.json", b'{"0": "cat"}', "class names must be a list of texts"),
        ("l.json", b"[1, 2]", "class names must be a list of texts"),
        ("l.json", b"[" * 100_000, "cannot be read as class names"),
        ("l.json", b"", "cannot be read as class names"),
    ],
)
def test_bad_files_of_names(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DasExplainError) as error:
        read_labels(tmp_path / name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_wrong_count(tmp_path: Path) -> None:
    with pytest.raises(DasExplainError, match="no such file of class names"):
        read_labels(tmp_path / "l.txt")
    with pytest.raises(DasExplainError, match=r"l\.txt names 2 classes, but the model has 3"):
        check_labels(["a", "b"], "l.txt", 3)


def test_names_beside_the_weights(tmp_path: Path) -> None:
    assert sidecar(tmp_path / "w.pth") is None
    (tmp_path / "w.labels.json").write_text('["a"]')
    assert sidecar(tmp_path / "w.pth") == ["a"]
    (tmp_path / "w.labels.txt").write_text("b\n")
    assert sidecar(tmp_path / "w.pth") == ["b"]


# --- what was assumed


@pytest.mark.parametrize(
    ("data", "labels", "count", "told"),
    [
        (["cat", "dog"], ["dog", "cat"], 2, []),
        (
            ["Cat", "dog_", "dog"],
            ["dog", "cat"],
            2,
            ["2 are matched without regard to case, spaces, _ and -, first 'Cat'"],
        ),
        (["cat", "owl"], ["dog", "cat"], 2, ["1 is not the model's, first 'owl'; --label-map FILE"]),
        (["b", "a"], None, 2, ["the model's classes have no names; matched in sorted order, as torchvision's"]),
        (["1", "0"], ["x", "y"], 2, ["the names are numbers; taken for the numbers of the model's classes"]),
    ],
)
def test_a_guess_is_said(data: list[str], labels: list[str] | None, count: int, told: list[str]) -> None:
    found = match_labels(data, model(labels, count))
    assert len(found.assumptions) == len(told)
    for sentence, part in zip(found.assumptions, told):
        assert sentence.startswith(f"net: of the data's {len(data)} classes")
        assert part in sentence


TWELVE = [str(number) for number in range(12)]


def test_folders_of_numbers_are_sorted_as_imagefolder_sorts_and_both_readings_are_told() -> None:
    found = match_labels(TWELVE, model(None, 12))
    assert found == {name: index for index, name in enumerate(sorted(TWELVE))}  # 0 1 10 11 2 3 ...
    assert (found["10"], found["2"], found["9"]) == (2, 4, 11)
    assert found.other == {name: int(name) for name in TWELVE}
    assert found.assumptions == [
        "net: of the data's 12 classes: the model's classes have no names and the data's are numbers; matched in sorted "
        "order, as torchvision's ImageFolder would, so that '10' is class 2; if it is class 10, say so: --label-map FILE.csv "
        "(data,model)"
    ]
    assert match_labels(TWELVE, model(None, 12), {name: name for name in TWELVE}) == found.other


def test_numbers_whose_two_orders_agree_are_one_reading() -> None:
    padded = [f"{number:02}" for number in range(12)]
    for names in (padded, TWELVE[:10]):
        found = match_labels(names, model(None, len(names)))
        assert found == {name: int(name) for name in names}
        assert found.other == {}
        assert found.assumptions[0].endswith("the names are numbers; taken for the numbers of the model's classes")


def test_some_of_the_numbers_are_indices_and_the_count_is_told() -> None:
    found = match_labels(["10", "2"], model(None, 12))
    assert found == {"10": 10, "2": 2}
    assert found.assumptions[0].endswith("taken for the numbers of the model's classes, of which there are 12")
    named = match_labels(TWELVE, model([f"c{number}" for number in TWELVE]))
    assert (named["10"], named.other["10"]) == (10, 2)
    assert named.assumptions[0].endswith("and not for places in their sorted order")


@pytest.mark.parametrize("names", [["train", "val"], ["Test", "train", "Validation"]])
def test_the_parts_of_a_data_set_are_no_classes(names: list[str]) -> None:
    for labels, count in ((None, len(names)), (["cat", "dog"], 2), (None, 1000)):
        with pytest.raises(DasExplainError, match=f"are parts of a data set, not classes: .* as in DATA/{names[0]}$"):
            match_labels(names, model(labels, count))
    assert match_labels(names, model(names)) == {name: index for index, name in enumerate(names)}


# --- label maps


def test_a_label_map_goes_before_the_names(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(
        "\ufeffdata, model\nkitty, Abyssinian\nAbyssinian,saint bernard\ndog,1\n", "utf-8"
    )
    mapped = read_label_map(tmp_path / "map.csv")
    assert mapped == {"kitty": "Abyssinian", "Abyssinian": "saint bernard", "dog": "1"}
    found = match_labels(["kitty", "Abyssinian", "dog", "wheaten-terrier", "poodle"], model(PETS), mapped)
    assert found == {"kitty": 0, "Abyssinian": 2, "dog": 1, "wheaten-terrier": 3}
    assert match_labels(["kitty", "dog"], model(None, 4), {"kitty": "3", "dog": "0"}) == {"kitty": 3, "dog": 0}


def test_a_label_map_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"names no class of the data: it has 'cat', the data 'dog'$"):
        match_labels(["dog"], model(PETS), {"cat": "7"})
    with pytest.raises(UsageError) as error:
        match_labels(["dog"], model(PETS), {"dog": "Saint Bernhard"})
    assert str(error.value) == (
        "the label map gives 'dog' the class 'Saint Bernhard', which model net does not have; near matches: "
        "'Saint Bernard' for 'Saint Bernhard'"
    )
    with pytest.raises(UsageError, match=r"the class '9', which model net does not have; its classes are 3 classes wi"):
        match_labels(["dog"], model(None, 3), {"dog": "9"})


def test_the_refusal_names_near_matches_and_the_label_map() -> None:
    with pytest.raises(DasExplainError) as error:
        match_labels(["abyssinians", "american bull dog", "zebra"], model(PETS))
    assert str(error.value).endswith(
        "; near matches: 'Abyssinian' for 'abyssinians', 'american_bulldog' for 'american bull dog'"
        "; --label-map FILE.csv (data,model), label_map in Python and in a study, says which is which"
    )


def test_a_class_that_alone_is_not_the_models_is_told_as_all_are() -> None:
    found = match_labels(["Abyssinian", "saint bernhard", "zebra"], model(PETS))
    assert found.assumptions == [
        "net: of the data's 3 classes, 2 are not the model's, first 'saint bernhard'; near matches: 'Saint Bernard' for "
        "'saint bernhard'; --label-map FILE.csv (data,model), label_map in Python and in a study, says which is which"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("class,model\na,b\n", "map.csv: a label map has the columns data,model; this has class, model"),
        ("", "map.csv: a label map has the columns data,model; this has none"),
        ("data,model\na,\n", "map.csv, line 2: a row of a label map needs both, data and model"),
        ("data,model\na\n", "map.csv, line 2: a row of a label map needs both"),
        ("data,model\na,b\na,c\n", "map.csv, line 3: 'a' stands there twice; one class of the data is one logit"),
        ("data,model\n", "map.csv: a label map without a row"),
        ("data,model\n\udcff,b\n", "map.csv cannot be read as a label map"),
    ],
)
def test_bad_label_maps(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "map.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DasExplainError) as error:
        read_label_map(tmp_path / "map.csv")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(DasExplainError, match="no such label map"):
        read_label_map(tmp_path / "gone.csv")
