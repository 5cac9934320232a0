"""Encoders of the published experts: classes, GLIDE's text, and checks of a text that cost nothing."""

import re
from dataclasses import replace

import pytest
import torch

from mcdm_core.conditions import GlideEncoder, build_encoder

from ...support.published.small_encoders import FARL, GLIDE, SIZE, box, classes, face, farl, glide, picture


def test_the_mean_null_is_the_mean_embedding():
    encoder = classes()
    null = encoder.mean_null(2)
    assert null.labels is None
    torch.testing.assert_close(null.embedding, encoder.class_embeddings.float().mean(0).expand(2, -1))


@pytest.mark.parametrize("index", [5, -1, [0, 5], []])
def test_other_classes_are_refused(index):
    with pytest.raises(ValueError, match="classes from 0 to 4"):
        classes().encode_class(index)


@pytest.mark.parametrize("given", ["fox", ["fox"], 1.0, [0, 1.5], None])
def test_names_and_fractions_are_no_indices(given):
    expected = re.escape(f"Expected the index of a class, or several, and got {given!r}; `find_class` finds")
    with pytest.raises(ValueError, match=expected):
        classes().encode_class(given)


def test_a_caption_is_read():
    encoder = glide()
    both = encoder.encode(["a fox", "an owl"])
    assert both.context.shape == (2, 128, 32)
    assert both.embedding.shape == (2, 24)
    assert not both.embedding.requires_grad
    assert not torch.equal(both.context[0], both.context[1])
    torch.testing.assert_close(both.context[:1], encoder.encode_text("a fox").context)


def test_the_null_is_a_row_without_tokens():
    encoder = glide()
    assert encoder.null().same_as(encoder.encode_text(""))
    assert encoder.null(2).same_as(encoder.encode_text("").expand(2))
    tokens = torch.full((1, 128), 7)
    assert encoder.encode_tokens(tokens, torch.zeros(1, 128, dtype=torch.bool)).same_as(encoder.null())
    assert not encoder.encode_tokens(tokens, torch.ones(1, 128, dtype=torch.bool)).same_as(encoder.null())


def test_a_host_may_run_the_transformer_and_runs_it_once_for_all_nulls():
    encoder = glide()

    class Managed:
        def __init__(self, transformer):
            self.transformer, self.config, self.batches = transformer, transformer.config, []

        def __call__(self, tokens, mask):
            self.batches.append(len(tokens))
            return self.transformer(tokens, mask)

    expected = encoder.null(3), encoder.encode_text("a fox")
    managed = glide()
    managed.transformer = Managed(managed.transformer)
    managed.check_text()
    assert managed.transformer.batches == []
    assert managed.null().rows == 1
    assert managed.null(3).same_as(expected[0])
    assert managed.transformer.batches == [1]
    assert managed.encode_text("a fox").same_as(expected[1])
    assert managed.transformer.batches == [1, 1]


@pytest.mark.parametrize("call", [GlideEncoder.check_text, lambda encoder: encoder.encode_text("a fox")])
def test_another_vocabulary_has_no_tokenizer(call):
    encoder = glide(replace(GLIDE, vocabulary=100))
    with pytest.raises(ValueError, match="transformer of 50257 tokens, GLIDE's, and this expert's knows 100"):
        call(encoder)
    assert encoder.null().rows == 1


def test_a_missing_tower_is_told():
    with pytest.raises(ValueError, match="whose file was not given"):
        face().check_text()


def test_a_tower_of_another_length_is_refused():
    with pytest.raises(ValueError, match="length 16 and got one of 24; use FaRL-Base"):
        face(lambda: farl(replace(FARL, dim=24))).check_text()


def test_a_host_may_load_the_tower_and_it_is_loaded_once():
    encoder, loaded = face(farl), []

    class Managed:
        def __init__(self, tower):
            self.config, self.encode = tower.config, tower.encode

    load = encoder.load_text

    def managed():
        loaded.append(load())
        return Managed(loaded[-1])

    encoder.load_text = managed
    encoder.encode_map(box(8), "hair")
    assert loaded == []
    encoder.check_text()
    assert encoder.encode_text("a beard").same_as(face(farl).encode_text("a beard"))
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("count", "names", "told"),
    [
        (1000, (), "one of ImageNet's 1000 classes"),
        (5, (), "one of the 5 classes"),
        (3, ("any", "fox", "owl"), "a class among any, fox, owl"),
        (5, ("any", "fox", "owl", "dog", "cat"), "a class among any, fox, owl and 2 more"),
    ],
)
def test_class_experts_are_told_apart_by_their_classes(count, names, told):
    spec = {"kind": "class", "classes": list(names)}
    assert build_encoder(spec, SIZE, 3, {"label_emb.weight": torch.randn(count, 8)}).driven_by == told


def test_a_null_made_in_inference_mode_can_be_trained_with():
    encoder = glide()
    with torch.inference_mode():
        encoder.null()
    layer = torch.nn.Linear(GLIDE.width, 1)
    layer(encoder.null().context).sum().backward()
    assert layer.weight.grad.any()


@pytest.mark.parametrize("gray", [0.0, 0.4])
def test_a_mask_that_hides_nothing_is_warned_of(caplog, gray):
    glide(inpaint=True).encode_inpaint(picture(SIZE), torch.full((1, SIZE, SIZE), gray))
    assert "nothing is filled in" in caplog.text


def test_a_single_map_can_have_its_own_background():
    encoder = build_encoder({"kind": "map", "map": "hair", "background": -1.0}, SIZE, 3)
    assert torch.equal(encoder.encode_map(box(8)).maps, box(8)[:, None] * 2 - 1)
