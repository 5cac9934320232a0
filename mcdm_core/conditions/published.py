"""Encoders of the published experts: class labels, GLIDE's text, and the paper's face network."""

import logging
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..expert.condition import Condition, expand_together
from ..networks import TextTransformer
from ..networks.clip import ClipTextTower
from ..text.tokenizers import GlideTokenizer
from .class_names import IMAGENET_CLASSES, find_class, imagenet_names
from .encoder import Encoder
from .encoders import MultiMapEncoder, map_content
from .key import Value, fingerprint
from .reading.images import fit, read_image

logger = logging.getLogger(__name__)

_NAMED = 3  # classes that are listed where people are told what drives an expert
_IDENTIFYING = ("final_ln.weight", "final_ln.bias", "transformer_proj.bias")  # of GLIDE's text transformers


class PictureInputs(Encoder):
    """Encoder of an expert that may also read a small picture to enlarge, or a picture to fill in.

    Args:
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        low_res: Height and width of the small picture, None if the expert reads none.
        inpaint: Whether the expert fills in masked parts of a picture.
    """

    def __init__(self, image_size: int, channels: int = 3, low_res: int | None = None, inpaint: bool = False):
        super().__init__(image_size, channels)
        self.low_res = low_res
        self.inpaint = inpaint
        extras = [("a small picture", low_res is not None), ("a picture to fill in", inpaint)]
        self.pictures = tuple(extra for extra, read in extras if read)
        self.driven_by = " and ".join([self.driven_by, *self.pictures])

    def _content(self) -> dict[str, Value]:
        return {"pictures": self.pictures}

    def null_like(self, condition: Condition) -> Condition:
        """See `Encoder.null_like`; about the same pictures."""
        return replace(super().null_like(condition), low_res=condition.low_res, maps=condition.maps)

    def encode_low_res(self, image: Tensor, condition: Condition | None = None) -> Condition:
        """See `Encoder.encode_low_res`."""
        if self.low_res is None:
            self._refuse("a small picture")
        small = _picture(image, self.low_res, "small picture")
        return _joined(condition or self._unsaid(), Condition(low_res=small))

    def encode_inpaint(self, image: Tensor, mask: Tensor, condition: Condition | None = None) -> Condition:
        """See `Encoder.encode_inpaint`."""
        if not self.inpaint:
            self._refuse("a picture to fill in")
        return _joined(condition or self._unsaid(), Condition(maps=_known_part(image, mask, self.image_size)))

    def _unsaid(self) -> Condition:
        """What goes with a picture when nothing else is told."""
        return self.null()


class ClassEncoder(PictureInputs):
    """Encoder of an expert that reads a class label.

    The published networks know no null class. Their users take class 0 for it (`null`); `mean_null` is the mean of all
    classes' embeddings, and an unconditional expert is a third choice.

    Args:
        class_embeddings: The network's embedding of every class, shape (classes, D).
        image_size: See `PictureInputs`.
        channels: See `PictureInputs`.
        low_res: See `PictureInputs`.
        names: The classes' names in the order of their indices; without any, 1000 classes have ImageNet's.
    """

    kind = "class"

    def __init__(
        self,
        class_embeddings: Tensor,
        image_size: int,
        channels: int = 3,
        low_res: int | None = None,
        names: Sequence[str] = (),
    ):
        self.class_embeddings = class_embeddings
        self.names = tuple(names)
        self.driven_by = self._whose_classes()
        super().__init__(image_size, channels, low_res)

    def _content(self) -> dict[str, Value]:
        # Another expert's class of the same index is something else. Without names their number must do: of the
        # published networks it says ImageNet, whose labels all of them share, though not their embeddings.
        named: Value = tuple(name.casefold() for name in self.names)
        classes = {"classes": named} if named else {"number of classes": float(len(self.class_embeddings))}
        return {**classes, **super()._content()}

    def _whose_classes(self) -> str:
        classes = len(self.class_embeddings)
        if self.names:
            more = f" and {classes - _NAMED} more" if classes > _NAMED else ""
            return f"a class among {', '.join(self.names[:_NAMED])}{more}"
        owner = "ImageNet's" if classes == IMAGENET_CLASSES else "the"
        return f"one of {owner} {classes} classes"

    def null(self, batch: int = 1) -> Condition:
        """Class 0 in every row, as the paper's code has it."""
        return self.encode_class([0] * batch)

    def mean_null(self, batch: int = 1) -> Condition:
        """The mean of the class embeddings in every row, in the place of a class's."""
        return Condition(embedding=self.class_embeddings.float().mean(0, keepdim=True).expand(batch, -1))

    def encode_class(self, index: int | Sequence[int]) -> Condition:
        """See `Encoder.encode_class`."""
        labels = torch.tensor([index] if isinstance(index, int) else list(index), dtype=torch.int64)
        classes = len(self.class_embeddings)
        if labels.numel() == 0 or labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"Expected classes from 0 to {classes - 1} and got {labels.tolist()}; correct the index.")
        return Condition(labels=labels)

    encode = encode_class

    def find_class(self, name: str) -> int:
        """See `Encoder.find_class`; an ImageNet class also from its synset, "n01440764"."""
        if not self.names and len(self.class_embeddings) == IMAGENET_CLASSES:
            return find_class(imagenet_names(), name)
        return find_class([(own,) for own in self.names], name)

    def _unsaid(self) -> Condition:
        raise ValueError(
            "This expert reads a class beside the picture and got none; give it the condition that Encode Class makes."
        )


