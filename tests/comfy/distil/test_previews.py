"""Train LoRA on Product: what is shown beside the bar, what it asks, and that it changes nothing."""

import math
from types import SimpleNamespace

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.utils
import folder_paths
import latent_preview
import pytest
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy.taesd.taesd import Decoder
from mcdm_pack.mcdm_core.system.failures import ForeseenError
from PIL import Image
from safetensors.torch import save_file

from ..support.closeness import rounded
from ..support.leaks import Living, state_of
from ..support.oracle.networks import fill, network
from ..support.trainings import pair

LEVELS = 6  # of a run, as the inputs have them
EVERY = 4  # steps; by the node itself, 50
STEPS = 6  # with the last one, two at which pictures are due


@pytest.fixture
def watched(host, train, monkeypatch, every_step):
    """Train where ComfyUI shows previews of a kind or none; counts rows that the network is asked, which all share.

    States are saved and pictures shown each `every` steps, with None as often as the node does.
    """

    def run(inputs, previews, cancel_at=math.inf, every=EVERY):
        seen = SimpleNamespace(pictures={}, rows={}, teacher=0, student=0)

        def hook(value, total, preview, **_):
            seen.rows[value] = seen.teacher + seen.student
            if preview is not None:
                seen.pictures[value] = preview

        def count(_, given):
            name = "teacher" if torch.is_inference_mode_enabled() else "student"
            vars(seen)[name] += len(given[0])
            if seen.teacher + seen.student >= cancel_at:
                comfy.model_management.interrupt_current_processing()

        handle = inputs["model"][0].model.diffusion_model.register_forward_pre_hook(count)
        with monkeypatch.context() as patched:
            if every is not None:
                patched.setattr(host.distil.learning, "SAVE_EVERY", every)
            patched.setattr(args, "preview_method", LatentPreviewMethod[previews])
            patched.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
            try:
                seen.lora, losses, *_ = train(inputs)
            finally:
                handle.remove()
        seen.losses = losses["loss"]
        return seen

    return run


@pytest.fixture
def shown_by(monkeypatch):
    """Let a function decode the latents of previews, as a previewer of another pack does."""

    def show(decode):
        previewer = SimpleNamespace(decode_latent_to_preview_image=lambda kind, x0: decode(x0))
        monkeypatch.setattr(latent_preview, "get_previewer", lambda *_: previewer)

    return show


@pytest.fixture
def folder(base):
    """Where a run is kept until it has ended."""
    return base / "output" / "mcdm_loras" / "mix"


def assert_same(one, other):
    assert one.losses == other.losses
    assert all(torch.equal(one.lora[name], other.lora[name]) for name in one.lora)


def left_and_right(preview):
    """The two pictures of a preview, a pixel for each place of the latents."""
    kind, picture, most = preview
    assert (kind, picture.size, most) == ("JPEG", (24, 8), 1024)
    return [picture.crop(box).tobytes() for box in ((0, 0, 12, 8), (12, 0, 24, 8))]


def test_the_pictures_stand_side_by_side_and_change_nothing(given, watched):
    """A row of the student for each level, and once one of each of the two experts; without previews, none."""
    unseen, seen = (watched(given("flow", steps=STEPS, batch_size=1), kind) for kind in ("NoPreviews", "Latent2RGB"))
    assert_same(seen, unseen)
    assert unseen.pictures == {}
    assert seen.teacher == unseen.teacher + 2 * LEVELS
    assert seen.student == unseen.student + 2 * LEVELS
    assert [*seen.pictures] == [EVERY, STEPS]
    (product, first), (again, last) = map(left_and_right, seen.pictures.values())
    assert product == again
    assert len({product, first, last}) == 3


@pytest.mark.parametrize("size", [(40, 10), (10, 10), (10, 40)])
def test_each_picture_is_as_large_as_alone(given, watched, shown_by, size):
    shown_by(lambda x0: ("JPEG", Image.new("RGB", size), 512))
    _, both, most = watched(given("flow", steps=1), "Latent2RGB").pictures[1]
    assert both.size == (2 * size[0], size[1])
    assert most * max(size) == 512 * max(both.size)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("prompts", [1, 2])
def test_they_are_what_comfyui_draws(given, watched, shown_by, host, prompts):
    """By euler and the seed: the guider of the first prompt, and what is returned, a LoRA on the MODEL at cfg 1.

    A previewer that returns nothing, but shows both itself, gets both each time.
    """
    found = []
    shown_by(lambda x0: found.append(x0.clone()))
    inputs = given("eps", prompts=prompts, steps=STEPS, batch_size=1)
    seen = watched(inputs, "Latent2RGB")
    assert seen.pictures == {}
    model, positive, sigmas = (inputs[name][0] for name in ("model", "positive", "sigmas"))
    empty, euler = inputs["latents"][0]["samples"], comfy.samplers.sampler_object("euler")
    noise = comfy.sample.prepare_noise(empty, inputs["seed"][0])
    guider = host.run.guider.ProductGuider(inputs["experts"][0])
    with torch.inference_mode():
        product = guider.sample(noise, empty, euler, sigmas, disable_pbar=True, seed=0)
        loaded = comfy.sd.load_lora_for_models(model, None, seen.lora, 1.0, 0.0)[0]
        student = comfy.sample.sample_custom(loaded, noise, 1.0, euler, sigmas, positive, positive, empty)
    for shown, drawn in zip(found, [product, None, product, student], strict=True):
        if drawn is not None:
            drawn = model.model.process_latent_in(drawn)
            assert (shown.cpu() - drawn.cpu()).abs().max() <= rounded(1e-4, 5e-2) * drawn.std()


