"""Expert files: there and back, and one clear sentence for every file that cannot be used."""

import dataclasses
import json
import os
import pickle
from copy import deepcopy
from typing import TypeVar

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcdm_core import Condition, ExpertMetadata, UNet, UNetConfig, load_expert, read_metadata, save_expert
from mcdm_core.checkpoints import CheckpointError
from mcdm_core.networks import TextTower, TextTowerConfig

CONFIG = UNetConfig(
    model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamplings=(2,), map_channels=1, patch=2
)
METADATA = ExpertMetadata("hair", CONFIG, 16, {"kind": "map", "map": "hair"}, card={"steps": 7})
Read = TypeVar("Read")


def in_memory(read: Read) -> Read:
    """What was read, with copies of its weights: at the addresses of a mapped file kernels may round otherwise."""
    return deepcopy(read)


@pytest.fixture
def network():
    return UNet(CONFIG)


@pytest.fixture
def path(tmp_path, network):
    path = tmp_path / "hair.safetensors"
    save_expert(path, network, METADATA)
    return path


def test_there_and_back(path, network):
    expert = load_expert(path)
    assert (expert.name, expert.image_size, expert.channels, expert.encoder.kind) == ("hair", 16, 3, "map")
    assert expert.metadata["card"] == {"steps": 7}
    assert not expert.network.training
    assert not any(parameter.requires_grad for parameter in expert.network.parameters())
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(in_memory(expert).raw(x, 5.0, Condition()), network.eval()(x, torch.tensor([5.0])))
    assert read_metadata(path) == METADATA
    assert [file.name for file in path.parent.iterdir()] == ["hair.safetensors"]


def test_a_text_tower_travels_with_its_expert(tmp_path):
    tower = TextTower(TextTowerConfig(("red", "blue"), width=16, heads=2, layers=1, dim=8, max_tokens=6))
    metadata = dataclasses.replace(
        METADATA,
        network=dataclasses.replace(CONFIG, map_channels=0, pooled_dim=8),
        condition={"kind": "text", "text_encoder": tower.config.to_dict()},
    )
    save_expert(tmp_path / "text.safetensors", UNet(metadata.network), metadata, tower)
    expected = tower.eval().encode(["a red one"])
    read = load_expert(tmp_path / "text.safetensors").encoder.tower
    assert read.config == tower.config
    assert torch.equal(in_memory(read).encode(["a red one"]), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 18}, "image_size"),
        ({"condition": {"kind": "map"}}, "map"),
        ({"network": dataclasses.replace(CONFIG, model_channels=64)}, "the network's 144"),
    ],
)
def test_what_could_not_be_loaded_is_not_written(tmp_path, network, changes, message):
    with pytest.raises(ValueError, match=rf"^Expected an expert that can be loaded again.*{message}[^\n]*$"):
        save_expert(tmp_path / "odd.safetensors", network, dataclasses.replace(METADATA, **changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spoil", [lambda bias: bias.mul_(torch.nan), lambda bias: bias.fill_(1e30)])
def test_weights_that_could_not_be_loaded_are_not_written(tmp_path, network, spoil):
    with torch.no_grad():
        spoil(network.out[2].bias)
    with pytest.raises(
        ValueError, match=r"nothing was written: odd\.safetensors has weights that are NaN.* out\.2\.bias"
    ):
        save_expert(tmp_path / "odd.safetensors", network, METADATA)
    assert list(tmp_path.iterdir()) == []


def test_an_expert_is_unchanged_by_being_written(path, network):
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_halves_compute_in_float32_on_the_cpu_unless_asked_for(tmp_path, network, half):
    path = tmp_path / "half.safetensors"
    save_expert(path, network.to(half), METADATA)
    for kept, dtype in {False: torch.float32, True: half}.items():
        assert {parameter.dtype for parameter in load_expert(path, as_stored=kept).network.parameters()} == {dtype}


def test_files_of_torch_save_hold_the_same(path, tmp_path):
    content = {"mcdm": METADATA.to_json(), **load_file(path)}
    for zipped in (True, False):
        torch.save(content, tmp_path / "hair.pt", _use_new_zipfile_serialization=zipped)
        x = torch.randn(1, 3, 16, 16)
        same = [in_memory(load_expert(file)).raw(x, 5.0, Condition()) for file in (path, tmp_path / "hair.pt")]
        assert torch.equal(*same)
        assert read_metadata(tmp_path / "hair.pt") == METADATA


@pytest.mark.parametrize("start", [b"\x80", b"PK"])
def test_a_header_whose_length_looks_like_another_format(path, start):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    padding = (int.from_bytes(start, "little") - length) % 256 ** len(start)
    header = content[8 : 8 + length] + b" " * padding
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert path.read_bytes().startswith(start)
    assert read_metadata(path) == METADATA
    assert load_expert(path).name == "hair"


def refused(path, message):
    for read in (load_expert, read_metadata):
        with pytest.raises(CheckpointError, match=message) as error:
            read(path)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(path.name)


@pytest.mark.parametrize("kept", [0.9, 0.05])
def test_truncated_safetensors(path, kept):
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[: int(kept * len(content))] if kept > 0.5 else content[: header // 2])
    refused(path, r"is truncated: [\d,]+ bytes were expected")


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_torch_files(tmp_path, zipped):
    path = tmp_path / "hair.pt"
    torch.save({"mcdm": METADATA.to_json(), **UNet(CONFIG).state_dict()}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, "truncated|damaged")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><html>not found</html>",
        b"\x20" + bytes(7) + b"{this is no JSON at all....}    ",
        bytes(64),
        b"\x80\x02 what follows is no pickle",
        pickle.dumps({"a": 1}, protocol=2),
    ],
)
def test_no_checkpoint(tmp_path, content):
    path = tmp_path / "page.safetensors"
    path.write_bytes(content)
    refused(path, "is not a checkpoint")


def test_no_description(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "holds a list where a dictionary")
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "does not describe an expert")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_expert(tmp_path / "nothing.safetensors")


class Trap:
    """Runs a command when unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "legacy torch", "pickle"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_code_is_named_and_not_run(tmp_path, writer, suffix):
    path, proof = tmp_path / f"trap{suffix}", tmp_path / "ran"
    content = {"state": Trap(f"touch {proof}")}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    refused(path, "contains code and was not opened")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("{}", "not a JSON object with a format number"),
        ('{"format": 3}', "format 3 and this version reads the formats 1 and 2; update the pack"),
        ('{"format": 1}', "missing or unknown .*network"),
        (json.dumps({**METADATA.to_dict(), "extra": 1}), "missing or unknown .*extra"),
        (json.dumps({**METADATA.to_dict(), "network": {"depth": 3}}), "missing or unknown .*depth"),
        (json.dumps({**METADATA.to_dict(), "schedule": "sigmoid"}), "'sigmoid'"),
        (json.dumps({**METADATA.to_dict(), "prediction": "score"}), "'score'"),
    ],
)
def test_descriptions_that_cannot_be_used(path, text, message):
    save_file(load_file(path), path, {"mcdm": text})
    refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: [tensors.pop(key) for key in list(tensors)[:5]],
            r"lacks 5 of the network's \d+ tensors \(.*, …\)",
        ),
        (lambda tensors: tensors.update({"stray.weight": torch.zeros(1)}), r"has 1 unexpected .*\(stray.weight\)"),
        (
            lambda tensors: tensors.update({"out.2.bias": torch.zeros(5)}),
            r"wrong shapes in 1 .*\(5,\) instead of \(12,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit(path, change, message):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"mcdm": METADATA.to_json()})
    with pytest.raises(CheckpointError, match=message):
        load_expert(path)
