"""Tests that can't run on the accelerator, each with the reason, by what their ids begin with."""

_HALF = "half precision of a patch changes its latents by a sixteenth of their scale"
_ONE_MEMORY = "it counts all tensors as one memory, and there are two"
_KEPT_DATA = "torch can't put data of such a device into a parameter of the host, as core's dynamic loading does"

LEFT_OUT = {
    "comfyui/test_dynamic_vram.py::test_lines_that_are_no_longer_there": "ComfyUI's own lines let accelerators in",
    "evaluation/test_families.py::test_two_networks_and_one_with_a_lora_or_two_prompts[PiD-lora": _HALF,
    "spaces/test_joint_runs.py::test_dynamic_vram_gives_what_there_is_without": _KEPT_DATA,
    "costs/test_memory.py::test_the_peak_is_the_weights_and_one_pass": _ONE_MEMORY,
}


def reason_to_leave_out(test: str) -> str | None:
    """Why a test, given by its id, isn't run on the accelerator."""
    inside = test.partition("tests/comfy/")[2]
    return next((reason for begin, reason in LEFT_OUT.items() if inside.startswith(begin)), None)
