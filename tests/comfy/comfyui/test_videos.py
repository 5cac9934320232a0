"""Products of video models, whose latents have five dimensions."""

import torch

from ..support.families.spaces import expert_in


def test_videos(chain, node):
    """A mask for each frame; at the first level each frame is its own expert's."""
    import comfy.samplers

    first, second = expert_in("Wan21", 1), expert_in("Wan21", 2)
    noise = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(4))

    def run(guider):
        euler = comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), euler, torch.tensor([0.9, 0.0]))

    def core(expert, cfg):
        guider = comfy.samplers.CFGGuider(expert.model)
        guider.set_conds(expert.condition, expert.null)
        guider.set_cfg(cfg)
        return run(guider)

    def product(*entries):
        return run(node("MCDM_Guider", experts=chain(*entries))[0])

    assert torch.equal(product((first, {"weight": 3.0})), core(first, 3.0))
    frames = torch.zeros(3, 16, 16)
    frames[:1] = 1.0
    mixed = product((first, {"weight": 3.0, "mask": frames}), (second, {"weight": 2.0, "mask": 1 - frames}))
    torch.testing.assert_close(mixed[:, :, :1], core(first, 3.0)[:, :, :1], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[:, :, 1:], core(second, 2.0)[:, :, 1:], atol=1e-5, rtol=0)
