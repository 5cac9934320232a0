"""Experts that make latents, and the VAE they belong to."""

from pathlib import Path

import pytest
import torch

from mcdm_core import load_expert
from mcdm_core.checkpoints import CheckpointError, autoencoders, save_expert
from mcdm_core.checkpoints.autoencoders import encoder_key, find_vae_of, load_autoencoder
from mcdm_core.checkpoints.metadata import ExpertMetadata
from mcdm_core.cli.sampling_options import SamplingOptions
from mcdm_core.networks import UNet, UNetConfig
from mcdm_core.product.terms.term import Term

from ...support.small_experts import LATENT_NETWORK, write_vae

EARLIER = Path(__file__).parents[3] / "studies" / "networks" / "pixels" / "hair.safetensors"


@pytest.fixture
def vaes(tmp_path):
    """A VAE, and another one, in the folder beside that of the experts."""
    folder = tmp_path / "vae"
    folder.mkdir()
    for seed, name in enumerate(("b.safetensors", "a.safetensors")):
        write_vae(folder / name, seed)
    return folder


@pytest.fixture
def path(tmp_path, vaes):
    """An expert of the first VAE's latents."""
    torch.manual_seed(0)
    key = encoder_key(load_autoencoder(vaes / "b.safetensors"))
    metadata = ExpertMetadata("latent", LATENT_NETWORK, 32, {"kind": "none"}, vae=key)
    (tmp_path / "experts").mkdir()
    save_expert(tmp_path / "experts" / "latent.safetensors", UNet(LATENT_NETWORK), metadata)
    return tmp_path / "experts" / "latent.safetensors"


def test_an_expert_finds_the_vae_of_its_latents_by_what_it_encodes(path, vaes):
    expert, pictures = load_expert(path), torch.rand(9, 3, 32, 32) * 2 - 1
    own, other = (load_autoencoder(vaes / name) for name in ("b.safetensors", "a.safetensors"))
    latents = expert.encode(pictures)
    torch.testing.assert_close(latents, own.encode(pictures))
    assert not torch.allclose(latents, other.encode(pictures))
    torch.testing.assert_close(expert.decode(latents), own.decode(latents))
    assert latents.shape[1:] == expert.sample_shape


def test_samples_become_pictures(path):
    expert = load_expert(path)
    pictures = SamplingOptions("2").sample([Term(expert, expert.encoder.null(), expert.encoder.null())], 1, 2)
    assert pictures.shape == (2, 3, 32, 32)


def test_experts_of_pictures_leave_them_as_they_are():
    expert, pictures = load_expert(EARLIER), torch.rand(1, 3, 64, 64)
    assert expert.decode(pictures) is pictures
    assert expert.encode(pictures) is pictures
    assert expert.vae is None


def test_a_vae_that_is_missing_or_another_s_is_refused(path, vaes):
    with pytest.raises(ValueError, match=r"latent\.safetensors makes latents of the VAE .* a\.safetensors makes other"):
        _ = load_expert(path, vae=vaes / "a.safetensors").vae
    (vaes / "b.safetensors").write_bytes(b"no header")
    with pytest.raises(ValueError, match=r"is not there; put its file .* \(other VAEs are there: a\.safetensors\)\."):
        _ = load_expert(path).vae
    expert = load_expert(path)
    assert expert.sample_shape == (4, 4, 4)  # until it is needed, no VAE has to be there


def test_a_vae_may_lie_elsewhere_beside_files_of_other_programs(path, vaes, tmp_path):
    key, elsewhere = load_expert(path).metadata["vae"], tmp_path / "elsewhere" / "kept.safetensors"
    elsewhere.parent.mkdir()
    (vaes / "b.safetensors").rename(elsewhere)
    foreign = elsewhere.with_name("foreign.safetensors")
    foreign.write_bytes(b"nothing that could be read")
    with pytest.raises(ValueError, match="is not there"):
        find_vae_of(path, key)
    assert find_vae_of(path, key, [foreign, vaes / "a.safetensors", elsewhere]) == elsewhere


def test_a_vae_that_is_damaged_is_named_where_it_may_be_the_one(path, vaes):
    key, other = load_expert(path).metadata["vae"], vaes / "a.safetensors"
    whole = other.read_bytes()
    other.write_bytes(whole.replace(b'"taesd_encoder.0.bias"', b'"taesd_encoder.0.bier"'))
    assert find_vae_of(path, key) == vaes / "b.safetensors"
    (vaes / "b.safetensors").unlink()
    with pytest.raises(ValueError, match=r"a\.safetensors lacks"):
        find_vae_of(path, key)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("gone.safetensors")], ids=["folder", "link"])
def test_what_is_named_as_a_file_and_is_none_is_passed_over(path, vaes, make):
    key, odd = load_expert(path).metadata["vae"], vaes / "a.safetensors"
    odd.unlink()
    make(odd)
    assert find_vae_of(path, key, [odd]) == vaes / "b.safetensors"


def test_a_vae_that_was_replaced_is_another_one(path, vaes):
    key = load_expert(path).metadata["vae"]
    assert find_vae_of(path, key) == vaes / "b.safetensors"
    (vaes / "b.safetensors").replace(vaes / "a.safetensors")
    assert find_vae_of(path, key) == vaes / "a.safetensors"


def test_a_header_of_latents_is_of_another_format_than_one_of_pictures(path):
    metadata = load_expert(path).metadata
    assert metadata["format"] == 2
    again = ExpertMetadata.from_json(ExpertMetadata("pixels", UNetConfig(), 64, {"kind": "none"}).to_json())
    assert again.vae is None
    assert again.to_dict()["format"] == 1


def test_a_file_beside_an_expert_that_can_not_be_opened_hides_no_vae(path, vaes, monkeypatch):
    locked = path.with_name("a.safetensors")
    locked.touch()
    read = autoencoders.key_of_vae

    def key_of_vae(file):
        if file == locked:
            raise PermissionError(13, "Permission denied", str(file))
        return read(file)

    monkeypatch.setattr(autoencoders, "key_of_vae", key_of_vae)
    key = load_expert(path).metadata["vae"]
    assert find_vae_of(path, key) == vaes / "b.safetensors"
    (vaes / "b.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"a\.safetensors may be the VAE of latent\.safetensors, but Permission de"
    ):
        find_vae_of(path, key)
