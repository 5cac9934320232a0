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

# What is imported above is the pack's: a new node takes one line there.
NODES = [each for each in tuple(globals().values()) if isinstance(each, type) and issubclass(each, io.ComfyNode)]


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