class GlideEncoder(PictureInputs):
    """Encoder of a GLIDE expert: a caption's tokens through the text transformer; null is a row without tokens.

    Attributes:
        transformer: The text transformer. Who manages the memory it takes may put anything in its place that has its
            `config` and is called as it is; nothing else of it is used.

    Args:
        transformer: The file's text transformer.
        image_size: See `PictureInputs`.
        channels: See `PictureInputs`.
        low_res: See `PictureInputs`.
        inpaint: See `PictureInputs`.
    """

    kind = "tokens"
    driven_by = "GLIDE's text"

    def __init__(
        self,
        transformer: TextTransformer,
        image_size: int,
        channels: int = 3,
        low_res: int | None = None,
        inpaint: bool = False,
    ):
        super().__init__(image_size, channels, low_res, inpaint)
        self.transformer = transformer.eval().requires_grad_(False)
        self.tokenizer = GlideTokenizer(transformer.config.context_length)
        # At once, because a host may put something without weights in the transformer's place; and of a few small
        # weights, which training changes with all others, because 400 MB of a mapped file should not be read for it.
        weights = {name: tensor for name, tensor in transformer.state_dict().items() if name in _IDENTIFYING}
        self._fingerprint = fingerprint(transformer.config.to_dict(), weights)

    def _content(self) -> dict[str, Value]:
        return {"text transformer": self._fingerprint, **super()._content()}

    def null(self, batch: int = 1) -> Condition:
        """A row without tokens, `batch` times."""
        return self._no_tokens.expand(batch)

    @cached_property
    def _no_tokens(self) -> Condition:
        tokens = torch.zeros(1, self.transformer.config.context_length, dtype=torch.int64)
        with torch.inference_mode(False), torch.no_grad():  # it is kept, and may be used in training later
            return self.encode_tokens(tokens, torch.zeros_like(tokens, dtype=torch.bool))

    def check_text(self) -> None:
        """See `Encoder.check_text`; a transformer with another tokenizer's vocabulary cannot read texts."""
        vocabulary = self.transformer.config.vocabulary
        if vocabulary != GlideTokenizer.vocabulary:
            raise ValueError(
                f"Expected a text transformer of {GlideTokenizer.vocabulary} tokens, GLIDE's, and this expert's knows "
                f"{vocabulary}; give `encode_tokens` the rows of its own tokenizer."
            )

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """See `Encoder.encode_text`; context of shape (B, L, width) and embedding of shape (B, D)."""
        self.check_text()
        return self.encode_tokens(*self.tokenizer([text] if isinstance(text, str) else text))

    def encode_tokens(self, tokens: Tensor, mask: Tensor) -> Condition:
        """Condition from token rows, as `TextTransformer.forward` takes them."""
        context, pooled = self.transformer(tokens, mask)
        return Condition(context=context, embedding=pooled)

    encode = encode_text


