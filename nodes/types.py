"""Sockets of this pack's own."""

from comfy_api.latest import io

ExpertEncoder = io.Custom("MCDM_ENCODER")
ExpertChain = io.Custom("MCDM_EXPERTS")
