import sys
from pathlib import Path

import pytest
import torch

# Test modules import shared helpers from here. The tests are no package: ComfyUI may own the name `tests`.
sys.path.append(str(Path(__file__).parent / "support"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
