"""Files of the published layouts: what is loaded from them computes what the published code does."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from mcdm_core import (
    Condition,
    Expert,
    Overrides,
    ProductDenoiser,
    Schedule,
    Term,
    convert_expert,
    load_expert,
    prediction_named,
    read_metadata,
)
from mcdm_core.checkpoints import CheckpointError, load_text_tower
from mcdm_core.checkpoints.recognition.layout import Layout
from mcdm_core.checkpoints.text_tower import FARL, text_encoder_among
from mcdm_core.cli.main import main
from mcdm_core.networks import UNetConfig

from ...support.published.reference_weights import reference_config, reference_values, reference_weights

ADM = ("adm_cc_legacy", "adm_cc_neworder", "adm_cc_4heads", "adm_uncond", "adm_conv_resample", "adm_superres")
GLIDE = ("glide_base", "glide_upsample")
EXPERTS = (*ADM, *GLIDE, "face_unet", "sketch_unet")


def overrides(name: str) -> Overrides:
    """What the tensors of a reference don't tell."""
    options = reference_config(name)
    channels = options.get("num_head_channels")
    channels = channels if channels and channels > 0 else None
    return Overrides(
        schedule="linear",
        image_size=reference_values(name)["inputs/x"].shape[-1],
        num_heads=options["num_heads"] if channels is None else None,
        num_head_channels=channels,
        new_attention_order=options.get("use_new_attention_order"),
        text_heads=options.get("xf_heads"),
    )


def conditions(name: str, encoder, values) -> Condition:
    """The condition of a reference, by the expert's encoder where it has something to encode."""
    low_res = {"low_res": values["inputs/low_res"]} if "inputs/low_res" in values else {}
    if name in GLIDE:
        text = encoder.encode_tokens(values["inputs/tokens"], values["inputs/mask"])
        return Condition(context=text.context, embedding=text.embedding, **low_res)
    if name == "face_unet":
        return Condition(maps=values["inputs/SR"], embedding=values["inputs/image_embed"], text_active=True)
    if name == "sketch_unet":
        return Condition(maps=values["inputs/sketch"])
    if "inputs/y" in values:
        return Condition(labels=encoder.encode_class(values["inputs/y"].tolist()).labels, **low_res)
    return Condition()


def write(path, tensors):
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def loaded(name, folder):
    return load_expert(write(folder / f"{name}.pt", reference_weights(name)), overrides=overrides(name))


def output(expert, name, t="t"):
    values = reference_values(name)
    return expert.raw(values["inputs/x"], values[f"inputs/{t}"], conditions(name, expert.encoder, values))


def expected(name):
    return reference_values(name)["outputs/mixed_batch" if name == "face_unet" else "outputs/out"]


@pytest.mark.one_of(6)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", EXPERTS)
def test_a_loaded_file_equals_the_published_code(name, suffix, tmp_path):
    path = write(tmp_path / f"{name}{suffix}", reference_weights(name))
    expert = load_expert(path, overrides=overrides(name))
    torch.testing.assert_close(output(expert, name), expected(name), atol=1e-4, rtol=0)
    if "inputs/t_float" in reference_values(name):
        between = reference_values(name)["outputs/out_float_t"]
        torch.testing.assert_close(output(expert, name, "t_float"), between, atol=1e-4, rtol=0)
    if name in GLIDE:
        values = reference_values(name)
        text = conditions(name, expert.encoder, values)
        torch.testing.assert_close(text.context.transpose(1, 2), values["outputs/xf_out"], atol=1e-4, rtol=0)
        torch.testing.assert_close(text.embedding, values["outputs/xf_proj"], atol=1e-4, rtol=0)


