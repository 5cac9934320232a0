"""Run a script, such as ComfyUI's main.py, in a process that has the accelerator.

python within.py SCRIPT ARGUMENTS
"""

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, root)
    from tests import accelerator

    accelerator.install()
    sys.path.remove(root)  # its nodes/ would hide ComfyUI's module
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
