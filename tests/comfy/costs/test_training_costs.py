"""What a step of Train LoRA on Product takes beside one of core's Train LoRA, and the product's own passes."""

from types import SimpleNamespace

import comfy.ops
import pytest
import torch
from comfy_extras.nodes_train import TrainLoraNode

from ..support.oracle.networks import network
from ..support.oracle.variants import conditioning
from ..support.trainings import SHAPE, inputs


@pytest.fixture
def counted(monkeypatch):
    """Run something; counts calls of linear layers by who is asked, and the most bytes autograd keeps at a time."""

    def count(run):
        found, held, most = SimpleNamespace(teacher=0, student=0), {}, [0]
        kind = comfy.ops.disable_weight_init.Linear
        forward = kind.forward

        def counting(self, *args, **kwargs):
            name = "teacher" if torch.is_inference_mode_enabled() else "student"
            vars(found)[name] += 1
            return forward(self, *args, **kwargs)

        class Kept:
            """A tensor that autograd keeps, counted until it lets go; several may lie in one storage."""

            def __init__(self, tensor):
                self.tensor, storage = tensor, tensor.untyped_storage()
                self.place = storage.data_ptr()
                held.setdefault(self.place, [storage.nbytes(), 0])[1] += 1
                most[0] = max(most[0], sum(size for size, _ in held.values()))

            def __del__(self):
                held[self.place][1] -= 1
                if not held[self.place][1]:
                    del held[self.place]

        with monkeypatch.context() as patched:
            patched.setattr(kind, "forward", counting)
            with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor), torch.inference_mode():
                run()
        return SimpleNamespace(**vars(found), kept=most[0])

    return count


def train_by_core(model, checkpointing):
    """A step of core's Train LoRA on one picture."""
    given = {"model": model, "latents": {"samples": torch.randn(SHAPE)}, "positive": conditioning(5)}
    given |= {"batch_size": 1, "steps": 1, "grad_accumulation_steps": 1, "learning_rate": 1e-3, "rank": 4, "seed": 1}
    given |= {"optimizer": "AdamW", "loss_function": "MSE", "training_dtype": "fp32", "lora_dtype": "fp32"}
    given |= {"quantized_backward": False, "algorithm": "LoRA", "gradient_checkpointing": checkpointing}
    given |= {"checkpoint_depth": 1, "offloading": False, "existing_lora": "[None]", "bucket_mode": False}
    TrainLoraNode.execute(**{name: [value] for name, value in given.items()}, bypass_mode=[False])


def test_a_step_is_two_passes_as_cores_and_keeps_less(node, counted):
    """Beside it the product is asked once for each row; a further step is tried before."""
    model = network("eps", 5)
    layers = counted(lambda: train_by_core(model, False))
    checkpointed = counted(lambda: train_by_core(model, True))
    with torch.inference_mode():
        told = inputs(node, base=model, weight=1.5, steps=1, batch_size=1)
        told["sigmas"] = [told["sigmas"][0][[0, -1]]]  # a single step, so that a batch of points is walked at once
    ours = counted(lambda: node("MCDM_TrainLora", **told))
    assert checkpointed.student == 2 * layers.student
    names = [name for name, _ in model.model.named_modules()]
    reading = [name for name in names if name.endswith(("attn2.to_k", "attn2.to_v", "time_embed.0"))]
    assert ours.student == 2 * (2 * layers.student - len(reading))  # these read prompt or time, which need none
    assert layers.teacher == 0
    assert ours.teacher == 2 * layers.student  # two networks, whose prompts and negatives are asked together
    assert ours.kept < layers.kept  # core's keeps the changed weights, too
