"""The ids of this pack's nodes that more than their schemas name.

Schemas take such ids from here. That of a setting's node is the prefix and the setting's name.
"""

from ....mcdm_core.product.methods.registry import SETTINGS

PREFIX = "MCDM_"
"""With which the ids of all nodes of this pack begin."""

LOAD_EXPERT = "MCDM_LoadExpert"
EMPTY_LATENT = "MCDM_EmptyLatent"
ENCODE = "MCDM_Encode"
"""With which the ids of the nodes begin that make conditions."""

ENCODE_LOW_RES = "MCDM_EncodeLowRes"
ENCODE_INPAINT = "MCDM_EncodeInpaint"
EXPERT = "MCDM_Expert"
EXPERT_REMOTE = "MCDM_ExpertRemote"
SCHEDULE = "MCDM_Schedule"
GUIDER = "MCDM_Guider"
OWN_NULL_GUIDER = "MCDM_OwnNullGuider"
KSAMPLER = "MCDM_KSampler"
INSPECT = "MCDM_Inspect"
CHOOSE = "MCDM_Choose"
PRODUCT_MODEL = "MCDM_ProductModel"
SIGMAS = "MCDM_Sigmas"

SETTING_NODES = {f"{PREFIX}{kind.name}": kind for kind in SETTINGS}
"""Nodes that set something of a method."""
