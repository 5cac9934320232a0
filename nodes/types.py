"""This pack's own sockets."""

from comfy_api.latest import io

ExpertEncoder = io.Custom("MCDM_ENCODER")
ExpertChain = io.Custom("MCDM_EXPERTS")
