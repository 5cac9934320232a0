"""How the command line samples."""

import torch

from mcdm_core import Condition, Term, load_expert
from mcdm_core.cli import sampling_options

from ...support.small_experts import write_expert


def test_steps_add_other_noise_than_the_start(tmp_path, monkeypatch):
    """Both are drawn from one seed; the same numbers twice would only scale the start noise."""
    drawn = []

    def sample_product(terms, noise, spacing, *, generator, **_):
        drawn.extend([noise, torch.randn(noise.shape, generator=generator)])
        return noise

    monkeypatch.setattr(sampling_options, "sample_product", sample_product)
    expert = load_expert(write_expert(tmp_path / "hair.safetensors", {"kind": "map", "map": "hair"}))
    chosen = sampling_options.SamplingOptions("2", sampling_options.SAMPLERS["ddim"], 1.0, "cpu")
    chosen.sample([Term(expert, Condition(), weight=0.0)], seed=5, count=4)
    start, added = (noise.flatten() for noise in drawn)
    assert abs(torch.corrcoef(torch.stack([start, added]))[0, 1]) < 0.1
