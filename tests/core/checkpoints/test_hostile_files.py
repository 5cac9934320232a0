"""Files that are damaged, mistaken or hostile: one sentence each, before any of it takes many calls or much memory."""

import json
import struct
import zipfile
from collections import Counter

import pytest
import torch
from safetensors.torch import save_file

from mcdm_core import load_expert, read_metadata
from mcdm_core.checkpoints import CheckpointError, convert_expert, load_text_tower, read_checkpoint, read_encoder
from mcdm_core.checkpoints.autoencoders import load_autoencoder
from tests.fuzz.bases import KINDS, content_of, write_bases
from tests.fuzz.headers import File, joined
from tests.fuzz.pickles import BOMBS, PROTOCOL, STOP, archive, entries_of, saved
from tests.fuzz.trial import LOOK_CALLS, peak, reset_peak
from tests.support.calls import counted_calls

FIELD_CALLS = 200_000  # of functions: what describes 90 blocks takes 53,000, and a good file 60,000


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return {path.stem: path for path in write_bases(tmp_path_factory.mktemp("bases"))}


@pytest.fixture
def spoil(bases, tmp_path):
    """Write an expert of a kind again after a change of its parts."""

    def write(kind, change):
        file = File(bases[kind].read_bytes())
        change(file)
        path = tmp_path / "spoiled.safetensors"
        path.write_bytes(file.to_bytes())
        return path

    return write


def refusal(path, *readers):
    """The sentence by which all readers refuse a file."""
    sentences = set()
    for read in readers or (load_expert, read_metadata, read_encoder):
        with pytest.raises(CheckpointError) as error:
            read(path)
        sentences.add(str(error.value))
    (sentence,) = sentences
    assert sentence.startswith(path.name)
    assert "\n" not in sentence
    assert len(sentence) < 600
    return sentence


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("map", {"network.num_res_blocks": 10**9}, "num_res_blocks"),
        ("map", {"network.num_res_blocks": 90}, "num_res_blocks"),
        ("map", {"network.channel_mult": []}, "channel_mult"),
        ("map", {"network.channel_mult": [1, float("nan")]}, "channel_mult"),
        ("map", {"network.model_channels": True}, "model_channels"),
        ("map", {"network.num_heads": 3}, "num_heads"),
        ("map", {"network.num_head_channels": 5}, "num_head_channels"),
        ("map", {"network.norm_groups": 7}, "norm_groups"),
        ("map", {"network.dropout": 1.5}, "dropout"),
        ("map", {"network.dropout": "0"}, "dropout"),
        ("map", {"network.attention_downsamplings": "2"}, "attention_downsamplings"),
        ("map", {"network.out_channels": 5}, "out_channels"),
        ("map", {"image_size": 30_000}, "image_size"),
        ("map", {"image_size": 18}, "image_size"),
        ("map", {"image_size": 16.0}, "image_size"),
        ("map", {"name": "two\nlines"}, "name"),
        ("map", {"name": None}, "name"),
        ("map", {"card": []}, "card"),
        ("map", {"schedule": ["linear"]}, "schedule"),
        ("map", {"condition": []}, "condition"),
        ("map", {"condition.kind": ["map"]}, "driven by"),
        ("map", {"condition.map": 3}, "map"),
        ("map", {"condition.background": 1e30}, "background"),
        ("map", {"condition.background": None}, "background"),
        ("map", {"condition": {"kind": "none"}, "network.num_classes": 3}, "num_classes"),
        ("maps", {"condition.maps": []}, "maps"),
        ("maps", {"condition.maps": ["hair"]}, "map_channels"),
        ("sketch", {"condition.map_channels": 10**9}, "map_channels"),
        ("class", {"condition.classes": ["fox"]}, "num_classes"),
        ("class", {"condition.classes": [1, 2]}, "classes"),
        ("upsampler", {"network.num_classes": 10**6}, "label_emb.weight"),
        ("upsampler", {"condition.low_res": 0}, "low_res"),
        ("upsampler", {"condition.low_res": None}, "low_res_channels"),
        ("face", {"condition.embedding": 10**9}, "embedding"),
        ("face", {"condition.embedding": 9}, "film_dim"),
        ("face", {"condition.maps": ["a", "b", "c", "d"]}, "map_channels"),
        ("text", {"condition.text_encoder.layers": 10**9}, "layers"),
        ("text", {"condition.text_encoder.heads": 3}, "heads"),
        ("text", {"condition.text_encoder.vocabulary": []}, "vocabulary"),
        ("text", {"condition.text_encoder": None}, "text_encoder"),
        ("tokens", {"condition.text_transformer.heads": 3}, "heads"),
        ("tokens", {"condition.text_transformer.context_length": 10**9}, "context_length"),
        ("tokens", {"condition.text_transformer.pooled_dim": 8}, "embedding_channels"),
        ("latent", {"vae": 5}, "vae"),
    ],
)
def test_a_field_that_cannot_be_is_named(spoil, kind, changes, named):
    def change(file):
        for place, value in changes.items():
            *owners, name = place.split(".")
            target = file.description
            for owner in owners:
                target = target[owner]
            target[name] = value

    path = spoil(kind, change)
    with counted_calls() as calls:
        assert named in refusal(path, load_expert, read_metadata)
    assert calls.count < FIELD_CALLS


