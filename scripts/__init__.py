"""Commands: `python -m scripts.NAME`; the folders hold what they are made of."""

import sys

if sys.argv[0] == "-m":  # a command is starting; until it runs, Ctrl-C meets its imports, which take seconds
    sys.excepthook = lambda kind, error, place: (
        print("\nStopped.", file=sys.stderr) if kind is KeyboardInterrupt else sys.__excepthook__(kind, error, place)
    )