class FaceEncoder(MultiMapEncoder):
    """Encoder of the paper's face network: maps of the face and the hair, and a text about them.

    Every condition has both maps and the embedding, zero where absent, so that rows may share a batch. Whether text is
    active changes what the network does even where the embedding is zero: a text turns it on, and `with_text` does so
    for maps that are to run beside one.

    Attributes:
        load_text: See Args. Who manages the memory that the tower takes may set another, before the first text, that
            returns anything with the tower's `config` and `encode`; nothing else of it is used.

    Args:
        names: Kinds of map in the order in which the network reads them.
        image_size: The expert's height and width in pixels.
        embedding_dim: Length of the embedding; 512 is FaRL's.
        channels: Channels of the expert's samples.
        channels_per_map: Channels in which each gray map is repeated.
        background: See `Encoder`; −1 for the published network.
        load_text: Loads FaRL's text tower, in evaluation mode and without gradients; it is called once, when the first
            text is encoded or checked.
    """

    kind = "face"
    driven_by = "face and hair maps and text"

    def __init__(
        self,
        names: Sequence[str],
        image_size: int,
        embedding_dim: int = 512,
        channels: int = 3,
        channels_per_map: int = 3,
        background: float = 0.0,
        load_text: Callable[[], ClipTextTower] | None = None,
    ):
        super().__init__(names, image_size, channels, channels_per_map, background)
        self.driven_by = type(self).driven_by  # whichever the order: the maps of a condition can be swapped
        self.embedding_dim = embedding_dim
        self.load_text = load_text

    def _content(self) -> dict[str, Value]:
        # Of the text tower only what fits the network: an installation has one FaRL for all its experts, and its file
        # is not to be read before there is a text. Sorted, since conditions may have their maps in either order.
        maps = map_content(sorted(self.names), self.channels_per_map, self.background)
        return {**maps, "length of embeddings": float(self.embedding_dim)}

    @cached_property
    def text_tower(self) -> ClipTextTower:
        """FaRL's text tower.

        Raises:
            ValueError: If its file is missing or cannot be used.
        """
        if self.load_text is None:
            raise ValueError(
                "This expert reads a text's embedding by FaRL, whose file was not given; pass it to `load_expert` as "
                "`text_encoder`."
            )
        tower = self.load_text()
        if tower.config.dim != self.embedding_dim:
            raise ValueError(
                f"Expected a text encoder whose embeddings have length {self.embedding_dim} and got one of "
                f"{tower.config.dim}; use FaRL-Base-Patch16-LAIONFace20M-ep64.pth."
            )
        return tower

    def check_text(self) -> None:
        """See `Encoder.check_text`; loads the text tower."""
        _ = self.text_tower  # its first use loads and checks it

    def null(self, batch: int = 1) -> Condition:
        """No maps and a zero embedding; text is not active."""
        return replace(super().null(batch), embedding=torch.zeros(batch, self.embedding_dim))

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """See `Encoder.encode_text`; FaRL's embedding, without maps; text is active."""
        return self.encode_embedding(self.text_tower.encode([text] if isinstance(text, str) else text))

    def encode_embedding(self, embedding: Tensor) -> Condition:
        """Condition from FaRL's embedding of a text or a picture, without maps; text is active.

        Args:
            embedding: Of unit length, shape (B, embedding_dim).

        Raises:
            ValueError: If the embedding has another shape.
        """
        if embedding.ndim != 2 or embedding.shape[1] != self.embedding_dim:
            raise ValueError(
                f"Expected embeddings of shape (B, {self.embedding_dim}) and got {tuple(embedding.shape)}; encode the "
                "text with FaRL."
            )
        return replace(self.null(len(embedding)), embedding=embedding, text_active=True)

    def merge(self, first: Condition, second: Condition) -> Condition:
        """See `Encoder.merge`; text is active if it is in either."""
        first, second = expand_together(first, second)
        mine, theirs = (self._field(condition, "embedding") for condition in (first, second))
        if mine.any() and theirs.any():
            raise ValueError(
                "Expected a text in one of the conditions to merge and got two texts; disconnect one, or write both "
                "into one text."
            )
        text_active = first.text_active or second.text_active
        return replace(super().merge(first, second), embedding=mine + theirs.to(mine), text_active=text_active)

    def with_text(self, condition: Condition) -> Condition:
        """See `Encoder.with_text`."""
        return replace(condition, text_active=True)

    def swapped(self) -> "FaceEncoder":
        """The same with its maps in the other order: the network was trained hair first and is sampled face first."""
        other = copy(self)
        other.names = self.names[::-1]
        return other

    def _place(self, channel: Tensor, name: str) -> Condition:
        return replace(self.null(len(channel)), maps=super()._place(channel, name).maps)


def _picture(image: Tensor, size: int, what: str) -> Tensor:
    """A picture of the expert's size in −1…1, shape (B, 3, size, size)."""
    values = fit(read_image(image, what), size, what)
    return values.expand(-1, 3, -1, -1) * 2 - 1


def _known_part(image: Tensor, mask: Tensor, size: int) -> Tensor:
    """The picture, 0 where the mask hides it, and a channel that is 1 where it does not, shape (B, 4, size, size)."""
    hidden = read_image(mask, "mask").mean(1, keepdim=True)
    if hidden.shape[2:] != image.shape[1:3]:  # a mask lies over the whole of its picture, whatever its own size
        hidden = F.interpolate(hidden, image.shape[1:3], mode="bilinear", align_corners=False)
    picture = Condition(maps=_picture(image, size, "picture to fill in"))
    pair = expand_together(picture, Condition(maps=(fit(hidden, size, "mask") < 0.5).to(hidden)))
    shown, known = (part.tensors()["maps"] for part in pair)
    if known.all():
        logger.warning(
            "The mask hides nothing of the picture's middle square, so that nothing is filled in; paint it white, by "
            "more than a half, where something should be."
        )
    return torch.cat([shown * known, known], dim=1)


def _joined(condition: Condition, more: Condition) -> Condition:
    """The condition with the fields of another in it."""
    condition, more = expand_together(condition, more)
    fields: dict[str, Any] = dict(more.tensors())
    return replace(condition, **fields)
