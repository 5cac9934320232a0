"""Each figure of README, of `docs/nodes.md` and of `docs/recipes.md` is that of the row and the measure it names.

A sentence with figures is written anew from the tables and looked for in the page. What numbers are left then are none
that was measured: weights and other settings, names, versions, dates, sizes.
"""

import csv
import re

import pytest

from ...support.pages import README, ROOT, italics_of, text_of

RESULTS = ROOT / "studies" / "results"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"


def measured(folder: str, row: str, measure: str, n: int) -> float:
    """A figure of an evaluation, over n pictures."""
    with (RESULTS / folder / "figures.csv").open(encoding="utf-8", newline="") as file:
        (found,) = [line for line in csv.DictReader(file) if (line["setting"], line["measure"]) == (row, measure)]
    assert int(found["n"]) == n
    return float(found["figure"])


def written(path, row: str, column: str) -> float:
    """The first number in a cell of a page's table; of several tables with such a row and column, the first one's."""
    text = path.read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        for cells in lines:
            if cells[0] == row and column in head:
                return float(re.search(r"[-−+]?[\d.]+", cells[head.index(column)])[0].replace("−", "-"))
    raise AssertionError(f"{path.name} has no {row!r} with {column!r}")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def thousandths(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def bled(row: str) -> float:
    return measured("bleeding", row, "bleeding", 300)


def of_one_prompt(row: str) -> str:
    return f"{100 * measured('logic256', row, 'one face', 100):.0f}"


def of_maps(measure: str) -> str:
    return thousandths(measured("maps256", "united, w = 2", measure, 200))


def of_spaces(row: str, measure: str) -> str:
    return thousandths(measured("spaces256", row, measure, 100))


def faces_of(row: str, measure: str) -> str:
    return f"{100 * measured('spaces256', row, measure, 100):.0f}"


def obeyed(row: str) -> str:
    return thousandths(measured("table1", row, "mIoU", 1000))


def distance(row: str) -> str:
    return f"{measured('table1', row, 'Fréchet distance', 1000):.0f}"


def biased(column: str) -> str:
    row = "worked case: N(−1, 0.3), N(1.5, 0.8), null N(0.2, 2)"
    return signed(written(RESULTS / "product_bias" / "product_bias.md", row, column))


def of_fewer_passes(column: str) -> str:
    return f"{100 * written(BENCHMARKS, 'Fewer Passes as it comes', column):.0f} %"


def taken(product: str) -> str:
    return f"{sum(written(BENCHMARKS, product, column) for column in ('networks, GiB', 'pass, GiB')):.1f} GiB"


def moved(product: str) -> str:
    return f"{written(BENCHMARKS, product, '8 GiB'):.1f} GiB"


CAPTION, SCENES = "reliabilities as weights, maps to .9", "landscape to .6"
ONE = "(a) one network,"
SDXLS, FAMILIES = "two checkpoints of SDXL, 1024²", "SD1.5 beside SDXL, 1024² and 512², tiny VAEs"
NO_BLEEDING = f"{300 * bled('own nulls: Composite'):.0f} of 300 pictures"
SENTENCES = {
    "README": [
        f"Two LoRAs of colours bled in {NO_BLEEDING}, and in {percent(bled('base null: product'))} where both had the "
        "base model's negative.",
        f"{of_one_prompt('OR, λ = 1')} of 100 faces are all of one prompt, {of_one_prompt('product')} by the product "
        "of weights 2 and 2.",
        f"{of_fewer_passes('time / plain')} of the time on these faces at 25 steps",
        f"two SDXL checkpoints take {taken(SDXLS)}, SD1.5 beside SDXL {taken(FAMILIES)}",
        *(f"on 8 GiB each step moves {moved(product)}" for product in (SDXLS, FAMILIES)),
        "such a pair takes "
        f"{written(BENCHMARKS, 'LoRA-clone pair / as many rows of its plain network', 'by the wall clock'):.2f} "
        "times as long as two prompts on the plain checkpoint",
        "one network's product of two maps of weight 1 is nearer to drawn faces (Fréchet distance "
        f"{distance(f'{ONE} product, w = 1')}) than that network given both maps at once, at weight 1 "
        f"({distance(f'{ONE} both maps at once, w = 1')}; the 95 % intervals just overlap) and at weight 2, which "
        f"pulls as hard as the product ({distance(f'{ONE} both maps at once, w = 2')}; 1000 faces).",
        f"both maps at once are obeyed better (mIoU {obeyed(f'{ONE} both maps at once, w = 1')} at weight 1, "
        f"{obeyed(f'{ONE} both maps at once, w = 2')} at 2) than by either product of weight 1 "
        f"({obeyed(f'{ONE} product, w = 1')}).",
        f"Two networks' product ({distance('(b) two experts, product, w = 1')}) is clearly nearer to drawn faces than "
        "both maps at weight 2, but not than at weight 1.",
        f"two maps, IoU {of_maps('hair IoU')} for hair and {of_maps('skin IoU')} for skin.",
        f"in all four rows (in {percent(measured('reliabilities256', CAPTION, 'all attributes', 200))} of 200 others)",
        "A caption beside another face's maps: all four attributes are right in "
        f"{percent(measured('reliabilities256', CAPTION, 'all attributes', 200))} of 200 pictures "
        f"(on average {percent(measured('reliabilities256', CAPTION, 'attributes', 200))} of the attributes).",
        f"the animal is right in {percent(measured('scene_windows256', SCENES, 'animal', 200))}, "
        "all of the landscape in "
        f"{percent(measured('scene_windows256', SCENES, 'all of the landscape', 200))}, both in "
        f"{percent(measured('scene_windows256', SCENES, 'all with the animal', 200))} of 200.",
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
        "for N(−1, 0.3) and N(1.5, 0.8) with the null N(0.2, 2), both at weight 1, the product has mean "
        f"{biased('product of the densities')} and variance",
        f"DDIM ends at {biased('ODE, closed form')} and",
        f"ancestral sampling at {biased('SDE, closed form')} and",
    ],
    "nodes": [
        f"{NO_BLEEDING} of two LoRAs bled",
        f"({of_one_prompt('OR, λ = 1')} and {of_one_prompt('product')} of 100 faces are all of one prompt)",
        "92 of the 101 model families",
    ],
    "recipes": [
        f"two LoRAs of colours bled in {NO_BLEEDING}, with the base model's negative in "
        f"{percent(bled('base null: product'))}",
        f"the first decided the other's in {percent(bled('own nulls: Switch'))} of 300 pictures",
        f"{of_one_prompt('OR, λ = 1')} of 100 faces are all of one caption, {of_one_prompt('product')} by the product "
        "of weights 2 and 2.",
        f"it takes {of_fewer_passes('time / plain')} of the time for these faces at 25 steps, as "
        f"{of_fewer_passes('rows / plain')} of the rows are asked",
    ],
}
SETTINGS = {
    "README": {
        *("0", "0.5", "1", "3", "3.5", "4", "4.5", "7"),  # weights, reliabilities, windows
        *("256", "1024"),  # pixels
        *("2023", "2025", "3.10", "0.33.0", "4.0"),  # years, versions, a licence's
        "68",  # MB of the archive, which tests/core/test_payload.py weighs
    },
    "nodes": {"1", "10", "0.33.0", "2026"},  # eta, an equation, versions and their years
    "recipes": {
        *("0", "0.3", "0.4", "0.5", "0.57", "0.7", "1", "2", "2.5", "3", "3.5", "4", "4.5", "5", "7", "7.5"),
        *("10", "30", "0.875"),  # Flux's guidance, a noise level
        *("0.1", "0.6", "0.8", "0.9"),  # a share of tokens, windows
        *("64", "128", "192", "224", "288", "320", "512", "1024"),  # pixels of masks, and of SDXL
        *("6", "100"),  # a weight of a picture of the gallery, steps of the published code
        "2.2",  # a version
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
