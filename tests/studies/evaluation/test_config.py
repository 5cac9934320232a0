"""Configurations of evaluations: what they mean, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcdm_core import Passes
from mcdm_core.sampling.operations import Logic
from studies.evaluation.config import Setting, TermConfig, load_evaluation
from studies.evaluation.methods import Choice

CONFIGS = Path(__file__).parents[3] / "studies" / "configs" / "evaluate"
HAIR, SKIN, LENT = (
    TermConfig("hair", ("hair",), weight=2.0),
    TermConfig("skin", ("skin",), weight=3.0),
    TermConfig("free", weight=0),
)

PLAIN = """
title = "Two maps"
[data]
kind = "faces"
count = 10
[sampling]
steps = 20
eta = 0.5
[experts]
hair = "../hair.safetensors"
skin = "/elsewhere/skin.safetensors"
[[settings]]
name = "united"
terms = [
    { expert = "hair", condition = "hair", weight = 2.0 },
    { expert = "skin", condition = ["skin", "hair"], shift = 1, end = 0.5 },
]
"""
UNITED = PLAIN[PLAIN.index("[[settings]]") :]


@pytest.fixture
def load(tmp_path):
    def load_text(text, *limits):
        path = tmp_path / "some" / "evaluation.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return load_evaluation(path, *limits)

    return load_text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_configurations_of_the_repository_load(path):
    config = load_evaluation(path)
    assert config.title
    rows = [row.label for setting in config.settings for row in setting.rows()]
    assert len(set(rows)) == len(rows)
    assert all(setting.count <= config.data.count for setting in config.settings)


def test_sections_are_read(load, tmp_path):
    config = load(PLAIN)
    (united,) = config.settings
    assert (united.steps, united.eta, united.rule, united.count, united.label) == (20, 0.5, "product", 0, "united")
    assert united.terms == (
        TermConfig("hair", ("hair",), weight=2.0),
        TermConfig("skin", ("skin", "hair"), shift=1, end=0.5),
    )
    assert config.experts["hair"] == (tmp_path / "hair.safetensors").resolve()
    assert config.experts["skin"] == Path("/elsewhere/skin.safetensors").resolve()
    assert (config.data.path, config.data.features) == ("", "")


def test_a_setting_may_leave_passes_out(load):
    curve = "weight_curve = [[0, 1], [1, 0.5]], sigma_end = 0.1, "
    text = PLAIN.replace("weight = 2.0", f"{curve}weight = 2.0") + "passes = { threshold = 0.98, refresh = 4 }\n"
    (united,) = load(text).settings
    assert united.passes == Passes(threshold=0.98, refresh=4)
    assert united.terms[0].sigma_end == 0.1
    assert [tuple(pair) for pair in united.terms[0].weight_curve] == [(0, 1), (1, 0.5)]
    assert load(PLAIN).settings[0].passes == Passes()
    for wrong, match in (("{ threshold = 2 }", "threshold of a cosine"), ("{ rate = 2 }", "unknown"), ("3", "table")):
        with pytest.raises(ValueError, match=match):
            load(PLAIN + f"passes = {wrong}\n")


def test_a_setting_may_name_a_method(load):
    lines = {
        'choose = { of = 3, by = "mIoU" }': ("choose", Choice(3, "mIoU")),
        "choose = {}": ("choose", Choice()),
        'eta = 1\nlogic = { operation = "or", sharpness = 0.5, priors = [1, 2], largest = 3 }': (
            "logic",
            Logic(operation="or", sharpness=0.5, priors=(1, 2), largest=3),
        ),
        "eta = 1\nlogic = {}": ("logic", Logic()),
        "together = 4": ("together", 4),
    }
    for line, (name, expected) in lines.items():
        (setting,) = load(PLAIN.replace("eta = 0.5", "") + line + "\n").settings
        assert getattr(setting, name) == expected
        assert setting == replace(load(PLAIN).settings[0], eta=setting.eta, **{name: expected})


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("choose = 3", "Expected choose of 'united' in .* to be a table and got 3"),
        ("choose = { off = 3 }", r"choose of 'united' in .* has unknown names \['off'\]"),
        ("choose = { of = 1 }", "at least 2 samples to choose from and got 1"),
        ("logic = {}", "'united' has logic, sampled ancestrally, and η = 0.5; set eta = 1"),
        ('eta = 1\nlogic = {}\nvary = "weight"\nvalues = [1, -2]', "has logic and excludes all of its experts"),
        (
            "eta = 1\nlogic = {}\nchoose = {}",
            "'united' asks for choose and logic; compare them in settings of their own",
        ),
        ("eta = 1\nlogic = { priors = [1] }", "'united' has 1 priors for 2 terms; give one for each, or none"),
        ('eta = 1\nlogic = { operation = "xor" }', "an operation of and, or, and got xor"),
        ("together = 21", "'united' samples 21 pictures together; take 1 to 20, or 0 for 20"),
        ("together = -1", "'united' samples -1 pictures together"),
        ("candidate = 1", "'united' names a candidate"),
        ('vary = "steps"\nvalues = [5, 7.5]', "'united' varies its steps and takes 7.5; take whole numbers from 1 on"),
        ('vary = "steps"\nvalues = [0, 5]', "'united' varies its steps and takes 0; take whole numbers from 1 on"),
    ],
)
def test_methods_that_cannot_act_are_refused(lines, match, load):
    with pytest.raises(ValueError, match=match):
        load(PLAIN + lines + "\n")


@pytest.mark.parametrize(
    ("term", "lines", "match"),
    [
        ("", 'rule = "gan"\nchoose = {}', "'alone' asks a GAN, which has no choose; leave that out"),
        ("", 'rule = "gan"\npasses = { end = 0.5 }', "a GAN, which has no passes"),
        ("", 'rule = "gan"\ntogether = 2', "a GAN, which has no together"),
        (', mask = "hair"', 'rule = "gan"', "a GAN, which has no mask"),
        (", weight = -1", "eta = 1\nlogic = {}", "'alone' has logic and excludes all of its experts; give"),
        ("", 'vary = "reliability"\nvalues = [0.5]', "'alone' varies the reliability of a single expert"),
    ],
)
def test_what_one_expert_cannot_do_is_refused(term, lines, match, load):
    alone = f'[[settings]]\nname = "alone"\nterms = [{{ expert = "hair", condition = "hair"{term} }}]\n'
    with pytest.raises(ValueError, match=match):
        load(f"{PLAIN}{alone}{lines}\n")


def test_what_rows_are_compared_with_is_one_of_them(load):
    against = PLAIN.replace("[data]", 'against = "unity"\n[data]')
    with pytest.raises(ValueError, match=r"as `against` of .* and got 'unity'; there are 'united'"):
        load(against)
    assert load(against.replace("unity", "united")).against == "united"


def test_files_of_a_folder_lie_beside_the_configuration(load, tmp_path):
    data = load(PLAIN.replace('"faces"', '"folder"\npath = "mine"\nfeatures = "resnet.pth"')).data
    assert Path(data.path) == tmp_path / "some" / "mine"
    assert Path(data.features) == tmp_path / "some" / "resnet.pth"


@pytest.mark.parametrize(
    ("configured", "limit", "expected"), [(10, 0, 10), (10, 4, 4), (10, 40, 10), (0, 4, 4), (0, 0, 0)]
)
def test_counts_are_limited_and_never_raised(configured, limit, expected, load):
    text = PLAIN.replace("count = 10", f"count = {configured}") + f"count = {configured}\n"
    config = load(text, limit)
    assert (config.data.count, config.settings[0].count) == (expected, expected)


def test_steps_are_limited_also_where_they_are_varied(load):
    varied = UNITED.replace("united", "varied") + 'vary = "steps"\nvalues = [2, 5, 10]\n'
    assert load(PLAIN, 0, 30).settings[0].steps == 20
    config = load(PLAIN + varied, 0, 4)
    assert [row.steps for setting in config.settings for row in setting.rows()] == [4, 2, 4]
    assert [row.steps for row in load(PLAIN + varied).settings[1].rows()] == [2, 5, 10]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('title = "Two maps"', "", "incomplete: .*'title'"),
        ('title = "Two maps"', 'titel = "Two maps"', r"evaluation\.toml has unknown names \['titel'\]"),
        ('kind = "faces"', "", r"\[data\] of evaluation\.toml is incomplete: .*'kind'"),
        ("count = 10", "counts = 10", r"\[data\] of evaluation\.toml has unknown names \['counts'\]"),
        ("steps = 20", "stride = 20", r"the setting 'united' of evaluation\.toml has unknown names \['stride'\]"),
        ("steps = 20", "steps = 0", "'united' takes 0 steps; take one or more"),
        ("shift = 1", "shft = 1", r"a term of 'united' in evaluation\.toml has unknown names \['shft'\]"),
        ('{ expert = "hair",', "{", "a term of 'united' in .* incomplete: .*'expert'"),
        ('name = "united"', "", "'without a name' of evaluation.toml is incomplete: .*'name'"),
        (UNITED, "", r"Expected \[\[settings\]\] in evaluation\.toml and found none"),
        (UNITED, '[[settings]]\nname = "empty"\n', "The setting 'empty' has no terms"),
        (UNITED, 2 * UNITED, r"evaluation\.toml has several rows named 'united'"),
        ("count = 10", "count = -1", r"\[data\] of evaluation\.toml has count = -1; give a number of pictures"),
        ("steps = 20", "count = -1", "'united' has count = -1; give a number of pictures, or 0 for all"),
        ('hair = "../hair.safetensors"', "", r"asks for the expert 'hair', and \[experts\] has skin; name one"),
        (
            'name = "united"',
            'name = "united"\nrule = "sum"',
            "rule of 'united' is 'sum'; choose one of product, own-null",
        ),
        ('name = "united"', 'name = "united"\nrule = "gan"', "'united' asks a GAN and has 2 terms"),
        ('name = "united"', 'name = "united"\nvary = "weight"', r"'united' varies 'weight' over \[\]"),
        ('name = "united"', 'name = "united"\nvalues = [1.0]', r"'united' varies 'nothing' over \[1\.0\]"),
        ('name = "united"', 'name = "united"\nvary = "shift"\nvalues = [1]', "varies 'shift' .* vary one of weight"),
        ("[experts]", "[expert]", r"Expected \[experts\] in evaluation\.toml and found none"),
        ("steps = 20", 'steps = "20"', "'united' of .*: expected a whole number for steps and got '20'; correct it"),
        (
            'hair = "../hair.safetensors"',
            "hair = 3",
            r"the path of a file for the expert 'hair' in \[experts\] of .* 3;",
        ),
    ],
)
def test_what_is_of_no_use_or_of_another_type_is_refused(old, new, match, load):
    assert PLAIN.count(old) == 1
    with pytest.raises(ValueError, match=match):
        load(PLAIN.replace(old, new))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ("settings = [3]", "Expected each of the settings of .* to be a table and got 3"),
        ('settings = [{ name = "a", terms = "hair" }]', "Expected a list as the terms of 'a' in .* and got 'hair'"),
        ('settings = [{ name = "a", terms = ["hair"] }]', "Expected a term of 'a' in .* to be a table and got 'hair'"),
        ('sampling = 3\nsettings = [{ name = "a" }]', r"Expected \[sampling\] of .* to be a table and got 3"),
        ("data = 3\nsettings = [{}]", r"Expected \[data\] of .* to be a table and got 3"),
    ],
)
def test_what_is_no_table_is_refused(settings, match, load):
    with pytest.raises(ValueError, match=match):
        load(
            f'title = "A"\n{settings}\nexperts = {{}}\n' + ("" if "data =" in settings else '[data]\nkind = "faces"\n')
        )


@pytest.mark.parametrize(
    ("first", "second", "repeated"),
    [
        ('vary = "steps"\nvalues = [5, 10]', ('"united, steps 10"', ""), "united, steps 10"),
        ('vary = "steps"\nvalues = [5, 10]', ('"united"', 'vary = "weight"\nvalues = [2]'), "united"),
        ('vary = "weight"\nvalues = [0.1, 0.10000001]', ('"other"', ""), "united, weight 0.1"),
    ],
)
def test_rows_and_lines_of_one_name_are_refused(first, second, repeated, load):
    name, lines = second
    other = UNITED.replace('"united"', name) + lines
    with pytest.raises(ValueError, match=f"several rows named '{repeated}'; give each a name of its own"):
        load(f"{PLAIN}{first}\n{other}\n")


def test_each_value_is_a_row_in_order_and_once():
    rows = Setting("a", (HAIR,), vary="steps", values=(20.0, 10.0, 20.0, 5.0)).rows()
    assert [row.steps for row in rows] == [row.value for row in rows] == [5, 10, 20]
    assert [row.label for row in rows] == ["a, steps 5", "a, steps 10", "a, steps 20"]


def test_weights_vary_of_the_experts_that_have_one():
    setting = Setting("a", (HAIR, SKIN, LENT), vary="weight", values=(0.5, 4.0))
    assert [[term.weight for term in row.terms] for row in setting.rows()] == [[0.5, 0.5, 0.0], [4.0, 4.0, 0.0]]
    assert all(replace(row, terms=setting.terms, value=None) == setting for row in setting.rows())
    (row,) = Setting("a", (HAIR, replace(SKIN, weight=-3.0)), vary="weight", values=(2.0,)).rows()
    assert [term.weight for term in row.terms] == [2.0, -2.0]  # who is excluded stays so


def test_the_others_share_the_rest_of_the_reliability():
    two = Setting("a", (HAIR, SKIN), vary="reliability", values=(0.0, 0.25, 1.0)).rows()
    assert [[term.reliability for term in row.terms] for row in two] == [[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]]
    (three,) = Setting("a", (HAIR, SKIN, LENT), vary="reliability", values=(0.4,)).rows()
    assert [term.reliability for term in three.terms] == pytest.approx([0.4, 0.3, 0.3])
    assert [term.weight for term in three.terms] == [2.0, 3.0, 0.0]


def test_steps_may_be_spaced_unevenly(load):
    spaced = PLAIN.replace('name = "united"', 'name = "united"\nspacing = "12,8"')
    assert load(spaced).settings[0].timesteps == "12,8"
    assert load(PLAIN).settings[0].timesteps == "20"
    assert load(spaced, 0, 20).settings[0].timesteps == "12,8"
    assert load(spaced, 0, 5).settings[0].timesteps == "5"  # a quick look takes fewer, evenly


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('spacing = "12,9"', "a spacing of 20 steps for 'united' and got '12,9', which has 21; correct one of them"),
        ('spacing = "12;8"', "The spacing of 'united' cannot be used. Expected a timestep spacing"),
        ('spacing = "12,8"\nvary = "steps"\nvalues = [10, 20]', "has no steps of its own to space; leave its spacing"),
    ],
)
def test_a_spacing_that_cannot_be_used_is_refused(load, lines, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(PLAIN.replace('name = "united"', f'name = "united"\n{lines}'))


def test_loras_and_masks_are_read(load, tmp_path):
    text = PLAIN.replace("[[settings]]", '[loras]\nmine = "../mine.safetensors"\n[[settings]]', 1)
    text = text.replace("weight = 2.0", 'weight = 2.0, lora = "mine", mask = "hair"')
    config = load(text)
    (united,) = config.settings
    assert (united.terms[0].lora, united.terms[0].mask, united.terms[1].lora) == (("mine",), "hair", ())
    assert config.files == config.experts | {"mine": (tmp_path / "mine.safetensors").resolve()}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight = 2.0", 'weight = 2.0, lora = "mine"', r"the LoRA 'mine', and \[loras\] has none"),
        ("weight = 2.0", "weight = 2.0, strength = 0.5", "a strength of 0.5 and no LoRA; name one"),
        ("[[settings]]", "[loras]\nhair = 'a'\n[[settings]]", r"'hair' in \[experts\] and in \[loras\]; rename"),
        ("[[settings]]", "[loras]\nmine = 3\n[[settings]]", "path of a file for .*'mine'"),
        ('title = "Two maps"', 'title = "Two maps"\nloras = 3', r"\[loras\] .* to be a table"),
    ],
)
def test_loras_that_cannot_be_used_are_refused(load, old, new, message):
    with pytest.raises(ValueError, match=message):
        load(PLAIN.replace(old, new, 1))
