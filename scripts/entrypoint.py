"""The container's entry point: `python -m scripts.entrypoint serve`; `entrypoint.py` tells what it does."""

import sys

from scripts.container.entrypoint import main

if __name__ == "__main__":
    sys.exit(main())