@pytest.mark.parametrize("kind", ["text", "tokens"])
def test_layers_of_a_text_encoder_are_counted_before_they_are_built(spoil, kind):
    name = {"text": "text_encoder", "tokens": "text_transformer"}[kind]
    path = spoil(kind, lambda file: file.description["condition"][name].update(layers=60))
    assert "layers" in refusal(path, load_expert, read_encoder)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_before_a_run_is_the_loaded_encoder(bases, kind):
    encoder, loaded = read_encoder(bases[kind]), load_expert(bases[kind]).encoder
    assert (type(encoder), encoder.key, encoder.image_size) == (type(loaded), loaded.key, loaded.image_size)


def header_of(**tensors):
    return {"__metadata__": {"mcdm": "{}"}, **tensors}


FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (json.dumps({"__metadata__": [1], "a": FOUR}), "__metadata__"),
        (json.dumps({"__metadata__": {"mcdm": {}}, "a": FOUR}), "__metadata__"),
        (json.dumps(header_of(a={**FOUR, "data_offsets": []})), "'a'"),
        (json.dumps(header_of(a={**FOUR, "data_offsets": [4, 0]})), "'a'"),
        (json.dumps(header_of(a={**FOUR, "shape": [2**62, 4]})), "'a'"),
        (json.dumps(header_of(a={**FOUR, "dtype": "F31"})), "'a'"),
        (json.dumps(header_of(a=FOUR, b=FOUR)), "begins at 0"),
        (f'{{"a": {json.dumps(FOUR)}, "a": {json.dumps(FOUR)}}}', "'a' twice"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested 100,001 levels"),
        ('{"a": ' + "9" * 5000 + "}", "header"),
        (
            json.dumps(header_of(**{f"t{i}": {**FOUR, "shape": [0], "data_offsets": [0, 0]} for i in range(9000)})),
            "9,000",
        ),
        ("{" + " " * 2**21 + "}", "header of 2,097,154 bytes"),
    ],
)
def test_headers_that_cannot_be(tmp_path, header, message):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(joined(header.encode(), bytes(4)))
    assert message in refusal(path)


def convert(path):
    """Convert a file, which is not to be written."""
    target = path.with_name("converted.safetensors")
    try:
        convert_expert(path, target)
    finally:
        assert not target.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_weights_that_are_not_finite_are_refused_by_name_when_they_are_read(spoil, value):
    def change(file):
        begin, _ = file.header["out.2.bias"]["data_offsets"]
        file.data[begin : begin + 4] = struct.pack("<f", value)

    path = spoil("map", change)
    assert read_metadata(path).name == "map"
    assert read_encoder(path).kind == "map"
    for _ in range(2):
        assert "NaN, infinite or beyond 1e+12 in out.2.bias" in refusal(path, load_expert, convert)


