"""Layers that adapters belong to, watched for uses of their weights to which no adapters were added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import nn

from .low_rank import LowRank
from .patched_pass import PatchedPass

Addition = LowRank | PatchedPass
"""What one MODEL adds to its rows of a layer's output."""


class _Parameters(dict):
    """A module's parameters, which record lookups by name, such as `module.weight`.

    Attributes:
        are_read: Whether any was looked up.
    """

    are_read = False

    def __getitem__(self, name: str) -> Any:
        self.are_read = True
        return super().__getitem__(name)


@dataclass(eq=False)
class WatchedLayer:
    """A layer that some MODEL has an adapter for.

    Attributes:
        path: Its name in the network.
        module: The layer.
        parents: The modules that contain it, see `parents_of`.
        additions: The adapter of each MODEL.
        sizes: The numbers of rows that the first dimension of its input has matched so far.
    """

    path: str
    module: nn.Module
    parents: frozenset[nn.Module]
    additions: dict[ModelPatcher, Addition]
    sizes: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._own = self.module._parameters
        self._watched = vars(self.module)["_parameters"] = _Parameters(self._own)

    def watch(self) -> None:
        """Forget earlier lookups of the layer's weights."""
        self._watched.are_read = False

    def is_missed(self, called: set[nn.Module]) -> bool:
        """Whether the network may have used its weights since `watch` without adding its adapters.

        A layer that is neither called nor read was skipped. Three uses go unnoticed: reading a weight that is no
        Parameter, such as a plain tensor or a property; reading more than the shape while no parent of the layer runs;
        and reading the weight of a layer that is also called in the same pass, which counts as added.

        Args:
            called: The modules that were called since `watch`; the layer itself if its adapters were added.
        """
        unread = "weight" in self._watched and not self._watched.are_read
        return not (unread or self.module in called or called.isdisjoint(self.parents))

    def leave(self) -> None:
        """Give the module back its own dictionary of parameters, with the current ones in it."""
        self._own.clear()
        self._own.update(self._watched)
        vars(self.module)["_parameters"] = self._own


def parents_of(network: nn.Module, path: str) -> frozenset[nn.Module]:
    """The modules that contain the one of this name, without the network itself."""
    names = path.split(".")[:-1]
    return frozenset(comfy.utils.get_attr(network, ".".join(names[: i + 1])) for i in range(len(names)))