@pytest.mark.one_of(3)
@pytest.mark.parametrize("place", ["", "limited", "dynamic_vram"])
def test_a_previewer_that_takes_all_memory_changes_nothing(given, watched, shown_by, request, place):
    def inputs():
        with torch.inference_mode():
            base = network("flow", 5)
            return given("flow", base=base, model=pair(base)[0], steps=STEPS, batch_size=1)

    def decode(x0):
        comfy.model_management.free_memory(1e30, comfy.model_management.get_torch_device())
        return "JPEG", Image.new("RGB", (1, 1)), 512

    if place:
        request.getfixturevalue(place)
    unseen = watched(inputs(), "NoPreviews")
    shown_by(decode)
    seen = watched(inputs(), "Latent2RGB")
    assert [*seen.pictures] == [EVERY, STEPS]
    assert_same(seen, unseen)


def no_memory():
    raise torch.cuda.OutOfMemoryError("out of memory")


@pytest.mark.one_of(2)
@pytest.mark.parametrize("answer", [no_memory, lambda: ("JPEG",)], ids=["raises", "returns what nobody knows"])
def test_a_previewer_that_fails_ends_the_previews_alone(given, watched, shown_by, folder, caplog, answer):
    """The state is saved before it is asked."""
    unseen = watched(given("flow", steps=STEPS, batch_size=1), "NoPreviews")
    kept = set()

    def decode(x0):
        kept.add(torch.load(folder / "state.pt")["step"])
        return answer()

    shown_by(decode)
    seen = watched(given("flow", steps=STEPS, batch_size=1), "Latent2RGB")
    assert_same(seen, unseen)
    assert seen.pictures == {}
    assert kept == {EVERY}
    assert caplog.text.count("The training goes on without previews, since ComfyUI's previewer failed") == 1


def test_a_previewer_that_cannot_be_had_ends_the_previews_alone(given, watched, monkeypatch, caplog):
    def fail(*_):
        raise OSError("a damaged file")

    unseen = watched(given("flow", steps=1), "NoPreviews")
    monkeypatch.setattr(latent_preview, "get_previewer", fail)
    seen = watched(given("flow", steps=1), "TAESD")
    assert_same(seen, unseen)
    assert seen.pictures == {}
    assert caplog.text.count("ComfyUI's previewer failed (OSError: a damaged file)") == 1


def test_a_loss_that_diverges_is_neither_shown_nor_kept(given, watched, shown_by, folder):
    inputs, shown = given("flow", steps=1), []
    inputs["model"][0].model.diffusion_model.register_forward_hook(lambda module, given, output: output * math.nan)
    shown_by(shown.append)
    with pytest.raises(ForeseenError, match="diverged at step 1"):
        watched(inputs, "Latent2RGB")
    assert shown == []
    assert not (folder / "state.pt").exists()


@pytest.mark.one_of(2)
@pytest.mark.parametrize("place", ["limited", "dynamic_vram"])
def test_models_that_are_loaded_in_part_are_shown_too(given, watched, request, place):
    request.getfixturevalue(place)
    unseen, seen = (watched(given("eps", steps=2), kind) for kind in ("NoPreviews", "Latent2RGB"))
    assert_same(seen, unseen)
    product, student = left_and_right(seen.pictures[2])
    assert product != student


def test_the_models_are_left_as_they_were(given, watched):
    inputs = given("flow", steps=2)
    watched(inputs, "Latent2RGB")
    models = [inputs["model"][0], *(expert.model for expert in inputs["experts"][0])]
    before, living = state_of(*models), Living.now()
    watched(inputs, "Latent2RGB")
    after = Living.now()
    assert state_of(*models) == before
    assert (after.tensors, after.nbytes) == (living.tensors, living.nbytes)


def test_a_decoder_of_previews_draws_both(given, watched, tmp_path, monkeypatch):
    decoder = Decoder()
    fill(decoder, 4)
    save_file(decoder.state_dict(), tmp_path / "taesd_decoder.safetensors")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "vae_approx", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    _, picture, _ = watched(given("flow", steps=2), "TAESD").pictures[2]
    assert picture.size == (2 * 8 * 12, 8 * 8)
    halves = [picture.crop(box) for box in ((0, 0, 96, 64), (96, 0, 192, 64))]
    assert all(len(half.getcolors(maxcolors=96 * 64)) > 1 for half in halves)
    assert halves[0].tobytes() != halves[1].tobytes()


def test_latents_that_comfyui_shows_no_previews_of_are_learned_without(given, watched, monkeypatch):
    inputs = given("flow", steps=2)
    shown = watched(inputs, "Latent2RGB")
    monkeypatch.setattr(inputs["model"][0].model.latent_format, "latent_rgb_factors", None)
    seen = watched(inputs, "Latent2RGB")
    assert_same(seen, shown)
    assert seen.pictures == {}
    assert (seen.teacher, seen.student) == (shown.teacher - 2 * LEVELS, shown.student - LEVELS)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("row", [3, 2 * LEVELS + 3], ids=["product", "student"])
def test_a_run_that_is_cancelled_while_a_preview_is_made_goes_on_to_the_same_lora(given, watched, folder, row):
    """Pictures are due each 50 steps, as by the node. The step before was made, and counts, in the log, too."""

    def inputs():
        return given("flow", steps=52, batch_size=1)

    whole, cancelled = watched(inputs(), "NoPreviews", every=None), inputs()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        watched(cancelled, "Latent2RGB", cancel_at=whole.rows[50] + row, every=None)
    state = torch.load(folder / "state.pt")
    assert (state["step"], state["losses"]) == (50, [])
    rows = (folder / "loss.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["25", "50"]
    resumed = watched(cancelled, "Latent2RGB", every=None)
    assert_same(resumed, whole)
    assert [*resumed.pictures] == [52]
