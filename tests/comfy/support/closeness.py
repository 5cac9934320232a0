"""When two samplings of one product count as the same."""


def assert_close(ours, theirs):
    """Latents differ by 1e-4 of their standard deviation at most."""
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.std()
