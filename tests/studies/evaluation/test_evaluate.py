"""`python -m studies evaluate` from end to end, with small experts of random weights."""

import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from mcdm_core.networks import TextTower
from studies.cli import main
from studies.evaluation import folder as folder_module
from studies.evaluation import sampling
from studies.evaluation.config import DataConfig, Setting, TermConfig, load_evaluation
from studies.evaluation.predictions import SIGMAS
from studies.evaluation.row import REAL
from studies.evaluation.run import FRECHET, Evaluation
from studies.evaluation.sampling import draw_samples
from studies.metrics import PictureFeatures

from ...support.evaluations import InProcess, write_evaluation, write_small_maps, write_small_text
from ...support.small_disk import contents, run_on_a_full_disk
from ...support.tiny_runs import csv_rows, write_folder

HAIR, SKIN = '{ expert = "hair", condition = "hair" }', '{ expert = "skin", condition = "skin", shift = 1 }'
TEXT = '{ expert = "text", condition = "text", weight = 2.0 }'
FACES = 'kind = "faces"\nseed = 25_000_000\ncount = 3'
SETTINGS = {
    "hair alone": f"terms = [{HAIR}]",
    "two faces | mixed": f"terms = [{HAIR}, {SKIN}]\ncount = 2",
    "caption": f'terms = [{TEXT}]\nvary = "weight"\nvalues = [1.0, 3.0]',
}


def write_experts(folder):
    write_small_maps(folder, "hair", "skin")
    write_small_text(folder, "text", TextTower())
    return ("hair", "skin", "text")


def write_faces(folder, experts):
    return write_evaluation(folder / "faces.toml", FACES, experts, SETTINGS, 'note = "Nothing to see."\nshown = 2')


def evaluate(folder, *arguments, out="out"):
    folders = ["--out", str(folder / out), "--samples", str(folder / "samples"), "--workers", "1"]
    return main(["evaluate", *map(str, arguments), *folders])


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A folder in which the settings above were evaluated."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "ProcessPoolExecutor", InProcess)
        assert evaluate(folder, write_faces(folder, write_experts(folder / "experts"))) == 0
    return folder


@pytest.fixture
def experts(tmp_path):
    return write_experts(tmp_path / "experts")


@pytest.fixture
def faces(tmp_path, experts):
    return write_faces(tmp_path, experts)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)
    return lambda *arguments: evaluate(tmp_path, *arguments)


def figures_of(out):
    """(row, measure) → the figure."""
    return {(row["setting"], row["measure"]): float(row["figure"]) for row in csv_rows(out / "figures.csv")}


