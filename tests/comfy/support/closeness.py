"""The tolerance for two runs of one product."""


def assert_close(ours, theirs):
    """Latents may differ by at most 1e-4 of their standard deviation."""
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.std()
