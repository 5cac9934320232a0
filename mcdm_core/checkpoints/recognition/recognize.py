"""Recognition of diffusion files that carry no description, from the names and shapes of their tensors."""

from functools import lru_cache

from ..contents import CheckpointError
from ..metadata import ExpertMetadata
from ..weights import listed
from .layout import Layout, Shapes, read_layout
from .overrides import Overrides
from .published import PUBLISHED, PublishedFile

_shapes = lru_cache(maxsize=len(PUBLISHED))(Layout.shapes)

_ENLARGEMENT = 4  # of every published upsampler
_BACKGROUND = -1.0  # value of black in maps and sketches of the paper's release, where 0 means no map
_LAYER_TENSORS = 12  # tensors per layer of GLIDE's text transformer
_ATTENTION_AT = 32  # pixels: the highest resolution at which every published network has attention


def recognize(shapes: Shapes, file: str, overrides: Overrides | None = None) -> ExpertMetadata:
    """Describe the expert that a file's tensors belong to.

    A published file is recognized by its layout alone. Any other network of the same families needs `overrides` for
    what its tensors don't show: its schedule, and the heads of its attention.

    Args:
        shapes: Name to shape of every tensor.
        file: Name of the file, for messages.
        overrides: Values that replace the recognized ones, or that tensors don't show.

    Returns:
        The description, overrides included.

    Raises:
        CheckpointError: If the tensors are not those of a published file, nor of another network that the overrides
            complete; the message names what is missing, unexpected or of another shape.
        ValueError: If the overrides don't suit the expert.
    """
    overrides = overrides or Overrides()
    layout = read_layout(shapes)
    if layout is None or not _is_whole(layout, shapes):
        nearest = _nearest(shapes)
        known = nearest is not None and _fits_mostly(shapes, nearest)
        advice = (
            "damaged or changed, so download it again" if known else "of a layout unknown here, so choose an expert"
        )
        raise CheckpointError(f"{file} {_difference(shapes, nearest)}; it is {advice}.")
    for published in PUBLISHED:
        if published.layout.told_by_tensors() == layout.told_by_tensors():
            return overrides.apply(_describe(published.layout, published.name, published.schedule, published.card))
    untold = _untold(layout, overrides)
    if untold:
        raise CheckpointError(
            f"{file} {_difference(shapes, _nearest(shapes))}; if it is a network of its own, say its "
            f"{' and its '.join(untold)}, which tensors don't tell, as options of `python -m mcdm_core convert`."
        )
    return overrides.apply(_describe(layout, file.rsplit(".", 1)[0], str(overrides.schedule), {}))


def difference(expected: Shapes, found: Shapes, owner: str) -> str | None:
    """Say which tensors of a file differ from the expected ones.

    Args:
        expected: Names and shapes of the network's tensors.
        found: Names and shapes of the file's tensors.
        owner: Owner of the expected tensors, in the possessive: "the network's".

    Returns:
        The predicate of a sentence about the file, with up to three names; None where nothing differs.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    reshaped = [
        f"{name} ({tuple(found[name])} instead of {tuple(shape)})"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    for problem, names in (("lacks", missing), ("has wrong shapes in", reshaped)):
        if names:
            return f"{problem} {len(names)} of {owner} {len(expected)} tensors ({listed(names)})"
    if unexpected:
        return f"has {len(unexpected)} unexpected beside {owner} {len(expected)} tensors ({listed(unexpected)})"
    return None


def _is_whole(layout: Layout, shapes: Shapes) -> bool:
    text_tensors = _LAYER_TENSORS * layout.text.layers if layout.text else 0
    if layout.network.fewest_tensors + text_tensors > len(shapes):
        return False  # without building a network that may be huge
    try:
        return layout.shapes() == {name: tuple(shape) for name, shape in shapes.items()}
    except (ValueError, RuntimeError, TypeError, ZeroDivisionError):  # no such network can be built
        return False


def _difference(shapes: Shapes, nearest: PublishedFile | None) -> str:
    """How the tensors differ from those of the most similar published file."""
    if nearest is None:
        return "is a checkpoint, but does not describe an expert, nor are its tensors those of a published one"
    return str(difference(_shapes(nearest.layout), shapes, f"{nearest.name}'s"))


def _fits_mostly(shapes: Shapes, published: PublishedFile) -> bool:
    """Whether most tensors are those of the published file, so that it must be a damaged or changed one."""
    expected = _shapes(published.layout)
    return 2 * sum(expected.get(name) == shape for name, shape in shapes.items()) > len(shapes)


def _nearest(shapes: Shapes) -> PublishedFile | None:
    """The most similar published file; None where the tensors are of no such network."""
    if not any(name.startswith(("time_embed.", "input_blocks.")) for name in shapes):
        return None

    def distance(published: PublishedFile) -> int:
        expected = _shapes(published.layout)
        changed = sum(shapes.get(name) != shape for name, shape in expected.items())
        return changed + sum(name not in expected for name in shapes)

    return min(PUBLISHED, key=distance)


def _untold(layout: Layout, overrides: Overrides) -> list[str]:
    """What is missing of a network that is not published and whose tensors don't show it."""
    untold = {
        "schedule": overrides.schedule is None,
        "heads": overrides.num_heads is None and overrides.num_head_channels is None,
        "text heads": layout.text is not None and overrides.text_heads is None,
        "image size": not layout.network.attention_downsamplings and overrides.image_size is None,
    }
    return [name for name, missing in untold.items() if missing]


def _describe(layout: Layout, name: str, schedule: str, card: dict) -> ExpertMetadata:
    image_size = _ATTENTION_AT * min(layout.network.attention_downsamplings, default=1)
    return ExpertMetadata(
        name=name,
        network=layout.network,
        image_size=image_size,
        condition=_condition(layout, image_size),
        schedule=schedule,
        prediction="eps",
        card=card,
    )


def _condition(layout: Layout, image_size: int) -> dict:
    """Description of the expert's condition, for `build_encoder`."""
    network = layout.network
    low_res = {"low_res": image_size // _ENLARGEMENT} if network.low_res_channels else {}
    if layout.text is not None:
        inpaint = {"inpaint": True} if network.map_channels else {}
        return {"kind": "tokens", "text_transformer": layout.text.to_dict(), **low_res, **inpaint}
    if network.num_classes is not None:
        return {"kind": "class", **low_res}
    if network.film_dim is not None:
        return {
            "kind": "face",
            "maps": ["face", "hair"],
            "map_channels": network.map_channels,
            "embedding": network.film_dim,
            "background": _BACKGROUND,
        }
    if network.map_channels:
        return {"kind": "sketch", "map_channels": network.map_channels, "background": _BACKGROUND}
    return {"kind": "none"}