def test_the_face_network_reads_a_text_where_it_is_active(tmp_path):
    expert, values = loaded("face_unet", tmp_path), reference_values("face_unet")
    x, t, maps, embedding = (values[f"inputs/{key}"] for key in ("x", "t", "SR", "image_embed"))
    without = expert.raw(x, t, Condition(maps=maps, embedding=torch.zeros_like(embedding)))
    torch.testing.assert_close(without, values["outputs/zero_embed_batch"], atol=1e-4, rtol=0)

    def row(i):
        condition = Condition(maps=maps[i, None], embedding=embedding[i, None], text_active=bool(embedding[i].any()))
        return expert.raw(x[i, None], t[i, None], condition)

    torch.testing.assert_close(torch.cat([*map(row, range(len(x)))]), values["outputs/row_by_row"], atol=1e-4, rtol=0)

    none, zeros = (expert.network(x, t, text_active=True, **given) for given in ({}, {"embedding": 0 * embedding}))
    assert torch.equal(none, zeros)
    assert (none - expert.network(x, t)).abs().max() > 0.1


def test_glide_prompts_are_composed_as_in_composable_diffusion(tmp_path):
    values, about = reference_values("compgen_glide"), reference_config("compgen_glide")
    expert, schedule = loaded("glide_base", tmp_path), Schedule.cosine()
    texts = expert.encoder.encode_tokens(values["inputs/tokens"], values["inputs/mask"])
    glide = Expert(expert.network, schedule, prediction_named("eps"), image_size=32, clamp_x0=False)
    *prompts, null = (Condition(context=texts.context[i, None], embedding=texts.embedding[i, None]) for i in range(3))
    weighed = zip(prompts, about["inputs/weights"], strict=True)
    t = torch.tensor(float(about["inputs/t"]), dtype=torch.float64)
    alpha_t, sigma_t = schedule.alpha_sigma(t)
    x_t = values["inputs/x"].double()
    product = ProductDenoiser([Term(glide, prompt, null, weight=weight) for prompt, weight in weighed])
    eps = (x_t - alpha_t * product(x_t / alpha_t, schedule.sigma(t))) / sigma_t
    torch.testing.assert_close(eps.float(), values["outputs/composed_eps"], atol=1e-4, rtol=0)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", ["adm_cc_4heads", "glide_base", "face_unet"])
def test_a_converted_file_is_the_same_expert(name, tmp_path):
    path = write(tmp_path / f"{name}.pt", reference_weights(name))
    metadata = convert_expert(path, tmp_path / "new.safetensors", overrides(name))
    assert read_metadata(tmp_path / "new.safetensors") == metadata
    assert torch.equal(
        output(load_expert(tmp_path / "new.safetensors"), name),
        output(load_expert(path, overrides=overrides(name)), name),
    )


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", ["adm_superres", "glide_base", "face_unet"])
def test_half_precision_is_kept_and_used(name, tmp_path):
    """fp16 files halve the convolutions of the torso alone: norms, embeddings and the output stay in float32."""
    weights, blocks = reference_weights(name), ("input_blocks.", "middle_block.", "output_blocks.")
    layers = {key.removesuffix(".weight") for key in weights if key.startswith(blocks) and weights[key].ndim > 2}
    weights = {k: tensor.half() if k.rsplit(".", 1)[0] in layers else tensor for k, tensor in weights.items()}
    expert = load_expert(write(tmp_path / "half.pt", weights), overrides=overrides(name))
    state = expert.network.state_dict()
    assert all(state[key].dtype == weights[key].dtype for key in state)
    assert state["input_blocks.0.0.weight"].dtype == torch.float16
    scale = expected(name).abs().max()
    torch.testing.assert_close(output(expert, name), expected(name), atol=1e-2 * float(scale), rtol=0)


def test_farl_is_found_beside_the_face_network(tmp_path):
    path = write(tmp_path / "face.pt", reference_weights("face_unet"))
    encoder = load_expert(path, overrides=overrides("face_unet")).encoder
    with pytest.raises(CheckpointError, match=r"face\.pt reads texts with FaRL"):
        encoder.encode_text("blonde hair")
    torch.save({"state_dict": reference_weights("farl_clip")}, tmp_path / "FaRL-small.pth")
    tower = load_text_tower(tmp_path / "FaRL-small.pth")
    condition = encoder.encode_text("blonde hair")
    assert torch.equal(condition.embedding, tower.encode(["blonde hair"]))
    assert condition.text_active


def test_the_right_one_of_several_farls_is_taken():
    names = ["FaRL-Base-Patch16-LAIONFace20M-ep16.pth", f"farl/{FARL}", "base.pt"]
    assert text_encoder_among(names) == f"farl/{FARL}"
    assert text_encoder_among(["base.pt", "farl.safetensors"]) == "farl.safetensors"
    assert text_encoder_among(["base.pt"]) is None


