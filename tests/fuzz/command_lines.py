"""Command lines and configurations of which a part or two were spoiled, drawn by hypothesis."""

import copy
import io
import json
import re
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli
from hypothesis import strategies as st
from PIL import Image

from tests.support.tiny_runs import write_folder

from .bases import KINDS, write_bases

CONFIG = "run.toml"


class CommandLine(NamedTuple):
    """One call.

    Attributes:
        arguments: After the program's name.
        config: What `CONFIG` holds, as TOML.
    """

    arguments: list[str]
    config: str


_LAST = ["--steps", "1", "--device", "cpu", "--output", "new.png"]
_MAP, _TEXT = ["--expert", "map.safetensors", "--map", "good.png"], ["--expert", "text.safetensors", "--text", "red"]
_FACE = ["--expert", "face.safetensors", "--map", "good.png", "--map-kind", "hair"]
_UPSAMPLER = ["--expert", "upsampler.safetensors", "--class-name", "1", "--low-res", "small.png"]
_SHARE = ["--weight", "2", "--reliability", "0.5", "--start", "0", "--end", "1"]

GOOD = (
    ["demo", "--steps", "1", "--seed", "1", "--output", "new.png"],
    ["sample", *_MAP, *_SHARE, *_TEXT, "--weight", "2", "--seed", "3", *_LAST],
    ["sample", *_FACE, "--with-text", "--expert", "sketch.safetensors", "--sketch", "good.png", *_LAST],
    ["sample", *_UPSAMPLER, "--temperature", "0.9", "--count", "2", *_LAST],
    ["sample", "--expert", "class.safetensors", "--class-name", "owl", "--sampler", "ddpm", *_LAST],
    ["sample", "--expert", "sketch.safetensors", "--drawing", "good.png", "--eta", "1", *_LAST],
    ["sweep", *_MAP, "--weight", "2", *_TEXT, "--of", "2", "--values", "0, 1", "--seeds", "1", *_LAST],
    ["sweep", *_MAP, *_TEXT, "--vary", "both", "--guidance", "1", "--values", "0.5", *_LAST],
    ["train", CONFIG, "--runs", "runs"],
    ["train", CONFIG, "--runs", "runs"],
    ["train", CONFIG, "--runs", "new", "--resume", "--threads", "1"],
    ["train", CONFIG, "--runs", "runs", "--resume", "map.safetensors"],
    ["distil", CONFIG, "--runs", "runs"],
    ["distil", CONFIG, "--runs", "new", "--resume", "--threads", "1"],
    ["info", "map.safetensors", "text.safetensors"],
    ["info", "latent.safetensors", "--schedule", "linear", "--prediction", "eps", "--image-size", "16"],
    ["convert", "map.safetensors", "new.safetensors", "--num-heads", "2", "--no-new-attention-order"],
    ["convert", "face.safetensors", "new.safetensors", "--maps", "hair,face", "--num-head-channels", "8"],
    ["convert", "tokens.safetensors", "new.safetensors", "--text-heads", "2", "--overwrite"],
    ["evaluate", "text.txt", "--out", "new", "--samples", "new", "--count", "1", "--steps", "1", "--workers", "1"],
    ["evaluate", "product-bias", "--samples", "0", "--steps", "1", "--seed", "1", "--out", "new"],
    ["evaluate", "vae", "map.safetensors", "--out", "new.csv", "--cache", "new", "--count", "1"],
)
"""Small calls of every command."""

OF_STUDIES = ("train", "evaluate")
"""Commands that are given to `python -m studies`, whose `train` takes what the core's does and more."""

REFUSED = ("evaluate",)
"""Commands whose calls among these are refused: measuring takes minutes."""

