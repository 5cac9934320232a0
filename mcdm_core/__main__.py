"""Entry point of `python -m mcdm_core`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
