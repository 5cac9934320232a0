"""ComfyUI nodes: schemas with thin `execute` functions. Their work is done in `mcdm_core` and in `host`."""

from comfy_api.latest import ComfyExtension, io

from .analysis import Choose, Inspect, ReliabilitySweep
from .conditions import EncodeClass, EncodeMap, EncodeSketch, EncodeText
from .host.comfyui.page import serve_help, show_warnings
from .host.files.expert_folders import install_example_inputs, register_folders
from .host.prompt.validation import watch_prompts
from .loaders import EmptyLatent, LoadExpert
from .passes import Passes, Schedule
from .picture_conditions import EncodeInpaint, EncodeLowRes
from .product import Expert, Guider, KSampler, OwnNullGuider, ProductModel
from .remote import ExpertRemote
from .sampling import LogicSampler, RandomNoise, SamplerDDIM, Sigmas
from .train import TrainLora

NODES: list[type[io.ComfyNode]] = [
    LoadExpert,
    EmptyLatent,
    EncodeText,
    EncodeClass,
    EncodeMap,
    EncodeSketch,
    EncodeLowRes,
    EncodeInpaint,
    Expert,
    ExpertRemote,
    Schedule,
    Passes,
    Guider,
    KSampler,
    ProductModel,
    OwnNullGuider,
    Sigmas,
    SamplerDDIM,
    RandomNoise,
    LogicSampler,
    Inspect,
    ReliabilitySweep,
    Choose,
    TrainLora,
]


class McdmExtension(ComfyExtension):
    """The pack, as ComfyUI registers it."""

    def __init__(self) -> None:
        register_folders()
        install_example_inputs()
        watch_prompts()
        show_warnings()
        serve_help()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack."""
        return NODES
