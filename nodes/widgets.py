"""The sockets of this pack, and what several nodes have: KSampler's inputs, an expert's numbers, encoders' outputs."""

import comfy.samplers
from comfy_api.latest import io

ExpertEncoder = io.Custom("MCDM_ENCODER")
ExpertChain = io.Custom("MCDM_EXPERTS")


def aliases(names: str) -> list[str]:
    """Further names by which the node search finds a node, from a text with commas."""
    return names.split(", ")


def reliability_input(tooltip: str) -> io.Float.Input:
    """The reliability a of Eq. 10, before normalization."""
    return io.Float.Input("reliability", default=1.0, min=0.0, max=100.0, step=0.05, round=0.001, tooltip=tooltip)


def weight_input(tooltip: str) -> io.Float.Input:
    """The weight w of Eq. 10. Two new experts at their default guide as cfg 7 does."""
    return io.Float.Input("weight", default=3.5, min=-20.0, max=20.0, step=0.05, round=0.001, tooltip=tooltip)


def progress_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    """A share of the sampling, 0 to 1."""
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, round=0.001, tooltip=tooltip)


def window_inputs(beside: str = "") -> list[io.Float.Input]:
    """`start` and `end` of the part of the sampling in which an expert acts; `beside` ends the tooltip of `end`."""
    share = "Share of the sampling, 0 to 1, after which the expert"
    return [
        progress_input("start", 0.0, f"{share} takes part; 0 from the beginning."),
        progress_input("end", 1.0, f"{share} no longer takes part; 1 to the end.{beside}"),
    ]


def level_input(name: str, tooltip: str) -> io.Float.Input:
    """A noise level, 0 for no limit."""
    return io.Float.Input(name, default=0.0, min=0.0, max=100000.0, step=0.001, round=0.0001, tooltip=tooltip)


def seed_input(name: str, tooltip: str, after_run: bool | io.ControlAfterGenerate = True) -> io.Int.Input:
    """A seed, 0…2⁶⁴ − 1; `after_run` is how it changes after each run, True for ComfyUI's own choice."""
    return io.Int.Input(
        name, default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=after_run, tooltip=tooltip
    )


def denoise_input(tooltip: str) -> io.Float.Input:
    """The share of a run's steps to sample, 0 to 1."""
    return io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


def scores_input() -> io.Boolean.Input:
    """Whether samples carry every expert's lift score of them."""
    return io.Boolean.Input(
        "scores",
        default=False,
        optional=True,
        tooltip="On: Choose Samples can rank the pictures by how well they match every prompt, without another pass. "
        "Take a sampler that adds noise at every step, such as euler_ancestral, or DDIM Sampler with eta 1; others may "
        "turn the order around. The pictures stay the same, bit for bit.",
    )


def sampling_inputs() -> list[io.Input]:
    """`steps`, `sampler_name`, `scheduler`, `latent_image` and `denoise`, in this order."""
    return [
        io.Int.Input(
            "steps",
            default=20,
            min=1,
            max=10000,
            tooltip="Number of sampling steps, 1 to 10000. More is finer and slower; every expert is asked at each.",
        ),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.KSampler.SAMPLERS,
            tooltip="How noise is removed; any of ComfyUI's samplers. ddim is the paper's.",
        ),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            tooltip="How noise levels are spaced on the reference expert's schedule. For the shipped experts one that "
            "spaces by timestep: simple, normal, sgm_uniform, ddim_uniform. The paper's exact timesteps are made by "
            "Timestep Spacing.",
        ),
        io.Latent.Input(
            "latent_image",
            tooltip="What to start from: Empty Latent (Expert) for this pack's experts, Empty Latent Image for "
            "checkpoints, or an encoded picture.",
        ),
        denoise_input(
            "Share of the noise added and removed, 0 to 1: 1 makes a new picture, less keeps more of the latent."
        ),
    ]


def vae_input(model: str) -> io.Vae.Input:
    """The VAE of a model's latents, an optional input.

    Args:
        model: What the tooltip calls the model.
    """
    return io.Vae.Input(
        "vae",
        optional=True,
        tooltip=f"The VAE of {model}. Needed only if the experts are of different latent spaces, such as SD1.5 and "
        "SDXL: their predictions meet as pictures, decoded and encoded at every step. Tiny VAEs (taesd, taesdxl) are "
        "fast.",
    )


def condition_outputs(said: dict[str, str]) -> list[io.Conditioning.Output]:
    """Outputs of these names, each with what its tooltip calls it."""
    to = "{}: to `{}` of Diffusion Expert, or of a KSampler."
    return [io.Conditioning.Output(display_name=name, tooltip=to.format(what, name)) for name, what in said.items()]
