"""Each figure of README and of pages in `docs/` is that of the row and the measure it names.

A sentence with figures is written anew from the tables and looked for in the page. What numbers are left then are none
that was measured: weights and other settings, names, versions, dates, sizes.
"""

import math
import re
from itertools import product

import numpy as np
import pytest
import tomli

from studies.data.faces import ATTRIBUTES
from studies.metrics.bootstrap import bootstrap_interval

from ...support.pages import README, ROOT, italics_of, text_of
from ...support.tiny_runs import csv_rows

RESULTS = ROOT / "studies" / "results"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"


def row_of(folder: str, row: str, measure: str) -> dict[str, str]:
    """What an evaluation says of a measure."""
    figures = csv_rows(RESULTS / folder / "figures.csv")
    (found,) = [line for line in figures if (line["setting"], line["measure"]) == (row, measure)]
    return found


def measured(folder: str, row: str, measure: str, n: int) -> float:
    """A figure of an evaluation, over n pictures."""
    found = row_of(folder, row, measure)
    assert int(found["n"]) == n
    return float(found["figure"])


def cell(path, row: str, column: str) -> str:
    """A cell of a page's table; of several tables with such a row and column, the first one's."""
    text = path.read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        for cells in lines:
            if cells[0] == row and column in head:
                return cells[head.index(column)]
    raise AssertionError(f"{path.name} has no {row!r} with {column!r}")


