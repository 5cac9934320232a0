"""Class experts: a class by name or index, and what stands for none."""

import pytest
import torch


@pytest.fixture
def drawn(load, chain, node, sample):
    """Sample a class; returns the samples."""

    def draw(class_name, null_kind="class 0", weight=2.0):
        expert = load("class")
        condition, null = node("MCDM_EncodeClass", encoder=expert.encoder, class_name=class_name, null_kind=null_kind)
        expert.condition, expert.null = condition, null
        return sample(chain((expert, {"weight": weight})), {"samples": torch.zeros(1, 3, 32, 32)}, "euler", steps=3)

    return draw


def test_a_name_in_any_case_is_its_index(drawn):
    fox = drawn("fox")
    assert torch.equal(drawn(" FOX "), fox)
    assert torch.equal(drawn("1"), fox)
    assert not torch.equal(drawn("owl"), fox)


def test_class_0_is_the_null(drawn):
    assert torch.equal(drawn("any", weight=1.0), drawn("fox", weight=0.0))


def test_the_mean_of_all_classes_is_another_null(drawn, load):
    mean = drawn("fox", "mean of all classes")
    assert not torch.equal(mean, drawn("fox"))
    assert torch.equal(drawn("fox", "mean of all classes", weight=1.0), drawn("fox", weight=1.0))


def test_a_class_beside_a_map(load, chain, sample):
    experts = [load(name) for name in ("class", "hair")]
    latent = {"samples": torch.zeros(2, 3, 32, 32)}
    both, alone = (sample(chain(*found), latent, "euler", steps=3) for found in (experts, experts[:1]))
    assert not torch.equal(both, alone)


@pytest.mark.parametrize(
    ("expert", "class_name", "sentence"),
    [
        ("class", "wolf", "one of any, Fox, owl, dog, and got 'wolf'"),
        ("class", "", "one of any, Fox, owl, dog, and got ''"),
        ("class", "4", "classes from 0 to 3 and got .4."),
        ("hair", "fox", "driven by a hair map, not by a class"),
    ],
)
def test_what_is_no_class_of_the_expert_is_refused(load, node, expert, class_name, sentence):
    with pytest.raises(ValueError, match=sentence):
        node("MCDM_EncodeClass", encoder=load(expert).encoder, class_name=class_name, null_kind="class 0")
