"""Every published file is known by its tensors, and by nothing less than all of them."""

import gzip
import json
import math
import random
from functools import cache

import pytest

from mcdm_core.checkpoints import CheckpointError, Overrides
from mcdm_core.checkpoints.recognition import recognize
from mcdm_core.checkpoints.recognition.layout import Layout, read_layout
from mcdm_core.networks import UNetConfig

from ...support.published.reference_weights import PARITY

AT_64 = {"mc": 192, "blocks": 3, "mult": (1, 2, 3, 4), "attention": (2, 4, 8), "size": 64, "heads": (None, 64)}
AT_256 = {
    "mc": 192, "blocks": 2, "mult": (1, 1, 2, 2, 4, 4), "attention": (8, 16, 32), "size": 256, "heads": (None, 64)
}  # fmt: skip
WIDE = {**AT_256, "mc": 256}
UPSAMPLER = {**AT_256, "low_res": 3, "kind": "class"}
# What the specification's table says of each file; "heads" are their number, or None, and their channels.
TABLE = {
    "64x64_diffusion.pt": {**AT_64, "new_order": True, "schedule": "cosine", "kind": "class"},
    "128x128_diffusion.pt": {
        **WIDE, "mult": (1, 1, 2, 3, 4), "attention": (4, 8, 16), "size": 128, "heads": (4, None), "kind": "class"
    },
    "256x256_diffusion.pt": {**WIDE, "kind": "class"},
    "256x256_diffusion_uncond.pt": {**WIDE, "kind": "none"},
    "512x512_diffusion.pt": {
        **WIDE, "mult": (0.5, 1, 1, 2, 2, 4, 4), "attention": (16, 32, 64), "size": 512, "kind": "class"
    },
    "64_256_upsampler.pt": {**UPSAMPLER, "heads": (4, None)},
    "128_512_upsampler.pt": {**UPSAMPLER, "attention": (16, 32), "size": 512},
    "glide_base.pt": {**AT_64, "schedule": "squaredcos_cap_v2", "kind": "tokens"},
    "glide_base_inpaint.pt": {**AT_64, "schedule": "squaredcos_cap_v2", "kind": "tokens", "maps": 4},
    "glide_upsample.pt": {**AT_256, "kind": "tokens", "low_res": 3},
    "glide_upsample_inpaint.pt": {**AT_256, "kind": "tokens", "maps": 4, "low_res": 3},
    "uac_face_model_latest.pt": {**AT_256, "kind": "face", "maps": 6},
    "uac_model_sketch.pt": {**AT_256, "kind": "sketch", "maps": 3},
}  # fmt: skip


@cache
def manifests() -> dict[str, dict[str, tuple[int, ...]]]:
    content = json.loads(gzip.decompress((PARITY / "manifests.json.gz").read_bytes()))
    return {file: {key: tuple(shape) for key, shape in shapes.items()} for file, shapes in content.items()}


def test_the_table_is_complete():
    assert set(TABLE) == set(manifests())