def written(path, row: str, column: str) -> float:
    """The first number in a cell of a page's table."""
    return float(re.search(r"[-−+]?[\d.]+", cell(path, row, column))[0].replace("−", "-"))


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def thousandths(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def interval_of(share: float, n: int) -> str:
    """Wilson's 95 % interval for a share of n pictures, in percent."""
    z = 1.959964
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def share_of(folder: str, row: str, measure: str, n: int) -> str:
    share = measured(folder, row, measure, n)
    return f"{percent(share)} {interval_of(share, n)}"


def bracketed(folder: str, row: str, measure: str, n: int, form=thousandths) -> str:
    """A figure with the bootstrap interval of its evaluation."""
    low, high = (form(float(row_of(folder, row, measure)[side])) for side in ("low", "high"))
    return f"{form(measured(folder, row, measure, n))} [{low}, {high}]"


def all_right(row: str, folder: str = "bleeding", n: int = 300) -> float:
    return measured(folder, row, "all right", n)


def of_pairs(row: str) -> str:
    """Cells of a table: all colours right, bled, number of pictures."""
    return f"{share_of('bleeding', row, 'all right', 300)} | {share_of('bleeding', row, 'bleeding', 300)} | 300 |"


def one_after_other(first: str, measure: str) -> str:
    return share_of("one_after_other", f"{first}'s LoRA first", measure, 300)


def of_distilled(row: str, folder: str = "product_lora") -> list[str]:
    """All colours right, where their pair was trained on, and where it wasn't."""
    config = tomli.loads((ROOT / "studies" / "configs" / "distil" / "two_loras.toml").read_text(encoding="utf-8"))
    others = [[value for value in ATTRIBUTES[of] if value != lead] for of, lead in config["prompts"]["leading"].items()]
    unseen = [[*pair] in config["prompts"]["unseen"] for pair in product(*others)]
    assert (unseen.count(False), unseen.count(True)) == (11, 4)
    right: dict[bool, list[float]] = {False: [], True: []}
    for line in csv_rows(RESULTS / folder / "pictures.csv"):
        if line["setting"] == row:
            right[unseen[int(line["picture"]) % len(unseen)]].append(float(line["all right"]))
    assert [len(values) for values in right.values()] == [220, 80]
    return [percent(sum(values) / len(values)) for values in right.values()]


def of_student(row: str, folder: str = "product_lora") -> str:
    """Cells of a table: those of `of_distilled`, both eyes, and the distance to drawn faces."""
    eyes = percent(measured(folder, row, "both eyes", 300))
    return " | ".join([*of_distilled(row, folder), eyes, whole(measured(folder, row, "Fréchet distance", 300))])


def of_new(measure: str) -> list[str]:
    """Of two colours that no checkpoint drew: both LoRAs in one network, twice, their product, and its LoRA."""
    rows = *(f"{ONE_NETWORK}, weight {weight}" for weight in (4, 6)), "the product, weight 6", DISTILLED
    return [percent(measured("new_colors", row, measure, 200)) for row in rows]


def of_one_prompt(row: str) -> str:
    return f"{100 * measured('logic256', row, 'one face', 100):.0f}"


def of_captions(row: str, measure: str = "all attributes") -> float:
    return measured("captions256", row, measure, 300)


def of_spaces(row: str, measure: str) -> str:
    return thousandths(measured("spaces256", row, measure, 100))


def faces_of(row: str, measure: str) -> str:
    return f"{100 * measured('spaces256', row, measure, 100):.0f}"


def obeyed(row: str) -> str:
    return thousandths(measured("table1", row, "mIoU", 1000))


def distance(row: str) -> str:
    return f"{measured('table1', row, 'Fréchet distance', 1000):.0f}"


def whole(value: float) -> str:
    return f"{value:.0f}"


def of_table(row: str, measure: str = "Fréchet distance", of: str = "table1") -> str:
    of_thousand = of == "table1" and row.startswith((ONE, AT_ONE)) and not row.endswith(UNEQUAL)
    n = 1000 if of_thousand else 300
    return bracketed(of, row, measure, n, whole if measure == "Fréchet distance" else thousandths)


def of_four(measure: str) -> str:
    return bracketed("modalities256", FOUR, measure, 100)


def of_two(faces: str, measure: str) -> str:
    return bracketed("contradictions", f"hair and skin of {faces}", measure, 40)


def without_leading(way: str) -> str:
    return thousandths(measured("causes", f"uniform colours, {way}", "mIoU", 300))


def of_causes(way: str) -> str:
    return bracketed("causes", f"uniform colours, {way}", "Fréchet distance", 300, whole)


def paired(folder: str, row: str, other: str, measure: str = "mIoU") -> str:
    """Mean difference of two rows over the same pictures, with its bootstrap interval."""
    values: dict[str, dict[str, float]] = {row: {}, other: {}}
    for line in csv_rows(RESULTS / folder / "pictures.csv"):
        if line["setting"] in values and line[measure]:
            values[line["setting"]][line["picture"]] = float(line[measure])
    both = values[row].keys() & values[other].keys()
    differences = np.array([values[row][picture] - values[other][picture] for picture in sorted(both, key=int)])
    low, high = bootstrap_interval(differences)
    mean, *ends = (f"{value:+.3f}".replace("-", "−").replace("0.", ".") for value in (differences.mean(), low, high))
    return f"{mean} [{', '.join(ends)}]"


def of_negatives(row: str) -> list[str]:
    """Share of right animals, and the mean share of the landscape's parts, where a model's negative is U."""
    found = row_of("scene_reliability256", row, "landscape")
    low, high = (100 * float(found[side]) for side in ("low", "high"))
    landscape = percent(measured("scene_reliability256", row, "landscape", 40))
    return [share_of("scene_reliability256", row, "animal", 40), f"{landscape} [{low:.1f}, {high:.1f}]"]


def biased(column: str, variance: float | None = None) -> str:
    """The worked case's Gaussian, by mean and variance; the page has a table of means, and one of deviations."""
    text = (RESULTS / "product_bias" / "product_bias.md").read_text(encoding="utf-8")
    tables = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| ")]
    place = next(cells for cells in tables if cells[1] == "case").index(column)
    mean, deviation = (
        float(cells[place].split(";")[0].replace("−", "-")) for cells in tables if cells[1].startswith("worked case")
    )
    return f"N({signed(mean)}, {variance or deviation**2:.2f})"


def moved_dynamically() -> str:
    """What two checkpoints of SDXL move a step on 8 GiB, with dynamic VRAM."""
    moved = re.search(r"two checkpoints of SDXL move [\d.]+ GiB a step on 6 GiB and ([\d.]+) on 8", text_of(BENCHMARKS))
    return f"{float(moved[1]):.1f} GiB"


def fitting(product: str) -> str:
    """The smallest card on which nothing is moved."""
    return next(card for card in ("6 GiB", "8 GiB", "12 GiB") if cell(BENCHMARKS, product, card) == "fits")


CAPTION, SCENES, DECODED = "reliabilities as weights", "landscape to .4", "their decoded encodings"
FOUR, UNITED = "hair, skin, sketch and caption", "(b) two experts, product, w = 2"
ENDS = [f"united, w = 3, reliability {reliability}" for reliability in (0, 0.5, 1)]
ONE = "(a) one network,"
HALF = [f"united, w = 1, reliability {reliability}" for reliability in (0.5, 0)]
UNEQUAL = "w = 1, a = 1 and 0"
AT_ONE = "(b) two experts, product, w = 1"
AVERAGED, ONE_NETWORK = "(b) two experts, averaged", "both LoRAs in one network"
SDXLS, SDXL_LORAS = "two checkpoints of SDXL, 1024²", "two LoRAs on one checkpoint of SDXL, 1024²"
DISTILLED = "the product's LoRA"
BY_PICTURES = "a LoRA by the product's pictures"
SENTENCES = {
    "README": [
        f"each told its own colour, both right in {percent(all_right('own nulls: Composite'))}; loaded twice, told "
        "both, "
        f"{percent(all_right(ONE_NETWORK))} (no LoRA {percent(all_right('no LoRA'))})",
        "300 faces, 10 steps",
        f"there [{percent(measured('product_lora', DISTILLED, 'all right', 300))}], both eyes "
        f"{percent(measured('product_lora', DISTILLED, 'both eyes', 300))}, here "
        f"{percent(measured('product_lora', 'the product', 'both eyes', 300))}",
        "[two that don't bleed]: loaded twice {}, here {}".format(*of_new("all right")[1:3]),
        f"both right in {one_after_other('hair', 'all right').partition(' [')[0]} or "
        f"{one_after_other('background', 'all right').partition(' [')[0]}, by which goes first",
        "on its pictures {}, both eyes {}".format(
            *(percent(measured("lora_by_pictures", BY_PICTURES, of, 300)) for of in ("all right", "both eyes"))
        ),
        f"one checkpoint with two LoRAs fits on {fitting(SDXL_LORAS)}, two checkpoints on {fitting(SDXLS)}; two on 8 "
        f"GiB are slower: up to {moved_dynamically()} are re-sent every step",
        f"than either alone (mean IoU {of_table(AT_ONE, 'mIoU').partition(' [')[0]} by both at weights 1, "
        f"{of_table('(b) hair expert alone, w = 2', 'mIoU').partition(' [')[0]} and "
        f"{of_table('(b) skin expert alone, w = 2', 'mIoU').partition(' [')[0]} alone at 2)",
        f"one network given both maps {of_table(f'{ONE} both maps at once, w = 1')} "
        f"({distance(f'{ONE} both maps at once, w = 2')} at the same sum of weights), its product "
        f"{of_table(f'{ONE} product, w = 1')}; two networks' "
        f"{distance('(b) two experts, product, w = 1')}.",
        f"less than one network given both ({obeyed(f'{ONE} product, w = 1')} against "
        f"{obeyed(f'{ONE} both maps at once, w = 1')}, or {obeyed(f'{ONE} both maps at once, w = 2')} at the same sum "
        f"of weights), or ties ({without_leading('product')} against "
        f"{without_leading('both maps at once')}) where training sets share colours",
        f"[{percent(of_captions(CAPTION))}] of 300 faces show all its colours and its mouth (by the caption's model "
        f"alone {percent(of_captions('caption alone'))}); "
        f"hair overlaps its map by IoU {thousandths(of_captions(CAPTION, 'hair IoU'))} (drawings "
        f"{thousandths(of_captions(DECODED, 'hair IoU'))}).",
    ],
    "latent-spaces": [
        f"their mean IoU is {of_spaces('two spaces', 'mIoU')}, beside {of_spaces('one space', 'mIoU')} by experts of "
        "the caption's space",
        f"All four attributes of the caption are right in {faces_of('two spaces', 'one face')} of 100 faces "
        f"({faces_of('one space', 'one face')}), and {faces_of('two spaces', 'both eyes')} have both eyes "
        f"({faces_of('one space', 'both eyes')})",
        f"({faces_of('two spaces, maps to .8', 'one face')} of 100, at an IoU of "
        f"{of_spaces('two spaces, maps to .8', 'mIoU')} and both eyes in "
        f"{faces_of('two spaces, maps to .8', 'both eyes')})",
    ],
    "rules": [
        f"no LoRA, both colours in one caption | {of_pairs('no LoRA')}",
        f"twice), one caption | {of_pairs(ONE_NETWORK)}",
        *(
            f"{first}'s LoRA first | {one_after_other(first, 'all right')} | "
            f"{one_after_other(first, 'bleeding')} | 300 |"
            for first in ("hair", "background")
        ),
        f"the base model's negative alone | {of_pairs('base null: product')}",
        f"told its colour, each with its own negative | {of_pairs('own nulls: Composite')}",
        "N(−1, 0.3) and N(1.5, 0.8), mean and variance, with the negative N(0.2, 2), both at weight 1, have the "
        "product "
        f"{biased('product of the densities', 1 / (1 / 0.3 + 1 / 0.8 - 1 / 2))}. In",
        f"DDIM ends at {biased('ODE, closed form')}, ancestral sampling at {biased('SDE, closed form')}.",
        "| both, equally | {} | {} |".format(*of_negatives(ENDS[1])),
        "| the animals' alone | {} | {} |".format(*of_negatives(ENDS[2])),
        "| the landscapes' alone | {} | {} |".format(*of_negatives(ENDS[0])),
    ],
    "distil": [
        f"the product | 4 | {of_student('the product')} |",
        f"plain network, one caption | 1 | {of_student('no LoRA')} |",
        f"with the LoRA | 1 | {of_student(DISTILLED)} |",
        f"with [one by as many pictures] | 1 | {of_student(BY_PICTURES, 'lora_by_pictures')} |",
        "In 50 steps {} are right, in 50 ancestral ones {} (n = 100).".format(
            *(
                percent(all_right(f"{DISTILLED}, {steps}", "product_lora", 100))
                for steps in ("50 steps", "50 ancestral steps")
            )
        ),
        "[{}] are right at half its strength, {} at cfg 2 and {} at 4, where fewer have both eyes.".format(
            *(
                percent(all_right(row, "product_lora_strengths", 100))
                for row in ("half of it, weight 1", "as trained, weight 2", "as trained, weight 4")
            )
        ),
        "In 400 steps 2, 20 and 200 prompts give [{}, {} and {}], two checkpoints [{}] (product {}), and [{}] at that "
        "cfg, {} at 2.".format(
            *(percent(all_right(f"{count} prompts", "distil_prompts")) for count in (2, 20, 200)),
            *(percent(all_right(row, "mix_of_checkpoints", 100)) for row in (DISTILLED, "the product")),
            *(percent(all_right(f"{DISTILLED}, weight {weight}", "mix_with_cfg", 100)) for weight in (4, 2)),
        ),
        "Losses in x0, ε and v give [{}, {} and {}] in 250 steps.".format(
            *(percent(all_right(f"loss in {loss}, a network of v", "distil_losses", 100)) for loss in ("x0", "ε", "v"))
        ),
        "both are right in {} of 200 faces in one network at weight 4, {} at 6, in {} by the product at 6 and in {} by "
        "its LoRA; both eyes in {}, {}, {} and {}.".format(*of_new("all right"), *of_new("both eyes")),
    ],
    "nodes": ["92 of the 101 model families"],
    "templates": [
        f"{of_one_prompt('OR, λ = 1')} of 100 faces show one cleanly; blended, {of_one_prompt('product')} do",
    ],
    "paper": [
        f"Fréchet distance {of_table(f'{ONE} product, w = 1')} and {of_table(f'{ONE} both maps at once, w = 1')}; "
        f"{of_table(f'{ONE} both maps at once, w = 2')} for both maps at weight 2, the product's sum of weights; "
        f"{of_table('(b) two experts, product, w = 1')} for the product of two networks",
        f"mIoU {of_table(f'{ONE} product, w = 1', 'mIoU')} and {of_table(f'{ONE} both maps at once, w = 1', 'mIoU')}, "
        f"face by face {paired('table1', f'{ONE} product, w = 1', f'{ONE} both maps at once, w = 1')}; "
        f"{of_table(f'{ONE} both maps at once, w = 2', 'mIoU')} for both maps at weight 2, the product's sum of "
        f"weights, face by face {paired('table1', f'{ONE} product, w = 1', f'{ONE} both maps at once, w = 2')}.",
        f"Averaging the two: distance {of_table(AVERAGED)}, mIoU {of_table(AVERAGED, 'mIoU')}.",
        f"(hair {thousandths(measured('table1', '(b) hair expert alone, w = 2', 'hair IoU', 300))}, united "
        f"{thousandths(measured('table1', UNITED, 'hair IoU', 300))})",
        f"Without leading colours: {bracketed('causes', 'uniform colours, product', 'mIoU', 300)} and "
        f"{bracketed('causes', 'uniform colours, both maps at once', 'mIoU', 300)}, all at weight 1 (n = 300).",
        f"Distance {of_table(f'{ONE} product, w = 1', of='table2')} and "
        f"{of_table(f'{ONE} both maps at once, w = 1', of='table2')}; "
        f"mIoU {of_table(f'{ONE} product, w = 1', 'mIoU', 'table2')} and "
        f"{of_table(f'{ONE} both maps at once, w = 1', 'mIoU', 'table2')}, face by face "
        f"{paired('table2', f'{ONE} product, w = 1', f'{ONE} both maps at once, w = 1')}.",
        f"Distance {of_table(f'(b) two experts, product, {UNEQUAL}')} (Eq. 10) and "
        f"{of_table(f'(b) two experts, own nulls, {UNEQUAL}')}; "
        f"mIoU {of_table(f'(b) two experts, product, {UNEQUAL}', 'mIoU')} and "
        f"{of_table(f'(b) two experts, own nulls, {UNEQUAL}', 'mIoU')}.",
        f"they are {of_causes('product')} and {of_causes('both maps at once')}.",
        f"Hair IoU {of_table('fine-tuned on hair, then skin: both maps at once, w = 2', 'hair IoU')} after "
        f"fine-tuning, {of_table(AT_ONE, 'hair IoU')} by two united experts of the same sum of weights (1 "
        "each, n = 1000); mIoU of "
        f"the GAN {of_table('GAN (SPADE), both maps at once', 'mIoU')}.",
        f"At weights 2 + 2 against 2: distance {of_table(UNITED)} united, "
        f"{of_table('(b) hair expert alone, w = 2')} and "
        f"{of_table('(b) skin expert alone, w = 2')} alone; mIoU {of_table(UNITED, 'mIoU')}, "
        f"{of_table('(b) hair expert alone, w = 2', 'mIoU')} and {of_table('(b) skin expert alone, w = 2', 'mIoU')}.",
        "At 1 + 1 against 2 of the hair's model, face by face: mIoU "
        f"{paired('table1', AT_ONE, '(b) hair expert alone, w = 2')}",
        f"from 0 to ½ changes hair by {paired('reliability', *HALF, 'hair IoU')} and skin by "
        f"{paired('reliability', *HALF, 'skin IoU')}.",
        "Hair alone {}, hair and skin {}, with the caption {}.".format(
            *(
                thousandths(measured("modalities256", row, "hair IoU", 100))
                for row in ("hair", "hair and skin", "hair, skin and caption")
            )
        ),
        f"{share_of('captions256', CAPTION, 'all attributes', 300)}, is of a hair map, a skin map",
        f"it is {share_of('captions256', 'equal reliabilities', 'all attributes', 300)}; captions alone, at weight 4, "
        f"have {share_of('captions256', 'caption alone', 'all attributes', 300)}, decoded drawings "
        f"{share_of('captions256', DECODED, 'all attributes', 300)} (n = 300 each).",
        f"Animal right in {share_of('scene_windows256', SCENES, 'animal', 300)}, all of the landscape in "
        f"{share_of('scene_windows256', SCENES, 'all of the landscape', 300)}, both in "
        f"{percent(measured('scene_windows256', SCENES, 'all with the animal', 300))}.",
        f"A reader finds {percent(measured('scene_windows256', SCENES, 'not whole', 300))} of the animals not whole.",
        f"Hair IoU {of_four('hair IoU')}, skin IoU {of_four('skin IoU')}, edges F1 {of_four('edge F1')}, all "
        f"attributes in {share_of('modalities256', FOUR, 'all attributes', 100)}.",
        "animal right in " + ", ".join(share_of("scene_reliability256", row, "animal", 40) for row in ENDS) + "; "
        "the landscape's parts " + ", ".join(bracketed("scene_reliability256", row, "landscape", 40) for row in ENDS),
        f"hair IoU {of_two('two faces', 'hair IoU')}, skin IoU {of_two('two faces', 'skin IoU')}; of one face "
        f"{of_two('one face', 'hair IoU')} and {of_two('one face', 'skin IoU')}.",
        "with the hair map in the first half alone, skin has "
        f"{bracketed('contradictions', 'two faces, hair until half-way', 'skin IoU', 40)}.",
    ],
}
SETTINGS = {
    "README": {
        *("0", "0.5", "0.57", "1", "3", "3.5", "4.5", "7", "8"),  # weights, reliabilities, windows, noise
        "1024",  # pixels
        *("10", "2022", "2023", "3.10", "0.33.0", "4.0"),  # an equation, years, versions, a licence's
    },
    "nodes": {"1", "10", "0.33.0", "2026"},  # eta, an equation, versions and their years
    "templates": {
        *("0", "0.57", "0.8", "0.875", "1", "2"),  # reliabilities, windows, noise levels, seeds
        *("0.5", "2.2", "64"),  # weights, a version, pixels
    },
}


def page_of(name: str):
    return README if name == "README" else ROOT / "docs" / f"{name}.md"


def shown(name: str) -> str:
    """A page in one line, without code, addresses and names."""
    text = re.sub(r"\]\((?:<[^>]+>|[^)\s]+)\)", "]", text_of(page_of(name))).replace("**", "")
    text = " ".join(re.sub(r"`[^`]*`", "", text).split())
    for italic in set(italics_of(page_of(name))):
        text = text.replace(f"*{italic}*", "")
    return text


@pytest.mark.parametrize(("name", "sentence"), [(name, each) for name, of in SENTENCES.items() for each in of])
def test_a_figure_is_that_of_its_row_and_measure(name, sentence):
    assert sentence in shown(name)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_other_figure_stands_in_the_page(name):
    text = shown(name)
    for sentence in SENTENCES[name]:
        text = text.replace(sentence, "")
    assert set(re.findall(r"(?<![\w.])[.−]?\d+(?:\.\d+)*", text)) == SETTINGS[name]


def test_families_are_counted_as_on_their_own_page():
    page = (ROOT / "docs" / "other-nodes.md").read_text(encoding="utf-8")
    assert "holds 92 of the 101 families that ComfyUI 0.33.0 knows" in page
