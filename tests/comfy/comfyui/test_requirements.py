"""README: who installs the pack into ComfyUI installs no package with it."""

import re

from ...support.pages import ROOT


def names_of(path) -> set[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {re.match(r"[\w.-]+", line)[0].lower() for line in lines if re.match(r"\w", line)}


def test_the_pack_needs_no_package_that_comfyui_does_not_bring(comfyui):
    needed = names_of(ROOT / "requirements.txt")
    assert "torch" in needed
    assert needed <= names_of(comfyui / "requirements.txt")