@pytest.mark.one_of(3)
@pytest.mark.parametrize("file", TABLE)
def test_published_files_are_what_they_are(file):
    found, expected = recognize(manifests()[file], "renamed.bin"), TABLE[file]
    network = found.network
    assert network.model_channels == expected["mc"]
    assert network.num_res_blocks == expected["blocks"]
    assert network.channel_mult == expected["mult"]
    assert network.attention_downsamplings == expected["attention"]
    number, channels = expected["heads"]
    width = 4 * expected["mc"]
    assert network.heads(width) == (number or width // channels)
    assert network.new_attention_order == expected.get("new_order", False)
    assert (network.map_channels, network.low_res_channels) == (expected.get("maps", 0), expected.get("low_res", 0))
    assert found.schedule == expected.get("schedule", "linear")
    assert (found.prediction, found.image_size) == ("eps", expected["size"])
    assert found.condition["kind"] == expected["kind"]
    assert found.condition.get("low_res") == (expected["size"] // 4 if expected.get("low_res") else None)
    assert found.condition.get("background") == (-1 if expected["kind"] in ("face", "sketch") else None)
    assert network.out_channels == 6
    assert found.card["licence"]


@pytest.mark.one_of(6)
@pytest.mark.parametrize("file", TABLE)
def test_the_order_of_the_tensors_does_not_matter(file):
    shapes = list(manifests()[file].items())
    random.Random(1).shuffle(shapes)
    assert recognize(dict(shapes), file) == recognize(manifests()[file], file)


def refused(shapes, names):
    with pytest.raises(CheckpointError) as error:
        recognize(shapes, "file.pt")
    sentence = str(error.value)
    assert sentence.startswith("file.pt ")
    assert "\n" not in sentence
    assert any(name in sentence for name in names), sentence
    return sentence


@pytest.mark.one_of(3)
@pytest.mark.parametrize("file", TABLE)
def test_a_file_that_lacks_one_tensor_is_refused(file):
    complete = manifests()[file]
    chosen = {*random.Random(2).sample(list(complete), 3), next(iter(complete)), list(complete)[-1]}
    for name in chosen:
        if file == "256x256_diffusion.pt" and name == "label_emb.weight":
            continue  # without its classes it has the tensors of 256x256_diffusion_uncond.pt
        refused({key: shape for key, shape in complete.items() if key != name}, [name])


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("file", TABLE)
def test_truncated_files_are_refused(file, kept):
    complete = manifests()[file]
    shapes = dict(list(complete.items())[: int(kept * len(complete))])
    assert "lacks" in refused(shapes, complete.keys() - shapes.keys())


@pytest.mark.one_of(3)
@pytest.mark.parametrize("file", TABLE)
def test_files_with_something_more_are_refused(file):
    for name in ("stray.weight", "input_blocks.99.0.weight", "output_blocks.5.9.bias"):
        sentence = refused({**manifests()[file], name: (3,)}, [name])
        assert "has 1 unexpected" in sentence


@pytest.mark.parametrize("file", TABLE)
def test_files_whose_shapes_are_mixed_up_are_refused(file):
    complete = manifests()[file]
    shapes = list(complete.values())
    random.Random(3).shuffle(shapes)
    mixed = dict(zip(complete, shapes, strict=True))
    assert "wrong shapes" in refused(mixed, [name for name in complete if mixed[name] != complete[name]])


def test_two_tensors_that_changed_places_are_named():
    shapes = dict(manifests()["64x64_diffusion.pt"])
    first, second = "input_blocks.1.0.in_layers.2.weight", "input_blocks.1.0.emb_layers.1.weight"
    shapes[first], shapes[second] = shapes[second], shapes[first]
    sentence = refused(shapes, [first])
    assert "2 of 64x64_diffusion's 541 tensors" in sentence
    assert "(384, 768) instead of (192, 192, 3, 3)" in sentence


@pytest.mark.parametrize("shapes", [{}, {"weight": (1,)}, {"model.diffusion_model.time_embed.0.weight": (320, 320)}])
def test_other_checkpoints_are_refused(shapes):
    refused(shapes, ["does not describe an expert"])


OWN = {
    "narrow": UNetConfig(out_channels=6, model_channels=64, num_res_blocks=1, channel_mult=(1, 2)),
    "fractional": UNetConfig(out_channels=6, model_channels=96, num_res_blocks=1, channel_mult=(1 / 3, 1, 5 / 3)),
    # 32 / 98 itself, times 98, is a little less than 32.
    "width that a quotient misses": UNetConfig(
        out_channels=6, model_channels=98, num_res_blocks=1, channel_mult=(math.nextafter(32 / 98, 1),)
    ),
    "no attention outside the middle": UNetConfig(
        model_channels=32, num_res_blocks=2, channel_mult=(1, 2), attention_downsamplings=()
    ),
    "attention at one level": UNetConfig(
        out_channels=6, model_channels=32, channel_mult=(1, 1, 2), attention_downsamplings=(2,)
    ),
    "one level": UNetConfig(model_channels=32, num_res_blocks=1, channel_mult=(2,), attention_downsamplings=(1,)),
    "strided convolutions": UNetConfig(
        model_channels=32, num_res_blocks=1, channel_mult=(1, 2, 2), resblock_updown=False, scale_shift_norm=False
    ),
    "few classes, enlarged": UNetConfig(
        out_channels=6, model_channels=32, channel_mult=(1, 2), num_classes=7, low_res_channels=3
    ),
    "faces": UNetConfig(
        out_channels=6, model_channels=32, channel_mult=(1, 2), film_dim=24, map_channels=6, convert_maps=True
    ),
    "sketch of one channel": UNetConfig(out_channels=6, model_channels=32, channel_mult=(1, 2), map_channels=1),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_architectures_are_read_from_tensors(name):
    shapes = Layout(OWN[name]).shapes()
    layout = read_layout(shapes)
    assert layout.shapes() == shapes
    attended = [down for down in OWN[name].attention_downsamplings if down < 2 ** len(OWN[name].channel_mult)]
    assert layout.network.attention_downsamplings == tuple(attended)
    assert layout.network.channel_mult == pytest.approx(OWN[name].channel_mult)
    for field in ("num_classes", "film_dim", "map_channels", "low_res_channels", "scale_shift_norm", "resblock_updown"):
        assert getattr(layout.network, field) == getattr(OWN[name], field)


def test_a_network_of_its_own_needs_what_tensors_do_not_tell():
    shapes = Layout(OWN["narrow"]).shapes()
    with pytest.raises(CheckpointError, match=r"own\.pt .*say its schedule and its heads"):
        recognize(shapes, "own.pt")
    found = recognize(shapes, "own.pt", Overrides(schedule="cosine", num_heads=2, image_size=48))
    assert (found.name, found.schedule, found.image_size) == ("own", "cosine", 48)
    assert found.network.num_heads == 2


def test_overrides_replace_what_is_known():
    shapes = manifests()["128x128_diffusion.pt"]
    plain = recognize(shapes, "a.pt")
    found = recognize(shapes, "a.pt", Overrides(num_head_channels=64, new_attention_order=True, prediction="v"))
    assert (plain.network.heads(256), found.network.heads(256)) == (4, 4)
    assert (plain.network.heads(1024), found.network.heads(1024)) == (4, 16)
    assert (found.network.new_attention_order, found.prediction, found.schedule) == (True, "v", "linear")
    four = recognize(manifests()["256x256_diffusion.pt"], "a.pt", Overrides(num_heads=4))
    assert four.network.heads(1024) == 4


def test_overrides_of_the_text_and_of_the_maps():
    glide = recognize(manifests()["glide_base.pt"], "a.pt", Overrides(text_heads=4))
    assert glide.condition["text_transformer"]["heads"] == 4
    faces = recognize(manifests()["uac_face_model_latest.pt"], "a.pt", Overrides(maps=("hair", "face")))
    assert faces.condition["maps"] == ["hair", "face"]


@pytest.mark.parametrize(
    ("file", "overrides", "message"),
    [
        ("64x64_diffusion.pt", {"schedule": "sigmoid"}, "'sigmoid'"),
        ("64x64_diffusion.pt", {"prediction": "score"}, "'score'"),
        ("64x64_diffusion.pt", {"num_heads": 5}, "divide the 384 channels of level 1 evenly and is 5; use others"),
        ("64x64_diffusion.pt", {"num_heads": 0}, "num_heads .* is 0"),
        ("64x64_diffusion.pt", {"num_head_channels": 100}, "num_head_channels .* divide the 384 channels"),
        ("64x64_diffusion.pt", {"image_size": 0}, "image size"),
        ("64x64_diffusion.pt", {"text_heads": 4}, "no text_heads"),
        ("glide_base.pt", {"text_heads": 3}, "text_heads that divide 512"),
        ("64x64_diffusion.pt", {"maps": ("face",)}, "face"),
        ("uac_face_model_latest.pt", {"maps": ("face",)}, "face and hair in some order"),
    ],
)
def test_overrides_that_do_not_suit_are_refused(file, overrides, message):
    with pytest.raises(ValueError, match=message):
        recognize(manifests()[file], "a.pt", Overrides(**overrides))


def test_heads_are_given_once():
    with pytest.raises(ValueError, match="leave one out"):
        Overrides(num_heads=4, num_head_channels=64)
