"""Classes by name: an expert's own, and ImageNet's for a network of 1000 classes."""

import pytest
import torch

from mcdm_core import load_expert
from mcdm_core.cli.files import describe
from mcdm_core.conditions import build_encoder
from mcdm_core.conditions.class_names import IMAGENET_CLASSES, find_class, imagenet_names

from ...support.small_experts import write_expert

KNOWN = {0: "tench", 207: "golden retriever", 388: "giant panda", 445: "bikini", 817: "sports car", 980: "volcano"}


def class_encoder(classes, names=()):
    spec = {"kind": "class", "classes": list(names)} if names else {"kind": "class"}
    return build_encoder(spec, 16, 3, {"label_emb.weight": torch.zeros(classes, 8)})


@pytest.fixture
def imagenet():
    return class_encoder(1000)


def refusal(encoder, name):
    with pytest.raises(ValueError, match=r"^Expected ") as error:
        encoder.find_class(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_table_is_imagenets():
    names = imagenet_names()
    assert len(names) == IMAGENET_CLASSES
    synsets = [called[0] for called in names]
    assert synsets == sorted(set(synsets))  # the order of the published networks' indices
    assert all(len(synset) == 9 and synset[0] == "n" and synset[1:].isdecimal() for synset in synsets)
    every = [name for called in names for name in called]
    assert not [name for name in every if name != name.strip() or not name or name.isdecimal()]
    assert {index: names[index][1] for index in KNOWN} == KNOWN


@pytest.mark.long
def test_every_synset_and_every_whole_label_finds_its_class():
    names = imagenet_names()
    assert [find_class(names, called[0]) for called in names] == list(range(1000))
    ambiguous = {86: "partridge", 474: "cardigan", 517: "crane", 594: "harp", 638: "maillot", 657: "missile"}
    assert {index: ", ".join(names[index][1:]) for index in ambiguous} == ambiguous
    clear = [index for index in range(1000) if index not in ambiguous]
    assert [find_class(names, ", ".join(names[index][1:])) for index in clear] == clear
    for name in ambiguous.values():
        with pytest.raises(ValueError, match="Expected one class"):
            find_class(names, name)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("golden retriever", 207),
        (" Golden RETRIEVER\n", 207),
        ("Ailuropoda melanoleuca", 388),
        ("giant panda, Ailuropoda melanoleuca", 388),
        ("n01440764", 0),
        ("N15075141 ", 999),
        ("maillot, tank suit", 639),
        ("crane bird", 134),
        ("0", 0),
        ("0999", 999),
        ("999", 999),
        ("１２", 12),  # a full-width keyboard's digits
    ],
)
def test_an_imagenet_class_is_found(imagenet, name, index):
    assert imagenet.find_class(name) == index


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("crane", ("'crane' may be 134 (n02012849, crane, crane bird) and 517 (n03126707, crane)", "give the number")),
        ("Maillot", ("638 (n03710637, maillot) and 639 (n03710721, maillot, tank suit)",)),
        ("fox", ("red fox", "Arctic fox", "and got 'fox'; correct the class.")),
        ("goldn retriver", ("the nearest names are golden retriever",)),
        ("tench, goldfish", ("and got 'tench, goldfish'",)),
        ("n00000000", ("and got 'n00000000'",)),
        ("-1", ("and got '-1'",)),
        ("", ("its name or its index, and got ''",)),
    ],
)
def test_what_is_no_imagenet_class_or_several_is_refused(imagenet, name, told):
    sentence = refusal(imagenet, name)
    assert all(words in sentence for words in told)
    assert len(sentence) < 250


def test_an_index_beyond_the_classes_is_refused_where_it_is_encoded(imagenet):
    with pytest.raises(ValueError, match=r"classes from 0 to 999 and got \[1000\]"):
        imagenet.encode_class(imagenet.find_class("1000"))


def test_a_file_keeps_its_own_names():
    own = class_encoder(1000, [f"thing {index}" for index in range(1000)])
    assert own.find_class("Thing 7") == 7
    assert "the nearest names are thing 700, " in refusal(own, "thin 700")
    assert "its name or its index, and got 'tench'" in refusal(own, "tench")


def test_other_networks_do_not_know_imagenets_names():
    assert "its index; this expert knows no names, and got 'tench'" in refusal(class_encoder(999), "tench")
    assert class_encoder(999).find_class("998") == 998


def test_a_few_names_are_all_told():
    assert "one of any, Fox, owl, dog, and got 'wolf'; correct" in refusal(
        class_encoder(4, ["any", "Fox", "owl", "dog"]), "wolf"
    )


def test_a_name_with_a_comma_is_one_name():
    encoder = class_encoder(3, ["cat, black", "cat", "black"])
    assert [encoder.find_class(name) for name in ("cat, black", "cat", "black")] == [0, 1, 2]


@pytest.mark.parametrize(("count", "told"), [(3, "class thing0 thing1 thing2\n"), (21, "thing2 … (21)\n")])
def test_info_names_a_few_classes_and_counts_many(count, told, tmp_path):
    names = [f"thing{index}" for index in range(count)]
    path = write_expert(tmp_path / "own.safetensors", {"kind": "class", "classes": names}, shape={"num_classes": count})
    assert told in describe(path)
    assert load_expert(path).encoder.find_class("thing2") == 2
