"""The stated feature network: what it knows of drawn pictures, and what distances over it notice."""

import numpy as np
import pytest
import torch

from studies.evaluation.features import (
    CLASSES,
    DRAWN_CLASSES,
    UNKNOWN,
    disturb,
    draw_labelled_faces,
    draw_labelled_scenes,
    fit_features,
    train_features,
)
from studies.metrics import drawing_features, feature_vectors, frechet_distance, shrunk
from studies.metrics.features import to_network

COUNT = 60


@pytest.fixture(scope="module")
def faces():
    return draw_labelled_faces(21_000_000, 2 * COUNT)


@torch.no_grad()
def right(images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    logits = drawing_features().logits(to_network(images))
    known = {name: labels[:, column] != UNKNOWN for column, name in enumerate(DRAWN_CLASSES)}
    read = {name: logits[name].argmax(dim=1).numpy() for name in DRAWN_CLASSES}
    return {
        name: float(np.mean((read[name] == labels[:, column])[known[name]]))
        for column, name in enumerate(DRAWN_CLASSES)
        if known[name].any()
    }


def test_it_reads_faces_that_it_has_not_seen(faces):
    shares = right(*faces)
    assert set(shares) == {"hair_color", "skin_color", "background", "mouth", "hair_style", "rear_hair", "beard"}
    assert min(shares[name] for name in ("hair_color", "skin_color", "background", "hair_style")) >= 0.95
    assert min(shares.values()) >= 0.7  # mouths and beards are small


def test_it_reads_scenes_that_it_has_not_seen():
    shares = right(*draw_labelled_scenes(36_000_000, COUNT))
    assert set(shares) == {"animal", "sky", "orb", "hills"}
    assert min(shares.values()) >= 0.85


def test_features_are_those_of_the_network(faces):
    images = faces[0][:3]
    network = drawing_features()
    with torch.no_grad():
        expected = network.encoder(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    vectors = feature_vectors(images, network)
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-4)


def test_the_distance_notices_blur_noise_and_a_missing_colour(faces):
    images, labels = faces
    network = drawing_features()
    reference = feature_vectors(images[:COUNT], network)

    def distance(pictures: np.ndarray) -> float:
        return frechet_distance(feature_vectors(pictures, network), reference)

    others = images[COUNT:]
    alike = distance(others)
    pictures = to_network(others)
    generator = torch.Generator().manual_seed(0)
    noisy = pictures + 16 / 127.5 * torch.randn(pictures.shape, generator=generator)
    soft = torch.nn.functional.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    for changed in (noisy, soft):
        values = ((changed + 1) * 127.5).clamp(0, 255).round().byte()
        assert distance(values.permute(0, 2, 3, 1).numpy()) > 2 * alike
    one_color = images[labels[:, list(DRAWN_CLASSES).index("hair_color")] == 0]
    assert distance(one_color[np.arange(COUNT) % len(one_color)]) > 1.5 * alike


def test_pictures_that_are_no_pictures_are_refused():
    with pytest.raises(ValueError, match=r"uint8.*convert them to RGB"):
        feature_vectors(np.zeros((1, 64, 64, 3)), drawing_features())
    for height, width in ((32, 64), (96, 96), (128, 64)):
        with pytest.raises(ValueError, match=rf"64 × 64 pixels, or a multiple, but got {height} × {width}"):
            feature_vectors(np.zeros((1, height, width, 3), dtype=np.uint8), drawing_features())


def test_larger_pictures_are_averaged():
    small = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    large[:, ::2] = large[:, ::2] // 2 + 40
    large[:, 1::2] = large[:, 1::2] // 2 + 80  # lines that the mean does not have
    mean = shrunk(large, 64)
    assert feature_vectors(large, drawing_features()) == pytest.approx(
        feature_vectors(mean, drawing_features()), abs=0.1
    )


@pytest.mark.long
def test_it_learns_what_is_labelled_and_how_much_pictures_were_disturbed():
    labels = torch.full((64, len(DRAWN_CLASSES)), UNKNOWN)
    column = list(DRAWN_CLASSES).index("sky")
    labels[:, column] = torch.arange(64) % 2
    images = torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    images[labels[:, column] == 0, :, ::4] = 255
    images[labels[:, column] == 1, :, :, ::4] = 255
    network = fit_features(images, labels, steps=30, seed=0)
    pictures, levels = disturb(images.float() / 127.5 - 1, np.random.default_rng(1))
    with torch.no_grad():
        logits = network.logits(pictures)
    assert list(logits) == list(CLASSES)
    assert (logits["sky"].argmax(dim=1) == labels[:, column]).float().mean() > 0.95
    assert (logits["noise"].argmax(dim=1) == levels[:, 1]).float().mean() > 0.6


def test_disturbed_pictures_are_blurred_and_noised_by_their_levels():
    stripes = torch.ones(300, 3, 64, 64)
    stripes[:, :, ::2] = -1
    pictures, levels = disturb(stripes, np.random.default_rng(0))
    # A mean over three rows turns ±1 into ∓1/3: contrast 1, (1 − 1/3)/2 = 1/3 and 1/3 with its sign changed.
    contrast = (pictures[:, :, 2:-2] * stripes[:, :, 2:-2]).mean(dim=(1, 2, 3))
    wanted = torch.tensor([1, 1 / 3, -1 / 3])[levels[:, 0]]
    torch.testing.assert_close(contrast, wanted, atol=0.01, rtol=0)
    noise = (pictures[:, :, 2:-2] - wanted[:, None, None, None] * stripes[:, :, 2:-2]).std(dim=(1, 2, 3))
    torch.testing.assert_close(noise, torch.tensor([0, 0.05, 0.12])[levels[:, 1]], atol=0.01, rtol=0)


def test_a_trained_network_is_read_back(tmp_path):
    path = train_features(tmp_path / "features.safetensors", steps=1, count=3)
    assert {name: head.out_features for name, head in drawing_features(path).heads.items()} == CLASSES
