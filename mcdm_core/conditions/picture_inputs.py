"""Pictures that an expert reads beside its condition: a small one to enlarge, or one to fill in."""

import logging
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..expert import Condition
from ..expert.condition import expand_together
from .encoder import Encoder
from .key import Value
from .reading.images import fit, read_image

logger = logging.getLogger(__name__)


class PictureInputs(Encoder):
    """Encoder of an expert that may also read a small picture to enlarge, or a picture to fill in.

    Args:
        image_size: The expert's height and width in pixels.
        low_res: Height and width of the small picture, None if the expert reads none.
        inpaint: Whether the expert fills in masked parts of a picture.
    """

    def __init__(self, image_size: int, low_res: int | None = None, inpaint: bool = False):
        super().__init__(image_size)
        self.low_res = low_res
        self.inpaint = self.reads_maps = inpaint
        extras = [("a small picture", low_res is not None), ("a picture to fill in", inpaint)]
        self.pictures = tuple(extra for extra, read in extras if read)
        self.driven_by = " and ".join([self.driven_by, *self.pictures])

    def _content(self) -> dict[str, Value]:
        return {"pictures": self.pictures}

    def null_like(self, condition: Condition) -> Condition:
        """The null for one of this encoder's conditions, with the same pictures, see `Encoder.null_like`."""
        return replace(super().null_like(condition), low_res=condition.low_res, maps=condition.maps)

    def encode_low_res(self, image: Tensor, condition: Condition | None = None) -> Condition:
        """Condition from a small picture, if the expert enlarges any, see `Encoder.encode_low_res`."""
        if self.low_res is None:
            self._refuse("a small picture")
        small = _picture(image, self.low_res, "small picture")
        return _joined(condition or self._default_condition(), Condition(low_res=small))

    def encode_inpaint(self, image: Tensor, mask: Tensor, condition: Condition | None = None) -> Condition:
        """Condition from a picture to fill in, if the expert fills in any, see `Encoder.encode_inpaint`."""
        if not self.inpaint:
            self._refuse("a picture to fill in")
        condition = condition or self._default_condition()
        return _joined(condition, Condition(maps=_known_part(image, mask, self.image_size)))

    def _default_condition(self) -> Condition:
        """The condition of a picture that comes without one."""
        return self.null()


def _picture(image: Tensor, size: int, what: str) -> Tensor:
    """A picture of the expert's size in −1…1, shape (B, 3, size, size)."""
    return _fitted(read_image(image, what), size, what)


def _fitted(values: Tensor, size: int, what: str) -> Tensor:
    """What `read_image` made of a picture, as `_picture`."""
    return fit(values, size, what).expand(-1, 3, -1, -1) * 2 - 1


def _known_part(image: Tensor, mask: Tensor, size: int) -> Tensor:
    """The picture, 0 where the mask hides it, and a channel that is 1 where it does not, shape (B, 4, size, size)."""
    what = "picture to fill in"
    hidden, values = read_image(mask, "mask").mean(1, keepdim=True), read_image(image, what)
    if hidden.shape[2:] != values.shape[2:]:  # a mask lies over the whole of its picture, whatever its own size
        hidden = F.interpolate(hidden, values.shape[2:], mode="bilinear", align_corners=False)
    picture = Condition(maps=_fitted(values, size, what))
    pair = expand_together(picture, Condition(maps=(fit(hidden, size, "mask") < 0.5).to(hidden)))
    shown, known = (part.tensors()["maps"] for part in pair)
    if known.all():
        logger.warning(
            "The mask is empty in the picture's middle square, so nothing is filled in; paint it white, by more than a "
            "half, where something should be."
        )
    return torch.cat([shown * known, known], dim=1)


def _joined(condition: Condition, more: Condition) -> Condition:
    """The condition with the fields of another in it."""
    condition, more = expand_together(condition, more)
    fields: dict[str, Any] = dict(more.tensors())
    return replace(condition, **fields)
