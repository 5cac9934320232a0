"""Products of video models, whose latents have five dimensions."""

from types import SimpleNamespace

import pytest
import torch


class VideoNetwork(torch.nn.Module):
    """The least that ComfyUI takes for a video model."""

    dtype = torch.float32

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = torch.nn.Conv3d(16, 16, 3, padding=1)

    def forward(self, x_t, t, context=None, control=None, transformer_options=None, **kwargs):
        return self.conv(x_t) + context.mean()


@pytest.fixture
def video():
    """An expert on videos, in the latent space of Wan."""
    import comfy.latent_formats
    import comfy.model_base
    import comfy.supported_models_base
    from comfy.model_patcher import ModelPatcher

    class Config(comfy.supported_models_base.BASE):
        latent_format = comfy.latent_formats.Wan21

    def make(seed):
        config = Config({"disable_unet_model_creation": True})
        model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.FLOW)
        model.diffusion_model = VideoNetwork(seed)
        patcher = ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
        tokens = [[torch.full((1, 2, 4), value), {}] for value in (0.5 * seed, 0.0)]
        return SimpleNamespace(model=patcher, condition=tokens[:1], null=tokens[1:])

    return make


def test_videos(video, chain, node):
    """A mask for each frame; at the first level each frame is its own expert's."""
    import comfy.samplers

    first, second = video(1), video(2)
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
