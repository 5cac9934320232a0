"""How far two runs of one product may be apart."""

HALF = 1e-2  # of the latent's scale, where weights have been patched in half precision


def rounded(exact: float, half: float = HALF) -> float:
    """A tolerance in the precision in which ComfyUI patches weights here.

    On accelerators it adds patches to weights of float32 in half precision, on the CPU as they are. What this pack adds
    in the layers is rounded on neither.

    Args:
        exact: The tolerance where nothing is rounded to half precision.
        half: And where weights are.
    """
    import comfy.model_management as management

    return half if management.should_use_fp16(management.get_torch_device()) else exact


def assert_close(ours, theirs):
    """Latents may differ by at most 1e-4 of their standard deviation, or as patched weights are rounded."""
    assert (ours - theirs).abs().max() <= rounded(1e-4) * theirs.std()
