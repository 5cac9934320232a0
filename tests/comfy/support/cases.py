"""The table of cases: what changes how a chain of experts is sampled, with the facts that contracts need."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.samplers

NAN, INFINITY = math.nan, math.inf
THROUGHOUT = {"start": 0.0, "end": 1.0, "sigma_start": 0.0, "sigma_end": 0.0}
PLAIN_PASSES = {**THROUGHOUT, "threshold": 1.0, "refresh": 1}
USUAL_LOGIC = {"operation": "and", "sharpness": 0.01, "prior": 0.3, "largest": 0.7}


@dataclass(frozen=True)
class Case:
    """How a user connects what changes the sampling.

    Attributes:
        node_id: Id of its node.
        makes: The node's output: `experts`, a chain; `sampler`; or `guider`.
        inputs: Inputs with which it acts on two experts: all but the input of the same kind as the output.
        off: Changes of the inputs that switch it off, by their names.
        acts_alone: Whether it changes the samples of a single expert.
        sampler_name: Name of its sampler, if that takes only products.
        panels: Number of plots that Inspect Product draws.
        refused: Changes of the inputs that are refused, each with a part of the message.
    """

    node_id: str
    makes: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    off: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    acts_alone: bool = True
    sampler_name: str | None = None
    panels: int = 2
    refused: tuple[tuple[Mapping[str, Any], str], ...] = ()

    def chain(self, node, experts, **changed):
        """The chain that is sampled."""
        return self._made(node, changed, experts=experts) if self.makes == "experts" else experts

    def guider(self, node, experts, kind="MCDM_Guider", **changed):
        """A guider of this kind for experts in this case."""
        given = {**self.inputs, **changed} if self.makes == "guider" else {}
        return node(kind, experts=self.chain(node, experts, **changed), **given)[0]

    def sampler(self, node, name="euler", **changed):
        """The case's own SAMPLER, else ComfyUI's of this name."""
        if self.makes != "sampler":
            return comfy.samplers.sampler_object(name)
        return self._made(node, changed)

    def posted(self, **changed):
        """Its node's inputs in a prompt, where node "1" makes the input of the same kind as its output."""
        taken = {"experts": ["1", 0]} if self.makes == "experts" else {}
        return {**self.inputs, **taken, **changed}

    def _made(self, node, changed, **taken):
        return node(self.node_id, **taken, **{**self.inputs, **changed})[0]


FEWER_PASSES = Case(
    "MCDM_Passes",
    "experts",
    {**PLAIN_PASSES, "threshold": -1.0, "refresh": 3},
    {
        "nothing": PLAIN_PASSES,
        "an interval over all levels": {**PLAIN_PASSES, "sigma_start": 90000.0, "sigma_end": 1e-9},
        "a threshold of 1": {**PLAIN_PASSES, "refresh": 9},
        "a refresh at every step": {**PLAIN_PASSES, "threshold": 0.0},
    },
    panels=3,
    refused=(
        ({"threshold": NAN}, "Expected a threshold of a cosine"),
        ({"refresh": 0}, "Expected to refresh every 1 to 100 steps"),
        ({"start": 0.8, "end": 0.2}, "Expected start below end for the guidance interval"),
        ({"sigma_start": 1.0, "sigma_end": 2.0}, "Expected sigma_start above sigma_end"),
        ({"sigma_end": INFINITY}, "Expected noise levels of 0 or more"),
        ({"switch": -1}, "Expected turns of 0 to 100 steps for experts that switch and got -1"),
    ),
)
LOGIC_REFUSED = (
    ({"sharpness": 0.0}, "sharpness above 0 and got 0; set"),
    ({"sharpness": -1.0}, "sharpness above 0 and got -1; set"),
    ({"sharpness": NAN}, "sharpness above 0 and got nan"),
    ({"prior": 0.0}, "prior above 0 and got 0"),
    ({"largest": -1.0}, "excluded experts count, to be 0 or more and got -1"),
)

CASES = {
    "product": Case("MCDM_Guider", "guider"),
    "scores": Case("MCDM_Guider", "guider", {"scores": True}, {"off": {"scores": False}, "on": {}}),
    "expert schedule": Case(
        "MCDM_Schedule",
        "experts",
        {"sigma_start": 0.0, "sigma_end": 0.0, "weight_curve": "0: 0.5, 0.5: 1.5, 1: 1"},
        {
            "a curve of ones": {"weight_curve": "0: 1, 1: 1"},
            "a window over all levels": {"sigma_start": 90000.0, "weight_curve": ""},
        },
        refused=(
            ({"sigma_start": 1.0, "sigma_end": 2.0}, "Expected sigma_start above sigma_end"),
            ({"sigma_start": -1.0}, "Expected noise levels of 0 or more"),
            ({"weight_curve": "0: 1, 0: 2"}, "Expected a weight curve for this expert"),
            ({"weight_curve": "often"}, "Expected a weight curve such as"),
        ),
    ),
    "fewer passes": FEWER_PASSES,
    "turns": Case(
        "MCDM_Passes",
        "experts",
        {**PLAIN_PASSES, "switch": 1},
        {"no turns": {"switch": 0}},
        acts_alone=False,
        panels=3,
    ),
    "logic": Case("MCDM_Logic", "sampler", USUAL_LOGIC, sampler_name="comfy_logic", refused=LOGIC_REFUSED),
}


def of_kind(**facts):
    """Names of the cases with these attributes, such as `makes="experts"` or `acts_alone=False`."""
    return [name for name, of in CASES.items() if all(getattr(of, key) == value for key, value in facts.items())]
