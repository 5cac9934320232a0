"""How far two runs of one product may be apart."""

import comfy.model_management as management

AGREEMENT = 1e-4  # of the latent's scale, where the same is computed in another way
HALF = 2e-2  # where weights have been patched in half precision
FUSED = 1e-5  # where attention is fused, which sums in another order than a node's own


def rounded(exact: float, here: float = HALF) -> float:
    """A tolerance in the precision that ComfyUI chooses.

    On accelerators it adds patches to weights of float32 in half precision, on the CPU as they are. What this pack adds
    in the layers is rounded on neither.

    Args:
        exact: The tolerance on the CPU.
        here: That on an accelerator.
    """
    return here if management.should_use_fp16(management.get_torch_device()) else exact


def assert_close(ours, theirs):
    """Latents may differ by `AGREEMENT`, or as patched weights are rounded."""
    assert (ours - theirs).abs().max() <= rounded(AGREEMENT) * theirs.std()