def table_of(path):
    """Row → measure → what its cell says."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in path.read_text("utf-8").splitlines() if line[:1] == "|"]
    names, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return {cells[0]: dict(zip(names[1:], cells[1:], strict=True)) for cells in rows}


def test_figures_pictures_and_table_agree(evaluated):
    out = evaluated / "out" / "faces"
    figures, pictures, table = csv_rows(out / "figures.csv"), csv_rows(out / "pictures.csv"), table_of(out / "table.md")
    counts = {REAL: 3, "hair alone": 3, "two faces | mixed": 2, "caption, weight 1": 3, "caption, weight 3": 3}
    assert list(dict.fromkeys(row["setting"] for row in figures)) == list(counts)
    for label, count in counts.items():
        assert [row["picture"] for row in pictures if row["setting"] == label] == [str(i) for i in range(count)]
    assert {row["setting"]: (row["varied"], row["value"]) for row in figures} == {
        REAL: ("", ""),
        "hair alone": ("", ""),
        "two faces | mixed": ("", ""),
        "caption, weight 1": ("weight", "1"),
        "caption, weight 3": ("weight", "3"),
    }
    for row in figures:
        values = [p[row["measure"]] for p in pictures if p["setting"] == row["setting"]]
        known = [float(each) for each in values if each not in ("", "nan")]
        value, low, high = (float(row[name]) for name in ("figure", "low", "high"))
        assert value == pytest.approx(np.mean(known), rel=1e-3, abs=1e-3)
        assert low <= value <= high
        assert int(row["n"]) == len(known)
        cells = table[row["setting"].replace("|", r"\|")]
        assert int(cells["n"]) == counts[row["setting"]]
        shown = [float(number) for number in re.findall(r"-?[\d.]+", cells[row["measure"]])]
        fewer = [] if len(known) == counts[row["setting"]] else [len(known)]
        assert shown == pytest.approx([value, low, high, *fewer], abs=1e-3)
    in_table = {(label, name) for label, cells in table.items() for name, cell in cells.items() if cell}
    assert in_table == {(row["setting"].replace("|", r"\|"), name) for row in figures for name in (row["measure"], "n")}


def test_what_was_not_asked_for_has_no_figure(evaluated):
    measured = {}
    for row in csv_rows(evaluated / "out" / "faces" / "figures.csv"):
        measured.setdefault(row["setting"], set()).add(row["measure"])
    assert {"mIoU", "attributes"} <= measured[REAL]
    assert measured[REAL].isdisjoint({"SSIM", "edge F1"})  # beside themselves pictures tell nothing
    assert {"SSIM", "mIoU"} <= measured["hair alone"]
    assert not measured["hair alone"] & {"attributes", "edge F1", FRECHET}
    assert "mIoU" in measured["two faces | mixed"]
    assert "SSIM" not in measured["two faces | mixed"]
    assert "attributes" in measured["caption, weight 1"]
    assert not measured["caption, weight 1"] & {"mIoU", "edge F1"}


def test_predictions_are_measured_where_they_are_named(evaluated, run, tmp_path, experts):
    assert "x0 error" not in (evaluated / "out" / "faces" / "table.md").read_text("utf-8")
    config = write_evaluation(tmp_path / "named.toml", FACES, experts, SETTINGS, 'measures = ["predictions"]')
    assert run(config, "--steps", "1") == 0
    figures = csv_rows(tmp_path / "out" / "named" / "figures.csv")
    assert {row["measure"] for row in figures} == {f"x0 error at σ = {sigma:g}" for sigma in SIGMAS}
    assert {row["setting"] for row in figures} == {"hair alone", "caption, weight 1", "caption, weight 3"}


def test_the_table_says_how_it_was_made(evaluated):
    text = (evaluated / "out" / "faces" / "table.md").read_text("utf-8")
    assert text.startswith("## A test\n\n3 faces of the seeds 25000000 to 25000002; DDIM, 1 steps, η = 0, float32; ")
    assert text.endswith("\n\nNothing to see.\n")


def test_pictures_are_shown_beside_what_was_asked_for(evaluated):
    out = evaluated / "out" / "faces"
    with Image.open(out / "plot.png") as plot:
        assert np.asarray(plot.convert("L")).std() > 1
    with Image.open(out / "samples.png") as samples:
        pixels = np.asarray(samples)
    # Three conditions, four rows of the table; two pictures; 128 pixels and a margin of 8 each.
    assert pixels.shape == (128 // 3 + 2 * 136, 8 + 7 * 136, 3)
    config = load_evaluation(evaluated / "faces.toml")
    key = sampling.sample_key(config.settings[0], config.data, config.experts)
    first = np.load(evaluated / "samples" / f"{key}_00000_3.npy")[0]
    column = 8 + 3 * 136
    assert np.array_equal(pixels[42 : 42 + 128 : 2, column : column + 128 : 2], first)


def test_nothing_written_names_the_machine(evaluated):
    written = list((evaluated / "out").rglob("*.*"))
    assert {path.name for path in written} == {"figures.csv", "pictures.csv", "table.md", "plot.png", "samples.png"}
    for path in written:
        assert str(evaluated).encode() not in path.read_bytes()


def test_a_quick_look_takes_fewer_pictures_and_steps(tmp_path, experts, run):
    settings = {"hair": f"terms = [{HAIR}]\nsteps = 30", "steps": f'terms = [{HAIR}]\nvary = "steps"\nvalues = [1, 40]'}
    path = write_evaluation(
        tmp_path / "quick.toml", FACES, experts, settings, 'measures = ["edges", "similarity"]\nshown = 0'
    )
    assert run(path, "--count", 1, "--steps", 2) == 0
    out = tmp_path / "out" / "quick"
    table = table_of(out / "table.md")
    assert {label: cells["n"] for label, cells in table.items()} == dict.fromkeys(
        [REAL, "hair", "steps, steps 1", "steps, steps 2"], "1"
    )
    assert "DDIM, 1, 2 steps" in (out / "table.md").read_text("utf-8")
    assert not (out / "samples.png").exists()
    assert len(list((tmp_path / "samples").iterdir())) == 2  # 30 and 40 steps are both 2


def test_a_folder_of_one_s_own_is_evaluated(tmp_path, experts, run, monkeypatch):
    def mean_colours(path):
        return lambda pictures: PictureFeatures((pictures,), pictures.mean(dim=(2, 3)))

    monkeypatch.setattr(folder_module, "resnet_features", mean_colours)
    write_folder(tmp_path / "mine", count=9, size=(80, 64), captions=True)
    settings = {"hair": f"terms = [{HAIR}]", "caption": f"terms = [{TEXT}]"}
    data = 'kind = "folder"\npath = "mine"\nfeatures = "resnet.pth"'
    path = write_evaluation(tmp_path / "folder.toml", data, experts, settings, f'plotted = ["{FRECHET}", "absent"]')
    other = write_evaluation(tmp_path / "more.toml", data, experts, settings, 'tabled = ["SSIM"]')
    assert run(path, other) == 0
    table = table_of(tmp_path / "out" / "folder" / "table.md")
    assert list(table) == [REAL, "hair", "caption"]
    assert table[REAL]["SSIM"] == table[REAL][FRECHET] == ""  # beside themselves pictures tell nothing
    assert float(table["hair"][FRECHET].split()[0]) > 0
    assert -1 < float(table["hair"]["SSIM"].split()[0]) < 1
    assert "9 pictures of a folder; DDIM" in (tmp_path / "out" / "folder" / "table.md").read_text("utf-8")
    assert set(table_of(tmp_path / "out" / "more" / "table.md")["hair"]) == {"n", "SSIM"}
    for name in ("figures.csv", "pictures.csv"):
        first, second = (tmp_path / "out" / run_name / name for run_name in ("folder", "more"))
        assert first.read_bytes() == second.read_bytes()


def test_rows_and_differences_are_shown_where_they_are_named(evaluated, run, tmp_path, experts):
    assert "rows per picture" not in (evaluated / "out" / "faces" / "table.md").read_text("utf-8")
    assert not (evaluated / "out" / "faces" / "differences.md").exists()
    settings = {
        "hair | plain": f"terms = [{HAIR}]",
        "two steps": f"terms = [{HAIR}]\nsteps = 2",
        "the best": f'terms = [{HAIR}]\nchoose = {{ of = 2, by = "mIoU" }}',
    }
    top = 'measures = ["maps", "frechet", "rows"]\nagainst = "hair | plain"\nacross = "rows per picture"'
    assert run(write_evaluation(tmp_path / "rows.toml", FACES, experts, settings, top)) == 0
    out = tmp_path / "out" / "rows"
    figures = figures_of(out)
    rows = [figures[name, "rows per picture"] for name in settings]
    assert rows == [1, 2, 2]  # at w = 1 no null is asked
    values = {
        name: np.array([float(row["mIoU"]) for row in csv_rows(out / "pictures.csv") if row["setting"] == name])
        for name in settings
    }
    table = table_of(out / "differences.md")
    assert list(table) == ["two steps", "the best"]
    for name, cells in table.items():
        assert cells["n"] == "3"
        assert float(cells["mIoU"].split()[0]) == pytest.approx(
            np.mean(values[name] - values["hair | plain"]), abs=2e-4
        )
        assert cells["rows per picture"] == "+1.0000 [+1.0000, +1.0000]"
    assert (values["the best"] >= values["hair | plain"]).all()  # which is one of those that are chosen among
    assert (out / "plot.png").stat().st_size > 0


def test_likeness_is_to_the_row_that_others_are_compared_with(run, tmp_path, experts, capsys):
    settings = {
        "two steps": f"terms = [{HAIR}]\nsteps = 2",
        "the same": f"terms = [{HAIR}]",
        "hair": f"terms = [{HAIR}]",
    }
    top = 'measures = ["likeness"]\nshown = 0'
    assert run(write_evaluation(tmp_path / "like.toml", FACES, experts, settings, top)) == 2
    assert "Expected `against` beside the measure 'likeness'" in capsys.readouterr().err
    top += '\nagainst = "hair"'
    assert run(write_evaluation(tmp_path / "like.toml", FACES, experts, settings, top)) == 0
    figures = figures_of(tmp_path / "out" / "like")
    assert figures["the same", "pixel difference"] == 0
    assert figures["two steps", "pixel difference"] > 0
    assert figures["the same", "same mouth"] == 1
    assert {row for row, _ in figures} == {"two steps", "the same"}  # neither the row itself nor the drawings


def test_a_choice_by_what_is_not_measured_is_refused(run, tmp_path, experts, capsys):
    settings = {"best": f'terms = [{HAIR}]\nchoose = {{ by = "beauty" }}'}
    path = write_evaluation(tmp_path / "best.toml", FACES, experts, settings, 'measures = ["maps"]')
    assert run(path) == 2
    assert "no measure 'beauty' to choose by; name one of run, mIoU" in capsys.readouterr().err
    assert not (tmp_path / "samples").exists()
    settings = {"best": f'terms = [{HAIR}]\nchoose = {{ of = 2, by = "attributes" }}'}
    path = write_evaluation(tmp_path / "best.toml", FACES, experts, settings, 'measures = ["attributes"]')
    assert run(path) == 2
    assert "'best' chooses by 'attributes', which its conditions do not ask for" in capsys.readouterr().err


def test_too_few_pictures_for_a_distance_are_no_failure(tmp_path, experts, run):
    settings = {"hair": f"terms = [{HAIR}]"}
    path = write_evaluation(tmp_path / "few.toml", FACES, experts, settings, 'measures = ["frechet"]')
    assert run(path, "--count", 1) == 0
    out = tmp_path / "out" / "few"
    assert csv_rows(out / "figures.csv") == []
    assert {path.name for path in out.iterdir()} == {"figures.csv", "pictures.csv", "table.md", "samples.png"}


@pytest.mark.long
def test_processes_draw_what_one_process_draws(tmp_path, experts, monkeypatch):
    data = DataConfig("folder", path=str(write_folder(tmp_path / "mine", count=2)))
    files = {name: tmp_path / "experts" / f"{name}.safetensors" for name in experts}
    setting = Setting("hair", (TermConfig("hair", ("hair",)),), steps=1)
    apart = draw_samples(setting, data, files, 2, tmp_path / "apart", 1).images
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)
    assert np.array_equal(draw_samples(setting, data, files, 2, tmp_path / "here", 1).images, apart)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("title", "titel", r"has unknown names \['titel'\]"),
        ("experts/skin", "experts/missing", "Expected the expert 'skin' at .*missing.safetensors and found no file"),
        ('"faces"', '"cats"', "data of kind faces, color pairs, scenes, folder and got 'cats'"),
        ('kind = "faces"', 'kind = "folder"\npath = "nowhere"', "Expected a folder .*images and there is none"),
        ("shown = 2", 'measures = ["beauty"]', "There is no measure 'beauty' of faces; choose among maps, similarity"),
        ('condition = "text"', 'condition = "sketch"', "not by a sketch"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(old, new, match, faces, run, capsys):
    text = faces.read_text("utf-8")
    assert old in text
    faces.write_text(text.replace(old, new), encoding="utf-8")
    assert run(faces, "--count", 1) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.search(match, line)


def test_measures_are_refused_before_anything_is_drawn(faces, tmp_path):
    config = load_evaluation(faces)
    (tmp_path / "experts" / "skin.safetensors").unlink()
    with pytest.raises(ValueError, match="the expert 'skin'"):
        Evaluation(config, tmp_path / "out", tmp_path / "samples", 1)
    assert not (tmp_path / "samples").exists()


def test_files_of_one_name_would_write_one_folder(faces, tmp_path, run, capsys):
    (tmp_path / "other").mkdir()
    twin = shutil.copy(faces, tmp_path / "other" / faces.name)
    assert run(faces, twin) == 2
    assert f"Several files are named {faces.stem}" in capsys.readouterr().err


def test_experts_of_another_size_are_refused_before_anything_is_drawn(tmp_path, experts, run, capsys):
    write_folder(tmp_path / "mine", count=2, size=(64, 64))
    data = 'kind = "folder"\npath = "mine"\nimage_size = 32'
    path = write_evaluation(tmp_path / "folder.toml", data, experts, {"hair": f"terms = [{HAIR}]"})
    assert run(path) == 2
    assert "'hair' draws pictures of 64 pixels and [data] has pictures of 32" in capsys.readouterr().err
    assert not (tmp_path / "samples").exists()


def test_the_last_file_is_checked_before_the_first_is_drawn(faces, tmp_path, run, capsys):
    broken = tmp_path / "broken.toml"
    broken.write_text("title", encoding="utf-8")
    assert run(faces, broken) == 2
    assert "broken.toml" in capsys.readouterr().err
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize("name", ["out", "samples"])
def test_what_is_no_folder_is_refused_before_anything_is_drawn(name, faces, tmp_path, run, capsys):
    (tmp_path / name).touch()
    assert run(faces) == 2
    assert f"Expected the name of a folder to write to and {tmp_path / name} is none" in capsys.readouterr().err
    assert not any((tmp_path / folder).is_dir() for folder in ("out", "samples"))


def test_training_is_a_run_of_its_own(faces, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "train-features", str(faces)])
    assert "train-features is trained alone" in capsys.readouterr().err


def test_patterns_are_expanded(faces, tmp_path, run, capsys):
    assert run(tmp_path / "f*.toml", "--count", 1) == 0
    assert (tmp_path / "out" / faces.stem / "table.md").exists()
    assert run(tmp_path / "x*.toml") == 2
    assert "Expected TOML files at" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="the size of files can be limited on POSIX only")
def test_a_full_disk_is_one_sentence_and_keeps_an_earlier_evaluation(evaluated, tmp_path):
    shutil.copytree(evaluated, tmp_path / "evaluated")
    folder = tmp_path / "evaluated"
    before = contents(folder)
    arguments = ["evaluate", str(folder / "faces.toml"), "--out", str(folder / "out"), "--workers", "1"]
    for samples in (folder / "samples", folder / "others"):  # those that there are, and new ones
        code, said = run_on_a_full_disk([*arguments, "--samples", str(samples)], folder, "studies.cli")
        assert code == 1
        assert "could not be written (" in said
        assert contents(folder) == before
