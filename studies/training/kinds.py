"""The kinds of data of `python -m studies train`: the core's, and drawn pictures."""

from mcdm_core.training import kinds

from .animals import AnimalKind
from .faces import FaceKind
from .landscapes import LandscapeKind
from .mixture_kind import MixtureKind
from .product_kind import ProductKind

KINDS: kinds.Kinds = {
    **kinds.KINDS,
    "mixture": MixtureKind,
    "faces": FaceKind,
    "landscapes": LandscapeKind,
    "animals": AnimalKind,
    "product": ProductKind,
}
