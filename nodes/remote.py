"""The node that puts an expert on another machine; it imports `workers` only when it is used and Ray is installed."""

from typing import Any

import torch
from comfy_api.latest import io

from ..mcdm_core.system.clusters import check_ray
from .host.chain import node_ids
from .host.chain.expert_chain import Experts
from .host.prompt.expert_checks import check_remote_expert
from .host.prompt.faults import Fault, fault_of
from .host.prompt.queued_prompt import QueuedNode
from .host.prompt.validation import Validation
from .host.prompt.worker_graph import files_of_graph
from .widgets import ExpertChain, aliases, reliability_input, weight_input, window_inputs


def _check(node: QueuedNode) -> Fault | None:
    """Check whether the expert can be used and, if it has a graph, whether its worker can run it."""
    if fault := check_remote_expert(node):
        return fault
    given: list[Any] = [node.inputs.get(name) for name in ("graph", "address", "worker")]
    if not all(isinstance(value, str) and value.strip() for value in given):
        return None
    if fault := fault_of("graph", check_ray):
        return fault
    from .workers.cluster import WorkerName
    from .workers.node import check_there

    graph, address, worker = given
    return check_there(graph, WorkerName(address.strip(), worker.strip()))


class ExpertRemote(io.ComfyNode):
    """Adds an expert on a worker to a chain."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.EXPERT_REMOTE,
            display_name="Diffusion Expert on a Worker",
            category="mcdm/product",
            search_aliases=aliases(
                "remote, distributed, Ray, cluster, other machine, several machines, worker, network"
            ),
            description=(
                "Runs a Diffusion Expert on another machine: that machine's ComfyUI, the worker, runs the nodes behind "
                "model, positive and negative, or those of a graph, and nothing of them is loaded here. At every step "
                "all workers are asked at once for their ε_i(z_t, x_i, t) and ε_i(z_t, ∅, t) of Eq. 10 of the paper, "
                "while experts here are computed. Needs Ray; docs/hosts.md says how to start a worker."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    optional=True,
                    lazy=True,
                    tooltip="Any MODEL, from nodes that the worker runs. Files have to exist on the worker, and their "
                    "names here as well: for a checkpoint an empty file will do. Unconnected: give a graph.",
                ),
                io.Conditioning.Input(
                    "condition",
                    display_name="positive",
                    optional=True,
                    lazy=True,
                    tooltip="The prompt (x_i), as for Diffusion Expert; encoded by the worker. Unconnected: the expert "
                    "only lends its negative; set weight to 0.",
                ),
                io.Conditioning.Input(
                    "null",
                    display_name="negative",
                    optional=True,
                    lazy=True,
                    tooltip="The negative (∅), as for Diffusion Expert; encoded by the worker.",
                ),
                weight_input(
                    "How strongly the prompt pulls, −20 to 20, as for Diffusion Expert; 1 in total is no guidance "
                    "(w_i).",
                ),
                reliability_input(
                    "In doubt, the same number as the weight. This model's share of the negative that all use (a in "
                    "U), 0 to 100."
                ),
                *window_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the expert acts, 0 to 1, any size; made here. Unconnected: everywhere.",
                ),
                ExpertChain.Input(
                    "experts",
                    optional=True,
                    tooltip="The experts before this one, here or on workers. Unconnected: this is the first.",
                ),
                io.String.Input(
                    "address",
                    default="127.0.0.1:6379",
                    tooltip="Host and port of the Ray cluster's head; one for all workers of a ComfyUI.",
                ),
                io.String.Input("worker", default="worker", tooltip="The name with which worker.py was started there."),
                io.Float.Input(
                    "timeout",
                    default=120.0,
                    min=1.0,
                    max=86400.0,
                    step=1.0,
                    tooltip="Seconds without a sign of life from the worker after which the run ends, 1 to 86400. Ray "
                    "starts a worker that died again, which takes as long as its ComfyUI takes to start.",
                ),
                io.String.Input(
                    "graph",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="For nodes and files that only the worker has: paste a workflow with one Diffusion Expert, "
                    "saved by the worker's ComfyUI with Export (API). That expert's model, positive and negative "
                    "replace those here; set weight, window and mask here. Pictures that it names are sent if this "
                    "ComfyUI has them. Empty: what is connected here.",
                    advanced=True,
                ),
            ],
            outputs=[
                ExpertChain.Output(display_name="experts", tooltip="The chain with this expert added."),
                io.Model.Output(
                    display_name="model",
                    tooltip="The MODEL without its weights, for schedulers only: they need its noise levels.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    validate_inputs = classmethod(Validation("weight", _check))

    @classmethod
    def fingerprint_inputs(cls, graph: str | None = "", **inputs: Any) -> tuple:
        """Run again when a picture that the graph names has changed."""
        return files_of_graph(graph)

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        """Nothing behind the inputs is run here."""
        return []

    @classmethod
    def execute(
        cls,
        weight: float,
        reliability: float,
        start: float,
        end: float,
        address: str,
        worker: str,
        timeout: float,
        model: None = None,
        condition: None = None,
        null: None = None,
        mask: torch.Tensor | None = None,
        experts: Experts = (),
        graph: str = "",
    ) -> io.NodeOutput:
        """Add the expert."""
        check_ray()
        from .workers.cluster import WorkerName
        from .workers.node import remote_expert

        shares = {"weight": weight, "reliability": reliability, "start": start, "end": end}
        where = WorkerName(address.strip(), worker.strip())
        hidden = cls.hidden
        expert = remote_expert(hidden.dynprompt, hidden.unique_id, graph, where, timeout, shares, mask, experts)
        return io.NodeOutput((*experts, expert), expert.model)
