"""Encoder of experts that read a class label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from ..expert import Condition
from ..system.fields import Length, Line
from .class_names import IMAGENET_CLASSES, find_class, imagenet_names
from .description import ANY, COLORS, Description, Fields, LowRes
from .key import Value
from .picture_inputs import PictureInputs
from .registry import register

CLASS_EMBEDDINGS = "label_emb.weight"
_NAMED = 3  # classes that `driven_by` lists


@dataclass(frozen=True)
class ClassFields(Fields):
    """Entries of a description of the kind "class"."""

    classes: Annotated[tuple[Line, ...], Length(0, 100_000)] = ()
    low_res: LowRes = None


@register
class ClassEncoder(PictureInputs):
    """Encoder of an expert that reads a class label.

    The published networks have no null class. The paper's code uses class 0 (`null`); `mean_null` is the mean of all
    classes' embeddings, and an unconditional expert is a third choice.

    Args:
        class_embeddings: The network's embedding of every class, shape (classes, D).
        image_size: See `PictureInputs`.
        low_res: See `PictureInputs`.
        names: The classes' names in the order of their indices; without any, 1000 classes have ImageNet's.
    """

    kind = "class"
    fields = ClassFields
    needs_more = True
    shared_tensors = (CLASS_EMBEDDINGS,)

    def __init__(
        self,
        class_embeddings: Tensor,
        image_size: int,
        low_res: int | None = None,
        names: Sequence[str] = (),
    ):
        self.class_embeddings = class_embeddings
        self.names = tuple(names)
        self.driven_by = self._describe_classes()
        super().__init__(image_size, low_res)

    @classmethod
    def build(cls, given: Description) -> "ClassEncoder":
        """From {"kind": "class", "classes": ["fox", …]}, whose names are optional; see `Encoder.build`."""
        embeddings, names = given.state[CLASS_EMBEDDINGS], given.spec.get("classes", ())
        return cls(embeddings, given.image_size, given.low_res, names)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """A network with an embedding of each class, and with channels for a small picture if there is one."""
        low_res_channels = 0 if spec.get("low_res") is None else COLORS
        return {"num_classes": len(spec.get("classes", ())) or ANY, "low_res_channels": low_res_channels}

    def _content(self) -> dict[str, Value]:
        # An index means other classes to other experts, so their names identify them. Without names their number has
        # to: 1000 are ImageNet's, whose labels all published networks share, though not their embeddings.
        named: Value = tuple(name.casefold() for name in self.names)
        classes = {"classes": named} if named else {"number of classes": float(len(self.class_embeddings))}
        return {**classes, **super()._content()}

    def _describe_classes(self) -> str:
        classes = len(self.class_embeddings)
        if self.names:
            more = f" and {classes - _NAMED} more" if classes > _NAMED else ""
            return f"a class among {', '.join(self.names[:_NAMED])}{more}"
        owner = "ImageNet's" if classes == IMAGENET_CLASSES else "the"
        return f"one of {owner} {classes} classes"

    def null(self, batch: int = 1) -> Condition:
        """Class 0 in every row, as in the paper's code."""
        return self.encode_class([0] * batch)

    def mean_null(self, batch: int = 1) -> Condition:
        """The mean of the class embeddings in every row, instead of a class's."""
        return Condition(embedding=self.class_embeddings.float().mean(0, keepdim=True).expand(batch, -1))

    def encode_class(self, index: int | Sequence[int]) -> Condition:
        """Condition of labels, one per row."""
        labels = _indices(index)
        classes = len(self.class_embeddings)
        if labels.numel() == 0 or labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"Expected classes from 0 to {classes - 1} and got {labels.tolist()}; correct the index.")
        return Condition(labels=labels)

    encode = encode_class

    def find_class(self, name: str) -> int:
        """Index of a class from its name or index; an ImageNet class also from its synset, "n01440764"."""
        if not self.names and len(self.class_embeddings) == IMAGENET_CLASSES:
            return find_class(imagenet_names(), name)
        return find_class([(own,) for own in self.names], name)

    def _default_condition(self) -> Condition:
        raise ValueError(
            "This expert reads a class beside the picture and got none; give it the prompt that Encode Class makes."
        )


def _indices(given: Any) -> Tensor:
    """Whole numbers, one or several, as int64 of shape (B,)."""
    try:
        labels = torch.as_tensor(given).flatten()
    except (TypeError, ValueError, RuntimeError):  # texts, None
        labels = None
    if labels is None or (labels.is_floating_point() and labels.numel()):
        raise ValueError(f"Expected the index of a class, or several, and got {given!r}; `find_class` finds a name's.")
    return labels.to(torch.int64)