@pytest.mark.parametrize(
    ("names", "dtype", "message"),
    [
        (["out.2.bias"], torch.int32, "out.2.bias in int32"),
        (["out.2.bias"], torch.bool, "out.2.bias in bool"),
        (["input_blocks.1.0.in_layers.2.bias"], torch.float16, "input_blocks.1.0.in_layers.2.bias in float16"),
        (
            ["middle_block.1.qkv.weight", "middle_block.1.qkv.bias"],
            torch.bfloat16,
            "middle_block.1.qkv.weight in bfloat16",
        ),
    ],
)
def test_dtypes_that_do_not_compute(bases, tmp_path, names, dtype, message):
    tensors = content_of(bases["map"])
    text = tensors.pop("mcdm")
    path = tmp_path / "mixed.safetensors"
    save_file({name: t.to(dtype) if name in names else t for name, t in tensors.items()}, path, {"mcdm": text})
    assert message in refusal(path)


def test_a_healthy_file_of_another_kind_is_unknown_not_damaged(tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"lora_unet_down.alpha": torch.zeros(()), "lora_unet_down.weight": torch.zeros(4, 4)}, path, {"a": "b"})
    assert "damaged" not in refusal(path)
    other = {"input_blocks.0.0.weight": torch.zeros(320, 4, 3, 3), "time_embed.0.weight": torch.zeros(1280, 320)}
    save_file(other, path)
    assert "damaged" not in refusal(path)


@pytest.mark.one_of(4)
@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("old", [False, True])
def test_pickles_that_do_harm_are_refused_unread(bases, tmp_path, name, old):
    spoiled = PROTOCOL + b"}X\x01\x00\x00\x00x" + BOMBS[name] + b"s" + STOP
    path = tmp_path / "bomb.pt"
    entries = entries_of(saved(content_of(bases["map"])))
    entries[next(entry for entry in entries if entry.endswith("data.pkl"))] = spoiled
    path.write_bytes(spoiled if old else archive(entries))
    before = reset_peak()
    with counted_calls() as calls:
        refusal(path, read_metadata)
    refusal(path)
    assert calls.count < LOOK_CALLS
    assert peak() - before < 64 * 2**20


def misplaced(content, name):
    """An archive whose list tells that an entry begins in the file's last bytes."""
    listed = content.index(b"PK\1\2", content.index(b"PK\1\2"))
    while content[listed + 46 : listed + 46 + len(name)] != name.encode():
        listed = content.index(b"PK\1\2", listed + 4)
    return content[: listed + 42] + struct.pack("<L", len(content) - 10) + content[listed + 46 :]


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries, name: misplaced(archive(entries), name.replace("data.pkl", "data/0")), "damaged"),
        (lambda entries, name: archive(entries, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda entries, name: archive({**entries, "b/data.pkl": entries[name]}), "2 entries data.pkl"),
        (lambda entries, name: archive({**entries, name: bytes(5 * 2**20)}), "5,242,880 bytes"),
        (
            lambda entries, name: archive({k: v for k, v in entries.items() if not k.endswith("data/0")}),
            "lacks the numbers",
        ),
        (lambda entries, name: archive({**entries, name[:-8] + "constants.pkl": b""}), "contains code"),
        (lambda entries, name: archive({**entries, name[:-8] + "byteorder": b"big"}), "another byte order"),
        (lambda entries, name: archive({**entries, **{f"x{i}": b"" for i in range(60_000)}}), "list of entries"),
    ],
)
def test_archives_that_torch_save_does_not_write(bases, tmp_path, change, message):
    entries = entries_of(saved(content_of(bases["map"])))
    path = tmp_path / "odd.pt"
    path.write_bytes(change(entries, next(name for name in entries if name.endswith("data.pkl"))))
    assert message in refusal(path)


