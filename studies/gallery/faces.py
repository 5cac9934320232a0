"""The example faces: their maps and captions, as conditions of an expert."""

from PIL import Image

from mcdm_core.cli.demo import CAPTIONS
from mcdm_core.expert.expert import Expert
from mcdm_core.pictures import example_picture, map_to_picture
from mcdm_core.product.terms.term import Term


def face_map(face: int, name: str) -> Image.Image:
    """The map "hair" or "skin" of example face 0…3, as a gray picture."""
    return map_to_picture(example_picture(f"face_{face + 1}_{name}")[..., 0])


def map_term(expert: Expert, face: int, weight: float, end: float = 1.0) -> Term:
    """An expert of maps, "hair" or "skin" by its name, with the map of example face 0…3."""
    condition = expert.encoder.encode_map(example_picture(f"face_{face + 1}_{expert.name}"))
    return Term(expert, condition, condition.null(), weight=weight, end=end)


def caption_term(expert: Expert, face: int, weight: float) -> Term:
    """An expert of captions with that of example face 0…3."""
    condition = expert.encoder.encode_text([CAPTIONS[face]])
    return Term(expert, condition, condition.null(), weight=weight)
