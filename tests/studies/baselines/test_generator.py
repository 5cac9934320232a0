"""The generator and its file."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcdm_core.checkpoints import CheckpointError
from studies.baselines import Generator, GeneratorConfig, load_gan, save_gan

CONFIG = GeneratorConfig(channels=(16, 16, 16), hidden=8, noise_dim=4)
SIZE = CONFIG.image_size


@pytest.fixture
def generator():
    return Generator(CONFIG).eval()


def test_shapes_and_range(generator):
    assert SIZE == 32
    pictures = generator.generate(torch.rand(3, 2, SIZE, SIZE), [0, 1, 2])
    assert pictures.shape == (3, 3, SIZE, SIZE)
    assert pictures.dtype == torch.float32
    assert pictures.abs().max() <= 1
    assert generator.generate(torch.rand(0, 2, SIZE, SIZE), []).shape == (0, 3, SIZE, SIZE)


def test_the_default_makes_faces_of_64_pixels():
    config = GeneratorConfig()
    assert config.image_size == 64
    parameters = sum(tensor.numel() for tensor in Generator(config).parameters())
    assert 1e6 < parameters < 2e6


def test_a_row_depends_on_its_own_map_and_seed_only(generator):
    maps = torch.rand(3, 2, SIZE, SIZE)
    together = generator.generate(maps, [5, 6, 5])
    assert torch.equal(together, generator.generate(maps, [5, 6, 5]))
    for row, seed in enumerate([5, 6, 5]):
        torch.testing.assert_close(together[row : row + 1], generator.generate(maps[row : row + 1], [seed]))
    other = generator.generate(maps, [5, 7, 5])
    assert (other[1] - together[1]).abs().mean() > 1e-3
    torch.testing.assert_close(other[[0, 2]], together[[0, 2]])


@pytest.mark.parametrize("channel", [0, 1])
def test_a_map_acts_where_it_changes(generator, channel):
    maps = torch.zeros(1, 2, SIZE, SIZE)
    changed = maps.clone()
    changed[:, channel, :8, :8] = 1
    difference = (generator.generate(changed, [0]) - generator.generate(maps, [0])).abs().mean(dim=(0, 1))
    corner = difference[:8, :8].mean()
    assert corner > 1e-3
    # Norms and the coarse levels carry a little of it everywhere.
    assert corner > 3 * difference[16:, 16:].mean()


def test_single_pixels_of_a_map_are_read(generator):
    maps = torch.zeros(2, 2, SIZE, SIZE)
    maps[0, 0, 10, 10] = 1
    maps[1, 0, 11, 11] = 1  # the same square of `patch` pixels, so the same average
    first, second = generator.generate(maps, [0, 0])
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("maps", "seeds", "message"),
    [
        ((1, 1, SIZE, SIZE), [0], r"Expected maps of shape \(B, 2, 32, 32\) and got \(1, 1, 32, 32\)"),
        ((1, 2, 16, 16), [0], "resize them"),
        ((2, 2, SIZE, SIZE), [0], "a seed for each of 2 rows and got 1"),
    ],
)
def test_wrong_maps_and_seeds_are_refused(generator, maps, seeds, message):
    with pytest.raises(ValueError, match=message):
        generator.generate(torch.zeros(maps), seeds)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "positive integer as the generator's hidden and got 0"),
        ({"channels": (16, True)}, r"channels\[1\] and got True"),
        ({"channels": (12,)}, "widths that 8 norm groups divide"),
        ({"channels": ()}, "widths that 8 norm groups divide"),
    ],
)
def test_impossible_architectures_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GeneratorConfig(**settings)


def test_a_file_gives_the_generator_back(generator, tmp_path):
    path = tmp_path / "gan.safetensors"
    save_gan(path, generator, {"steps": 3})
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    loaded = load_gan(path)
    assert loaded.config == CONFIG
    assert not loaded.training
    maps = torch.rand(2, 2, SIZE, SIZE)
    expected, actual = generator.generate(maps, [1, 2]), loaded.generate(maps, [1, 2])
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, atol=5e-3, rtol=0)


def test_foreign_files_are_refused(generator, tmp_path):
    foreign = tmp_path / "expert.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign, {"mcdm": "{}"})
    with pytest.raises(CheckpointError, match=r"expert\.safetensors is no generator of a GAN"):
        load_gan(foreign)
    foreign.write_bytes(b"no file of tensors at all")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_gan(foreign)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(format=2), "is of format 2 and this version reads format 1"),
        (lambda header: header.pop("generator"), "has a description that cannot be used"),
        (lambda header: header["generator"].update(depth=3), "has a description that cannot be used"),
        (lambda header: header["generator"].update(hidden="8"), "positive integer"),
        (lambda header: header["generator"].update(channels=16), "has a description that cannot be used"),
        (lambda header: header["generator"].update(hidden=16), "has wrong shapes in"),
        (lambda header: header["generator"].update(channels=[16, 16]), "unexpected beside the generator's"),
    ],
)
def test_headers_that_do_not_fit_are_refused(generator, tmp_path, change, message):
    path = tmp_path / "gan.safetensors"
    header = {"format": 1, "generator": asdict(generator.config), "card": {}}
    change(header)
    save_file(generator.state_dict(), path, {"mcdm_gan": json.dumps(header)})
    with pytest.raises(CheckpointError, match=message):
        load_gan(path)
