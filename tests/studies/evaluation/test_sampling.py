"""Samples of held-out conditions: what decides them, and that none is drawn twice."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from mcdm_core import Term, load_expert, sample_product
from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder, save_autoencoder
from mcdm_core.sampling.operations import Logic
from studies.baselines import Generator, GeneratorConfig, save_gan
from studies.data import landscapes
from studies.evaluation import jobs, sampling
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.drawing import condition_of
from studies.evaluation.kinds import open_held_out
from studies.evaluation.methods import Choice
from studies.evaluation.sampling import draw_samples, sample_key

from ...support.evaluations import InProcess, images_of, write_small, write_small_latent, write_small_maps
from ...support.small_experts import write_vae
from ...support.tiny_runs import write_folder

FACES = DataConfig("faces", seed=23_000_000, count=3)
HAIR, SKIN = TermConfig("hair", ("hair",), weight=2.0), TermConfig("skin", ("skin",), weight=3.0, reliability=2.0)
UNITED = Setting("united", (HAIR, SKIN), steps=2)
METHODS = (
    *({"choose": Choice()}, {"choose": Choice(of=3)}, {"together": 4}, {"candidate": 1}),
    *({"logic": Logic()}, {"logic": Logic(operation="or")}, {"logic": Logic(priors=(1.0, 2.0))}),
)
ADDED = ({"lora": ("both",)}, {"lora": ("both",), "strength": 0.5}, {"mask": "hair"}, {"mask": "not hair"})


@pytest.fixture
def experts(tmp_path):
    write_small_maps(tmp_path / "experts", "hair", "skin")
    write_small(tmp_path / "experts", "both", {"kind": "maps", "maps": ["hair", "skin"]}, {"map_channels": 2})
    return {path.stem: path for path in (tmp_path / "experts").iterdir()}


@pytest.fixture
def draw(experts, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)

    def draw_setting(setting, count=2, data=FACES, out="samples"):
        return draw_samples(setting, data, experts, count, tmp_path / out, 1).images

    return draw_setting


def starts(count):
    return torch.stack([torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(count)])


def expected_of(experts, sources, weights=(2.0, 3.0)):
    """The product of hair and skin, by the library alone; the maps are those of the pictures `sources`."""
    terms = []
    for name, rows, weight, reliability in zip(("hair", "skin"), sources, weights, (1.0, 2.0), strict=True):
        expert = load_expert(experts[name])
        maps = torch.from_numpy(np.stack([open_held_out(FACES)[i].maps[name] for i in rows])).float() / 255
        condition = expert.encoder.encode_map(maps)
        terms.append(Term(expert, condition, condition.null(), weight=weight, reliability=reliability))
    return images_of(sample_product(terms, starts(len(sources[0])), "2"))


def test_a_shifted_condition_is_that_of_the_next_picture(draw, experts):
    shifted = replace(UNITED, terms=(HAIR, replace(SKIN, shift=1)))
    assert np.array_equal(draw(shifted, 3), expected_of(experts, [(0, 1, 2), (1, 2, 0)]))


def test_maps_of_one_network_share_a_row(draw, experts):
    encoder, faces = load_expert(experts["both"]).encoder, open_held_out(FACES)
    both = TermConfig("both", ("hair", "skin"), shift=1)
    condition = condition_of(both, load_expert(experts["both"]), faces, range(2))
    for channel, name in enumerate(("hair", "skin")):
        assert torch.equal(condition.maps[:, channel], faces.map_of(name, [1, 2]))
    assert condition.signature == encoder.null(2).signature
    assert condition_of(TermConfig("both"), load_expert(experts["both"]), faces, range(2)) is None
    alone, together = (replace(UNITED, terms=(TermConfig("both", names),)) for names in (("hair",), ("hair", "skin")))
    assert not np.array_equal(draw(alone), draw(together))


def test_windows_are_kept_to(draw):
    early, late = replace(HAIR, end=0.5), replace(SKIN, start=0.5)
    assert not np.array_equal(draw(replace(UNITED, terms=(early, late))), draw(UNITED))


def test_own_nulls_differ_where_the_nulls_do(draw):
    product, own = draw(UNITED), draw(replace(UNITED, rule="own-null"))
    assert not np.array_equal(product, own)
    one = replace(UNITED, terms=(HAIR,))
    assert np.array_equal(draw(one), draw(replace(one, rule="own-null")))


def test_an_expert_without_a_condition_lends_its_null(draw):
    lent = (replace(HAIR, reliability=0.0), TermConfig("skin", weight=0.0))
    assert not np.array_equal(draw(replace(UNITED, terms=lent)), draw(replace(UNITED, terms=(HAIR,))))
    with pytest.raises(ValueError, match="Skin needs a prompt"):
        draw(replace(UNITED, terms=(HAIR, TermConfig("skin"))))


def test_nothing_is_a_condition_that_is_the_null(draw, experts):
    nothing = TermConfig("skin", ("nothing",))
    faces, expert = open_held_out(FACES), load_expert(experts["skin"])
    assert torch.equal(condition_of(nothing, expert, faces, range(2)).maps, expert.encoder.null(2).maps)
    weighed = (draw(replace(UNITED, terms=(replace(nothing, weight=weight),))) for weight in (1.0, 3.0))
    assert np.array_equal(*weighed)  # guidance from the null to itself


def test_an_interrupted_run_goes_on_with_the_missing_batches(draw, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "BATCH", 1)
    whole = draw(UNITED, 3)
    first, second, third = sorted((tmp_path / "samples").iterdir())
    second.unlink()
    for kept in (first, third):
        np.save(kept, np.zeros((1, 64, 64, 3), np.uint8))  # drawn again, they would not be black
    second.with_suffix(".partial.npy").write_bytes(b"half of it")
    resumed = draw(UNITED, 3)
    assert not resumed[[0, 2]].any()
    assert np.array_equal(resumed[1], whole[1])


def test_what_decides_the_pictures_names_them(experts, tmp_path):
    shifted = replace(UNITED, terms=(HAIR, replace(SKIN, shift=1)))
    other = experts | write_small_maps(tmp_path / "trained", "skin")
    keys = [
        sample_key(*each)
        for each in (
            (UNITED, FACES, experts),
            (replace(UNITED, terms=(HAIR, replace(SKIN, weight=1.0))), FACES, experts),
            (replace(UNITED, terms=(HAIR, replace(SKIN, reliability=1.0))), FACES, experts),
            (replace(UNITED, terms=(HAIR, replace(SKIN, end=0.5))), FACES, experts),
            (replace(UNITED, terms=(HAIR,)), FACES, experts),
            (replace(UNITED, steps=3), FACES, experts),
            (replace(UNITED, eta=0.5), FACES, experts),
            (replace(UNITED, rule="own-null"), FACES, experts),
            (replace(UNITED, autocast=True), FACES, experts),
            *((replace(UNITED, **method), FACES, experts) for method in METHODS),
            *((replace(UNITED, terms=(replace(HAIR, **added), SKIN)), FACES, experts) for added in ADDED),
            (UNITED, replace(FACES, seed=1), experts),
            (UNITED, replace(FACES, spread=1.5), experts),
            (UNITED, replace(FACES, leading={"hair_color": "red"}), experts),
            (UNITED, FACES, other),
            (shifted, FACES, experts),
            (shifted, replace(FACES, count=4), experts),  # the last picture's next one is another
        )
    ]
    assert len(set(keys)) == len(keys)


def test_what_does_not_decide_them_does_not(experts, tmp_path):
    moved = dict(experts, hair=tmp_path / "hair.safetensors")
    moved["hair"].write_bytes(experts["hair"].read_bytes())
    unused = {name: path for name, path in experts.items() if name != "both"}
    (row,) = replace(UNITED, name="varied", vary="steps", values=(2.0,)).rows()
    same = {
        sample_key(*each)
        for each in (
            (UNITED, FACES, experts),
            (replace(UNITED, name="another name", count=1), FACES, experts),
            (row, FACES, experts),
            (UNITED, replace(FACES, count=50, features="resnet.pth"), experts),
            (UNITED, FACES, moved),
            (UNITED, FACES, unused),
        )
    }
    assert len(same) == 1


def test_the_vae_of_every_space_decides_them(tmp_path):
    experts = {}
    for name, seed in (("hair", 0), ("skin", 1)):
        (tmp_path / name).mkdir()
        write_vae(tmp_path / name / "vae.safetensors", seed)
        vae = load_autoencoder(tmp_path / name / "vae.safetensors")
        write_small_latent(tmp_path / name, name, {"kind": "map", "map": name}, {"map_channels": 64}, encoder_key(vae))
        experts[name] = tmp_path / name / f"{name}.safetensors"
    shutil.copytree(tmp_path / "skin", tmp_path / "other")
    vae.decoder[-1].bias += 1  # the same latents, other pictures
    save_autoencoder(tmp_path / "other" / "vae.safetensors", vae)
    other = experts | {"skin": tmp_path / "other" / "skin.safetensors"}
    assert sample_key(UNITED, FACES, experts) != sample_key(UNITED, FACES, other)


def test_how_landscapes_are_drawn_decides_samples_of_scenes_alone(experts, monkeypatch):
    asked = [(UNITED, data, experts) for data in (FACES, replace(FACES, kind="scenes"))]
    faces, scenes = (sample_key(*each) for each in asked)
    monkeypatch.setattr(landscapes, "DRAWING_VERSION", landscapes.DRAWING_VERSION + 1)
    assert sample_key(*asked[0]) == faces
    assert sample_key(*asked[1]) != scenes


def test_a_folder_s_files_decide_its_samples(experts, tmp_path):
    first, second = (write_folder(tmp_path / name, count=2) for name in ("one", "another"))
    third = write_folder(tmp_path / "third", count=2)
    (third / "hair" / "face_0.png").write_bytes((third / "hair" / "face_1.png").read_bytes())
    keys = [sample_key(UNITED, DataConfig("folder", path=str(path)), experts) for path in (first, second, third)]
    assert keys[0] == keys[1] != keys[2]


def test_a_gan_is_given_its_maps(draw, experts, tmp_path):
    generator = Generator(GeneratorConfig(channels=(8, 8, 8, 8), hidden=4, noise_dim=4)).eval()
    experts["gan"] = tmp_path / "gan.safetensors"
    save_gan(experts["gan"], generator.half().float())
    asked = Setting("GAN", (TermConfig("gan", ("skin",), shift=1),), "gan")
    maps = torch.zeros(2, 2, 64, 64)
    maps[:, 1] = open_held_out(FACES).map_of("skin", [1, 2])
    assert np.array_equal(draw(asked), images_of(generator.generate(maps, [0, 1])))
    with pytest.raises(ValueError, match="'gan' reads hair and skin maps, and no sketch; leave it out"):
        draw(replace(asked, terms=(TermConfig("gan", ("sketch",)),)))