COUNTS = ("0", "-1", "1", "2", "1.5", "", "x", "1e3", "²", "٣", "1_0", "9" * 30, "9" * 5000, str(10**15))
"""Numbers of things; none that is large and yet could be had."""
NUMBERS = ("0", "-0.0", "0.5", "-1", "2", "1e-300", "1e30", "1e308", "-1e308", "1e999", "nan", "inf", "-inf", "", "x")
WORDS = (
    *("", " ", "hair", "auto", "owl", "1", "-1", "99", "two\nlines", "\ud800", "💥", "x" * 300, "a, b", ",", "nul"),
    *("linear", "cosine", "eps", "v", "flow", "cpu", "meta", "cuda:99", "cpu:7", "ddim", "ddpm-learned", "fast27"),
    *("ddim1", "1,1", "1,,1", "0-1 [2]", "0-1 [0]", "1-0 [3]", f"0-1 [{'9' * 20}]", "0, 0, 1", "hair,face", "{a}"),
)
PICTURES = (
    *("good.png", "small.png", "pixel.png", "wide.png", "rgba.png", "palette.gif", "deep.png", "cut.png", "crc.png"),
    *("bomb.png", "huge.png", "nothing.png", "text.txt", "odd\udcff.png", "ü 💥.png", "cut.jpg", "cut.tif"),
)
PLACES = (
    *(
        "",
        ".",
        "folder/..",
        "no/..",
        "new.png",
        "new.xyz",
        "new",
        "new.safetensors",
        "new.jpg",
        "new.pdf",
        "NEW.PNG",
        ".png",
    ),
    *("no/new.png", "no/no/new.png", "no/no/no/new.png", "folder", "folder.png", "folder/new.png", "earlier.png"),
    *("earlier.safetensors", "text.txt/new.png", "loop.png", f"{'x' * 300}.png", "new\udcff.png"),
    *("new\udcff.safetensors", "map.safetensors", "spoiled.safetensors", "map.pt", CONFIG, "missing.toml", "con.png"),
)
EXPERTS = (*(f"{kind}.safetensors" for kind in (*KINDS, "spoiled")), "hair", "nobody")

_PATHS = st.sampled_from(PLACES + PICTURES + EXPERTS)
_COUNTS, _NUMBERS, _WORDS = map(st.sampled_from, (COUNTS, NUMBERS, WORDS))
_WORDS |= st.text(max_size=6)
_OF_OPTION = {
    **dict.fromkeys(["--steps", "--seed", "--count", "--seeds", "--of", "--workers", "--threads"], _COUNTS),
    **dict.fromkeys(["--image-size", "--num-heads", "--num-head-channels", "--text-heads"], _COUNTS),
    **dict.fromkeys(["--weight", "--reliability", "--start", "--end", "--eta", "--temperature"], _NUMBERS),
    **dict.fromkeys(["--map", "--sketch", "--drawing", "--low-res"], st.sampled_from(PICTURES) | _PATHS),
    **dict.fromkeys(["--output", "--runs", "--out", "--cache", "--resume"], _PATHS),
    **dict.fromkeys(["--text", "--class-name", "--device", "--values", "--guidance", "--maps"], _WORDS),
    **dict.fromkeys(["--schedule", "--prediction", "--sampler", "--vary", "--map-kind"], _WORDS),
    "--expert": st.sampled_from(EXPERTS) | _PATHS,
}
_SWITCHES = ("--with-text", "--overwrite", "--new-attention-order", "--resume", "--unknown", "--", "-", "-x", "--e")
_ODD_STEPS = ("0", "-1", "1", "2", "1.5", "", "x", "1001", "²", "9" * 30, "9" * 5000, "ddim", "ddim1", "ddim0", "1,1")


@st.composite
def command_lines(draw: st.DrawFn) -> CommandLine:
    """A call of which one to three parts were spoiled, of the configuration if it has one."""
    command, *arguments = draw(st.sampled_from(GOOD))
    changes = draw(st.sampled_from((1, 1, 1, 2, 3)))
    if command in CONFIGS and draw(st.integers(0, 3)):
        return CommandLine([command, *arguments], draw(configs(command, changes)))
    for _ in range(changes):
        values = [at for at, argument in enumerate(arguments) if not argument.startswith("--")]
        at = draw(st.sampled_from(values) if values else st.just(0))
        option = arguments[at - 1] if at else ""
        match draw(st.sampled_from((*["value"] * 12, "out", "more", "more", "switch", "stray"))):
            case "value" if values:
                arguments[at] = draw(_value_of(option, command))
            case "out":
                del arguments[at - draw(st.integers(0, 1)) : at + 1]
            case "more":
                option = draw(st.sampled_from(sorted(_OF_OPTION)))
                arguments += [option, draw(_value_of(option, command))]
            case "switch":
                arguments.insert(at + 1, draw(st.sampled_from(_SWITCHES)))
            case _:
                arguments.insert(at, draw(_PATHS))
    return CommandLine([command, *arguments], draw(configs(command, 0)) if command in CONFIGS else "")


