"""Files that templates name and that users copy from this repository, because the registry's archive lacks them."""

FROM_THIS_REPOSITORY = {
    "hair_64.safetensors": "studies/networks/pixels/hair.safetensors",
    "skin_64.safetensors": "studies/networks/pixels/skin.safetensors",
}
"""Under the names that they have in `ComfyUI/models/mcdm/`, where a shipped expert has the name that each has here."""
