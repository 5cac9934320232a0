"""The command line, on small experts with random weights."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core import (
    SAMPLERS,
    Passes,
    Term,
    load_expert,
    sample_product,
)
from mcdm_core.cli.demo import CAPTIONS, COLUMNS
from mcdm_core.cli.expert_options import ExpertRequest, build_terms
from mcdm_core.cli.main import COMMANDS, main
from mcdm_core.conditions.request import ConditionRequest, encode_request
from mcdm_core.pictures.files import load_picture, to_picture
from mcdm_core.pictures.grid import MARGIN
from mcdm_core.system import shipped

from ...fuzz.bases import content_of
from ...support.small_experts import write_expert, write_text_expert
from .test_outcomes import code_of


@pytest.fixture
def hair(tmp_path):
    return write_expert(tmp_path / "hair.safetensors", {"kind": "map", "map": "hair"})


@pytest.fixture
def text(tmp_path):
    return write_text_expert(tmp_path / "text.safetensors")


@pytest.fixture
def hair_map(tmp_path):
    path = tmp_path / "map.png"
    Image.fromarray(np.tri(16, dtype=np.uint8) * 255).save(path)
    return path


def read(path):
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"mcdm_core {command}" in capsys.readouterr().out


def test_sample_writes_what_the_same_call_in_python_gives(hair, text, hair_map, tmp_path):
    output = tmp_path / "new folder" / "sample.png"
    experts = ["--expert", str(hair), "--map", str(hair_map), "--weight", "2.5"]
    experts += ["--expert", str(text), "--text", "red hair", "--reliability", "3", "--end", "0.5"]
    assert main(["sample", *experts, "--seed", "7", "--steps", "3", "--device", "cpu", "--output", str(output)]) == 0

    first, second = load_expert(hair), load_expert(text)
    maps, words = first.encoder.encode_map(load_picture(hair_map)), second.encoder.encode_text("red hair")
    terms = [
        Term(first, maps, maps.null(), weight=2.5),
        Term(second, words, words.null(), weight=1.0, reliability=3.0, end=0.5),
    ]
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    expected = np.asarray(to_picture(sample_product(terms, noise, "3")[0]))
    assert np.array_equal(read(output), expected)


def test_sample_leaves_out_what_it_is_told_to(hair, text, hair_map, tmp_path):
    output = tmp_path / "sample.png"
    experts = ["--expert", str(hair), "--map", str(hair_map), "--weight", "2.5", "--sigma-end", "0.1"]
    experts += ["--expert", str(text), "--text", "red hair", "--weight-curve", "0: 2, 1: 0.5"]
    fewer = ["--interval", "0", "0.8", "--interval-sigmas", "1000", "0", "--threshold", "0", "--refresh", "2"]
    rest = ["--seed", "7", "--steps", "6", "--device", "cpu", "--output", str(output)]
    assert main(["sample", *experts, *fewer, *rest]) == 0

    first, second = load_expert(hair), load_expert(text)
    maps, words = first.encoder.encode_map(load_picture(hair_map)), second.encoder.encode_text("red hair")
    terms = [
        Term(first, maps, maps.null(), weight=2.5, sigma_end=0.1),
        Term(second, words, words.null(), weight_curve=((0.0, 2.0), (1.0, 0.5))),
    ]
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    passes = Passes(end=0.8, sigma_start=1000.0, threshold=0.0, refresh=2)
    found, plain = (sample_product(terms, noise, "6", settings=[policy])[0] for policy in (passes, Passes()))
    assert np.array_equal(read(output), np.asarray(to_picture(found)))
    assert not np.array_equal(read(output), np.asarray(to_picture(plain)))


def test_sketches_come_from_pictures_and_from_drawings(tmp_path):
    expert = load_expert(write_expert(tmp_path / "sketch.safetensors", {"kind": "sketch"}))
    paper = np.full((16, 16, 3), 255, np.uint8)
    paper[8] = 0
    Image.fromarray(paper).save(tmp_path / "paper.png")
    drawn = encode_request(expert.encoder, ConditionRequest(drawing=tmp_path / "paper.png"), "sketch")
    edges = encode_request(expert.encoder, ConditionRequest(sketch=tmp_path / "paper.png"), "sketch")
    assert drawn.maps[0, 0].sum(dim=1).nonzero().flatten().tolist() == [8]
    # A dark line has an edge on either side.
    assert len(edges.maps[0, 0].sum(dim=1).nonzero()) == 2


@pytest.mark.parametrize(("kind", "ink", "paper"), [("map", 255, 0), ("drawing", 0, 255), ("sketch", 0, 255)])
def test_what_is_drawn_on_nothing_is_read_as_on_its_paper(kind, ink, paper, tmp_path):
    expert = load_expert(
        write_expert(
            tmp_path / "one.safetensors", {"kind": "map", "map": "hair"} if kind == "map" else {"kind": "sketch"}
        )
    )
    shape = Image.fromarray(np.tri(16, dtype=np.uint8) * 255)
    clear = Image.new("LA", (16, 16), (ink, 0))
    clear.putalpha(shape)
    clear.save(tmp_path / "clear.png")
    Image.composite(Image.new("L", (16, 16), ink), Image.new("L", (16, 16), paper), shape).save(tmp_path / "paper.png")
    encoded = [
        encode_request(expert.encoder, ConditionRequest(**{kind: tmp_path / f"{name}.png"}), "one").maps
        for name in ("clear", "paper")
    ]
    assert encoded[0].any()
    assert torch.equal(*encoded)


def test_a_class_is_told_by_name_or_index(tmp_path):
    classes = {"kind": "class", "classes": ["any", "Fox"]}
    animals = write_expert(tmp_path / "animals.safetensors", classes, shape={"num_classes": 2})

    def drawn(name):
        output = tmp_path / f"{name}.png"
        options = ["--class-name", name, "--weight", "2", "--steps", "3", "--overwrite", "--output", str(output)]
        assert main(["sample", "--expert", str(animals), *options]) == 0
        return read(output)

    assert np.array_equal(drawn("fox"), drawn("1"))
    assert not np.array_equal(drawn("fox"), drawn("any"))


@pytest.fixture
def with_variance(tmp_path):
    """A map expert whose network has learned the variance of its steps."""
    shape = {"map_channels": 1, "out_channels": 6}
    return write_expert(tmp_path / "variance.safetensors", {"kind": "map", "map": "hair"}, shape=shape)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", SAMPLERS)
def test_any_sampler_can_be_chosen(name, with_variance, hair_map, tmp_path):
    output = tmp_path / "sample.png"
    given = ["--expert", str(with_variance), "--map", str(hair_map), "--weight", "2", "--seed", "7", "--steps", "3"]
    assert main(["sample", *given, "--sampler", name, "--device", "cpu", "--output", str(output)]) == 0

    expert = load_expert(with_variance)
    condition = expert.encoder.encode_map(load_picture(hair_map))
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    terms, generator = [Term(expert, condition, condition.null(), weight=2.0)], torch.Generator().manual_seed(8)
    expected = sample_product(terms, noise, "3", sampler=SAMPLERS[name], generator=generator)
    assert np.array_equal(read(output), np.asarray(to_picture(expected[0])))


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(3, 1, 3), (8, 1, 8), (10, 3, 1 + 4), (121, 11, 1 + 11)], ids=str
)
def test_several_pictures_make_a_grid(count, rows, columns, hair, hair_map, tmp_path):
    """One of 121 pictures in a row would be wider than its format allows."""
    output = tmp_path / "grid.webp"
    arguments = ["--expert", str(hair), "--map", str(hair_map), "--steps", "1", "--device", "cpu"]
    assert main(["sample", *arguments, "--count", str(count), "--output", str(output)]) == 0
    assert Image.open(output).size == (MARGIN + columns * (128 + MARGIN), 128 // 3 + rows * (128 + MARGIN))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--expert", "{hair}", "--text", "a man"], "driven by a hair map, not by text"),
        (["--expert", "{hair}", "--map", "{map}", "--text", "a man"], "keep one of them"),
        (["--expert", "{hair}", "--map", "{hair}"], "should be a picture"),
        (["--expert", "{hair}", "--map", "nowhere.png"], "nowhere.png"),
        (["--expert", "nobody"], "nor an expert that ships (animals, hair"),
        (["--expert", "{hair}", "--with-text"], "describe a map"),
        (["--expert", "{hair}"], "Hair needs a prompt"),
        (["--expert", "{hair}", "--map", "{map}", "--threshold", "2"], "threshold of a cosine"),
        (["--expert", "{hair}", "--map", "{map}", "--threshold", "0.9"], "skips no negative; give both"),
        (["--expert", "{hair}", "--map", "{map}", "--interval", "0.5", "0.1"], "start below end for the guidance"),
        (["--expert", "{hair}", "--map", "{map}", "--weight", "-1", "--interval", "0", "0.5"], "of positive weight"),
        (["--expert", "{hair}", "--map", "{map}", "--steps", "many"], "many"),
        (["--expert", "{hair}", "--map", "{map}", "--sampler", "ddpm", "--eta", "1"], "leave --eta out"),
        (["--expert", "{hair}", "--map", "{map}", "--sampler", "ddpm-learned"], "with a learned variance"),
        (["--expert", "{hair}", "--weight-curve", "often"], 'Expected a weight curve such as "0: 1, 0.5: 2, 1: 0.5"'),
        (["--weight", "2", "--expert", "{hair}"], "put it after --expert"),
    ],
)
def test_what_cannot_be_sampled_is_said_in_a_sentence(arguments, sentence, hair, hair_map, tmp_path, capsys):
    arguments = [argument.format(hair=hair, map=hair_map) for argument in arguments]
    output = tmp_path / "none.png"
    assert code_of(["sample", *arguments, "--output", str(output)]) == 2
    assert sentence in capsys.readouterr().err
    assert not output.exists()


def test_demo_shows_conditions_each_expert_and_the_product(tmp_path, monkeypatch):
    for name in ("hair", "skin"):
        write_expert(tmp_path / f"{name}.safetensors", {"kind": "map", "map": name}, size=64)
    write_text_expert(tmp_path / "text.safetensors", size=64)
    monkeypatch.setattr(shipped, "EXPERTS", tmp_path)
    output = tmp_path / "demo.png"
    assert main(["demo", "--steps", "2", "--output", str(output)]) == 0

    tile, title = 256, 256 // 3  # the size of the maps
    grid = read(output)
    step = tile + MARGIN
    assert grid.shape == (title + len(CAPTIONS) * step, MARGIN + len(COLUMNS) * step, 3)
    tiles = [grid[title : title + tile, MARGIN + i * step : MARGIN + i * step + tile] for i in range(len(COLUMNS))]
    hair_map = read(shipped.EXAMPLES / "face_1_hair.png")
    assert np.array_equal(tiles[0][..., 0], hair_map)
    sampled = tiles[3:]
    assert all(not np.array_equal(a, b) for i, a in enumerate(sampled) for b in sampled[:i])


def test_info_says_what_a_file_is(hair, text, capsys):
    assert main(["info", str(hair), str(text)]) == 0
    printed = capsys.readouterr().out
    for words in ("map hair", "3 × 16 × 16", "cosine schedule, v-prediction", "CC BY 4.0", "expert 'text'"):
        assert words in printed


def test_info_shows_entries_that_it_does_not_know_without_doing_what_they_say(tmp_path, capsys):
    condition = {"kind": "map", "map": "hair", "thresholds": [100, 200], "note": "\x1b[31m\nexpert 'other'"}
    hair = write_expert(tmp_path / "hair.safetensors", condition)
    assert main(["info", str(hair)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert len(printed.splitlines()) == 6


def test_an_overridden_size_of_a_file_that_enlarges_nothing(tmp_path, capsys):
    shape = {"num_classes": 3}
    whole = write_expert(tmp_path / "a.safetensors", {"kind": "class", "low_res": None}, shape=shape)
    assert main(["info", str(whole), "--image-size", "32"]) == 0
    assert "3 × 32 × 32" in capsys.readouterr().out


def test_info_writes_what_a_pipe_has_no_letters_for(hair, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    assert main(["info", str(hair)]) == 0
    assert b"3 \\xd7 16 \\xd7 16" in written.getvalue()


@pytest.mark.parametrize("name", ["hair", "text"])
def test_convert_keeps_tensors_and_description(name, tmp_path, request):
    original = request.getfixturevalue(name)
    content = content_of(original)
    torch.save(content, tmp_path / "old.pt")
    target = tmp_path / "new.safetensors"
    assert main(["convert", str(tmp_path / "old.pt"), str(target)]) == 0

    converted = content_of(target)
    assert converted.keys() == content.keys()
    assert all(torch.equal(converted[key], content[key]) for key in content.keys() - {"mcdm"})
    assert load_expert(target).metadata == load_expert(original).metadata


def test_a_small_picture_is_enlarged_beside_its_class(tmp_path):
    path = write_expert(
        tmp_path / "up.safetensors", {"kind": "class", "low_res": 4}, shape={"num_classes": 3, "low_res_channels": 3}
    )
    Image.fromarray(np.tri(4, dtype=np.uint8) * 255).save(tmp_path / "small.png")
    given = ["--expert", str(path), "--class-name", "2", "--low-res", str(tmp_path / "small.png"), "--weight", "3"]
    output = tmp_path / "large.png"
    options = ["--steps", "2", "--temperature", "0.997", "--device", "cpu", "--output", str(output)]
    assert main(["sample", *given, *options]) == 0

    expert = load_expert(path)
    picture = load_picture(tmp_path / "small.png")
    condition, null = (expert.encoder.encode_low_res(picture, expert.encoder.encode_class(index)) for index in (2, 0))
    noise = 0.997 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = sample_product([Term(expert, condition, null, weight=3.0)], noise, "2")
    assert np.array_equal(read(output), np.asarray(to_picture(expected[0])))


def test_maps_of_the_face_network_are_told_apart_and_share_it(tmp_path, hair_map):
    condition = {"kind": "face", "maps": ["face", "hair"], "map_channels": 6, "embedding": 8}
    path = write_expert(
        tmp_path / "f.safetensors", condition, shape={"map_channels": 6, "convert_maps": True, "film_dim": 8}
    )
    requests = [ExpertRequest(str(path), map=hair_map, map_kind=kind, with_text=True) for kind in ("face", "hair")]
    face, hair = build_terms(requests, "cpu")
    assert face.expert is hair.expert
    assert face.condition.text_active
    assert face.null.same_as(hair.null)
    assert torch.equal(face.condition.maps.roll(3, dims=1), hair.condition.maps)