def _value_of(option: str, command: str) -> st.SearchStrategy[str]:
    if option == "--steps" and command != "evaluate":
        return st.sampled_from(_ODD_STEPS)
    return _OF_OPTION.get(option, _PATHS)


_EXPERT = """
name = "mine"
image_size = 16
schedule = "cosine"
prediction = "v"
half = true
start = ""
network = {model_channels = 16, channel_mult = [1, 2], num_res_blocks = 1, attention_downsamplings = [2], patch = 2,
           dropout = 0.1, norm_groups = 4, num_heads = 2, map_channels = 1}
data = {kind = "folder", path = "pictures", modalities = ["hair"], trained = ["hair"]}
card = {licence = "own"}
"""
_AUTOENCODER = """
name = "mine"
image_size = 16
autoencoder = {widths = [4, 4, 6, 8]}
data = {kind = "mixture", sets = {landscapes = {count = 2, seed = 0}}}
objective = {crop = 16, encoder_until = 0.5, noise = 0.1, steps = 1.0}
"""
_RUN = """
optimizer = {steps = 1, batch_size = 2, warmup = 0, autocast = false, learning_rate = 1e-3, ema = 0.9}
report = {every = 1, held_out_every = 0, held_out = 1, samples = 1, sample_steps = 1, weight = 2.0}
"""
_ENCODER = 'dual_encoder = {name = "mine", path = "pictures", image_size = 16, steps = 1, batch_size = 2, words = 12}'
_DISTIL = """
name = "mine"
student = "text.safetensors"
rank = 1
rule = "own-null"
half = true
experts = [{name = "one", expert = "text.safetensors", weight = 2.0, reliability = 1.0, mask = "good.png"},
           {name = "two", expert = "text.safetensors", end = 1.0, weight_curve = [[0.0, 1.0]]}]
prompts = [{student = {text = "red"}, one = {text = "red hair"}, two = {text = ""}},
           {student = {text = ""}, one = {text = ""}, two = {text = "blue"}, unseen = true}]
passes = {threshold = 0.9, refresh = 2}
trajectories = {fewest_steps = 1, most_steps = 2, eta = 1.0, own = 1.0, own_from = 0.0, batches = 1, uses = 1}
loss = {prediction = "v", most = 5.0}
optimizer = {steps = 1, batch_size = 2, warmup = 0, autocast = false, learning_rate = 1e-3, ema = 0.9, seed = 1}
report = {every = 1, held_out_every = 1, held_out = 1, samples = 1, sample_steps = 1}
card = {licence = "own"}
"""

CONFIGS = {
    command: tuple(tomli.loads(re.sub(r",\n\s*", ", ", text)) for text in texts)
    for command, texts in (("train", (_EXPERT + _RUN, _AUTOENCODER + _RUN, _ENCODER)), ("distil", (_DISTIL,)))
}
"""Command → runs of one step, on a few small pictures."""

_PINNED = ("steps", "count", "held_out", "path")  # larger ones, other ones or their defaults would take minutes

