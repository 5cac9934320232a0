"""The condition of one network pass, ready for the network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Condition:
    """A network's inputs beside x_t and t. `Condition()` holds none, as an unconditional expert needs.

    Attributes:
        labels: Class indices, int64, shape (B,).
        maps: Maps concatenated to x_t (segmentation, sketch), shape (B, C, H, W), white 1, black 0 or −1 as the expert
            was trained, 0 for no map; for inpainting the known part of the picture, −1…1 and 0 where unknown, and the
            mask, 1 where known.
        low_res: Small picture that an upsampler enlarges, shape (B, C, h, w), values −1…1.
        embedding: Embedding of a text or picture, or one used instead of a class's, shape (B, D).
        context: Text tokens for attention, shape (B, L, D).
        text_active: Whether the face network's second modulation runs; rows that differ in it never share a batch.

    Raises:
        ValueError: If one is no tensor, or their numbers of rows differ.
    """

    labels: Tensor | None = None
    maps: Tensor | None = None
    low_res: Tensor | None = None
    embedding: Tensor | None = None
    context: Tensor | None = None
    text_active: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "text_active" and not (value is None or isinstance(value, Tensor)):
                raise ValueError(
                    f"Expected a tensor as {field.name} of a condition and got {type(value).__name__}; convert it by "
                    "`torch.as_tensor`."
                )
        rows = {len(tensor) for tensor in self.tensors().values()}
        if len(rows) > 1:
            names = " and ".join(self.tensors())
            raise ValueError(f"Expected the same number of rows in {names} and got {sorted(rows)}; encode them anew.")

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are present, by field name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def kwargs(self) -> dict:
        """Keyword arguments for `UNet.forward`."""
        return {"text_active": True, **self.tensors()} if self.text_active else dict(self.tensors())

    @property
    def rows(self) -> int | None:
        """Batch size; None without any tensor."""
        return next((len(tensor) for tensor in self.tensors().values()), None)

    @property
    def signature(self) -> tuple:
        """Equal for conditions whose rows may share a batch: same fields, same shapes, same text flag."""
        return (self.text_active, *((name, tuple(value.shape[1:])) for name, value in self.tensors().items()))

    def same_as(self, other: "Condition") -> bool:
        """Whether both conditions are equal, value by value."""
        mine, theirs = self.tensors(), other.tensors()
        return self.signature == other.signature and all(
            value.shape == theirs[name].shape and torch.equal(value, theirs[name].to(value))
            for name, value in mine.items()
        )

    def null(self) -> "Condition":
        """The null condition ∅: maps and embedding zero, fields and text flag kept, so that both can share a batch.

        Raises:
            ValueError: If there are class labels, text tokens or a small picture, whose null is not zero.
        """
        if any(value is not None for value in (self.labels, self.context, self.low_res)):
            raise ValueError(
                "Expected a map or an embedding and got class labels, text tokens or a small picture, whose null is "
                "not zero; take the null from the expert's encoder."
            )
        return self.mapped(torch.zeros_like)

    def expand(self, batch: int) -> "Condition":
        """The same condition for `batch` rows.

        Raises:
            ValueError: If it has neither one row nor `batch` rows.
        """
        if self.rows not in (None, 1, batch):
            expected = "1 row" if batch == 1 else f"1 or {batch} rows"
            raise ValueError(f"Expected a condition of {expected} and got {self.rows}; encode one per sample.")
        return self.mapped(lambda value: value.expand(batch, *value.shape[1:]))

    def take(self, rows: Tensor) -> "Condition":
        """The rows of these indices, int64, shape (B,); a condition of one row is that of every index."""
        if self.rows in (None, 1):
            return self.expand(len(rows))
        return self.mapped(lambda value: value[rows.to(value.device)])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Condition":
        """Move to a device, floating tensors also to a dtype."""
        return self.mapped(lambda value: value.to(device, dtype if value.is_floating_point() else value.dtype))

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Condition":
        """The same condition with a function of each of its tensors."""
        values: dict[str, Any] = {name: function(value) for name, value in self.tensors().items()}
        return replace(self, **values)


def cat(conditions: Sequence[Condition]) -> Condition:
    """Stack the rows of conditions.

    Raises:
        ValueError: If they don't have the same fields, shapes and text flag.
    """
    first = conditions[0]
    if any(condition.signature != first.signature for condition in conditions):
        signatures = sorted({str(condition.signature) for condition in conditions})
        raise ValueError(f"Expected conditions that may share a batch and got {', '.join(signatures)}; run them apart.")
    values: dict[str, Any] = {n: torch.cat([c.tensors()[n] for c in conditions]) for n in first.tensors()}
    return replace(first, **values)


def expand_together(first: Condition, second: Condition) -> tuple[Condition, Condition]:
    """Both with the same number of rows, where one of them has one row.

    Raises:
        ValueError: If they have different numbers of rows, neither of them 1.
    """
    rows = max(first.rows or 1, second.rows or 1)
    return first.expand(rows), second.expand(rows)