def farl_but(change):
    """FaRL's tensors, of which the first weight of its transformer is left out or replaced."""
    weights = reference_weights("farl_clip")
    name = next(key for key in weights if key.startswith("transformer.") and key.endswith("weight"))
    return {key: value for key, value in (weights | {name: change(weights[name])}).items() if value is not None}


@pytest.mark.parametrize(
    ("read", "tensors", "message"),
    [
        (load_expert, lambda: reference_weights("farl_clip"), "no diffusion expert but FaRL's text encoder"),
        # As GLIDE's CLIP, whose tensors these are.
        (load_expert, lambda: {"blocks.input.w_voc": torch.zeros(8, 4)}, "but .* of a layout unknown here"),
        (load_text_tower, lambda: reference_weights("adm_uncond"), "holds no text encoder; choose a file of FaRL"),
        (load_text_tower, lambda: farl_but(lambda weight: None), r"1 of .*\(transformer\."),
        (load_text_tower, lambda: farl_but(lambda weight: weight * torch.nan), r"that are NaN.* in transformer\."),
    ],
)
def test_files_of_something_else_and_damaged_ones_are_refused(tmp_path, read, tensors, message):
    path = write(tmp_path / "file.pt", tensors())
    with pytest.raises(CheckpointError, match=rf"^file\.pt .*{message}"):
        read(path)


def test_weights_that_no_text_tower_uses_may_be_anything(tmp_path):
    weights = reference_weights("farl_clip") | {"remains": torch.tensor([torch.nan])}
    assert not load_text_tower(write(tmp_path / "tower.pt", weights)).training


def test_the_command_line_describes_and_converts_with_options(tmp_path, capsys):
    name = "adm_cc_4heads"
    path, target = write(tmp_path / f"{name}.pt", reference_weights(name)), tmp_path / "new.safetensors"
    options = ["--schedule", "linear", "--num-heads", "4", "--image-size", "32"]
    assert main(["info", str(path), *options]) == 0
    printed = capsys.readouterr().out
    for words in (f"expert '{name}'", "condition   class", "3 × 32 × 32", "linear schedule, eps-prediction"):
        assert words in printed
    assert main(["convert", str(path), str(target)]) == 2
    assert "say its schedule and its heads" in capsys.readouterr().err
    assert not target.exists()
    assert main(["convert", str(path), str(target), *options]) == 0
    torch.testing.assert_close(output(load_expert(target), name), expected(name), atol=1e-4, rtol=0)


def test_the_command_line_describes_a_text_tower(tmp_path, capsys):
    torch.save({"state_dict": reference_weights("farl_clip")}, tmp_path / "farl.pth")
    assert main(["info", str(tmp_path / "farl.pth")]) == 0
    assert "farl.pth: FaRL's text encoder" in capsys.readouterr().out


LOAD = """
import sys
from mcdm_core import Overrides, load_expert

def peak():
    lines = open("/proc/self/status", encoding="utf-8").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

def load(path):
    network = load_expert(path, overrides=Overrides(schedule="linear", num_heads=4)).network
    return network, sum(float(tensor.sum()) for tensor in network.state_dict().values())  # reads all of it

load(sys.argv[1])  # what loading imports takes memory once, whatever the file
before = peak()
loaded = load(sys.argv[2])
print(peak() - before)
"""


@pytest.mark.one_of(2)
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_loading_takes_no_more_memory_than_the_file(suffix, tmp_path):
    def write_zeros(name, model_channels):
        config = UNetConfig(out_channels=6, model_channels=model_channels, num_res_blocks=1, channel_mult=(1, 2, 3))
        tensors = {key: torch.zeros(shape) for key, shape in Layout(config).shapes().items()}
        return write(tmp_path / f"{name}{suffix}", tensors)

    small, large = write_zeros("small", 32), write_zeros("large", 192)
    size = large.stat().st_size
    assert size > 250e6
    command = [sys.executable, "-c", LOAD, str(small), str(large)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 1.15 * size