_TOML_NUMBERS = st.sampled_from(
    (0, -1, 1, 2, 3, 7, 16, 2**63, -(2**63), 10**15, 10**400, 0.5, -0.5, 1.5, 1e-30, 1e30, float("nan"), float("inf"))
)
_TOML_TEXTS = st.sampled_from((*WORDS, *PICTURES, *EXPERTS, "skin", "sketch", "text", "class", "pictures/..", "nul\0"))
_TOML_VALUES = st.recursive(
    _TOML_NUMBERS | _TOML_TEXTS | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
_OF_TYPE = {int: _TOML_NUMBERS, float: _TOML_NUMBERS, str: _TOML_TEXTS, list: st.lists(_TOML_NUMBERS | _TOML_TEXTS)}
_FIELDS = ("vae", "pooled_dim", "num_classes", "film_dim", "num_head_channels", "sets", "text_encoder", "odd")
_TOML_PINNED = st.sampled_from((0, -1, 1.5, float("nan"), "nul\0", "../x", "pictures/../pictures", True, [], {"a": 1}))


@st.composite
def configs(draw: st.DrawFn, command: str, changes: int) -> str:
    """The TOML of a run of one step, of which so many values were spoiled."""
    config = json.loads(json.dumps(draw(st.sampled_from(CONFIGS[command]))))
    for _ in range(changes):
        inner = [value if isinstance(value, list) else [value] for value in config.values()]
        tables = [table for values in inner for table in values if isinstance(table, dict)]
        section = draw(st.sampled_from([config, *tables]))
        name = draw(st.sampled_from([*section, *section, *section, *_FIELDS]))
        if name == "kind":
            section[name] = draw(st.sampled_from(("", "nobody", 3, [], {})))
        elif name in _PINNED or isinstance(section.get(name), dict):
            section[name] = copy.deepcopy(draw(_TOML_PINNED))
        elif draw(st.integers(0, 9)) == 0:
            section.pop(name, None)
        else:
            section[name] = draw(_OF_TYPE.get(type(section.get(name)), _TOML_VALUES) | _TOML_VALUES)
    text = to_toml(config)
    return text if not changes or draw(st.integers(0, 9)) else draw(st.sampled_from((text[:-3], "\0", "[" * 5000, "")))


def to_toml(config: dict[str, Any]) -> str:
    """A configuration as TOML, a line for each value or section."""
    return "\n".join(f"{name} = {_value(value)}" for name, value in config.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_value(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def write_given(folder: Path) -> None:
    """Write what the calls name: experts of every kind, pictures sound and spoiled, and earlier outputs."""
    experts = write_bases(folder)
    (folder / "spoiled.safetensors").write_bytes(experts[1].read_bytes()[:5000])
    write_folder(folder / "pictures", captions=True)
    (folder / "folder").mkdir()
    (folder / "folder.png").mkdir()
    (folder / "text.txt").write_text("These are notes.", encoding="utf-8")
    (folder / "nothing.png").write_bytes(b"")
    (folder / "earlier.png").write_bytes(b"earlier")
    (folder / "earlier.safetensors").write_bytes(b"earlier")
    _write_pictures(folder)
    with suppress(OSError, NotImplementedError):  # Windows asks for a right
        (folder / "loop.png").symlink_to("loop.png")


def _write_pictures(folder: Path) -> None:
    picture = Image.fromarray(np.tri(16, dtype=np.uint8) * 255)
    colours = picture.convert("RGB")
    for name in ("good.png", "ü 💥.png"):
        picture.save(folder / name)
    for name, size in (("small.png", (4, 4)), ("pixel.png", (1, 1)), ("wide.png", (300, 1))):
        colours.resize(size).save(folder / name)
    for name, mode in (("rgba.png", "RGBA"), ("palette.gif", "P"), ("deep.png", "I;16")):
        picture.convert(mode).save(folder / name)
    content = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) * 2 // 3])
    at = content.index(b"IDAT") + 6
    (folder / "crc.png").write_bytes(content[:at] + b"\x00\x00" + content[at + 2 :])
    for name, side in (("bomb.png", 60_000), ("huge.png", 2**31 - 1)):
        header = b"IHDR" + struct.pack(">II", side, side) + content[24:29]
        checked = header + struct.pack(">I", zlib.crc32(header))
        (folder / name).write_bytes(content[:12] + checked + content[33:])
    with suppress(OSError):  # macOS takes no such name
        (folder / "odd\udcff.png").write_bytes(content)
    for name, form in (("cut.jpg", "JPEG"), ("cut.tif", "TIFF")):
        buffer = io.BytesIO()
        colours.resize((64, 64)).save(buffer, form)
        (folder / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
