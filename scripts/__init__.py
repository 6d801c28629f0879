"""Commands: `python -m scripts.NAME`; the folders hold what they are made of."""