@pytest.mark.parametrize("old", [False, True])
def test_tensors_of_torch_files_are_what_torch_load_reads(tmp_path, old):
    base = torch.randn(4, 6)
    content = {
        "whole": base,
        "turned": base.t(),
        "part": base[1:3, 2:],
        "across": base[1:, ::2].t(),
        "repeated": torch.randn(1).expand(4),
        "rows": base[0].expand(3, 6),
        "overlapping": base.flatten().unfold(0, 8, 2),
        "empty": torch.zeros(1).expand(0),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "half": torch.randn(5).half(),
        "bytes": torch.arange(3, dtype=torch.uint8),
        "odd": torch.randn(2, dtype=torch.float64),
        "none": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "more": {"inner": torch.zeros(2), "list": [1, 2.5, None, "text", b"bytes", (True, 2**40)]},
    }
    path = tmp_path / "content.pt"
    torch.save({"state_dict": content, "mcdm": "told"}, path, _use_new_zipfile_serialization=not old)
    tensors, text = read_checkpoint(path, "mcdm")
    expected = torch.load(path, weights_only=True)["state_dict"]
    assert text == "told"
    assert list(tensors) == [name for name in expected if name != "more"]
    for name, tensor in tensors.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name])


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": torch.zeros(1).expand(2**38)}, "expanded tensors make 1,099,511,627,776 bytes"),
        ({f"a{i}": torch.zeros(1).expand(2**20) for i in range(5)}, "expanded tensors make 20,971,520 bytes"),
        ({"a": torch.zeros(3, 1, 1).expand(3, 2**20, 2**10)}, "expanded tensors make"),
        (dict.fromkeys(map(str, range(300)), torch.zeros(2**15)), "share the same numbers"),
    ],
)
def test_views_of_more_than_a_file_holds_are_refused_unread(tmp_path, tensors, message, old):
    path = tmp_path / "views.pt"
    torch.save(tensors, path, _use_new_zipfile_serialization=not old)
    before = reset_peak()
    sentence = refusal(path)
    assert message in sentence
    assert "damaged" not in sentence
    assert peak() - before < 64 * 2**20


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("sides", "side"), [(70, 1), (60_000, 1), (64, 2**39), (370, 2**39), (1, 2**40)])
def test_tensors_of_more_sides_or_numbers_than_any(bases, tmp_path, sides, side):
    entries = entries_of(saved({"a": torch.zeros(1).expand(side % 7 + 1)}))
    name = next(name for name in entries if name.endswith("data.pkl"))
    old = b"K" + bytes([side % 7 + 1]) + b"\x85"
    number = b"\x8a\x06" + side.to_bytes(6, "little")
    assert entries[name].count(old) == 1
    tuples = b"(" + number * sides + b"t"
    entries[name] = entries[name].replace(old, tuples).replace(b"K\x00\x85", b"(" + b"K\x00" * sides + b"t")
    path = tmp_path / "sides.pt"
    path.write_bytes(archive(entries))
    with counted_calls() as calls:
        assert "damaged" in refusal(path, read_metadata)
    refusal(path)
    assert calls.count < LOOK_CALLS


def test_a_tower_of_endless_layers(tmp_path):
    path = tmp_path / "tower.safetensors"
    shapes = {"text_projection": (8, 8), "token_embedding.weight": (9, 8), "positional_embedding": (5, 8)}
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    save_file({**tensors, "transformer.resblocks.999999999.ln_1.weight": torch.zeros(8)}, path)
    assert "layers" in refusal(path, load_text_tower)
    refusal(path)


@pytest.mark.parametrize("shape", [(), (64,), (64, 4), (64, 0, 3, 3), (64, 4, 1, 1)])
def test_vaes_of_odd_shapes(tmp_path, shape):
    path = tmp_path / "vae.safetensors"
    save_file({"taesd_decoder.1.weight": torch.zeros(shape)}, path)
    refusal(path, load_autoencoder)


def test_what_trainings_keep_beside_weights_is_passed_over(tmp_path):
    tagged = torch.nn.Parameter(torch.arange(3.0))
    tagged.tag = "of an optimizer's"
    beside = {"milestones": Counter([3, 5, 5]), "seen": {1, 2}, "dtype": torch.int16, "pairs": {(1, "a"): 2}}
    torch.save({"state_dict": {"tagged": tagged}, **beside}, tmp_path / "training.pt")
    tensors, _ = read_checkpoint(tmp_path / "training.pt")
    assert torch.equal(tensors["tagged"], torch.arange(3.0))
