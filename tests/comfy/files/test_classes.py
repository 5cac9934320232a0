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
