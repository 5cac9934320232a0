"""`python -m mcdm_core distil`, from a file to a LoRA."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from mcdm_core import load_expert
from mcdm_core.checkpoints.lora import with_lora
from mcdm_core.cli.main import main
from mcdm_core.distil.recipe import load_recipe

from ...support.distillation import PROMPTS
from ...support.small_experts import write_expert, write_text_expert

TOP = 'name = "both"\nstudent = "text.safetensors"\nrank = 2\nhalf = true\n'
EXPERTS = """
[[experts]]
name = "hair"
expert = "text.safetensors"
weight = 2.0
[[experts]]
name = "ground"
expert = "text.safetensors"
lora = "ground.safetensors"
strength = 0.5
mask = "left.png"
"""
SHORT = """
[optimizer]
steps = 3
batch_size = 2
autocast = false
[trajectories]
fewest_steps = 2
most_steps = 2
batches = 2
[report]
every = 1
held_out_every = 3
held_out = 1
samples = 1
sample_steps = 2
[card]
licence = "CC0"
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a text expert, a LoRA on it, a mask and a configuration."""
    folder = tmp_path_factory.mktemp("files")
    write_text_expert(folder / "text.safetensors")
    Image.fromarray(np.uint8([[255, 0]] * 2)).save(folder / "left.png")
    plain = EXPERTS.replace('lora = "ground.safetensors"\nstrength = 0.5\nmask = "left.png"\n', "")
    write(folder, plain, name="lora")
    assert run(folder) == 0
    (folder / "runs" / "lora" / "lora.safetensors").rename(folder / "ground.safetensors")
    shutil.rmtree(folder / "runs")
    write(folder)
    return folder


@pytest.fixture
def here(files, tmp_path):
    """A copy of `files`."""
    return shutil.copytree(files, tmp_path / "here")


def write(folder, experts=EXPERTS, prompts=PROMPTS, rest=SHORT, top=TOP, name="both"):
    (folder / "both.toml").write_text(top.replace("both", name) + experts + prompts + rest, encoding="utf-8")


def run(folder, *options):
    return main(["distil", str(folder / "both.toml"), "--runs", str(folder / "runs"), *options])


def test_a_mask_on_nothing_is_one_on_black(here):
    learned = []
    for clear in (False, True):
        if clear:
            mask = Image.new("LA", (2, 2), (255, 0))
            mask.putalpha(Image.open(here / "left.png"))
            mask.save(here / "left.png")
        assert run(here, "--overwrite") == 0
        learned.append(load_file(here / "runs" / "both" / "both.safetensors"))
    assert all(torch.equal(learned[0][name], learned[1][name]) for name in learned[0])


def test_a_lora_may_be_for_another_cfg(here, capsys):
    guided = TOP + "weight = 4.0\n"
    write(here, top=guided)
    assert run(here) == 0
    with safe_open(here / "runs" / "both" / "both.safetensors", "pt") as opened:
        assert json.loads(opened.metadata()["mcdm_lora"])["weight"] == 4
    write(here, top=TOP + "weight = -1.0\n")
    assert run(here, "--overwrite") == 2
    assert "weight" in capsys.readouterr().err


def test_a_configuration_becomes_a_lora(here, caplog):
    assert run(here) == 0
    folder = here / "runs" / "both"
    assert sorted(path.name for path in folder.iterdir() if path.name != "lock") == [
        "both.safetensors",
        "held_out.csv",
        "loss.csv",
        "samples_000003.png",
        "state.pt",
    ]
    assert [line.split(",")[0] for line in (folder / "loss.csv").read_text("utf-8").split()] == ["step", "1", "2", "3"]
    expert = load_expert(here / "text.safetensors")
    changed = with_lora(expert, folder / "both.safetensors")
    weights = zip(expert.network.parameters(), changed.network.parameters(), strict=True)
    assert any(not torch.equal(before, after) for before, after in weights)
    with safe_open(folder / "both.safetensors", "pt") as opened:
        assert {opened.get_tensor(name).dtype for name in opened.keys() if "lora" in name} == {torch.float16}  # noqa: SIM118
        card = json.loads(opened.metadata()["mcdm_lora"])
    assert card == {
        "licence": "CC0",
        "steps": 3,
        "seed": 0,
        "start": "text",
        "weight": 1.0,
        "data": "a product of 2 experts (product), 2 prompts",
        "experts": ["text, weight 2", "text with ground, weight 1, strength 0.5, mask left.png"],
    }


def test_a_word_that_an_expert_does_not_know_is_named_once(here, caplog):
    """And again in the next run."""
    write(here, prompts=PROMPTS.replace(" hair", " zebra hair"))
    for times in (1, 2):
        assert run(here, "--overwrite") == 0
        assert caplog.text.count('"zebra"') == times


def test_a_run_goes_on_from_its_state_and_is_not_begun_twice(here, capsys):
    assert run(here) == 0
    before = load_file(here / "runs" / "both" / "both.safetensors")
    assert run(here) == 2
    assert "holds an earlier run; add --resume" in capsys.readouterr().err
    assert run(here, "--resume") == 0
    after = load_file(here / "runs" / "both" / "both.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert run(here, "--resume", "text.safetensors") == 2
    assert "goes on from its own state and not from text.safetensors" in capsys.readouterr().err


def test_other_experts_do_not_go_on(here, capsys):
    assert run(here) == 0
    write(here, EXPERTS.replace("strength = 0.5", "strength = 0.7"))
    assert run(here, "--resume") == 2
    assert "another configuration, which differs in teacher; restore" in capsys.readouterr().err


def test_an_expert_that_only_lends_its_null_is_given_nothing(here):
    write(here, '[[experts]]\nname = "base"\nexpert = "text.safetensors"\nweight = 0.0\n' + EXPERTS)
    assert run(here) == 0


def test_a_student_may_be_given_a_map(here):
    write_expert(here / "map.safetensors", {"kind": "map", "map": "hair"})
    top = TOP.replace("text.safetensors", "map.safetensors")
    experts = '[[experts]]\nname = "hair"\nexpert = "map.safetensors"\n'
    prompts = '[[prompts]]\nhair = { map = "left.png" }\nstudent = { map = "left.png", map_kind = "hair" }\n'
    write(here, experts, prompts, top=top)
    assert run(here) == 0


def changed(old, new, text=EXPERTS):
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"top": changed("rank = 2", "rank = 0", TOP)}, "expected a whole number from 1 to 1,024 for rank and got 0"),
        ({"top": changed("rank = 2", "rang = 2", TOP)}, "both.toml has unknown names ['rang']; known are"),
        ({"top": changed('student = "text.safetensors"', "", TOP)}, "both.toml is incomplete"),
        ({"top": TOP + 'rule = "sum"\n'}, "Expected a rule among product, own-null in both.toml and got 'sum'"),
        ({"top": changed("text.saf", "none.saf", TOP)}, "none.safetensors"),
        ({"experts": ""}, "Expected [[experts]] in both.toml, one or more, and got None; add them."),
        ({"experts": changed('name = "ground"', 'name = "hair"')}, "differ from each other, from 'student' and"),
        ({"experts": changed('name = "ground"', 'name = "student"')}, "and got 'student'; rename it"),
        ({"experts": changed("weight = 2.0", 'weight = "2"')}, "expected a finite number for weight and got '2'"),
        ({"experts": changed("expert =", "start = 0.5\nexpert =")}, "an active expert at every noise level"),
        ({"experts": changed("weight = 2.0", "wait = 2.0")}, "[[experts]] of both.toml has unknown names ['wait']"),
        ({"experts": changed("ground.saf", "none.saf")}, "none.safetensors"),
        ({"experts": changed("left.png", "none.png")}, "none.png cannot be used"),
        ({"prompts": ""}, "Expected [[prompts]] in both.toml, one or more, and got None; add them."),
        ({"prompts": "[prompts]\ncount = 3\n"}, "list them, or run `python -m studies distil` in a clone"),
        ({"prompts": changed("ground =", "sky =", PROMPTS)}, "has unknown names ['sky']; known are ['ground', 'hair'"),
        ({"prompts": changed('hair = { text = "red hair" }\n', "", PROMPTS)}, "for hair in each of the prompts"),
        (
            {"prompts": changed('{ text = "red hair" }', '"red hair"', PROMPTS)},
            "hair of [[prompts]] of both.toml",
        ),
        ({"prompts": changed('{ text = "red hair" }', "{ text = 3 }", PROMPTS)}, "expected a text for text and got 3"),
        ({"prompts": changed('{ text = "red hair" }', "{ map = 3 }", PROMPTS)}, "expected a path for map and got 3"),
        ({"prompts": changed('{ text = "red hair" }', '{ map = "left.png" }', PROMPTS)}, "not by a segmentation map"),
        ({"prompts": changed('{ text = "red hair" }', '{ class_name = "a" }', PROMPTS)}, "not by a class"),
        ({"prompts": changed("unseen = true", 'unseen = "yes"', PROMPTS)}, "expected true or false for unseen"),
        ({"prompts": "[[prompts]]\nunseen = true" + PROMPTS.removeprefix("\n[[prompts]]")}, "all 2 are unseen"),
        ({"rest": SHORT + "[loss]\nprediction = 'noise'\n"}, "Expected a loss in eps, x0, v, flow and got 'noise'"),
        ({"rest": SHORT + "[loss]\nmost = 0\n"}, "[loss] of both.toml: expected a finite number of"),
        ({"rest": changed("most_steps = 2", "most_steps = 1", SHORT)}, "Expected most_steps of trajectories of 2"),
        ({"rest": changed("batches = 2", "batches = 0", SHORT)}, "from 1 to 1,024 for batches and got 0"),
        ({"rest": changed("steps = 3", "muon = true", SHORT)}, "[optimizer] of both.toml has unknown names ['muon']"),
        ({"rest": SHORT + "[passes]\nrefresh = 0\n"}, "Expected to refresh every 1 to 100 steps and got 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(here, capsys, changes, sentence):
    write(here, **changes)
    assert run(here) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert sentence in said[0]
    assert not (here / "runs" / "both").exists()


def test_files_are_relative_to_the_configuration(here):
    (here / "deeper").mkdir()
    (here / "both.toml").rename(here / "deeper" / "both.toml")
    text = (here / "deeper" / "both.toml").read_text("utf-8")
    for name in ("text.safetensors", "ground.safetensors", "left.png"):
        text = text.replace(f'"{name}"', f'"../{name}"')
    (here / "deeper" / "both.toml").write_text(text, "utf-8")
    assert main(["distil", str(here / "deeper" / "both.toml"), "--runs", str(here / "runs")]) == 0


def test_what_is_left_out_has_defaults(here):
    write(here, rest="")
    recipe = load_recipe(here / "both.toml")
    assert (recipe.config.optimizer.batch_size, recipe.config.report.held_out_every) == (16, 100)
    assert recipe.config.trajectories.own == 0.5
    assert recipe.rule == "product"
